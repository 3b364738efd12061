from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.blobs import Blobs
from PIL import Image

import zoo
from zoo.data import Store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.faces.metrics.evaluate import evaluate, load_features
from zoo.recipe import EvaluateConfig, load_recipe
from zoo.releases.exporting import release


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare few pairs of images, because there are few images."""
    monkeypatch.setattr("zoo.faces.metrics.evaluate.NUM_PAIRS", 50)


@pytest.fixture
def gan():
    recipe = load_recipe("faces-dcgan", ["model.width=4"])
    return recipe.build().eval()


def test_metrics_are_beside_real_vs_real(gan, store: Store):
    """All metrics of an untrained generator are far worse than real against real; each names its extractor."""
    metrics = {f.name: f for f in evaluate(gan, store, EvaluateConfig(samples=24, features="zoo:faces-evaluator"))}

    names = {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "ms_ssim"}
    assert names <= set(metrics)
    assert {f"sliced_wasserstein_{level}px" for level in (64, 32, 16)} <= set(metrics)
    assert metrics["frechet_distance"].extractor == "zoo:faces-evaluator-v1"
    assert metrics["frechet_distance"].value > 5 * metrics["frechet_distance"].real_vs_real
    assert metrics["coverage"].value < metrics["coverage"].real_vs_real
    assert metrics["ms_ssim"].value > metrics["ms_ssim"].real_vs_real  # untrained samples are all alike


def test_the_same_seed_gives_the_same_metrics(gan, store: Store):
    """An evaluation is a function of weights, data and seed."""
    settings = EvaluateConfig(samples=20, seed=3, features="zoo:faces-evaluator")

    assert evaluate(gan, store, settings) == evaluate(gan, store, settings)


def test_more_samples_than_held_out_images_are_refused(gan, store: Store):
    """The test split bounds the number of samples."""
    with pytest.raises(InvalidValueError, match="24 held-out"):
        evaluate(gan, store, EvaluateConfig(samples=25, features="zoo:faces-evaluator"))


def test_unknown_features_name_those_there_are():
    """Features are the evaluator's or a timm model's."""
    with pytest.raises(NotFoundError, match="timm:MODEL"):
        load_features("zoo:cats")
    with pytest.raises(NotFoundError, match="resnet18"):
        load_features("timm:resnet81")


def test_a_run_is_evaluated_and_released(tmp_path: Path):
    """`zoo.evaluate` leaves metrics in the run, `zoo.release` puts them on the card, and the released folder loads."""
    pictures, run = tmp_path / "pictures", tmp_path / "run"
    pictures.mkdir()
    for i, pixels in enumerate(Blobs(count=120).render(range(120))[0]):
        Image.fromarray(pixels).save(pictures / f"{i}.png")
    overrides = ["model.width=4", "train.batch=4", "train.total_kimg=0.008"]
    zoo.train("faces-dcgan", out=run, data=str(pictures), overrides=overrides, log=lambda line: None)

    report = zoo.evaluate(run, samples=6)
    folder = release(run, out=tmp_path / "released")

    assert "real vs real" in report.table()
    assert json.loads((folder / "metrics.json").read_text())["kimg"] == 0.008
    assert "frechet_distance" in (folder / "README.md").read_text()
    assert str(tmp_path) not in (folder / "recipe.toml").read_text()
    released = zoo.evaluate(folder, samples=6, data=str(pictures))
    assert released.metrics == report.metrics  # of the rounded weights, not of the run's own
