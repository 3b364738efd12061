"""Vocos. Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality
audio synthesis", arXiv:2306.00814.

A vocoder without upsampling. A ConvNeXt (section 3.2.1) keeps the frames of the spectrogram. Its head predicts, for
each frame, magnitudes and phases of a short-time Fourier transform, whose inverse is the wave (section 3.2.2). A phase
p is any number, and counts by cos p and sin p, so that it wraps by itself. That costs a fraction of the convolutions at
audio rate that other vocoders have.

Multi-period discriminators are HiFi-GAN's. Others look at complex spectra of three resolutions, band by band. Their
losses count a tenth (section 3.3). All are hinge losses, averaged over the discriminators of a group, with feature
matching and 45 times the mel loss.

The networks and losses are those of the authors' release, which replaced the paper's discriminators of magnitudes by
those of the Descript audio codec (arXiv:2306.06546). One thing differs: feature matching counts the first layer of each
period discriminator, as in HiFi-GAN. The release's learning rates are 5e-4 with betas of 0.8 and 0.9, where the paper
has 2e-4, 0.9 and 0.999, which are the defaults here. Waves are not made louder and softer in training.

F = frames, T = samples: (F - 1) * hop, or F * hop with `padding = "same"`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidValueError
from zoo.gan import Graph
from zoo.music.discriminators import PeriodDiscriminator, ResolutionDiscriminator, average_scores
from zoo.music.mel import MelConfig
from zoo.music.samples.sounds import Sounds
from zoo.music.vocoder import MelGenerator, Vocoder, VocoderConfig, VocoderTrainConfig
from zoo.nn.precision import use_float32
from zoo.noise import Noise
from zoo.recipe import LossName, OptimizerConfig, ScheduleConfig, check_unused, within
from zoo.training.phases import Phase

KERNEL = 7  # of all convolutions
MOST_MAGNITUDE = 100.0  # of a frequency in a frame
ENTRIES = 1024  # of each codebook
BOOKS = (2, 4, 8, 16)  # of EnCodec at 1.5, 3, 6 and 12 kbit/s, which a number stands for in the adaptive norms


@dataclass(frozen=True, kw_only=True)
class VocosConfig(VocoderConfig):
    """The sizes of the networks. The defaults are those of the paper's vocoder of 24 kHz."""

    rate: int = field(default=24000, metadata=within(4000, 192000))
    """Samples per second of a sound, in Hz."""
    mels: int = field(default=100, metadata=within(1, 512))
    """Bands of the spectrogram, or features that codes stand for."""
    high: float = field(default=0.0, metadata=within(0))
    """Upper edge of the highest band, in Hz; 0: half of the rate."""
    mel_scale: Literal["slaney", "htk"] = "htk"
    """The formula that spaces the bands: Slaney's, or that of HTK."""
    equal_area: bool = False
    """Divide each band by its width, so that noise is as loud in all of them."""
    floor: float = field(default=1e-7, metadata=within(1e-12, 1))
    """Magnitudes below it count as silence."""
    epsilon: float = field(default=0.0, metadata=within(0, 1))
    """What is added to squared magnitudes before the root; some published vocoders have 0."""
    padding: Literal["same", "center"] = "center"
    """Where frames lie: `same`, T samples have T / hop frames; `center`, one more, each around a multiple of hop."""
    length: int = field(default=16384, metadata=within(256, 1 << 20))
    """Samples of a real sound in training."""
    width: int = field(default=512, metadata=within(1, 4096))
    """Channels of the ConvNeXt."""
    inner_width: int = field(default=1536, metadata=within(1, 16384))
    """Channels inside of its blocks."""
    layers: int = field(default=8, metadata=within(1, 64))
    """Blocks of the ConvNeXt."""
    codebooks: int = field(default=0, metadata=within(0, 64))
    """Codebooks of EnCodec, whose codes are taken instead of spectrograms; 0: spectrograms."""
    resolutions: tuple[int, ...] = field(default=(2048, 1024, 512), metadata=within(32, 16384, items=8))
    """Samples of a frame, for each discriminator of spectra. Converted vocoders have none: []."""
    resolution_width: int = field(default=32, metadata=within(1, 256))
    """Their channels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fft % 2 or self.hop > self.fft // 2:
            raise InvalidValueError(
                f"model: fft = {self.fft} should be even, and hop = {self.hop} at most half of it: frames overlap"
            )
        if self.codebooks and (self.held or self.standardized):
            raise InvalidValueError("model.codebooks: codes have no held spectrograms, and no bands to standardize")
        if self.length <= max(self.resolutions, default=0) // 2:
            raise InvalidValueError(
                f"model.length = {self.length} should be above half of each of the resolutions "
                f"{list(self.resolutions)}: the edges are reflected"
            )


@dataclass(frozen=True, kw_only=True)
class VocosTrainConfig(VocoderTrainConfig):
    """The paper's training (section 4.1)."""

    loss: LossName = "hinge"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.9, 0.999))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(kind="adamw", lr=2e-4, betas=(0.9, 0.999))
    """The optimizer of all discriminators."""
    schedule: ScheduleConfig = ScheduleConfig(lr_factor=0.0)
    """Settings that change during the training: the learning rates fall to 0."""
    feature_weight: float = field(default=1.0, metadata=within(0))
    """Weight of the distance between the discriminators' features of real and generated sounds."""
    spectral_weight: float = field(default=0.1, metadata=within(0))
    """Weight of the discriminators of spectra, where those of periods have 1."""

    def __post_init__(self) -> None:
        check_unused(self, "Vocos", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class AdaptiveLayerNorm(nn.Module):
    """A layer norm whose scale and shift depend on a number: [N, F, C] of one shape."""

    def __init__(self, numbers: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.scale = nn.Embedding(numbers, channels)
        self.shift = nn.Embedding(numbers, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, number: Tensor) -> Tensor:
        return F.layer_norm(x, (self.channels,), eps=1e-6) * self.scale(number) + self.shift(number)


class ConvNeXtBlock(nn.Module):
    """Section 3.2.1, after Liu et al. 2022, arXiv:2201.03545: [N, C, F] of one shape."""

    def __init__(self, width: int, inner_width: int, first_scale: float, numbers: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = make_norm(width, numbers)
        self.pwconv1 = nn.Linear(width, inner_width)
        self.pwconv2 = nn.Linear(inner_width, width)
        self.gamma = nn.Parameter(torch.full((width,), first_scale))

    def forward(self, x: Tensor, *number: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x).transpose(1, 2), *number)  # [N, F, C]
        inner = self.gamma * self.pwconv2(F.gelu(self.pwconv1(inner)))
        return x + inner.transpose(1, 2)


def make_norm(width: int, numbers: int) -> nn.Module:
    return AdaptiveLayerNorm(numbers, width) if numbers else nn.LayerNorm(width, eps=1e-6)


class Backbone(nn.Module):
    """Spectrogram [N, mels, F] -> features [N, F, C]. With `numbers`, the norms depend on one below it."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        numbers = len(BOOKS) if config.codebooks else 0
        self.embed = nn.Conv1d(config.mels, config.width, KERNEL, padding=KERNEL // 2)
        self.norm = make_norm(config.width, numbers)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(config.width, config.inner_width, 1 / config.layers, numbers) for _ in range(config.layers)
        )
        self.final_layer_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.apply(initialize)

    def forward(self, mel: Tensor, *number: Tensor) -> Tensor:
        x = self.norm(self.embed(mel).transpose(1, 2), *number).transpose(1, 2)  # [N, C, F]
        for block in self.convnext:
            x = block(x, *number)
        return self.final_layer_norm(x.transpose(1, 2))


def initialize(module: nn.Module) -> None:
    """Initialize a convolution or linear layer as the authors do."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class InverseSTFT(nn.Module):
    """Real and imaginary parts [N, fft / 2 + 1, F] -> wave [N, T], by overlap and add of windowed frames."""

    def __init__(self, fft: int, hop: int, padding: str) -> None:
        super().__init__()
        self.fft, self.hop = fft, hop
        self.cut = fft // 2 if padding == "center" else (fft - hop) // 2  # samples on the left
        self.both = fft if padding == "center" else fft - hop  # samples on both sides

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        window = torch.hann_window(self.fft, device=real.device)
        frames = torch.fft.irfft(torch.complex(real, imaginary), self.fft, dim=1) * window[:, None]  # [N, fft, F]
        squares = window.square()[None, :, None].expand(1, self.fft, real.shape[-1])
        return self.divide(self.add(frames), self.add(squares))

    def add(self, frames: Tensor) -> Tensor:
        """Add up frames [N, fft, F] where they lie: [N, T + both]. `torch.istft` would wait for a GPU."""
        length = (frames.shape[-1] - 1) * self.hop + self.fft
        return F.fold(frames, (1, length), (1, self.fft), stride=(1, self.hop))[:, 0, 0]

    def divide(self, wave: Tensor, squares: Tensor) -> Tensor:
        """Cut the edges, and divide by the sum of squared windows."""
        inside = slice(self.cut, wave.shape[-1] - (self.both - self.cut))
        return wave[:, inside] / squares[:, inside]


class ConvolutionalInverseSTFT(InverseSTFT):
    """The same by transposed convolutions, for programs without complex numbers. It costs ten times as much."""

    basis: Tensor
    squares: Tensor

    def __init__(self, fft: int, hop: int, padding: str) -> None:
        super().__init__(fft, hop, padding)
        turns = torch.outer(torch.arange(fft // 2 + 1), torch.arange(fft)) % fft  # exact, as an angle would not be
        angles = turns.double() * (2 * math.pi / fft)
        window = torch.hann_window(fft, dtype=torch.float64)
        twice = torch.full((fft // 2 + 1, 1), 2.0, dtype=torch.float64)  # but the first and last frequency
        twice[[0, -1]] = 1
        basis = torch.cat([twice * angles.cos(), -twice * angles.sin()]) * window / fft
        self.register_buffer("basis", basis[:, None].float(), persistent=False)  # [fft + 2, 1, fft]
        self.register_buffer("squares", window.square()[None, None].float(), persistent=False)

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        parts = torch.cat([real, imaginary], dim=1)
        wave = F.conv_transpose1d(parts, self.basis, stride=self.hop)
        squares = F.conv_transpose1d(torch.ones_like(parts[:, :1]), self.squares, stride=self.hop)
        return self.divide(wave[:, 0], squares[:, 0])


class Head(nn.Module):
    """Features [N, F, C] -> wave [N, T]: equations of section 3.2.2. It computes in float32."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.width, config.fft + 2)
        self.istft = InverseSTFT(config.fft, config.hop, config.padding)
        initialize(self.out)

    def forward(self, x: Tensor) -> Tensor:
        with use_float32(x.device):  # phases are large numbers, of which half precision keeps too little
            numbers = F.linear(x.float(), self.out.weight.float(), self.out.bias.float())
            magnitude, phase = numbers.transpose(1, 2).chunk(2, dim=1)  # [N, fft / 2 + 1, F]
            magnitude = magnitude.exp().clamp_max(MOST_MAGNITUDE)
            return self.istft(magnitude * phase.cos(), magnitude * phase.sin())


class CodeFeatures(nn.Module):
    """Codes [N, K, F] of K codebooks -> features [N, D, F]: the sum of what the codes stand for."""

    codebook_weights: Tensor

    def __init__(self, codebooks: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("codebook_weights", torch.randn(codebooks * ENTRIES, channels))

    def forward(self, codes: Tensor) -> Tensor:
        firsts = ENTRIES * torch.arange(codes.shape[1], device=codes.device)[:, None]
        return F.embedding(codes + firsts, self.codebook_weights).sum(1).transpose(1, 2)


class Generator(MelGenerator):
    """Log-mel spectrogram [N, mels, F], or codes [N, K, F] -> wave [N, 1, T]."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.feature_extractor = CodeFeatures(config.codebooks, config.mels) if config.codebooks else None
        self.backbone = Backbone(config)
        self.head = Head(config)
        self.register_spectrograms(config)

    def forward(self, mel: Tensor) -> Tensor:
        if self.feature_extractor is None:
            return self.head(self.backbone(self.standardize(mel)))[:, None]
        number = torch.tensor(BOOKS.index(mel.shape[1]), device=mel.device)
        return self.head(self.backbone(self.feature_extractor(mel), number))[:, None]


class Discriminator(nn.Module):
    """All discriminators as one network: wave [N, 1, T] -> the mean of their scores [N]."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.periods = nn.ModuleList(PeriodDiscriminator(period, config.period_width) for period in config.periods)
        self.resolutions = nn.ModuleList(
            ResolutionDiscriminator(fft, config.resolution_width) for fft in config.resolutions
        )

    def features(self, wave: Tensor) -> list[list[Tensor]]:
        """Compute the features of each layer of each discriminator. Those of the last layer are its scores.

        Raises InvalidValueError where there is no discriminator, as in converted vocoders.
        """
        if not len(self.periods) + len(self.resolutions):
            raise InvalidValueError("these weights came without a discriminator")
        return [discriminator(wave) for discriminator in (*self.periods, *self.resolutions)]

    def forward(self, wave: Tensor) -> Tensor:
        return average_scores(self.features(wave))


class Vocos(Vocoder):
    """Log-mel spectrogram [N, 100, F] -> wave [N, 1, 256 (F - 1)].

    The generator of 24 kHz has 13,531,650 parameters, and the discriminators have 42.5 M. The latents are spectrograms
    of held-out sounds, which are part of the weights. A vocoder of codes takes codes of EnCodec [N, K, F] in `vocode`,
    of 2, 4, 8 or 16 codebooks. It makes no codes itself, and is not trained here.
    """

    Config = VocosConfig
    TrainConfig = VocosTrainConfig

    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: VocosConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def context(self) -> int:
        """The frames that the convolutions see on either side, 27 in the paper's sizes, and those that overlap."""
        return (self.config.layers + 1) * (KERNEL // 2) + math.ceil(self.config.fft / self.config.hop)

    def latents(self, n: int, noise: Noise) -> Tensor:
        self._check_takes_spectrograms()
        return super().latents(n, noise)

    def to_mel(self, wave: Tensor, rate: int) -> Tensor:
        """Compute the spectrogram [mels, F] of a wave [T].

        Raises InvalidValueError for another sample rate, and where this vocoder takes codes.
        """
        self._check_takes_spectrograms()
        return super().to_mel(wave, rate)

    def _check_takes_spectrograms(self) -> None:
        if self.config.codebooks:
            raise InvalidValueError("this vocoder takes codes of EnCodec, and makes none: give them to model.vocode")

    def check_spectrograms(self, mel: Tensor, made_as: MelConfig | None = None) -> None:
        """Raise InvalidValueError for another shape or kind of spectrograms, or for what no codes are."""
        if not self.config.codebooks:
            super().check_spectrograms(mel, made_as)
            return
        books = [k for k in BOOKS if k <= self.config.codebooks]
        if mel.dim() != 3 or mel.shape[1] not in books or mel.is_floating_point():
            raise InvalidValueError(
                f"whole numbers [N, K, F] are needed, codes of K = {', '.join(map(str, books))} codebooks; "
                f"got {list(mel.shape)} of {str(mel.dtype).removeprefix('torch.')}"
            )
        if mel.numel() and not 0 <= int(mel.min()) <= int(mel.max()) < ENTRIES:
            raise InvalidValueError(f"codes from {int(mel.min())} to {int(mel.max())} should be 0 to {ENTRIES - 1}")

    @classmethod
    def list_arguments(cls, config: VocosConfig) -> str:
        return "" if config.codebooks else super().list_arguments(config)

    @classmethod
    def describe_input(cls, config: VocosConfig) -> str:
        """Describe the spectrograms or codes in a sentence, for cards."""
        if not config.codebooks:
            return super().describe_input(config)
        return f"It takes EnCodec's codes of up to {config.codebooks} codebooks, {config.rate / config.hop:g} a second."

    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return the vocoder as in `Vocoder`, with convolutions in place of the inverse Fourier transform.

        ONNX of opset 18 has no inverse of real transforms. A vocoder of codes takes those of 6 kbit/s.
        """
        config = self.config
        module = copy.deepcopy(self.generator)
        module.head.istft = ConvolutionalInverseSTFT(config.fft, config.hop, config.padding)
        if not config.codebooks:
            return replace(super().prepare_export(n, seed), module=module)
        books = max(k for k in BOOKS[:3] if k <= config.codebooks)
        codes = (Noise(seed).uniform(n, books, n * config.frames) * ENTRIES).long()
        usage = f"Give the codes of EnCodec, of {books} codebooks."
        return Graph(module=module, inputs={"codes": codes}, free={"codes": {2: "frames"}}, usage=usage)

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Sounds:
        return super().output(tensor.clamp(-1, 1), latents, seed)  # nothing else bounds the waves

    def float32_modules(self) -> list[nn.Module]:
        return [network.conv_post for network in (*self.discriminator.periods, *self.discriminator.resolutions)]

    def group_discriminators(self, train: VocosTrainConfig) -> Sequence[tuple[slice, float]]:
        """Return the discriminators of periods and those of spectra, each of them averaged."""
        periods, resolutions = len(self.config.periods), len(self.config.resolutions)
        groups = [(slice(0, periods), periods, 1.0), (slice(periods, None), resolutions, train.spectral_weight)]
        return [(group, weight / count) for group, count, weight in groups if count]

    def phases(self, train: VocosTrainConfig) -> list[Phase]:
        """Make the phases D and G, after a phase Mel if `pretrain_kimg` asks for one."""
        if not self.config.periods and not self.config.resolutions:
            raise InvalidValueError("model.periods = [] and resolutions = []: training needs a discriminator")
        if self.config.codebooks:
            raise InvalidValueError("model.codebooks: a vocoder of codes is not trained here; only spectrograms are")
        return super().phases(train)
