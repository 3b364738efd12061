"""Data sets of the Hugging Face Hub: tables, which the package `datasets` reads, and plain files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.data.store import About, cache_dir
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError
from zoo.io.atomic import replace_atomically
from zoo.io.hub import Address, ListedFile, fetch, find_cached, list_files, read_license, resolve_commit

AT_ONCE = 8  # files that are fetched at the same time


def load_table(hub: str) -> Any:
    """Load the split `train` of a data set org/name or org/name@revision, a `datasets.Dataset`.

    Raises MissingDependencyError, InvalidFileError.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(f"hf:{hub} needs the package 'datasets': pip install 'gan-zoo[data]'") from None
    try:
        name, _, revision = hub.partition("@")
        return datasets.load_dataset(name, split="train", revision=revision or None)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InvalidFileError(f"hf:{hub}: cannot load this data set: {error}") from error


def load_files(
    hub: str, suffixes: tuple[str, ...], *, progress: Callable[[int, int], None] | None = None
) -> tuple[Path, About]:
    """Fetch the files of a data set that end in one of `suffixes`.

    Their bytes are checked against the digests that the Hub states. What was fetched once needs no network again.

    Returns:
        The folder in the Hub's cache, and the name and license of the data set.

    Args:
        hub: org/name, or org/name@revision.
        progress: called with the number of files that are there and the number of all.

    Raises:
        InvalidValueError: `hub` is no such name.
        InvalidFileError: no file ends so; bytes that are wrong twice.
        NotFoundError, UnreachableError, WriteError: as `zoo.io.hub.ask`.
    """
    address = Address.parse(hub, "dataset")
    if address is None:
        raise InvalidValueError(f'hf:{hub}: a data set of the Hub is named "org/name" or "org/name@revision"')
    pinned = replace(address, revision=resolve_commit(address))
    known = hashlib.sha256(repr((str(pinned), sorted(suffixes))).encode()).hexdigest()[:16]
    note = cache_dir() / "hub" / f"{known}.json"
    if (found := _read_note(note, pinned)) is not None:
        return found
    everything = list_files(pinned)
    files = {name: listed for name, listed in everything.items() if name.lower().endswith(suffixes)}
    if not files:
        raise InvalidFileError(f"hf:{hub}: none of its {len(everything)} files ends in {', '.join(suffixes)}")
    about = About(name=address.repo, license=read_license(pinned))
    _fetch_all(pinned, files, progress)
    with replace_atomically(note) as temporary:
        facts = {"files": sorted(files), "name": about.name, "license": about.license}
        temporary.write_text(json.dumps(facts), encoding="utf-8")
    return _find_folder(pinned, next(iter(files))), about


def _fetch_all(address: Address, files: dict[str, ListedFile], progress: Callable[[int, int], None] | None) -> None:
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for done, _ in enumerate(pool.map(lambda name: fetch(address, name, files[name], quiet=True), files), start=1):
            if progress is not None:
                progress(done, len(files))
    finally:
        pool.shutdown(cancel_futures=True)  # after the first failure, or Ctrl-C


def _read_note(note: Path, address: Address) -> tuple[Path, About] | None:
    """Return what was fetched before; None unless all of it is still there."""
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if any(find_cached(address, name) is None for name in facts["files"]):
        return None
    return _find_folder(address, facts["files"][0]), About(name=facts["name"], license=facts["license"])


def _find_folder(address: Address, name: str) -> Path:
    """Find the folder of the snapshot that holds a cached file."""
    path = find_cached(address, name)
    assert path is not None
    return path.parents[name.count("/")]
