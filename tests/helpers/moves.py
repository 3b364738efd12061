"""A small data set of clips that a GAN can learn from, and a clip of a file as one array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.video.data.files import Crop, stream_clip

PIXELS = np.dtype(np.uint8)
LABELS = ["right", "down"]


@dataclass
class Moves:
    """A data set of clips: a square of a random color moves to the right or down, on gray."""

    size: int = 64
    frames: int = 16
    count: int = 32
    name: str = "moves"
    version: str = "1"
    license: str = "CC0-1.0"
    attributes: np.dtype | None = None
    dtype: np.dtype = PIXELS
    labels: Sequence[str] = tuple(LABELS)
    assets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attributes = np.dtype([("label", "i4"), ("rgb", "f4", 3)])
        self.assets = {"labels.json": json.dumps(list(self.labels))}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.frames, self.size, self.size, 3)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        clips = np.full((len(indices), *self.shape), 90, dtype=np.uint8)
        table = np.zeros(len(indices), self.attributes)
        for clip, row, index in zip(clips, table, indices, strict=True):
            rng = np.random.default_rng([1, index])
            color, side = rng.integers(0, 256, 3), self.size // 4
            corners = np.stack(
                [np.linspace(0, self.size - side, self.frames), np.full(self.frames, rng.integers(side))]
            )
            for t, (x, y) in enumerate((corners if index % 2 == 0 else corners[::-1]).astype(int).T):
                clip[t, y : y + side, x : x + side] = color
            row["label"], row["rgb"] = index % 2, color / 255
        return clips, table

    def split(self) -> np.ndarray:
        return (np.arange(self.count) // 2 % 4 == 3).astype(np.uint8)


def read_clip(path: Path, size: int, *, rate: float = 0.0, crop: Crop = "center") -> np.ndarray:
    """Read all frames of `stream_clip`, uint8 [T, size, size, 3]."""
    return np.stack(list(stream_clip(path, size, rate=rate, crop=crop)))
