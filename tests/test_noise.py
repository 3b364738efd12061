from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.noise import Noise, seed_torch


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_a_short_draw_is_the_start_of_a_long_one(seed: int, short: int, extra: int, dim: int):
    """The first rows do not depend on the number of rows."""
    assert torch.equal(Noise(seed).normal(short, dim), Noise(seed).normal(short + extra, dim)[:short])


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 4))
def test_processes_together_draw_what_one_draws(seed: int, n: int, world_size: int):
    """The rows of all ranks together are those of one process, draw after draw."""
    whole = Noise(seed)
    parts = [Noise(seed, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(2):
        expected = whole.uniform(n * world_size, 3)

        assert torch.equal(torch.cat([part.uniform(n, 3) for part in parts]), expected)


def test_state_continues_the_stream():
    """A restored stream continues where the saved one was."""
    noise = Noise(1)
    noise.normal(5, 2)
    other = Noise(2)
    other.load_state_dict(noise.state_dict())

    assert torch.equal(noise.normal(3, 4), other.normal(3, 4))


def test_a_seed_for_a_block_leaves_all_other_random_numbers_alone(monkeypatch: pytest.MonkeyPatch):
    """Those of PyTorch go on as if the block had not been, and no other device is seeded."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    seeded.clear()
    with seed_torch(5):
        first = torch.rand(2)
    with seed_torch(5):
        assert torch.equal(torch.rand(2), first)

    assert torch.equal(torch.rand(2), expected)
    assert not seeded
