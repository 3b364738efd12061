"""ADA: a pipeline of random changes of images, each applied with a probability that follows the discriminator.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676. Appendix B has the
pipeline, section 3.1 the rule of the probability.

All geometric changes are one warp, and all changes of color one matrix. A change of strength m is applied to a sample
with probability m p. Nothing of a sample depends on the others. No value is read from the device, unless it is the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidValueError
from zoo.nn.counter_noise import counter_noise
from zoo.nn.precision import use_float32
from zoo.nn.resampling import resample
from zoo.recipe import ADAConfig
from zoo.training import distributed

_NUM_DRAWS = {"geometry": 18, "color": 10, "filter": 8, "noise": 4, "cutout": 3}
NUM_DRAWS = sum(_NUM_DRAWS.values())
"""Uniform numbers that decide all changes of one sample."""

# Daubechies 1992, "Ten Lectures on Wavelets", table 6.2: symlets with 2 and with 6 vanishing moments.
_SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
_SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
_REACH = 6  # pixels beside a warped image that its filter needs
_NUM_BANDS = 4
_BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of photographs, from the lowest octave to the highest


class ADA(nn.Module):
    """The pipeline, and the probability that it follows.

    Where the mean sign of the logits of real samples is above `target`, the discriminator has begun to memorize them,
    and the probability rises. Below, it falls.
    """

    probability: Tensor
    signs: Tensor
    """The sum of the signs since the probability last moved, and their number, in all processes."""
    recent: Tensor
    """The same of this process, since they were last shared."""
    _taps: Tensor
    _bank: Tensor
    _power: Tensor
    _gray: Tensor
    _cross: Tensor

    def __init__(self, config: ADAConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.tensor(float(config.probability)))
        self.register_buffer("signs", torch.zeros(2))
        self.register_buffer("recent", torch.zeros(2), persistent=False)
        constants = {
            "_taps": torch.tensor(_SYM6) / sum(_SYM6),
            "_bank": torch.from_numpy(make_filter_bank()).float(),
            "_power": torch.tensor(_BAND_POWER),
            "_gray": torch.full((3, 3), 1 / 3),
            "_cross": torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def observe(self, real_logits: Tensor) -> None:
        """Count the signs of the logits of real samples of this process."""
        signs = real_logits.detach().float().sign()
        self.recent += torch.stack([signs.sum(), torch.ones_like(signs).sum()])

    def share(self) -> None:
        """Add what all processes observed to the signs. They do it after each step, so their states are alike."""
        distributed.add_up(self.recent)
        self.signs += self.recent
        self.recent.zero_()

    def adapt(self, num_samples: int) -> None:
        """Move the probability by what `num_samples` real samples have shown."""
        direction = (self.signs[0] / self.signs[1] - self.config.target).sign()
        self.probability.add_(direction, alpha=num_samples / (1000 * self.config.kimg)).clamp_(0, 1)
        self.signs.zero_()

    def forward(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Change images [N, 3, H, W], or all frames of clips [N, 3, T, H, W] alike; the result is float32.

        Args:
            numbers: [N, NUM_DRAWS] from U[0, 1).

        Raises InvalidValueError for images of other than three channels.
        """
        config = self.config
        if images.shape[1] != 3:
            raise InvalidValueError(f'train.augment = "ada" is for RGB, and these have {images.shape[1]} channels')
        groups = numbers.split(list(_NUM_DRAWS.values()), dim=1)
        draws = {name: _Draws(part, self.probability) for name, part in zip(_NUM_DRAWS, groups, strict=True)}
        with use_float32(images.device):
            frames = images.float().flatten(1, -3)  # [N, 3 T, H, W]
            height, width = frames.shape[2:]
            if config.blit or config.geometry:
                frames = warp(frames, draw_geometry(draws["geometry"], config, height, width), self._taps)
            if config.color:
                frames = _mix_channels(frames, self._draw_color(draws["color"]))
            if config.filter:
                frames = _filter_bands(frames, self._draw_gains(draws["filter"]) @ self._bank)
            if config.noise:
                frames = frames + _draw_noise(draws["noise"], config.noise, frames)
            if config.cutout:
                frames = frames.masked_fill(_draw_holes(draws["cutout"], config.cutout, height, width), 0.0)
            return frames.reshape(images.shape)

    def _draw_color(self, draws: _Draws) -> Tensor:
        """Draw matrices [N, 3, 4] that map red, green, blue and 1 to new colors."""
        strength, gray = self.config.color, self._gray
        identity = torch.eye(3, device=gray.device)
        brightness = draws.choose(draws.normal(0.2), 0, strength)[:, None, None]
        contrast = draws.choose(draws.normal(0.5).exp2(), 1, strength)[:, None, None]
        matrix = torch.cat([identity * contrast, (brightness * contrast).expand(-1, 3, 1)], dim=2)
        flip = draws.choose(draws.uniform(0, 2).floor(), 0, strength)[:, None, None]
        matrix = (identity - 2 * flip * gray) @ matrix
        # Rodrigues' formula for a rotation about the gray axis v: cos I + (1 - cos) v v^T + sin [v]_x.
        hue = draws.choose(draws.uniform(-math.pi, math.pi), 0, strength)[:, None, None]
        matrix = (hue.cos() * identity + (1 - hue.cos()) * gray + hue.sin() * self._cross) @ matrix
        saturation = draws.choose(draws.normal(1.0).exp2(), 1, strength)[:, None, None]
        return (gray + (identity - gray) * saturation) @ matrix

    def _draw_gains(self, draws: _Draws) -> Tensor:
        """Draw gains [N, 4] of octaves. On average a photograph keeps its power."""
        total = torch.ones_like(self._power)
        for band in range(_NUM_BANDS):
            gain = draws.choose(draws.normal(1.0).exp2(), 1, self.config.filter)
            gains = torch.stack([gain if other == band else torch.ones_like(gain) for other in range(_NUM_BANDS)], 1)
            total = total * gains / (self._power * gains.square()).sum(1, keepdim=True).sqrt()
        return total


