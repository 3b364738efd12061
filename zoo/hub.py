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

from zoo.errors import BadFile, BadValue, NotFound, suggest
from zoo.gan import GAN
from zoo.recipe import architecture_class, build
from zoo.registry import Entry, Weights, registry
from zoo.safe import SUMS, Undrawn, check_weights, inside, load_weights, max_bytes, read_sums, verify

if TYPE_CHECKING:
    from zoo.remote import Address

FORMAT = 1
BUNDLED = Path(__file__).parent / "weights"
TEXTS = ("config.json", SUMS, "recipe.toml")
MAX_TEXT_BYTES = 1 << 20  # of each of them
MAX_ASSET_BYTES = 1 << 24  # of a tokenizer
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
        check_folder(folder, {})
        return folder
    if folder.exists() or text.startswith((".", "~", os.sep)) or text.partition("@")[0].count("/") > 1:
        if is_run(folder):
            raise BadFile(f"{folder}: a run; `zoo release {folder} --out FOLDER` makes released weights of it")
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if any(PurePosixPath(name).suffix in PICKLES for name in names):
            raise BadFile(f"{folder}: {_what_it_offers(names)}")
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
        check_folder(entry.bundled, entry.weights.sha256)
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
        needed = needed_files(*read_config(config.parent))
    except BadFile:  # damaged since it was fetched
        remote.discard(config)
        return None
    return config.parent if all(remote.cached(address, name) for name in needed) else None


def _check_snapshot(address: Address, folder: Path, sha256: Mapping[str, str]) -> None:
    """Check a snapshot of the cache against all that is known of it. What fails is removed, to be fetched anew."""
    from zoo import remote

    files = {name: folder / name for name in opened_files(folder) if (folder / name).is_file()}
    try:
        for name in files.keys() - read_sums(folder).keys():
            if not remote.agrees_with_its_name(files[name]):
                raise BadFile(f"{files[name]}: other bytes than the Hub stated")
        check_folder(folder, sha256)
    except BadFile as error:
        for name, path in files.items():
            if name == SUMS or name in sha256 or not remote.agrees_with_its_name(path):
                remote.discard(path)
        raise BadFile(f"{error} (of {address}). It was removed from the cache; load again to fetch it anew.") from error


def _fetch(address: Address) -> Path:
    """Fetch what loading needs; returns its folder. Refuses before it fetches whatever can be refused."""
    from zoo import remote

    listed = remote.listing(address)
    if "config.json" not in listed or not any(name.endswith(".safetensors") for name in listed):
        raise BadFile(f"{address}: {_what_it_offers(listed)}")
    for name in TEXTS:
        if name in listed:
            _refuse_large(address, name, listed[name].size, MAX_TEXT_BYTES)
            path = remote.fetch(address, name, listed[name])
            if name == "config.json":
                config = path
    try:
        needed = needed_files(*read_config(config.parent))
    except BadFile as error:
        remote.discard(config)
        raise BadFile(f"{address}: {error}") from error
    for name, most in needed.items():
        if name not in listed:
            raise BadFile(f"{address}: lacks {name}; {_what_it_offers(listed)}")
        _refuse_large(address, name, listed[name].size, most)
    for name in needed:
        remote.fetch(address, name, listed[name])
    return config.parent


def _refuse_large(where: object, name: str, size: int, most: int) -> None:
    if size > most:
        raise BadFile(f"{where}: {name} has {size:,} bytes, at most {most:,} make sense here; refused")


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
    check_folder(folder, sha256 or {})
    return open_folder(folder)


def check_folder(folder: Path, sha256: Mapping[str, str]) -> None:
    """Check what loading opens: sizes first, then digests, those of SHA256SUMS and the trusted ones of `sha256`.

    Raises BadFile.
    """
    opened = opened_files(folder)
    for name, most in opened.items():
        path = inside(folder, name)
        if path.is_file():
            _refuse_large(folder, name, path.stat().st_size, most)
    verify(folder, sha256, names=opened)


