"""The oracle benchmark: a small one, from start to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.errors import NotFoundError
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
