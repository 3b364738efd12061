"""The benchmark of fine-tuning: its pictures are of another kind, its runs go on, and its figures come out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fine_tune
import numpy as np
import pytest
from PIL import Image

from zoo.render.attributes import Portrait, sample_portrait


def test_busts_are_of_one_material_and_of_people_of_their_own():
    """Skin, clothes and, darker, hair have one color; the same number is the same bust; shapes are the person's."""
    busts = [fine_tune.make_bust(number) for number in range(20)]

    assert busts[3] == fine_tune.make_bust(3)
    assert len({bust.identity for bust in busts}) == 20
    for bust in busts:
        assert bust.skin == bust.garment_color
        assert np.allclose(bust.hair, 0.8 * np.array(bust.skin))
        assert bust.local_changes == sample_portrait(bust.index).local_changes
    assert len({round(bust.skin[0] / bust.skin[2], 2) for bust in busts}) == len(fine_tune.MATERIALS)


class Renderer:
    """Stands for the renderer: noise with the seed of a portrait."""

    def __init__(self, size: int) -> None:
        self.size = size

    def render_portraits(self, portraits: list[Portrait]) -> tuple[list[np.ndarray], None]:
        shape = (self.size, self.size, 3)
        return [np.random.default_rng(p.index).integers(0, 256, shape, dtype=np.uint8) for p in portraits], None


def test_figures_come_of_each_augmentation_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run is measured at each time, beside the weights before it and real pictures."""
    monkeypatch.setattr(fine_tune, "HeadRenderer", Renderer)
    monkeypatch.setattr(fine_tune, "AUGMENTATIONS", {"ADA": fine_tune.AUGMENTATIONS["ADA"]})
    arguments = ["--out", str(tmp_path), "--photos", "20", "--samples", "8", "--kimg", "0.008", "0.016"]
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", *arguments])

    fine_tune.main()
    figures = json.loads((tmp_path / "figures.json").read_text())

    assert list(figures) == ["real", "before", "ADA, 0.008 kimg", "ADA, 0.016 kimg"]
    assert len({values["frechet_distance"] for values in figures.values()}) == len(figures)
    assert len((tmp_path / "figures.md").read_text().splitlines()) == 2 + len(figures)
    assert Image.open(tmp_path / "pictures.png").width > 8 * 64