class _Draws:
    """The numbers of all samples, one column after the other."""

    def __init__(self, numbers: Tensor, probability: Tensor) -> None:
        self._columns = iter(numbers.unbind(1))
        self.probability = probability

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Take numbers [N] from U[low, high)."""
        return low + (high - low) * next(self._columns)

    def normal(self, deviation: float) -> Tensor:
        """Take numbers [N] from N(0, deviation^2)."""
        # The ends are half the distance of two random numbers away from 0 and 1, where the inverse is infinite.
        return deviation * math.sqrt(2) * torch.erfinv((2 * next(self._columns) - 1).clamp(-1 + 2**-24, 1 - 2**-24))

    def choose(self, values: Tensor, neutral: float, strength: float, probability: Tensor | None = None) -> Tensor:
        """Take a number [N], and let it decide which samples take `values` [N] and which are left alone."""
        probability = self.probability if probability is None else probability
        return torch.where(next(self._columns) < probability * strength, values, neutral)


def draw_geometry(draws: _Draws, config: ADAConfig, height: int, width: int) -> Tensor:
    """Draw matrices [N, 3, 3] from pixels of the result to pixels of the image, both counted from the center."""
    blit, geometry = config.blit, config.geometry

    def move(x: Tensor, y: Tensor) -> Tensor:
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        return _make_matrix([one, zero, -x], [zero, one, -y])  # what moves by x comes from -x

    def scale(x: Tensor, y: Tensor) -> Tensor:
        zero = torch.zeros_like(x)
        return _make_matrix([1 / x, zero, zero], [zero, 1 / y, zero])

    def rotate(angle: Tensor) -> Tensor:
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        return _make_matrix([cos, -sin, zero], [sin, cos, zero])

    flip = draws.choose(1 - 2 * draws.uniform(0, 2).floor(), 1, blit)
    matrix = scale(flip, torch.ones_like(flip))
    matrix = matrix @ rotate(draws.choose(draws.uniform(0, 4).floor() * (math.pi / 2), 0, blit))
    x, y = draws.uniform(-0.125, 0.125) * width, draws.uniform(-0.125, 0.125) * height
    moves = draws.choose(torch.ones_like(x), 0, blit)
    matrix = matrix @ move((moves * x).round(), (moves * y).round())
    size = draws.choose(draws.normal(0.2).exp2(), 1, geometry)
    matrix = matrix @ scale(size, size)
    # One rotation comes before stretching and one after. Together they are as probable as another change.
    each = 1 - (1 - (draws.probability * geometry).clamp_max(1)).sqrt()
    matrix = matrix @ rotate(draws.choose(draws.uniform(-math.pi, math.pi), 0, 1, each))
    stretch = draws.choose(draws.normal(0.2).exp2(), 1, geometry)
    matrix = matrix @ scale(stretch, 1 / stretch)
    matrix = matrix @ rotate(draws.choose(draws.uniform(-math.pi, math.pi), 0, 1, each))
    x, y = draws.normal(0.125) * width, draws.normal(0.125) * height
    moves = draws.choose(torch.ones_like(x), 0, geometry)
    return matrix @ move(moves * x, moves * y)


def _make_matrix(*rows: Sequence[Tensor]) -> Tensor:
    """Make matrices [N, 3, 3] of two rows, and of a third that keeps the 1 of a place (x, y, 1)."""
    zero = torch.zeros_like(rows[0][0])
    return torch.stack([torch.stack([*row], 1) for row in (*rows, [zero, zero, torch.ones_like(zero)])], 1)


def warp(images: Tensor, matrices: Tensor, taps: Tensor) -> Tensor:
    """Look up images [N, C, H, W] at the places that matrices [N, 3, 3] map their pixels to, counted from the center.

    Images go on behind their edges in mirrors, for one size. They are doubled by an orthogonal filter, looked up
    bilinearly at twice the density, and halved by the same filter.
    """
    height, width = images.shape[2:]
    x_reach, y_reach = _measure_reach(images, matrices)
    mirrored = F.pad(images, (x_reach, x_reach, y_reach, y_reach), mode="reflect")
    doubled = _double(mirrored, taps)
    # A filter of even length puts the samples of the doubled image half a pixel beside their centers.
    rows, columns = (_centers(2 * (size + _REACH), matrices) / 2 + 0.25 for size in (height, width))
    grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
    places = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)]).flatten(1)  # [3, P]
    x, y, _ = (matrices @ places).unbind(1)  # [N, P], in pixels
    looked_up = _look_up(doubled, 2 * x - 0.5, 2 * y - 0.5)
    return _halve(looked_up.reshape(*images.shape[:2], len(rows), len(columns)), taps)


def _centers(n: int, like: Tensor) -> Tensor:
    """Return the places of n pixels, counted from their common center."""
    return torch.arange(n, device=like.device, dtype=like.dtype) - (n - 1) / 2


def _measure_reach(images: Tensor, matrices: Tensor) -> tuple[int, int]:
    """Return how many pixels behind the edges are looked up: at most all of a mirror, left and right, above and below.

    Other devices would have to be waited for. They always mirror all: that gives the same result at a higher cost.
    """
    height, width = images.shape[2:]
    if images.device.type != "cpu" or torch.compiler.is_compiling():
        return width - 1, height - 1
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[x, x, -x, -x], [y, -y, y, -y], [1, 1, 1, 1]], dtype=matrices.dtype)
    farthest = (matrices @ corners)[:, :2].abs().amax((0, 2)).nan_to_num(0.0).tolist()
    reach = [max(0, math.ceil(far - half + 2 * _REACH)) for far, half in zip(farthest, (x, y), strict=True)]
    return min(reach[0], width - 1), min(reach[1], height - 1)


def _look_up(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate images [N, C, H, W] bilinearly at places [N, P] from their centers -> [N, C, P]; 0 outside.

    It is differentiable twice, which `torch.nn.functional.grid_sample` is not in every release of PyTorch.
    """
    n, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    x, y = x + (width - 1) / 2, y + (height - 1) / 2
    left, top = x.floor(), y.floor()
    first = torch.arange(n, device=x.device)[:, None] * (height * width)
    total = torch.zeros((), device=x.device)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at_x, at_y = left + column, top + row
        weight = (1 - (x - at_x).abs()) * (1 - (y - at_y).abs())
        weight = weight * ((at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height))
        index = first + at_y.clamp(0, height - 1).long() * width + at_x.clamp(0, width - 1).long()
        total = total + pixels.index_select(0, index.flatten()) * weight.reshape(-1, 1)
    return total.view(n, -1, channels).transpose(1, 2)


