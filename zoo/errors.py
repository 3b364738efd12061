"""The exceptions of this library. Each is also the builtin exception that a caller would catch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors that tell a user what was wrong, where, and what would have worked."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument: quotes and escapes around a sentence.
        return str(self.args[0]) if self.args else ""


class NotFoundError(ZooError, KeyError):
    """An unknown name: of an entry, a data set, a recipe key."""


class NoWeightsError(NotFoundError):
    """A known entry without released weights, or a run that has not been evaluated or saved yet."""


class InvalidValueError(ZooError, ValueError):
    """A value of the wrong type, out of range, or at odds with another one."""


class InvalidFileError(ZooError, ValueError):
    """A file or folder that is missing, corrupt, mismatched, or not what its name says."""


class AlreadyExistsError(ZooError, FileExistsError):
    """An output path that holds something which would be lost. Nothing was changed."""


class InUseError(ZooError, BlockingIOError):
    """Another process works on the same folder. Nothing was changed."""


class WriteError(ZooError, OSError):
    """An output path that cannot be written. What stood there before is untouched."""


class UnreachableError(ZooError, ConnectionError):
    """The Hub gave no answer, a broken one, or none in time. What was there before is untouched."""


class MissingDependencyError(ZooError, ImportError):
    """An optional package is needed. The message names the extra that installs it."""


class DivergenceError(ZooError, ArithmeticError):
    """A loss or gradient is no longer finite. The last good checkpoint is kept."""


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return ` Did you mean "x" or "y"?` for the nearest of `candidates`; an empty string if none is near."""
    near = difflib.get_close_matches(name, list(candidates), n=3, cutoff=0.5)
    quoted = [f'"{n}"' for n in near]
    return f" Did you mean {' or '.join(quoted)}?" if near else ""
