"""Fusing norms for sampling: a copy with the same outputs, and the original unchanged."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.nn.fusion import fuse_norms


def test_weight_norm_is_computed_once_in_a_copy():
    """The copy has plain layers and the same outputs; the original can still be trained, and fused again."""
    torch.manual_seed(0)
    module = nn.Sequential(
        weight_norm(nn.Conv1d(3, 4, 5)), nn.ReLU(), weight_norm(nn.ConvTranspose1d(4, 2, 4, stride=2))
    )
    wave = torch.randn(2, 3, 20)

    for _ in range(2):
        copy = fuse_norms(module)
        assert type(copy[0]) is nn.Conv1d
        assert list(copy[0].state_dict()) == ["bias", "weight"]
        torch.testing.assert_close(copy(wave), module(wave), rtol=0, atol=1e-6)
    module(wave).sum().backward()
    assert module[0].parametrizations.weight.original0.grad is not None
