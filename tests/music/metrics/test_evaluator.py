"""The evaluator of drum hits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.hits import LABELS

from zoo.data import Store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.data.sounds import decode
from zoo.music.metrics.evaluator import Evaluator, load_evaluator


def test_the_evaluator_learns_the_classes_of_its_data(hits: Store, evaluator: Evaluator, tmp_path: Path):
    """It classifies held-out sounds at any loudness, and is the same after it was saved."""
    assert evaluator.balanced_accuracy(hits) > 0.9
    waves = decode(hits.samples[:6])
    features, classes = evaluator.hear(waves)
    torch.testing.assert_close(evaluator.hear(waves / 7)[1], classes, rtol=0, atol=1e-3)

    evaluator.save(tmp_path / "e", hits, {"accuracy": 0.99}, command="a test")
    loaded = load_evaluator(tmp_path / "e")
    assert loaded.labels == tuple(LABELS)
    torch.testing.assert_close(loaded.hear(waves)[0], features, rtol=1e-2, atol=1e-2)
    (tmp_path / "e" / "config.json").write_text(json.dumps({"labels": ["a"]}))
    with pytest.raises(InvalidFileError, match="sha256"):
        load_evaluator(tmp_path / "e")


def test_evaluator_says_what_it_takes(evaluator: Evaluator, tmp_path: Path):
    """Sounds of another length are refused, and a folder without it says how to train it."""
    with pytest.raises(InvalidValueError, match="16384"):
        evaluator(torch.zeros(1, 1, 8192))
    with pytest.raises(InvalidFileError, match="zoo evaluator train drum-hits"):
        load_evaluator(tmp_path)
