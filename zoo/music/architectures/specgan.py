"""SpecGAN. Donahue, McAuley & Puckette 2019, "Adversarial Audio Synthesis", arXiv:1802.04208, section 3.4.

DCGAN on spectrograms. They are magnitudes of a short-time Fourier transform of 256 samples every 128, without the
highest frequency, so a second at 16 kHz is a picture of 128 x 128. Their logarithms are standardized for each frequency
over the data, divided by 3 and cut at [-1, 1]. 16 iterations of Griffin-Lim estimate the phases, and give sounds. The
sizes are those of table 5 (appendix D); the training is WaveGAN's.

The class condition is not in the paper: a one-hot label is appended to the latent, and the critic has a projection.

W = width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.errors import InvalidValueError
from zoo.gan import Graph
from zoo.music.data.sounds import decode
from zoo.music.mel import griffin_lim, hann_window
from zoo.music.sound_gan import CriticTrainConfig, Score, SoundConfig, SoundGAN, initialize
from zoo.recipe import check_unused, within
from zoo.training.adversarial import penalized_phases
from zoo.training.phases import Phase

FFT, HOP = 256, 128
SIDE = 128  # frames, and frequencies
KERNEL = 5
START = 4  # the side of the first map
SMALLEST = 1e-6  # added to magnitudes before their logarithm
CLIP = 3.0  # standard deviations


@dataclass(frozen=True, kw_only=True)
class SpecGANConfig(SoundConfig):
    """The sizes of the networks."""

    iterations: int = field(default=16, metadata=within(1, 1024))
    """Iterations of Griffin-Lim."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length != SIDE * HOP:
            raise InvalidValueError(f"model.length = {self.length}: SpecGAN's spectrograms have {SIDE * HOP} samples")

    @property
    def widths(self) -> list[int]:
        """Channels from the 4 x 4 map to the one next to the spectrogram: [16W, 8W, 4W, 2W, W]."""
        return [self.width << i for i in reversed(range(5))]


class Spectra(nn.Module):
    """Waves [N, 1, 16384] <-> pictures [N, 1, 128, 128] in [-1, 1]; frames go down, frequencies to the right."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(SIDE))
        self.register_buffer("spread", torch.ones(SIDE))

    def fit(self, waves: Tensor) -> None:
        """Set the mean and standard deviation of each frequency from waves [N, 1, T]."""
        logs = compute_log_spectrum(waves)
        self.mean.copy_(logs.mean(dim=(0, 1)))
        self.spread.copy_(logs.std(dim=(0, 1)).clamp_min(1e-3))

    def to_picture(self, waves: Tensor) -> Tensor:
        """Compute the pictures [N, 1, 128, 128] of waves."""
        return (((compute_log_spectrum(waves) - self.mean) / self.spread) / CLIP).clamp(-1, 1)[:, None]

    def to_magnitudes(self, pictures: Tensor) -> Tensor:
        """Compute magnitudes [N, 129, 129] of frequencies and frames; the highest frequency is silent."""
        logs = pictures[:, 0] * CLIP * self.spread + self.mean
        linear = (logs.exp() - SMALLEST).clamp_min(0).transpose(1, 2)  # [N, 128, 128]
        return F.pad(linear, (0, 1, 0, 1))


def compute_log_spectrum(waves: Tensor) -> Tensor:
    """Compute logarithms of magnitudes [N, 128, 128] of waves [N, 1, 16384], for centered frames without the last."""
    window = hann_window(FFT, waves.device)
    spectrum = torch.stft(waves[:, 0], FFT, HOP, window=window, center=True, return_complex=True)[:, :SIDE, :SIDE]
    return (spectrum.abs() + SMALLEST).log().transpose(1, 2)


class Generator(nn.Module):
    """Latent [N, Z + K] -> wave [N, 1, 16384]; `generate_picture` returns its spectrogram."""

    def __init__(self, config: SpecGANConfig) -> None:
        super().__init__()
        widths = config.widths
        self.iterations = config.iterations
        self.enter = nn.Linear(config.latent_dim + config.labels, START * START * widths[0])
        layers: list[nn.Module] = []
        for before, after in pairwise([*widths, 1]):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, KERNEL, 2, 2, output_padding=1)]
        self.main = nn.Sequential(*layers, nn.Tanh())
        self.spectra = Spectra()
        self.apply(initialize)

    def generate_picture(self, latents: Tensor) -> Tensor:
        """Generate spectrograms [N, 1, 128, 128] in (-1, 1)."""
        return self.main(self.enter(latents).unflatten(1, (-1, START, START)))

    def forward(self, latents: Tensor) -> Tensor:
        magnitudes = self.spectra.to_magnitudes(self.generate_picture(latents)).float()
        # One by one, so that the first phases do not depend on the batch size.
        waves = [griffin_lim(one[None], FFT, HOP, iterations=self.iterations, length=SIDE * HOP) for one in magnitudes]
        return torch.stack(waves).clamp(-1, 1)


class Magnitudes(nn.Module):
    """Latent [N, Z + K] -> magnitudes [N, 129, 129] of frequencies and frames: the generator without Griffin-Lim."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> Tensor:
        return self.generator.spectra.to_magnitudes(self.generator.generate_picture(latents))


