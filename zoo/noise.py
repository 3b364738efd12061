"""Random numbers that do not depend on how the work is cut: not on the batch size, not on the number of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Noise:
    """A seeded stream of random tensors, float32 on the CPU.

    Rows come one after the other from NumPy's PCG64, so the first rows of a long draw are those of a short one, on
    every platform. Under `world_size` processes each draws the numbers of the whole batch and keeps the rows of its
    own `rank`: together they hold what one process would have drawn.
    """

    def __init__(self, seed: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._rank, self._world_size = rank, world_size

    def normal(self, n: int, *shape: int) -> Tensor:
        """[n, *shape] from N(0, 1)."""
        return self._rows(self._generator.standard_normal((n * self._world_size, *shape), dtype=np.float32), n)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """[n, *shape] from U[0, 1)."""
        return self._rows(self._generator.random((n * self._world_size, *shape), dtype=np.float32), n)

    def _rows(self, numbers: np.ndarray, n: int) -> Tensor:
        return torch.from_numpy(numbers[self._rank * n : (self._rank + 1) * n])

    def state_dict(self) -> dict[str, Any]:
        return dict(self._generator.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.bit_generator.state = state
