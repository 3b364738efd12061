"""Reads a pickle without running what else a pickle can.

A pickle is a program, and may come from anybody. It is run here with the instructions that lists and dictionaries of
numbers need, and with stand-ins: of all names that it may ask for, those are known that the caller lists, and what it
gets for them are records of what it said, of no use for anything else. Anything else is refused.
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
    """Something that a pickle can neither change nor look into, unless a subclass says how."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise InvalidFileError("it sets a state where none belongs")


class Name(Record):
    """What a pickle gets for a name that it may ask for: called, it makes a record, or refuses."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Make) -> None:
        self.name, self._make = name, make

    def __call__(self, *args: Any) -> Any:
        return self._make(self.name, args)


class Reader(pickle._Unpickler):
    """Runs a pickle of few instructions in which every name is a stand-in.

    The reader in Python, not that in C: it allots no memory for lengths and numbers that a file only claims.

    Args:
        file: the pickle, read up to its end and no further.
        names: the modules and names that it may ask for, and what each is called here.
        make: given what a name is called and what the pickle calls it with, the record of that.
        what: for whom those names are all that is needed, for messages: "array".
        encoding: of the bytes that Python 2 wrote as text.

    `load` raises InvalidFileError for what is refused, and anything at all for a broken pickle.
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
