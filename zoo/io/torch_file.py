"""Files of tensors that others published: of safetensors, or of `torch.save`.

A file of `torch.save` is a pickle that describes tensors, and their numbers: in a zip archive, or behind the pickle as
torch wrote it before version 1.6. `zoo.io.pickle_reader` reads the description, so no file can run code. `torch.load`
runs none with `weights_only=True` either, but it reserves whatever memory a pickle asks for. Here the wanted numbers
alone are read, and they take no more memory than the file has bytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import InvalidFileError, shorten
from zoo.io.pickle_reader import Ignored, Name, Reader, Record, Table

MAX_BYTES = 4 << 30  # training checkpoints with their optimizers take up to 3 GB
MAX_PICKLE_BYTES = 16 << 20
MAX_DIRECTORY_BYTES = 8 << 20  # of a zip archive: 100,000 tensors
MAX_DIMENSIONS = 16

STATES = ("generator", "model_g", "model", "state_dict")  # the usual names of a state in a file that holds more
MAX_LEVELS = 4  # of dictionaries around a state: {"model": {"generator": ...}} has two

_ZIP_START = b"PK\x03\x04"
_OLD_START = 0x1950A86A20F9469CFC6C  # the first object of an old file, and the second
_OLD_VERSION = 1001

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NAMES = {
    **{("torch", name): name for name in _DTYPES},
    ("torch._utils", "_rebuild_tensor"): "tensor",
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("torch", "Size"): "size",
    ("collections", "OrderedDict"): "table",
    ("collections", "Counter"): "table",  # in the state of a learning rate's schedule
    ("argparse", "Namespace"): "ignored",  # the options of a training
}


@dataclass(frozen=True)
class Storage(Record):
    """The numbers that tensors are views of, not read yet. `size` counts numbers."""

    key: str
    dtype: torch.dtype
    size: int

    @property
    def num_bytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class View(Record):
    """The description of a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.storage.dtype.itemsize


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state of a network from a file. A file of `torch.save` may hold it some levels down, by usual names.

    Tensors that share numbers in the file share them here. Raises InvalidFileError where the file is anything else.
    """
    return _read(path, _find_state)


def read_networks(path: Path, choose: Callable[[Collection[str]], Collection[str]]) -> dict[str, dict[str, Tensor]]:
    """Read the states of several networks in a file of `torch.save`, and of no others.

    Args:
        choose: chooses among the names of the states that a file has.

    Returns:
        The chosen states, by the file's names. A file of one state has it under the name "", and so are tensors that
        stand beside the states.

    Raises InvalidFileError where the file has no state.
    """

    def find(found: Any) -> dict[str, View]:
        states = _list_states(found)
        if not states:
            raise InvalidFileError("it has no state of a network")
        chosen = {name: states[name] for name in ("", *choose(states)) if name in states}
        return {f"{name}\0{key}": view for name, state in chosen.items() for key, view in state.items()}

    if path.suffix == ".safetensors":
        return {"": read_tensors(path)}
    networks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in _read(path, find).items():
        network, _, key = name.partition("\0")
        networks.setdefault(network, {})[key] = tensor
    return networks


def _list_states(found: Any) -> dict[str, Mapping[str, View]]:
    """List the states in what a file describes; "" has its own tensors."""
    if not isinstance(found, dict):
        raise InvalidFileError("it holds something other than a dictionary")
    own = {key: value for key, value in found.items() if isinstance(value, View) and isinstance(key, str)}
    states: dict[str, Mapping[str, View]] = {"": own} if own else {}
    for name, value in found.items():
        if isinstance(name, str) and isinstance(value, dict) and value and "\0" not in name:
            inner = {key: view for key, view in value.items() if isinstance(view, View) and isinstance(key, str)}
            states |= {name: inner} if inner else {}
    return states


def _read(path: Path, find: Callable[[Any], Mapping[str, View]]) -> dict[str, Tensor]:
    """Read the tensors that `find` chooses of what a file describes; of a safetensors file, all."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError(f"{path}: larger than {MAX_BYTES >> 30} GiB, the most that is read here; refused")
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_START)) == _ZIP_START
            return _read_archive(file, find) if is_zip else _read_old_file(file, find)
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InvalidFileError(f"{path}: not a whole safetensors file: {shorten(str(error))}") from error
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: not a file of tensors: {error}; refused") from error
    except Exception as error:  # a broken program can fail in any way
        raise InvalidFileError(
            f"{path}: not a file of tensors, or damaged ({type(error).__name__}); refused"
        ) from error


