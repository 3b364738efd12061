"""From a recipe's name to a running training: its run folder, its data, and then the loop."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from zoo.data import Store
from zoo.errors import BadFile, BadValue
from zoo.gan import GAN
from zoo.recipe import OTHER_LIBRARIES, Recipe, load_recipe
from zoo.registry import Entry, registry
from zoo.training import distributed
from zoo.training.checkpoint import checkpoints
from zoo.training.loop import (
    Judge,
    Progress,
    continue_run,
    open_run,
    refuse_other_game,
    refuse_run,
    refuse_start,
    start_run,
    train,
)

if TYPE_CHECKING:
    from zoo.metrics.report import Figure


def wing_data(modality: str) -> ModuleType:
    """The `data` module of a wing: its DATASETS, `open_store` and `decode`."""
    return importlib.import_module(f"zoo.{modality}.data")


def open_data(
    recipe: Recipe,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = print,
) -> Store:
    """The store that a recipe trains on, built at first use. Raises as the wing's `open_store`."""
    wing = wing_data(recipe.modality)
    return wing.open_store(recipe.data, recipe.model, workers=workers, progress=progress, say=say)


def fitted(recipe: Recipe, store: Store) -> Recipe:
    """The recipe with those values of its model that it leaves to the data, e.g. the size of a vocabulary."""
    return replace(recipe, model=recipe.gan.fitted(recipe.model, store))


def train_run(
    recipe: str | os.PathLike[str] | Recipe | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    data: str = "",
    overrides: Iterable[str] = (),
    workers: int = 1,
    build_progress: Callable[[int, int], None] | None = None,
    watch: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Start or resume a training; see `zoo.train`. `watch` is told after every turn, `build_progress` of the data."""
    recipe, run = _recipe_and_run(recipe, out=out, resume=resume, data=data, overrides=list(overrides))
    if resume is None:
        refuse_run(run)
    else:
        refuse_other_game(recipe, run, fitted=False)  # before data are built that are not the run's
    begins = not checkpoints(run / "checkpoints")  # also a run that was stopped before its first
    start = _start(recipe) if begins else None
    foreign = begins and recipe.train.start.startswith(OTHER_LIBRARIES)
    with distributed.process_group() as device:
        with distributed.first_process_first():
            store = open_data(recipe, workers=workers, progress=build_progress, say=say)
            recipe = fitted(recipe, store)
            if foreign:
                start = recipe.gan.begun(recipe.model, recipe.train.start, store, seed=recipe.train.seed)
                recipe = replace(recipe, model=start.config)
            if recipe.train.batch > (count := len(store.indices("train"))):
                raise BadValue(f"train.batch = {recipe.train.batch} is more than the {count} training samples")
            if start is not None:
                refuse_start(recipe, start)
            if distributed.rank() == 0 and resume is None:
                start_run(recipe, run, store.folder)
            elif distributed.rank() == 0:
                continue_run(recipe, run)
        decode = wing_data(recipe.modality).decode
        finished = train(
            recipe, run, store, decode, device=device, start=start, judge=_judge(recipe, store), watch=watch, say=say
        )
        if not finished and distributed.rank() == 0:
            say(f"stopped; go on with: zoo train --resume {run}")
    return run


def _start(recipe: Recipe) -> GAN | None:
    """The trained players of this library that a recipe starts from, if it names any. Raises as `zoo.load`."""
    from zoo.hub import load

    start = recipe.train.start
    return load(start) if start and not start.startswith(OTHER_LIBRARIES) else None


def _judge(recipe: Recipe, store: Store) -> Judge:
    """What scores a generator against held-out data while it trains, by the wing's own measure."""

    @cache
    def held_out() -> Callable[[GAN], list[Figure]]:  # at first use: it computes features of the data
        count = min(recipe.evaluate.samples, *(len(store.indices(split)) for split in ("train", "test")))
        metrics = importlib.import_module(f"zoo.{recipe.modality}.metrics")
        return metrics.held_out(store, replace(recipe.evaluate, samples=count))

    return lambda gan: {figure.name: (figure.value, figure.floor) for figure in held_out()(gan)}


def _recipe_and_run(
    recipe: str | os.PathLike[str] | Recipe | None,
    *,
    out: str | os.PathLike[str] | None,
    resume: str | os.PathLike[str] | None,
    data: str,
    overrides: list[str],
) -> tuple[Recipe, Path]:
    if resume is not None:
        run = Path(resume).expanduser()
        if out is not None and Path(out).expanduser() != run:
            raise BadValue(f"a resumed run stays in its folder {run}: leave --out away")
        started = open_run(run)
        if recipe is None:
            source = Entry(
                name=started.name,
                modality=started.modality,
                architecture=started.architecture,
                recipe=run / "recipe.toml",
            )
            recipe = load_recipe(source, overrides, data=data)
        elif not isinstance(recipe, Recipe):
            recipe = _given_recipe(os.fspath(recipe), overrides, data)
        return recipe, run
    if recipe is None or out is None:
        raise BadValue("training needs an entry or recipe and a folder for the run: zoo train faces-dcgan --out runs/a")
    run = Path(out).expanduser()
    if run.exists() and not run.is_dir():
        raise BadFile(f"{run}: this is a file; --out names a folder")
    if not isinstance(recipe, Recipe):
        recipe = _given_recipe(os.fspath(recipe), overrides, data)
    return recipe, run


def _given_recipe(source: str, overrides: list[str], data: str) -> Recipe:
    """The recipe of an entry or a file, which by itself may not choose what is read from this disk or the network.

    A recipe that somebody gave you says how to train; you say on what. Those of installed packages may name anything.

    Raises as `load_recipe`; BadValue where a file names what nobody asked for, with what to say to allow it.
    """
    recipe = load_recipe(source, overrides, data=data)
    if source in registry.entries:
        return recipe
    said = {override.partition("=")[0].strip() for override in overrides}
    start, features, control = recipe.train.start, recipe.evaluate.features, recipe.evaluate.control
    tokenizer = getattr(recipe.data, "tokenizer", "")  # of texts
    asked = [
        (recipe.data.folder, "data.folder", f"--data {recipe.data.folder}"),
        (recipe.data.hub, "data.hub", f"--data hf:{recipe.data.hub}"),
        (tokenizer, "data.tokenizer", f"data.tokenizer={tokenizer}"),
        (start if start not in registry.entries else "", "train.start", f"train.start={start}"),
        (features if not features.startswith("zoo:") else "", "evaluate.features", f"evaluate.features={features}"),
        (control if control not in registry.entries else "", "evaluate.control", f"evaluate.control={control}"),
    ]
    for value, key, option in asked:
        if value and key not in said and not (data and key in ("data.folder", "data.hub")):
            raise BadValue(
                f'{source} names {key} = "{value}". A recipe file may not choose by itself what is read from this '
                f"disk or the network; if you want that, say so: {option}"
            )
    return recipe
