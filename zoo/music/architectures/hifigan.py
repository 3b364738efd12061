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

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from zoo.data import Store
from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.gan import GAN, Graph
from zoo.music.data.sounds import SoundDataConfig, decode, read_sound
from zoo.music.mel import MelConfig, log_mel, resample
from zoo.music.samples.sounds import Sounds
from zoo.nn.fusion import fuse_norms
from zoo.nn.rows import RowConv1d, RowConvTranspose1d, as_row, as_wave
from zoo.noise import Noise
from zoo.options import InputOptions
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer

SLOPE = 0.1  # of the LeakyReLUs
LAST_SLOPE = 0.01  # of the one before the output
CHUNK = 512  # frames of a long sound that are generated at once
CONTEXT = 32  # frames of context on either side: more than the generator's receptive field


@dataclass(frozen=True, kw_only=True)
class HiFiGANConfig(MelConfig):
    """The sizes of the networks. The defaults are V1."""

    length: int = field(default=8192, metadata=within(256, 1 << 20))
    """Samples of a real sound in training."""
    ups: tuple[int, ...] = field(default=(8, 8, 2, 2), metadata=within(2, 64, items=13))
    """Stride of each transposed convolution. Their product is `hop`, so there are 13 at most."""
    up_kernels: tuple[int, ...] = field(default=(16, 16, 4, 4), metadata=within(2, 256, items=13))
    """Kernel of each transposed convolution."""
    width: int = field(default=512, metadata=within(1, 4096))
    """Channels at the rate of the spectrogram. Each transposed convolution halves them."""
    block: Literal[1, 2] = 1
    """The kind of residual block: of pairs of convolutions (1), or of single ones (2)."""
    kernels: tuple[int, ...] = field(default=(3, 7, 11), metadata=within(1, 63, items=8))
    """Kernels of the residual blocks after each transposed convolution. Few: each has layers at every rate."""
    dilations: tuple[tuple[int, ...], ...] = field(default=((1, 3, 5),) * 3, metadata=within(1, 64, items=8))
    """For each kernel, the dilations of its block."""
    periods: tuple[int, ...] = field(default=(2, 3, 5, 7, 11), metadata=within(1, 64, items=16))
    """Periods of the multi-period discriminators. Converted vocoders have none: []."""
    period_width: int = field(default=32, metadata=within(1, 256))
    """Channels of their first layer. The last has 32 times as many."""
    scales: int = field(default=3, metadata=within(0, 8))
    """Number of multi-scale discriminators, for the wave, its half rate, its quarter, and so on; 0: none."""
    scale_width: int = field(default=128, metadata=within(16, 512))
    """Channels of their first layer, a multiple of 16. The last has 8 times as many."""
    standardized: bool = False
    """Scale each band of a spectrogram to mean 0 and deviation 1 over the data, as SpeechT5's vocoder does. The paper
    does not."""
    held: int = field(default=16, metadata=within(0, 1024))
    """Spectrograms of held-out sounds in the weights, to sample from where no sound is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.prod(self.ups) != self.hop:
            raise InvalidValueError(
                f"model.ups = {list(self.ups)} raise the rate by {math.prod(self.ups)}, not by hop = {self.hop}"
            )
        if len(self.up_kernels) != len(self.ups) or len(self.dilations) != len(self.kernels):
            raise InvalidValueError(
                "model: as many up_kernels as ups, and as many lists of dilations as kernels, are needed"
            )
        if any((kernel - up) % 2 or kernel < up for up, kernel in zip(self.ups, self.up_kernels, strict=True)):
            raise InvalidValueError("model.up_kernels: each should be its up and an even number more")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise InvalidValueError(
                f"model.kernels = {list(self.kernels)} should be odd, so that a block gives its length back"
            )
        if self.length <= (edge := (self.fft - self.hop + 1) // 2):
            raise InvalidValueError(
                f"model.length = {self.length} should be above {edge}: the edges of a spectrogram are reflected"
            )
        if self.width % (1 << len(self.ups)) or self.length % self.hop or self.scale_width % 16:
            raise InvalidValueError(
                f"model: width should be a multiple of {1 << len(self.ups)}, length of hop = {self.hop}, "
                "and scale_width of 16"
            )

    @property
    def mel(self) -> MelConfig:
        """The kind of spectrograms that the generator takes."""
        return MelConfig(rate=self.rate, mels=self.mels, fft=self.fft, hop=self.hop, low=self.low, high=self.high)

    @property
    def frames(self) -> int:
        return self.length // self.hop


V2 = {"width": 128}
V3 = {
    "ups": (8, 8, 4), "up_kernels": (16, 16, 8), "width": 256,
    "block": 2, "kernels": (3, 5, 7), "dilations": ((1, 2), (2, 6), (3, 12)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HiFiGANTrainConfig(TrainConfig):
    """The paper's training (section 3.2)."""

    batch: int = field(default=16, metadata=within(2, 65536))
    """Real sounds a step, over all processes together."""
    loss: LossName = "least_squares"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.8, 0.99))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.8, 0.99))
    """The optimizer of all discriminators."""
    ema_halflife_kimg: float = field(default=0.0, metadata=within(0))
    """Half-life of a weight in the moving average of the generator. 0: no average, as in the paper."""
    feature_weight: float = field(default=2.0, metadata=within(0))
    """Weight of the distance between the discriminators' features of real and generated sounds."""
    mel_weight: float = field(default=45.0, metadata=within(0))
    """Weight of the distance between log-mel spectrograms, over all frequencies."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until then the generator learns from the mel loss alone, which costs less. 0: adversarial from the start."""

    def __post_init__(self) -> None:
        check_unused(self, "HiFi-GAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class ResBlock1(nn.Module):
    """Pairs of convolutions with a skip connection, the first of each dilated: rows [N, C, 1, T] of one shape."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_make_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_make_convolution(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            inner = F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE, inplace=True)
            x = second(inner).add_(x)
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions, each with a skip connection: rows [N, C, 1, T] of one shape."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_make_convolution(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(F.leaky_relu(x, SLOPE)).add_(x)
        return x


def _make_convolution(channels: int, kernel: int, dilation: int) -> nn.Module:
    """Make a convolution that keeps the length."""
    return weight_norm(RowConv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2))


class Generator(nn.Module):
    """Log-mel spectrogram [N, mels, F] -> wave [N, 1, T] in (-1, 1)."""

    held: Tensor
    mean: Tensor
    scale: Tensor

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
        held = torch.randn(config.held, config.mels, config.frames)  # noise, until `init_from_data`
        self.register_buffer("held", held)
        # Mean and deviation of the bands: some published vocoders were trained on standardized spectrograms.
        self.register_buffer("mean", torch.zeros(config.mels, 1))
        self.register_buffer("scale", torch.ones(config.mels, 1))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.conv_pre(as_row((mel - self.mean) / self.scale))  # [N, W, 1, F]
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE, inplace=True))  # half the channels, `up` times the rate
            blocks = self.resblocks[i * self.num_kernels : (i + 1) * self.num_kernels]
            total = blocks[0](x)
            for block in blocks[1:]:
                total.add_(block(x))
            x = total.div_(self.num_kernels)
        return as_wave(self.conv_post(F.leaky_relu(x, LAST_SLOPE, inplace=True)).tanh_())


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
        return _compute_layers(x, self.convs, self.conv_post)


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
        return _compute_layers(wave, self.convs, self.conv_post)


def _compute_layers(x: Tensor, convs: nn.ModuleList, last: nn.Module) -> list[Tensor]:
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        features.append(x)
    return [*features, last(x)]


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


def average_scores(features: list[list[Tensor]]) -> Tensor:
    """Average the scores of all discriminators [N]."""
    return torch.stack([layers[-1].flatten(1).mean(1) for layers in features]).mean(0)


def feature_distance(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Compute equation 5: mean absolute differences of the features, summed over layers and discriminators."""
    pairs = [pair for layers in zip(real, fake, strict=True) for pair in zip(*layers, strict=True)]
    return torch.stack([F.l1_loss(b, a) for a, b in pairs]).sum()


class HiFiGAN(GAN[Sounds]):
    """Log-mel spectrogram [N, 80, F] -> wave [N, 1, 256 F].

    Without weight norm the generators have 13,926,017 (V1), 925,985 (V2) and 1,462,273 (V3) parameters. The
    discriminators have 70.7 M. The latents are spectrograms of held-out sounds, which are part of the weights.
    """

    Config = HiFiGANConfig
    DataConfig = SoundDataConfig
    TrainConfig = HiFiGANTrainConfig
    SampleOptions = InputOptions
    Output = Sounds
    FEATURES = False

    generator: Generator
    discriminator: Discriminator

    _cache: tuple[list[tuple[int, int]], nn.Module] | None = None

    def __init__(self, config: HiFiGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int]:
        return (1, self.config.length)

    def init_from_data(self, data: Store) -> None:
        """Keep evenly spaced spectrograms of the test split.

        Where they are standardized, the bands' means and deviations are those of 512 rows of the training split.
        """
        if self.config.standardized:
            train = data.indices("train")
            mel = log_mel(decode(data.samples[train[:: max(1, len(train) // 512)]])[:, 0], self.config.mel)
            self.generator.mean.copy_(mel.mean((0, 2))[:, None])
            self.generator.scale.copy_(mel.std((0, 2))[:, None].clamp_min(1e-3))
        rows = data.indices("test")
        chosen = rows[torch.linspace(0, len(rows) - 1, self.config.held).long().numpy()]
        self.generator.held.copy_(log_mel(decode(data.samples[chosen])[:, 0], self.config.mel))

    def latents(self, n: int, noise: Noise) -> Tensor:
        """Choose random spectrograms [n, mels, F] of those in the weights.

        Raises InvalidValueError where there are none.
        """
        held = self.generator.held
        if not len(held):
            raise InvalidValueError("this vocoder has no spectrograms to sample from; give it a sound: --input FILE")
        return held[send((noise.uniform(n) * len(held)).long(), held.device)]

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        return log_mel(real[:, 0], self.config.mel)

    def _sample(
        self, n: int, seed: int, batch_size: int, progress: Callable[[int], None] | None, options: InputOptions
    ) -> Sounds:
        """Vocode spectrograms of the weights or, with `options.input`, the spectrogram of a sound file.

        A file may have any sample rate and length. It is resampled to the model's rate, and `n` does not matter.

        Raises InvalidFileError for a sound file that cannot be used.
        """
        if options.input is None:
            return super()._sample(n, seed, batch_size, progress, options)
        wave, rate = read_sound(Path(options.input).expanduser())
        mel = self.to_mel(resample(wave, rate, self.config.rate), self.config.rate)[None]
        output = self.vocode(mel)[..., : round(len(wave) / rate * self.config.rate)]
        if progress is not None:
            progress(n)
        return self.output(output, mel)

    def _stream(self, n: int, seed: int, batch_size: int, options: InputOptions) -> Iterator[Sounds]:
        if options.input is None:
            return super()._stream(n, seed, batch_size, options)
        return iter([replace(self._sample(n, seed, batch_size, None, options), source=self.name)])

    def to_mel(self, wave: Tensor, rate: int) -> Tensor:
        """Compute the spectrogram [mels, F] of a wave [T]. Raises InvalidValueError for another sample rate."""
        if rate != self.config.rate:
            raise InvalidValueError(
                f"a sound at {rate} Hz, and this vocoder's spectrograms are of {self.config.rate} Hz: resample it first"
            )
        least = max(self.config.fft, self.config.hop)
        padding = max(least - len(wave), -len(wave) % self.config.hop)
        return log_mel(F.pad(wave, (0, padding)), self.config.mel)

    @torch.no_grad()
    def vocode(self, mel: Tensor) -> Tensor:
        """Convert spectrograms [N, mels, F] of any length to waves [N, 1, F * hop], in pieces that limit the memory.

        Raises InvalidValueError for another number of bands.
        """
        if mel.dim() != 3 or mel.shape[1] != self.config.mels:
            raise InvalidValueError(f"spectrograms [N, {self.config.mels}, F] are needed; got {list(mel.shape)}")
        generator, hop = self._fuse_generator(), self.config.hop
        parts = []
        for start in range(0, mel.shape[-1], CHUNK):
            first, last = max(0, start - CONTEXT), min(mel.shape[-1], start + CHUNK + CONTEXT)
            wave = generator(mel[..., first:last])
            parts.append(wave[..., (start - first) * hop :][..., : min(CHUNK, mel.shape[-1] - start) * hop])
        return torch.cat(parts, dim=-1)

    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return the vocoder: spectrograms [N, mels, F] of any length -> waves [N, 1, F * hop].

        The examples of n samples are n times as long as one, so that both sizes vary.
        """
        graph = super().prepare_export(n, seed)
        mel = graph.inputs["latents"].repeat(1, 1, n)
        usage = "Give log-mel spectrograms, of zoo.music.mel.log_mel for the config of this model."
        return replace(graph, inputs={"mel": mel}, free={"mel": {2: "frames"}}, usage=usage)

    def _fuse_generator(self) -> nn.Module:
        """Return the generator without weight norm. It is cached until a weight changes."""
        state = [(value.data_ptr(), value._version) for value in self.generator.state_dict().values()]
        if self._cache is None or self._cache[0] != state:
            self._cache = (state, fuse_norms(self.generator))
        return self._cache[1]

    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> Sounds:
        raise InvalidValueError("a vocoder has no latents to interpolate: it makes the sound of a given spectrogram")

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Sounds:
        return Sounds(tensor=tensor, latents=latents, seed=seed, rate=self.config.rate)

    def float32_modules(self) -> list[nn.Module]:
        discriminators = [*self.discriminator.periods, *self.discriminator.scales]
        return [self.generator.conv_post, *(network.conv_post for network in discriminators)]

    def phases(self, train: HiFiGANTrainConfig) -> list[Phase]:
        """Make the phases D and G, after a phase Mel if `pretrain_kimg` asks for one."""
        if not self.config.periods and not self.config.scales:
            raise InvalidValueError("model.periods = [] and model.scales = 0: training needs a discriminator")
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        whole = replace(self.config.mel, high=0.0)  # all frequencies, so that the mel loss covers them all

        def mel_loss(step: Step) -> Tensor:
            with torch.no_grad():
                target = log_mel(step.real[:, 0], whole)
            return F.l1_loss(log_mel(step.fake[:, 0], whole), target)

        def pretraining_loss(step: Step) -> dict[str, Tensor]:
            mel = mel_loss(step)
            return {"loss": train.mel_weight * mel, "mel": mel}

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = discriminator.features(step.real), discriminator.features(step.fake.detach())
            losses = [loss.discriminator(a[-1], b[-1]) for a, b in zip(real, fake, strict=True)]
            # LOSSES["least_squares"] is half of equation 1.
            return {"loss": 2 * torch.stack(losses).sum(), "real": average_scores(real), "fake": average_scores(fake)}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            fake = discriminator.features(step.fake)
            with torch.no_grad():  # real features do not depend on the generator
                real = discriminator.features(step.real)
            adversarial = 2 * torch.stack([loss.generator(features[-1]) for features in fake]).sum()
            features, mel = feature_distance(real, fake), mel_loss(step)
            return {
                "loss": adversarial + train.feature_weight * features + train.mel_weight * mel,
                "features": features,
                "mel": mel,
            }

        discriminator_optimizer = make_optimizer(discriminator, train.discriminator)
        optimizer, adversarial_start = make_optimizer(generator, train.generator), train.pretrain_kimg
        phases = [
            Phase(name="Mel", module=generator, loss=pretraining_loss, optimizer=optimizer, end_kimg=adversarial_start),
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=discriminator_optimizer,
                start_kimg=adversarial_start,
            ),
            Phase(
                name="G",
                module=generator,
                loss=generator_loss,
                optimizer=optimizer,
                interval=train.generator_interval,
                start_kimg=adversarial_start,
            ),
        ]
        return phases if adversarial_start else phases[1:]
