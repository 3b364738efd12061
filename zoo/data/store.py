"""A store: one data set as a memory map. Any number of processes build it once; then it is read-only.

A folder in the cache, readable with NumPy alone:

    samples.npy      uint8 [N, H, W, C] (images), [N, T, H, W, C] (clips), uint16 [N, T] (tokens of texts),
                     int16 [N, T] (sounds)
    attributes.npy   a structured array [N], one field per attribute, where the data set has attributes
    split.npy        uint8 [N]: 0 train, 1 test
    samples.bin      instead of samples.npy: encoded pictures, one after the other; see `zoo.data.encoded`
    ends.npy         int64 [N], with samples.bin: where each picture ends
    store.json       name, version, license, count, fingerprint
    .checked.json    sizes and times of the files when the fingerprint was last computed

and the assets of the source, such as a tokenizer.json: files without which the samples cannot be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np

from zoo.data.encoded import ENDS, EncodedImages, EncodedWriter
from zoo.data.workers import WorkerPool
from zoo.errors import InvalidFileError, InvalidValueError, WriteError, ZooError
from zoo.io.atomic import replace_atomically
from zoo.io.lock import hold_lock

Split = Literal["train", "test"]

_CHUNK = 64  # samples rendered at once; an interrupted build resumes with the next chunk
_CHUNKS_AHEAD = 2  # chunks of each worker in memory; they are written in order, and some take longer than others
_ABOUT = "store.json"
_CHECKED = ".checked.json"
_DONE = "done.npy"  # which chunks are done, while a data set is being built
_UNREADABLE = "unreadable.npy"  # of which samples the files cannot be read, while a data set is being built

LeaveOut = Callable[[Any, np.ndarray], "Source"]
"""Called with a source and the numbers of the samples whose files cannot be read. Returns the source of the others."""


def cache_dir() -> Path:
    """Return the folder of all stores: $GAN_ZOO_CACHE, else $XDG_CACHE_HOME/gan-zoo, else ~/.cache/gan-zoo."""
    if chosen := os.environ.get("GAN_ZOO_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "gan-zoo"


class Source(Protocol):
    """What a store is built from. It is pickled for the workers, so it makes its large parts at first use."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def license(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample, e.g. (64, 64, 3)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of the samples: an integer, or `object` for encoded pictures, whose shape is then ()."""
        ...

    @property
    def assets(self) -> Mapping[str, str]:
        """The text files beside the samples, by name."""
        ...

    @property
    def attributes(self) -> np.dtype | None:
        """The fields of the table of attributes; None where the data set has none."""
        ...

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return samples [n, *shape] and attributes [n]. They depend on nothing but the version and each index.

        Raises InvalidFileError where a user's own file cannot be read.
        """
        ...

    def split(self) -> np.ndarray:
        """Return the split of each sample, uint8 [count]: 0 train, 1 test."""
        ...


@dataclass(frozen=True, kw_only=True)
class About:
    """Name, version and license of a data set. The defaults are those of a user's own data."""

    name: str
    version: str = "1"
    license: str = "unknown"


@dataclass
class Rows:
    """A source of samples [N, ...] that are all in memory."""

    about: About
    samples: np.ndarray
    test: np.ndarray  # uint8 [N]
    assets: Mapping[str, str]
    table: np.ndarray | None = None  # structured [N]

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def version(self) -> str:
        return self.about.version

    @property
    def license(self) -> str:
        return self.about.license

    @property
    def count(self) -> int:
        return len(self.samples)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.samples.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.samples.dtype

    @property
    def attributes(self) -> np.dtype | None:
        return None if self.table is None else self.table.dtype

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        chosen = list(indices)
        return self.samples[chosen], None if self.table is None else self.table[chosen]

    def split(self) -> np.ndarray:
        return self.test


