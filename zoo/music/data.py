"""The wing's door to its data: it finds the floor, scores or sounds, by the table `[data]` or by what is stored."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from zoo.data import Store
from zoo.errors import NotFound, suggest
from zoo.noise import Noise
from zoo.recipe import Data

__all__ = ["DATASETS", "build_dataset", "decode", "floor_of", "open_store"]

FLOORS = tuple(name for name in ("scores", "sounds") if find_spec(f"zoo.music.{name}"))


def _data_of(floor: str) -> ModuleType:
    return importlib.import_module(f"zoo.music.{floor}.data")


DATASETS: dict[str, Any] = {name: source for floor in FLOORS for name, source in _data_of(floor).DATASETS.items()}


def floor_of(rows: np.ndarray) -> str:
    """`scores` or `sounds`: notes are stored as uint8, waves as int16."""
    return "scores" if rows.dtype == np.uint8 else "sounds"


def open_store(
    data: Data,
    config: Any,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = print,
) -> Store:
    """The store of a recipe, by the floor that its `[data]` belongs to. Raises as that floor's `open_store`."""
    floor = importlib.import_module(type(data).__module__)
    return floor.open_store(data, config, workers=workers, progress=progress, say=say)


def build_dataset(
    name: str,
    *,
    size: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """The store of a named data set. Raises NotFound, and as its floor's `build_dataset`."""
    floor = next((floor for floor in FLOORS if name in _data_of(floor).DATASETS), None)
    if floor is None:
        raise NotFound(f'no data set "{name}" of music; there are {", ".join(DATASETS)}.{suggest(name, DATASETS)}')
    return _data_of(floor).build_dataset(name, size=size, workers=workers, progress=progress)


def decode(rows: np.ndarray, noise: Noise | None = None) -> Tensor:
    """Stored rows to what the players see; given random numbers, with the data's augmentation."""
    return _data_of(floor_of(rows)).decode(rows, noise)
