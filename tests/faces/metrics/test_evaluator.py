from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.faces.metrics.evaluator import IGNORED, Evaluator, load_evaluator
from zoo.metrics.feature_network import make_targets


def test_targets_are_numbers_and_classes():
    """Numbers are standardized, classes counted, and ancestry is not a target."""
    dtype = [("index", "i8"), ("age_years", "f4"), ("skin_rgb", "f4", 3), ("glasses", "?"), ("ancestry", "f4", 3)]
    table = np.zeros(10, dtype=dtype)
    table["age_years"] = np.arange(10)
    table["glasses"][3] = True

    classes, values = make_targets(table, ignored=IGNORED)

    assert classes == {"age_years": 0, "skin_rgb_0": 0, "skin_rgb_1": 0, "skin_rgb_2": 0, "glasses": 2}
    assert values["age_years"].mean().item() == pytest.approx(0, abs=1e-6)
    assert values["age_years"].std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_the_released_evaluator_knows_faces_it_never_saw():
    """On freshly rendered people of the test split it predicts glasses, turned heads and dark skin."""
    pytest.importorskip("anny")
    from zoo.faces.data.datasets import SyntheticFaces

    source = SyntheticFaces()
    test = np.flatnonzero(source.split())[:96]
    images, attributes = source.render(test)
    with torch.no_grad():
        predicted = load_evaluator().predict(decode_images(images))

    assert (predicted["glasses"].argmax(1).numpy() == attributes["glasses"]).mean() > 0.9
    assert np.corrcoef(predicted["yaw"].numpy(), attributes["yaw"])[0, 1] > 0.9
    assert np.corrcoef(predicted["melanin"].numpy(), attributes["melanin"])[0, 1] > 0.9


def test_an_evaluator_trains_saves_and_loads(tmp_path: Path, make_store: Callable[[int], Store]):
    """Training lowers the error on what can be learned; a saved evaluator gives the same features."""
    store = make_store(64)
    color = store.samples[:, 0, 0].astype(np.float32)
    table = np.empty(len(color), dtype=[("brightness", "f4")])
    table["brightness"] = color.mean(1)
    np.save(store.folder / "attributes.npy", table)

    model, scores = Evaluator.train_on(Store(store.folder), epochs=8, batch=16, log=lambda line: None)
    model.save(tmp_path / "e", store, scores, command="a test")
    loaded = load_evaluator(tmp_path / "e")

    assert scores["brightness"] > 0.5
    images = decode_images(store.samples[:4])
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images), rtol=1e-2, atol=1e-2)
        assert loaded(torch.nn.functional.interpolate(images, size=32)).shape == (4, Evaluator.num_features)
