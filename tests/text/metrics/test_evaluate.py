"""Metrics of generators of a toy language: a good one, a collapsed one, one that recites, and one of nonsense."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.rounds import LENGTH, QUICK, Fake, Rounds, cycles

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError
from zoo.metrics.report import Metric
from zoo.recipe import EvaluateConfig, load_recipe
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.metrics.evaluate import evaluate, has_same_tokens, held_out, reverse_score, trim_texts


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.text.metrics.language_model.DEFAULT", QUICK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_store(Rounds(), tmp_path / "rounds")


def metrics_of(fake: Fake, store: Store, samples: int = 100) -> dict[str, Metric]:
    settings = EvaluateConfig(samples=samples, features="zoo:text-evaluator")
    return {metric.name: metric for metric in evaluate(fake, store, settings)}


def test_a_generator_like_the_data_is_near_real_vs_real(store: Store):
    """Fresh texts of the language score like real ones; each metric names its count, and how it was computed."""
    metrics = metrics_of(Fake(cycles(400, seed=1)), store)

    assert next(iter(metrics)) == "nll_held_out"
    assert metrics["nll_held_out"].value == pytest.approx(np.log(10), abs=1e-5)
    assert metrics["nll_held_out"].count == 100
    for name in ("bleu_2", "bleu_5", "self_bleu_2", "self_bleu_5", "lm", "rlm", "divergence", "four_lines"):
        assert metrics[name].value == pytest.approx(metrics[name].real_vs_real, abs=0.15), name
    assert metrics["copied"].value < 0.2
    assert metrics["rlm"].count == 300
    assert metrics["frechet_distance"].extractor.startswith("zoo:text-evaluator-")
    assert metrics["bleu_4"].extractor == "100 references"


def test_one_text_for_ever_is_found(store: Store):
    """It looks real to BLEU and the LM score; Self-BLEU, the reverse score, distances and duplicates show it."""
    likely = cycles(1, seed=2, step=1) * 0 + 2 + np.arange(LENGTH) % 10
    metrics = metrics_of(Fake(np.repeat(likely, 400, 0)), store)

    assert metrics["bleu_4"].value >= metrics["bleu_4"].real_vs_real
    assert metrics["lm"].value < metrics["lm"].real_vs_real
    assert metrics["self_bleu_4"].value == pytest.approx(1)
    assert metrics["rlm"].value > metrics["rlm"].real_vs_real + 0.5
    assert metrics["frechet_distance"].value > 5 * metrics["frechet_distance"].real_vs_real
    assert metrics["divergence"].value > 5 * metrics["divergence"].real_vs_real
    assert metrics["duplicates"].value == 0.99


def test_copies_of_the_training_set_are_found(store: Store):
    """A generator that recites has `copied` 1, where held-out texts are not in the training split."""
    train = store.samples[store.indices("train")].astype(np.int64)
    metrics = metrics_of(Fake(train), store)
    assert metrics["copied"].value == 1
    assert metrics["copied"].real_vs_real < 0.2
    assert metrics["copied"].extractor == "300 training texts"


def test_nonsense_is_far_from_real_vs_real(store: Store):
    """Random words, some unknown, some texts too short: worse in every metric that knows the language."""
    texts = np.random.default_rng(0).integers(0, 12, (400, LENGTH))
    metrics = metrics_of(Fake(texts, likelihood=False), store)
    assert "nll_held_out" not in metrics
    assert metrics["four_lines"].value < 0.5 < metrics["four_lines"].real_vs_real
    for name in ("bleu_2", "lm", "rlm", "frechet_distance", "divergence"):
        metric = metrics[name]
        assert (metric.value < metric.real_vs_real) == (metric.better == "higher"), name


def test_the_same_seed_gives_the_same_metrics(store: Store):
    """An evaluation is a function of weights, data and seed."""
    fake, settings = Fake(cycles(400, seed=1)), EvaluateConfig(samples=50, seed=3, features="zoo:text-evaluator")
    assert evaluate(fake, store, settings) == evaluate(fake, store, settings)


def test_while_training_likelihood_comes_first_and_distance_where_there_is_none(store: Store):
    """The best checkpoint is chosen by the first metric, of which lower is better."""
    evaluate_generator = held_out(store, EvaluateConfig(samples=50, features="zoo:text-evaluator"))
    first = evaluate_generator(Fake(cycles(50, seed=1)))[0]
    assert (first.name, first.better) == ("nll_held_out", "lower")
    first = evaluate_generator(Fake(cycles(50, seed=1), likelihood=False))[0]
    assert (first.name, first.better) == ("frechet_distance", "lower")


def test_progress_reaches_its_end(store: Store):
    """It rises to the total."""
    reported: list[tuple[int, int]] = []
    settings = EvaluateConfig(samples=50, features="zoo:text-evaluator")
    evaluate(Fake(cycles(400, seed=1)), store, settings, progress=lambda done, total: reported.append((done, total)))
    assert reported == sorted(reported)
    assert reported[-1][0] == reported[-1][1]


def test_more_samples_than_held_out_texts_are_refused(store: Store):
    """The test split bounds the number of samples."""
    with pytest.raises(InvalidValueError, match="100 held-out"):
        evaluate(Fake(cycles(400, seed=1)), store, EvaluateConfig(samples=101, features="zoo:text-evaluator"))


def test_texts_in_other_words_are_refused(store: Store, tmp_path: Path):
    """As many of them, but others: its ids would be compared with those of other words."""
    recipe = load_recipe(
        "text-mle", ["model.vocabulary=12", "model.length=8", "model.hidden_dim=8", "model.embedding_dim=8"]
    )
    gan = recipe.build()
    (tmp_path / "others").mkdir()
    others = Vocabulary.build(["天地玄黃宇宙洪荒日月"], "character")
    (tmp_path / "others" / "tokenizer.json").write_text(others.to_json(), encoding="utf-8")
    gan.load_assets(tmp_path / "others")

    with pytest.raises(InvalidValueError, match="other tokens than the model's"):
        evaluate(gan, store, EvaluateConfig(samples=50))

    gan.load_assets(store.folder)
    assert has_same_tokens(gan, store)


def test_prose_has_no_verse_metrics(tmp_path: Path):
    """Verse is measured only on data that are all quatrains."""
    store = build_store(Rounds(line_length=0), tmp_path / "prose")
    assert not {"four_lines", "rhymes", "tones"} & set(metrics_of(Fake(cycles(400, seed=1)), store))


def test_a_text_is_what_comes_before_its_first_end():
    """Whatever a generator leaves after it; a text may be empty, or fill its row."""
    rows = torch.tensor([[5, 6, 0, 9], [0, 0, 0, 0], [2, 3, 4, 5]])
    assert [text.tolist() for text in trim_texts(rows)] == [[5, 6], [], [2, 3, 4, 5]]


def test_a_reverse_score_needs_samples_to_learn_from():
    """One text leaves none to hold out."""
    with pytest.raises(InvalidValueError, match="at least 2"):
        reverse_score(torch.tensor([[2, 3]]), torch.tensor([[2, 3]]), 5, seed=0)


def test_without_readings_the_other_metrics_stay(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Rhymes and tones are left out with a warning that says what they need."""
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.warns(UserWarning, match="pypinyin"):
        metrics = metrics_of(Fake(cycles(400, seed=1)), store)
    assert "four_lines" in metrics
    assert not {"rhymes", "tones"} & set(metrics)
