"""Where weights come from: bundled with this package, the Hub's cache, or the Hub; checked before they are opened.

    name -> folder (bundled, else cached, else fetched at a full commit sha) -> digests -> config.json against the
    architecture's dataclass -> the header of each weight file against the shapes -> strict load

Nothing here unpickles: weights are safetensors, everything else is JSON, TOML and text.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.errors import BadFile, BadValue, NotFound, ZooError, suggest
from zoo.gan import GAN
from zoo.recipe import architecture_class, build
from zoo.registry import Entry, Weights, registry
from zoo.safe import SUMS, Undrawn, check_weights, inside, load_weights, max_bytes, read_sums, verify

if TYPE_CHECKING:
    from zoo.remote import Address

FORMAT = 1
MAX_TEXT_BYTES = 1 << 20  # of config.json, recipe.toml and SHA256SUMS
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".th")

logger = logging.getLogger("zoo")


def load(name: str | os.PathLike[str]) -> GAN:
    """See `zoo.load`."""
    folder = Path(name).expanduser()
    if os.fspath(name) not in registry.entries and is_run(folder):
        from zoo.training.loop import load_run

        return load_run(folder)[1]
    return open_folder(locate(name))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: a recipe without released weights beside it."""
    return (folder / "recipe.toml").is_file() and not (folder / "config.json").is_file()


def locate(name: str | os.PathLike[str]) -> Path:
    """The weights folder of an entry, a folder or a Hub repository (`org/name`, `org/name@revision`).

    Fetched if need be, and every file checked against its digests.

    Raises:
        NotFound: no such entry or repository, with the nearest names.
        BadFile: a folder without weights, or weights refused.
        Unreachable: not in the cache, and the Hub cannot be reached.
    """
    text = os.fspath(name)
    if text in registry.entries:
        return resolve(registry.entries[text])
    folder = Path(text).expanduser()
    if (folder / "config.json").is_file():
        verify(folder, {}, whole=False)
        return folder
    if folder.exists() or text.startswith((".", "~", os.sep)) or text.partition("@")[0].count("/") > 1:
        raise BadFile(f"{folder}: neither released weights (config.json) nor a run (recipe.toml)")
    if "/" in text:
        from zoo.remote import Address

        address = Address.parse(text)
        if address is None:
            raise BadValue(f'"{text}": a repository of the Hub is named org/name or org/name@revision')
        return from_hub(address)
    raise NotFound(
        f'no entry "{text}".{suggest(text, registry.entries)} `zoo list` shows all {len(registry.entries)}; '
        "a repository of the Hub is named org/name."
    )


def resolve(entry: Entry) -> Path:
    """The folder of an entry's weights: bundled, else cached, else fetched. Raises as `locate`."""
    if entry.has_weights:
        verify(entry.bundled, entry.weights.sha256, whole=False)
        return entry.bundled
    if not entry.weights.repo:
        raise BadFile(f"{entry.name} has no released weights yet; `zoo train {entry.name} --out runs/a` makes some")
    from zoo.remote import Address

    address = Address(entry.weights.repo, entry.weights.revision)
    if not address.pinned:
        raise BadFile(f"{entry.recipe}: weights.revision = {address.revision!r} should be a full commit sha")
    return from_hub(address, sha256=entry.weights.sha256)


# --- the Hub -----------------------------------------------------------------------------------------------------


def from_hub(address: Address, *, sha256: Mapping[str, str] | None = None) -> Path:
    """The folder of a repository's weights, from the cache or fetched; only what loading needs is fetched.

    A full commit sha that is cached needs no network. Another revision is looked up, and the line that names the
    commit it means goes to the log.

    Args:
        sha256: trusted digests of the weight files, checked as soon as they arrive.

    Raises:
        NotFound, BadFile, Unreachable: as `locate`. Files that are refused do not stay in the cache.
    """
    from zoo import remote

    pinned = remote.Address(address.repo, remote.commit_of(address))
    if not address.pinned:
        logger.warning("%s is at %s now; to have these weights for ever: %s", address, pinned.revision, pinned)
    folder = _cached_folder(pinned) or _fetch(pinned)
    _check_snapshot(pinned, folder, sha256 or {})
    return folder


