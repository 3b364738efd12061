"""HiFi-GAN. Kong, Kim & Bae 2020, "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech
Synthesis", arXiv:2010.05646.

A vocoder: its generator turns a log-mel spectrogram into a wave that fits it. Transposed convolutions lead from frames
to samples. After each of them comes the mean of several residual blocks with different kernels and dilations (section
2.2). Multi-period discriminators see every p-th sample, as the rows of a picture; multi-scale ones see the wave and its
averages (section 2.3). The generator has three losses (equations 1 to 7). The adversarial one is least squares. Feature
matching (weight 2) compares the discriminators' features of real and generated sounds. The mel loss (weight 45)
compares the spectrograms of both.

V1, V2 and V3 are the paper's sizes (appendix A.1). Weight norm (Salimans & Kingma 2016) is removed for sampling. The
paper multiplies the learning rates by 0.999 each epoch; here they fall as `train.lr_decay_share` says.

F = frames, T = samples = F * hop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from zoo.errors import InvalidValueError
from zoo.music.discriminators import SLOPE, PeriodDiscriminator, ScaleDiscriminator, average_scores
from zoo.music.vocoder import MelGenerator, UpsamplingConfig, Vocoder, VocoderTrainConfig
from zoo.nn.rows import RowConv1d, RowConvTranspose1d, as_row, as_wave
from zoo.recipe import LossName, OptimizerConfig, check_unused, within
from zoo.training.phases import Phase

LAST_SLOPE = 0.01  # of the LeakyReLU before the output


@dataclass(frozen=True, kw_only=True)
class HiFiGANConfig(UpsamplingConfig):
    """The sizes of the networks. The defaults are V1."""

    scales: int = field(default=3, metadata=within(0, 8))
    """Number of multi-scale discriminators, for the wave, its half rate, its quarter, and so on; 0: none."""
    scale_width: int = field(default=128, metadata=within(16, 512))
    """Channels of their first layer, a multiple of 16. The last has 8 times as many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_width % 16:
            raise InvalidValueError(f"model.scale_width = {self.scale_width} should be a multiple of 16")


V2 = {"width": 128}
V3 = {
    "ups": (8, 8, 4), "up_kernels": (16, 16, 8), "width": 256,
    "block": 2, "kernels": (3, 5, 7), "dilations": ((1, 2), (2, 6), (3, 12)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HiFiGANTrainConfig(VocoderTrainConfig):
    """The paper's training (section 3.2), without its decay of the learning rates by 0.999 an epoch."""

    loss: LossName = "least_squares"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.8, 0.99))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.8, 0.99))
    """The optimizer of all discriminators."""

    def __post_init__(self) -> None:
        check_unused(self, "HiFi-GAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class ResBlock1(nn.Module):
    """Pairs of convolutions with a skip connection, the first of each dilated: rows [N, C, 1, T] of one shape.

    The first rectifier is given, since the blocks of one rate share it.
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_make_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_make_convolution(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor, rectified: Tensor) -> Tensor:
        for i, (first, second) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            inner = first(F.leaky_relu(x, SLOPE) if i else rectified)
            x = second(F.leaky_relu(inner, SLOPE, inplace=True)).add_(x)
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions, each with a skip connection: rows [N, C, 1, T] of one shape.

    The first rectifier is given, as in `ResBlock1`.
    """

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_make_convolution(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor, rectified: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(F.leaky_relu(x, SLOPE) if i else rectified).add_(x)
        return x


def _make_convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    """Make a convolution that keeps the length."""
    return weight_norm(RowConv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))


class Generator(MelGenerator):
    """Log-mel spectrogram [N, mels, F] -> wave [N, 1, T] in (-1, 1)."""

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        block = ResBlock1 if config.block == 1 else ResBlock2
        self.num_kernels = len(config.kernels)
        self.conv_pre = weight_norm(RowConv1d(config.mels, config.width, 7, padding=3))
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        channels = config.width
        for up, kernel in zip(config.ups, config.up_kernels, strict=True):
            self.ups.append(
                weight_norm(RowConvTranspose1d(channels, channels // 2, kernel, up, padding=(kernel - up) // 2))
            )
            channels //= 2
            for size, dilations in zip(config.kernels, config.dilations, strict=True):
                self.resblocks.append(block(channels, size, dilations))
        self.conv_post = weight_norm(RowConv1d(channels, 1, 7, padding=3))
        self.register_spectrograms(config)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.conv_pre(as_row(self.standardize(mel)))  # [N, W, 1, F]
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE, inplace=True))  # half the channels, `up` times the rate
            rectified = F.leaky_relu(x, SLOPE)
            blocks = self.resblocks[i * self.num_kernels : (i + 1) * self.num_kernels]
            total = blocks[0](x, rectified)
            for block in blocks[1:]:
                total.add_(block(x, rectified))
            x = total.div_(self.num_kernels)
        return as_wave(self.conv_post(F.leaky_relu(x, LAST_SLOPE, inplace=True)).tanh_())


class Discriminator(nn.Module):
    """All discriminators as one network: wave [N, 1, T] -> the mean of their scores [N]."""

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, config.period_width) for period in config.periods)
        self.scales = nn.ModuleList(
            ScaleDiscriminator(config.scale_width, weight_norm if i else spectral_norm) for i in range(config.scales)
        )

    def features(self, wave: Tensor) -> list[list[Tensor]]:
        """Compute the features of each layer of each discriminator. Those of the last layer are its scores.

        Raises InvalidValueError where there is no discriminator, as in converted vocoders.
        """
        if not len(self.periods) + len(self.scales):
            raise InvalidValueError("these weights came without a discriminator")
        features = [period(wave) for period in self.periods]
        for i, scale in enumerate(self.scales):
            wave = F.avg_pool1d(wave, 4, 2, padding=2) if i else wave
            features.append(scale(wave))
        return features

    def forward(self, wave: Tensor) -> Tensor:
        return average_scores(self.features(wave))


class HiFiGAN(Vocoder):
    """Log-mel spectrogram [N, 80, F] -> wave [N, 1, 256 F].

    Without weight norm the generators have 13,926,017 (V1), 925,985 (V2) and 1,462,273 (V3) parameters. The
    discriminators have 70.7 M. The latents are spectrograms of held-out sounds, which are part of the weights.
    """

    Config = HiFiGANConfig
    TrainConfig = HiFiGANTrainConfig
    ADVERSARIAL_FACTOR = 2.0  # LOSSES["least_squares"] is half of equation 1

    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def context(self) -> int:
        return self.config.count_context()

    def float32_modules(self) -> list[nn.Module]:
        discriminators = [*self.discriminator.periods, *self.discriminator.scales]
        return [self.generator.conv_post, *(network.conv_post for network in discriminators)]

    def phases(self, train: HiFiGANTrainConfig) -> list[Phase]:
        """Make the phases D and G, after a phase Mel if `pretrain_kimg` asks for one."""
        if not self.config.periods and not self.config.scales:
            raise InvalidValueError("model.periods = [] and model.scales = 0: training needs a discriminator")
        return super().phases(train)
