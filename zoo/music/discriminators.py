"""Discriminators of waves. Each returns the features of its layers, and the scores last."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.music.mel import hann_window
from zoo.nn.precision import use_float32

SLOPE = 0.1  # of the LeakyReLUs


class PeriodDiscriminator(nn.Module):
    """A discriminator of every p-th sample: wave [N, 1, T] -> features; the last are scores [N, 1, T', p].

    The samples are the rows of a picture with p columns.
    """

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 4 * width, 16 * width, 32 * width, 32 * width]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (1 if i == 4 else 3, 1), (2, 0)))
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.conv_post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        missing = -wave.shape[-1] % self.period
        x = F.pad(wave, (0, missing), mode="reflect").unflatten(-1, (-1, self.period))  # [N, 1, T / p, p]
        return compute_layers(x, self.convs, self.conv_post)


class ScaleDiscriminator(nn.Module):
    """A discriminator of waves [N, 1, T] -> features of each layer; the last are scores [N, 1, T']."""

    def __init__(self, width: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        layers = [  # channels before and after, kernel, stride, groups
            (1, width, 15, 1, 1),
            (width, width, 41, 2, 4),
            (width, 2 * width, 41, 2, 16),
            (2 * width, 4 * width, 41, 4, 16),
            (4 * width, 8 * width, 41, 4, 16),
            (8 * width, 8 * width, 41, 1, 16),
            (8 * width, 8 * width, 5, 1, 1),
        ]
        self.convs = nn.ModuleList(
            norm(nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, groups=groups))
            for before, after, kernel, stride, groups in layers
        )
        self.conv_post = norm(nn.Conv1d(8 * width, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> list[Tensor]:
        return compute_layers(wave, self.convs, self.conv_post)


def compute_layers(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> list[Tensor]:
    """Compute the features of each layer; those of the last one are scores."""
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        features.append(x)
    return [*features, last(x)]


def average_scores(features: list[list[Tensor]]) -> Tensor:
    """Average the scores of all discriminators [N]."""
    return torch.stack([layers[-1].flatten(1).mean(1) for layers in features]).mean(0)


def feature_distance(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Compute equation 5: mean absolute differences of the features, summed over layers and discriminators."""
    pairs = [pair for layers in zip(real, fake, strict=True) for pair in zip(*layers, strict=True)]
    return torch.stack([F.l1_loss(b, a) for a, b in pairs]).sum()


class ResolutionDiscriminator(nn.Module):
    """A discriminator of complex spectra of one resolution: wave [N, 1, T] -> features; the last are scores.

    Kumar et al. 2023, arXiv:2306.06546, section 3.3: each band of frequencies has layers of its own. The features of
    the first layers are not among the result.
    """

    BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # edges, as shares of the frequencies
    PEAK = 0.8  # that a wave is scaled to

    def __init__(self, fft: int, width: int) -> None:
        super().__init__()
        self.fft = fft
        bins = fft // 2 + 1
        edges = [int(edge * bins) for edge in self.BANDS]
        self.sizes = [after - before for before, after in pairwise(edges)]
        self.band_convs = nn.ModuleList(self._make_layers(width) for _ in self.sizes)
        self.conv_post = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    @staticmethod
    def _make_layers(width: int) -> nn.ModuleList:
        layers = [  # channels before, kernel, stride over frequencies
            (2, (3, 9), 1),
            (width, (3, 9), 2),
            (width, (3, 9), 2),
            (width, (3, 9), 2),
            (width, (3, 3), 1),
        ]
        return nn.ModuleList(
            weight_norm(nn.Conv2d(before, width, kernel, (1, stride), (1, kernel[1] // 2)))
            for before, kernel, stride in layers
        )

    def forward(self, wave: Tensor) -> list[Tensor]:
        x = compute_spectrum(wave, self.fft, self.fft // 4, self.PEAK)  # [N, 2, frames, fft / 2 + 1]
        features, ends = [], []
        for band, convs in zip(x.split(self.sizes, dim=-1), self.band_convs, strict=True):
            for i, conv in enumerate(convs.children()):
                band = F.leaky_relu(conv(band), SLOPE)
                if i:
                    features.append(band)
            ends.append(band)
        return [*features, self.conv_post(torch.cat(ends, dim=-1))]


def compute_spectrum(wave: Tensor, fft: int, hop: int, peak: float) -> Tensor:
    """Compute real and imaginary parts [N, 2, frames, fft // 2 + 1] of waves [N, 1, T] without offset, of one peak."""
    with use_float32(wave.device):
        x = wave.squeeze(1).float()
        x = x - x.mean(dim=-1, keepdim=True)
        x = peak * x / (x.abs().amax(dim=-1, keepdim=True) + 1e-9)
        spectrum = torch.stft(x, fft, hop, window=hann_window(fft, x.device), return_complex=True)
        return torch.view_as_real(spectrum).permute(0, 3, 2, 1)


class MagnitudeDiscriminator(nn.Module):
    """A discriminator of magnitudes of one resolution: wave [N, 1, T] -> features; the last are scores.

    Jang et al. 2021, arXiv:2106.07889, section 2.2.
    """

    def __init__(self, fft: int, hop: int, window: int, width: int) -> None:
        super().__init__()
        self.fft, self.hop, self.window = fft, hop, window
        layers = [(1, (3, 9), 1), (width, (3, 9), 2), (width, (3, 9), 2), (width, (3, 9), 2), (width, (3, 3), 1)]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(before, width, kernel, (1, stride), (1, kernel[1] // 2)))
            for before, kernel, stride in layers
        )
        self.conv_post = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        with use_float32(wave.device):
            edge = (self.fft - self.hop) // 2
            x = F.pad(wave.float(), (edge, edge), mode="reflect")[:, 0]
            window = hann_window(self.window, x.device)
            spectrum = torch.stft(x, self.fft, self.hop, self.window, window, center=False, return_complex=True)
            magnitude = spectrum.abs()[:, None]  # [N, 1, fft / 2 + 1, frames]
        return compute_layers(magnitude, self.convs, self.conv_post)


class ConstantQ(nn.Module):
    """A constant-Q transform: waves [N, T] -> real and imaginary parts [N, 2, frames, bins] by octave, lowest first.

    Brown & Puckette 1992. The frames of the highest octave are long enough for its lowest tone. The same ones see the
    octaves below in the wave at half of the rate, a fourth, and so on, so `hop` is a multiple of 2^(octaves - 1).
    """

    LOWEST = 32.70319566257483  # Hz, the C of the lowest octave
    OCTAVES = 9
    TAPS = 127  # of the low-pass filter before every second sample is left out

    kernels: Tensor
    lowpass: Tensor
    scales: Tensor

    def __init__(self, rate: int, hop: int, bins: int) -> None:
        super().__init__()
        self.hop, self.bins = hop, bins
        q = 1 / (2 ** (1 / bins) - 1)
        top = self.LOWEST * 2 ** (self.OCTAVES - 1) * 2 ** (torch.arange(bins, dtype=torch.float64) / bins)
        lengths = (q * rate / top).ceil()
        size = 2 ** math.ceil(math.log2(q * rate / self.LOWEST / 2 ** (self.OCTAVES - 1)))
        places = torch.arange(size, dtype=torch.float64) - size // 2
        inside = places.abs() < lengths[:, None] / 2
        windows = torch.where(inside, 0.5 + 0.5 * torch.cos(2 * math.pi * places / lengths[:, None]), 0.0)
        windows = windows / windows.sum(1, keepdim=True)
        angles = 2 * math.pi / rate * top[:, None] * places
        kernels = torch.cat([windows * angles.cos(), -windows * angles.sin()])
        self.register_buffer("kernels", kernels[:, None].float(), persistent=False)  # [2 bins, 1, size]
        cut = torch.arange(self.TAPS, dtype=torch.float64) - self.TAPS // 2
        lowpass = torch.sinc(cut / 2) * torch.hann_window(self.TAPS + 2, periodic=False, dtype=torch.float64)[1:-1]
        self.register_buffer("lowpass", (lowpass / lowpass.sum())[None, None].float(), persistent=False)
        halvings = torch.arange(self.OCTAVES, dtype=torch.float64)[:, None]
        scales = (lengths * 2**halvings).sqrt()  # longer frames average more, so that noise would be softer
        self.register_buffer("scales", scales.float(), persistent=False)  # [octaves, bins], highest first

    def forward(self, wave: Tensor) -> list[Tensor]:
        x, octaves = wave[:, None], []
        for octave in range(self.OCTAVES):
            if octave:
                x = F.conv1d(x, self.lowpass, stride=2, padding=self.TAPS // 2)
            spectrum = F.conv1d(x, self.kernels, stride=self.hop >> octave, padding=self.kernels.shape[-1] // 2)
            spectrum = spectrum.unflatten(1, (2, self.bins)) * self.scales[octave][:, None]  # [N, 2, bins, frames]
            octaves.append(spectrum.transpose(2, 3))
        frames = min(octave.shape[2] for octave in octaves)  # lengths that are odd differ by a frame
        return [octave[:, :, :frames] for octave in reversed(octaves)]


class ConstantQDiscriminator(nn.Module):
    """A discriminator of a constant-Q transform: wave [N, 1, T] -> features; the last are scores.

    Gu et al. 2024, arXiv:2311.14957, section 2.2: each octave has a layer of its own before they are joined. The wave
    is brought to twice its rate first, so that the highest octave lies below half of it.
    """

    def __init__(self, rate: int, hop: int, bins: int, width: int) -> None:
        super().__init__()
        self.transform = ConstantQ(2 * rate, hop, bins)
        self.conv_pres = nn.ModuleList(nn.Conv2d(2, 2, (3, 9), padding=(1, 4)) for _ in range(ConstantQ.OCTAVES))
        dilated = [
            weight_norm(nn.Conv2d(width, width, (3, 9), (1, 2), (dilation, 4), (dilation, 1))) for dilation in (1, 2, 4)
        ]
        last = weight_norm(nn.Conv2d(width, width, (3, 3), padding=(1, 1)))
        self.convs = nn.ModuleList([nn.Conv2d(2, width, (3, 9), padding=(1, 4)), *dilated, last])
        self.conv_post = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        with use_float32(wave.device):
            twice = 2 * self.transform.lowpass  # of a zero after each sample, the wave at twice the rate
            padding = ConstantQ.TAPS // 2
            doubled = F.conv_transpose1d(wave.float(), twice, stride=2, padding=padding, output_padding=1)
            octaves = self.transform(doubled[:, 0])
        joined = torch.cat([conv(octave) for conv, octave in zip(self.conv_pres, octaves, strict=True)], dim=-1)
        return compute_layers(joined, self.convs, self.conv_post)  # of [N, 2, frames, octaves * bins]
