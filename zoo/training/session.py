"""From the name of a recipe to a running training: its run folder, its data, and then the loop."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.data import Store
from zoo.errors import AlreadyExistsError, InvalidFileError, InvalidValueError, count
from zoo.gan import GAN
from zoo.io.atomic import check_writable
from zoo.modality import Log, kind_of
from zoo.modality import Progress as BuildProgress
from zoo.recipe import OTHER_LIBRARIES, Recipe, load_recipe, override_recipe
from zoo.registry import registry
from zoo.training import distributed
from zoo.training.callbacks import Callback
from zoo.training.loop import EvaluateFn, Progress, run_training
from zoo.training.report import accepts
from zoo.training.run import Run, check_no_run
from zoo.training.trainer import Trainer
from zoo.training.warm_start import LEAST, find_fitting, list_layers, load_warm_start


def train(
    recipe: str | os.PathLike[str] | Recipe | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] = "",
    start: str | os.PathLike[str] = "",
    preset: str = "",
    overrides: Overrides = (),
    device: str | torch.device = "auto",
    workers: int = 1,
    timeout: float = distributed.TIMEOUT_SECONDS,
    time_limit: float = math.inf,
    build_progress: BuildProgress | None = None,
    on_step: Callable[[Progress], None] | None = None,
    callbacks: Sequence[Callback] = (),
    log: Log = print,
) -> Path:
    """Train a recipe from the start, or resume a run; returns the run folder.

    Args:
        recipe: an entry's name, a recipe file, or a Recipe. With `resume` it may be left out.
        out: the run folder to make.
        resume: the run folder to resume.
        data: a data set's name, a folder, or `hf:org/set`, instead of the recipe's data.
        start: weights that the networks start from, as `train.start`: what `zoo.load` takes.
        preset: the name of one of the recipe's presets, e.g. "gpu": settings for another machine. For a new run.
        overrides: values of the recipe, `{"train.batch": 16}`, or texts such as "train.batch=16", or one of these.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" is CUDA where there is one, else MPS, else the CPU. Under
            torchrun, "cuda" gives each process its own.
        workers: processes that build the data set if it is not there yet. More than one needs the usual
            `if __name__ == "__main__":` around a script.
        timeout: seconds that a step may wait for another process of torchrun.
        time_limit: seconds after which the training stops with a checkpoint, if it has not reached its end. They count
            from this call, so building the data and compiling are in them.
        build_progress: called with the samples built and their total.
        on_step: called after every step.
        callbacks: are told what is logged and sampled: `zoo.training.callbacks`.
        log: called with lines for the user.

    Raises:
        ZooError: its subclasses say what was wrong and what would have worked.
    """
    deadline = time.monotonic() + time_limit
    overrides, data = list_overrides(overrides), os.fspath(data)
    if start:
        if resume is not None:
            raise InvalidValueError("a resumed training has weights of its own; start is for a new one")
        overrides.append(f"train.start={json.dumps(os.fspath(start))}")
    if preset and (resume is not None or isinstance(recipe, Recipe)):
        raise InvalidValueError("a preset is for a new run of an entry or a recipe file; others have their settings")
    if resume is not None:
        run, recipe = _open_resumed(recipe, resume, out=out, data=data, overrides=overrides)
        folder = run.folder
        run.check_same_training(recipe)  # before data are built that are not the run's
    else:
        run = None
        recipe, folder = _resolve_new(recipe, out=out, data=data, preset=preset, overrides=overrides)
    is_new = run is None or not run.has_checkpoint  # a run that was stopped early has none
    begin = _load_start(recipe) if is_new else None
    with distributed.process_group(device, timeout) as place:
        with distributed.first_process_first():
            store = open_data(recipe, workers=workers, progress=build_progress, log=log)
            recipe = fit_to_data(recipe, store)
            if is_new and recipe.train.start.startswith(OTHER_LIBRARIES):
                begin = recipe.architecture_class.from_language_model(
                    recipe.model, recipe.train.start, store, seed=recipe.train.seed
                )
                recipe = replace(recipe, model=begin.config)
            if recipe.train.batch > (num_samples := len(store.indices("train"))):
                raise InvalidValueError(
                    f"train.batch = {recipe.train.batch} is more than the {num_samples} training samples"
                )
        if distributed.rank() == 0:
            log(describe_training(recipe, store, place))
            if is_new and (advice := advise_on_few_samples(recipe, store)):
                log(advice)
        trainer = Trainer(recipe, store, kind_of(recipe).decode, place)
        if begin is not None and (random := load_warm_start(trainer, begin)) and distributed.rank() == 0:
            count = f"{len(random)} of {len(trainer.gan.state_dict())} tensors"
            log(f"starts from {recipe.train.start} except for {count}: {list_layers(random)}")
        with distributed.first_process_first():
            evaluate_fn = _evaluate_fn(recipe, store) if recipe.train.evaluate_kimg else None
        # What can be refused was refused, so now the run's folder may be made.
        if distributed.rank() > 0:
            run = Run(folder, recipe)
        elif run is None:
            run = Run.create(recipe, folder, store.folder)
        else:
            run = run.resume_as(recipe)
        finished = run_training(
            run,
            trainer,
            deadline=deadline,
            evaluate_fn=evaluate_fn,
            on_step=on_step,
            callbacks=callbacks,
            log=log,
        )
        if not finished and distributed.rank() == 0:
            log(f"stopped; resume with: zoo train --resume {folder}")
    return folder


Overrides = str | Iterable[str] | Mapping[str, Any]


def list_overrides(overrides: Overrides) -> list[str]:
    """List overrides as texts `key=value`. Raises InvalidValueError for a value that no recipe can have."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if isinstance(overrides, str):
        return [overrides]
    if not isinstance(overrides, Mapping):
        return list(overrides)
    try:
        return [f"{key}={tomlkit.item(value).as_string()}" for key, value in overrides.items()]
    except (TOMLKitError, ValueError, TypeError) as error:
        raise InvalidValueError(
            f"overrides: {error}; values are numbers, texts, booleans and lists of these"
        ) from error


