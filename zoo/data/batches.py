"""Real batches in a shuffled order that a counter determines, so that a resumed training sees the same ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from zoo.data.store import Store
from zoo.noise import Noise


class Batches:
    """Batches of the training split, each sample once per epoch, in an order drawn from (seed, epoch).

    Under several processes each takes its own rows of the same global batch.

    Args:
        decode: stored rows [n, ...] to what the discriminator sees; the wing's own (images: floats in [-1, 1]).
    """

    def __init__(
        self,
        store: Store,
        decode: Callable[[np.ndarray, Noise], Tensor],
        *,
        batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._samples, self._rows = store.samples, store.indices("train")
        self._labels = store.labels
        self._decode, self._batch, self._seed = decode, batch, seed
        self._rank, self._world_size = rank, world_size
        self._order: tuple[int, np.ndarray] | None = None  # an epoch and its shuffled rows

    def at(self, turn: int, noise: Noise) -> Tensor:
        """The real samples of a turn: this process's share of them."""
        return self._decode(self._samples[self._rows_at(turn)], noise)

    def labels_at(self, turn: int) -> Tensor | None:
        """The classes of those samples, int64 [n]; None where the data has none."""
        return None if self._labels is None else torch.from_numpy(self._labels[self._rows_at(turn)])

    def _rows_at(self, turn: int) -> list[int]:
        share = self._batch // self._world_size
        first = turn * self._batch + self._rank * share
        return [self._row(place) for place in range(first, first + share)]

    def _row(self, place: int) -> int:
        epoch, offset = divmod(place, len(self._rows))
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self._seed, epoch]).permutation(self._rows))
        return self._order[1][offset]
