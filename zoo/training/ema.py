"""The exponential moving average of a network's weights, which is sampled and released."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(
    average: nn.Module, live: nn.Module, *, batch: int, kimg: float, halflife_kimg: float, rampup: float
) -> None:
    """Move `average` towards `live` after one step of `batch` samples.

    Args:
        halflife_kimg: progress after which a weight's share in the average has halved; 0 copies the weights.
        rampup: if above 0, the half-life is at most this share of the progress `kimg` so far (StyleGAN2-ADA).
    """
    if rampup:
        halflife_kimg = min(halflife_kimg, kimg * rampup)
    keep = 0.5 ** (batch / 1000 / halflife_kimg) if halflife_kimg else 0.0
    averages, lives = dict(average.state_dict()), dict(live.state_dict())
    floating = [name for name, value in lives.items() if value.is_floating_point()]
    torch._foreach_lerp_([averages[name] for name in floating], [lives[name] for name in floating], 1 - keep)
    for name in lives.keys() - floating:
        averages[name].copy_(lives[name])
