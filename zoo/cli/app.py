"""The command line's groups, and the argument types that commands share."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from zoo.errors import escape_controls

app = typer.Typer(
    name="zoo",
    help="A model zoo of GANs: sample, train, evaluate and release them by name.",
    epilog="Start with: zoo list, then zoo sample faces-dcgan -n 64 --seed 0 --out faces.png",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="The data sets that recipes train on.", no_args_is_help=True)
evaluator_app = typer.Typer(help="The small networks whose features metrics compare.", no_args_is_help=True)
recipe_app = typer.Typer(help="Recipes: the one file that is an entry.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(evaluator_app, name="evaluator")
app.add_typer(recipe_app, name="recipe")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An entry (zoo list), a weights folder, a run, or org/name or org/name@revision of the Hub.",
    ),
]
EntryName = Annotated[str, typer.Argument(metavar="ENTRY", help="An entry (zoo list) or the path of a recipe.")]

Scale = Annotated[int, typer.Option(min=1, max=64, help="How many pixels wide and high each pixel becomes.")]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:1 or mps.")
]


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and those of Python and torch.")
    ] = False,
) -> None:
    """A model zoo of GANs: sample, train, evaluate and release them by name."""
    if version:
        from importlib.metadata import version as version_of
        from platform import python_version

        echo(f"gan-zoo {version_of('gan-zoo')} (Python {python_version()}, torch {version_of('torch')})")
        raise typer.Exit
    if context.invoked_subcommand is None:
        echo(context.get_help())


@dataclass
class Verbosity:
    """How much a command says; set by the options that all commands have."""

    quiet: bool = False
    verbose: bool = False


verbosity = Verbosity()


def echo_json(content: object) -> None:
    """Print JSON, with control characters escaped as JSON does."""
    print(json.dumps(content, indent=2))


def echo(text: object, *, end: str = "\n", to_stderr: bool = False) -> None:
    """Print a text, in which names and texts of others may occur, without their control characters."""
    print(escape_controls(str(text)), end=end, file=sys.stderr if to_stderr else sys.stdout)


def name_files(name: str) -> str:
    """Name files that are made of a model after it: after its folder, or the last part of its name."""
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.exists() else Path(name.partition("@")[0]).name
