"""Batches of real samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from zoo.data import Batches, Store
from zoo.noise import Noise


def decode_rows(rows: np.ndarray, noise: Noise) -> torch.Tensor:
    return torch.from_numpy(rows.reshape(len(rows), -1).astype(np.int64))


def test_each_epoch_shows_every_training_sample_once(store: Store):
    """Batches cover the training split once an epoch, in another order each time, and no test sample."""
    batches = Batches(store, decode_rows, batch=8, seed=0)
    epochs = [torch.cat([batches.at(step, Noise(0)) for step in range(9 * e, 9 * e + 9)]) for e in (0, 1)]
    train = decode_rows(store.samples[store.indices("train")], Noise(0))

    assert not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, train.tolist()))


def test_processes_share_a_batch(store: Store):
    """The batches of two processes together are the batch of one process."""
    make: Callable[..., Batches] = lambda **kw: Batches(store, decode_rows, batch=10, seed=3, **kw)  # noqa: E731
    halves = [make(rank=rank, world_size=2).at(5, Noise(0)) for rank in (0, 1)]

    assert torch.equal(torch.cat(halves), make().at(5, Noise(0)))
