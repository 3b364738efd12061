"""Loading released weights: bundled with this package, in the Hub's cache, or fetched; checked before they are opened.

    name -> folder (bundled, else cached, else fetched at a full commit sha) -> digests -> config.json against the
    architecture's dataclass -> the header of each weight file against the shapes -> strict load

Nothing here unpickles. Weights are safetensors; everything else is JSON, TOML and text.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from zoo.device import choose_device
from zoo.errors import (
    InvalidFileError,
    InvalidValueError,
    NotFoundError,
    NoWeightsError,
    UnreachableError,
    shorten,
    shorten_repr,
    suggest,
)
from zoo.gan import GAN
from zoo.io.weights import SUMS, check_weights, load_weights, max_bytes, read_sums, resolve_inside, verify
from zoo.nn.no_init import no_init
from zoo.paths import means_path
from zoo.recipe import build, load_architecture, load_recipe, replace_values
from zoo.registry import Entry, registry
from zoo.samples import Samples
from zoo.styled import DIRECTIONS
from zoo.training.run import Run, find_run, is_run

if TYPE_CHECKING:
    from zoo.io.hub import Address

FORMAT = 1
TEXTS = ("config.json", SUMS, "recipe.toml", DIRECTIONS)
MAX_TEXT_BYTES = 1 << 20  # of each of them
MAX_ASSET_BYTES = 1 << 24  # of a tokenizer
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".th")

logger = logging.getLogger("zoo")

G = TypeVar("G", bound=GAN)


@dataclass(frozen=True)
class Release:
    """A folder of released weights, its config.json read once and its networks laid out once."""

    folder: Path
    modality: str
    architecture: type[GAN]
    config: Any
    shapes: Mapping[str, Mapping[str, Tensor]]
    """Each network's state on the meta device, by the network's name. Converted weights may lack the discriminator."""

    @classmethod
    def open(cls, folder: Path) -> Release:
        """Read config.json, and lay out the networks that it describes. Raises InvalidFileError."""
        modality, architecture, config, names = _read_config(folder)
        shapes = architecture.state_shapes(config)
        if names is None:
            return cls(folder, modality, architecture, config, shapes)
        if "generator" not in names or not shapes.keys() >= set(names):
            some = f"the generator, and others of {', '.join(shapes)}"
            raise InvalidFileError(f"{folder / 'config.json'}: networks = {shorten_repr(names)} should be {some}")
        return cls(folder, modality, architecture, config, {name: shapes[name] for name in names})

    def select(self, *, discriminator: bool) -> Release:
        """Return this release, or its generator alone. The files of other networks are then not needed."""
        return self if discriminator else replace(self, shapes={"generator": self.shapes["generator"]})

    @property
    def weight_files(self) -> list[str]:
        """The names of the weight files, one a network."""
        return [f"{network}.safetensors" for network in self.shapes]

    @property
    def needed_files(self) -> dict[str, int]:
        """What loading needs besides the text files, and the most bytes that each can have."""
        weights = {f"{network}.safetensors": max_bytes(state) for network, state in self.shapes.items()}
        return weights | dict.fromkeys(self.architecture.ASSETS, MAX_ASSET_BYTES)

    @property
    def opened_files(self) -> dict[str, int]:
        """All that loading may open, and the most bytes that each can have."""
        return {**dict.fromkeys(TEXTS, MAX_TEXT_BYTES), **self.needed_files}

    def check(self, sha256: Mapping[str, str] | None = None) -> None:
        """Check what loading opens: sizes first, then digests of SHA256SUMS and the trusted ones of `sha256`.

        Raises InvalidFileError.
        """
        opened = self.opened_files
        for name, most in opened.items():
            path = resolve_inside(self.folder, name)
            if path.is_file():
                _check_file_size(self.folder, name, path.stat().st_size, most)
        verify(self.folder, sha256 or {}, names=opened)

    def load(self) -> GAN:
        """Build the networks and load their weights, whole or not at all.

        Raises InvalidFileError for a file that does not fit, naming what differs.
        """
        cls, folder = self.architecture, self.folder
        for network, state in self.shapes.items():
            check_weights(resolve_inside(folder, f"{network}.safetensors"), state, cls.__name__)
        with no_init():
            gan = cls(self.config)
        _keep_networks(gan, self.shapes)  # better none than one with random weights
        for asset in cls.ASSETS:
            if not resolve_inside(folder, asset).is_file():
                raise InvalidFileError(f"{folder / asset}: missing; {cls.__name__} needs it to read its samples")
        gan.load_assets(folder)
        gan.load_extras(folder)
        for network, module in gan.networks.items():
            load_weights(folder / f"{network}.safetensors", module)
        return gan.eval()


def load(name: str | os.PathLike[str], *, device: str | torch.device = "auto", discriminator: bool = True) -> GAN:
    """Load a trained GAN, generator and discriminator, ready to sample.

    Args:
        name: an entry ("faces-dcgan"), a folder of released weights, a run folder, one of its checkpoints, or a
            repository of the Hugging Face Hub ("org/name", "org/name@revision"), which is fetched at first use. A full
            commit sha as revision names the same bytes for ever, and needs no network once they are cached.
        device: "cpu", "cuda", "cuda:1" or "mps". "auto" is CUDA where there is one, else MPS, else the CPU. Samples of
            a seed are the same on every device, to rounding, and come back on the CPU.
        discriminator: if False, the model has a generator alone. Files of other networks are neither fetched nor read.

    Raises:
        NotFoundError: no such entry or repository, with the nearest names.
        NoWeightsError: an entry or a run that has no weights yet.
        InvalidFileError: weights that are missing, corrupt, of another architecture, or pickled.
        UnreachableError: not in the cache, and the Hub gives no complete answer.
        InvalidValueError: a device that this machine does not have.
    """
    return load_as(GAN, name, device=device, discriminator=discriminator)


def load_as(
    cls: type[G], name: str | os.PathLike[str], *, device: str | torch.device = "auto", discriminator: bool = True
) -> G:
    """Load a GAN of the class `cls`. Arguments as in `load`.

    Raises as `load`, and InvalidFileError for weights of another architecture.
    """
    place = choose_device(device)
    source = find_source(name, discriminator=discriminator)
    _check_class(name, source.architecture if isinstance(source, Release) else source.recipe.architecture_class, cls)
    gan = source.load() if isinstance(source, Release) else source.load()[0]
    if isinstance(source, Run) and not discriminator:
        _keep_networks(gan, ["generator"])
    assert isinstance(gan, cls)
    gan.name = os.fspath(name)
    return gan.to(place)


def find_source(name: str | os.PathLike[str], *, discriminator: bool = True) -> Release | Run:
    """Find what `load` loads: a run, or released weights as `find_release` does. Raises as `load`."""
    if os.fspath(name) not in registry.entries and (run := find_run(Path(name).expanduser())) is not None:
        return run
    return find_release(name, discriminator=discriminator)


def _check_class(name: str | os.PathLike[str], found: type[GAN], asked: type[GAN]) -> None:
    if not issubclass(found, asked):
        raise InvalidFileError(
            f"{os.fspath(name)}: weights of {found.__name__}, not of {asked.__name__}; zoo.load opens those of any"
        )


def _keep_networks(gan: GAN, names: Collection[str]) -> None:
    for name in gan.networks.keys() - names:
        delattr(gan, name)


def create(
    name: str | os.PathLike[str],
    *,
    pretrained: bool = False,
    device: str | torch.device = "auto",
    **config: Any,
) -> GAN:
    """Make the model of an entry with new random weights, or with its trained ones.

    `torch.manual_seed` makes the weights the same again. Sizes that come from data, e.g. that of a vocabulary, are the
    recipe's; texts of an untrained model have no vocabulary, so they are tokens alone.

    Args:
        name: an entry ("faces-dcgan") or the path of a recipe.
        pretrained: load the weights, as `load` does.
        device: as in `load`.
        config: values of the recipe's `[model]`, e.g. resolution=32.

    Raises:
        NotFoundError: an unknown entry or value, with the nearest names.
        InvalidValueError: a value of the wrong type, out of range, or with `pretrained` another than that of the
            weights; a device that this machine does not have.
        NoWeightsError, InvalidFileError, UnreachableError: with `pretrained`, as `load`.
    """
    text = os.fspath(name)
    entry = registry.entry(text)
    place = choose_device(device)
    if not pretrained:
        recipe = load_recipe(entry)
        return recipe.architecture_class(replace_values(recipe.model, config, where=text)).eval().to(place)
    release = find_entry_release(entry)
    wanted = replace_values(release.config, config, where=text)
    for key in config:
        has, asked = getattr(release.config, key), getattr(wanted, key)
        if has != asked:
            raise InvalidValueError(
                f"{text}: its weights have {key} = {shorten_repr(has)}, not {shorten_repr(asked)}; leave it out, or "
                "make new networks with pretrained=False"
            )
    gan = release.load()
    gan.name = text
    return gan.to(place)


def sample(
    name: str | os.PathLike[str],
    n: int = 16,
    *,
    seed: int | None = None,
    batch_size: int = 64,
    device: str | torch.device = "auto",
    **options: Any,
) -> Samples:
    """Load a model and sample it: `load(name, device=...).sample(n, ...)`. Raises as both.

    Args:
        name: as in `load`.
        n: how many samples.
        seed: if None, a random one; the result's `seed` tells which.
        batch_size: samples generated at once. It limits the memory.
        device: as in `load`.
        options: the sample options of the model, as the flags of `zoo sample`: label="kick", temperature=0.8,
            frames=32, input="song.wav", truncation=0.7, cutoff=4, edit={"smile": 2}. `zoo info NAME` lists them.
    """
    return load(name, device=device).sample(n, seed=seed, batch_size=batch_size, **options)


def load_folder(folder: Path, *, sha256: Mapping[str, str] | None = None) -> GAN:
    """Load the GAN of a released folder. Every file is checked before any weight is loaded.

    Args:
        sha256: trusted digests of the weight files; those of the folder's SHA256SUMS are checked besides.

    Raises:
        InvalidFileError: a missing, corrupt, truncated or changed file, or one that does not fit the architecture.
    """
    release = Release.open(folder)
    release.check(sha256)
    return release.load()


def find_release(name: str | os.PathLike[str], *, discriminator: bool = True) -> Release:
    """Find the weights of an entry, a folder or a Hub repository (`org/name`, `org/name@revision`).

    They are fetched if need be, and every file is checked against its digests.

    Args:
        discriminator: if False, the generator is found alone, as `load` says.

    Raises:
        NotFoundError: no such entry or repository, with the nearest names.
        NoWeightsError: an entry or a run without released weights.
        InvalidFileError: weights that are refused.
        UnreachableError: not in the cache, and the Hub cannot be reached.
    """
    text = os.fspath(name)
    if text in registry.entries:
        return find_entry_release(registry.entries[text], discriminator=discriminator)
    folder = Path(text).expanduser()
    if (folder / "config.json").is_file():
        release = Release.open(folder).select(discriminator=discriminator)
        release.check()
        return release
    if folder.exists():
        raise describe_no_release(folder)
    if is_local_path(text):
        raise NotFoundError(f"{text}: no such folder")
    if "/" in text:
        from zoo.io.hub import Address

        address = Address.parse(text)
        if address is None:
            raise InvalidValueError(f'"{text}": a repository of the Hub is named org/name or org/name@revision')
        try:
            return fetch_release(address, discriminator=discriminator)
        except UnreachableError as error:
            raise UnreachableError(f"{error} (there is no folder {text} here)") from error
    raise NotFoundError(
        f'no entry "{text}".{suggest(text, registry.entries)} `zoo list` shows all {len(registry.entries)}; '
        "a repository of the Hub is named org/name."
    )


def is_local_path(text: str) -> bool:
    """Tell whether a name can only mean a place on this disk, there or not, and no repository of the Hub.

    A name such as runs/a means one where the folder runs is there. To load from an owner of that name, give the
    address with https://huggingface.co/ in front.
    """
    if text.startswith(("http://", "https://", "huggingface.co/", "hf.co/")):
        return False
    first = text.partition("@")[0]
    return means_path(text) or first.count("/") > 1 or ("/" in first and Path(first).parent.is_dir())


def find_entry_release(entry: Entry, *, discriminator: bool = True) -> Release:
    """Find an entry's weights: bundled, else cached, else fetched. Raises as `find_release`."""
    if entry.has_weights:
        release = Release.open(entry.bundled).select(discriminator=discriminator)
        release.check(entry.weights.sha256)
        return release
    if not entry.weights.repo:
        raise NoWeightsError(
            f"{entry.name} has no released weights yet; `zoo train {entry.name} --out runs/a` makes some"
        )
    from zoo.io.hub import Address

    address = Address(entry.weights.repo, entry.weights.revision)
    if not address.pinned:
        raise InvalidFileError(f"{entry.recipe}: weights.revision = {address.revision!r} should be a full commit sha")
    return fetch_release(address, sha256=entry.weights.sha256, discriminator=discriminator)


