"""DCGAN. Radford, Metz & Chintala 2016, "Unsupervised Representation Learning with Deep Convolutional GANs",
arXiv:1511.06434.

The paper's guidelines (section 3): strided and fractionally-strided convolutions instead of pooling, batch norm in both
networks but not at the generator's output nor the discriminator's input, no hidden fully connected layers, ReLU in the
generator with tanh at its end, LeakyReLU(0.2) in the discriminator. Figure 1 has the generator's shapes. Weights are
initialized from N(0, 0.02) (section 4), and batch-norm scales from N(1, 0.02) as in the authors' code.

Z = latent_dim, W = width, R = resolution. Shapes in comments are for R 64: four doublings from a 4 x 4 map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor, nn

from zoo.data.images import ImageDataConfig
from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.recipe import TrainConfig, within
from zoo.samples import Images
from zoo.training.adversarial import adversarial_phases
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class DCGANConfig:
    """Sizes of both networks. The defaults are the paper's."""

    resolution: int = field(default=64, metadata=within(8, 512))
    """Pixels of a side, a power of two, R."""
    width: int = field(default=64, metadata=within(1, 512))
    """Channels of the layer next to the image, W; each halving of the resolution doubles them."""
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Size of a latent, Z."""

    def __post_init__(self) -> None:
        if self.resolution & (self.resolution - 1):
            raise InvalidValueError(f"model.resolution = {self.resolution} should be a power of two")

    @property
    def widths(self) -> list[int]:
        """Channels from the 4 x 4 map to the one next to the image: [8W, 4W, 2W, W] at 64 px."""
        num_maps = self.resolution.bit_length() - 3
        return [self.width << i for i in reversed(range(num_maps))]


class Generator(nn.Module):
    """Latent [N, Z] -> image [N, 3, R, R] in (-1, 1)."""

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        widths = config.widths
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(config.latent_dim, widths[0], 4, bias=False),  # [N, 8W, 4, 4]
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),  # height and width double
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1, bias=False),  # [N, 3, R, R]
            nn.Tanh(),
        ]
        self.main = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, latents: Tensor) -> Tensor:
        return self.main(latents[:, :, None, None])


class Discriminator(nn.Module):
    """Image [N, 3, R, R] -> logits [N]."""

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False),  # [N, W, R/2, R/2]
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),  # height and width halve
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, bias=False))  # [N, 1, 1, 1]
        self.main = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images).flatten()


def initialize(module: nn.Module) -> None:
    """Initialize a layer as the paper does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class DCGAN(GAN[Images]):
    """Latent [N, 100] ~ N(0, I) -> image [N, 3, 64, 64] in [-1, 1]; width 64 has 3,576,704 + 2,765,568 parameters."""

    Config = DCGANConfig
    DataConfig = ImageDataConfig
    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: DCGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return (3, self.config.resolution, self.config.resolution)

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.main[-2], self.discriminator.main[-1]]

    def phases(self, train: TrainConfig) -> list[Phase]:
        return adversarial_phases(self, train)
