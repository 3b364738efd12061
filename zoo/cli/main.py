"""Running the command line. A user's mistake is one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import inspect
import io
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from zoo.cli.app import app, data_app, echo, evaluator_app, recipe_app, verbosity
from zoo.errors import ZooError, is_out_of_memory

# Commands are listed in the order in which they are imported.
# isort: off
from zoo.cli import listing, sampling, steering, demo, training, evaluating  # noqa: F401
from zoo.cli import releasing, converting, exporting, data, evaluators, recipes, oracle  # noqa: F401
# isort: on

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress, no log and no warnings.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show where an error came from.")]
SWITCHES = ("quiet", "verbose")
INTERRUPTED = 130  # what shells say of Ctrl-C

_TOO_MUCH = "that is more than this machine's memory holds: ask for fewer, or for shorter ones"


def main() -> None:
    """Run the command line. A user's errors and this library's warnings go to standard error, one line each."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):  # poems where only ASCII can be printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
        if isinstance(code, int) and code:  # a command that ended early; typer makes Ctrl-C one
            _stop(code)
    except ZooError as error:
        if verbosity.verbose:
            traceback.print_exc()
        _fail(str(error))
    except typer.Abort:
        _stop(INTERRUPTED)
    except Exception as error:
        if verbosity.verbose:
            raise
        if is_out_of_memory(error):
            _fail(_TOO_MUCH)
        if isinstance(error, OSError) and error.filename and error.strerror:
            _fail(f"{error.filename}: {error.strerror}")
        if str(error).startswith("Could not determine home directory"):  # of Path.expanduser
            _fail('no such user: a path that begins with "~" and a name is of that user\'s home')
        if hasattr(error, "format_message"):  # the command line itself was wrong: click's UsageError
            if not (message := error.format_message()):  # a group without a command: its help was printed
                raise SystemExit(2) from None
            context = getattr(error, "ctx", None)
            _fail(f"{message.rstrip('.')}. Try: {context.command_path if context else 'zoo'} --help")
        raise
    except KeyboardInterrupt:
        _stop(INTERRUPTED)


def add_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --quiet and --verbose."""

    @wraps(command)
    def run(*, quiet: bool, verbose: bool, **arguments: Any) -> None:
        verbosity.quiet, verbosity.verbose = quiet, verbose
        command(**arguments)

    hints = get_type_hints(command, include_extras=True) | {"quiet": Quiet, "verbose": Verbose}
    switches = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False) for name in SWITCHES]
    parameters = [*inspect.signature(command).parameters.values(), *switches]
    parameters = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = hints
    return run


for each in (app, data_app, evaluator_app, recipe_app):
    for info in each.registered_commands:
        assert info.callback is not None
        info.callback = add_verbosity(info.callback)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """Print this library's own warnings as one line, others as Python does."""
    if verbosity.quiet:
        return
    own = category is UserWarning and Path(__file__).parents[1] in Path(filename).parents
    line = f"zoo: {message}\n" if own else warnings.formatwarning(message, category, filename, lineno)
    echo(line, end="", to_stderr=True)


def _stop(code: int) -> NoReturn:
    if code == INTERRUPTED and not verbosity.quiet:
        echo("zoo: stopped", to_stderr=True)
    raise SystemExit(code)


def _fail(message: str) -> None:
    sys.stdout.flush()
    echo(f"zoo: {message}", to_stderr=True)
    raise SystemExit(2)
