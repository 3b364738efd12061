from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.blobs import Blobs
from PIL import Image

import zoo
from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import InvalidValueError, NotFoundError
from zoo.faces.metrics.evaluate import evaluate, extractor
from zoo.faces.metrics.evaluator import Evaluator, load_evaluator, save_evaluator, target_table, train_evaluator
from zoo.io.weights import write_sums
from zoo.recipe import EvaluateConfig, load_recipe
from zoo.releases.exporting import release


@pytest.fixture
def gan():
    recipe = load_recipe("faces-dcgan", ["model.width=4"])
    return recipe.build().eval()


def test_figures_stand_beside_their_floors(gan, store: Store):
    """All metrics of an untrained generator are far worse than real against real; each names what it was made with."""
    metrics = {f.name: f for f in evaluate(gan, store, EvaluateConfig(samples=24, features="zoo:faces-evaluator"))}

    names = {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "ms_ssim"}
    assert names <= set(metrics)
    assert {f"sliced_wasserstein_{level}px" for level in (64, 32, 16)} <= set(metrics)
    assert metrics["frechet_distance"].extractor == "zoo:faces-evaluator-v1"
    assert metrics["frechet_distance"].value > 5 * metrics["frechet_distance"].floor
    assert metrics["coverage"].value < metrics["coverage"].floor
    assert metrics["ms_ssim"].value > metrics["ms_ssim"].floor  # untrained samples are all alike


def test_the_same_seed_gives_the_same_figures(gan, store: Store):
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
        extractor("zoo:cats")
    with pytest.raises(NotFoundError, match="resnet18"):
        extractor("timm:resnet81")


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


def test_targets_are_numbers_and_classes():
    """Numbers are standardized, classes counted, and ancestry is not asked for."""
    dtype = [("index", "i8"), ("age_years", "f4"), ("skin_rgb", "f4", 3), ("glasses", "?"), ("ancestry", "f4", 3)]
    table = np.zeros(10, dtype=dtype)
    table["age_years"] = np.arange(10)
    table["glasses"][3] = True

    classes, values = target_table(table)

    assert classes == {"age_years": 0, "skin_rgb_0": 0, "skin_rgb_1": 0, "skin_rgb_2": 0, "glasses": 2}
    assert values["age_years"].mean().item() == pytest.approx(0, abs=1e-6)
    assert values["age_years"].std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_the_released_evaluator_knows_faces_it_never_saw():
    """On freshly rendered people of the test split it tells glasses, turned heads and dark skin."""
    pytest.importorskip("anny")
    from zoo.faces.data.datasets import SyntheticFaces

    source = SyntheticFaces()
    test = np.flatnonzero(source.split())[:96]
    images, attributes = source.render(test)
    with torch.no_grad():
        seen = load_evaluator().predict(decode_images(images))

    assert (seen["glasses"].argmax(1).numpy() == attributes["glasses"]).mean() > 0.9
    assert np.corrcoef(seen["yaw"].numpy(), attributes["yaw"])[0, 1] > 0.9
    assert np.corrcoef(seen["melanin"].numpy(), attributes["melanin"])[0, 1] > 0.9


def test_an_evaluator_trains_saves_and_loads(tmp_path: Path, make_store: Callable[[int], Store]):
    """Training lowers the error on what can be learned; a saved evaluator gives the same features."""
    store = make_store(64)
    color = store.samples[:, 0, 0].astype(np.float32)
    table = np.empty(len(color), dtype=[("brightness", "f4")])
    table["brightness"] = color.mean(1)
    np.save(store.folder / "attributes.npy", table)

    model, scores = train_evaluator(Store(store.folder), epochs=8, batch=16, log=lambda line: None)
    save_evaluator(model, tmp_path / "e", {})
    write_sums(tmp_path / "e")
    loaded = load_evaluator(tmp_path / "e")

    assert scores["brightness"] > 0.5
    images = decode_images(store.samples[:4])
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-2, atol=1e-2)
        assert loaded(torch.nn.functional.interpolate(images, size=32)).shape == (4, Evaluator.num_features)
