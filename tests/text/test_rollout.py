"""Monte-Carlo search: completions of all prefixes of a text."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.text.architectures.relgan import RelationalMemory, RelGANConfig
from zoo.text.architectures.scratchgan import Generator, ScratchGANConfig
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.policies import RecurrentPolicy
from zoo.text.rollout import complete_prefixes

SIZES = {"vocabulary": 30, "length": 7, "banned": (0, 1)}
POLICIES = {
    "lstm": (LSTMPolicy, LSTMConfig(**SIZES)),
    "relational": (RelationalMemory, RelGANConfig(**SIZES, head_dim=4)),
    "scratch": (Generator, ScratchGANConfig(**SIZES, hidden_dim=8, embedding_dim=8)),
}


@torch.no_grad()
def complete_one_by_one(policy: RecurrentPolicy, tokens: Tensor, num: int, noise: Noise) -> Tensor:
    """As `complete_prefixes`, by a nested loop over prefixes and rollouts, each from the first token on."""
    n, length = tokens.shape
    uniforms = noise.uniform(n, length - 1, num, length)
    texts = tokens[:, None, None].expand(n, length - 1, num, length).clone()
    for prefix in range(1, length):
        for rollout in range(num):
            text, numbers = texts[:, prefix - 1, rollout], uniforms[:, prefix - 1, rollout]
            state = policy.first_state(n)
            for t in range(length):
                if t >= prefix:
                    text[:, t] = policy.sample_next(state, numbers[:, t])
                if t + 1 < length:
                    state = policy.read(text[:, t], state)
    return texts


@pytest.mark.parametrize("name", POLICIES)
def test_completions_are_those_of_the_nested_loop(name: str):
    """All prefixes at once give, number for number, the texts of completing each by itself."""
    torch.manual_seed(0)
    cls, config = POLICIES[name]
    policy = cls(config).eval().requires_grad_(False)
    for parameter in policy.parameters():
        parameter.mul_(3)  # as if trained: far from uniform
    tokens = policy(Noise(2).uniform(4, 7))

    fast, plain = (f(policy, tokens, 3, Noise(3)) for f in (complete_prefixes, complete_one_by_one))

    assert torch.equal(fast, plain)
    for prefix in range(1, 7):
        assert (fast[:, prefix - 1, :, :prefix] == tokens[:, None, :prefix]).all()
