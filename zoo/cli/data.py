"""zoo data list, zoo data build."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from zoo.cli.app import data_app, echo
from zoo.cli.progress import progress_bars


@data_app.command("list")
def list_data() -> None:
    """List the data sets that can be built."""
    from zoo.modality import list_datasets

    for name, (modality, kind) in list_datasets().items():
        echo(f"{name}  {modality.name}  {(kind.datasets[name].__doc__ or '').strip().splitlines()[0]}")


@data_app.command("build")
def build_data(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set (zoo data list).")],
    size: Annotated[int | None, typer.Option(min=32, max=256, help="Pixels a side, of images; 64 if absent.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core. The bytes do not depend on it.")] = 0,
) -> None:
    """Build a data set into the cache. Ctrl-C is safe: the same command continues where it stopped."""
    from zoo.modality import build_dataset

    with progress_bars() as bar:
        store = build_dataset(name, size=size, workers=workers or os.cpu_count() or 1, progress=bar(name))
    train, test = len(store.indices("train")), len(store.indices("test"))
    echo(f"{store.folder}\n{train} train, {test} test, fingerprint {store.fingerprint}")
