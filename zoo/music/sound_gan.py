"""What the GANs of sounds share: sizes, a critic's score with or without classes, and samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from zoo.conditional import LabelledGAN
from zoo.errors import InvalidValueError
from zoo.music.data.sounds import SoundDataConfig
from zoo.music.samples.sounds import Sounds
from zoo.noise import Noise
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within

LENGTHS = (16384, 32768, 65536)


@dataclass(frozen=True, kw_only=True)
class SoundConfig:
    """The sizes of a sound and of the networks."""

    length: int = field(default=16384, metadata=within(16384, 65536))
    """Samples of a sound: 16384, 32768 or 65536."""
    rate: int = field(default=16000, metadata=within(4000, 192000))
    """Samples per second, in Hz."""
    labels: int = field(default=0, metadata=within(0, 1024))
    """Classes that can be asked for; 0: none. The data of a training sets it."""
    width: int = field(default=64, metadata=within(1, 512))
    """Channels of the map next to the sound. Each further layer doubles them."""
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Numbers of the latent."""

    def __post_init__(self) -> None:
        if self.length not in LENGTHS:
            raise InvalidValueError(f"model.length = {self.length} should be one of {', '.join(map(str, LENGTHS))}")


@dataclass(frozen=True, kw_only=True)
class CriticTrainConfig(TrainConfig):
    """WGAN-GP with the settings of Donahue et al. 2019 (appendix E)."""

    loss: LossName = "wasserstein"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.5, 0.9))
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.5, 0.9))
    """The critic's optimizer."""
    generator_interval: int = field(default=5, metadata=within(1))
    """Critic steps to one generator step."""
    gradient_penalty: float = field(default=10.0, metadata=within(0))
    """Weight of the WGAN-GP penalty."""

    def __post_init__(self) -> None:
        check_unused(self, "a critic of sounds", "augment")


class Score(nn.Module):
    """Features [N, D] -> scores [N]: a linear layer, plus a projection on a direction for each class.

    Miyato & Koyama 2018, arXiv:1802.05637, equation 3. If no classes are given, the score ignores them.
    """

    def __init__(self, features: int, labels: int) -> None:
        super().__init__()
        self.output = nn.Linear(features, 1)
        self.direction = nn.Embedding(labels, features) if labels else None
        if self.direction is not None:
            nn.init.normal_(self.direction.weight, 0.0, features**-0.5)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        scores = self.output(features).squeeze(1)
        if labels is None or self.direction is None:
            return scores
        return scores + (self.direction(labels) * features).sum(1)


def initialize(module: nn.Module) -> None:
    """Set Glorot's uniform weights and biases of zero, as the paper does."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class SoundGAN(LabelledGAN[Sounds]):
    """A GAN whose samples are sounds of one length, from latents uniform in [-1, 1)."""

    DataConfig = SoundDataConfig
    TrainConfig = CriticTrainConfig
    Output: ClassVar[type[Sounds]] = Sounds

    def prior(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, self.config.latent_dim) * 2 - 1

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Sounds:
        labels: tuple[str, ...] = ()
        if self.labels and latents is not None:
            asked = latents[:, self.config.latent_dim :].argmax(1)
            labels = tuple(self.labels[label] for label in asked.tolist())
        return Sounds(tensor=tensor, latents=latents, seed=seed, rate=self.config.rate, labels=labels)
