"""A reader of pickles that runs no code of theirs.

A pickle is a program, and anybody may have written it. This reader knows only the instructions for lists and
dictionaries of numbers, and only the names that the caller lists. For a name the pickle gets a record of its own
arguments, and not the function or class of that name. Anything else is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

from zoo.errors import InvalidFileError

_INSTRUCTIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD),
    *(pickle.MARK, pickle.TUPLE, pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.LIST, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GET, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.LONG, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINPERSID),
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES),
    *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
)

Make = Callable[[str, tuple[Any, ...]], Any]


class Record:
    """An object that a pickle can neither change nor read, unless a subclass allows it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise InvalidFileError("it sets the state of an object that has none")


class Name(Record):
    """The stand-in for a name that a pickle may use. A call makes a record, or raises InvalidFileError."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Make) -> None:
        self.name, self._make = name, make

    def __call__(self, *args: Any) -> Any:
        return self._make(self.name, args)


class Reader(pickle._Unpickler):
    """A reader of pickles with few instructions, in which every name is a stand-in.

    It extends the unpickler in Python, not the one in C, which reserves memory for sizes that a file only claims.

    Args:
        file: the pickle, read up to its end and no further.
        names: the modules and names that it may use, and what each is called here.
        make: makes a record from what a name is called here and the arguments that the pickle passes to it.
        what: what the names describe, for messages, e.g. "array".
        encoding: the encoding of bytes that Python 2 wrote as text.

    `load` raises InvalidFileError for what is refused, and any exception for a broken pickle.
    """

    dispatch: ClassVar[dict[int, Any]] = {code[0]: pickle._Unpickler.dispatch[code[0]] for code in _INSTRUCTIONS}

    def __init__(
        self,
        file: IO[bytes],
        names: Mapping[tuple[str, str], str],
        make: Make,
        *,
        what: str,
        encoding: str = "ascii",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._names, self._make, self._what = names, make, what

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise InvalidFileError(f"it asks for {module:.40}.{name:.40}, which no {self._what} needs")
        return Name(self._names[module, name], self._make)
