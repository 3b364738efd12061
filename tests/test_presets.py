"""Presets: named overrides of a recipe, and that those of the released recipes can be trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.hits import Hits
from helpers.moves import Moves

import zoo
from zoo.data import Store, build_store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.modality import kind_of
from zoo.recipe import Recipe, load_recipe
from zoo.registry import registry
from zoo.training.report import TrainingReport
from zoo.training.run import Run
from zoo.training.session import fit_to_data
from zoo.training.trainer import Trainer

PRESETS = [(name, preset) for name in registry.names() for preset in load_recipe(name).presets]
FLAGSHIPS = ("faces-stylegan2", "faces-r3gan", "video-styleganv", "video-mocogan", "music-vocos")


def build_small_store(recipe: Recipe, make_store: Callable[[int], Store], folder: Path) -> Store:
    if recipe.modality == "video":
        return build_store(Moves(size=recipe.model.resolution, frames=recipe.model.frames), folder)
    if recipe.modality == "music":
        return build_store(Hits(length=recipe.model.length, rate=recipe.model.rate), folder)
    return make_store(recipe.model.resolution)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_of_released_recipes_are_trained(name: str, preset: str, make_store, tmp_path: Path):
    """Two steps of each preset run, with its sizes, on a device that computes nothing and cannot be waited for."""
    here = ["train.batch=4", "train.precision=fp32"]  # this device has no other
    recipe = load_recipe(name, here, preset=preset)
    store = build_small_store(recipe, make_store, tmp_path / "data")

    trainer = Trainer(fit_to_data(recipe, store), store, kind_of(recipe).decode, torch.device("meta"))
    for _ in range(2):
        trainer.step(TrainingReport(recipe.train.loss))

    assert trainer.num_steps == 2
    assert recipe != load_recipe(name, here)


def test_each_flagship_has_a_preset_for_a_large_card():
    """The entries that gain most from a GPU say how to use one."""
    assert {name for name, preset in PRESETS if preset == "gpu"} >= set(FLAGSHIPS)


def test_a_preset_is_trained_by_one_command(make_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`preset` sets the recipe, overrides go before it, and the clock ends the training with a checkpoint."""
    store = make_store(16)
    monkeypatch.setattr("zoo.training.session.open_data", lambda *args, **kwargs: store)
    small = ["model.resolution=16", "model.channel_base=128", "model.channel_max=8", "model.style_dim=8"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = zoo.train(
            "faces-stylegan2", out=tmp_path / "run", preset="gpu", device="cpu", log=lambda line: None,
            overrides=[*small, "model.latent_dim=8", "train.batch=4", "train.total_kimg=0.008"],
        )  # fmt: skip

    recipe = Run.open(run).recipe
    assert (recipe.train.precision, recipe.train.log_kimg, recipe.train.batch) == ("bf16", 10, 4)
    assert "presets" not in (run / "recipe.toml").read_text()
    assert Run.open(run).has_checkpoint


def test_an_unknown_preset_names_those_that_are_there():
    """The refusal lists the presets, with the nearest; an entry without any says so."""
    with pytest.raises(NotFoundError, match=r'no preset "gpu-12"; its presets are gpu, gpu-128.*gpu-128'):
        load_recipe("faces-stylegan2", preset="gpu-12")
    with pytest.raises(NotFoundError, match="it has no presets"):
        load_recipe("text-mle", preset="gpu")


def test_a_resumed_run_takes_no_preset(tmp_path: Path):
    """A preset changes the game, so it is for a new run."""
    with pytest.raises(InvalidValueError, match="a preset is for a new run"):
        zoo.train(resume=tmp_path, preset="gpu")


def test_a_recipe_file_s_preset_may_not_choose_what_is_read(tmp_path: Path):
    """What a stranger's preset names on this disk is refused, as what his recipe names is."""
    text = registry.entries["faces-gan"].recipe.read_text()
    recipe = tmp_path / "gan.toml"
    recipe.write_text(text + '\n[presets]\nmine = ["data.name=\\"\\"", "data.folder=\\"/etc\\""]\n')

    with pytest.raises(InvalidValueError, match=r'names data\.folder = "/etc"'):
        zoo.train(recipe, out=tmp_path / "run", preset="mine")


def test_a_preset_is_a_list_of_overrides(tmp_path: Path):
    """Anything else is refused with the key."""
    text = registry.entries["faces-gan"].recipe.read_text()
    recipe = tmp_path / "gan.toml"
    recipe.write_text(text + '\n[presets]\nmine = "train.batch=4"\n')

    with pytest.raises(InvalidValueError, match=r"presets.mine = 'train.batch=4' should be a list"):
        load_recipe(recipe)
    recipe.write_text("presets = 3\n" + text)
    with pytest.raises(InvalidValueError, match="presets = 3 should be a table of lists"):
        load_recipe(recipe)
