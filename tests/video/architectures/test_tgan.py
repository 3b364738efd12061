"""TGAN: a critic that is kept 1-Lipschitz."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers.moves import Moves

from zoo.data import build_store
from zoo.noise import Noise
from zoo.training.phases import Step, trainable
from zoo.video.architectures.tgan import TGAN, TGANConfig, TGANTrainConfig
from zoo.video.data.datasets import decode


def test_tgan_s_critic_never_stretches(tmp_path: Path):
    """After steps that clip no layer has a singular value above 1, nor a batch norm a scale above its deviation."""
    store = build_store(Moves(size=16), tmp_path / "moves")
    torch.manual_seed(0)
    gan = TGAN(TGANConfig(resolution=16, width=4)).requires_grad_(False)
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p.mul_(100)
    largest: list[float] = []
    phase = gan.phases(TGANTrainConfig(clip_interval=2))[0]
    for _ in range(4):
        step = Step(gan, decode(store.samples[:4]), Noise(0), train_generator=False)
        with trainable(phase.module):
            phase.loss(step)["loss"].backward()
        phase.optimizer.step()
        values = [torch.linalg.matrix_norm(p.flatten(1), 2) for p in gan.discriminator.parameters() if p.dim() > 2]
        largest.append(float(torch.stack(values).max()))

    assert largest[0] > 1.01
    assert max(largest[1], largest[3]) < 1 + 1e-4
    for norm in (m for m in gan.discriminator.modules() if isinstance(m, torch.nn.BatchNorm3d)):
        assert norm.bias is None
        assert bool((norm.weight <= norm.running_var.sqrt() + 1e-6).all())


def test_tgan_s_spectral_norm_bounds_every_layer():
    """The newer constraint divides by the largest singular value, and has no batch norm to undo it."""
    torch.manual_seed(0)
    critic = TGAN(TGANConfig(resolution=16, width=4, constraint="spectral")).discriminator.train()
    for _ in range(30):
        critic(torch.rand(2, 3, 16, 16, 16))
    layers = [m for m in critic.modules() if isinstance(m, torch.nn.Conv3d | torch.nn.Conv2d)]

    assert all(bool(torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.1) for layer in layers)
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in critic.modules())
