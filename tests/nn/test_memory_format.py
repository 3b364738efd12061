"""The memory format of kernels."""

from __future__ import annotations

import torch
from torch import nn

from zoo.nn.memory_format import channels_last


def test_kernels_of_pictures_and_clips_get_channels_last_and_keep_their_values():
    """Kernels of two and three dimensions get channels last in memory; outputs stay the same."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Flatten(1, 2), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    clips = torch.rand(1, 2, 4, 8, 8)
    before = network(clips)

    assert channels_last(network) is network
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network[2].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(clips), before)
