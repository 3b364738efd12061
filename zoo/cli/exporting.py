"""zoo export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import Name, app, echo


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="The file, ending in .onnx; one that is there is replaced.")],
    discriminator: Annotated[
        bool, typer.Option("--discriminator", help="Write the discriminator instead of the generator.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Store weights in float16, in half the bytes; compute in float32.")
    ] = False,
) -> None:
    """Write a model as one ONNX file, for programs without torch: Python, JavaScript, phones.

    Noise is an input of the file, and any number of samples can be made at once. The file is compared with PyTorch in
    onnxruntime, and is not written where they differ. The metadata in the file say what an app needs to know.

    zoo export faces-dcgan --out faces.onnx
    zoo export faces-dcgan --out faces-half.onnx --half
    zoo export faces-dcgan --out critic.onnx --discriminator
    """
    from zoo.exporting import export as export_model

    echo(export_model(name, out.expanduser(), discriminator=discriminator, half=half))