def describe_no_release(folder: Path) -> InvalidFileError | NoWeightsError:
    """Say what a folder without released weights is."""
    if is_run(folder):
        return NoWeightsError(f"{folder}: a run; `zoo release {folder} --out FOLDER` makes released weights of it")
    if folder.suffix == ".toml":
        return NoWeightsError(f"{folder}: a recipe, which has no weights; `zoo train {folder} --out runs/a` trains it")
    if folder.name == "checkpoints" and is_run(folder.parent):
        return NoWeightsError(f"{folder}: name the run, {folder.parent}, or one of the files here")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if any(PurePosixPath(name).suffix in PICKLES for name in names):
        return InvalidFileError(f"{folder}: {_describe_files(names)}")
    return InvalidFileError(f"{folder}: neither released weights (config.json) nor a run (recipe.toml)")


# --- the Hub -----------------------------------------------------------------------------------------------------


def fetch_release(address: Address, *, sha256: Mapping[str, str] | None = None, discriminator: bool = True) -> Release:
    """Get a repository's weights from the cache, or fetch them; only what loading needs is fetched.

    A full commit sha that is cached needs no network. Another revision is looked up, and the log names the commit that
    it means.

    Args:
        sha256: trusted digests of the weight files, checked as soon as they arrive.
        discriminator: if False, the generator alone is needed.

    Raises:
        NotFoundError, InvalidFileError, UnreachableError: as `find_release`. Refused files do not stay in the cache.
    """
    from zoo.io import hub

    pinned = hub.Address(address.repo, hub.resolve_commit(address))
    if not address.pinned:
        logger.warning("%s is at %s now; to have these weights for ever: %s", address, pinned.revision, pinned)
    release = _open_cached(pinned, discriminator=discriminator) or _fetch(pinned, discriminator=discriminator)
    _check_snapshot(pinned, release, sha256 or {})
    return release


