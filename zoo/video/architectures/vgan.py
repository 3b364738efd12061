"""VGAN. Vondrick, Pirsiavash & Torralba 2016, "Generating Videos with Scene Dynamics", arXiv:1609.02612.

The generator has two streams (figure 1). The background b has two dimensions, so it cannot move; the foreground f has
three. A mask m says where the foreground is visible: a clip is m * f + (1 - m) * b. Both streams are DCGANs of
transposed convolutions. The discriminator has convolutions in space and time. The L1 norm of the mask (lambda = 0.1)
keeps the foreground small. Clips should be stabilized: where the camera moves, the background does, too.

As in the released code, the discriminator has two outputs. That code takes their softmax; the logit returned here is
their difference, which is the same. Weights start from N(0, 0.01), batch-norm scales from N(1, 0.02).

Z = latent_dim, W = width; below for 32 frames of 64 px.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.errors import InvalidValueError
from zoo.recipe import TrainConfig, check_unused, within
from zoo.training.adversarial import r1_phases
from zoo.training.losses import LOSSES, Penalties
from zoo.training.phases import Phase, Step, make_optimizer
from zoo.video.clip_gan import ClipConfig, ClipGAN


@dataclass(frozen=True, kw_only=True)
class VGANConfig(ClipConfig):
    """The sizes of the networks."""

    frames: int = field(default=32, metadata=within(2, 256))
    """Frames of a clip, a multiple of `resolution` / 4."""
    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Numbers of the latent."""
    width: int = field(default=64, metadata=within(1, 512))
    """Channels of the map next to the clip. Each halving of the resolution doubles them, up to 8 times."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames % self.scale:
            raise InvalidValueError(
                f"model.frames = {self.frames} should be a multiple of {self.scale}: space and time double together, "
                f"from 4 px to {self.resolution}"
            )

    @property
    def scale(self) -> int:
        """How many times larger a clip is than the first map, in space and in time."""
        return self.resolution // 4

    @property
    def widths(self) -> list[int]:
        """Channels from the first map to the one next to the clip: [8W, 4W, 2W, W] at 64 px."""
        num_maps = self.resolution.bit_length() - 3
        return [self.width << min(i, 3) for i in reversed(range(num_maps))]


class Generator(nn.Module):
    """Latents [N, Z] -> clips [N, 3, T, R, R] in (-1, 1)."""

    def __init__(self, config: VGANConfig) -> None:
        super().__init__()
        widths = config.widths
        first = (config.frames // config.scale, 4, 4)
        self.background = nn.Sequential(
            *normalize(nn.ConvTranspose2d(config.latent_dim, widths[0], 4), nn.BatchNorm2d),  # [N, 8W, 4, 4]
            *(
                layer
                for before, after in pairwise(widths)
                for layer in normalize(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d)
            ),
            nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1),  # [N, 3, 64, 64]
            nn.Tanh(),
        )
        self.foreground = nn.Sequential(
            *normalize(nn.ConvTranspose3d(config.latent_dim, widths[0], first), nn.BatchNorm3d),  # [N, 8W, 2, 4, 4]
            *(
                layer
                for before, after in pairwise(widths)
                for layer in normalize(nn.ConvTranspose3d(before, after, 4, 2, 1), nn.BatchNorm3d)
            ),  # [N, W, 16, 32, 32]
        )
        self.pixels = nn.Sequential(nn.ConvTranspose3d(widths[-1], 3, 4, 2, 1), nn.Tanh())  # [N, 3, 32, 64, 64]
        self.mask = nn.Sequential(nn.ConvTranspose3d(widths[-1], 1, 4, 2, 1), nn.Sigmoid())  # [N, 1, 32, 64, 64]
        self.apply(initialize)

    def streams(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Generate foreground [N, 3, T, R, R], mask [N, 1, T, R, R] and background [N, 3, 1, R, R]."""
        background = self.background(latents[:, :, None, None])[:, :, None]
        moving = self.foreground(latents[:, :, None, None, None])
        return self.pixels(moving), self.mask(moving), background

    def forward(self, latents: Tensor) -> Tensor:
        return compose(*self.streams(latents))


def compose(foreground: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """Compute m * f + (1 - m) * b, with the same background in every frame."""
    return torch.lerp(background.expand_as(foreground), foreground, mask.expand_as(foreground))


def normalize(convolution: nn.Module, norm: type[nn.Module]) -> list[nn.Module]:
    """List a convolution, its batch norm and a rectifier."""
    return [convolution, norm(convolution.out_channels), nn.ReLU(inplace=True)]


class Discriminator(nn.Module):
    """Clips [N, 3, T, R, R] -> logits [N]."""

    def __init__(self, config: VGANConfig) -> None:
        super().__init__()
        widths = [3, *config.widths[::-1]]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv3d(before, after, 4, 2, 1)]  # time, height and width halve
            layers += [nn.BatchNorm3d(after)] if i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        layers.append(nn.Conv3d(widths[-1], 2, (config.frames // config.scale, 4, 4)))  # [N, 2, 1, 1, 1]
        self.main = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, clips: Tensor) -> Tensor:
        fake, real = self.main(clips).flatten(1).unbind(1)
        return real - fake


def initialize(module: nn.Module) -> None:
    """Initialize a layer as the released code does."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, 0.0, 0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


@dataclass(frozen=True, kw_only=True)
class VGANTrainConfig(TrainConfig):
    """The paper's training, with the weight of the mask."""

    mask_weight: float = field(default=0.1, metadata=within(0))
    """Weight of the mask's mean, lambda in the paper."""

    def __post_init__(self) -> None:
        check_unused(self, "VGAN", "gradient_penalty", "augment", losses=("relativistic",))


class VGAN(ClipGAN):
    """Latents [N, 100] ~ N(0, I) -> clips [N, 3, 32, 64, 64] in [-1, 1].

    Width 64 has 16,245,383 + 11,057,858 parameters.
    """

    Config = VGANConfig
    TrainConfig = VGANTrainConfig
    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: VGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    def float32_modules(self) -> list[nn.Module]:
        generator = self.generator
        return [generator.pixels, generator.mask, generator.background[-2], self.discriminator.main[-1]]

    def phases(self, train: VGANTrainConfig) -> list[Phase]:
        """Make the phases D, its lazy R1 if any, and G. G's loss needs the mask, so it generates fakes of its own."""
        loss, discriminator, penalties = LOSSES[train.loss], self.discriminator, Penalties.of(train, self.discriminator)
        optimizer = make_optimizer(discriminator, train.discriminator)

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                fakes = self.generator(step.latents())
            real, fake = discriminator(step.real), discriminator(fakes)
            return {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            foreground, mask, background = self.generator.streams(step.latents())
            adversarial = loss.generator(discriminator(compose(foreground, mask, background)))
            return {"loss": adversarial + train.mask_weight * mask.abs().mean(), "mask": mask.mean()}

        def compute_r1(step: Step) -> Tensor:
            return penalties.r1(discriminator, step.real, step.noise)

        return [
            Phase(name="D", module=discriminator, loss=discriminator_loss, optimizer=optimizer),
            *r1_phases(train, discriminator, optimizer, compute_r1),
            Phase(
                name="G",
                module=self.generator,
                loss=generator_loss,
                optimizer=make_optimizer(self.generator, train.generator),
                interval=train.generator_interval,
            ),
        ]
