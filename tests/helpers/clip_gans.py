"""Small GANs of clips, and the gradients of one of their phases."""

from __future__ import annotations

import torch

from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import TrainConfig
from zoo.training.phases import Step, trainable
from zoo.video.architectures.mocogan import MoCoGAN, MoCoGANConfig
from zoo.video.architectures.styleganv import StyleGANV, StyleGANVConfig

TINY_STYLE = {
    "resolution": 32, "latent_dim": 8, "style_dim": 8, "motion_dim": 8, "channel_base": 128, "channel_max": 8,
    "time_dim": 4, "time_layers": 1,
}  # fmt: skip


def moco(labels: int = 2, **changes: object) -> MoCoGAN:
    torch.manual_seed(0)
    gan = MoCoGAN(MoCoGANConfig(resolution=16, frames=8, width=2, labels=labels, **changes)).eval()
    gan.labels = ("right", "down")[:labels]
    return gan


def style(**changes: object) -> StyleGANV:
    torch.manual_seed(0)
    return StyleGANV(StyleGANVConfig(**{**TINY_STYLE, **changes})).eval()


def gradients_of(gan: GAN, train: TrainConfig, phase: str, loss: str = "loss") -> dict[str, torch.Tensor]:
    """Compute the gradients of a phase's network in the first step, by parameter. `loss` names a part of its loss."""
    gan.train().requires_grad_(False)
    found = next(candidate for candidate in gan.phases(train) if candidate.name == phase)
    step = Step(
        gan,
        torch.rand(4, *gan.sample_shape, generator=torch.Generator().manual_seed(0)),
        Noise(0),
        train_generator=True,
        labels=torch.tensor([0, 1, 1, 0]),
    )
    with trainable(found.module):
        found.loss(step)[loss].backward()
    return {name: p.grad for name, p in found.module.named_parameters()}
