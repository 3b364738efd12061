"""The registry: modality -> architecture -> recipes -> weights. Standard library only, so `zoo list` answers at once.

Nothing is registered in code. One file `recipes/<modality>/<architecture>[-<variant>].toml` is one entry, and one file
`zoo/<modality>/architectures/<architecture>.py` is one architecture. Other packages add theirs by two entry-point
groups:

    [project.entry-points."zoo.recipes"]
    my-zoo = "my_package.recipes"              # a folder laid out like this library's

    [project.entry-points."zoo.architectures"]
    "faces.sngan" = "my_package.sngan"         # the module that defines the architecture "sngan" of faces
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.errors import InvalidFileError, NotFoundError, shorten, shorten_repr, suggest

MODALITIES = ("faces", "text", "music", "video")

PACKAGE = Path(__file__).parent
_STEM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ARCHITECTURE = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Released weights: a Hub repository at a full commit sha, and the sha256 of each of its weight files."""

    repo: str = ""
    """The Hub repository of released weights."""
    revision: str = ""
    """Its full commit sha."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Digest of each weight file; `zoo release` writes them."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name of the registry: an architecture, the recipe that trains it, and its released weights."""

    name: str
    modality: str
    architecture: str
    """The short name of the architecture, e.g. "dcgan"."""
    recipe: Path
    summary: str = ""
    paper: str = ""
    license: str = ""
    weights: Weights = field(default_factory=Weights)

    @property
    def bundled(self) -> Path:
        """The folder inside this package that holds the entry's weights. It may not exist."""
        return PACKAGE / "weights" / self.name

    @property
    def has_weights(self) -> bool:
        """Whether this package contains released weights of the entry."""
        return (self.bundled / "config.json").is_file()

    @property
    def is_released(self) -> bool:
        """Whether there are weights of the entry, in this package or on the Hub."""
        return self.has_weights or bool(self.weights.repo)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A generator with its discriminator(s), and the entries that use it."""

    name: str
    modality: str
    entries: Mapping[str, Entry]

    @property
    def recipes(self) -> dict[str, Path]:
        return {name: entry.recipe for name, entry in self.entries.items()}

    @property
    def weights(self) -> dict[str, Weights]:
        return {name: entry.weights for name, entry in self.entries.items()}


def recipes_dir() -> Path:
    """Return this library's recipe folder: inside the package in a wheel, beside it in a checkout."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def architecture_modules() -> dict[tuple[str, str], str]:
    """Map (modality, architecture) to the module that defines it, without importing any of them.

    Raises InvalidFileError for an entry point whose name is not `<modality>.<architecture>`, or that is taken.
    """
    found: dict[tuple[str, str], str] = {}
    for modality in MODALITIES:
        for path in sorted((PACKAGE / modality / "architectures").glob("*.py")):
            if path.stem != "__init__":
                found[modality, path.stem] = f"zoo.{modality}.architectures.{path.stem}"
    for plugin in entry_points(group="zoo.architectures"):
        modality, _, name = plugin.name.partition(".")
        where = f'entry point zoo.architectures: {plugin.name} = "{plugin.value}"'
        if modality not in MODALITIES or not _ARCHITECTURE.fullmatch(name):
            raise InvalidFileError(f'{where}: the name should read "<modality>.<architecture>", e.g. "faces.sngan"')
        if (modality, name) in found:
            raise InvalidFileError(f"{where}: {found[modality, name]} defines this architecture already")
        found[modality, name] = plugin.value
    return found


