"""BigVGAN. Lee et al. 2023, "BigVGAN: A Universal Neural Vocoder with Large-Scale Training", arXiv:2206.04658.

A vocoder with HiFi-GAN's layout. Its activations are periodic, x + sin^2(a x) / b with a and b learned for each channel
(Snake, section 3.1), which suits waves. A nonlinearity makes frequencies above half of the rate, which would fold back.
So each is computed at twice the rate, between two low-pass filters (section 3.2). Where HiFi-GAN has averages of the
wave, discriminators see magnitudes of three resolutions (section 3.3). The losses are those of HiFi-GAN. Gradients
longer than 1000 are scaled down (section 3.4). It is trained in float32 only: in bfloat16, the gradients through so
many sines point elsewhere.

Version 2 of the authors' release has no tanh and no bias at the end. Its discriminators see constant-Q transforms
(arXiv:2311.14957) instead of magnitudes, and its mel loss has seven resolutions. `V2` has its sizes, and `V2_TRAIN` its
training. The authors multiply learning rates by 0.9999996 each step; here they fall as `train.lr_decay_share` says.

F = frames, T = samples = F * hop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.errors import InvalidValueError
from zoo.music.discriminators import (
    ConstantQ,
    ConstantQDiscriminator,
    MagnitudeDiscriminator,
    PeriodDiscriminator,
    average_scores,
)
from zoo.music.mel import MelConfig, log_mel
from zoo.music.vocoder import MelGenerator, UpsamplingConfig, Vocoder, VocoderTrainConfig
from zoo.recipe import LossName, OptimizerConfig, check_unused, within
from zoo.training.phases import Phase

TAPS = 12  # of the filters around each activation
CUTOFF, HALF_WIDTH = 0.25, 0.3  # of those filters, in units of twice the rate
REACH = TAPS // 2  # samples on either side that an activation sees
BLOCK = 32  # samples that are filtered by one matrix product; 16 and 64 take as long
LOSS_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)  # of the mel loss of version 2
LOSS_BANDS = (5, 10, 20, 40, 80, 160, 320)


@dataclass(frozen=True, kw_only=True)
class BigVGANConfig(UpsamplingConfig):
    """The sizes of the networks. The defaults are the paper's of 112 million parameters."""

    rate: int = field(default=24000, metadata=within(4000, 192000))
    """Samples per second of a sound, in Hz."""
    mels: int = field(default=100, metadata=within(1, 512))
    """Bands of the spectrogram."""
    high: float = field(default=0.0, metadata=within(0))
    """Upper edge of the highest band, in Hz; 0: half of the rate."""
    ups: tuple[int, ...] = field(default=(4, 4, 2, 2, 2, 2), metadata=within(2, 64, items=13))
    """Stride of each transposed convolution. Their product is `hop`, so there are 13 at most."""
    up_kernels: tuple[int, ...] = field(default=(8, 8, 4, 4, 4, 4), metadata=within(2, 256, items=13))
    """Kernel of each transposed convolution."""
    width: int = field(default=1536, metadata=within(1, 4096))
    """Channels at the rate of the spectrogram. Each transposed convolution halves them."""
    activation: Literal["snakebeta", "snake"] = "snakebeta"
    """Whether b of x + sin^2(a x) / b is learned by itself (`snakebeta`), or is a (`snake`)."""
    log_scale: bool = True
    """Learn the logarithms of a and b."""
    tanh: bool = True
    """End with a tanh; without it, waves are cut at 1."""
    last_bias: bool = True
    """Whether the last convolution has a bias."""
    resolutions: tuple[tuple[int, ...], ...] = field(
        default=((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)), metadata=within(2, 16384, items=8)
    )
    """FFT, hop and window of each discriminator of magnitudes. Converted vocoders have none: []."""
    resolution_width: int = field(default=32, metadata=within(1, 256))
    """Their channels."""
    octave_bins: tuple[int, ...] = field(default=(), metadata=within(4, 96, items=8))
    """Frequencies in an octave, for each discriminator of constant-Q transforms; version 2 has 24, 36 and 48."""
    octave_hops: tuple[int, ...] = field(default=(), metadata=within(256, 16384, items=8))
    """Their samples from frame to frame, at twice the rate: multiples of 256; version 2 has 512, 256 and 256."""
    octave_width: int = field(default=128, metadata=within(1, 512))
    """Their channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for resolution in self.resolutions:
            fft, hop, window = resolution if len(resolution) == 3 else (0, 0, 0)
            if not hop <= window <= fft or not 0 < fft < 2 * self.length:
                raise InvalidValueError(
                    f"model.resolutions: {list(resolution)} should be an FFT, a hop and a window of at most as many "
                    f"samples, and the FFT below {2 * self.length}, twice the length"
                )
        if len(self.octave_hops) != len(self.octave_bins) or any(
            hop % (1 << (ConstantQ.OCTAVES - 1)) for hop in self.octave_hops
        ):
            raise InvalidValueError("model.octave_hops: one for each of octave_bins is needed, a multiple of 256")
        if self.octave_bins and self.rate < ConstantQ.LOWEST * (1 << ConstantQ.OCTAVES):
            raise InvalidValueError(f"model.octave_bins: nine octaves of tones need more than rate = {self.rate}")


V2 = {
    "tanh": False, "last_bias": False, "length": 65536, "resolutions": (), "octave_bins": (24, 36, 48),
    "octave_hops": (512, 256, 256),
}  # fmt: skip
V2_TRAIN = {"multi_scale": True, "mel_weight": 15.0, "max_grad_norm": 500.0}


@dataclass(frozen=True, kw_only=True)
class BigVGANTrainConfig(VocoderTrainConfig):
    """The paper's training (section 4.1)."""

    batch: int = field(default=32, metadata=within(2, 65536))
    """Real sounds a step, over all processes together."""
    loss: LossName = "least_squares"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=1e-4, betas=(0.8, 0.99))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=1e-4, betas=(0.8, 0.99))
    """The optimizer of all discriminators."""
    max_grad_norm: float = field(default=1000.0, metadata=within(above=0))
    """Longer gradients are scaled down to it."""
    multi_scale: bool = False
    """Whether the mel loss has the seven resolutions of version 2, instead of that of the spectrogram."""

    def __post_init__(self) -> None:
        check_unused(self, "BigVGAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class Snake(nn.Module):
    """Section 3.1: x + sin^2(a x) / b of [N, C, T], with a and b, or their logarithms, for each channel."""

    def __init__(self, channels: int, *, beta: bool, log_scale: bool) -> None:
        super().__init__()
        start = 0.0 if log_scale else 1.0
        self.log_scale = log_scale
        self.alpha = nn.Parameter(torch.full((channels,), start))
        self.beta = nn.Parameter(torch.full((channels,), start)) if beta else None

    def forward(self, x: Tensor) -> Tensor:
        alpha, beta = (value[:, None] for value in (self.alpha, self.alpha if self.beta is None else self.beta))
        if self.log_scale:
            alpha, beta = alpha.exp(), beta.exp()
        return x + (x * alpha).sin().square() / (beta + 1e-9)


def make_filter() -> Tensor:
    """Compute the low-pass filter [1, 1, TAPS] around activations: a sinc in a Kaiser window, of sum 1."""
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * HALF_WIDTH + 7.95  # dB; Kaiser's formulas
    beta = 0.1102 * (attenuation - 8.7)
    places = np.arange(-TAPS // 2, TAPS // 2) + 0.5
    taps = np.kaiser(TAPS, beta) * np.sinc(2 * CUTOFF * places)
    return torch.tensor(taps / taps.sum(), dtype=torch.float32)[None, None]


def filter_blocks(rows: Tensor, matrix: Tensor, step: int) -> Tensor:
    """Multiply each window of rows [N, 1, T], one every `step` samples, by a matrix [window, B]: [N, B windows]."""
    if torch.compiler.is_exporting():  # windows of ONNX have one number, and convolutions any
        return F.conv1d(rows, matrix.mT[:, None], stride=step).mT.flatten(1)
    return (rows[:, 0].unfold(-1, len(matrix), step) @ matrix).flatten(1)


class Activation(nn.Module):
    """Section 3.2: a Snake at twice the rate, between two filters: [N, C, T] of one shape.

    The filters are matrix products of blocks of samples with all that reaches into them. On a CPU, convolutions of
    single channels take several times as long.
    """

    up: Tensor
    down: Tensor

    def __init__(self, channels: int, config: BigVGANConfig) -> None:
        super().__init__()
        self.act = Snake(channels, beta=config.activation == "snakebeta", log_scale=config.log_scale)
        taps = make_filter()
        doubled = 2 * F.conv_transpose1d(torch.eye(BLOCK + 2 * REACH - 2)[:, None], taps, stride=2)
        first = 2 * (REACH - 1) + TAPS // 2 - 1
        halved = F.conv1d(torch.eye(2 * BLOCK + 2 * REACH - 1)[:, None], taps, stride=2)
        self.register_buffer("up", doubled[:, 0, first : first + 2 * BLOCK].contiguous(), persistent=False)
        self.register_buffer("down", halved[:, 0, :BLOCK].contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, channels, length = x.shape
        block = 1 if torch.compiler.is_exporting() else BLOCK  # files take any length, whole blocks or not
        up = self.up[: block + 2 * REACH - 2, : 2 * block]
        down = self.down[: 2 * block + 2 * REACH - 1, :block]
        ends = (REACH - 1, REACH - 1 + block - 1)  # the last block is whole, and what is left over makes none
        rows = F.pad(x.reshape(n * channels, 1, length), ends, mode="replicate")
        doubled = self.act(filter_blocks(rows, up, block).view(n, channels, -1)[..., : 2 * length])
        ends = (REACH - 1, REACH + 2 * block - 2)
        rows = F.pad(doubled.reshape(n * channels, 1, 2 * length), ends, mode="replicate")
        return filter_blocks(rows, down, 2 * block).view(n, channels, -1)[..., :length]


def make_convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    """Make a convolution that keeps the length."""
    return weight_norm(nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))


class AMPBlock1(nn.Module):
    """Pairs of activations and convolutions with a skip connection, the first dilated: [N, C, T] of one shape."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: BigVGANConfig) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(make_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(make_convolution(channels, kernel, 1) for _ in dilations)
        self.activations = nn.ModuleList(Activation(channels, config) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.activations[::2], self.convs1, self.activations[1::2], self.convs2, strict=True)
        for activation1, conv1, activation2, conv2 in pairs:
            x = x + conv2(activation2(conv1(activation1(x))))
        return x


class AMPBlock2(nn.Module):
    """Activations and dilated convolutions, each with a skip connection: [N, C, T] of one shape."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: BigVGANConfig) -> None:
        super().__init__()
        self.convs = nn.ModuleList(make_convolution(channels, kernel, dilation) for dilation in dilations)
        self.activations = nn.ModuleList(Activation(channels, config) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for activation, conv in zip(self.activations, self.convs, strict=True):
            x = x + conv(activation(x))
        return x


class Generator(MelGenerator):
    """Log-mel spectrogram [N, mels, F] -> wave [N, 1, T] in [-1, 1]."""

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        block = AMPBlock1 if config.block == 1 else AMPBlock2
        self.num_kernels, self.tanh = len(config.kernels), config.tanh
        self.conv_pre = weight_norm(nn.Conv1d(config.mels, config.width, 7, padding=3))
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        channels = config.width
        for up, kernel in zip(config.ups, config.up_kernels, strict=True):
            layer = nn.ConvTranspose1d(channels, channels // 2, kernel, up, padding=(kernel - up) // 2)
            self.ups.append(nn.Sequential(weight_norm(layer)))  # named as in published files
            channels //= 2
            for size, dilations in zip(config.kernels, config.dilations, strict=True):
                self.resblocks.append(block(channels, size, dilations, config))
        self.activation_post = Activation(channels, config)
        self.conv_post = weight_norm(nn.Conv1d(channels, 1, 7, padding=3, bias=config.last_bias))
        self.register_spectrograms(config)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.conv_pre(self.standardize(mel))  # [N, W, F]
        for i, up in enumerate(self.ups):
            x = up(x)  # half the channels, `up` times the rate
            blocks = self.resblocks[i * self.num_kernels : (i + 1) * self.num_kernels]
            x = torch.stack([block(x) for block in blocks]).sum(0) / self.num_kernels
        wave = self.conv_post(self.activation_post(x))
        return wave.tanh() if self.tanh else wave.clamp(-1, 1)


class Discriminator(nn.Module):
    """All discriminators as one network: wave [N, 1, T] -> the mean of their scores [N]."""

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, config.period_width) for period in config.periods)
        self.resolutions = nn.ModuleList(
            MagnitudeDiscriminator(fft, hop, window, config.resolution_width) for fft, hop, window in config.resolutions
        )
        self.octaves = nn.ModuleList(
            ConstantQDiscriminator(config.rate, hop, bins, config.octave_width)
            for hop, bins in zip(config.octave_hops, config.octave_bins, strict=True)
        )

    def list_networks(self) -> list[nn.Module]:
        """List all discriminators."""
        return [*self.periods, *self.resolutions, *self.octaves]

    def features(self, wave: Tensor) -> list[list[Tensor]]:
        """Compute the features of each layer of each discriminator. Those of the last layer are its scores.

        Raises InvalidValueError where there is no discriminator, as in converted vocoders.
        """
        networks = self.list_networks()
        if not networks:
            raise InvalidValueError("these weights came without a discriminator")
        return [network(wave) for network in networks]

    def forward(self, wave: Tensor) -> Tensor:
        return average_scores(self.features(wave))


class BigVGAN(Vocoder):
    """Log-mel spectrogram [N, 100, F] -> wave [N, 1, 256 F].

    The generators have 112 M parameters, or 14 M in the paper's base size: `width = 512` and `ups = [8, 8, 2, 2]`. The
    latents are spectrograms of held-out sounds, which are part of the weights.
    """

    Config = BigVGANConfig
    TrainConfig = BigVGANTrainConfig
    ADVERSARIAL_FACTOR = 2.0  # LOSSES["least_squares"] is half of the paper's loss

    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: BigVGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def context(self) -> int:
        return self.config.count_context(REACH)

    def mel_distance(self, fake: Tensor, real: Tensor, train: BigVGANTrainConfig) -> Tensor:
        """Compute the mel loss of waves [N, 1, T], of one resolution or of seven, as `train.multi_scale` says."""
        if train.multi_scale:
            return compare_scales(fake, real, self.config.rate)
        return super().mel_distance(fake, real, train)

    def phases(self, train: BigVGANTrainConfig) -> list[Phase]:
        """Make the phases D and G, after a phase Mel if `pretrain_kimg` asks for one."""
        if not self.discriminator.list_networks():
            raise InvalidValueError("model.periods, resolutions and octave_bins = []: training needs a discriminator")
        phases = super().phases(train)
        for phase in phases:
            phase.max_grad_norm = train.max_grad_norm
        return phases


def compare_scales(fake: Tensor, real: Tensor, rate: int) -> Tensor:
    """Compute the mel loss of version 2, of waves [N, 1, T]: distances of decimal logarithms, summed over windows."""
    distances = []
    for window, bands in zip(LOSS_WINDOWS, LOSS_BANDS, strict=True):
        config = MelConfig(rate=rate, mels=bands, fft=window, hop=window // 4, high=0.0, epsilon=0.0, padding="center")
        with torch.no_grad():
            target = log_mel(real[:, 0], config)
        distances.append(F.l1_loss(log_mel(fake[:, 0], config), target))
    return torch.stack(distances).sum() / math.log(10)
