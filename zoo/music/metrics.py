"""The wing's door to its metrics: it finds the floor, scores or sounds, by what is stored."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from zoo.data import Store
from zoo.gan import GAN
from zoo.metrics.report import Figure
from zoo.music.data import floor_of
from zoo.recipe import Evaluate


def evaluate(
    gan: GAN, store: Store, settings: Evaluate, *, progress: Callable[[int, int], None] | None = None
) -> list[Figure]:
    """All figures of `gan` against the test split of `store`. Raises as the floor's `evaluate`."""
    return _metrics_of(store).evaluate(gan, store, settings, progress=progress)


def held_out(store: Store, settings: Evaluate) -> Callable[[GAN], list[Figure]]:
    """Scores a generator while it trains. Raises as the floor's `held_out`."""
    return _metrics_of(store).held_out(store, settings)


def _metrics_of(store: Store) -> ModuleType:
    return importlib.import_module(f"zoo.music.{floor_of(store.samples)}.metrics")
