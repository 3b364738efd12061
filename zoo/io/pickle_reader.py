"""A reader of pickles that runs no code of theirs.

A pickle is a program, and anybody may have written it. This reader knows only the instructions for lists and
dictionaries of numbers, and only the names that the caller lists. For a name the pickle gets a record of its own
arguments, and not the function or class of that name. Anything else is refused.

Memory and time are bounded by the size of the pickle: each instruction makes one small object, keys are quickly hashed,
and calls have few arguments. Lists may still hold themselves or share their parts, so whoever walks the result must
expect that.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from zoo.errors import InvalidFileError, shorten

_INSTRUCTIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD),
    *(pickle.MARK, pickle.TUPLE, pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.LIST, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.SETITEM, pickle.SETITEMS),
    *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.LONG, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINPERSID),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
)

MAX_INSTRUCTIONS = 1 << 20  # tensors take some 30 each: 30,000 of them; the objects of so many take 100 MB at most

MAX_ARGUMENTS = 16  # of a call, which takes the time of its arguments; a program can make it with the same ones again

Make = Callable[[str, tuple[Any, ...]], Any]


class Record:
    """An object that a pickle can neither change nor read, unless a subclass allows it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise InvalidFileError("it sets the state of an object that has none")


class Ignored(Record):
    """A value that nobody needs, whatever its attributes are."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class Name(Record):
    """The stand-in for a name that a pickle may use. A call makes a record, or raises InvalidFileError."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Make) -> None:
        self.name, self._make = name, make

    def __call__(self, *args: Any) -> Any:
        if len(args) > MAX_ARGUMENTS:
            raise InvalidFileError(f"it calls {self.name} with {len(args):,} arguments")
        return self._make(self.name, args)


class Table(dict[Any, Any]):
    """A dictionary of a pickle. Its keys are texts and whole numbers: the hash of nested tuples can take forever."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str | int):
            raise InvalidFileError("it has a dictionary with other keys than texts and whole numbers")
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        """Ignore attributes, such as the versions of modules in a state of PyTorch."""


class _Instructions(dict[int, Any]):
    """The known instructions, by their bytes. Each look-up is one that runs, and is counted."""

    left = MAX_INSTRUCTIONS

    def __getitem__(self, code: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise InvalidFileError(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        return super().__getitem__(code)


class Reader(pickle._Unpickler):
    """A reader of pickles with few instructions, in which every name is a stand-in.

    It extends the unpickler in Python, not the one in C, which reserves memory for sizes that a file only claims.

    Args:
        file: the pickle, read up to its end and no further. It is in memory, since a read from a disk would reserve
            memory for all that a pickle claims.
        names: the modules and names that it may use, and what each is called here.
        make: makes a record from what a name is called here and the arguments that the pickle passes to it.
        what: what the names describe, for messages, e.g. "array".
        encoding: the encoding of bytes that Python 2 wrote as text.

    `load` raises InvalidFileError for what is refused, and any exception for a broken pickle.
    """

    _known: ClassVar[dict[int, Any]] = {
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _INSTRUCTIONS},
        pickle.EMPTY_DICT[0]: lambda reader: reader.append(Table()),
        pickle.NEWOBJ[0]: lambda reader: reader.load_newobj(),
    }

    def __init__(
        self,
        file: io.BytesIO,
        names: Mapping[tuple[str, str], str],
        make: Make,
        *,
        what: str,
        encoding: str = "ascii",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._names, self._make, self._what = names, make, what
        self.dispatch = _Instructions(self._known)  # type: ignore[misc]  # each counts its own

    def load_newobj(self) -> None:
        """Make an object without arguments, of a stand-in."""
        args = self.stack.pop()  # type: ignore[attr-defined]
        name = self.stack.pop()  # type: ignore[attr-defined]
        if args != () or not isinstance(name, Name):
            raise InvalidFileError("it makes an object in another way than is known here")
        self.append(name())  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise InvalidFileError(
                f"it asks for {shorten(module, 40)}.{shorten(name, 40)}, which no {self._what} needs"
            )
        return Name(self._names[module, name], self._make)