def opened_files(folder: Path) -> dict[str, int]:
    """The files that loading may open, and the most bytes each can have. Raises BadFile."""
    return {**dict.fromkeys(TEXTS, MAX_TEXT_BYTES), **needed_files(*read_config(folder))}


def needed_files(cls: type[GAN], config: Any) -> dict[str, int]:
    """What loading needs besides config.json, weight files and assets, and the most bytes each can have."""
    weights = {f"{player}.safetensors": max_bytes(state) for player, state in expected_states(cls, config).items()}
    return weights | dict.fromkeys(cls.ASSETS, MAX_ASSET_BYTES)


def open_folder(folder: Path) -> GAN:
    """`load_folder` where the digests were checked already."""
    cls, config = read_config(folder)
    for player, state in expected_states(cls, config).items():
        check_weights(inside(folder, f"{player}.safetensors"), state, cls.__name__)
    with Undrawn():
        gan = cls(config)
    for asset in cls.ASSETS:
        if not inside(folder, asset).is_file():
            raise BadFile(f"{folder / asset}: missing; {cls.__name__} needs it to read its samples")
    gan.attach(folder)
    for player, module in gan.players.items():
        load_weights(folder / f"{player}.safetensors", module)
    return gan.eval()


def expected_states(cls: type[GAN], config: Any) -> dict[str, dict[str, Tensor]]:
    """Each player's state without memory, however large the config claims to be. Raises BadFile."""
    try:
        with torch.device("meta"), Undrawn():
            return {name: player.state_dict() for name, player in cls(config).players.items()}
    except Exception as error:  # values that are each in range, and together make no network
        raise BadFile(f"config.json: no {cls.__name__} can be built of this: {_short(error)}") from error


def weight_files(folder: Path) -> list[str]:
    """The weight files that the config.json of a folder asks for, one a player. Raises BadFile."""
    return [f"{player}.safetensors" for player in expected_states(*read_config(folder))]


def read_config(folder: Path) -> tuple[type[GAN], Any]:
    """The architecture and config that config.json names. Raises BadFile."""
    path = inside(folder, "config.json")
    if not path.is_file():
        raise BadFile(f"{path}: missing")
    _refuse_large(folder, path.name, path.stat().st_size, MAX_TEXT_BYTES)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise BadFile(f'{path}: no config of gan-zoo, which has a "format"; so this is no release of this library')
    if content["format"] != FORMAT:
        raise BadFile(
            f"{path}: format {content['format']!r:.80} is not {FORMAT}, which this gan-zoo reads; is it newer?"
        )
    try:
        cls = architecture_class(str(content.get("architecture"))[:200])
        return cls, build(cls.Config, content.get("config", {}), where="config")
    except (NotFound, BadValue, RecursionError) as error:
        raise BadFile(f"{path}: {_short(error)}") from error


def _short(error: Exception) -> str:
    """An error's text without the bulk that a file of somebody else's may put into it."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


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
        for folder in sorted(path.parent for path in BUNDLED.glob(f"*/{SUMS}")):  # entries, and evaluators
            entry = registry.entries.get(folder.name)
            yield folder.name, folder, entry.weights.sha256 if entry is not None else {}
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
    snapshot = folder.parent.name == "snapshots"  # holds what loading needs, not all that SHA256SUMS lists
    there = {path.relative_to(folder).as_posix() for path in files}
    try:
        count = verify(folder, sha256, names=there | sha256.keys() if snapshot else None)
        for path in files:
            if not remote.agrees_with_its_name(path):
                raise BadFile(f"{path}: other bytes than the Hub stated when it was fetched")
        checked = len(files) if snapshot else count
        if not checked:
            raise BadFile(f"{folder}: no {SUMS} here to compare its files with")
    except BadFile as error:
        return Verified(name=label, folder=folder, files=len(files), bytes=size, problem=str(error))
    return Verified(name=label, folder=folder, files=checked, bytes=size)
