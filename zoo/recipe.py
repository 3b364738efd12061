"""A recipe: everything that trains one entry, as frozen keyword-only dataclasses, from and to TOML.

Progress is counted in kimg, thousands of real samples shown to the discriminator, so that a change of batch size
does not change a recipe. An architecture brings its own `Config` (the table `[model]`), and may extend the tables
`Data` and `Train`.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zoo.errors import BadValue, NotFound, suggest
from zoo.registry import Entry, Weights, registry

if TYPE_CHECKING:
    from zoo.gan import GAN

T = TypeVar("T")

LossName = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"]


OTHER_LIBRARIES = ("transformers:",)
"""How a `train.start` begins that names weights of another library, which an architecture reads by itself."""


def within(low: float = -math.inf, high: float = math.inf, *, above: float | None = None) -> dict[str, Any]:
    """Metadata of a number field: the closed range [low, high], or the open one from `above`."""
    return {"low": low, "high": high, "above": above}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the real samples come from: exactly one of a data set's name, a folder, or a Hub data set id."""

    name: str = ""
    folder: str = ""
    hub: str = ""

    @property
    def augments(self) -> bool:
        """Whether samples are changed at random as they are read."""
        return False

    @property
    def balanced(self) -> bool:
        """Whether each class is shown as often as any other, however rare."""
        return False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.name, self.folder, self.hub))) != 1:
            raise BadValue("data: give exactly one of data.name, data.folder and data.hub")

    @classmethod
    def option(cls, text: str) -> dict[str, str]:
        """The table keys that the command line's `--data TEXT` stands for: `hf:org/set`, a path, or a name."""
        if text.startswith("hf:"):
            return {"hub": text.removeprefix("hf:")}
        looks_like_path = "/" in text or text.startswith((".", "~")) or Path(text).exists()
        return {"folder": str(Path(text).expanduser().absolute())} if looks_like_path else {"name": text}

    @classmethod
    def instead(cls, table: Mapping[str, Any], text: str) -> dict[str, Any]:
        """The table with what `--data TEXT` stands for as its source; how the samples are read stays."""
        return {**table, **dict.fromkeys(_SOURCES, ""), **cls.option(text)}


