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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.noise import Noise
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.gan import TextGAN
from zoo.text.policies import fill_after_end
from zoo.training.losses import LOSSES, gradient_penalty
from zoo.training.phases import Phase, Step, make_optimizer


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

    def phases(self, train: WGANTrainConfig) -> list[Phase]:
        generator, critic, loss = self.generator, self.discriminator, LOSSES[train.loss]

        def generate(step: Step) -> Tensor:
            return generator.relax(step.latents())

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                fake_texts = generate(step)
            real_texts = one_hot(step.real, self.config.vocabulary)
            real, fake = critic(real_texts), critic(fake_texts)
            penalty = gradient_penalty(critic, real_texts, fake_texts, step.noise)
            return {
                "loss": loss.discriminator(real, fake) + train.gradient_penalty * penalty,
                "real": real,
                "fake": fake,
                "gradient_penalty": penalty,
            }

        def generator_loss(step: Step) -> dict[str, Tensor]:
            return {"loss": loss.generator(critic(generate(step)))}

        return [
            Phase(
                name="D", module=critic, loss=discriminator_loss, optimizer=make_optimizer(critic, train.discriminator)
            ),
            Phase(
                name="G",
                module=generator,
                loss=generator_loss,
                optimizer=make_optimizer(generator, train.generator),
                interval=train.generator_interval,
            ),
        ]
