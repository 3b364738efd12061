"""A user's own data: a folder of files, or the files of a data set of the Hub."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from zoo.data.store import About, LeaveOut, Source
from zoo.errors import InvalidFileError, ZooError, shorten
from zoo.recipe import DataConfig

Item = TypeVar("Item")

MAX_DESCRIBED = 10_000  # files whose suffixes are counted


def find_own_files(
    data: DataConfig, suffixes: tuple[str, ...], *, progress: Callable[[int, int], None] | None = None
) -> tuple[Path, About]:
    """Find the folder that `data.folder` or `data.hub` names, and its name and license.

    The files of a data set of the Hub that end in one of `suffixes` are fetched. Raises as `zoo.data.hub.load_files`.
    """
    if data.hub:
        from zoo.data.hub import load_files

        return load_files(data.hub, suffixes, progress=progress)
    folder = Path(data.folder).expanduser()
    return folder, About(name=folder.name)


def list_files(folder: Path, suffixes: Collection[str], *, below: bool = True) -> list[Path]:
    """List the files in `folder`, and in all folders below with `below`, whose names end in one of `suffixes`; sorted.

    Linked folders are followed, once.

    What systems put there is passed over: names that start with a dot, and the `__MACOSX` of archives. A warning names
    a folder that cannot be opened.
    """
    files: list[Path] = []
    seen: set[str] = set()

    def tell(error: OSError) -> None:
        warnings.warn(f"{error.filename}: this folder cannot be opened: {error.strerror}", stacklevel=3)

    for place, folders, names in os.walk(folder, followlinks=True, onerror=tell):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if below and not _is_of_system(name))
        found = (Path(place, name) for name in names if not _is_of_system(name))
        files += [path for path in found if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(files)


def check_folder(folder: Path, what: str) -> None:
    """Raise InvalidFileError where there is no folder of `what`."""
    if folder.is_file():
        raise InvalidFileError(f"{folder}: a file; give the folder of {what} that it is in")
    if not folder.is_dir():
        raise InvalidFileError(f"{folder}: no such folder of {what}")


def describe_files(folder: Path) -> str:
    """Describe the files of a folder that has none of those looked for: "; there are 12 .jpg and 1 .txt"."""
    names = itertools.islice((Path(name) for _, _, names in os.walk(folder) for name in names), MAX_DESCRIBED)
    suffixes = Counter(name.suffix.lower() for name in names if name.suffix and not _is_of_system(name.name))
    found = [f"{count:,} {suffix}" for suffix, count in suffixes.most_common(3)]
    return f"; there are {' and '.join(found)}" if found else ""


@contextmanager
def name_unreadable(name: Path | str) -> Iterator[None]:
    """Turn whatever a decoder raises into InvalidFileError that begins with the file's name.

    Decoders raise almost anything on damaged files, from KeyError to MemoryError. An InvalidFileError gets the name in
    front. Other errors of this library are not the file's fault, and pass.
    """
    try:
        yield
    except InvalidFileError as error:
        raise InvalidFileError(f"{name}: {error}") from error
    except ZooError:
        raise
    except Exception as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        why = why.replace(f" {str(name)!r}", "")  # Pillow repeats it
        raise InvalidFileError(f"{name}: cannot be read: {shorten(why, 200)}") from error


def name_unreadable_steps(name: Path | str, items: Iterator[Item]) -> Iterator[Item]:
    """Yield what a decoder yields, each step within `name_unreadable`; what the consumer raises is not concerned."""
    while True:
        with name_unreadable(name):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def make_leave_out(log: Callable[[str], None], what: str) -> LeaveOut:
    """Make what leaves out the samples of own files that cannot be read, and logs one line about these `what`.

    The source has a method `select`, which returns the source of some samples.
    """

    def leave_out(source: Any, unreadable: np.ndarray) -> Source:
        errors: list[InvalidFileError] = []
        for row in unreadable[:SHOWN]:
            try:
                source.render([row])
            except InvalidFileError as error:
                errors.append(error)
        log(describe_skipped(errors, source.count, what, count=len(unreadable)))
        return source.select(np.setdiff1d(np.arange(source.count), unreadable))

    return leave_out


SHOWN = 5  # reasons in a line about what is left out


def describe_skipped(errors: Sequence[InvalidFileError], total: int, what: str, *, count: int | None = None) -> str:
    """Describe in one line what is left out: how many of the `total`, and the first five with their reasons.

    `errors` may be the first of `count`.
    """
    count = len(errors) if count is None else count
    shown = "; ".join(map(str, errors[:SHOWN]))
    verb = "is" if count == 1 else "are"
    return f"{count} of {total} {what} {verb} left out: {shown}" + ("; ..." if count > SHOWN else "")


def _is_of_system(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
