"""`zoo evaluator train`: a network is trained, saved and scored by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.rounds import QUICK, Rounds

from zoo.data import build_store, cache_dir
from zoo.io.weights import BUNDLED


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small data set in the place of `tang-quatrains`, and a small language model."""
    monkeypatch.setattr("zoo.text.metrics.language_model.DEFAULT", QUICK)
    build_store(Rounds(name="tang-quatrains"), cache_dir() / "data" / "tang-quatrains-v1")


def test_an_evaluator_is_trained_and_saved(command, rounds: None, tmp_path: Path):
    """The folder has the command and the scores, which are printed, too."""
    code, output, errors = command("evaluator", "train", "tang-quatrains", "--out", tmp_path / "e", "--epochs", 1)

    assert code == 0, errors
    config = json.loads((tmp_path / "e" / "config.json").read_text())
    assert config["command"] == "zoo evaluator train tang-quatrains --epochs 1"
    assert config["model"]["epochs"] == 1
    assert f"texts of the test split  nats per token  {config['scores']['test_nll']:.3f}" in output
    assert output.splitlines()[-1] == str(tmp_path / "e")


def test_an_entry_gives_its_data_and_tokens(command, rounds: None, tmp_path: Path):
    """Of a text entry, whose tokens may be others than its data set's own."""
    code, _, errors = command("evaluator", "train", "--entry", "text-mle", "--out", tmp_path / "e")

    assert code == 0, errors
    assert json.loads((tmp_path / "e" / "config.json").read_text())["command"] == (
        "zoo evaluator train --entry text-mle"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a data set or --entry"),
        (["tang-quatrains", "--entry", "text-mle"], "give either a data set or --entry"),
        (["tang-quatrain"], 'no data set "tang-quatrain" with an evaluator'),
        (["bach-chorales"], "with an evaluator; there are synthetic-faces"),
        (["--entry", "faces-dcgan"], "only a text entry has tokens"),
    ],
)
def test_mistakes_are_one_line(command, arguments: list[str], message: str):
    """Each says what would work."""
    code, _, errors = command("evaluator", "train", *arguments)

    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_released_evaluators_are_not_overwritten(command, rounds: None):
    """Without --out the folder is the one that the metrics read, and what is there stays."""
    before = (BUNDLED / "text-evaluator-tang-quatrains" / "SHA256SUMS").read_bytes()

    code, _, errors = command("evaluator", "train", "tang-quatrains")

    assert code == 2
    assert "give another folder with --out" in errors
    assert (BUNDLED / "text-evaluator-tang-quatrains" / "SHA256SUMS").read_bytes() == before
