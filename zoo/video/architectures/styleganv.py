"""StyleGAN-V. Skorokhodov, Tulyakov & Elhoseiny 2022, "StyleGAN-V: A Continuous Video Generator with the Price, Image
Quality and Perks of StyleGAN2", arXiv:2112.14683.

A clip is a function of time. The frame at time t is made from a style w of the whole clip and a motion code v_t.
Every 16 frames there is an anchor with motion noise z_m ~ N(0, I). Two convolutions in time without padding, with a
rectifier between them, turn the noise into codes u. Between two anchors v_t has two parts. The first are waves, sines
and cosines of t whose periods and phases depend on u of the left anchor. A straight line is subtracted from them, so
that they are 0 at both anchors. The second part is the line from A u of the left anchor to A u of the right one. So
v_t is continuous, never repeats (the encoding is acyclic), and is defined for any t.

v_t is concatenated with the constant that the generator starts from. All else is StyleGAN2 (Karras et al. 2020,
arXiv:1912.04958): modulated and demodulated convolutions (equations 1 to 3 there), skips to RGB, and a residual
discriminator.

Training uses three frames of a clip at random times, and one discriminator for all three. Its layers down to 16 x 16
see each frame alone; then the features of the frames are concatenated. The score is a projection on an embedding of
the times between the frames. The losses are softplus losses with R1. Augmentation is the same for all frames of a clip.

The defaults are the paper's. A small machine can train narrow layers (`channel_max`). Some parts of StyleGAN2 are left
out: noise inputs, truncation, style mixing, path length regularization and custom kernels.

S = frames seen, Z = latent_dim, W = style_dim, V = motion_dim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.nn.precision import use_float32
from zoo.nn.stylegan2 import (
    GAIN,
    Convolution,
    Linear,
    append_deviation,
    convert_to_rgb,
    convolve_modulated,
    make_filter,
    normalize,
    rectify,
    upsample,
)
from zoo.noise import Noise
from zoo.options import FrameOptions, StyleOptions
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.samples import Samples
from zoo.styled import StyledGAN
from zoo.training.adversarial import r1_phases
from zoo.training.augment import Augmentation
from zoo.training.losses import LOSSES, Penalties
from zoo.training.phases import Phase, Step, make_optimizer
from zoo.video.clip_gan import ClipConfig, LongClipGAN, as_clips, as_frames, frames_at_once
from zoo.video.samples import Clips

KERNEL = 11  # of the two convolutions over motion noise
JOINED = 16  # px, where the discriminator concatenates the frames' features
SLOW = 0.01  # learning rate of mapping networks and motion convolutions, relative to all other layers
MAX_GAP = 1024  # frames between two frames that the discriminator sees
SHORTEST, LONGEST = 16, 1024  # periods of the waves of motion, in frames


@dataclass(frozen=True, kw_only=True)
class StyleGANVConfig(ClipConfig):
    """The sizes of the networks. A map of r x r px has `channel_base` / r channels, at most `channel_max`."""

    resolution: int = field(default=256, metadata=within(32, 256))
    """Height and width of a frame, a power of two."""
    latent_dim: int = field(default=512, metadata=within(1, 4096))
    """Numbers of the latent of a clip."""
    style_dim: int = field(default=512, metadata=within(1, 4096))
    """Numbers of the style w."""
    motion_dim: int = field(default=512, metadata=within(2, 4096))
    """Numbers of motion noise and of a motion code. There are half as many waves."""
    motion_distance: int = field(default=16, metadata=within(2, 256))
    """Frames between two vectors of motion noise."""
    channel_base: int = field(default=16384, metadata=within(32, 65536))
    """Channels of a map, times its width in pixels."""
    channel_max: int = field(default=512, metadata=within(2, 1024))
    """The most channels of a map."""
    mapping_layers: int = field(default=2, metadata=within(1, 16))
    """Layers of the mapping network."""
    frames_seen: int = field(default=3, metadata=within(2, 16))
    """Frames of a clip that the discriminator sees in training."""
    time_dim: int = field(default=256, metadata=within(1, 4096))
    """Numbers of the embedding of each gap between two of these frames."""
    time_layers: int = field(default=8, metadata=within(1, 16))
    """Layers of the network that embeds all gaps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames_seen > self.frames:
            raise InvalidValueError(
                f"model.frames_seen = {self.frames_seen} should be at most model.frames = {self.frames}"
            )
        if self.motion_dim % 2:
            raise InvalidValueError(f"model.motion_dim = {self.motion_dim} should be even: half sines, half cosines")

    def channels(self, resolution: int) -> int:
        """Return the channels of a map of this resolution."""
        return max(2, min(self.channel_base // resolution, self.channel_max))

    @property
    def resolutions(self) -> list[int]:
        """The resolutions of the maps: 4, 8, ..., R."""
        return [1 << i for i in range(2, self.resolution.bit_length())]

    def anchors(self, frames: int) -> int:
        """Count the motion codes that a clip of `frames` frames needs: 2 for up to 16."""
        return (frames - 1) // self.motion_distance + 2

    def noise_vectors(self, frames: int) -> int:
        """Count the vectors of motion noise for these codes: both convolutions shorten them."""
        return self.anchors(frames) + 2 * (KERNEL - 1)


class Mapping(nn.Module):
    """[N, inputs] -> [N, outputs]: normalization, and then `layers` linear layers with rectifiers."""

    def __init__(self, inputs: int, outputs: int, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[outputs] * layers]
        self.layers = nn.ModuleList(Linear(before, after, rate=SLOW) for before, after in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        x = normalize(x)
        for layer in self.layers:
            x = rectify(layer(x, GAIN))
        return x


class MotionConvolution(nn.Module):
    """A convolution in time [N, V, A] -> [N, V, A - 10], scaled as `Linear` is."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim, KERNEL) / SLOW)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.scale = SLOW * (dim * KERNEL) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (self.weight * self.scale).to(x), (self.bias * SLOW).to(x)
        if torch.compiler.is_exporting():  # no runtime has a convolution in float64
            windows = x.unfold(2, KERNEL, 1).transpose(1, 2).flatten(2)  # [N, A - 10, V * 11]
            return F.linear(windows, weight.flatten(1), bias).transpose(1, 2)
        return F.conv1d(x, weight, bias)


class Motion(nn.Module):
    """Motion noise [N, A + 20, V] and times [N, S], in frames -> motion codes [N, S, V].

    It computes in float64, which costs little here. The phase of the shortest wave is 64 times a number of the network,
    and so is its rounding error. MPS has no float64; there, motion is less exact.
    """

    frequencies: Tensor
    phase_scales: Tensor

    def __init__(self, config: StyleGANVConfig) -> None:
        super().__init__()
        dim, self.distance = config.motion_dim, config.motion_distance
        self.convolutions = nn.ModuleList([MotionConvolution(dim), MotionConvolution(dim)])
        self.periods = Linear(dim, dim // 2, bias=None)
        self.phases = Linear(dim, dim // 2, bias=None)
        self.aligners = Linear(dim, dim, bias=None)
        periods = 2 ** torch.linspace(math.log2(SHORTEST), math.log2(LONGEST), dim // 2)
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)  # [V / 2], per frame
        self.register_buffer("phase_scales", LONGEST / periods, persistent=False)

    def forward(self, noise: Tensor, times: Tensor) -> Tensor:
        first, second = self.convolutions
        dtype, exact = noise.dtype, torch.float32 if noise.device.type == "mps" else torch.float64
        noise, times = noise.to(exact), times.to(exact)
        codes = second(rectify(first(noise.transpose(1, 2)) * GAIN)).transpose(1, 2)  # u, [N, A, V]
        left = (times / self.distance).floor().long()  # [N, S]
        rows = torch.arange(times.shape[0], device=times.device)[:, None]
        u_left, u_right = codes[rows, left], codes[rows, left + 1]  # [N, S, V]
        start = left * self.distance
        share = ((times - start) / self.distance)[..., None]
        rate = self.frequencies * (torch.tanh(self.periods(u_left)) + 1)
        phase = self.phases(u_left) * self.phase_scales

        def waves(time: Tensor) -> Tensor:
            angle = rate * time[..., None] + phase
            return torch.cat([angle.sin(), angle.cos()], dim=2)

        line = torch.lerp(waves(start.to(times)), waves(start.to(times) + self.distance), share)
        codes = waves(times) - line + torch.lerp(self.aligners(u_left), self.aligners(u_right), share)
        return codes.to(dtype)


class ModulatedConvolution(nn.Module):
    """Maps [N, inputs, r, r] and styles [N, W] -> [N, outputs, r or 2r, .], with weights that depend on the style."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, kernel: int = 3, up: bool = False) -> None:
        super().__init__()
        self.style = Linear(style_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", make_filter(), persistent=False)
        self.up, self.to_rgb = up, kernel == 1

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        scale = self.style(styles)  # [N, inputs]
        if self.to_rgb:
            return convert_to_rgb(x, self.weight, scale, self.bias)
        up = self.resample_filter if self.up else None
        return rectify(convolve_modulated(x, self.weight, scale, self.bias[:, None, None], up=up, gain=GAIN))


class Generator(nn.Module):
    """Latents [N, Z + B * V] -> clips [N, 3, T, R, R]; B vectors of motion noise are enough for T frames."""

    resample_filter: Tensor

    def __init__(self, config: StyleGANVConfig) -> None:
        super().__init__()
        self.config = config
        self.num_styles, self.style_dim = 2 * len(config.resolutions), config.style_dim
        self.mapping = Mapping(config.latent_dim, config.style_dim, config.mapping_layers)
        self.motion = Motion(config)
        self.constant = nn.Parameter(torch.randn(config.channels(4), 4, 4))
        self.register_buffer("resample_filter", make_filter(), persistent=False)
        self.convolutions, self.to_rgb = nn.ModuleList(), nn.ModuleList()
        before = config.channels(4) + config.motion_dim
        for resolution in config.resolutions:
            after = config.channels(resolution)
            if resolution > 4:
                self.convolutions.append(ModulatedConvolution(before, after, config.style_dim, up=True))
                before = after
            self.convolutions.append(ModulatedConvolution(before, after, config.style_dim))
            self.to_rgb.append(ModulatedConvolution(after, 3, config.style_dim, kernel=1))
            before = after

    def make_styles(self, latents: Tensor) -> Tensor:
        """Map latents to styles [N, L, W], which are alike in all layers."""
        return self.mapping(latents[:, : self.config.latent_dim])[:, None].expand(-1, self.num_styles, -1)

    def frames_at(self, latents: Tensor, times: Tensor, styles: Tensor | None = None) -> Tensor:
        """Generate the frames at `times` [N, S] -> [N, 3, S, R, R]. Times are in frames, and may be fractions.

        With `styles` [N, 1 or L, W], only the motion comes from the latents.
        """
        config = self.config
        if not self.training and not torch.compiler.is_exporting():  # a long clip is generated in pieces
            at_once = max(1, frames_at_once(config.resolution) // len(times))
            if times.shape[1] > at_once:
                return torch.cat([self.frames_at(latents, part, styles) for part in times.split(at_once, dim=1)], dim=2)
        styles = self.make_styles(latents) if styles is None else styles.to(latents)  # w, [N, L, W]
        noise = latents[:, config.latent_dim :].unflatten(1, (-1, config.motion_dim))
        codes = self.motion(noise, times).flatten(0, 1)  # v, [N S, V]
        styles = styles.expand(-1, self.num_styles, -1).repeat_interleave(times.shape[1], dim=0)  # [N S, L, W]
        constant = self.constant.expand(codes.shape[0], -1, -1, -1)
        x = torch.cat([constant, codes[:, :, None, None].expand(-1, -1, 4, 4)], dim=1)
        first, *others = self.convolutions
        x = first(x, styles[:, 0])
        image = self.to_rgb[0](x, styles[:, 1])
        for i, (up, convolution, to_rgb) in enumerate(zip(others[::2], others[1::2], self.to_rgb[1:], strict=True), 1):
            x = convolution(up(x, styles[:, 2 * i - 1]), styles[:, 2 * i])
            with use_float32(image.device):
                image = upsample(image, self.resample_filter) + to_rgb(x, styles[:, 2 * i + 1])
        if not self.training:
            image = image.clamp(-1, 1)
        return as_clips(image, latents.shape[0])

    def forward(self, latents: Tensor, frames: int | None = None, *, styles: Tensor | None = None) -> Tensor:
        times = torch.arange(frames or self.config.frames, device=latents.device, dtype=torch.float32)
        return self.frames_at(latents, times.expand(latents.shape[0], -1), styles)

    def make_pieces(
        self, latents: Tensor, frames: int | None = None, *, styles: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Generate one clip in pieces [1, 3, t, R, R]."""
        times = torch.arange(frames or self.config.frames, device=latents.device, dtype=torch.float32)
        for part in times[None].split(frames_at_once(self.config.resolution), dim=1):
            yield self.frames_at(latents, part, styles)


class Residual(nn.Module):
    """A residual block [N, inputs, r, r] -> [N, outputs, r / 2, r / 2]."""

    def __init__(self, inputs: int, between: int, outputs: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, between, 3)
        self.second = Convolution(between, outputs, 3, down=True)
        self.skip = Convolution(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = rectify(self.second(rectify(self.first(x, GAIN))))
        return y + self.skip(x, math.sqrt(0.5))  # the sum has half the variance of the two


class Times(nn.Module):
    """Ascending times of frames [N, S] -> an embedding [N, D] of the gaps between them."""

    frequencies: Tensor

    def __init__(self, config: StyleGANVConfig, dim: int) -> None:
        super().__init__()
        self.lookup = nn.Embedding(MAX_GAP, config.time_dim)
        waves = int(math.log2(MAX_GAP))
        self.register_buffer("frequencies", 2 * math.pi / 2 ** torch.arange(1, waves + 1), persistent=False)
        self.enter = Linear((config.frames_seen - 1) * (config.time_dim + 2 * waves), dim)
        self.mapping = Mapping(dim, dim, config.time_layers)

    def forward(self, times: Tensor) -> Tensor:
        gaps = times.diff(dim=1)  # [N, S - 1]
        angles = gaps[..., None] * self.frequencies
        learned = self.lookup(gaps.round().long().clamp(0, MAX_GAP - 1))
        return self.mapping(self.enter(torch.cat([learned, angles.sin(), angles.cos()], dim=2).flatten(1)))


class Discriminator(nn.Module):
    """Frames [N, 3, S, R, R] at `times` [N, S] -> logits [N]. Without times it takes S evenly spaced frames."""

    def __init__(self, config: StyleGANVConfig) -> None:
        super().__init__()
        self.seen = config.frames_seen
        self.from_rgb = Convolution(3, config.channels(config.resolution), 1)
        self.each, self.joined = nn.ModuleList(), nn.ModuleList()
        joined = config.channels(JOINED) // 2
        for resolution in config.resolutions[:0:-1]:  # R, R / 2, ..., 8
            between, after = config.channels(resolution), config.channels(resolution // 2)
            if resolution > JOINED:
                self.each.append(Residual(between, between, joined if resolution == 2 * JOINED else after))
            else:
                self.joined.append(Residual(self.seen * joined if resolution == JOINED else between, between, after))
        last = config.channels(4)
        self.convolution = Convolution(last + 1, last, 3)
        self.linear = Linear(16 * last, last)
        self.output = Linear(last, last)
        self.times = Times(config, last)

    def forward(self, clips: Tensor, times: Tensor | None = None) -> Tensor:
        n, length = len(clips), clips.shape[2]
        if times is None:
            chosen = torch.linspace(0, length - 1, self.seen, device=clips.device).round()
            clips, times = clips[:, :, chosen.long()], chosen.expand(n, -1)
        x = rectify(self.from_rgb(as_frames(clips), GAIN))
        for block in self.each:
            x = block(x)
        x = x.unflatten(0, (n, self.seen)).flatten(1, 2)  # [N, S C, 16, 16]
        for block in self.joined:
            x = block(x)
        x = rectify(self.convolution(append_deviation(x.float()), GAIN))
        features = self.output(rectify(self.linear(x.flatten(1), GAIN)))  # [N, D]
        return (features * self.times(times)).sum(1) * features.shape[1] ** -0.5


@dataclass(frozen=True, kw_only=True)
class StyleGANVTrainConfig(TrainConfig):
    """The paper's optimizers and penalty."""

    generator: OptimizerConfig = OptimizerConfig(lr=2.5e-3, betas=(0.0, 0.99))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=2.5e-3, betas=(0.0, 0.99))
    """The discriminator's optimizer."""
    r1_gamma: float = field(default=0.2, metadata=within(0))
    """Strength of the R1 penalty: 0.0002 R^2 / batch, which is 0.2 at 256 px and batch 64."""

    def __post_init__(self) -> None:
        check_unused(self, "StyleGAN-V", "gradient_penalty", losses=("relativistic",))


@dataclass(frozen=True, kw_only=True)
class StyleGANVOptions(StyleOptions, FrameOptions):
    """Options of StyleGAN-V."""

    def __post_init__(self) -> None:
        StyleOptions.__post_init__(self)
        FrameOptions.__post_init__(self)


class StyleGANV(StyledGAN[Clips], LongClipGAN):
    """Latents [N, 512 + 22 * 512] ~ N(0, I) -> clips [N, 3, 16, 256, 256] in [-1, 1].

    The defaults have 32,105,941 + 26,909,504 parameters.
    """

    Config = StyleGANVConfig
    TrainConfig = StyleGANVTrainConfig
    SampleOptions = StyleGANVOptions
    generator: Generator

    def __init__(self, config: StyleGANVConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    def latents(self, n: int, noise: Noise) -> Tensor:
        """Draw [n, Z + B * V] from N(0, I): each clip's latent, and its motion noise."""
        config = self.config
        return noise.normal(n, config.latent_dim + config.noise_vectors(config.frames) * config.motion_dim)

    def length_of(self, latents: Tensor) -> int:
        config = self.config
        vectors = (latents.shape[1] - config.latent_dim) // config.motion_dim
        return config.motion_distance * (vectors - config.noise_vectors(1) + 1)

    def extend_latents(self, latents: Tensor, frames: int, seed: int) -> Tensor:
        config = self.config
        more = config.noise_vectors(frames) - config.noise_vectors(config.frames)
        return torch.cat([latents, self.more_noise(len(latents), max(0, more) * config.motion_dim, seed)], dim=1)

    def generator_arguments(self, frames: int) -> dict[str, Any]:
        return {"frames": frames}

    def arguments_for(self, samples: Samples) -> dict[str, Any]:
        return self.generator_arguments(samples.tensor.shape[2])

    def style_matrices(self) -> list[tuple[int, Tensor]]:
        def read(style: int, layer: nn.Module) -> tuple[int, Tensor]:
            return style, layer.get_parameter("style.weight")

        convolutions = [read(i, layer) for i, layer in enumerate(self.generator.convolutions)]
        return [*convolutions, *(read(2 * i + 1, layer) for i, layer in enumerate(self.generator.to_rgb))]

    def float32_modules(self) -> list[nn.Module]:
        generator, discriminator = self.generator, self.discriminator
        exact = [discriminator.convolution, discriminator.linear, discriminator.output, discriminator.times]
        return [generator.mapping, generator.motion, *generator.to_rgb, *exact]

    def phases(self, train: StyleGANVTrainConfig) -> list[Phase]:
        """Make the phases D, its lazy R1 and G. Each samples its own times; D and G draw their own latents."""
        loss, discriminator, penalties = LOSSES[train.loss], self.discriminator, Penalties.of(train, self.discriminator)
        optimizer, augment = make_optimizer(discriminator, train.discriminator), Augmentation(train, self.device)

        def discriminate(frames: Tensor, times: Tensor, step: Step) -> Tensor:
            return discriminator(augment(frames, step.noise), times)

        def select_frames(step: Step) -> tuple[Tensor, Tensor]:
            times = self.sample_times(step)
            rows = torch.arange(len(times), device=times.device)[:, None]
            return step.real.transpose(1, 2)[rows, times.long()].transpose(1, 2), times

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            times = self.sample_times(step)
            with torch.no_grad():
                fakes = self.generator.frames_at(step.latents(), times)
            real, fake = discriminate(*select_frames(step), step), discriminate(fakes, times, step)
            terms = {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}
            return terms | augment.observe(real)

        def compute_r1(step: Step) -> Tensor:
            frames, times = select_frames(step)
            draws = augment.draw(len(frames), step.noise, frames.device)
            return penalties.r1(lambda real: discriminator(augment.apply_draws(real, draws), times), frames, step.noise)

        def generator_loss(step: Step) -> dict[str, Tensor]:
            times = self.sample_times(step)
            return {"loss": loss.generator(discriminate(self.generator.frames_at(step.latents(), times), times, step))}

        return [
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=optimizer,
                extra_state=augment.extra_state,
                after=augment.adapt,
            ),
            *r1_phases(train, discriminator, optimizer, compute_r1),
            Phase(
                name="G",
                module=self.generator,
                loss=generator_loss,
                optimizer=make_optimizer(self.generator, train.generator),
                interval=train.generator_interval,
            ),
        ]

    def sample_times(self, step: Step) -> Tensor:
        """Draw the times [N, S] of different frames of each clip, in ascending order."""
        order = step.noise.uniform(len(step.real), self.config.frames).argsort(dim=1)
        return send(order[:, : self.config.frames_seen].sort(dim=1).values.to(step.real.dtype), step.real.device)