def read_entry(path: Path, *, root: Path | None = None) -> Entry:
    """Read the entry that the recipe file at `path` describes.

    Args:
        root: the recipe folder that the file belongs to. If given, the file's place and name must fit its content.

    Raises InvalidFileError where the file is not a recipe.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read this recipe: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a TOML file: {shorten(str(error))}") from None
    modality, architecture = table.get("modality"), table.get("architecture")
    if modality not in MODALITIES:
        raise InvalidFileError(f"{path}: modality = {shorten_repr(modality)} should be one of {', '.join(MODALITIES)}")
    if not isinstance(architecture, str) or not _ARCHITECTURE.fullmatch(architecture):
        raise InvalidFileError(
            f'{path}: architecture = {shorten_repr(architecture)} should be a short name such as "dcgan"'
        )
    if root is not None:
        if path.parent != root / modality:
            raise InvalidFileError(f'{path}: a recipe with modality = "{modality}" belongs into {root / modality}')
        if not _STEM.fullmatch(path.stem) or path.stem.partition("-")[0] != architecture:
            raise InvalidFileError(
                f"{path}: name the file {architecture}.toml or {architecture}-<variant>.toml, in lower case"
            )
    weights = table.get("weights", {})
    if not isinstance(weights, dict) or not isinstance(weights.get("sha256", {}), dict):
        raise InvalidFileError(f"{path}: weights = {shorten_repr(weights)} should be a table, and its sha256 one, too")
    return Entry(
        name=f"{modality}-{path.stem}",
        modality=modality,
        architecture=architecture,
        recipe=path,
        summary=str(table.get("summary", "")),
        paper=str(table.get("paper", "")),
        license=str(table.get("license", "")),
        weights=Weights(
            repo=str(weights.get("repo", "")),
            revision=str(weights.get("revision", "")),
            sha256=dict(weights.get("sha256", {})),
        ),
    )


class Registry(Mapping[str, Mapping[str, Architecture]]):
    """`registry["faces"]["dcgan"]`: what the recipe folders say, read at first use.

    Args:
        folders: recipe folders to read instead of this library's and the plug-ins'.
    """

    def __init__(self, folders: list[Path] | None = None) -> None:
        self._folders = folders

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """All entries by name, sorted. Raises InvalidFileError on a broken recipe or a name that two folders claim."""
        found: dict[str, Entry] = {}
        for folder in self._folders if self._folders is not None else [recipes_dir(), *_plugin_folders()]:
            for path in sorted(folder.rglob("*.toml")):
                entry = read_entry(path, root=folder)
                if entry.name in found:
                    raise InvalidFileError(
                        f"{path}: the entry {entry.name} exists already, from {found[entry.name].recipe}"
                    )
                found[entry.name] = entry
        return dict(sorted(found.items()))

    @cached_property
    def _architectures(self) -> dict[str, dict[str, Architecture]]:
        found: dict[str, dict[str, Architecture]] = {}
        for entry in self.entries.values():
            known = found.setdefault(entry.modality, {})
            others = known[entry.architecture].entries if entry.architecture in known else {}
            known[entry.architecture] = Architecture(
                name=entry.architecture, modality=entry.modality, entries={**others, entry.name: entry}
            )
        return found

    def __getitem__(self, modality: str) -> Mapping[str, Architecture]:
        if modality not in self._architectures:
            known = ", ".join(self._architectures)
            raise NotFoundError(f'no modality "{modality}"; there are {known}.{suggest(modality, self._architectures)}')
        return self._architectures[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self._architectures)

    def __len__(self) -> int:
        return len(self._architectures)

    def names(self, pattern: str = "", *, pretrained: bool | None = None) -> list[str]:
        """List the names of entries that fit a pattern. Arguments as in `list_models`."""
        return [
            name
            for name, entry in self.entries.items()
            if fits(pattern, name, entry.modality) and pretrained in (None, entry.is_released)
        ]

    def entry(self, name: str) -> Entry:
        """Return the entry called `name`, or the one that the recipe file at the path `name` describes.

        A recipe file of your own with the file name of an installed recipe, such as a copy of it, is the entry
        `<name>-own`. It does not get the weights of the installed entry, and is not released in its place.

        Raises NotFoundError with the nearest names.
        """
        if name in self.entries:
            return self.entries[name]
        if name.endswith(".toml"):
            entry = read_entry(Path(name).expanduser())
            check_architecture(entry.modality, entry.architecture, where=name)
            theirs = self.entries.get(entry.name)
            if theirs is not None and not entry.recipe.samefile(theirs.recipe):
                entry = replace(entry, name=f"{entry.name}-own")
            return entry
        raise NotFoundError(
            f'no entry "{name}".{suggest(name, self.entries)} `zoo list` shows all {len(self.entries)}; '
            "a recipe of your own is named by its path, ending in .toml."
        )


def fits(pattern: str, name: str, *modalities: str) -> bool:
    """Tell whether a pattern is one of the modalities, a part of the name, or a shell pattern of it, in any case."""
    pattern = pattern.casefold()
    if pattern in MODALITIES:
        return pattern in modalities
    return fnmatchcase(name.casefold(), pattern if set(pattern) & set("*?[") else f"*{pattern}*")


def check_architecture(modality: str, name: str, *, where: str = "") -> str:
    """Return the module of an architecture. Raises NotFoundError with the nearest where none is installed."""
    modules = architecture_modules()
    if (modality, name) not in modules:
        known = [other for place, other in modules if place == modality]
        prefix = f"{where}: " if where else ""
        raise NotFoundError(
            f'{prefix}no architecture "{shorten(name)}" of {shorten(modality)}; there are {", ".join(known) or "none"}.'
            f"{suggest(name, known)}"
        )
    return modules[modality, name]


def _plugin_folders() -> Iterator[Path]:
    """Yield recipe folders of other packages, found without importing the packages."""
    for plugin in entry_points(group="zoo.recipes"):
        package, *inner = plugin.value.split(".")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InvalidFileError(
                f'entry point zoo.recipes: {plugin.name} = "{plugin.value}" names no installed package'
            )
        yield Path(spec.submodule_search_locations[0]).joinpath(*inner)


registry = Registry()


def list_models(pattern: str = "", *, pretrained: bool | None = None) -> list[str]:
    """List the names of all entries, or of those that fit a pattern, sorted; `zoo list` takes the same.

    Args:
        pattern: a modality ("faces"), a part of the name ("gan"), or a shell pattern ("*-mle*"), in any case.
        pretrained: only entries with weights (True), or only those without (False).
    """
    return registry.names(pattern, pretrained=pretrained)


def info(name: str) -> Entry:
    """Return the registry's entry for a name or a recipe's path. Raises NotFoundError with the nearest names."""
    return registry.entry(name)
