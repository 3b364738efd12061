"""The moving average of the generator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.training.ema import update_ema


def test_ema_has_the_half_life_it_states():
    """After one half-life a weight has moved half of the way; buffers follow, counters are copied."""
    live, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        live.weight.fill_(3.0)
        live.running_mean.fill_(2.0)
        live.num_batches_tracked.fill_(7)
    for _ in range(100):
        update_ema(average, live, batch=10, kimg=1000, halflife_kimg=1.0, rampup=0.05)

    assert average.weight.item() == pytest.approx(2.0, abs=1e-4)
    assert average.running_mean.item() == pytest.approx(1.0, abs=1e-4)
    assert average.num_batches_tracked.item() == 7


def test_ema_ramps_up():
    """Early on the half-life is a share of the progress, so the average does not remember the start."""
    live, average = nn.Linear(1, 1), nn.Linear(1, 1)
    update_ema(average, live, batch=10, kimg=0.01, halflife_kimg=100.0, rampup=0.05)

    torch.testing.assert_close(average.weight, live.weight, atol=1e-5, rtol=0)
