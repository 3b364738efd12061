"""A user's own data: a folder of files, or the files of a data set of the Hub."""

from __future__ import annotations

from collections.abc import Callable
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
