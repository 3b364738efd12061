"""Texts of a toy language, four lines of two words each, and generators of such texts, to evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from zoo.options import SampleOptions, TemperatureOptions
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.gan import TextGAN
from zoo.text.metrics.language_model import Config

QUICK = Config(embedding=8, hidden=16, dropout=0.0, batch=32, lr=2e-2, epochs=2, min_updates=120)

WORDS = "春花秋月何時了往事知"
LENGTH = 8
TOKENS = np.dtype(np.uint16)


def cycles(n: int, *, seed: int, step: int = 1) -> np.ndarray:
    """Sample texts, ids [n, 8]: each goes round the words from a random one, with random jumps."""
    rng = np.random.default_rng(seed)
    moves = np.where(rng.random((n, LENGTH)) < 0.4, rng.integers(0, 10, (n, LENGTH)), step)
    return 2 + moves.cumsum(1) % 10


@dataclass
class Rounds:
    """A source of 400 such texts, a quarter of them for tests."""

    count: int = 400
    name: str = "rounds"
    version: str = "1"
    license: str = "CC0-1.0"
    attributes: np.dtype | None = None
    dtype: np.dtype = TOKENS
    shape: tuple[int, ...] = (LENGTH,)
    line_length: int = 2
    assets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.assets = {"tokenizer.json": Vocabulary.build([WORDS], "character", line_length=self.line_length).to_json()}

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        return cycles(self.count, seed=0)[list(indices)].astype(self.dtype), None

    def split(self) -> np.ndarray:
        return (np.arange(self.count) % 4 == 3).astype(np.uint8)


class Generator(nn.Module):
    """A generator that gives every word the same probability, and the two other tokens none."""

    def logits(self, tokens: Tensor) -> Tensor:
        logits = torch.zeros(*tokens.shape, 12)
        logits[..., :2] = -torch.inf
        return logits


class Fake:
    """A text GAN as far as the metrics need it: its samples are given texts. It may have likelihoods."""

    device = torch.device("cpu")
    measure_likelihood = TextGAN.measure_likelihood

    def __init__(self, texts: np.ndarray, *, likelihood: bool = True) -> None:
        self.texts = torch.from_numpy(texts)
        self.generator = Generator() if likelihood else nn.Linear(1, 1)
        self.SampleOptions = TemperatureOptions if likelihood else SampleOptions
        self.asked: list[dict[str, object]] = []

    def sample(self, n: int, **options: object) -> SimpleNamespace:
        self.asked.append(options)
        return SimpleNamespace(tensor=self.texts[:n])