def _double(images: Tensor, taps: Tensor) -> Tensor:
    """Map [N, C, H, W] -> [N, C, 2 H, 2 W]."""
    if images.is_cuda:
        return resample(images, 2 * taps, padding=5, up=True)
    n, channels, height, width = images.shape
    flat, count = images.reshape(1, -1, height, width), n * channels  # one group a channel: a third of the time
    kernels = (2 * taps).expand(count, 1, 1, -1)
    flat = F.conv_transpose2d(flat, kernels, stride=(1, 2), padding=(0, 5), groups=count)
    flat = F.conv_transpose2d(flat, kernels.mT, stride=(2, 1), padding=(5, 0), groups=count)
    return flat.reshape(n, channels, 2 * height, 2 * width)


def _halve(images: Tensor, taps: Tensor) -> Tensor:
    """Map [N, C, 2 (H + 6), 2 (W + 6)] -> [N, C, H, W]."""
    if images.is_cuda:
        return resample(images, taps, padding=-1, stride=2)  # without the first and the last pixel
    n, channels, height, width = images.shape
    flat, count = images.reshape(1, -1, height, width)[:, :, 1:-1, 1:-1], n * channels
    kernels = taps.expand(count, 1, 1, -1)
    flat = F.conv2d(flat, kernels, stride=(1, 2), groups=count)
    flat = F.conv2d(flat, kernels.mT, stride=(2, 1), groups=count)
    return flat.reshape(n, channels, height // 2 - _REACH, width // 2 - _REACH)


def _mix_channels(frames: Tensor, matrices: Tensor) -> Tensor:
    """Apply matrices [N, 3, 4] to the colors of frames [N, 3 T, H, W]."""
    colors = frames.reshape(len(frames), 3, -1)
    return (matrices[:, :, :3] @ colors + matrices[:, :, 3:]).view(frames.shape)


def _filter_bands(frames: Tensor, taps: Tensor) -> Tensor:
    """Filter frames [N, C, H, W] along both axes, each sample by its own taps [N, K]."""
    (n, channels, height, width), reach = frames.shape, taps.shape[1] // 2
    across, down = min(reach, width - 1), min(reach, height - 1)
    mirrored = F.pad(frames, (across, across, down, down), mode="reflect")
    mirrored = F.pad(mirrored, (reach - across, reach - across, reach - down, reach - down))
    flat = mirrored.reshape(1, n * channels, *mirrored.shape[2:])
    kernels = taps.repeat_interleave(channels, dim=0)[:, None]  # [N C, 1, K]
    flat = F.conv2d(flat, kernels[:, :, None], groups=n * channels)
    return F.conv2d(flat, kernels[:, :, :, None], groups=n * channels).reshape(frames.shape)


def make_filter_bank() -> np.ndarray:
    """Make symmetric filters [4, K] of four octaves, from the lowest to the highest. Their sum is a delta."""
    low = np.array(_SYM2)
    high = low * [1, -1, 1, -1]
    halves = [np.convolve(taps, taps[::-1]) / 2 for taps in (low, high)]  # the lower half of all frequencies, the upper
    bank = [np.ones(1)]
    for _ in range(_NUM_BANDS - 1):
        spread = [np.kron(taps, [1, 0])[:-1] for taps in bank]  # each an octave lower
        bank = [*(np.convolve(taps, halves[0]) for taps in spread), halves[1]]
    most = max(len(taps) for taps in bank)
    return np.stack([np.pad(taps, (most - len(taps)) // 2) for taps in bank])


def _draw_noise(draws: _Draws, strength: float, frames: Tensor) -> Tensor:
    """Draw noise like frames [N, C, H, W]."""
    deviations = draws.choose(draws.normal(0.1).abs(), 0, strength)
    high, low = ((draws.uniform() * (1 << 16)).long() for _ in range(2))
    return deviations[:, None, None, None] * counter_noise(high << 16 | low, *frames.shape[1:])


def _draw_holes(draws: _Draws, strength: float, height: int, width: int) -> Tensor:
    """Draw rectangles of half the size, as masks [N, 1, H, W]."""
    center_x, center_y = draws.uniform()[:, None], draws.uniform()[:, None]
    half = draws.choose(torch.full_like(center_x[:, 0], 0.25), 0, strength)[:, None]
    columns = (torch.arange(width, device=half.device) + 0.5) / width
    rows = (torch.arange(height, device=half.device) + 0.5) / height
    across, down = (columns - center_x).abs() < half, (rows - center_y).abs() < half
    return down[:, None, :, None] & across[:, None, None, :]
