"""A small data set that a GAN can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

PIXELS = np.dtype(np.uint8)


@dataclass
class Blobs:
    """A data set of images, each with a round blob of a random color at a random place."""

    size: int = 64
    count: int = 96
    name: str = "blobs"
    version: str = "1"
    license: str = "CC0-1.0"
    attributes: np.dtype | None = None
    dtype: np.dtype = PIXELS
    assets: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        return np.stack([self._draw(i) for i in indices]), None

    def _draw(self, index: int) -> np.ndarray:
        rng = np.random.default_rng([1, index])
        y, x = np.mgrid[: self.size, : self.size] / self.size
        center, colors = rng.uniform(0.3, 0.7, 2), rng.uniform(0, 255, (2, 3))
        inside = ((y - center[0]) ** 2 + (x - center[1]) ** 2 < 0.06)[..., None]
        return np.where(inside, colors[0], colors[1]).astype(np.uint8)

    def split(self) -> np.ndarray:
        return (np.arange(self.count) % 4 == 3).astype(np.uint8)


@dataclass
class Counted(Blobs):
    """A source that writes a line into a file each time that another process receives it."""

    log: str = ""

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write("arrived\n")
