"""What all vocoders share: their spectrograms, sounds of any length, and the losses of their training.

F = frames, T = samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.gan import GAN, Graph
from zoo.music.data.sounds import SoundDataConfig, decode, read_sound
from zoo.music.discriminators import average_scores, feature_distance
from zoo.music.mel import MelConfig, log_mel, resample
from zoo.music.samples.sounds import Sounds
from zoo.nn.fusion import fuse_norms
from zoo.noise import Noise
from zoo.options import InputOptions
from zoo.recipe import TrainConfig, within
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer

CHUNK = 512  # frames of a long sound that are generated at once


@dataclass(frozen=True, kw_only=True)
class VocoderConfig(MelConfig):
    """The spectrograms of a vocoder, and the sizes that all vocoders have."""

    length: int = field(default=8192, metadata=within(256, 1 << 20))
    """Samples of a real sound in training."""
    periods: tuple[int, ...] = field(default=(2, 3, 5, 7, 11), metadata=within(1, 64, items=16))
    """Periods of the multi-period discriminators. Converted vocoders have none: []."""
    period_width: int = field(default=32, metadata=within(1, 256))
    """Channels of their first layer. The last has 32 times as many."""
    standardized: bool = False
    """Scale each band of a spectrogram to mean 0 and deviation 1 over the data, as SpeechT5's vocoder does. The paper
    does not."""
    held: int = field(default=16, metadata=within(0, 1024))
    """Spectrograms of held-out sounds in the weights, to sample from where no sound is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        edge = (self.fft - self.hop + 1) // 2 if self.padding == "same" else self.fft // 2
        if self.length <= edge:
            raise InvalidValueError(
                f"model.length = {self.length} should be above {edge}: the edges of a spectrogram are reflected"
            )
        if self.length % self.hop:
            raise InvalidValueError(f"model.length = {self.length} should be a multiple of hop = {self.hop}")

    @property
    def mel(self) -> MelConfig:
        """The kind of spectrograms that the generator takes."""
        return MelConfig(**{each.name: getattr(self, each.name) for each in fields(MelConfig)})

    @property
    def frames(self) -> int:
        return self.count_frames(self.length)


