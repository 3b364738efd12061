"""Publishing to a Hub that answers as the real one does, and loading what was published."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from loopback_hub import LoopbackHub

import zoo
from zoo.recipe import load_recipe
from zoo.registry import registry
from zoo.releasing import save_players, write_config
from zoo.safe import write_sums


def wipe_cache() -> None:
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)


def weights_for(name: str, scratch: Path) -> Path:
    """The released weights of an entry; random ones in `scratch` where it has none yet."""
    if registry.entries[name].has_weights:
        return registry.entries[name].bundled
    recipe = load_recipe(name)
    torch.manual_seed(0)
    scratch.mkdir()
    save_players(recipe.gan(recipe.model).eval(), scratch)
    write_config(recipe, scratch)
    write_sums(scratch)
    return scratch


@pytest.mark.parametrize("name", registry.names())
def test_published_and_loaded_samples_are_the_same_bit_for_bit(name: str, hub: LoopbackHub, tmp_path: Path):
    """Each entry travels: published, fetched by another machine, it samples exactly as before."""
    folder = weights_for(name, tmp_path / "weights")
    commit = zoo.publish(folder, repo=f"me/{name}")
    wipe_cache()

    loaded = zoo.load(f"me/{name}@{commit.revision}")

    assert torch.equal(loaded.sample(4, seed=7).tensor, zoo.load(folder).sample(4, seed=7).tensor)
    published = {path: content for path, content in hub.repos[f"me/{name}"].files.items() if path != ".gitattributes"}
    assert published == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
