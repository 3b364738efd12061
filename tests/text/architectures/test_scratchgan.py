"""ScratchGAN against its paper's equations."""

from __future__ import annotations

import pytest
import torch

from zoo.noise import Noise
from zoo.text.architectures.scratchgan import (
    Discriminator,
    ScratchGAN,
    ScratchGANConfig,
    ScratchGANTrainConfig,
    discounted_returns,
)
from zoo.training.phases import Step

SIZES = {"vocabulary": 12, "length": 6, "banned": (0, 1)}


def step_of(gan: torch.nn.Module, n: int = 64, kimg: float = 0.0, seed: int = 0) -> Step:
    real = torch.randint(2, 12, (n, 6), generator=torch.Generator().manual_seed(seed))
    return Step(gan, real, Noise(seed), train_generator=True, kimg=kimg)  # type: ignore[arg-type]


def test_scratchgan_s_returns_are_discounted_sums_of_later_rewards():
    """R_t = sum of gamma^(s - t) r_s over s from t on."""
    rewards = torch.tensor([[1.0, 0.0, 2.0]])

    assert discounted_returns(rewards, 0.5).tolist() == [[1.5, 1.0, 2.0]]
    assert discounted_returns(rewards, 0.0).tolist() == rewards.tolist()


def test_scratchgan_s_baseline_is_a_moving_average_in_the_checkpoint():
    """The baseline keeps 8 % of its old value at a step; the phase saves it."""
    torch.manual_seed(0)
    config = ScratchGANConfig(**SIZES, hidden_dim=8, discriminator_hidden_dim=8)
    gan = ScratchGAN(config).requires_grad_(False)
    (phase,) = [p for p in gan.phases(ScratchGANTrainConfig()) if p.name == "G"]
    assert phase.extra_state is not None
    first = phase.loss(step_of(gan))["reward"]

    torch.testing.assert_close(phase.extra_state.state_dict()["value"], 0.92 * first)


def test_processes_share_a_baseline(monkeypatch: pytest.MonkeyPatch):
    """It moves by the returns of all processes: a checkpoint holds one, and every process resumes from it."""
    torch.manual_seed(0)
    config = ScratchGANConfig(**SIZES, hidden_dim=8, discriminator_hidden_dim=8)
    gan = ScratchGAN(config).requires_grad_(False)
    (phase,) = [p for p in gan.phases(ScratchGANTrainConfig()) if p.name == "G"]
    others = torch.tensor([6.0, 12.0])  # the sum of another process's returns, and their number
    own: list[torch.Tensor] = []

    def add_others(sums: torch.Tensor) -> None:
        own.append(sums.clone())
        sums += others

    monkeypatch.setattr("zoo.training.distributed.add_up", add_others)
    phase.loss(step_of(gan))

    total, count = own[0] + others
    assert phase.extra_state is not None
    torch.testing.assert_close(phase.extra_state.state_dict()["value"], 0.92 * total / count)


def test_scratchgan_s_discriminator_reads_from_left_to_right():
    """The logit after a token does not depend on later tokens: the reward of a prefix is that of any text with it."""
    torch.manual_seed(0)
    discriminator = Discriminator(ScratchGANConfig(**SIZES, discriminator_hidden_dim=8)).eval()
    tokens = torch.randint(2, 12, (4, 6))
    changed = tokens.clone()
    changed[:, 4:] = 3

    torch.testing.assert_close(discriminator.score_tokens(tokens)[:, :4], discriminator.score_tokens(changed)[:, :4])
