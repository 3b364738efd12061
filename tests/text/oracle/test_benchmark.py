"""The oracle benchmark: a small one, from start to end."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import InvalidValueError, NotFoundError
from zoo.text.oracle import benchmark
from zoo.text.oracle.model import Oracle

QUICK = ["model.embedding_dim=4", "model.hidden_dim=4", "model.kernel_widths=[2]", "model.kernel_maps=[4]",
         "train.rollouts=1", "train.generator_interval=2"]  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in {"NUM_TRAIN": 192, "NUM_TEST": 64, "NUM_SCORED": 128}.items():
        monkeypatch.setattr(benchmark, name, count)
    monkeypatch.setattr(benchmark.OracleTexts, "count", 256)


def test_seqgan_and_its_controls_start_from_the_same_generator(quick: None, tmp_path: Path):
    """Each system has a row; the controls of temperature have those of the pre-trained generator, sharpened."""
    rows = benchmark.run_benchmark(
        ["seqgan", "constant"],
        folder=tmp_path,
        length=5,
        pretrain_epochs=20,
        discriminator_epochs=1,
        adversarial_epochs=1,
        overrides=QUICK,
        log=lambda line: None,
    )

    assert [row.system for row in rows] == ["mle", "mle at 1/1.1", "mle at 1/1.2", "mle at 1/1.5", "seqgan", "constant"]
    entropies = [row.self_entropy for row in rows[:4]]
    assert entropies == sorted(entropies, reverse=True)
    assert rows[4] != rows[5]
    assert all(5 < row.oracle_nll < 15 and row.distinct <= 5000 for row in rows)
    assert "oracle itself" in benchmark.format_table(rows, {0: 5.7})


def run_quickly(folder: Path, *overrides: str, **options: Any) -> list[benchmark.Row]:
    sizes = {"length": 5, "pretrain_epochs": 2, "discriminator_epochs": 1, "adversarial_epochs": 1, **options}
    return benchmark.run_benchmark(
        ["constant"], folder=folder, overrides=[*QUICK, *overrides], log=lambda line: None, **sizes
    )


def test_an_interrupted_benchmark_scores_nothing_and_resumes(quick: None, tmp_path: Path):
    """Ctrl-C stops all systems, also while a run is copied; the same call then gives the rows of one without it."""
    stopped = iter([True])

    def interrupt(progress: object) -> None:
        if next(stopped, False):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_quickly(tmp_path / "a", on_step=interrupt)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark.shutil, "copytree", interrupt_copy)
        with pytest.raises(KeyboardInterrupt):
            run_quickly(tmp_path / "a")

    assert run_quickly(tmp_path / "a") == run_quickly(tmp_path / "b")


def interrupt_copy(source: Path, target: Path, *, dirs_exist_ok: bool) -> None:
    """Copy a part of a run, and then be interrupted."""
    shutil.copy(source / "recipe.toml", target)
    raise KeyboardInterrupt


def test_rows_are_of_the_settings_that_were_asked_for(quick: None, tmp_path: Path):
    """Runs of other settings are refused in the same folder, and a benchmark without a pre-training at all."""
    run_quickly(tmp_path)
    with pytest.raises(InvalidValueError, match="was started with another recipe"):
        run_quickly(tmp_path, "train.generator.lr=0.5")
    with pytest.raises(InvalidValueError, match="pretrain = 0: constant start from"):
        run_quickly(tmp_path, pretrain_epochs=0)


def test_the_oracle_s_texts_come_back_as_its_own_tokens(quick: None):
    """Stored ids are the model's, two above none: through the vocabulary they are the oracle's tokens again."""
    source = benchmark.OracleTexts(seed=0, length=5)
    rows, _ = source.render(range(8))
    vocabulary = benchmark.Vocabulary.from_json(source.assets["tokenizer.json"])

    tokens = benchmark.list_oracle_tokens(vocabulary)[torch.from_numpy(rows.astype("int64"))]

    assert torch.equal(tokens, Oracle(0).sample(8, 5, seed=0))


def test_unknown_systems_suggest_the_nearest(tmp_path: Path):
    """A misspelt system names the nearest one."""
    with pytest.raises(NotFoundError, match='Did you mean "seqgan"'):
        benchmark.run_benchmark(["seqgam"], folder=tmp_path)