def _open_cached(address: Address, *, discriminator: bool) -> Release | None:
    """Open the snapshot of a pinned address in the cache, if everything that loading needs is there."""
    from zoo.io import hub

    config = hub.find_cached(address, "config.json")
    if config is None:
        return None
    try:
        release = Release.open(config.parent).select(discriminator=discriminator)
    except InvalidFileError:  # damaged since it was fetched
        hub.discard(config)
        return None
    return release if all(hub.find_cached(address, name) for name in release.needed_files) else None


def _check_snapshot(address: Address, release: Release, sha256: Mapping[str, str]) -> None:
    """Check a snapshot of the cache against all that is known of it. What fails is removed, to be fetched again."""
    from zoo.io import hub

    folder = release.folder
    files = {name: folder / name for name in release.opened_files if (folder / name).is_file()}
    try:
        for name in files.keys() - read_sums(folder).keys():
            if not hub.agrees_with_its_name(files[name]):
                raise InvalidFileError(f"{files[name]}: other bytes than the Hub stated")
        release.check(sha256)
    except InvalidFileError as error:
        for name, path in files.items():
            if name == SUMS or name in sha256 or not hub.agrees_with_its_name(path):
                hub.discard(path)
        raise InvalidFileError(
            f"{error} (of {address}). It was removed from the cache; load again to fetch it again."
        ) from error


