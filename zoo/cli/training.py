"""zoo train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import Device, app, echo
from zoo.cli.progress import training_progress


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="ENTRY", help="An entry (zoo list) or the path of a recipe.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe values, e.g. train.batch=16.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make.")] = None,
    resume: Annotated[Path | None, typer.Option(help="The run folder to resume, exactly where it stopped.")] = None,
    data: Annotated[
        str, typer.Option(help="Instead of the recipe's data: a data set's name, a folder, or hf:org/set.")
    ] = "",
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that build the data; 0: one a core.")] = 0,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a step waits for another process of torchrun.")
    ] = 300,
) -> None:
    """Train a recipe. Ctrl-C stops with a checkpoint; --resume continues bit for bit.

    zoo train faces-dcgan --out runs/a
    zoo train faces-dcgan --out runs/mine --data ~/photos train.total_kimg=200
    zoo train --resume runs/a
    torchrun --nproc-per-node 2 -m zoo train faces-dcgan --out runs/b
    """
    from zoo.training.session import train as train_run

    overrides = list(overrides or [])
    if recipe is not None and resume is not None and "=" in recipe:
        overrides, recipe = [recipe, *overrides], None
    if int(os.environ.get("RANK", 0)) > 0:
        train_run(
            recipe,
            out=out,
            resume=resume,
            data=data,
            overrides=overrides,
            device=device,
            timeout=timeout,
            log=lambda line: None,
        )
        return
    with training_progress() as (log, build_progress, on_step):
        run = train_run(
            recipe,
            out=out,
            resume=resume,
            data=data,
            overrides=overrides,
            device=device,
            workers=workers or os.cpu_count() or 1,
            timeout=timeout,
            build_progress=build_progress,
            on_step=on_step,
            log=log,
        )
    echo(f"run: {run}")
