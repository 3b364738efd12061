"""Stored rows as tensors: read from the store's memory map, or kept on the device of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.recipe import Placement

if TYPE_CHECKING:
    from zoo.data.store import Store

SHARE = 4  # the training split may take one part in so many of a device's free memory; the networks need the rest
BLOCK_BYTES = 64 << 20  # sent to a device at once, so that the host never holds much of the data


class Gather(Protocol):
    def __call__(self, rows: np.ndarray, /) -> Tensor:
        """Return the rows [n, ...] of these numbers, as they are stored."""


def to_tensor(rows: np.ndarray | Tensor) -> Tensor:
    """Return stored rows as a tensor of their own type; an array is copied, since a memory map cannot be written."""
    return rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))


class MemoryRows:
    """Rows of a store that are read when they are asked for."""

    def __init__(self, store: Store) -> None:
        self._samples = store.samples

    def __call__(self, rows: np.ndarray, /) -> Tensor:
        return torch.from_numpy(self._samples[rows])


class DeviceRows:
    """Rows of the training split that lie on a device, and are gathered there. `read` gives them, once."""

    def __init__(self, store: Store, device: torch.device, read: Gather | None = None) -> None:
        read = read or MemoryRows(store)
        self._train = store.indices("train")
        self._type = torch.from_numpy(np.empty(0, store.samples.dtype)).dtype
        # Few operations of devices know uint16, so tokens lie there as int16. These are the same bytes.
        self._held = torch.int16 if self._type == torch.uint16 else self._type
        shape = (len(self._train), *store.samples.shape[1:])
        self._rows = torch.empty(shape, dtype=self._held, device=device)
        block = max(1, BLOCK_BYTES // max(1, self._rows[:1].nbytes))
        for start in range(0, len(self._train), block):
            part = read(self._train[start : start + block])
            self._rows[start : start + block] = part.view(self._held)

    def __call__(self, rows: np.ndarray, /) -> Tensor:
        places = torch.from_numpy(np.searchsorted(self._train, rows))
        chosen = self._rows.index_select(0, places.to(self._rows.device, non_blocking=self._rows.is_cuda))
        return chosen.view(self._type)


def place_rows(store: Store, device: torch.device, placement: Placement, read: Gather | None = None) -> Gather:
    """Return the rows of the training split where `data.placement` wants them. `read` gives those of the store.

    On the CPU they stay in the store, whose memory map is in its memory already.

    Raises InvalidValueError where the rows should be on the device and do not fit.
    """
    read = read or MemoryRows(store)
    if placement == "memory" or device.type not in ("cuda", "mps"):
        return read
    samples = store.samples
    needed = len(store.indices("train")) * int(np.prod(samples.shape[1:])) * samples.dtype.itemsize
    free = measure_free_memory(device)
    if placement == "auto":
        return DeviceRows(store, device, read) if needed <= free // SHARE else read
    if needed > free:
        raise InvalidValueError(
            f'data.placement = "device": the training split takes {needed / 1e9:.1f} GB and {device} has '
            f"{free / 1e9:.1f} GB free; use data.placement=memory"
        )
    return DeviceRows(store, device, read)


def measure_free_memory(device: torch.device) -> int:
    """Measure the bytes that are free on a CUDA or MPS device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
