"""Random numbers that depend neither on the batch size nor on the number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seed_torch(seed: int) -> Iterator[None]:
    """Draw PyTorch's own random numbers on the CPU from this seed inside the block. Those of other devices stay."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed all devices
    try:
        yield
    finally:
        torch.set_rng_state(before)


class Noise:
    """A seeded stream of random tensors, float32 on the CPU.

    NumPy's PCG64 makes one row after the other, so the first rows of a long draw are those of a short one, on every
    platform. Under `world_size` processes each draws the numbers of the whole batch and keeps the rows of its own
    `rank`. Together they hold the numbers of a single process.
    """

    def __init__(self, seed: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._rank, self._world_size = rank, world_size

    def normal(self, n: int, *shape: int) -> Tensor:
        """Draw numbers [n, *shape] from N(0, 1)."""
        return self._rows(self._generator.standard_normal((n * self._world_size, *shape), dtype=np.float32), n)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Draw numbers [n, *shape] from U[0, 1)."""
        return self._rows(self._generator.random((n * self._world_size, *shape), dtype=np.float32), n)

    def _rows(self, numbers: np.ndarray, n: int) -> Tensor:
        return torch.from_numpy(numbers[self._rank * n : (self._rank + 1) * n])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        return dict(self._generator.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._generator.bit_generator.state = state
