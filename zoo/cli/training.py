"""zoo train."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import Device, app, echo
from zoo.cli.progress import training_progress
from zoo.errors import InvalidValueError


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
    start: Annotated[
        str, typer.Option("--from", metavar="NAME", help="Weights to start from: an entry, a folder, a run, org/name.")
    ] = "",
    preset: Annotated[
        str, typer.Option(help="Settings of the recipe for another machine, e.g. gpu; `zoo info ENTRY` lists them.")
    ] = "",
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that build the data; 0: one a core.")] = 0,
    time_limit: Annotated[
        str, typer.Option(metavar="TIME", help="Stop with a checkpoint after e.g. 90s, 8m or 2h, if it is not done.")
    ] = "",
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a step waits for another process of torchrun.")
    ] = 300,
) -> None:
    """Train a recipe. Ctrl-C stops with a checkpoint; --resume continues bit for bit.

    zoo train faces-dcgan --out runs/a
    zoo train faces-stylegan2-small --out runs/mine --data ~/photos --from faces-stylegan2-small train.total_kimg=50
    zoo train --resume runs/a --time-limit 8m
    zoo train faces-stylegan2 --out runs/c --preset gpu --time-limit 8m
    torchrun --nproc-per-node 2 -m zoo train faces-dcgan --out runs/b
    """
    from zoo.training.session import train as train_run

    overrides, seconds = list(overrides or []), _parse_time(time_limit)
    if recipe is not None and resume is not None and "=" in recipe:
        overrides, recipe = [recipe, *overrides], None
    if int(os.environ.get("RANK", 0)) > 0:
        train_run(
            recipe,
            out=out,
            resume=resume,
            data=data,
            start=start,
            preset=preset,
            overrides=overrides,
            device=device,
            timeout=timeout,
            time_limit=seconds,
            log=lambda line: None,
        )
        return
    with training_progress() as (log, build_progress, on_step):
        run = train_run(
            recipe,
            out=out,
            resume=resume,
            data=data,
            start=start,
            preset=preset,
            overrides=overrides,
            device=device,
            workers=workers or os.cpu_count() or 1,
            timeout=timeout,
            time_limit=seconds,
            build_progress=build_progress,
            on_step=on_step,
            log=log,
        )
    echo(f"run: {run}")


def _parse_time(text: str) -> float:
    """Convert "90s", "8m" or "2h" to seconds; no text is no limit. Raises InvalidValueError."""
    if not text:
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None or not float(found[1]):
        raise InvalidValueError(f'--time-limit "{text}" should be a time such as 90s, 8m or 2h')
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
