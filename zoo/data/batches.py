"""Real batches in a shuffled order. The step alone determines it, so a resumed training sees the same ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from zoo.data.store import Store
from zoo.noise import Noise


class Batches:
    """Batches of the training split, each sample once per epoch, in a random order that (seed, epoch) determines.

    Under several processes each takes its own rows of the same global batch.

    Args:
        decode: turns stored rows [n, ...] into what the networks see, e.g. images as floats in [-1, 1].
        balanced: whether the classes alternate, if the data has any. Each class then has epochs of its own.
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
        balanced: bool = False,
    ) -> None:
        rows, labels = store.indices("train"), store.labels
        self._orders = [_Order(rows, [seed])]
        if balanced and labels is not None:
            self._orders = [_Order(rows[labels[rows] == label], [seed, label]) for label in np.unique(labels[rows])]
        self._samples, self._labels = store.samples, labels
        self._decode, self._batch = decode, batch
        self._rank, self._world_size = rank, world_size

    def at(self, step: int, noise: Noise) -> Tensor:
        """Return this process's share of the real samples of a step."""
        return self._decode(self._samples[self._rows_at(step)], noise)

    def labels_at(self, step: int) -> Tensor | None:
        """Return the classes of those samples, int64 [n]; None where the data has none."""
        return None if self._labels is None else torch.from_numpy(self._labels[self._rows_at(step)])

    def _rows_at(self, step: int) -> list[int]:
        share = self._batch // self._world_size
        first = step * self._batch + self._rank * share
        return [self._row(place) for place in range(first, first + share)]

    def _row(self, place: int) -> int:
        index, order = divmod(place, len(self._orders))
        return self._orders[order].at(index)


class _Order:
    """Rows in an endless order, each once per epoch. Each epoch is shuffled by the seed (*seed, epoch)."""

    def __init__(self, rows: np.ndarray, seed: list[int]) -> None:
        self._rows, self._seed = rows, seed
        self._epoch: tuple[int, np.ndarray] | None = None  # the current one, shuffled

    def at(self, place: int) -> int:
        epoch, offset = divmod(place, len(self._rows))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, np.random.default_rng([*self._seed, epoch]).permutation(self._rows))
        return self._epoch[1][offset]