@dataclass(frozen=True, kw_only=True)
class UpsamplingConfig(VocoderConfig):
    """The sizes of a generator of transposed convolutions, and residual blocks after each; by default HiFi-GAN's V1."""

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
        if not self.ups or not self.kernels:
            raise InvalidValueError("model.ups and model.kernels: at least one of each is needed")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise InvalidValueError(
                f"model.kernels = {list(self.kernels)} should be odd, so that a block gives its length back"
            )
        if self.padding != "same":
            raise InvalidValueError(
                f'model.padding = "{self.padding}": the generator makes hop samples of each frame, as with "same"'
            )
        if self.width % (1 << len(self.ups)):
            raise InvalidValueError(f"model.width = {self.width} should be a multiple of {1 << len(self.ups)}")

    def count_context(self, activation: int = 0) -> int:
        """Count the frames on either side of a frame that can change its samples: from the end, layer by layer.

        Args:
            activation: samples on either side that each activation sees.
        """
        reach = 3 + activation  # samples, at the rate of the layer
        for up, kernel in zip(reversed(self.ups), reversed(self.up_kernels), strict=True):
            blocks = []
            for size, dilations in zip(self.kernels, self.dilations, strict=True):
                convolutions = [*dilations, *([1] * len(dilations) if self.block == 1 else [])]
                blocks.append(sum(activation + dilation * (size // 2) for dilation in convolutions))
            reach = math.ceil((reach + max(blocks) + kernel) / up)
        return reach + 3


@dataclass(frozen=True, kw_only=True)
class VocoderTrainConfig(TrainConfig):
    """The settings that the training of all vocoders has."""

    batch: int = field(default=16, metadata=within(2, 65536))
    """Real sounds a step, over all processes together."""
    ema_halflife_kimg: float = field(default=0.0, metadata=within(0))
    """Half-life of a weight in the moving average of the generator. 0: no average, as in the paper."""
    feature_weight: float = field(default=2.0, metadata=within(0))
    """Weight of the distance between the discriminators' features of real and generated sounds."""
    mel_weight: float = field(default=45.0, metadata=within(0))
    """Weight of the distance between log-mel spectrograms, over all frequencies."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until then the generator learns from the mel loss alone, which costs less. 0: adversarial from the start."""


def make_spectrograms(config: VocoderConfig) -> dict[str, Tensor]:
    """Make what the weights have of spectrograms: random ones, and the means and deviations of their bands.

    Some published vocoders were trained on standardized spectrograms.
    """
    return {
        "held": torch.randn(config.held, config.mels, config.frames),
        "mean": torch.zeros(config.mels, 1),
        "scale": torch.ones(config.mels, 1),
    }


class MelGenerator(nn.Module):
    """A generator that has spectrograms to sample from, and the means and deviations of their bands."""

    held: Tensor
    mean: Tensor
    scale: Tensor

    def register_spectrograms(self, config: VocoderConfig) -> None:
        """Make the buffers: noise, until `init_from_data`."""
        for name, value in make_spectrograms(config).items():
            self.register_buffer(name, value)

    def standardize(self, mel: Tensor) -> Tensor:
        """Scale each band to mean 0 and deviation 1, where the config says so: [N, mels, F] of the same shape."""
        return (mel - self.mean) / self.scale


class Vocoder(GAN[Sounds]):
    """Log-mel spectrogram [N, mels, F] -> wave [N, 1, T].

    The latents are spectrograms of held-out sounds, which are part of the weights.
    """

    DataConfig = SoundDataConfig
    TrainConfig = VocoderTrainConfig
    SampleOptions = InputOptions
    Output = Sounds
    FEATURES = False
    ADVERSARIAL_FACTOR: ClassVar[float] = 1.0
    """The adversarial losses of the paper, in units of those of `zoo.training.losses`."""

    generator: Any  # a MelGenerator
    discriminator: Any  # its `features(wave)` are those of each layer of each discriminator

    _cache: tuple[list[tuple[int, int]], nn.Module] | None = None

    @property
    def sample_shape(self) -> tuple[int, int]:
        return (1, self.config.length)

    @property
    def context(self) -> int:
        """How many frames on either side of a frame can change its samples."""
        raise NotImplementedError

    def init_from_data(self, data: Store) -> None:
        """Keep evenly spaced spectrograms of the test split.

        Where they are standardized, the bands' means and deviations are those of evenly spaced rows of the training
        split, from 512 to 1,023.
        """
        if self.config.standardized:
            train = data.indices("train")
            mel = log_mel(decode(data.samples[train[:: max(1, len(train) // 512)]])[:, 0], self.config.mel)
            self.generator.mean.copy_(mel.mean((0, 2))[:, None])
            self.generator.scale.copy_(mel.std((0, 2))[:, None].clamp_min(1e-3))
        if not self.config.held:
            raise InvalidValueError("model.held = 0: a training shows samples of held-out spectrograms; keep some")
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
        output = self.vocode(mel).float().cpu()[..., : round(len(wave) / rate * self.config.rate)]
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

    def check_spectrograms(self, mel: Tensor, made_as: MelConfig | None = None) -> None:
        """Raise InvalidValueError for another shape than [N, mels, F], or for spectrograms of another kind.

        Shape and range do not tell HTK's bands from Slaney's, or one floor from another. So say how they were made.
        """
        if mel.dim() != 3 or mel.shape[1] != self.config.mels:
            raise InvalidValueError(f"spectrograms [N, {self.config.mels}, F] are needed; got {list(mel.shape)}")
        if made_as is not None and (differences := made_as.list_differences(self.config.mel)):
            raise InvalidValueError(
                f"these spectrograms are not those of this vocoder: {', '.join(differences)}; make them by to_mel"
            )

    @torch.no_grad()
    def vocode(self, mel: Tensor, made_as: MelConfig | None = None) -> Tensor:
        """Convert spectrograms [N, mels, F] of any length to waves [N, 1, T], in pieces that limit the memory.

        T is F * hop, or (F - 1) * hop of centered frames. The waves are on the device of the vocoder, whose type of
        numbers they have.

        Args:
            mel: as `to_mel` makes them.
            made_as: how they were made, if elsewhere.

        Raises InvalidValueError for another number of bands, or where `made_as` differs from `config.mel`.
        """
        self.check_spectrograms(mel, made_as)
        generator, hop, context = self._fuse_generator(), self.config.hop, self.context
        mel, parts = self._receive(mel), []
        for start in range(0, mel.shape[-1], CHUNK):
            first, last = max(0, start - context), min(mel.shape[-1], start + CHUNK + context)
            wave = generator(mel[..., first:last])
            parts.append(wave[..., (start - first) * hop :][..., : min(CHUNK, mel.shape[-1] - start) * hop])
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def vocode_stream(self, parts: Iterable[Tensor], made_as: MelConfig | None = None) -> Iterator[Tensor]:
        """Convert a spectrogram that comes in parts [N, mels, F'] of any lengths; yields the wave [N, 1, T'] in parts.

        Together they are what `vocode` makes of the whole, up to rounding. A sample is yielded when the frames have
        come that can change it, `context` of them.

        Raises as `vocode`.
        """
        generator, hop, context = self._fuse_generator(), self.config.hop, self.context
        mel: Tensor | None = None
        done = 0  # frames of `mel` whose samples were yielded; they are context
        for part in parts:
            self.check_spectrograms(part, made_as)
            part = self._receive(part)
            mel = part if mel is None else torch.cat([mel, part], dim=-1)
            ready = mel.shape[-1] - context
            if ready > done:
                yield generator(mel)[..., done * hop : ready * hop]
                first = max(0, ready - context)
                mel, done = mel[..., first:], ready - first
        if mel is not None:
            yield generator(mel)[..., done * hop :]

    @classmethod
    def list_arguments(cls, config: Any) -> str:
        return "--input song.wav --out again.wav"

    @classmethod
    def describe_input(cls, config: Any) -> str:
        """Describe the spectrograms in a sentence, for cards."""
        return f"`to_mel` and `--input` make log-mel spectrograms: {config.mel.describe()}."

    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return the vocoder: spectrograms [N, mels, F] of any length -> waves [N, 1, T].

        The examples of n samples are n times as long as one, so that both sizes vary.
        """
        noise, config = Noise(seed), self.config
        held = len(self.generator.held)  # converted vocoders have none
        mel = self.latents(n, noise) if held else noise.normal(n, config.mels, config.frames)
        usage = f"Give log-mel spectrograms, of zoo.music.mel.log_mel: {config.mel.describe()}."
        inputs = {"mel": mel.repeat(1, 1, n)}
        return Graph(module=self.generator, inputs=inputs, free={"mel": {2: "frames"}}, usage=usage)

    def _receive(self, mel: Tensor) -> Tensor:
        """Send spectrograms, or codes, to where the generator is."""
        weight = next(self.generator.parameters())
        return mel.to(weight if mel.is_floating_point() else weight.device)

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

    # --- training ------------------------------------------------------------------------------------------------

    def group_discriminators(self, train: Any) -> Sequence[tuple[slice, float]]:
        """Return groups of the discriminators, and the weight of the adversarial and feature losses of each."""
        return [(slice(None), 1.0)]

    def mel_distance(self, fake: Tensor, real: Tensor, train: Any) -> Tensor:
        """Compute the mel loss of waves [N, 1, T]: over all frequencies, whatever bands the generator is given."""
        whole = replace(self.config.mel, high=0.0)
        with torch.no_grad():
            target = log_mel(real[:, 0], whole)
        return F.l1_loss(log_mel(fake[:, 0], whole), target)

    def phases(self, train: Any) -> list[Phase]:
        """Make the phases D and G, after a phase Mel if `pretrain_kimg` asks for one."""
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        groups, factor = self.group_discriminators(train), self.ADVERSARIAL_FACTOR

        def weigh(losses: Callable[[slice], Tensor]) -> Tensor:
            return torch.stack([weight * losses(group) for group, weight in groups]).sum()

        def pretraining_loss(step: Step) -> dict[str, Tensor]:
            mel = self.mel_distance(step.fake, step.real, train)
            return {"loss": train.mel_weight * mel, "mel": mel}

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = discriminator.features(step.real), discriminator.features(step.fake.detach())
            losses = [loss.discriminator(a[-1], b[-1]) for a, b in zip(real, fake, strict=True)]
            adversarial = factor * weigh(lambda group: torch.stack(losses[group]).sum())
            return {"loss": adversarial, "real": average_scores(real), "fake": average_scores(fake)}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            fake = discriminator.features(step.fake)
            with torch.no_grad():  # real features do not depend on the generator
                real = discriminator.features(step.real)
            losses = [loss.generator(features[-1]) for features in fake]
            adversarial = factor * weigh(lambda group: torch.stack(losses[group]).sum())
            features = weigh(lambda group: feature_distance(real[group], fake[group]))
            mel = self.mel_distance(step.fake, step.real, train)
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