def _read_archive(file: IO[bytes], find: Callable[[Any], Mapping[str, View]]) -> dict[str, Tensor]:
    """Read a state from a zip archive: `NAME/data.pkl`, `NAME/byteorder`, and a `NAME/data/KEY` for each storage."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None or end[zipfile._ECD_SIZE] > MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]
        raise InvalidFileError("it is an archive without a list of its members, or with too long a one")
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise InvalidFileError(
                "it is compressed, as torch.save never does; unpack it, and zip it without compression"
            )
        if sum(member.file_size for member in archive.infolist()) > _measure(file):
            raise InvalidFileError("it unpacks to more bytes than it has")
        pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise InvalidFileError("it is an archive without a data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise InvalidFileError("its data.pkl is larger than any description of tensors")
        folder = pickles[0].removesuffix("data.pkl")
        order = members.get(f"{folder}byteorder")
        if order is not None and (order.file_size > len(b"little") or archive.read(order) != b"little"):
            raise InvalidFileError("its numbers are not little-endian")

        def read(storage: Storage) -> bytes:
            member = members[f"{folder}data/{storage.key}"]
            if member.file_size != storage.num_bytes:
                raise InvalidFileError("it has other numbers than its data.pkl says")
            return archive.read(member)

        return read_views(find(Descriptions(archive.read(pickles[0])).load()), read, most=_measure(file))


def _read_old_file(file: IO[bytes], find: Callable[[Any], Mapping[str, View]]) -> dict[str, Tensor]:
    """Read a state from five pickles and the storages behind them, each after its size in 8 bytes."""
    file.seek(0)
    start = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    found, described, keys = read_old_header(start)
    places: dict[str, int] = {}
    at = start.tell()
    for key in keys:
        if not isinstance(key, str) or key in places:
            raise InvalidFileError("its list of storages has something else, or one of them twice")
        storage = described.storages[key]
        file.seek(at)
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise InvalidFileError("it has other numbers than its pickle says")
        places[key] = at + 8
        at += 8 + storage.num_bytes
    if at > _measure(file):
        raise InvalidFileError("it ends before its numbers do")

    def read(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        return file.read(storage.num_bytes)

    return read_views(find(found), read, most=_measure(file))


def read_old_header(start: io.BytesIO) -> tuple[Any, Descriptions, Any]:
    """Read the five pickles of a file before torch 1.6; returns what it describes, the storages, and their order."""
    described = Descriptions(start)
    if Reader(start, {}, _make, what="tensor").load() != _OLD_START:
        raise InvalidFileError("it begins as no file of torch.save does")
    version, system = (Reader(start, {}, _make, what="tensor").load() for _ in range(2))
    if version != _OLD_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InvalidFileError("it is of another version of torch.save, or not little-endian")
    return described.load(), described, Reader(start, {}, _make, what="tensor").load()


def _measure(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


class Descriptions(Reader):
    """A reader of tensors' descriptions. `storages` has all storages that it met."""

    def __init__(self, data: bytes | io.BytesIO) -> None:
        file = io.BytesIO(data) if isinstance(data, bytes) else data
        super().__init__(file, _NAMES, _make, what="tensor", encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", Name(name=kind), str(key), str(), int(size)) | (
                "storage",
                Name(name=kind),
                str(key),
                str(),
                int(size),
                None,
            ) if kind in _DTYPES and size >= 0:
                return self.storages.setdefault(key, Storage(key, _DTYPES[kind], size))
        raise InvalidFileError("it describes a storage as torch.save never does")


def _make(name: str, args: tuple[Any, ...]) -> Any:
    match name, args:
        case "table", ():
            return Table()
        case "table", (Table() as counts,):
            return counts
        case "ignored", ():
            return Ignored()
        case "size", (tuple() as sides,):
            return sides
        case "parameter", (View() as view, *_):
            return view
        case "tensor", (Storage() as storage, int(offset), tuple(shape), tuple(strides), *more) if not any(more[1:]):
            check_view(storage, offset, shape, strides)
            return View(storage, offset, shape, strides)
    raise InvalidFileError("it has a tensor of another kind than networks have")


def check_view(storage: Storage, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> None:
    """Raise InvalidFileError where a tensor has no shape, or reaches beyond its storage."""
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise InvalidFileError("it has a tensor of too many dimensions")
    if not all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *strides)):
        raise InvalidFileError("it has a tensor whose shape is not of whole numbers")
    size = math.prod(shape)
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if size > storage.size or (size and last >= storage.size):
        raise InvalidFileError("it has a tensor that reaches beyond its storage")


def read_views(views: Mapping[str, View], read: Callable[[Storage], bytes], *, most: int) -> dict[str, Tensor]:
    """Read the numbers of described tensors, of at most `most` bytes together. Raises InvalidFileError for more."""
    distinct = dict.fromkeys(views.values())
    if sum(view.num_bytes for view in distinct) > most:  # many views of one storage
        raise InvalidFileError("its tensors are larger together than the file")
    numbers: dict[str, Tensor] = {}
    tensors: dict[View, Tensor] = {}
    for view in distinct:
        storage = view.storage
        if not storage.size:
            tensors[view] = torch.empty(view.shape, dtype=storage.dtype)
            continue
        if storage.key not in numbers:
            numbers[storage.key] = torch.frombuffer(bytearray(read(storage)), dtype=storage.dtype)
        tensors[view] = numbers[storage.key].as_strided(view.shape, view.strides, view.offset)
    return {name: tensors[view] for name, view in views.items()}


def _find_state(found: Any) -> Mapping[str, View]:
    for _ in range(MAX_LEVELS):
        inner = [found[key] for key in STATES if isinstance(found.get(key), dict)] if isinstance(found, dict) else []
        if not inner:
            break
        found = inner[0]
    if not isinstance(found, dict):
        raise InvalidFileError("it holds something other than a dictionary")
    if not found or not all(isinstance(key, str) and isinstance(value, View) for key, value in found.items()):
        some = ", ".join(shorten(str(key), 20) for key in list(found)[:4])
        raise InvalidFileError(f"it has no state of a network: it holds {some or 'nothing'}")
    return found
