"""A user's own data: a folder of files, or the files of a data set of the Hub."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

from zoo.data.store import About
from zoo.recipe import DataConfig


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


def _is_of_system(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
