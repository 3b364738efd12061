"""A small data set of sounds that a GAN can learn from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SAMPLES = np.dtype(np.int16)
LABELS = ["low", "high", "noise"]


@dataclass
class Hits:
    """A data set of short decaying sounds of a random pitch, two rows each: a low tone, a high tone, or noise."""

    length: int = 16384
    rate: int = 16000
    count: int = 96
    name: str = "hits"
    version: str = "1"
    license: str = "CC0-1.0"
    attributes: np.dtype | None = None
    dtype: np.dtype = SAMPLES
    assets: Mapping[str, str] = field(default_factory=lambda: {"labels.json": json.dumps(LABELS)})

    def __post_init__(self) -> None:
        self.attributes = np.dtype([("label", np.int16), ("sound", np.int32)])

    @property
    def shape(self) -> tuple[int]:
        return (self.length,)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        table = np.array([(i // 2 % len(LABELS), i // 2) for i in indices], dtype=self.attributes)
        return np.stack([self._make(i) for i in indices]), table

    def _make(self, index: int) -> np.ndarray:
        rng = np.random.default_rng([1, index])
        seconds = np.arange(self.length) / self.rate
        pitch = rng.uniform(80, 120) * (10 if index // 2 % len(LABELS) == 1 else 1)
        tone = np.sin(2 * np.pi * pitch * seconds)
        wave = rng.uniform(-1, 1, self.length) if index // 2 % len(LABELS) == 2 else tone
        return np.round(wave * np.exp(-seconds * rng.uniform(4, 12)) * 30000).astype(np.int16)

    def split(self) -> np.ndarray:
        return (np.arange(self.count) // 2 % 4 == 3).astype(np.uint8)