@dataclass(frozen=True)
class Store:
    """A finished store at `folder`, read through memory maps."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a store. Raises InvalidFileError where the folder holds none, a damaged one, or one that was changed.

        So it does where there are two samples or more to train on, and all are the same. The fingerprint is computed
        again where the size or the time of a file is not the one that was noted.
        """
        store = cls(folder)
        try:
            samples, split = store.samples, store.split
            count, fingerprint = store.about["count"], store.fingerprint
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InvalidFileError(f"{folder}: no data set here, or a damaged one ({error}); build it again") from error
        if not len(samples) == len(split) == count or samples.dtype.kind not in "iu":
            raise InvalidFileError(f"{folder}: samples, split and store.json disagree; build it again")
        if not _is_noted(folder, fingerprint):
            if _compute_fingerprint(folder) != fingerprint:
                raise InvalidFileError(
                    f"{folder}: its files are not those that were built; delete the folder, and build it again"
                )
            with suppress(WriteError):  # a cache that may only be read
                _note_files(folder, fingerprint)
        train = store.indices("train")
        if len(train) > 1 and all(np.array_equal(samples[row], samples[train[0]]) for row in train[1:]):
            raise InvalidFileError(
                f"{store.about['name']}: all {len(train)} samples to train on are the same, and nothing can be learned "
                "from them; add others"
            )
        return store

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads((self.folder / _ABOUT).read_text(encoding="utf-8"))

    @cached_property
    def samples(self) -> np.ndarray:
        """All samples, as an array on disk. Encoded pictures are decoded when rows of them are asked for."""
        if (self.folder / ENDS).exists():
            return cast(np.ndarray, EncodedImages(self.folder))  # it is indexed like an array
        return np.load(self.folder / "samples.npy", mmap_mode="r", allow_pickle=False)

    @cached_property
    def attributes(self) -> np.ndarray:
        """The table of attributes, structured [N]; without fields where the data set has none."""
        path = self.folder / "attributes.npy"
        return np.load(path, allow_pickle=False) if path.exists() else np.empty(len(self.samples), dtype=[])

    @property
    def labels(self) -> np.ndarray | None:
        """The class of each sample, int64 [N]: its attribute `label`. None where the data set has no classes."""
        fields = self.attributes.dtype.names or ()
        return self.attributes["label"].astype(np.int64) if "label" in fields else None

    @cached_property
    def split(self) -> np.ndarray:
        return np.load(self.folder / "split.npy", allow_pickle=False)

    @property
    def fingerprint(self) -> str:
        """The sha256 of samples, attributes, split and assets: stores with the same fingerprint hold the same."""
        return self.about["fingerprint"]

    def indices(self, split: Split) -> np.ndarray:
        """Return the rows of a split, in order."""
        return np.flatnonzero(self.split == (split == "test"))

    def sample_splits(self, count: int, seed: int, *, of: str) -> tuple[np.ndarray, np.ndarray]:
        """Choose `count` rows of the test split, and as many of the training split for real vs real, each in order.

        Raises InvalidValueError where a split has fewer; `of` names the samples in the message, e.g. "images".
        """
        test, train = self.indices("test"), self.indices("train")
        if count > min(len(test), len(train)):
            raise InvalidValueError(
                f"evaluate.samples = {count} is more than the {min(len(test), len(train))} held-out {of}"
            )
        rng = np.random.default_rng(seed)
        chosen_test, chosen_train = (np.sort(rng.permutation(split)[:count]) for split in (test, train))
        return chosen_test, chosen_train

    def mean(self) -> np.ndarray:
        """Compute the mean training sample [H, W, C], float32 in [0, 1], of at most 10,000 of them."""
        rows = self.indices("train")[:10_000]
        total = np.zeros(self.samples.shape[1:], dtype=np.float64)
        for start in range(0, len(rows), 1000):
            total += self.samples[rows[start : start + 1000]].sum(axis=0, dtype=np.float64)
        return (total / len(rows) / 255).astype(np.float32)


def hash_split(names: Sequence[str | bytes], *, one_in: int = 10) -> np.ndarray:
    """Split samples by the sha256 of their names: uint8 [N], of which about one in `one_in` is 1, for test.

    Two samples or more have at least one of each.
    """
    keys = [name if isinstance(name, bytes) else name.encode(errors="surrogatepass") for name in names]
    split = np.array([hashlib.sha256(key).digest()[0] % one_in == 0 for key in keys], dtype=np.uint8)
    if len(split) > 1 and split.min() == split.max():
        split[0] = 1 - split[0]
    return split


