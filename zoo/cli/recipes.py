"""zoo recipe copy, zoo recipe show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.app import EntryName, echo, recipe_app


@recipe_app.command("copy")
def copy_recipe(
    name: EntryName, target: Annotated[Path, typer.Argument(help="The new file, ending in .toml, or a folder.")]
) -> None:
    """Copy a recipe to change it: zoo recipe copy faces-dcgan ./mine.toml, then zoo train ./mine.toml."""
    from zoo.releases.exporting import copy_recipe as copy

    echo(copy(name, target))


@recipe_app.command("show")
def show_recipe(
    name: EntryName,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    preset: Annotated[str, typer.Option(help="One of the recipe's presets.")] = "",
) -> None:
    """Print a recipe resolved: every value that a training would use.

    zoo recipe show faces-stylegan2 --preset gpu
    """
    from zoo.recipe import load_recipe

    echo(load_recipe(name, overrides or [], preset=preset).to_toml(), end="")
