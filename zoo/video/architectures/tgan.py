"""TGAN. Saito, Matsumoto & Saito 2017, "Temporal Generative Adversarial Nets with Singular Value Clipping",
arXiv:1611.06624.

A temporal generator G_0 turns one latent z_0 ~ U(-1, 1) into a latent for each of 16 frames, by convolutions in time.
An image generator G_1 makes each frame from z_0 and the frame's latent; each enters by a linear layer of its own. The
discriminator has convolutions in space and time, and is the critic of a Wasserstein GAN. It is kept 1-Lipschitz by
*singular value clipping* instead of clipped weights. Every five steps the singular values of each layer are cut at 1.
The scale of a batch norm is cut at the running standard deviation, so the layer never stretches its input. The critic's
batch norms have no shift.

`constraint = "spectral"` is the newer method, spectral normalization (Miyato et al. 2018, arXiv:1802.05957). It divides
each layer's weight by an estimate of its largest singular value. The critic has no batch norms then.

Z = latent_dim, S = step_dim, W = width; below for 16 frames of 64 px.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, within
from zoo.training.adversarial import adversarial_phases
from zoo.training.distributed import broadcast
from zoo.training.phases import Phase
from zoo.video.clip_gan import ClipConfig, ClipGAN, as_clips


@dataclass(frozen=True, kw_only=True)
class TGANConfig(ClipConfig):
    """The sizes of the networks, and the constraint of the critic."""

    latent_dim: int = field(default=100, metadata=within(1, 4096))
    """Numbers of the latent of a clip."""
    step_dim: int = field(default=100, metadata=within(1, 4096))
    """Numbers of the latent of each frame."""
    width: int = field(default=64, metadata=within(4, 512))
    """Channels of the critic's first layer. The generator has half as many next to the frame."""
    resolution: int = field(default=64, metadata=within(8, 64))
    """Height and width of a frame, a power of two."""
    constraint: Literal["clipping", "spectral"] = "clipping"
    """What keeps the critic 1-Lipschitz."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames != 16:
            raise InvalidValueError(
                f"model.frames = {self.frames}: the temporal generator makes 16, by four doublings of one"
            )

    @property
    def widths(self) -> list[int]:
        """Channels of the critic's layers: [W, 2W, 4W, 8W] at 64 px."""
        num_maps = self.resolution.bit_length() - 3
        return [self.width << min(i, 3) for i in range(num_maps)]