def _cached_folder(address: Address) -> Path | None:
    """The snapshot of a pinned address in the cache, where all is there that loading needs."""
    from zoo import remote

    config = remote.cached(address, "config.json")
    if config is None:
        return None
    try:
        names = weight_files(config.parent)
    except BadFile:  # damaged since it was fetched
        remote.discard(config)
        return None
    return config.parent if all(remote.cached(address, name) for name in names) else None


def _check_snapshot(address: Address, folder: Path, sha256: Mapping[str, str]) -> None:
    """Check a snapshot of the cache against all that is known of it. What fails is removed, to be fetched anew."""
    from zoo import remote

    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    try:
        for name in files.keys() - read_sums(folder).keys():
            if not remote.agrees_with_its_name(files[name]):
                raise BadFile(f"{files[name]}: other bytes than the Hub stated")
        verify(folder, sha256, whole=False)
    except BadFile as error:
        for path in files.values():
            if path.name == SUMS or path.name in sha256 or not remote.agrees_with_its_name(path):
                remote.discard(path)
        raise BadFile(f"{error} (of {address}). It was removed from the cache; load again to fetch it anew.") from error


def _fetch(address: Address) -> Path:
    """Fetch what loading needs; returns its folder. Refuses before it fetches whatever can be refused."""
    from zoo import remote

    listed = remote.listing(address)
    if "config.json" not in listed or not any(name.endswith(".safetensors") for name in listed):
        raise BadFile(f"{address}: {_what_it_offers(listed)}")
    for name in ("config.json", SUMS, "recipe.toml"):
        if name in listed:
            _refuse_large(address, name, listed[name].size, MAX_TEXT_BYTES)
            path = remote.fetch(address, name, listed[name])
            if name == "config.json":
                config = path
    try:
        states = expected_states(*read_config(config.parent))
    except BadFile as error:
        remote.discard(config)
        raise BadFile(f"{address}: {error}") from error
    wanted = {f"{player}.safetensors": max_bytes(state) for player, state in states.items()}
    for name, most in wanted.items():
        if name not in listed:
            raise BadFile(f"{address}: lacks {name}; {_what_it_offers(listed)}")
        _refuse_large(address, name, listed[name].size, most)
    for name in wanted:
        remote.fetch(address, name, listed[name])
    return config.parent


def _refuse_large(address: Address, name: str, size: int, most: int) -> None:
    if size > most:
        raise BadFile(f"{address}: {name} has {size:,} bytes, at most {most:,} make sense here; refused")


def _what_it_offers(listed: Iterable[str]) -> str:
    names = sorted(listed)
    pickles = [name for name in names if PurePosixPath(name).suffix in PICKLES]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        return (
            f"offers its weights as pickles only ({', '.join(pickles[:3])}). Opening a pickle can run any program on "
            "this machine, so this library never does. Ask its author for safetensors, written by `zoo release`."
        )
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"is no release of this library: it has {shown or 'no files'}, and no config.json of gan-zoo"


# --- a folder ----------------------------------------------------------------------------------------------------


def load_folder(folder: Path, *, sha256: Mapping[str, str] | None = None) -> GAN:
    """The GAN in a released folder. Every file is checked before any weight is loaded.

    Args:
        sha256: trusted digests of the weight files; those of the folder's SHA256SUMS are checked besides.

    Raises:
        BadFile: a missing, corrupt, truncated or changed file, or one that does not fit the architecture.
    """
    verify(folder, sha256 or {}, whole=False)
    return open_folder(folder)


def open_folder(folder: Path) -> GAN:
    """`load_folder` where the digests were checked already."""
    cls, config = read_config(folder)
    for player, state in expected_states(cls, config).items():
        check_weights(inside(folder, f"{player}.safetensors"), state, cls.__name__)
    with Undrawn():
        gan = cls(config)
    for player, module in gan.players.items():
        load_weights(folder / f"{player}.safetensors", module)
    return gan.eval()


