"""A training session opens and parses each thing once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import zoo
from zoo import recipe as recipe_module
from zoo.training.run import Run


def test_resuming_parses_the_recipe_once_and_opens_the_run_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run is opened once, and its recipe is parsed once and compared once."""
    small = ["model.width=4", "train.batch=4", "train.total_kimg=0.008", "train.lr_decay_share=0"]
    zoo.train("faces-dcgan", out=tmp_path / "run", data=str(photos), overrides=small, log=lambda line: None)
    calls: Counter[str] = Counter()

    def count_calls(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def count(*args: object, **options: object) -> object:
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, staticmethod(count) if name == "open" else count)

    count_calls(Run, "open")
    count_calls(Run, "check_same_training")
    count_calls(Run, "resume_as")
    for module in (recipe_module, __import__("zoo.training.run", fromlist=["run"])):
        count_calls(module, "parse_recipe")
    zoo.train(resume=tmp_path / "run", log=lambda line: None)

    assert calls == {"open": 1, "check_same_training": 1, "resume_as": 1, "parse_recipe": 1}