def build_store(
    source: Source,
    folder: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    leave_out: LeaveOut | None = None,
) -> Store:
    """Open the store at `folder`, or build it from `source`. An interrupted build is resumed.

    Where another process builds it, this one waits, and then opens what the other has built.

    Args:
        workers: the number of processes that render. The bytes do not depend on it.
        progress: called with the number of samples done and the number of all.
        leave_out: leaves out samples whose files cannot be read. None: they are an error.

    Raises:
        WriteError: no space or no permission. What is done so far is kept.
        InvalidFileError: as `Store.open`, `Source.render` and `leave_out`.
    """
    if (folder / _ABOUT).exists():
        return Store.open(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder.with_name(f".{folder.name}.lock"), what=f"{folder}: is built", wait=warnings.warn):
            if not (folder / _ABOUT).exists():
                _build(source, folder, workers=workers, progress=progress, leave_out=leave_out)
    except OSError as error:
        where = "; GAN_ZOO_CACHE names another place" if cache_dir() in folder.parents else ""
        raise WriteError(f"{folder}: cannot build the data set: {error.strerror or error}{where}") from error
    return Store.open(folder)


def _build(
    source: Source,
    folder: Path,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    leave_out: LeaveOut | None,
) -> None:
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    if not (partial / _ABOUT).exists():  # else the last build was stopped after all was done
        _check_space(partial, source)
        done = _memmap(partial / _DONE, np.dtype(bool), (len(range(0, source.count, _CHUNK)),))
        unreadable = _memmap(partial / _UNREADABLE, np.dtype(bool), (source.count,))
        if not done.all():
            target = _Target(partial, source, done, unreadable)
            _fill(source, target, workers=workers, progress=progress, tolerant=leave_out is not None)
            target.close()
        if leave_out is not None and unreadable.any():
            source = leave_out(source, np.flatnonzero(unreadable))
            for name in ("samples.npy", ENDS, "attributes.npy"):
                _keep_rows(partial / name, np.flatnonzero(~unreadable))
        del done, unreadable  # closes the maps
        np.save(partial / "split.npy", source.split().astype(np.uint8))
        for name, text in source.assets.items():
            (partial / name).write_text(text, encoding="utf-8")
        fingerprint = _compute_fingerprint(partial)
        _note_files(partial, fingerprint)
        about = {
            "name": source.name,
            "version": source.version,
            "license": source.license,
            "count": source.count,
            "fingerprint": fingerprint,
        }
        with replace_atomically(partial / _ABOUT) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for name in (_DONE, _UNREADABLE):
        (partial / name).unlink(missing_ok=True)
    partial.replace(folder)


Rendered = tuple[np.ndarray, np.ndarray | None, list[int]]
"""Samples, attributes, and the places among them of samples that cannot be read."""


class _Target:
    """The arrays of a store that is being built, written chunk after chunk, in order."""

    def __init__(self, folder: Path, source: Source, done: np.ndarray, unreadable: np.ndarray) -> None:
        count, dtype = source.count, np.dtype(source.dtype)
        self.done, self._unreadable, self._attributes = done, unreadable, None
        self._samples: np.ndarray | EncodedWriter
        if dtype.hasobject:
            self._samples = EncodedWriter(folder, _memmap(folder / ENDS, np.dtype(np.int64), (count,)))
        else:
            self._samples = _memmap(folder / "samples.npy", dtype, (count, *source.shape))
        if source.attributes is not None:
            self._attributes = _memmap(folder / "attributes.npy", source.attributes, (count,))

    def write(self, chunk: int, rendered: Rendered) -> None:
        samples, attributes, unreadable = rendered
        rows = slice(chunk * _CHUNK, chunk * _CHUNK + len(samples))
        self._samples[rows] = samples
        if self._attributes is not None:
            self._attributes[rows] = attributes
        self._unreadable[rows][unreadable] = True
        self.done[chunk] = True  # after its samples, so that an interrupted build renders it again

    def close(self) -> None:
        if isinstance(self._samples, EncodedWriter):
            self._samples.close()


