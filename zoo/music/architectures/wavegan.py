"""WaveGAN. Donahue, McAuley & Puckette 2019, "Adversarial Audio Synthesis", arXiv:1802.04208.

DCGAN in one dimension (section 3.1): 5 x 5 kernels become 25, strides of 2 become 4, and there is no batch norm. The
checkerboard pattern of a strided generator is a tone in sound, and a critic can recognize it by its phase alone. So the
features of each critic layer are shifted by a random number of steps in [-2, 2] (phase shuffle, section 3.3). A learned
filter of 512 taps after the generator removes the rest of the tone (appendix B). The sizes are those of table 3
(appendix D), and of appendix D for longer sounds.

The class condition is not in the paper: a one-hot label is appended to the latent, and the critic has a projection.

W = width, T = length; below for T = 16384.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.music.sound_gan import CriticTrainConfig, Score, SoundConfig, SoundGAN, initialize
from zoo.recipe import within
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase

KERNEL = 25
START = 16  # positions of the first map


@dataclass(frozen=True, kw_only=True)
class WaveGANConfig(SoundConfig):
    """The sizes of the networks."""

    phase_shuffle: int = field(default=2, metadata=within(0, 16))
    """The largest shift of the critic's features, in steps of their layer."""
    post_filter: int = field(default=512, metadata=within(0, 4096))
    """Taps of the filter after the generator; 0: none."""

    @property
    def strides(self) -> list[int]:
        """Strides of the generator: [4, 4, 4, 4, 4], and 2 or 4 more for a sound twice or four times as long."""
        return [4] * 5 + {16384: [], 32768: [2], 65536: [4]}[self.length]

    @property
    def widths(self) -> list[int]:
        """Channels from the first map to the last before the wave: [16W, 8W, 4W, 2W, W]."""
        return [self.width << i for i in reversed(range(len(self.strides)))]


class Generator(nn.Module):
    """Latent [N, Z + K] -> wave [N, 1, T] in [-1, 1]."""

    def __init__(self, config: WaveGANConfig) -> None:
        super().__init__()
        widths = config.widths
        self.enter = nn.Linear(config.latent_dim + config.labels, START * widths[0])
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, [*widths[1:], 1], config.strides, strict=True):
            padding = (KERNEL - stride + 1) // 2
            layers += [
                nn.ReLU(),
                nn.ConvTranspose1d(
                    before, after, KERNEL, stride, padding, output_padding=2 * padding + stride - KERNEL
                ),
            ]
        self.main = nn.Sequential(*layers, nn.Tanh())
        self.filter = PostFilter(config.post_filter) if config.post_filter else nn.Identity()
        self.apply(initialize)

    def forward(self, latents: Tensor) -> Tensor:
        wave = self.main(self.enter(latents).unflatten(1, (-1, START)))
        wave = self.filter(wave)
        return wave if self.training else wave.clamp(-1, 1)  # as in a file


class PostFilter(nn.Module):
    """A learned filter of many taps, without a bias: [N, 1, T] -> [N, 1, T], with zeros beyond the edges.

    It uses Fourier transforms: a hundred times faster on a CPU than a convolution of 512 taps.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, taps)))

    def forward(self, wave: Tensor) -> Tensor:
        length, taps = wave.shape[-1], self.weight.shape[-1]
        if torch.compiler.is_exporting():  # runtimes have slow and rough Fourier transforms
            return F.conv1d(F.pad(wave, ((taps - 1) // 2, taps // 2)), self.weight)
        size = length + taps - 1
        spectrum = torch.fft.rfft(wave.float(), size) * torch.fft.rfft(self.weight.float().flip(-1), size)
        return torch.fft.irfft(spectrum, size)[..., taps // 2 :][..., :length].to(wave.dtype)


class PhaseShuffle(nn.Module):
    """A random shift in [-reach, reach] of features [N, C, T], with mirrored edges. In evaluation it does nothing."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not self.reach:
            return features
        shift = int(torch.randint(-self.reach, self.reach + 1, ()))
        padded = F.pad(features, (max(shift, 0), max(-shift, 0)), mode="reflect")
        return padded[..., max(-shift, 0) :][..., : features.shape[-1]]


class Critic(nn.Module):
    """Wave [N, 1, T], and its class [N] if it is known -> scores [N]."""

    def __init__(self, config: WaveGANConfig) -> None:
        super().__init__()
        widths = [1, *config.widths[::-1]]
        layers: list[nn.Module] = []
        for i, ((before, after), stride) in enumerate(zip(pairwise(widths), config.strides, strict=True)):
            layers += [nn.Conv1d(before, after, KERNEL, stride, (KERNEL - stride + 1) // 2), nn.LeakyReLU(0.2)]
            if i < len(config.strides) - 1:
                layers.append(PhaseShuffle(config.phase_shuffle))
        self.main = nn.Sequential(*layers)  # [N, 16W, 16]
        self.score = Score(START * widths[-1], config.labels)
        self.apply(initialize)

    def forward(self, waves: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.score(self.main(waves).flatten(1), labels)


class WaveGAN(SoundGAN):
    """Latent [N, 100] ~ U[-1, 1) -> wave [N, 1, 16384]. Width 64 has 19,065,857 + 17,427,969 parameters."""

    Config = WaveGANConfig
    generator: Generator
    discriminator: Critic

    def __init__(self, config: WaveGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    @property
    def sample_shape(self) -> tuple[int, int]:
        return (1, self.config.length)

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.main[-2], self.generator.filter, self.discriminator.score]

    def phases(self, train: CriticTrainConfig) -> list[Phase]:
        """Make the usual phases."""
        return adversarial_phases(self, train)
