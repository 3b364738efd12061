"""The moving average of the generator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.training.ema import Average


def test_ema_has_the_half_life_it_states():
    """After one half-life a weight has moved half of the way; buffers follow, counters are copied."""
    live = nn.BatchNorm1d(1)
    average = Average(live)
    with torch.no_grad():
        live.weight.fill_(3.0)
        live.running_mean.fill_(2.0)
        live.num_batches_tracked.fill_(7)
    for _ in range(100):
        average.update(batch=10, kimg=1000, halflife_kimg=1.0, rampup=0.05)

    assert average.module.weight.item() == pytest.approx(2.0, abs=1e-4)
    assert average.module.running_mean.item() == pytest.approx(1.0, abs=1e-4)
    assert average.module.num_batches_tracked.item() == 7


def test_named_buffers_are_copied():
    """A buffer that is an average already is copied, wherever in the network it is."""
    live = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = Average(live, copied=("running_mean",))
    live[1].running_mean.fill_(2.0)
    live[1].running_var.fill_(2.0)

    average.update(batch=10, kimg=1000, halflife_kimg=1.0, rampup=0.0)

    assert average.module[1].running_mean.item() == 2.0
    assert 1.0 < average.module[1].running_var.item() < 1.1


def test_ema_ramps_up():
    """Early on the half-life is a share of the progress, so the average does not remember the start."""
    live = nn.Linear(1, 1)
    average = Average(live)
    nn.init.ones_(live.weight)
    average.update(batch=10, kimg=0.01, halflife_kimg=100.0, rampup=0.05)

    torch.testing.assert_close(average.module.weight, live.weight, atol=1e-5, rtol=0)