def _fill(
    source: Source,
    target: _Target,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    tolerant: bool,
) -> None:
    todo = deque(int(chunk) for chunk in np.flatnonzero(~target.done))
    finished = source.count - sum(len(_chunk_rows(source, chunk)) for chunk in todo)

    def write(chunk: int, rendered: Rendered) -> None:
        nonlocal finished
        target.write(chunk, rendered)
        finished += len(rendered[0])
        if progress is not None:
            progress(finished, source.count)

    if progress is not None:
        progress(finished, source.count)
    if workers == 1:
        for chunk in todo:
            write(chunk, _render(source, _chunk_rows(source, chunk), tolerant=tolerant))
        return
    with WorkerPool(workers, initializer=_init_worker, initargs=(source,)) as pool:
        running: deque[tuple[int, Future[Rendered]]] = deque()
        try:
            while todo or running:
                while todo and len(running) < _CHUNKS_AHEAD * workers:
                    chunk = todo.popleft()
                    running.append((chunk, pool.submit(_render_in_worker, _chunk_rows(source, chunk), tolerant)))
                chunk, future = running.popleft()
                write(chunk, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _chunk_rows(source: Source, chunk: int) -> range:
    return range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, source.count))


_source: Source
"""The source of a worker process, which keeps what it has opened from one chunk to the next."""


def _init_worker(source: Source) -> None:
    """Keep the source. Each worker has one thread, since the workers themselves share the cores."""
    import torch

    global _source
    _source = source
    torch.set_num_threads(1)


def _render_in_worker(rows: range, tolerant: bool) -> Rendered:
    return _render(_source, rows, tolerant=tolerant)


def _render(source: Source, rows: range, *, tolerant: bool) -> Rendered:
    """Render a chunk; where it is `tolerant`, samples that cannot be read are empty, and their places are returned."""
    try:
        return *source.render(rows), []
    except InvalidFileError:
        if not tolerant:
            raise
    dtype = np.dtype(source.dtype)
    samples = np.full((len(rows), *source.shape), b"" if dtype.hasobject else 0, dtype)
    attributes = None if source.attributes is None else np.zeros(len(rows), source.attributes)
    unreadable: list[int] = []
    for place, row in enumerate(rows):
        try:
            sample, record = source.render([row])
        except InvalidFileError:
            unreadable.append(place)
            continue
        samples[place] = sample[0]
        if attributes is not None and record is not None:
            attributes[place] = record[0]
    return samples, attributes, unreadable


def _keep_rows(path: Path, kept: np.ndarray) -> None:
    """Keep these rows of an array alone. An interrupted build may have done so already."""
    if not path.exists() or len(rows := np.load(path, mmap_mode="r", allow_pickle=False)) == len(kept):
        return
    with replace_atomically(path) as temporary:
        copy = np.lib.format.open_memmap(temporary, mode="w+", dtype=rows.dtype, shape=(len(kept), *rows.shape[1:]))
        for start in range(0, len(kept), _CHUNK):
            copy[start : start + _CHUNK] = rows[kept[start : start + _CHUNK]]
        copy.flush()


def _memmap(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Open the array at `path`, or make a new one of zeros."""
    if path.exists():
        found = np.load(path, mmap_mode="r+", allow_pickle=False)
        if found.dtype == dtype and found.shape == shape:
            return found
        raise ZooError(f"{path.parent}: an interrupted build of another version is in the way; delete the folder")
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _check_space(folder: Path, source: Source) -> None:
    needed = source.count * int(np.prod(source.shape)) * np.dtype(source.dtype).itemsize
    free = shutil.disk_usage(folder).free
    if not any(folder.iterdir()) and needed > free:
        raise WriteError(f"{folder}: the data set needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free")


def _list_content(folder: Path) -> list[Path]:
    """List all arrays and assets, sorted. A name with a dot in front is a note, or what a killed write left."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in (".npy", ".json", ".bin")
        and path.name not in (_DONE, _UNREADABLE, _ABOUT)
        and not path.name.startswith(".")
    )


def _compute_fingerprint(folder: Path) -> str:
    """Compute the sha256 of all arrays and assets."""
    digest = hashlib.sha256()
    for path in _list_content(folder):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _describe_content(folder: Path, fingerprint: str) -> dict[str, Any]:
    files = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in _list_content(folder)}
    return {"fingerprint": fingerprint, "files": files}


def _note_files(folder: Path, fingerprint: str) -> None:
    with replace_atomically(folder / _CHECKED) as temporary:
        temporary.write_text(json.dumps(_describe_content(folder, fingerprint)) + "\n", encoding="utf-8")


def _is_noted(folder: Path, fingerprint: str) -> bool:
    """Tell whether this fingerprint was computed of the files as they are, by their sizes and times."""
    try:
        return json.loads((folder / _CHECKED).read_text(encoding="utf-8")) == _describe_content(folder, fingerprint)
    except (OSError, ValueError):
        return False
