"""The feature networks: one way to save, load and describe them, and the released ones."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from zoo.errors import InvalidFileError
from zoo.faces.metrics.evaluator import Evaluator as FacesEvaluator
from zoo.io.weights import BUNDLED, verify
from zoo.metrics.feature_network import FeatureNetwork, make_targets, score_target, shuffle_batches, target_loss
from zoo.modality import list_datasets
from zoo.music.metrics.evaluator import Evaluator as HitsEvaluator
from zoo.text.metrics.evaluator import Evaluator as TextEvaluator
from zoo.video.metrics.evaluator import Evaluator as VideoEvaluator

EVALUATORS: dict[str, type[FeatureNetwork]] = {
    "faces": FacesEvaluator,
    "music": HitsEvaluator,
    "text": TextEvaluator,
    "video": VideoEvaluator,
}
RELEASED = sorted(folder.name for folder in BUNDLED.glob("*evaluator*"))


@pytest.mark.parametrize("name", RELEASED)
def test_released_networks_load_and_their_cards_are_those_of_their_configs(name: str):
    """Every file has its digest, the weights are those of config.json, and the card is written from it."""
    folder, cls = BUNDLED / name, EVALUATORS[name.partition("-")[0]]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    assert verify(folder, {}) == 3 + len(cls.ASSETS)
    network = cls.load(folder, dataset=config["data"]["name"])
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert (folder / "README.md").read_text(encoding="utf-8") == cls.format_card(config)
    head = json.loads(json.dumps(network.to_config()))
    assert head.items() <= config.items()


@pytest.mark.parametrize("name", RELEASED)
def test_released_networks_name_the_command_that_trained_them(name: str):
    """It is one that this library has, and the card has it, too."""
    config = json.loads((BUNDLED / name / "config.json").read_text(encoding="utf-8"))

    assert re.fullmatch(r"zoo evaluator train (--entry )?[a-z0-9-]+( --epochs \d+)?", config["command"])
    assert f"`{config['command']}`" in (BUNDLED / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("modality", EVALUATORS)
def test_networks_are_trained_on_data_sets_that_there_are(modality: str):
    """Each data set of an evaluator is one of its modality."""
    known = {name for name, (owner, _) in list_datasets().items() if owner.name == modality}

    assert set(EVALUATORS[modality].DATASETS) <= known


def test_a_missing_network_names_the_command_that_trains_it(tmp_path):
    """So does each kind of network, by its name."""
    with pytest.raises(
        InvalidFileError, match="no drum hits evaluator here; `zoo evaluator train drum-hits` trains it"
    ):
        HitsEvaluator.load(tmp_path, dataset="drum-hits")


def test_numbers_and_classes_are_targets():
    """A number is standardized and has no classes; each component of a field is a target."""
    table = np.zeros(4, dtype=[("size", "f4"), ("color", "f4", 2), ("kind", "i4"), ("index", "i8")])
    table["size"], table["kind"] = [1, 2, 3, 4], [0, 2, 1, 0]

    classes, values = make_targets(table, ignored=("index",))

    assert classes == {"size": 0, "color_0": 0, "color_1": 0, "kind": 3}
    assert values["size"].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert values["kind"].tolist() == [0, 2, 1, 0]


def test_perfect_predictions_score_1_and_the_mean_scores_0():
    """Accuracy for classes, R^2 for numbers, whether those have a column or not; their losses are 0."""
    numbers, labels = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 1])
    logits = 50 * torch.eye(3)[labels]

    assert score_target(logits, labels, 3) == 1
    assert score_target(numbers[:, None], numbers, 0) == score_target(numbers, numbers, 0) == 1
    mean = numbers.mean().expand(3)
    assert score_target(mean, numbers, 0) == pytest.approx(1 - 2 / 3)  # its variance is the unbiased one
    assert target_loss(logits, labels, 3).item() == pytest.approx(0, abs=1e-6)
    assert target_loss(numbers[:, None], numbers, 0).item() == 0


def test_an_epoch_has_each_row_once_in_an_order_of_its_own():
    """The order depends on the seed and the epoch; what does not fill a batch is left out."""
    rows = np.arange(10, 20)
    batches = shuffle_batches(rows, 3, seed=0)

    first, again, second = (np.stack(list(batches(epoch))) for epoch in (0, 0, 1))
    assert first.shape == (3, 3)
    assert len(set(first.ravel())) == 9
    assert set(first.ravel()) <= set(rows)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
