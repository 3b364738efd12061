"""What the tests share: a cache of their own, no network, and a small data set of blobs that a GAN can learn from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from zoo.data import Store

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GAN_ZOO_CACHE", str(cache))
    return cache


@dataclass
class Blobs:
    """A round blob of a random colour and place on each image."""

    size: int = 64
    count: int = 96
    name: str = "blobs"
    version: str = "1"
    licence: str = "CC0-1.0"
    attributes: np.dtype | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        return np.stack([self._one(i) for i in indices]), None

    def _one(self, index: int) -> np.ndarray:
        rng = np.random.default_rng([1, index])
        y, x = np.mgrid[: self.size, : self.size] / self.size
        centre, colours = rng.uniform(0.3, 0.7, 2), rng.uniform(0, 255, (2, 3))
        inside = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 0.06)[..., None]
        return np.where(inside, colours[0], colours[1]).astype(np.uint8)

    def split(self) -> np.ndarray:
        return (np.arange(self.count) % 4 == 3).astype(np.uint8)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[int], Store]:
    """Builds 72 training and 24 test images of any size."""
    from zoo.data import build_store

    return lambda size: build_store(Blobs(size=size), tmp_path / f"blobs-{size}")


@pytest.fixture
def store(make_store: Callable[[int], Store]) -> Store:
    """72 training and 24 test images of 64 x 64."""
    return make_store(64)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 pictures of many sizes and kinds, and three files that are none."""
    from PIL import Image

    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(24):
        height, width = rng.integers(20, 90, 2)
        pixels = rng.integers(0, 255, (height, width, 4), dtype=np.uint8)
        mode = ("RGB", "RGBA", "L")[i % 3]
        image = Image.fromarray(pixels).convert(mode)
        suffix = "png" if mode == "RGBA" else ("jpg", "webp", "bmp")[i % 3]
        image.save(folder / ("more" if i % 5 == 0 else ".") / f"{i}.{suffix}")
    (folder / "broken.png").write_bytes(b"\x89PNG not really")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    whole = (folder / "1.png").read_bytes() if (folder / "1.png").exists() else b"\x89PNG\r\n"
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder
