"""zoo convert."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import app, echo
from zoo.errors import InvalidValueError


class Target(StrEnum):
    """What a model of this library can be written as."""

    rosinality = "rosinality"
    nvidia = "nvidia-state-dict"


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A file of weights or a folder; with --to, what zoo.load takes.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make; with --to, the file.")],
    license: Annotated[
        str,
        typer.Option(metavar="NAME", help="The license of the source, for the card; files seldom state it."),
    ] = "",
    to: Annotated[Target | None, typer.Option(help="Write the other way: a StyleGAN2 for another library.")] = None,
) -> None:
    """Convert weights that other libraries published to a folder that zoo loads.

    The family is told by names and shapes. Nothing in the file is run, and networks that are not wanted are not read.
    Known are StyleGAN2 snapshots of NVIDIA's PyTorch trainer (.pkl), StyleGAN2 of rosinality's (.pt), R3GAN
    snapshots, DCGAN as PyTorch's tutorial saves it, HiFi-GAN, Vocos and BigVGAN vocoders, and the parameters of
    SeqGAN's oracle.

    zoo convert network-snapshot-025000.pkl --out my-faces
    zoo convert 550000.pt --out my-faces --license cc-by-4.0
    zoo convert ./my-faces --to rosinality --out my-faces.pt
    """
    if to is None:
        from zoo.convert.published import convert as convert_published

        echo(convert_published(Path(source).expanduser(), out.expanduser(), license=license))
        return
    if license:
        raise InvalidValueError("--license is for the card of converted weights; a file of --to has no card")
    from zoo.convert.targets import export

    echo(export(source, to.value, out.expanduser()))
