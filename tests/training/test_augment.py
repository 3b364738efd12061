"""DiffAugment."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import torch

from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.training.augment import Augmentation


def augment(images: torch.Tensor, policies: Sequence[str]) -> torch.Tensor:
    train = load_recipe("faces-dcgan", [f"train.augment={json.dumps(policies)}"]).train
    return Augmentation(train, images.device)(images, Noise(0))


@pytest.mark.parametrize("policy", ["color", "translation", "cutout"])
def test_augmentation_changes_images_and_passes_gradients(policy: str):
    """Each policy changes each image in its own way, by the seed, and lets gradients through."""
    images = torch.rand(8, 3, 32, 32, requires_grad=True)

    changed = augment(images, [policy])
    changed.sum().backward()

    assert changed.shape == images.shape
    assert all(not torch.equal(a, b) for a, b in zip(images, changed, strict=True))
    assert torch.equal(changed, augment(images, [policy]))
    assert images.grad.abs().sum() > 0


def test_no_policy_is_no_change():
    """Without policies the images are the same object, and no random numbers are used."""
    images = torch.rand(2, 3, 8, 8)

    assert augment(images, ()) is images


def test_translation_moves_by_at_most_an_eighth():
    """A dot moves by up to 1/8 of the size, or not at all, and nothing else appears."""
    images = torch.zeros(200, 1, 32, 32)
    images[:, :, 16, 16] = 1

    places = augment(images, ["translation"]).nonzero()

    assert len(places) == 200
    shifts = places[:, 2:] - 16
    assert shifts.abs().max() == 4
    assert len(shifts.unique(dim=0)) > 50


def test_cutout_blanks_a_square_of_half_the_size():
    """At most a quarter of the area is blanked, in one rectangle."""
    holes = augment(torch.ones(50, 1, 32, 32), ["cutout"]).eq(0).sum((1, 2, 3))

    assert holes.max() == 16 * 16
    assert holes.min() > 0
