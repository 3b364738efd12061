"""The exceptions of this library. Each is also the builtin exception that a caller would catch."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from typing import Any


class ZooError(Exception):
    """Base of all errors that this library raises on purpose: what was wrong, where, and what would have worked."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, with quotes and escapes.
        return escape_controls(str(self.args[0])) if self.args else ""


class NotFoundError(ZooError, KeyError):
    """An unknown name: of an entry, a data set, a recipe key."""


class NoWeightsError(NotFoundError):
    """A known entry without released weights, or a run that has not been evaluated or saved yet."""


class InvalidValueError(ZooError, ValueError):
    """A value of the wrong type, out of range, or at odds with another one."""


class InvalidFileError(ZooError, ValueError):
    """A file or folder that is missing, corrupt, mismatched, or not what its name says."""


class AlreadyExistsError(ZooError, FileExistsError):
    """An output path whose contents would be lost. Nothing was changed."""


class InUseError(ZooError, BlockingIOError):
    """Another process works on the same folder. Nothing was changed."""


class WriteError(ZooError, OSError):
    """An output path that cannot be written. What was there before is unchanged."""


class UnreachableError(ZooError, ConnectionError):
    """An answer of the Hub that is missing, broken or late. Local files are unchanged."""


class MissingDependencyError(ZooError, ImportError):
    """An optional package that is needed and not installed. The message names the extra that installs it."""


class LostProcessError(ZooError, ConnectionError):
    """Another process of the same training ended, was killed, or does not answer. The last checkpoint is kept."""


class DivergenceError(ZooError, ArithmeticError):
    """A loss or gradient that is no longer finite. The last good checkpoint is kept."""


def suggest(name: str, candidates: Iterable[str]) -> str:
    """Return ` Did you mean "x" or "y"?` for the nearest of `candidates`, in any case; an empty string if none is."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    if near and near[0] == name.casefold():
        near = near[:1]
    quoted = [f'"{folded[n]}"' for n in near]
    return f" Did you mean {' or '.join(quoted)}?" if near else ""


def count(number: int, what: str) -> str:
    """Say how many there are: "1 sample", "2,000 samples"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    """Replace the control characters of a text, but for newline and tab, by escapes such as `\\x1b`.

    Names and texts of others may hold them. A terminal obeys them: they move the cursor, change the title or the
    clipboard, or show a text in another order. Lone surrogates, which no terminal can show, are replaced, too.
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def shorten(text: str, most: int = 80) -> str:
    """Return a text from a file or a user on one line, at most `most` characters of it.

    A message never grows with its cause.
    """
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def shorten_repr(value: Any) -> str:
    """Return the `repr` of a value from a file or a user, at most 120 characters of it, however deep it nests."""
    return shorten(_REPR.repr(value), 120)


class _Repr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python converts no number of more than 4300 digits, and a hexadecimal one can have them
            return f"a number of {x.bit_length():,} bits"


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 80


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is of too little memory, of the CPU or of a GPU; PyTorch's are RuntimeErrors."""
    is_torch_s = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or is_torch_s