_SOURCES = ("name", "folder", "hub")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """One player's optimiser."""

    kind: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """`adamw` shortens weights by a hundredth of the rate at each step, and reads no `weight_decay`."""
    lr: float = field(default=2e-4, metadata=within(above=0))
    betas: tuple[float, float] = field(default=(0.5, 0.999), metadata=within(0, 0.999999))
    momentum: float = field(default=0.0, metadata=within(0, 0.999999))
    weight_decay: float = field(default=0.0, metadata=within(0, 1))


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the game is played. `gamma` and `weight` of a penalty are 0 where it is not used."""

    batch: int = field(default=64, metadata=within(2, 65536))
    total_kimg: float = field(default=400.0, metadata=within(above=0))
    seed: int = field(default=0, metadata=within(0, 2**63 - 1))
    start: str = ""
    """Weights that the players start from, by what `zoo.load` takes, or for text-gail `transformers:` and a Hub id or
    folder; empty: random ones, as the paper draws them."""
    loss: LossName = "non_saturating"
    generator: Optimiser = Optimiser()
    discriminator: Optimiser = Optimiser()
    generator_every: int = field(default=1, metadata=within(1))
    """Discriminator steps to one generator step (5 in WGAN-GP)."""
    lr_decay_share: float = field(default=0.0, metadata=within(0, 1))
    """Over the last share of the training both learning rates fall linearly to zero; 0: they stay."""
    r1_gamma: float = field(default=0.0, metadata=within(0))
    r1_every: int = field(default=16, metadata=within(1))
    gradient_penalty: float = field(default=0.0, metadata=within(0))
    """Weight of the WGAN-GP penalty on lines between real and fake samples."""
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """DiffAugment policies."""
    ema_halflife_kimg: float = field(default=5.0, metadata=within(0))
    ema_rampup: float = field(default=0.05, metadata=within(0, 1))
    """The half-life is at most this share of the progress so far, so that early samples are not those of step 0."""
    log_kimg: float = field(default=1.0, metadata=within(above=0))
    samples_kimg: float = field(default=10.0, metadata=within(above=0))
    checkpoint_kimg: float = field(default=10.0, metadata=within(above=0))
    keep_checkpoints: int = field(default=2, metadata=within(1))
    evaluate_kimg: float = field(default=0.0, metadata=within(0))
    """Between two scorings against held-out data while the training runs; 0: none."""
    keep: Literal["last", "best"] = "last"
    """The state that is loaded, evaluated and released: the newest, or that of the best first held-out figure."""

    @property
    def runs_from_kimg(self) -> float:
        """From where on something hangs on `total_kimg`: the learning rates that fall; infinite where nothing does."""
        return self.total_kimg * (1 - self.lr_decay_share) if self.lr_decay_share else math.inf


def refuse_unplayed(train: Train, who: str, *settings: str, losses: Sequence[str] = ()) -> None:
    """Raise BadValue where one of these settings is not at its default, or the loss is one of `losses`.

    For architectures whose game has no place for them: what is asked for and not done should be said.
    """
    if train.loss in losses:
        raise BadValue(f'train.loss = "{train.loss}": the game of {who} is not played with it')
    for setting in dataclasses.fields(train):
        if setting.name in settings and getattr(train, setting.name) != setting.default:
            raise BadValue(f"train.{setting.name}: the game of {who} has no place for it")


MIN_SAMPLES = 6  # of an evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """How a trained entry is judged: samples against the test split, beside real against real."""

    samples: int = field(default=5000, metadata=within(MIN_SAMPLES))
    seed: int = field(default=0, metadata=within(0, 2**63 - 1))
    features: str = ""
    """`zoo:NAME` for an evaluator that this library carries, or what else the modality knows; empty: the modality's
    own, where its figures are of features."""
    control: str = ""
    """The entry whose quality-diversity curve stands beside this one's, for texts. Empty: no curve is drawn."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One entry whole: what it is, how it is trained and judged. Made by `load_recipe`, which checks every field."""

    name: str
    modality: str
    architecture: str
    summary: str
    paper: str
    licence: str
    model: Any  # the architecture's Config
    data: Data  # or the architecture's extension of it
    train: Train  # or the architecture's extension of it
    evaluate: Evaluate
    weights: Weights

    def __post_init__(self) -> None:
        if self.train.keep == "best" and not self.train.evaluate_kimg:
            raise BadValue('train.keep = "best": nothing is scored; say how often with train.evaluate_kimg')

    @property
    def gan(self) -> type[GAN]:
        return architecture_class(self.architecture)

    def to_toml(self) -> str:
        """The resolved recipe, every default written out; `load_recipe` reads it back to an equal recipe."""
        import tomlkit  # only writing needs it

        return tomlkit.dumps(self.to_table())

    def to_table(self) -> dict[str, Any]:
        """The recipe as plain nested dictionaries; `name` is left out, as the file's name says it."""
        table = _plain(self)
        del table["name"]
        table["data"] = {key: value for key, value in table["data"].items() if value != "" or key not in _SOURCES}
        return table


@cache
def architecture_class(path: str) -> type[GAN]:
    """Import the architecture at `module:Class`. Only what installed recipes name is ever imported."""
    if path not in registry.architectures:
        known = registry.architectures
        raise NotFound(f'no architecture "{path}"; there are {", ".join(sorted(known))}.{suggest(path, known)}')
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def load_recipe(source: str | Path | Entry, overrides: Iterable[str] = (), *, data: str = "") -> Recipe:
    """The checked recipe of an entry or a recipe file.

    Args:
        source: an entry, its name, or the path of a recipe file.
        overrides: `key=value` with the key's full path and a TOML value, e.g. `train.generator.lr=1e-4`.
        data: what `--data` takes: the name of a data set, a folder, or `hf:org/set`.

    Raises:
        NotFound: an unknown entry or key, with the nearest ones.
        BadValue: a value of the wrong type or out of range.
        BadFile: not a recipe.
    """
    entry = source if isinstance(source, Entry) else registry.entry(str(source))
    table = tomllib.loads(entry.recipe.read_text(encoding="utf-8"))
    recipe = parse_recipe(table, name=entry.name, where=str(entry.recipe))
    if not overrides and not data:
        return recipe
    table = recipe.to_table()
    for override in overrides:
        apply_override(table, override)
    if data:
        table["data"] = Data.instead(table["data"], data)
    return parse_recipe(table, name=entry.name, where="override")


def parse_recipe(table: Mapping[str, Any], *, name: str, where: str = "recipe") -> Recipe:
    """A recipe from the plain table of a TOML file. Raises as `load_recipe`; each message opens with `where`."""
    if "name" in table:
        raise NotFound(f'{where}: no recipe key "name"; the name of the file is the name of the recipe')
    gan = architecture_class(str(table.get("architecture", "")))
    types_of = {"model": gan.Config, "data": gan.Data, "train": gan.Train}
    return _build(Recipe, {"name": name, **_SECTIONS, **table}, where, prefix="", types_of=types_of)


