"""The registry: modality -> architecture -> recipes -> weights. Standard library only, so `zoo list` answers at once.

Nothing is registered in code: one file `recipes/<modality>/<architecture>[-<variant>].toml` is one entry, and the
registry is what the recipe folders say. The folders are the one of this library and those of installed packages
that name theirs in the entry-point group `zoo.recipes` (`my-zoo = "my_package.recipes"`).
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

from zoo.errors import BadFile, NotFound, suggest

MODALITIES = ("faces", "text", "music", "video")

_PACKAGE = Path(__file__).parent
_STEM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Released weights: a Hub repository at a full commit sha, and the sha256 of each of its weight files."""

    repo: str = ""
    revision: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name of the registry: an architecture, the recipe that trains it, and its released weights."""

    name: str
    modality: str
    architecture: str  # "zoo.faces.dcgan:DCGAN", imported when a model is built
    recipe: Path
    summary: str = ""
    paper: str = ""
    licence: str = ""
    weights: Weights = field(default_factory=Weights)

    @property
    def bundled(self) -> Path:
        """The folder that holds the entry's weights inside this package (it may not exist)."""
        return _PACKAGE / "weights" / self.name

    @property
    def has_weights(self) -> bool:
        """Whether released weights lie in this package."""
        return (self.bundled / "config.json").is_file()


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A generator and its discriminator(s), and the entries that use it."""

    name: str
    modality: str
    path: str
    entries: Mapping[str, Entry]

    @property
    def recipes(self) -> dict[str, Path]:
        return {name: entry.recipe for name, entry in self.entries.items()}

    @property
    def weights(self) -> dict[str, Weights]:
        return {name: entry.weights for name, entry in self.entries.items()}


def recipes_dir() -> Path:
    """This library's recipes: inside the package in a wheel, beside it in a checkout or an editable install."""
    inside = _PACKAGE / "recipes"
    return inside if inside.is_dir() else _PACKAGE.parent / "recipes"


def read_entry(path: Path, *, root: Path | None = None) -> Entry:
    """The entry that the recipe file at `path` describes; under a recipe folder `root`, its place must fit its content.

    Raises BadFile where the file is not a recipe.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: cannot read this recipe: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not a TOML file: {error}") from None
    modality, architecture = table.get("modality"), table.get("architecture")
    if modality not in MODALITIES:
        raise BadFile(f"{path}: modality = {modality!r} should be one of {', '.join(MODALITIES)}")
    if not isinstance(architecture, str) or not re.fullmatch(r"[\w.]+:\w+", architecture):
        raise BadFile(f'{path}: architecture = {architecture!r} should read "module:Class"')
    if root is not None and path.parent != root / modality:
        raise BadFile(f'{path}: a recipe with modality = "{modality}" belongs into {root / modality}')
    if not _STEM.fullmatch(path.stem) and root is not None:
        raise BadFile(f"{path}: name the file <architecture>[-<variant>].toml, in lower case with hyphens")
    weights = table.get("weights", {})
    if not isinstance(weights, dict) or not isinstance(weights.get("sha256", {}), dict):
        raise BadFile(f"{path}: weights = {weights!r} should be a table, and its sha256 one, too")
    return Entry(
        name=f"{modality}-{path.stem}",
        modality=modality,
        architecture=architecture,
        recipe=path,
        summary=str(table.get("summary", "")),
        paper=str(table.get("paper", "")),
        licence=str(table.get("licence", "")),
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
        """All entries by name, sorted. Raises BadFile on a broken recipe or a name that two folders claim."""
        found: dict[str, Entry] = {}
        for folder in self._folders if self._folders is not None else [recipes_dir(), *_plugin_folders()]:
            for path in sorted(folder.rglob("*.toml")):
                entry = read_entry(path, root=folder)
                if entry.name in found:
                    raise BadFile(f"{path}: the entry {entry.name} exists already, from {found[entry.name].recipe}")
                found[entry.name] = entry
        return dict(sorted(found.items()))

    @cached_property
    def _wings(self) -> dict[str, dict[str, Architecture]]:
        wings: dict[str, dict[str, Architecture]] = {}
        for entry in self.entries.values():
            short = entry.recipe.stem.partition("-")[0]
            wing = wings.setdefault(entry.modality, {})
            others = wing[short].entries if short in wing else {}
            if any(other.architecture != entry.architecture for other in others.values()):
                raise BadFile(f"{entry.recipe}: variants of {entry.modality}-{short} must share one architecture")
            wing[short] = Architecture(
                name=short, modality=entry.modality, path=entry.architecture, entries={**others, entry.name: entry}
            )
        return wings

    def __getitem__(self, modality: str) -> Mapping[str, Architecture]:
        if modality not in self._wings:
            known = ", ".join(self._wings)
            raise NotFound(f'no modality "{modality}"; there are {known}.{suggest(modality, self._wings)}')
        return self._wings[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self._wings)

    def __len__(self) -> int:
        return len(self._wings)

    @property
    def architectures(self) -> frozenset[str]:
        """The `module:Class` paths that a recipe or a config.json may name: those of installed recipes, no others."""
        return frozenset(entry.architecture for entry in self.entries.values())

    def names(self, modality: str | None = None, *, match: str = "*") -> list[str]:
        """Names of entries, of one modality if given, that fit the shell pattern `match`."""
        if modality is not None and modality not in MODALITIES:
            known = ", ".join(MODALITIES)
            raise NotFound(f'no modality "{modality}"; there are {known}.{suggest(modality, MODALITIES)}')
        return [
            name
            for name, entry in self.entries.items()
            if modality in (None, entry.modality) and fnmatchcase(name, match)
        ]

    def entry(self, name: str) -> Entry:
        """The entry called `name`, or the one that the recipe file at the path `name` describes.

        A file of one's own that is called as an installed recipe is, such as a copy, is the entry `<name>-own`: it has
        none of the other's weights, and is not released in its place.

        Raises NotFound with the nearest names.
        """
        if name in self.entries:
            return self.entries[name]
        if name.endswith(".toml"):
            entry = read_entry(Path(name).expanduser())
            if entry.architecture not in self.architectures:
                raise NotFound(
                    f'{name}: no installed recipe uses the architecture "{entry.architecture}"; there are '
                    f"{', '.join(sorted(self.architectures))}.{suggest(entry.architecture, self.architectures)}"
                )
            theirs = self.entries.get(entry.name)
            if theirs is not None and not entry.recipe.samefile(theirs.recipe):
                entry = replace(entry, name=f"{entry.name}-own")
            return entry
        raise NotFound(
            f'no entry "{name}".{suggest(name, self.entries)} `zoo list` shows all {len(self.entries)}; '
            "a recipe of your own is named by its path, ending in .toml."
        )


def _plugin_folders() -> Iterator[Path]:
    """Recipe folders of other packages, found without importing the packages."""
    for plugin in entry_points(group="zoo.recipes"):
        package, *inner = plugin.value.split(".")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise BadFile(f'entry point zoo.recipes: {plugin.name} = "{plugin.value}" names no installed package')
        yield Path(spec.submodule_search_locations[0]).joinpath(*inner)


registry = Registry()
