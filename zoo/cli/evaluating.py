"""zoo evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import Device, Name, app, echo, echo_json, name_files
from zoo.cli.progress import progress_bars
from zoo.errors import InvalidValueError

_FEATURES = "zoo:NAME; of images timm:NAME; of texts transformers:MODEL; of clips i3d:FILE (FVD)."


@app.command()
def evaluate(
    name: Name,
    samples: Annotated[int, typer.Option(min=0, help="Samples to evaluate; the recipe's number if 0.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="The recipe's seed if absent.")] = None,
    features: Annotated[str, typer.Option(help=_FEATURES)] = "",
    data: Annotated[str, typer.Option(help="Instead of the recipe's data, as in zoo train.")] = "",
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Where the picture of a text model's curve goes; NAME-curve.png if absent.")
    ] = None,
) -> None:
    """Compute the metrics of an entry or a run on held-out data, each beside its real-against-real value."""
    from zoo.evaluation import evaluate as evaluate_model

    if plot is not None and plot.suffix != ".png":  # before the work
        raise InvalidValueError(f"--plot {plot}: a curve is drawn as .png")
    with progress_bars() as bar:
        report = evaluate_model(
            name,
            samples=samples or None,
            seed=seed,
            features=features or None,
            data=data,
            device=device,
            workers=os.cpu_count() or 1,
            build_progress=bar("data"),
            progress=bar("evaluating"),
        )
    if as_json:
        echo_json(report.to_dict())
    else:
        echo(report.table())
    if report.curve is None and plot is not None:
        raise InvalidValueError(f"{name}: no curve belongs to its metrics (evaluate.control), so nothing is in {plot}")
    if report.curve is not None:
        saved = report.curve.save(plot or Path(f"{name_files(name)}-curve.png"))
        if not as_json:
            echo(saved)
