"""WaveGAN. Donahue, McAuley & Puckette 2019, "Adversarial Audio Synthesis", arXiv:1802.04208.

DCGAN in one dimension (section 3.1): 5 x 5 kernels become 25, strides of 2 become 4, and there is no batch norm. The
checkerboard of a strided generator is a tone in sound, which a critic learns to hear by its phase alone; so each layer
of the critic has its features shifted by chance, all by the same step in [-2, 2] (phase shuffle, section 3.3). A filter
of 512 taps after the generator, learned with it, takes out what tone is left (appendix B). Sizes are those of table 3
(appendix D), and of appendix D for longer sounds.

The class condition is not the paper's: a one-hot label beside the latent, and a projection in the critic.

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
    """`width` is the number of channels beside the wave; each step away from it doubles them."""

    phase_shuffle: int = field(default=2, metadata=within(0, 16))
    """The furthest shift of the critic's features, in steps of their layer."""
    post_filter: int = field(default=512, metadata=within(0, 4096))
    """Taps of the filter after the generator; 0: none."""

    @property
    def strides(self) -> list[int]:
        """Of the generator's layers: [4, 4, 4, 4, 4]; one more for a longer sound, of 2 where it is twice as long."""
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
        return wave if self.training else wave.clamp(-1, 1)  # as a file would cut it


class PostFilter(nn.Module):
    """A learned filter of many taps, without a bias: [N, 1, T] -> [N, 1, T], zeros beyond the edges.

    By Fourier transform: a hundred times faster on a CPU than as a convolution of 512 taps.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, taps)))

    def forward(self, wave: Tensor) -> Tensor:
        length, taps = wave.shape[-1], self.weight.shape[-1]
        size = length + taps - 1
        spectrum = torch.fft.rfft(wave, size) * torch.fft.rfft(self.weight.flip(-1), size)
        return torch.fft.irfft(spectrum, size)[..., taps // 2 :][..., :length]


class PhaseShuffle(nn.Module):
    """[N, C, T] -> the same shifted by one random step in [-reach, reach], the edge mirrored; in evaluation not."""

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
    """Latent [N, 100] ~ U[-1, 1) -> wave [N, 1, 16384]; width 64 has 19,065,857 + 17,427,969 parameters."""

    Config = WaveGANConfig

    def __init__(self, config: WaveGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    @property
    def sample_shape(self) -> tuple[int, int]:
        return (1, self.config.length)

    def phases(self, train: CriticTrainConfig) -> list[Phase]:
        return adversarial_phases(self, train)
