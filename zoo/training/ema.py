"""The exponential moving average of a network's weights, which is sampled and released."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn


class Average:
    """The moving average of a network.

    Args:
        live: the network that is trained.
        copied: last parts of the names of buffers that are copied, because they are averages already. All other
            floating numbers are averaged, and numbers of steps and the like are copied.
    """

    def __init__(self, live: nn.Module, *, copied: Collection[str] = ()) -> None:
        self.module = copy.deepcopy(live).eval().requires_grad_(False)
        pairs: list[tuple[list[Tensor], list[Tensor]]] = [([], []), ([], [])]
        averages = self.module.state_dict()
        for name, value in live.state_dict().items():
            averaged = value.is_floating_point() and name.rpartition(".")[2] not in copied
            for part, tensor in zip(pairs[not averaged], (averages[name], value), strict=True):
                part.append(tensor)
        self._averaged, self._copied = pairs  # they share memory with the networks

    @torch.no_grad()
    def update(self, *, batch: int, kimg: float, halflife_kimg: float, rampup: float) -> None:
        """Move the average towards the live network after one step of `batch` samples.

        Args:
            halflife_kimg: progress after which a weight's share in the average has halved; 0 copies the weights.
            rampup: if above 0, the half-life is at most this share of the progress `kimg` so far (StyleGAN2-ADA).
        """
        if rampup:
            halflife_kimg = min(halflife_kimg, kimg * rampup)
        keep = 0.5 ** (batch / 1000 / halflife_kimg) if halflife_kimg else 0.0
        torch._foreach_lerp_(*self._averaged, 1 - keep)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)
