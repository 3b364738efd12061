"""The one-shot character WGAN. Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028,
section 5.3 and appendix.

All T characters are generated at once. A latent becomes a sequence of T feature vectors, five residual blocks of
one-dimensional convolutions let neighbors agree, and a softmax gives a distribution over characters at each position.
The critic reads these distributions, and real texts as one-hot vectors. There is no sampling, no policy gradient and no
pre-training. A sample has the most probable character at each position.

The paper has width 512, 10 critic steps to one generator step, Adam 1e-4 (0.5, 0.9) and penalty 10.

V = vocabulary, T = length, W = width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.noise import Noise
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.gan import TextGAN
from zoo.text.policies import fill_after_end
from zoo.training.adversarial import penalized_phases
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class WGANConfig(TextConfig):
    """Sizes of both networks. The defaults are the paper's."""

    width: int = field(default=512, metadata=within(1, 4096))
    """Channels of all layers, W."""
    num_blocks: int = field(default=5, metadata=within(1, 32))
    """Residual blocks of each network."""
    latent_dim: int = field(default=128, metadata=within(1, 4096))
    """Size of a latent."""


@dataclass(frozen=True, kw_only=True)
class WGANTrainConfig(TrainConfig):
    """`TrainConfig` with the paper's defaults."""

    loss: LossName = "wasserstein"
    """The adversarial loss; the paper's is the Wasserstein loss."""
    generator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.5, 0.9))
    """Optimizer of the generator."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.5, 0.9))
    """Optimizer of the critic."""
    generator_interval: int = field(default=10, metadata=within(1))
    """Critic steps to one generator step."""
    gradient_penalty: float = field(default=10.0, metadata=within(0))
    """Weight of the WGAN-GP penalty."""

    def __post_init__(self) -> None:
        check_unused(self, "text-wgan", "r1_gamma", "augment", losses=("relativistic",))


class Block(nn.Module):
    """[N, W, T] -> [N, W, T]: x + 0.3 f(x), where f is two convolutions of width 5, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv1d(width, width, 5, padding=2), nn.ReLU(), nn.Conv1d(width, width, 5, padding=2)
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + 0.3 * self.layers(features)


class Generator(nn.Module):
    """Latents [N, Z] -> tokens [N, T], the most probable ones of `relax`."""

    banned: Tensor

    def __init__(self, config: WGANConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Linear(config.latent_dim, config.width * config.length)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.num_blocks)))
        self.output = nn.Conv1d(config.width, config.vocabulary, 1)
        self.register_buffer("banned", config.banned_logits(), persistent=False)

    def relax(self, latents: Tensor) -> Tensor:
        """Compute the distributions over tokens [N, T, V]."""
        features = self.enter(latents).view(-1, self.config.width, self.config.length)
        return (self.output(self.blocks(features)).transpose(1, 2) + self.banned).softmax(-1)

    def forward(self, latents: Tensor) -> Tensor:
        tokens = self.relax(latents).argmax(-1)
        return fill_after_end(tokens) if self.config.ends else tokens


class Critic(nn.Module):
    """Tokens [N, T], or distributions over tokens [N, T, V] -> scores [N]."""

    def __init__(self, config: WGANConfig) -> None:
        super().__init__()
        self.vocabulary = config.vocabulary
        self.enter = nn.Conv1d(config.vocabulary, config.width, 1)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.num_blocks)))
        self.output = nn.Linear(config.width * config.length, 1)

    def forward(self, texts: Tensor) -> Tensor:
        if not texts.is_floating_point():
            texts = one_hot(texts, self.vocabulary)
        return self.output(self.blocks(self.enter(texts.transpose(1, 2))).flatten(1)).squeeze(1)


def one_hot(tokens: Tensor, vocabulary: int) -> Tensor:
    """Encode tokens [N, T] as one-hot vectors [N, T, V]."""
    return F.one_hot(tokens, vocabulary).float()


class TextWGAN(TextGAN):
    """Latent [N, 128] ~ N(0, I) -> tokens [N, T]."""

    Config = WGANConfig
    TrainConfig = WGANTrainConfig

    generator: Generator
    discriminator: Critic

    def __init__(self, config: WGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.normal(n, self.config.latent_dim)

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.output, self.discriminator.output]

    def phases(self, train: WGANTrainConfig) -> list[Phase]:
        return penalized_phases(
            self,
            train,
            encode=lambda tokens: one_hot(tokens, self.config.vocabulary),
            generate=lambda step: self.generator.relax(step.latents()),
        )
