"""What an evaluation says beside its metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.releases import SMALL, write_model
from PIL import Image

import zoo
from zoo.data.images import ImageDataConfig
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.evaluation import list_notes
from zoo.metrics.report import Metric
from zoo.modality import load_modality
from zoo.recipe import load_recipe

(IMAGES,) = load_modality("faces").kinds


def distance(count: int, extractor: str) -> Metric:
    return Metric(name="frechet_distance", value=1.0, better="lower", count=count, dimensions=256, extractor=extractor)


@pytest.mark.parametrize(
    ("count", "data", "extractor", "said"),
    [
        (5000, {"name": "synthetic-faces"}, "zoo:faces-evaluator-v1", []),
        (35, {"name": "synthetic-faces"}, "zoo:faces-evaluator-v1", ["35 samples a side are few for 256 features"]),
        (35, {"folder": "photos"}, "zoo:faces-evaluator-v1", ["few for 256", "--features timm:resnet18.a1_in1k"]),
        (5000, {"folder": "photos"}, "zoo:faces-evaluator-v1", ["has not seen data of this kind"]),
        (5000, {"hub": "org/photos"}, "timm:resnet18.a1_in1k", []),
    ],
)
def test_notes_warn_of_few_samples_and_of_features_of_other_data(
    count: int, data: dict[str, str], extractor: str, said: list[str]
):
    notes = list(list_notes([distance(count, extractor)], ImageDataConfig(**data), IMAGES.load_metrics()))

    assert len(notes) == len(said)
    for note, part in zip(notes, said, strict=True):
        assert part in note


def test_too_few_held_out_samples_are_refused(tmp_path: Path):
    """A distance of two texts is none; one line says how many are needed."""
    poems = "".join(f"{a}{b}\n" for a in "春花秋月何時了" for b in "往事")
    (tmp_path / "poems.txt").write_text(poems, encoding="utf-8")

    with pytest.raises(InvalidValueError, match=r"poems\.txt: \d held-out samples?, and at least 6 are needed"):
        zoo.evaluate("text-mle", data=str(tmp_path / "poems.txt"))


def test_converted_weights_are_evaluated_by_what_one_says(tmp_path: Path):
    """They have no recipe, which would know the data; the settings are the architecture's defaults."""
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-dcgan", SMALL), tmp_path / "converted")
    photos = tmp_path / "photos"
    photos.mkdir()
    for level in range(120):
        Image.new("RGB", (64, 64), (level, 0, 0)).save(photos / f"{level}.png")

    with pytest.raises(InvalidFileError, match="its data are unknown; give --data"):
        zoo.evaluate(folder)
    report = zoo.evaluate(folder, data=photos)

    assert report.metrics[0].name == "frechet_distance"
    assert report.metrics[0].extractor.startswith("zoo:faces-evaluator")


def test_no_note_speaks_of_features_where_none_are_used():
    metric = Metric(name="crossings", value=0.1, better="lower", count=10)

    assert list(list_notes([metric], ImageDataConfig(folder="midi"), IMAGES.load_metrics())) == []