def expected_states(cls: type[GAN], config: Any) -> dict[str, dict[str, Tensor]]:
    """Each player's state without memory, however large the config claims to be."""
    with torch.device("meta"), Undrawn():
        return {name: player.state_dict() for name, player in cls(config).players.items()}


def weight_files(folder: Path) -> list[str]:
    """The weight files that the config.json of a folder asks for, one a player. Raises BadFile."""
    return [f"{player}.safetensors" for player in expected_states(*read_config(folder))]


def read_config(folder: Path) -> tuple[type[GAN], Any]:
    """The architecture and config that config.json names. Raises BadFile."""
    path = inside(folder, "config.json")
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise BadFile(f"{path}: larger than any config; refused")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ZooError):
            raise
        raise BadFile(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise BadFile(f'{path}: no config of gan-zoo, which has a "format"; so this is no release of this library')
    if content["format"] != FORMAT:
        raise BadFile(f"{path}: format {content['format']!r} is not the {FORMAT} that this gan-zoo reads; is it newer?")
    try:
        cls = architecture_class(str(content.get("architecture")))
        return cls, build(cls.Config, content.get("config", {}), where="config")
    except (NotFound, BadValue) as error:
        raise BadFile(f"{path}: {error}") from error


# --- checking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What `zoo verify` says of one folder. `problem` is empty where every file has the bytes it should."""

    name: str
    folder: Path
    files: int
    bytes: int
    problem: str = ""


def verify_weights(name: str | None = None, *, progress: Callable[[int, int], None] | None = None) -> list[Verified]:
    """Hash released weights again: one entry, folder or repository, or all that are bundled or cached if None.

    Nothing is fetched and nothing is changed. Raises NotFound, BadFile where a name has no weights here.
    """
    folders = list(_released_here(name))
    results = []
    for done, (label, folder, sha256) in enumerate(folders):
        if progress is not None:
            progress(done, len(folders))
        results.append(_verified(label, folder, sha256))
    if progress is not None:
        progress(len(folders), len(folders))
    return results


def _released_here(name: str | None) -> Iterable[tuple[str, Path, Mapping[str, str]]]:
    from zoo import remote

    if name is None:
        for entry in registry.entries.values():
            if entry.has_weights:
                yield entry.name, entry.bundled, entry.weights.sha256
        for address, folder in remote.cached_snapshots():
            yield str(address), folder, {}
        return
    known_entry = registry.entries.get(name)
    if known_entry is not None and known_entry.has_weights:
        yield name, known_entry.bundled, known_entry.weights.sha256
        return
    if (Path(name).expanduser() / "config.json").is_file():
        yield name, Path(name).expanduser(), {}
        return
    cached = remote.cached_snapshots()
    weights = known_entry.weights if known_entry is not None else Weights()
    wanted = remote.Address(weights.repo, weights.revision) if weights.repo else remote.Address.parse(name)
    found = [
        (pinned, folder)
        for pinned, folder in cached
        if wanted is not None and pinned.repo == wanted.repo and pinned.revision.startswith(wanted.revision)
    ]
    if not found:
        known = [*registry.entries, *(str(a) for a, _ in cached)]
        raise NotFound(f'no weights of "{name}" on this machine.{suggest(name, known)} `zoo verify --all` checks all.')
    for pinned, folder in found:
        yield str(pinned), folder, weights.sha256


def _verified(label: str, folder: Path, sha256: Mapping[str, str]) -> Verified:
    from zoo import remote

    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    try:
        snapshot = folder.parent.name == "snapshots"  # holds what loading needs, not all that SHA256SUMS lists
        count = verify(folder, sha256, whole=not snapshot)
        for path in files if snapshot else []:
            if not remote.agrees_with_its_name(path):
                raise BadFile(f"{path}: other bytes than the Hub stated when it was fetched")
    except BadFile as error:
        return Verified(name=label, folder=folder, files=len(files), bytes=size, problem=str(error))
    return Verified(name=label, folder=folder, files=max(count, len(files)), bytes=size)