FEW = 5000
"""Samples below which a discriminator soon knows all of them by heart."""


def describe_training(recipe: Recipe, store: Store, device: torch.device) -> str:
    """Say what a training is about to do."""
    train, test = (len(store.indices(split)) for split in ("train", "test"))
    source = recipe.data.name or recipe.data.hub or recipe.data.folder
    shape = " x ".join(map(str, store.samples.shape[1:]))
    return f"{source}: {count(train, 'sample')} to train on, {test:,} held out, {shape} each; on {device}"


def advise_on_few_samples(recipe: Recipe, store: Store) -> str:
    """Say what helps a training on few samples, or nothing where nothing is needed or known."""
    train = len(store.indices("train"))
    times = round(recipe.train.total_kimg * 1000 / train)
    if train >= FEW or times < 2 or not (helps := _list_helps(recipe)):
        return ""
    shown = count(times, "time")
    return (
        f"{train:,} samples are few: each is shown {shown}, and the discriminator may learn them by "
        f"heart. These help: {' '.join(helps)}"
    )


def _list_helps(recipe: Recipe) -> list[str]:
    """List the arguments of `zoo train` that help a training on few samples, and that this one does not have yet."""
    helps = []
    entry = registry.entries.get(recipe.name)
    if not recipe.train.start and entry is not None and entry.is_released and _fits(recipe, load_recipe(entry)):
        helps.append(f"--from {entry.name}")
    if not recipe.train.augment and accepts(recipe, "train.augment=ada"):
        helps.append("train.augment=ada")
    return helps


def _fits(recipe: Recipe, start: Recipe) -> bool:
    """Tell whether a training can start from the weights of another recipe: by the sizes of their networks.

    Where weights have assets of their data, such as a vocabulary, only the same data are sure to fit.
    """
    if recipe.architecture_class.ASSETS and recipe.data.name != start.data.name:
        return False
    with torch.device("meta"):
        share, _ = find_fitting(recipe.build(), start.build())
    return share >= LEAST


def open_data(recipe: Recipe, *, workers: int = 1, progress: BuildProgress | None = None, log: Log = print) -> Store:
    """Open the store that a recipe trains on, built at first use. Raises as `zoo.modality.OpenStore`."""
    return kind_of(recipe).open_store(recipe.data, recipe.model, workers=workers, progress=progress, log=log)


def fit_to_data(recipe: Recipe, store: Store) -> Recipe:
    """Return the recipe with the values of its model that depend on the data, e.g. the size of a vocabulary."""
    return replace(recipe, model=recipe.architecture_class.config_for(recipe.model, store))


def _load_start(recipe: Recipe) -> GAN | None:
    """Load the weights of this library that a recipe starts from, if it names any. Raises as `zoo.load`."""
    from zoo.releases.loading import load

    start = recipe.train.start
    return load(start, device="cpu") if start and not start.startswith(OTHER_LIBRARIES) else None