def _fetch(address: Address, *, discriminator: bool) -> Release:
    """Fetch what loading needs. Whatever can be refused is refused before it is fetched."""
    from zoo.io import hub

    listed = hub.list_files(address)
    if "config.json" not in listed or not any(name.endswith(".safetensors") for name in listed):
        raise InvalidFileError(f"{address}: {_describe_files(listed)}")
    for name in TEXTS:
        if name in listed:
            _check_file_size(address, name, listed[name].size, MAX_TEXT_BYTES)
            path = hub.fetch(address, name, listed[name])
            if name == "config.json":
                config = path
    try:
        release = Release.open(config.parent).select(discriminator=discriminator)
    except InvalidFileError as error:
        hub.discard(config)
        raise InvalidFileError(f"{address}: {error}") from error
    for name, most in release.needed_files.items():
        if name not in listed:
            raise InvalidFileError(f"{address}: lacks {name}; {_describe_files(listed)}")
        _check_file_size(address, name, listed[name].size, most)
    for name in release.needed_files:
        hub.fetch(address, name, listed[name])
    return release


def _check_file_size(where: object, name: str, size: int, most: int) -> None:
    if size > most:
        raise InvalidFileError(f"{where}: {name} has {size:,} bytes, at most {most:,} make sense here; refused")


