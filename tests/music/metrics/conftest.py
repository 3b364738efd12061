"""One evaluator of small sounds for all tests of this folder."""

from __future__ import annotations

import pytest
from helpers.hits import Hits

from zoo.data import Store, build_store
from zoo.music.metrics.evaluator import Evaluator


@pytest.fixture(scope="session")
def hits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build_store(Hits(), tmp_path_factory.mktemp("data") / "hits")


@pytest.fixture(scope="session")
def evaluator(hits: Store) -> Evaluator:
    return Evaluator.train_on(hits, epochs=20, batch=24, log=lambda line: None)[0]
