"""zoo demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import Device, app, echo


@app.command()
def demo(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Entries, runs, folders or org/name; all entries with weights if absent."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, help="The port of the page; a free one from 7860 on if 0.")] = 0,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public address, which anybody who knows it can use.")
    ] = False,
    space: Annotated[
        Path | None, typer.Option(help="Instead, write the files of a Hugging Face Space into this folder.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Open a page on this machine where models are sampled in the browser. It needs the extra demo.

    zoo demo
    zoo demo faces-stylegan2 runs/mine
    zoo demo faces-dcgan text-mle --space ./my-space
    """
    from zoo.demo import LAUNCH, Demo, build_page, import_gradio, write_space

    import_gradio()
    if space is not None:
        for path in write_space(space.expanduser(), names or []):
            echo(path)
        return
    page = build_page(Demo(names or [], device=device))
    if share:
        echo(
            "zoo: --share opens a public address through gradio.live: whoever knows it uses this machine",
            to_stderr=True,
        )
    page.launch(**{**LAUNCH, "quiet": False, "share": share}, server_port=port or None)
