"""zoo evaluator train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.app import echo, evaluator_app
from zoo.cli.progress import progress_bars

if TYPE_CHECKING:
    from zoo.metrics.feature_network import FeatureNetwork


@evaluator_app.command("train")
def train_evaluator(
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="A data set of pictures, texts, clips or drum hits (zoo data list)."),
    ] = None,
    entry: Annotated[
        str | None, typer.Option(help="Instead of a data set: a text entry, whose data and tokens are used.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; if absent, the one that zoo evaluate reads.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the training.")] = None,
) -> None:
    """Train an evaluator: the small network whose features the metrics of a data set compare.

    zoo evaluator train moving-digits
    zoo evaluator train --entry text-wgan --out letters
    """
    from zoo.errors import AlreadyExistsError, InvalidValueError
    from zoo.io.weights import BUNDLED
    from zoo.modality import build_dataset, kind_of
    from zoo.recipe import load_recipe
    from zoo.training.session import open_data

    workers = os.cpu_count() or 1
    with progress_bars() as bar:
        if dataset is not None and entry is None:
            cls, source = _find_evaluator(dataset), dataset
            store = build_dataset(dataset, size=cls.RESOLUTION, workers=workers, progress=bar(dataset))
            name = cls.release_name(dataset)
        elif entry is not None and dataset is None:
            recipe = load_recipe(entry)
            if recipe.modality != "text":
                raise InvalidValueError(f"--entry {entry}: only a text entry has tokens; give the data set instead")
            evaluator = kind_of(recipe).load_metrics().evaluator
            assert evaluator is not None  # texts have one
            cls, source = evaluator, f"--entry {entry}"
            store = open_data(recipe, workers=workers, progress=bar(entry))
            name = cls.release_name(f"{store.about['name']}-{recipe.name}")
        else:
            raise InvalidValueError("give either a data set or --entry")
    folder = out.expanduser() if out is not None else BUNDLED / name
    if folder.exists() and (out is None or not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyExistsError(f"{folder} exists; give another folder with --out")
    network, scores = cls.train_on(store, epochs=epochs)
    epochs = epochs or cls.EPOCHS
    command = f"zoo evaluator train {source}" + (f" --epochs {epochs}" if epochs else "")
    config = network.save(folder, store, scores, command=command)
    for what, kind, value in cls.list_scores(config):
        echo(f"{what}  {kind}  {value:.3f}")
    echo(folder)


def _find_evaluator(dataset: str) -> type[FeatureNetwork]:
    """Return the class of the evaluator of a data set. Raises NotFoundError where it has none."""
    from zoo.errors import NotFoundError, suggest
    from zoo.modality import list_datasets

    with_evaluator = {
        name: cls
        for name, (_, kind) in list_datasets().items()
        if (cls := kind.load_metrics().evaluator) is not None and name in cls.DATASETS
    }
    if dataset not in with_evaluator:
        raise NotFoundError(
            f'no data set "{dataset}" with an evaluator; there are {", ".join(with_evaluator)}.'
            f"{suggest(dataset, with_evaluator)}"
        )
    return with_evaluator[dataset]
