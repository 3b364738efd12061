"""Reads the tensors in a file of `torch.save`, without running what else a pickle can.

Such a file is a zip archive: `data.pkl` says how tensors lie in storages, and the files `data/0`, `data/1`, ... are the
storages. The pickle is run here with the instructions that dictionaries of tensors need, and with stand-ins: of all
names that it may ask for, those are known by which torch writes tensors, and what it gets for them are records of what
it said. The tensors are then made here, from bytes that reach far enough. Anything else is refused.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from zoo.errors import BadFile

MAX_BYTES = 2 << 30
MAX_PICKLE_BYTES = 16 << 20

_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
_NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("collections", "OrderedDict"): "dict",
    **{("torch", name): name for name in _TYPES},
}


def read_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary in a file of `torch.save`, whose values are tensors, numbers, texts, or such dictionaries.

    Raises BadFile where it is anything else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(f"{path}: larger than any vocoder; refused")
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise BadFile("it unpacks to more than any vocoder has")
            member = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if member is None or archive.getinfo(member).file_size > MAX_PICKLE_BYTES:
                raise BadFile("it has no data.pkl of a sensible size")
            reader = _Reader(io.BytesIO(archive.read(member)), archive, member.removesuffix("data.pkl"))
            found = reader.load()
        if not isinstance(found, _Dict | dict):
            raise BadFile("it holds something other than a dictionary")
        return _plain(found)
    except BadFile as error:
        raise BadFile(f"{path}: not a file of tensors: {error}; refused") from error
    except OSError as error:
        raise BadFile(f"{path}: cannot read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise BadFile(
            f"{path}: neither safetensors nor a file of torch.save since 1.6, which is a zip archive"
        ) from error
    except Exception as error:  # a broken program can fail in any way
        raise BadFile(f"{path}: not a file of tensors, or damaged ({type(error).__name__}); refused") from error


_INSTRUCTIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID, pickle.BUILD),
    *(pickle.MARK, pickle.TUPLE, pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINUNICODE),
)


class _Reader(pickle._Unpickler):
    """Runs a pickle of few instructions in which every name is a stand-in."""

    dispatch: ClassVar[dict[int, Any]] = {code[0]: pickle._Unpickler.dispatch[code[0]] for code in _INSTRUCTIONS}

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise BadFile(f"it asks for {module:.40}.{name:.40}, which no tensor needs")
        return _Name(_NAMES[module, name])

    def persistent_load(self, key: Any) -> Any:
        match key:
            case ("storage", _Name(name=kind), str(number), str(), int()) if kind in _TYPES and number.isdigit():
                if number not in self._storages:
                    data = self._archive.read(f"{self._root}data/{number}")
                    self._storages[number] = _Storage(np.frombuffer(data, dtype=_TYPES[kind]))
                return self._storages[number]
        raise BadFile("it has a storage of another kind than tensors have")


class _Record:
    """Something that a pickle can neither change nor look into."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise BadFile("it sets a state where a tensor's has none")


class _Name(_Record):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        match self.name, args:
            case "dict", ():
                return _Dict()
            case "parameter", (_Tensor() as tensor, bool(), _Dict()):
                return tensor
            case "tensor", (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), _Dict()):
                return _Tensor(storage.numbers, offset, shape, strides)
        raise BadFile(f"it calls {self.name} as no tensor does")


class _Storage(_Record):
    __slots__ = ("numbers",)

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers


class _Tensor(_Record):
    """A tensor that lies within its storage."""

    __slots__ = ("value",)

    def __init__(self, numbers: np.ndarray, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> None:
        sizes = (offset, *shape, *strides)
        if len(shape) != len(strides) or not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
            raise BadFile("it has a tensor whose shape is not of whole numbers")
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count > len(numbers) or (count and last >= len(numbers)):
            raise BadFile("it has a tensor that reaches beyond its storage")
        self.value = torch.from_numpy(numbers.copy()).as_strided(shape, strides, offset).clone()


class _Dict(dict[Any, Any]):
    """An ordered dictionary; the version numbers that torch hangs onto one are let go."""

    def __setstate__(self, state: Any) -> None:
        pass


def _plain(found: Any) -> Any:
    if isinstance(found, _Tensor):
        return found.value
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(value) for value in found]
    if found is None or isinstance(found, str | int | float):
        return found
    raise BadFile("it holds something other than tensors, numbers and texts")
