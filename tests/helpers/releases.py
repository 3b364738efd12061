"""Releases for tests: small models, and metrics for their cards."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.hits import Hits
from helpers.lines import Lines
from helpers.moves import Moves
from zoo.data import build_store
from zoo.io.weights import write_sums
from zoo.recipe import Recipe
from zoo.releases.exporting import save_networks, write_config
from zoo.training.session import fit_to_data

SMALL = ["model.width=4"]  # a DCGAN of 40 kB

METRICS = {
    "command": "zoo evaluate faces-dcgan", "data": "blobs", "data_license": "CC0-1.0", "fingerprint": "f" * 64,
    "seed": 0, "kimg": 0.008,
    "metrics": [{"name": "frechet_distance", "value": 1.5, "real_vs_real": 0.25, "spread": None,
                 "better": "lower", "count": 100, "extractor": "zoo:faces-evaluator-v1", "seed": 0}],
}  # fmt: skip


def write_model(recipe: Recipe, folder: Path) -> Path:
    """Write the files that loading needs: initial weights, config.json, assets and digests."""
    folder.mkdir(exist_ok=True)
    if recipe.architecture_class.ASSETS:  # sizes and the names of tokens and classes depend on data
        source = {"music": Hits(), "video": Moves(size=16)}.get(recipe.modality, Lines())
        store = build_store(source, folder.with_name(f"{folder.name}-data"))
        recipe = fit_to_data(recipe, store)
        for asset in recipe.architecture_class.ASSETS:
            shutil.copyfile(store.folder / asset, folder / asset)
    save_networks(recipe.build().eval(), folder)
    write_config(recipe, folder)
    write_sums(folder)
    return folder