def _evaluate_fn(recipe: Recipe, store: Store) -> EvaluateFn:
    """Return what evaluates a generator on held-out data during the training, in the first process.

    It may compute features of the data now, so what cannot be evaluated is refused before the first step.

    Raises as `held_out` of the metrics.
    """
    num_samples = min(recipe.evaluate.samples, *(len(store.indices(split)) for split in ("train", "test")))
    if distributed.rank() > 0:
        return lambda gan: {}
    with torch.random.fork_rng(devices=[]):  # the training's own random numbers stay
        held_out = kind_of(recipe).load_metrics().held_out(store, replace(recipe.evaluate, samples=num_samples))
    return lambda gan: {metric.name: (metric.value, metric.real_vs_real) for metric in held_out(gan)}


def _open_resumed(
    recipe: str | os.PathLike[str] | Recipe | None,
    resume: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None,
    data: str,
    overrides: list[str],
) -> tuple[Run, Recipe]:
    folder = Path(resume).expanduser()
    if out is not None and Path(out).expanduser() != folder:
        raise InvalidValueError(f"a resumed run stays in its folder {folder}: leave --out away")
    run = Run.open(folder)
    with run.lock() if _is_first_process() else nullcontext():
        pass  # refused before any work where another process trains here
    if recipe is None or isinstance(recipe, Recipe):
        recipe = override_recipe(recipe or run.recipe, overrides, data=data)
    else:
        recipe = _load_given(os.fspath(recipe), overrides, data)
    if (place := recipe.data.folder) and not Path(place).expanduser().exists():
        raise InvalidFileError(
            f"{place}: the data of this run are not here. If they moved: zoo train --resume {folder} --data ELSEWHERE"
        )
    return run, recipe


def _resolve_new(
    recipe: str | os.PathLike[str] | Recipe | None,
    *,
    out: str | os.PathLike[str] | None,
    data: str,
    preset: str,
    overrides: list[str],
) -> tuple[Recipe, Path]:
    if recipe is None or out is None:
        raise InvalidValueError(
            "training needs an entry or recipe and a folder for the run: zoo train faces-dcgan --out runs/a"
        )
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise AlreadyExistsError(f"{folder}: this is a file; --out names a folder")
    if isinstance(recipe, Recipe):
        recipe = override_recipe(recipe, overrides, data=data)
    else:
        recipe = _load_given(os.fspath(recipe), overrides, data, preset)
    check_no_run(folder)
    if _is_first_process():
        check_writable(folder)
    return recipe, folder


def _is_first_process() -> bool:
    """Tell whether this is the first process of torchrun, before the processes know one another."""
    return os.environ.get("RANK", "0") == "0"


def _load_given(source: str, overrides: list[str], data: str, preset: str = "") -> Recipe:
    """Load the recipe of an entry or a file; a file may not choose by itself what is read from disk or the network.

    A recipe that somebody gave you says how to train, and you say on what. Recipes of installed packages may name
    anything.

    Raises as `load_recipe`; InvalidValueError where a file names what nobody asked for, with how to allow it.
    """
    recipe = load_recipe(source, overrides, data=data, preset=preset)
    if source in registry.entries:
        return recipe
    given = {override.partition("=")[0].strip() for override in overrides}
    for key, value in list_outside(recipe).items():
        if key not in given and not (data and key in ("data.folder", "data.hub")):
            raise InvalidValueError(
                f'{source} names {key} = "{value}". A recipe file may not choose by itself what is read from this '
                f"disk or the network; if you want that, say so: {format_outside(key, value)}"
            )
    return recipe


def list_outside(recipe: Recipe) -> dict[str, str]:
    """List the values of a recipe that name something on the disk or the network, by their keys."""
    start, features, control = recipe.train.start, recipe.evaluate.features, recipe.evaluate.control
    named = {
        "data.folder": recipe.data.folder,
        "data.hub": recipe.data.hub,
        "data.tokenizer": getattr(recipe.data, "tokenizer", ""),  # of texts
        "train.start": start if start not in registry.entries else "",
        "evaluate.features": features if not features.startswith("zoo:") else "",
        "evaluate.control": control if control not in registry.entries else "",
    }
    return {key: value for key, value in named.items() if value}


def format_outside(key: str, value: str) -> str:
    """Format the option of `zoo train` that asks for such a value."""
    options = {"data.folder": "--data ", "data.hub": "--data hf:", "train.start": "--from "}
    return f"{options.get(key, f'{key}=')}{value}"
