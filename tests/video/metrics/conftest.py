"""One evaluator of small clips for all tests of this folder."""

from __future__ import annotations

import pytest
from helpers.moves import Moves

from zoo.data import Store, build_store
from zoo.video.metrics.evaluator import Evaluator


@pytest.fixture(scope="session")
def moves(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_store(Moves(size=16, frames=8, count=192), tmp_path_factory.mktemp("data") / "moves")


@pytest.fixture(scope="session")
def trained(moves: Store) -> tuple[Evaluator, dict[str, float]]:
    return Evaluator.train_on(moves, epochs=6, batch=16, log=lambda line: None)
