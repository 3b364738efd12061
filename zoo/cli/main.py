"""Running the command line. A user's mistake is one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from zoo.cli.app import app, echo
from zoo.errors import ZooError

# Commands are listed in the order in which they are imported.
# isort: off
from zoo.cli import listing, sampling, steering, training, evaluating  # noqa: F401
from zoo.cli import releasing, converting, exporting, data, evaluators, recipes, oracle  # noqa: F401
# isort: on

_TOO_MUCH = "that is more than this machine's memory holds: ask for fewer, or for shorter ones"


def main() -> None:
    """Run the command line. A user's errors and this library's warnings go to standard error, one line each."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        app(standalone_mode=False)
    except ZooError as error:
        _fail(str(error))
    except typer.Abort:
        raise SystemExit(130) from None
    except MemoryError:
        _fail(_TOO_MUCH)
    except Exception as error:
        if isinstance(error, RuntimeError) and "allocate memory" in str(error):  # torch's own
            _fail(_TOO_MUCH)
        if isinstance(error, OSError) and error.filename and error.strerror:
            _fail(f"{error.filename}: {error.strerror}")
        if str(error).startswith("Could not determine home directory"):  # of Path.expanduser
            _fail('no such user: a path that begins with "~" and a name is of that user\'s home')
        if hasattr(error, "format_message"):  # the command line itself was wrong: click's UsageError
            context = getattr(error, "ctx", None)
            _fail(f"{error.format_message()} Try: {context.command_path if context else 'zoo'} --help")
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """Print this library's own warnings as one line, others as Python does."""
    own = category is UserWarning and Path(__file__).parents[1] in Path(filename).parents
    line = f"zoo: {message}\n" if own else warnings.formatwarning(message, category, filename, lineno)
    echo(line, end="", to_stderr=True)


def _fail(message: str) -> None:
    sys.stdout.flush()
    echo(f"zoo: {message}", to_stderr=True)
    raise SystemExit(2)