def _describe_files(listed: Iterable[str]) -> str:
    """Say why these files are no release."""
    names = sorted(listed)
    pickles = [name for name in names if PurePosixPath(name).suffix in PICKLES]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        return (
            f"offers its weights as pickles only ({', '.join(pickles[:3])}). Opening a pickle can run any program on "
            "this machine, so this library never does. Ask its author for safetensors, written by `zoo release`."
        )
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"is no release of this library: it has {shown or 'no files'}, and no config.json of gan-zoo"


# --- config.json -------------------------------------------------------------------------------------------------


def _read_config(folder: Path) -> tuple[str, type[GAN], Any, list[str] | None]:
    """Read modality, architecture, config and, if it lists them, networks of config.json. Raises InvalidFileError."""
    path = resolve_inside(folder, "config.json")
    if not path.is_file():
        raise InvalidFileError(f"{path}: missing")
    _check_file_size(folder, path.name, path.stat().st_size, MAX_TEXT_BYTES)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise InvalidFileError(
            f'{path}: no config of gan-zoo, which has a "format"; so this is no release of this library'
        )
    if content["format"] != FORMAT:
        raise InvalidFileError(
            f"{path}: format {shorten_repr(content['format'])} is not {FORMAT}, which this gan-zoo reads; is it newer?"
        )
    try:
        modality = str(content.get("modality"))
        cls = load_architecture(modality, str(content.get("architecture")))
        names = content.get("networks")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise InvalidValueError("networks should be a list of names")
        return modality, cls, build(cls.Config, content.get("config", {}), where="config"), names
    except (NotFoundError, InvalidValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: {shorten(str(error), 300)}") from error