_SECTIONS: dict[str, Any] = {
    "summary": "", "paper": "", "licence": "", "model": {}, "train": {}, "evaluate": {}, "weights": {},
}  # fmt: skip


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set `a.b.c=value` in a nested table whose keys are all present. Raises NotFound, BadValue."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals:
        raise BadValue(f'override "{override}": write key=value, e.g. train.batch=16')
    *path, last = key.split(".")
    inner: Any = table
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or (last not in inner and key not in _OPTIONAL_KEYS):
        keys = [*_leaves(table), *_OPTIONAL_KEYS]
        same_leaf = [known for known in keys if known.rpartition(".")[2] == last]
        hint = f" Did you mean {' or '.join(same_leaf)}?" if same_leaf else suggest(key, keys)
        raise NotFound(f'override "{override}": no recipe key "{key}".{hint}')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word: loss=hinge
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list ...
        raise BadValue(f'override "{override[:60]}…": its value cannot be read as TOML') from None
    if isinstance(inner.get(last), dict):
        raise BadValue(f'override "{override}": {key} is a table; set one of {", ".join(_leaves(inner[last], key))}')
    inner[last] = value


_OPTIONAL_KEYS = ("data.name", "data.folder", "data.hub")


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The dotted keys in which two recipe tables differ, each as `key: old -> new`."""
    before, after = _leaves(old), _leaves(new)
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _leaves(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        dotted = f"{prefix}.{key}" if prefix else key
        leaves.update(_leaves(value, dotted) if isinstance(value, dict) else {dotted: value})
    return leaves


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def build(cls: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """The dataclass `cls` from a plain table, every field checked. Raises NotFound (unknown key) and BadValue."""
    return _build(cls, table, where, prefix="")


def _build(cls: type[T], table: Any, where: str, *, prefix: str, types_of: Mapping[str, type] | None = None) -> T:
    if not isinstance(table, Mapping):
        raise BadValue(f"{where}: {prefix or 'this'} should be a table, not {table!r}")
    hints = {**get_type_hints(cls), **(types_of or {})}
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if key not in fields:
            raise NotFound(f'{where}: no recipe key "{dotted}"; there are {", ".join(fields)}.{suggest(key, fields)}')
        values[key] = _convert(value, hints[key], fields[key].metadata, where, dotted)
    missing = [
        name
        for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise BadValue(f"{where}: {prefix or 'the recipe'} lacks {', '.join(missing)}")
    try:
        return cls(**values)
    except BadValue as error:
        raise BadValue(f"{where}: {error}") from None


def _convert(value: Any, hint: Any, metadata: Mapping[str, Any], where: str, key: str) -> Any:
    """`value` as the annotated type `hint`: exact types, but an integer may stand for a float."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where, prefix=key)  # type: ignore[arg-type]
    if origin is Literal:
        if not any(value == known and type(value) is type(known) for known in args):  # True is no 1
            known = ", ".join(map(str, args))
            raise BadValue(f"{where}: {key} = {value!r} should be one of {known}.{suggest(str(value), map(str, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or (args[-1] is not Ellipsis and len(value) != len(args)):
            count = "a list" if args[-1] is Ellipsis else f"a list of {len(args)}"
            raise BadValue(f"{where}: {key} = {value!r} should be {count}")
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_convert(v, t, metadata, where, key) for v, t in zip(value, inner, strict=True))
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise BadValue(f"{where}: {key} = {value!r} should be a table of strings")
        return dict(value)
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else math.inf
    if hint is not Any and type(value) is not hint:
        raise BadValue(f"{where}: {key} = {value!r} should be a {_TYPE_NAMES[hint]}, not a {type(value).__name__}")
    if hint in (int, float):
        _check_range(value, metadata, where, key)
    return value


_TYPE_NAMES = {int: "whole number", float: "number", str: "string", bool: "boolean (true or false)"}


def _check_range(value: float, metadata: Mapping[str, Any], where: str, key: str) -> None:
    low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
    above = metadata.get("above")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue(f"{where}: {key} = {value} should be finite")
    if above is not None and value <= above:
        raise BadValue(f"{where}: {key} = {value} should be above {above}")
    if not low <= value <= high:
        bound = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise BadValue(f"{where}: {key} = {value} should be {bound}")
