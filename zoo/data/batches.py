"""Real batches in a shuffled order. The step alone determines it, so a resumed training sees the same ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from zoo.data.encoded import DecodedRows
from zoo.data.rows import DeviceRows, MemoryRows, place_rows
from zoo.data.store import Store
from zoo.noise import Noise
from zoo.recipe import Placement

AHEAD = 2  # batches gathered before their step: one is sent while the next is read

CPU = torch.device("cpu")


class Batches:
    """Batches of the training split, each sample once per epoch, in a random order that (seed, epoch) determines.

    Under several processes each takes its own rows of the same global batch.

    Rows are gathered as they are stored, and sent so to the device. There they are augmented and decoded.

    Args:
        decode: turns stored rows [n, ...] into what the networks see, e.g. images as floats in [-1, 1].
        augment: changes stored rows at random, where the training does that.
        placement: where the rows of the training split lie; see `zoo.recipe.DataConfig`.
        decode_on_device: whether the device decodes the JPEG files of a store of encoded pictures.
        prefetch: whether the rows of the next steps are gathered in a thread. None: where they go from the host to
            another device. The CPU's cores have enough to do, and a device gathers its own rows in no time.
        balanced: whether the classes alternate, if the data has any. Each class then has epochs of its own.
    """

    def __init__(
        self,
        store: Store,
        decode: Callable[[Tensor], Tensor],
        *,
        batch: int,
        seed: int,
        augment: Callable[[Tensor, Noise], Tensor] | None = None,
        device: torch.device = CPU,
        placement: Placement = "auto",
        decode_on_device: bool = False,
        prefetch: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
        balanced: bool = False,
    ) -> None:
        rows, labels = store.indices("train"), store.labels
        self._orders = [_Order(rows, [seed])]
        if balanced and labels is not None:
            self._orders = [_Order(rows[labels[rows] == label], [seed, label]) for label in np.unique(labels[rows])]
        read = DecodedRows(store, device) if decode_on_device else MemoryRows(store)
        self._gather, self._labels = place_rows(store, device, placement, read), labels
        self._decode, self._augment, self._device, self._batch = decode, augment, device, batch
        self._rank, self._world_size = rank, world_size
        if prefetch is None:
            prefetch = device.type != "cpu" and not isinstance(self._gather, DeviceRows)
        # One thread: it alone asks the orders. It ends with the program, or when this object does.
        self._thread = ThreadPoolExecutor(1, "prefetch") if prefetch else None
        self._pending: dict[int, Future[tuple[Tensor, Tensor | None]]] = {}

    def at(self, step: int, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Return this process's share of the real samples of a step, and their classes int64 [n], if they have any."""
        rows, labels = self._load(step) if self._thread is None else self._take(step, self._thread)
        rows = self._send(rows)
        if self._augment is not None:
            rows = self._augment(rows, noise)
        return self._decode(rows), None if labels is None else self._send(labels)

    def _take(self, step: int, thread: ThreadPoolExecutor) -> tuple[Tensor, Tensor | None]:
        """Take what was gathered for a step, and have the next ones gathered; raises what went wrong with this one."""
        wanted = range(step, step + AHEAD + 1)
        self._pending = {
            later: self._pending[later] if later in self._pending else thread.submit(self._load, later)
            for later in wanted
        }
        return self._pending.pop(step).result()

    def _load(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Gather the stored rows of a step and their classes, for CUDA in memory that it copies by itself."""
        numbers = self._rows_at(step)
        rows = self._gather(numbers)
        labels = None if self._labels is None else torch.from_numpy(self._labels[numbers])
        if self._device.type == "cuda" and not rows.is_cuda:
            with torch.cuda.device(self._device):  # each thread has a current device of its own
                rows = rows.pin_memory()
        return rows, labels

    def _send(self, rows: Tensor) -> Tensor:
        return rows.to(self._device, non_blocking=self._device.type == "cuda")

    def _rows_at(self, step: int) -> np.ndarray:
        share = self._batch // self._world_size
        first = step * self._batch + self._rank * share
        places, orders = np.divmod(np.arange(first, first + share), len(self._orders))
        rows = np.empty(share, dtype=np.int64)
        for number, order in enumerate(self._orders):
            rows[orders == number] = order.at(places[orders == number])
        return rows


class _Order:
    """Rows in an endless order, each once per epoch. Each epoch is shuffled by the seed (*seed, epoch)."""

    def __init__(self, rows: np.ndarray, seed: list[int]) -> None:
        self._rows, self._seed = rows, seed
        self._epoch: tuple[int, np.ndarray] | None = None  # the current one, shuffled

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return the rows at ascending places [n]."""
        epochs, offsets = np.divmod(places, len(self._rows))
        return np.concatenate([places[:0], *(self._shuffle(e)[offsets[epochs == e]] for e in np.unique(epochs))])

    def _shuffle(self, epoch: int) -> np.ndarray:
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, np.random.default_rng([*self._seed, epoch]).permutation(self._rows))
        return self._epoch[1]
