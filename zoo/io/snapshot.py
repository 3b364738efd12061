"""Snapshots of NVIDIA's trainers and their descendants: pickles of whole networks, with their source inside.

`network-snapshot-*.pkl` and the like hold a dictionary of networks: `G`, `D` and `G_ema`. A network is a record of its
class, its arguments, and the attributes of `torch.nn.Module`. The reader takes these as data. It never imports a
module, and it drops the source text. Large arrays are skipped where they lie, and only those of wanted networks are
read, so a file of 3 GB takes no more memory than its networks.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from zoo.errors import InvalidFileError, shorten
from zoo.io.pickle_reader import Ignored, Make, Name, Reader, Record, Table
from zoo.io.torch_file import MAX_BYTES, Storage, View, check_view, read_old_header, read_views

MAX_READ = 1 << 20  # bytes of one object that is no array; source texts have some 100 kB
MAX_HEADER = 4096  # bytes before the numbers of an array
MAX_MODULES = 10_000  # of a network
MAX_LEVELS, MAX_VALUES = 3, 32  # of a network's arguments

_NAMES = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): "persistent",
    ("dnnlib.util", "EasyDict"): "table",
    ("collections", "OrderedDict"): "table",
    ("torch._utils", "_rebuild_tensor_v2"): "tensor",
    ("torch._utils", "_rebuild_parameter"): "parameter",
    ("torch.storage", "_load_from_bytes"): "storage",
    ("builtins", "set"): "set",
}
_MODULES = ("torch.nn.", "training.", "R3GAN.", "BaselineGAN.", "pg_modules.", "timm.")
"""Where the classes of plain modules are from. None is ever imported, so that whole packages cost no safety."""
_IGNORED = ("torch", "numpy", "numpy.core.multiarray", "numpy._core.multiarray", "torch_utils.", "dnnlib.")
"""Modules whose other names stand for values that no network needs, such as scalars of NumPy and types of numbers."""


@dataclass(frozen=True)
class Network:
    """A network of a snapshot: where its class is from, what it was built with, and its state by PyTorch's names."""

    module: str
    """The module of its class; empty where the snapshot holds the source instead."""
    class_name: str
    arguments: Mapping[str, Any]
    """The keyword arguments of its class, where the snapshot has them."""
    state: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Blob(Record):
    """Bytes of a pickle that were not read: where they are, and how many."""

    start: int
    size: int


class _Module(Record):
    """A network or layer: its class and its attributes."""

    __slots__ = ("attributes", "class_name", "module")

    def __init__(self, module: str, class_name: str) -> None:
        self.module, self.class_name = module, class_name
        self.attributes: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise InvalidFileError(f"its {shorten(self.class_name, 40)} has no attributes")
        self.attributes = state


@dataclass(frozen=True)
class _BlobStorage(Storage):
    """The numbers of a tensor, at a place in the file or here."""

    start: int = 0
    data: bytes = b""


def is_snapshot(path: Path) -> bool:
    """Tell whether a file begins as a pickle of networks does: a dictionary, and no archive or old torch file."""
    with path.open("rb") as file:
        start = file.read(64)
    return start[:1] == pickle.PROTO and pickle.EMPTY_DICT in start[2:14]


def read_snapshot(path: Path, wanted: Collection[str] = ("G_ema", "D")) -> dict[str, Network]:
    """Read networks of a snapshot; those that it does not have are left out, and all others are not read.

    Raises InvalidFileError where it is no snapshot, or asks for what no network needs.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidFileError(f"larger than {MAX_BYTES >> 30} GiB, the most that is read here")
        with path.open("rb") as file:
            found = _SnapshotReader(_Bounded(file, size)).load()
            if not isinstance(found, dict):
                raise InvalidFileError("it holds something other than a dictionary of networks")
            networks = {name: found[name] for name in wanted if isinstance(found.get(name), _Module)}
            return {name: _read_network(network, file, size) for name, network in networks.items()}
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: not a snapshot of networks: {error}; refused") from error
    except Exception as error:  # a broken program can fail in any way
        raise InvalidFileError(
            f"{path}: not a snapshot of networks, or damaged ({type(error).__name__}); refused"
        ) from error


def _read_network(module: _Module, file: io.BufferedReader, size: int) -> Network:
    def read(storage: Storage) -> bytes:
        assert isinstance(storage, _BlobStorage)
        if storage.data:
            return storage.data[storage.start :][: storage.num_bytes]
        file.seek(storage.start)
        return file.read(storage.num_bytes)

    arguments = module.attributes.get("_init_kwargs", {})
    return Network(
        module=module.module,
        class_name=module.class_name,
        arguments=_keep_plain(arguments) if isinstance(arguments, dict) else {},
        state=read_views(dict(_list_views(module, "", set())), read, most=size),
    )


def _keep_plain(value: Any, depth: int = 0) -> Any:
    """Copy numbers, texts, lists and dictionaries of a network's arguments: a few levels, and not long ones."""
    if isinstance(value, dict) and depth < MAX_LEVELS:
        return {str(key): _keep_plain(inner, depth + 1) for key, inner in list(value.items())[:MAX_VALUES]}
    if isinstance(value, list | tuple) and depth < MAX_LEVELS:
        return [_keep_plain(inner, depth + 1) for inner in value[:MAX_VALUES]]
    return value if value is None or isinstance(value, bool | int | float | str) else None


