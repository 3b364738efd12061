"""Batches of real samples."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.data import Batches, Store, batches
from zoo.data.images import decode_images, flip_images
from zoo.data.rows import DeviceRows
from zoo.noise import Noise


def decode_rows(rows: np.ndarray | Tensor) -> Tensor:
    return torch.as_tensor(rows).reshape(len(rows), -1).long()


def test_each_epoch_shows_every_training_sample_once(store: Store):
    """Batches cover the training split once an epoch, in another order each time, and no test sample."""
    batches = Batches(store, decode_rows, batch=8, seed=0)
    epochs = [torch.cat([batches.at(step, Noise(0))[0] for step in range(9 * e, 9 * e + 9)]) for e in (0, 1)]
    train = decode_rows(store.samples[store.indices("train")])

    assert not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, train.tolist()))


def test_processes_share_a_batch(store: Store):
    """The batches of two processes together are the batch of one process."""
    make: Callable[..., Batches] = lambda **kw: Batches(store, decode_rows, batch=10, seed=3, **kw)  # noqa: E731
    halves = [make(rank=rank, world_size=2).at(5, Noise(0))[0] for rank in (0, 1)]

    assert torch.equal(torch.cat(halves), make().at(5, Noise(0))[0])


def read_steps(batches: Batches, steps: range) -> list[Tensor]:
    """Read batches as a training does, whose phases draw numbers between them."""
    noise = Noise(5)
    return [torch.cat([batches.at(step, noise)[0].flatten(), noise.normal(3)]) for step in steps]


@pytest.mark.parametrize("where", ["thread", "device"])
def test_batches_are_the_same_wherever_they_come_from(store: Store, monkeypatch: pytest.MonkeyPatch, where: str):
    """Gathered at their step, ahead in a thread, or on the device: the same bits, also after a training is resumed."""
    make: Callable[..., Batches] = lambda **kw: Batches(  # noqa: E731
        store, decode_images, augment=flip_images, batch=10, seed=3, **kw
    )
    plain = read_steps(make(), range(20))
    if where == "device":
        monkeypatch.setattr(batches, "place_rows", lambda store, device, placement, read: DeviceRows(store, device))
    other = make(prefetch=where == "thread")

    for steps in (range(20), range(20), range(12, 20)):  # another start is what a restored checkpoint asks for
        expected = plain if steps.start == 0 else read_steps(make(), steps)
        assert all(map(torch.equal, expected, read_steps(other, steps)))


def test_batches_are_gathered_while_a_step_runs(store: Store):
    """The next ones are gathered before they are asked for, by another thread, and never more than a few."""
    ahead = Batches(store, decode_rows, batch=8, seed=0, prefetch=True)
    gathered: dict[int, str] = {}
    load, reached = ahead._load, threading.Event()

    def watch(step: int) -> tuple[Tensor, Tensor | None]:
        gathered[step] = threading.current_thread().name
        if step == batches.AHEAD:
            reached.set()
        return load(step)

    ahead._load = watch  # type: ignore[method-assign]
    ahead.at(0, Noise(0))

    assert reached.wait(10)
    assert sorted(gathered) == list(range(batches.AHEAD + 1))
    assert threading.current_thread().name not in gathered.values()


def test_an_error_of_the_thread_is_raised_in_the_step_that_needs_the_batch(store: Store):
    """Not before and not in silence; the other batches are there."""
    ahead = Batches(store, decode_rows, batch=8, seed=0, prefetch=True)
    load = ahead._load

    def fail(step: int) -> tuple[Tensor, Tensor | None]:
        if step == 2:
            raise OSError("the disk is gone")
        return load(step)

    ahead._load = fail  # type: ignore[method-assign]
    for step in (0, 1):
        ahead.at(step, Noise(0))
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.at(2, Noise(0))
    assert len(ahead.at(3, Noise(0))[0]) == 8


def test_the_thread_ends_with_its_batches(store: Store):
    """A program that trains often keeps no thread of an earlier training."""
    ahead = Batches(store, decode_rows, batch=8, seed=0, prefetch=True)
    ahead.at(0, Noise(0))
    assert ahead._thread is not None
    (thread,) = ahead._thread._threads

    del ahead
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_only_rows_that_are_sent_are_gathered_ahead(store: Store, monkeypatch: pytest.MonkeyPatch):
    """The CPU's cores have enough to do, and rows that lie on a device are gathered by it: no thread is started."""
    make: Callable[..., Batches] = lambda **kw: Batches(store, decode_rows, batch=8, seed=0, **kw)  # noqa: E731
    meta = torch.device("meta")

    assert make()._thread is None
    assert make(device=meta)._thread is not None
    monkeypatch.setattr(batches, "place_rows", lambda store, device, placement, read: DeviceRows(store, device))
    assert make(device=meta)._thread is None