class TemporalGenerator(nn.Module):
    """Latents z_0 [N, Z] -> latents z_t of 16 frames [N, S, 16] in (-1, 1)."""

    def __init__(self, config: TGANConfig) -> None:
        super().__init__()
        widths = [config.width * i for i in (8, 4, 2, 2)]
        layers: list[nn.Module] = [
            nn.ConvTranspose1d(config.latent_dim, widths[0], 1, bias=False),  # [N, 8W, 1]
            nn.BatchNorm1d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose1d(before, after, 4, stride=2, padding=1, bias=False),  # time doubles
                nn.BatchNorm1d(after),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose1d(widths[-1], config.step_dim, 4, stride=2, padding=1), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.main(latents[:, :, None])


class ImageGenerator(nn.Module):
    """Latents z_0 [N, Z] and z_t [N, S] of one frame each -> frames [N, 3, R, R] in (-1, 1)."""

    def __init__(self, config: TGANConfig) -> None:
        super().__init__()
        channels = 4 * config.width  # of each latent's map
        self.slow, self.fast = (
            nn.Sequential(
                nn.Linear(inputs, channels * 16, bias=False), nn.BatchNorm1d(channels * 16), nn.ReLU(inplace=True)
            )
            for inputs in (config.latent_dim, config.step_dim)
        )  # [N, 4W * 4 * 4] each
        widths = [8 * config.width, *(width // 2 for width in config.widths[::-1])]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),  # height and width double
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Tanh())

    def forward(self, clip_latents: Tensor, frame_latents: Tensor) -> Tensor:
        maps = [x.unflatten(1, (-1, 4, 4)) for x in (self.slow(clip_latents), self.fast(frame_latents))]
        return self.main(torch.cat(maps, dim=1))  # of [N, 8W, 4, 4]


class Generator(nn.Module):
    """Latents [N, Z] -> clips [N, 3, 16, R, R] in (-1, 1)."""

    def __init__(self, config: TGANConfig) -> None:
        super().__init__()
        self.temporal = TemporalGenerator(config)
        self.image = ImageGenerator(config)

    def forward(self, latents: Tensor) -> Tensor:
        steps = self.temporal(latents).transpose(1, 2)  # [N, 16, S]
        repeated = latents[:, None].expand(-1, steps.shape[1], -1)
        return as_clips(self.image(repeated.flatten(0, 1), steps.flatten(0, 1)), latents.shape[0])


class Critic(nn.Module):
    """Clips [N, 3, 16, R, R] -> scores [N]."""

    def __init__(self, config: TGANConfig) -> None:
        super().__init__()
        clipping = config.constraint == "clipping"
        widths = [3, *config.widths]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Conv3d(before, after, 4, 2, 1, bias=not (clipping and i))]  # time, height and width halve
            layers += [remove_shift(nn.BatchNorm3d(after))] if clipping and i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*layers)  # [N, 8W, 1, 4, 4]
        length = 16 >> len(config.widths)  # of the last map, in time
        self.output = nn.Conv2d(length * widths[-1], 1, 4)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Conv2d):
                nn.init.uniform_(layer.weight, -0.01, 0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
                if not clipping:
                    spectral_norm(layer)

    def forward(self, clips: Tensor) -> Tensor:
        return self.output(self.main(clips).flatten(1, 2)).flatten()

    @torch.no_grad()
    def clip_singular_values(self) -> None:
        """Cut the singular values of every layer at 1, and the scales of batch norms to 0.01 to 1 deviations."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.Conv2d):
                u, values, v = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
                layer.weight.copy_(((u * values.clamp(max=1)) @ v).view_as(layer.weight))
            elif isinstance(layer, nn.BatchNorm3d) and layer.running_var is not None:
                deviation = layer.running_var.sqrt()
                layer.weight.copy_(layer.weight.clamp(0.01 * deviation, deviation))


def remove_shift(norm: nn.BatchNorm3d) -> nn.BatchNorm3d:
    """Make a batch norm that only scales."""
    norm.register_parameter("bias", None)
    return norm


@dataclass(frozen=True, kw_only=True)
class TGANTrainConfig(TrainConfig):
    """The paper's training: one step of the critic to one of the generator, and RMSprop for both."""

    batch: int = field(default=32, metadata=within(2, 65536))
    """Real clips a step, over all processes together."""
    loss: LossName = "wasserstein"
    """The adversarial loss."""
    generator: OptimizerConfig = OptimizerConfig(kind="rmsprop", lr=5e-5)
    """The generator's optimizer."""
    discriminator: OptimizerConfig = OptimizerConfig(kind="rmsprop", lr=5e-5)
    """The critic's optimizer. It must count its steps: `adam`, `adamw` or `rmsprop`."""
    clip_interval: int = field(default=5, metadata=within(1))
    """Steps of the critic's optimizer between two clippings of singular values."""

    def __post_init__(self) -> None:
        if self.discriminator.kind == "sgd":
            raise InvalidValueError(
                'train.discriminator.kind = "sgd" counts no steps, by which TGAN clips; adam and rmsprop do'
            )


class TGAN(ClipGAN):
    """Latents [N, 100] ~ U(-1, 1) -> clips [N, 3, 16, 64, 64] in [-1, 1].

    Width 64 has 4,448,135 + 11,031,489 parameters.
    """

    Config = TGANConfig
    TrainConfig = TGANTrainConfig
    generator: Generator
    discriminator: Critic

    def __init__(self, config: TGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Critic(config)

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, self.config.latent_dim) * 2 - 1

    def float32_modules(self) -> list[nn.Module]:
        return [self.generator.image.main[-2], self.discriminator.output]

    def phases(self, train: TGANTrainConfig) -> list[Phase]:
        """Make the usual phases. The critic's optimizer also clips after each `clip_interval`-th of its steps."""
        phases = adversarial_phases(self, train)
        if self.config.constraint == "clipping":
            phases[0].optimizer.register_step_post_hook(
                lambda optimizer, *_: self._clip_if_due(optimizer, train.clip_interval)
            )
        return phases

    def _clip_if_due(self, optimizer: torch.optim.Optimizer, interval: int) -> None:
        steps = next(iter(optimizer.state.values()))["step"]  # this count is part of the checkpoints
        if int(steps) % interval == 0:
            self.discriminator.clip_singular_values()
            broadcast([self.discriminator])  # each process has its own running deviations
