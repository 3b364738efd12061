"""A small data set of texts that a GAN can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zoo.text.data.vocabulary import Vocabulary

TOKENS = np.dtype(np.uint16)
ALPHABET = "abcdefghijklmnopqrst"


@dataclass
class Lines:
    """A data set of texts: `length` letters of the alphabet, from a random letter on."""

    length: int = 20
    count: int = 96
    name: str = "lines"
    version: str = "1"
    license: str = "CC0-1.0"
    attributes: np.dtype | None = None
    dtype: np.dtype = TOKENS
    assets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary.build([self._text(i) for i in range(self.count)], unit="character")
        self.assets = {"tokenizer.json": self._vocabulary.to_json()}

    @property
    def shape(self) -> tuple[int]:
        return (self.length,)

    def _text(self, index: int) -> str:
        start = np.random.default_rng([1, index]).integers(len(ALPHABET))
        return "".join(ALPHABET[(start + i) % len(ALPHABET)] for i in range(self.length))

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
        return np.array([self._vocabulary.encode(self._text(i)) for i in indices], dtype=np.uint16), None

    def split(self) -> np.ndarray:
        return (np.arange(self.count) % 4 == 3).astype(np.uint8)
