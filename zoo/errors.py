"""The exceptions of the house: each is also the builtin that a caller would catch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Base of all errors that tell a user what was wrong, what would have worked, and where."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument: quotes and escapes around a sentence.
        return str(self.args[0]) if self.args else ""


class NotFound(ZooError, KeyError):
    """A name that nothing here answers to: an entry, a data set, a recipe key."""


class BadValue(ZooError, ValueError):
    """A value of the wrong type, out of range, or at odds with another one."""


class BadFile(ZooError, ValueError):
    """A file or folder that is missing, corrupt, mismatched, or not what its name says."""


class CannotWrite(ZooError, OSError):
    """An output path that cannot be written; what stood there before is untouched."""


class Unreachable(ZooError, ConnectionError):
    """The Hub gave no answer, a broken one, or none in time; what was there before is untouched."""


class MissingExtra(ZooError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""


class Diverged(ZooError, ArithmeticError):
    """Training left the finite numbers; the last good state is kept."""


def suggest(name: str, candidates: Iterable[str]) -> str:
    """` Did you mean "x" or "y"?` for the nearest of `candidates`, or an empty string where none is near."""
    near = difflib.get_close_matches(name, list(candidates), n=3, cutoff=0.5)
    quoted = [f'"{n}"' for n in near]
    return f" Did you mean {' or '.join(quoted)}?" if near else ""
