"""Phases and their optimizers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from zoo.faces.architectures.dcgan import DCGAN, DCGANConfig
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig
from zoo.training.phases import Phase, Step, make_optimizer


def test_phases_are_due_by_their_interval_and_their_progress():
    """A phase with interval 4 is due on steps 0, 4, 8, and only between its start and its end."""
    module = nn.Linear(1, 1)
    phase = Phase(
        name="x", module=module, loss=lambda step: {}, optimizer=torch.optim.SGD(module.parameters()), interval=4
    )

    assert [step for step in range(9) if phase.is_due(step, kimg=step)] == [0, 4, 8]
    later = replace(phase, interval=1, start_kimg=3, end_kimg=6)
    assert [step for step in range(9) if later.is_due(step, kimg=step)] == [3, 4, 5]


def test_fakes_are_generated_once_in_a_step():
    """Whatever makes them at first use, all phases see the same; no network is trainable afterwards."""
    gan = DCGAN(DCGANConfig(resolution=8, width=2, latent_dim=4)).requires_grad_(False)
    step = Step(gan, torch.zeros(3, 3, 8, 8), Noise(0), train_generator=True)
    made = step.generate(lambda latents: gan.generator(latents) + 1)

    assert made.requires_grad
    assert float(made.detach().mean()) == pytest.approx(1, abs=0.2)
    assert step.fake is made
    assert step.generate(gan.generator) is made
    assert not any(p.requires_grad for p in gan.parameters())


@pytest.mark.parametrize("kind", ["adam", "rmsprop", "sgd"])
def test_weight_decay_shortens_weights_that_nothing_else_moves(kind: str):
    """Each kind of optimizer applies the decay; without it a weight whose gradient is zero stays."""
    lengths = {}
    for decay in (0.0, 0.5):
        module = nn.Linear(1, 1, bias=False)
        nn.init.ones_(module.weight)
        module.weight.grad = torch.zeros_like(module.weight)
        make_optimizer(module, OptimizerConfig(kind=kind, lr=0.1, weight_decay=decay)).step()  # type: ignore[arg-type]
        lengths[decay] = module.weight.item()

    assert lengths[0.0] == 1
    assert lengths[0.5] < 1
