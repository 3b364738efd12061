"""Reads the tensors in a file of `torch.save`, without running what else a pickle can.

Since torch 1.6 such a file is a zip archive: `data.pkl` says how tensors lie in storages, and the files `data/0`,
`data/1`, ... are the storages. Before, it was a row of pickles (a magic number, a version, facts of the machine, the
object, the keys of its storages) and then the storages, one after the other. Of all names that the pickles may ask for,
those are known by which torch writes tensors. The tensors are then made here, from bytes that reach far enough.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import InvalidFileError
from zoo.io.pickle_reader import Name, Reader, Record

MAX_BYTES = 2 << 30
MAX_PICKLE_BYTES = 16 << 20
MAGIC, OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001  # of files before torch 1.6

STATES = ("generator", "model_g", "model", "state_dict")  # what states are called in files that hold more

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


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state of a network in a file: of safetensors, or of `torch.save`, there also one level below by a usual name.

    Raises InvalidFileError where it is anything else.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise InvalidFileError(f"{path}: not a whole safetensors file: {error}") from error
    found = read_torch_file(path)
    found = next((found[key] for key in STATES if isinstance(found.get(key), dict)), found)
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InvalidFileError(
            f"{path}: no state of a network: it holds {', '.join(map(str, list(found)[:4])) or 'nothing'}"
        )
    return found


def read_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary in a file of `torch.save`, whose values are tensors, numbers, texts, or such dictionaries.

    Raises InvalidFileError where it is anything else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError("it is larger than any that is read here")
        found = _read_archive(path) if zipfile.is_zipfile(path) else _read_row(path)
        if not isinstance(found, dict):
            raise InvalidFileError("it holds something other than a dictionary")
        return _plain(found)
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: not a file of tensors: {error}; refused") from error
    except Exception as error:  # a broken program can fail in any way
        raise InvalidFileError(
            f"{path}: not a file of tensors, or damaged ({type(error).__name__}); refused"
        ) from error


def _read_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
            raise InvalidFileError("it unpacks to more than any that is read here")
        member = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if member is None or archive.getinfo(member).file_size > MAX_PICKLE_BYTES:
            raise InvalidFileError("it has no data.pkl of a sensible size")
        storages: dict[str, _Storage] = {}
        found = _TensorReader(io.BytesIO(archive.read(member)), storages).load()
        for key, storage in storages.items():
            data = archive.read(f"{member.removesuffix('data.pkl')}data/{key}")
            storage.numbers = np.frombuffer(data, dtype=storage.kind)
        return found


def _read_row(path: Path) -> Any:
    with path.open("rb") as file:
        storages: dict[str, _Storage] = {}
        if (_TensorReader(file, storages).load(), _TensorReader(file, storages).load()) != (MAGIC, OLD_VERSION):
            raise InvalidFileError("it begins otherwise than torch.save does")
        _TensorReader(file, storages).load()  # of the machine that wrote it
        found, keys = _TensorReader(file, storages).load(), _TensorReader(file, storages).load()
        if not isinstance(keys, list) or set(keys) != storages.keys():
            raise InvalidFileError("its storages are others than its tensors lie in")
        for key in keys:
            storage = storages[key]
            count = int.from_bytes(file.read(8), "little")
            size = count * np.dtype(storage.kind).itemsize
            if size > MAX_BYTES:
                raise InvalidFileError("it has a storage larger than any that is read here")
            storage.numbers = np.frombuffer(file.read(size), dtype=storage.kind)
        return found


class _TensorReader(Reader):
    """Notes the storages that tensors are said to lie in."""

    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file, _NAMES, _made, what="tensor")
        self._storages = storages

    def persistent_load(self, key: Any) -> Any:
        match key:
            case ("storage", Name(name=kind), str(number), str(), int(), *rest) if (
                kind in _TYPES and number.isdigit() and rest in ([], [None])
            ):
                return self._storages.setdefault(number, _Storage(_TYPES[kind]))
        raise InvalidFileError("it has a storage of another kind than tensors have")


def _made(name: str, args: tuple[Any, ...]) -> Any:
    match name, args:
        case "dict", ():
            return _Dict()
        case "parameter", (_Tensor() as tensor, bool(), _Dict()):
            return tensor
        case "tensor", (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), _Dict()):
            return _Tensor(storage, offset, shape, strides)
    raise InvalidFileError(f"it calls {name} as no tensor does")


class _Storage(Record):
    """The kind of its numbers; they themselves are read when the pickle has ended."""

    __slots__ = ("kind", "numbers")

    def __init__(self, kind: str) -> None:
        self.kind, self.numbers = kind, np.empty(0, dtype=kind)


class _Tensor(Record):
    """Where a tensor lies in its storage."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(self, storage: _Storage, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> None:
        sizes = (offset, *shape, *strides)
        if len(shape) != len(strides) or not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
            raise InvalidFileError("it has a tensor whose shape is not of whole numbers")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def to_torch(self) -> Tensor:
        numbers = self.storage.numbers
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        count = math.prod(self.shape)
        if count > len(numbers) or (count and last >= len(numbers)):
            raise InvalidFileError("it has a tensor that reaches beyond its storage")
        return torch.from_numpy(numbers.copy()).as_strided(self.shape, self.strides, self.offset).clone()


class _Dict(dict[Any, Any]):
    """An ordered dictionary; the version numbers that torch hangs onto one are let go."""

    def __setstate__(self, state: Any) -> None:
        pass


def _plain(found: Any) -> Any:
    if isinstance(found, _Tensor):
        return found.to_torch()
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(value) for value in found]
    if found is None or isinstance(found, str | int | float):
        return found
    raise InvalidFileError("it holds something other than tensors, numbers and texts")
