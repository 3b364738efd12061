"""What tests release: small models, and figures for their cards."""

from __future__ import annotations

import shutil
from pathlib import Path

from hits import Hits
from lines import Lines

from zoo.data import build_store
from zoo.recipe import Recipe
from zoo.releasing import save_players, write_config
from zoo.safe import write_sums
from zoo.training.session import fitted

SMALL = ["model.width=4"]  # a DCGAN of 40 kB

FIGURES = {
    "command": "zoo evaluate faces-dcgan", "data": "blobs", "data_licence": "CC0-1.0", "fingerprint": "f" * 64,
    "seed": 0, "kimg": 0.008,
    "figures": [{"name": "frechet_distance", "value": 1.5, "floor": 0.25, "spread": None, "higher_is_better": False,
                 "count": 100, "extractor": "zoo:faces-evaluator-v1", "seed": 0}],
}  # fmt: skip


def write_model(recipe: Recipe, folder: Path) -> Path:
    """The least that loads: weights as they are before a training, config.json, assets and digests."""
    folder.mkdir(exist_ok=True)
    if recipe.gan.ASSETS:  # of texts and sounds: the sizes, and what tells what tokens and classes are, come with data
        source = Hits() if recipe.modality == "music" else Lines()
        store = build_store(source, folder.with_name(f"{folder.name}-data"))
        recipe = fitted(recipe, store)
        for asset in recipe.gan.ASSETS:
            shutil.copyfile(store.folder / asset, folder / asset)
    save_players(recipe.gan(recipe.model).eval(), folder)
    write_config(recipe, folder)
    write_sums(folder)
    return folder
