"""The original GAN. Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661.

Section 5: "The generator nets used a mixture of rectifier linear activations and sigmoid activations, while the
discriminator net used maxout activations. Dropout was applied in training the discriminator net." Sizes and
initialization are in the authors' code. The defaults are those of its MNIST configuration. The generator has 1200-1200
rectifiers from U(-0.05, 0.05), and its output bias is at the data's marginals. The discriminator has 240-240 maxout
units of 5 pieces from U(-0.005, 0.005), with dropout 0.2 at its input and 0.5 at its hidden units.

It has two losses. `minimax` is equation 1. `non_saturating` is the generator's own objective of section 3: "rather
than training G to minimize log(1 - D(G(z))) we can train G to maximize log D(G(z))".

Z = latent_dim, H = hidden units, P = pixels times 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.images import ImageDataConfig
from zoo.gan import GAN
from zoo.recipe import TrainConfig, within
from zoo.samples import Images
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class VanillaGANConfig:
    """Sizes of both networks. The defaults are those of the authors' code for MNIST."""

    resolution: int = field(default=32, metadata=within(4, 256))
    """Pixels of a side, R."""
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Size of a latent, Z."""
    generator_units: int = field(default=1200, metadata=within(1, 16384))
    """Hidden units of each of the generator's two layers, H."""
    maxout_units: int = field(default=240, metadata=within(1, 16384))
    """Hidden units of each of the discriminator's two layers."""
    maxout_pieces: int = field(default=5, metadata=within(1, 32))
    """Linear functions of a hidden unit of the discriminator, which gives their maximum."""
    input_dropout: float = field(default=0.2, metadata=within(0, 0.99))
    """Dropout of the discriminator's input."""
    hidden_dropout: float = field(default=0.5, metadata=within(0, 0.99))
    """Dropout of the discriminator's hidden units."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image."""
        return (3, self.resolution, self.resolution)


class Generator(nn.Module):
    """Latent [N, Z] -> image [N, 3, R, R] in (-1, 1): the paper's sigmoid, scaled to this library's range."""

    def __init__(self, config: VanillaGANConfig) -> None:
        super().__init__()
        self.shape = config.shape
        hidden = config.generator_units
        self.pixels = nn.Linear(hidden, math.prod(config.shape))  # [N, P]
        self.main = nn.Sequential(
            nn.Linear(config.latent_dim, hidden),  # [N, H]
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),  # [N, H]
            nn.ReLU(inplace=True),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -0.05, 0.05)
                nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.pixels(self.main(latents))).unflatten(1, self.shape) * 2 - 1


class Maxout(nn.Module):
    """[N, I] -> [N, U], the maximum of `pieces` linear functions (Goodfellow et al. 2013, arXiv:1302.4389)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(dim=2)


class Discriminator(nn.Module):
    """Image [N, 3, R, R] in [-1, 1] -> logits [N]; the paper's sigmoid is in the loss."""

    def __init__(self, config: VanillaGANConfig) -> None:
        super().__init__()
        units, pieces = config.maxout_units, config.maxout_pieces
        self.main = nn.Sequential(
            nn.Dropout(config.input_dropout),
            Maxout(math.prod(config.shape), units, pieces),  # [N, units]
            nn.Dropout(config.hidden_dropout),
            Maxout(units, units, pieces),
            nn.Dropout(config.hidden_dropout),
            nn.Linear(units, 1),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -0.005, 0.005)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.main((images + 1).flatten(1) / 2)[:, 0]


class VanillaGAN(GAN[Images]):
    """Latent [N, 100] ~ N(0, I) -> image [N, 3, 32, 32] in [-1, 1]; 5,251,872 + 3,977,041 parameters."""

    Config = VanillaGANConfig
    DataConfig = ImageDataConfig
    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: VanillaGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.config.shape

    def init_from_data(self, data: Store) -> None:
        """Set the generator's last bias to the logit of each pixel's marginal: it starts from the mean image."""
        marginals = torch.from_numpy(data.mean()).permute(2, 0, 1).flatten().clamp(0.01, 0.99)
        with torch.no_grad():
            self.generator.pixels.bias.copy_(torch.logit(marginals))

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.pixels, self.discriminator.main[-1]]

    def phases(self, train: TrainConfig) -> list[Phase]:
        return adversarial_phases(self, train)
