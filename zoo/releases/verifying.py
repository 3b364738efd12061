"""Verifying released weights: whether every file still has the bytes that it should."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import InvalidFileError, NotFoundError, suggest
from zoo.io.weights import BUNDLED, SUMS, is_in_hub_cache, verify
from zoo.registry import Weights, registry


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `zoo verify` for one folder. `problem` is empty where every file has the right bytes."""

    name: str
    folder: Path
    files: int
    bytes: int
    problem: str = ""


def verify_weights(
    name: str | None = None, *, progress: Callable[[int, int], None] | None = None
) -> list[Verification]:
    """Hash released weights again: of one entry, folder or repository, or if None of all that are bundled or cached.

    Nothing is fetched and nothing is changed. Raises NotFoundError where a name has no weights here.
    """
    folders = list(_list_folders(name))
    results = []
    for done, (label, folder, sha256) in enumerate(folders):
        if progress is not None:
            progress(done, len(folders))
        results.append(_verify_folder(label, folder, sha256))
    if progress is not None:
        progress(len(folders), len(folders))
    return results


def _list_folders(name: str | None) -> Iterable[tuple[str, Path, Mapping[str, str]]]:
    if name is None:
        from zoo.io import hub

        for folder in sorted(path.parent for path in BUNDLED.glob(f"*/{SUMS}")):  # of entries and of feature networks
            entry = registry.entries.get(folder.name)
            yield folder.name, folder, entry.weights.sha256 if entry is not None else {}
        for address, folder in hub.list_cached_snapshots():
            yield str(address), folder, {}
        return
    known_entry = registry.entries.get(name)
    if known_entry is not None and known_entry.has_weights:
        yield name, known_entry.bundled, known_entry.weights.sha256
        return
    if (Path(name).expanduser() / "config.json").is_file():
        yield name, Path(name).expanduser(), {}
        return
    from zoo.io import hub

    cached = hub.list_cached_snapshots()
    weights = known_entry.weights if known_entry is not None else Weights()
    wanted = hub.Address(weights.repo, weights.revision) if weights.repo else hub.Address.parse(name)
    found = [
        (pinned, folder)
        for pinned, folder in cached
        if wanted is not None and pinned.repo == wanted.repo and pinned.revision.startswith(wanted.revision)
    ]
    there = [str(pinned) for pinned, _ in cached if wanted is not None and pinned.repo == wanted.repo]
    if not found and wanted is not None and there:
        raise NotFoundError(
            f'no weights of "{name}" by that revision on this machine. There are {", ".join(there)}; name a commit, or '
            f"{wanted.repo} for all"
        )
    if not found:
        known = [*registry.entries, *(str(a) for a, _ in cached)]
        raise NotFoundError(
            f'no weights of "{name}" on this machine.{suggest(name, known)} `zoo verify --all` checks all.'
        )
    for pinned, folder in found:
        yield str(pinned), folder, weights.sha256


def _verify_folder(label: str, folder: Path, sha256: Mapping[str, str]) -> Verification:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    # A snapshot has the files that loading needed, not all of SHA256SUMS. A generator may have been fetched alone.
    cached = is_in_hub_cache(folder)
    there = {path.relative_to(folder).as_posix() for path in files} | ({"generator.safetensors"} & sha256.keys())
    try:
        count = verify(folder, sha256, names=there if cached else None)
        if cached:
            from zoo.io.hub import agrees_with_its_name

            for path in files:
                if not agrees_with_its_name(path):
                    raise InvalidFileError(f"{path}: other bytes than the Hub stated when it was fetched")
        checked = len(files) if cached else count
        if not checked:
            raise InvalidFileError(f"{folder}: no {SUMS} here to compare its files with")
    except InvalidFileError as error:
        return Verification(name=label, folder=folder, files=len(files), bytes=size, problem=str(error))
    return Verification(name=label, folder=folder, files=checked, bytes=size)