def _list_views(module: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, View]]:
    """Yield the tensors of a module's state_dict by name. A module that is met twice is an error: a cycle, or worse."""
    if not isinstance(module, _Module) or id(module) in seen or len(seen) >= MAX_MODULES:
        raise InvalidFileError("it has layers that are none, or one at two places")
    seen.add(id(module))
    passing = module.attributes.get("_non_persistent_buffers_set") or []
    for kind in ("_parameters", "_buffers"):
        for name, value in _as_table(module.attributes.get(kind)).items():
            if isinstance(value, View) and name not in passing:
                yield f"{prefix}{name}", value
    for name, inner in _as_table(module.attributes.get("_modules")).items():
        if inner is not None:
            yield from _list_views(inner, f"{prefix}{name}.", seen)


def _as_table(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InvalidFileError("it has a layer without names of its parts")
    return value


class _Bounded:
    """A file of which an instruction reads little at once, whatever it claims."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self.file, self.size = file, size

    def read(self, n: int = -1) -> bytes:
        if not 0 <= n <= MAX_READ:
            raise InvalidFileError(f"one of its objects claims {n:,} bytes")
        return self.file.read(n)

    def readline(self) -> bytes:
        return self.file.readline(MAX_READ)


class _SnapshotReader(Reader):
    """A reader of networks. Bytes are taken as places in the file where they do not lie in a frame of the pickle."""

    _known: ClassVar[dict[int, Any]] = {
        **Reader._known,
        pickle.EMPTY_SET[0]: lambda reader: reader.append([]),
        pickle.ADDITEMS[0]: lambda reader: reader.load_additems(),
        pickle.BINBYTES[0]: lambda reader: reader.load_bytes(),
    }

    def __init__(self, file: _Bounded) -> None:
        super().__init__(file, _NAMES, self._make_object, what="network", encoding="latin1")  # type: ignore[arg-type]
        self._bounded = file

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        if not isinstance(self.stack[-1], list):  # type: ignore[attr-defined]
            raise InvalidFileError("it adds to a set that is none")
        self.stack[-1].extend(items)  # type: ignore[attr-defined]

    def load_bytes(self) -> None:
        (size,) = struct.unpack("<I", self.read(4))  # type: ignore[attr-defined]
        unframer = self._unframer  # type: ignore[attr-defined]
        frame = unframer.current_frame
        if frame is not None and frame.tell() < len(frame.getbuffer()):
            self.append(self.read(size))  # type: ignore[attr-defined]
            return
        file = self._bounded.file
        start = file.tell()
        if start + size > self._bounded.size:
            raise InvalidFileError("it ends before its numbers do")
        self.append(_Blob(start, size))  # type: ignore[attr-defined]
        file.seek(size, os.SEEK_CUR)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return Name(_NAMES[module, name], self._make_object)
        if f"{module}.".startswith(_MODULES):
            return Name(name, _make_module(module))
        if module in _IGNORED or module.startswith(_IGNORED):
            return Name(name, lambda name, args: Ignored())
        return super().find_class(module, name)

    def _make_object(self, name: str, args: tuple[Any, ...]) -> Any:
        match name, args:
            case "table", ():
                return Table()
            case "set", (list() as items,):
                return items
            case "persistent", (dict() as facts,):
                module = _Module("", str(facts.get("class_name", "")))
                module.__setstate__(facts.get("state"))
                return module
            case "storage", (_Blob() | bytes() as blob,):
                return self._describe_storage(blob)
            case "parameter", (View() as view, *_):
                return view
            case "tensor", (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
                check_view(storage, offset, shape, strides)
                return View(storage, offset, shape, strides)
        raise InvalidFileError(f"it has a {name} of another kind than networks have")

    def _describe_storage(self, blob: _Blob | bytes) -> _BlobStorage:
        """Describe the numbers in the bytes of an old torch file with one storage."""
        if isinstance(blob, bytes):
            header, size = blob[:MAX_HEADER], len(blob)
        else:
            file = self._bounded.file
            at = file.tell()
            file.seek(blob.start)
            header, size = file.read(min(MAX_HEADER, blob.size)), blob.size
            file.seek(at)
        start = io.BytesIO(header)
        found, described, keys = read_old_header(start)
        begin = start.tell() + 8
        if not isinstance(found, Storage) or keys != list(described.storages) or len(keys) != 1:
            raise InvalidFileError("it has an array of another kind than networks have")
        if header[begin - 8 : begin] != found.size.to_bytes(8, "little") or begin + found.num_bytes != size:
            raise InvalidFileError("it has an array whose size is another than it says")
        if isinstance(blob, bytes):
            return _BlobStorage(f"here {id(blob)}", found.dtype, found.size, begin, blob)
        return _BlobStorage(f"at {blob.start}", found.dtype, found.size, blob.start + begin)


def _make_module(module: str) -> Make:
    def make(name: str, args: tuple[Any, ...]) -> _Module:
        return _Module(module, name)

    return make