class Critic(nn.Module):
    """Wave [N, 1, 16384] or spectrogram [N, 1, 128, 128], and its class [N] if it is known -> scores [N]."""

    def __init__(self, config: SpecGANConfig) -> None:
        super().__init__()
        widths = [1, *config.widths[::-1]]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, KERNEL, 2, 2), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers)  # [N, 16W, 4, 4]
        self.score = Score(START * START * widths[-1], config.labels)
        self.spectra = Spectra()
        self.apply(initialize)

    def forward(self, sounds: Tensor, labels: Tensor | None = None) -> Tensor:
        pictures = sounds if sounds.dim() == 4 else self.spectra.to_picture(sounds)
        return self.score(self.main(pictures).flatten(1), labels)


@dataclass(frozen=True, kw_only=True)
class SpecGANTrainConfig(CriticTrainConfig):
    """The settings of WaveGAN."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_unused(self, "SpecGAN", "r1_gamma", losses=("relativistic",))


class SpecGAN(SoundGAN):
    """Latent [N, 100] ~ U[-1, 1) -> wave [N, 1, 16384], by way of a spectrogram."""

    Config = SpecGANConfig
    TrainConfig = SpecGANTrainConfig
    generator: Generator
    discriminator: Critic

    def __init__(self, config: SpecGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    @property
    def sample_shape(self) -> tuple[int, int]:
        return (1, self.config.length)

    def init_from_data(self, data: Store) -> None:
        """Compute the mean and deviation of each frequency from at most 2,000 training sounds, evenly spaced."""
        rows = data.indices("train")
        rows = rows[:: -(-len(rows) // 2000)]  # they are in the order of their files
        self.generator.spectra.fit(decode(data.samples[rows]))
        self.discriminator.spectra.load_state_dict(self.generator.spectra.state_dict())

    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return the generator up to its magnitudes: an inverse Fourier transform has no export that is right."""
        usage = (
            f"Estimate the phases of {FFT} samples every {HOP}, with a Hann window and centered frames: Griffin-Lim."
        )
        graph = super().prepare_export(n, seed)
        return replace(graph, module=Magnitudes(self.generator), outputs=("magnitudes",), usage=usage)

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.main[-2], self.discriminator.score]

    def phases(self, train: SpecGANTrainConfig) -> list[Phase]:
        """Make the phases D and G of WGAN-GP, on spectrograms: training does not need Griffin-Lim."""
        return penalized_phases(
            self,
            train,
            encode=self.discriminator.spectra.to_picture,
            generate=lambda step: self.generator.generate_picture(step.latents()),
        )
