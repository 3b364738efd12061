"""A recipe: everything that trains one entry, as frozen keyword-only dataclasses, from and to TOML.

Progress is counted in kimg, thousands of real samples shown to the discriminator. So a change of the batch size does
not change a recipe. An architecture brings its own `Config` (the table `[model]`), and may extend `DataConfig` and
`TrainConfig` (the tables `[data]` and `[train]`).
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, shorten, shorten_repr, suggest
from zoo.paths import means_path
from zoo.registry import Entry, Weights, check_architecture, registry

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.gan import GAN

T = TypeVar("T")
Number = TypeVar("Number", float, "Tensor")

Placement = Literal["auto", "device", "memory"]

AugmentName = Literal["color", "translation", "cutout", "ada"]

_SIGNED_LOSSES = ("minimax", "non_saturating", "hinge")  # logits above 0 are those of samples believed to be real

LossName = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"]


OTHER_LIBRARIES = ("transformers:",)
"""Prefixes of a `train.start` that names weights of another library. The architecture reads those by itself."""


MAX_ITEMS = 64
"""The most values of a list or table whose field says no other number. Each may be a layer, and a layer takes time."""


def within(
    low: float = -math.inf, high: float = math.inf, *, above: float | None = None, items: int = MAX_ITEMS
) -> dict[str, Any]:
    """Return the metadata of a number field: the closed range [low, high], or the open one from `above`.

    Of a list, each number is in the range, and there are at most `items`. The same holds for lists in lists.
    """
    return {"low": low, "high": high, "above": above, "items": items}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the real samples come from: exactly one of `name`, `folder` and `hub`."""

    name: str = ""
    """A data set that this library builds (`zoo data list`)."""
    folder: str = ""
    """A folder of your own files."""
    hub: str = ""
    """A data set of the Hugging Face Hub, `org/set`."""
    placement: Placement = "auto"
    """Where the training split lies on a GPU: in its memory (`device`), or on the host, which sends each batch
    (`memory`). `auto`: on the device if a quarter of its free memory is enough. No number depends on it."""

    @property
    def augments(self) -> bool:
        """Whether samples are changed at random when they are read."""
        return False

    @property
    def decodes_on_device(self) -> bool:
        """Whether the device of the training decodes files, where the store holds such."""
        return False

    @property
    def balanced(self) -> bool:
        """Whether each class is shown as often as any other, however rare it is."""
        return False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.name, self.folder, self.hub))) != 1:
            raise InvalidValueError("data: give exactly one of data.name, data.folder and data.hub")

    @classmethod
    def option(cls, text: str) -> dict[str, str]:
        """Translate `--data TEXT` (`hf:org/set`, a path, or a name) into keys of the table `[data]`."""
        if text.startswith("hf:"):
            return {"hub": text.removeprefix("hf:")}
        looks_like_path = "/" in text or means_path(text) or Path(text).exists()
        return {"folder": str(Path(text).expanduser().absolute())} if looks_like_path else {"name": text}

    @classmethod
    def replace_source(cls, table: Mapping[str, Any], text: str) -> dict[str, Any]:
        """Return the table `[data]` with the source that `--data TEXT` names; how samples are read stays."""
        return {**table, **dict.fromkeys(_SOURCES, ""), **cls.option(text)}


_SOURCES = ("name", "folder", "hub")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer of one network."""

    kind: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    """`adamw` shrinks weights by a hundredth of the learning rate at each step, and takes no `weight_decay`."""
    lr: float = field(default=2e-4, metadata=within(above=0))
    """The learning rate."""
    betas: tuple[float, float] = field(default=(0.5, 0.999), metadata=within(0, 0.999999))
    """Of Adam; the others do not read them."""
    momentum: float = field(default=0.0, metadata=within(0, 0.999999))
    """Of `sgd` and `rmsprop`; Adam does not read it."""
    weight_decay: float = field(default=0.0, metadata=within(0, 1))
    """L2 penalty: half of this times the squared weights is added to the loss."""

    def __post_init__(self) -> None:
        if self.kind == "adamw" and self.weight_decay:
            raise InvalidValueError(
                f"weight_decay = {self.weight_decay}: adamw takes none, and shrinks weights by a hundredth of the "
                "learning rate at each step; leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Settings that move along half a cosine, from what the recipe states to a value at the end.

    Huang et al. 2024, arXiv:2501.05441, appendix.
    """

    kimg: float = field(default=0.0, metadata=within(0))
    """Progress at which scheduled settings reach the end, where they stay. 0: the whole training, `total_kimg`."""
    lr_factor: float = field(default=1.0, metadata=within(0))
    """What both learning rates are multiplied by at the end."""
    beta2: float = field(default=0.0, metadata=within(0, 0.999999))
    """The second of the `betas` of Adam at the end, for both networks. 0: it stays."""
    r1_gamma_factor: float = field(default=1.0, metadata=within(0))
    """What `r1_gamma` is multiplied by at the end."""
    ema_halflife_kimg: float = field(default=0.0, metadata=within(0))
    """The half-life of the moving average at the end. 0: it stays."""
    ada_probability: float = field(default=0.0, metadata=within(0, 1))
    """The probability of ADA at the end, where it does not adapt. 0: it stays."""

    @property
    def changes_nothing(self) -> bool:
        """Whether all settings stay as they are."""
        return replace(self, kimg=0.0) == ScheduleConfig()


@dataclass(frozen=True, kw_only=True)
class ADAConfig:
    """Adaptive discriminator augmentation, `train.augment = "ada"`. Karras et al. 2020, arXiv:2006.06676.

    A group of changes with strength m is applied to a sample with m times the probability. The defaults are what the
    paper calls bgc.
    """

    target: float = field(default=0.6, metadata=within(0, 1))
    """The mean sign of the logits of real samples that the probability aims at. 0: the probability does not adapt."""
    kimg: float = field(default=500.0, metadata=within(above=0))
    """Progress over which the probability can rise from 0 to 1. From trained weights on, 100 is usual."""
    interval: int = field(default=4, metadata=within(1))
    """Steps between two moves of the probability."""
    probability: float = field(default=0.0, metadata=within(0, 1))
    """The probability at the start."""
    blit: float = field(default=1.0, metadata=within(0, 1))
    """Strength of flips, quarter turns, and moves by whole pixels."""
    geometry: float = field(default=1.0, metadata=within(0, 1))
    """Strength of scales, rotations, stretching, and moves."""
    color: float = field(default=1.0, metadata=within(0, 1))
    """Strength of changes of brightness, contrast, hue, saturation, and of turning light into dark."""
    filter: float = field(default=0.0, metadata=within(0, 1))
    """Strength of gains of single octaves."""
    noise: float = field(default=0.0, metadata=within(0, 1))
    """Strength of added noise."""
    cutout: float = field(default=0.0, metadata=within(0, 1))
    """Strength of gray rectangles."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How an entry is trained. The strength of a penalty is 0 where it is not used."""

    batch: int = field(default=64, metadata=within(2, 65536))
    """Real samples a step, over all processes together."""
    total_kimg: float = field(default=400.0, metadata=within(above=0))
    """Length of the training, in thousands of real samples shown to the discriminator."""
    seed: int = field(default=0, metadata=within(0, 2**63 - 1))
    """Of initial weights, latents, the order of the data and augmentation."""
    start: str = ""
    """Weights that the networks start from: what `zoo.load` takes, or for text-gail `transformers:` and a Hub id or
    folder. Empty: random weights, as in the paper."""
    freeze_discriminator: int = field(default=0, metadata=within(0, 64))
    """How many layers of each discriminator, those next to its input, keep the weights of `start` (Mo et al. 2020,
    arXiv:2002.10964)."""
    loss: LossName = "non_saturating"
    """The adversarial loss; see [what came after](game.md#what-came-after)."""
    generator: OptimizerConfig = OptimizerConfig()
    discriminator: OptimizerConfig = OptimizerConfig()
    generator_interval: int = field(default=1, metadata=within(1))
    """Discriminator steps to one generator step (5 in WGAN-GP)."""
    lr_decay_share: float = field(default=0.0, metadata=within(0, 1))
    """Over this last share of the training both learning rates fall linearly to zero. 0: they stay."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Settings that change during the training."""
    r1_gamma: float = field(default=0.0, metadata=within(0))
    """Strength of the R1 penalty, gamma in its paper. 0: none."""
    r1_interval: int = field(default=16, metadata=within(1))
    """Steps between two R1 penalties; each is multiplied by this number."""
    gradient_penalty: float = field(default=0.0, metadata=within(0))
    """Weight of the WGAN-GP penalty on lines between real and fake samples."""
    penalty: Literal["exact", "approximate"] = "exact"
    """How the gradient norms of penalties are computed: by differentiating twice, or from finite differences, which
    leave a quarter of the work."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of matrix products and convolutions. Weights, their average, and what an architecture names stay in float32."""
    tf32: bool = False
    """On GPUs, let float32 products round their inputs to 10 bits. They are several times faster then."""
    compile: bool = False
    """Compile the networks with `torch.compile`. It takes a minute or two at the start."""
    cuda_graphs: bool = False
    """On an NVIDIA GPU, record the losses and gradients of a step, and replay them. This helps small networks."""
    sync_batchnorm: bool = False
    """Under torchrun with GPUs, batch norms see the batch of all processes, and not that of their own."""
    all_reduce: Literal["fp32", "bf16"] = "fp32"
    """Under torchrun, the numbers in which gradients are sent. bf16 halves what the network carries."""
    augment: tuple[AugmentName, ...] = ()
    """What the discriminator sees changed: the policies of DiffAugment, or `ada`."""
    ada: ADAConfig = ADAConfig()
    """Settings of `ada`."""
    ema_halflife_kimg: float = field(default=5.0, metadata=within(0))
    """Half-life of a weight in the moving average of the generator, which is sampled. 0: no average."""
    ema_rampup: float = field(default=0.05, metadata=within(0, 1))
    """The half-life is at most this share of the progress so far. So early samples are not those of step 0."""
    log_kimg: float = field(default=1.0, metadata=within(above=0))
    """Between two lines of the log."""
    samples_kimg: float = field(default=10.0, metadata=within(above=0))
    """Between two pictures of samples."""
    checkpoint_kimg: float = field(default=10.0, metadata=within(above=0))
    """Between two checkpoints."""
    keep_checkpoints: int = field(default=2, metadata=within(1))
    """How many of the newest checkpoints stay on the disk."""
    evaluate_kimg: float = field(default=0.0, metadata=within(0))
    """Between two evaluations on held-out data during the training. 0: none."""
    keep: Literal["last", "best"] = "last"
    """The checkpoint that is loaded, evaluated and released: the newest, or the one with the best first held-out
    metric."""

    @property
    def schedule_start_kimg(self) -> float:
        """When the first schedule starts that depends on `total_kimg`; infinite where there is none.

        Such schedules are the fall of the learning rates, and `schedule` without a length of its own.
        """
        if not self.schedule.kimg and not self.schedule.changes_nothing:
            return 0.0
        return self.total_kimg * (1 - self.lr_decay_share) if self.lr_decay_share else math.inf

    def follow_schedule(self, start: float, end: float, kimg: Number) -> Number:
        """Compute a setting at this progress: from `start` along half a cosine to `end`, where it stays.

        The progress may be a tensor [] of the device that trains. Then nothing waits for it.
        """
        share = kimg / (self.schedule.kimg or self.total_kimg)
        if isinstance(share, float):
            return start + (end - start) * (1 - math.cos(math.pi * min(1.0, share))) / 2
        return start + (end - start) * (1 - (math.pi * share.clamp(max=1.0)).cos()) / 2

    def compute_r1_gamma(self, kimg: Number) -> Number:
        """Compute the strength of the R1 penalty at this progress."""
        return self.follow_schedule(self.r1_gamma, self.r1_gamma * self.schedule.r1_gamma_factor, kimg)


def check_unused(train: TrainConfig, who: str, *settings: str, losses: Sequence[str] = ()) -> None:
    """Refuse settings that the training of an architecture does not use: what would do nothing is an error.

    Args:
        who: the architecture, for the message.
        settings: the settings that must keep their defaults.
        losses: the losses that it cannot be trained with.

    Raises InvalidValueError.
    """
    if train.loss in losses:
        raise InvalidValueError(f'train.loss = "{train.loss}": {who} cannot be trained with this loss')
    for setting in dataclasses.fields(train):
        if setting.name in settings and getattr(train, setting.name) != setting.default:
            raise InvalidValueError(f"train.{setting.name}: the training of {who} does not use it; leave it out")


MIN_SAMPLES = 6  # of an evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a trained entry is evaluated: samples against the test split, beside real against real."""

    samples: int = field(default=5000, metadata=within(MIN_SAMPLES))
    """Samples on each side of a distance."""
    seed: int = field(default=0, metadata=within(0, 2**63 - 1))
    """Of the latents, and of the choice of real samples."""
    features: str = ""
    """`zoo:NAME` for a feature network of this library, or what else the modality knows. Empty: the modality's own,
    where its metrics use features."""
    control: str = ""
    """For texts, the entry whose quality-diversity curve is drawn beside this one's. Empty: no curve is drawn."""


@dataclass(frozen=True, kw_only=True)
class TestConfig:
    """What the contract tests must know of an entry. It is not part of a resolved recipe."""

    __test__ = False  # no test class, whatever pytest makes of the name

    parameters: Mapping[str, int] = field(default_factory=dict)
    """The known number of parameters of each network, from the paper's sizes."""
    zero_gradients: tuple[str, ...] = ()
    """Parameters whose gradient is zero by construction, e.g. a bias that cancels in the loss."""
    zero_initialized: tuple[str, ...] = ()
    """Last parts of the names of parameters that start at zero, and so keep gradients from others at the start."""
    tolerance: float = field(default=2e-5, metadata=within(0))
    """By how much a sample may differ between batch sizes."""
    waits: str = ""
    """Why a training step waits for its device, where it does."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One entry in full: what it is, and how it is trained and evaluated. Made by `load_recipe`, which checks it."""

    name: str
    modality: str
    architecture: str
    summary: str
    paper: str
    license: str
    model: Any  # the architecture's Config
    data: DataConfig  # or the architecture's extension of it
    train: TrainConfig  # or the architecture's extension of it
    evaluate: EvaluateConfig
    weights: Weights
    presets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Overrides by name, for other machines: `zoo train ENTRY --preset gpu`. No part of a resolved recipe."""
    test: TestConfig = field(default=TestConfig(), compare=False)

    def __post_init__(self) -> None:
        train = self.train
        if train.penalty == "approximate" and not (train.r1_gamma or train.gradient_penalty):
            raise InvalidValueError('train.penalty = "approximate": no penalty is on: set train.r1_gamma')
        if getattr(self.data, "classes", False) and not self.architecture_class.USES_LABELS:
            raise InvalidValueError(f"data.classes: {self.architecture} has no classes; leave it out")
        defaults = type(train)()
        optimizers = (train.generator, train.discriminator)
        sets_beta2 = train.schedule.beta2 not in (0, defaults.schedule.beta2)
        if sets_beta2 and not any("adam" in optimizer.kind for optimizer in optimizers):
            raise InvalidValueError("train.schedule.beta2: neither optimizer has betas; leave it out")
        if train.schedule.r1_gamma_factor not in (1, defaults.schedule.r1_gamma_factor) and not train.r1_gamma:
            raise InvalidValueError("train.schedule.r1_gamma_factor: there is no R1 penalty: set train.r1_gamma")
        self._check_ada(defaults)
        if train.freeze_discriminator and not train.start:
            raise InvalidValueError("train.freeze_discriminator: random layers would stay random; set train.start")
        if self.train.keep == "best" and not self.train.evaluate_kimg:
            raise InvalidValueError('train.keep = "best": nothing is scored; say how often with train.evaluate_kimg')

    def _check_ada(self, defaults: TrainConfig) -> None:
        train, ada, end = self.train, self.train.ada, self.train.schedule.ada_probability
        if "ada" not in train.augment:
            if ada != defaults.ada or end not in (0, defaults.schedule.ada_probability):
                raise InvalidValueError('train.ada: there is no ADA: set train.augment = "ada"')
        elif ada.target and end:
            raise InvalidValueError("train.schedule.ada_probability: ADA adapts its own; set train.ada.target = 0")
        elif ada.target and train.loss not in _SIGNED_LOSSES:
            raise InvalidValueError(
                f"train.ada.target: the logits of train.loss = {train.loss} have no sign to follow; set it to 0, and "
                "train.ada.probability"
            )
        elif not ada.target and not ada.probability and not end:
            raise InvalidValueError("train.ada.target = 0: nothing would ever change: set train.ada.probability")

    @property
    def architecture_class(self) -> type[GAN]:
        """The class of the architecture, imported at first use."""
        return load_architecture(self.modality, self.architecture)

    def build(self) -> GAN:
        """Build the networks with new random weights."""
        return self.architecture_class(self.model)

    def to_toml(self) -> str:
        """Write the resolved recipe, with every default; `load_recipe` reads it back to an equal recipe."""
        import tomlkit  # only writing needs it

        return tomlkit.dumps(self.to_table())

    def to_table(self) -> dict[str, Any]:
        """Convert the resolved recipe to plain nested dictionaries.

        They lack the name, which the file has, and what no training depends on: `[presets]` and `[test]`.
        """
        table = _plain(self)
        del table["name"], table["presets"], table["test"]
        table["data"] = {key: value for key, value in table["data"].items() if value != "" or key not in _SOURCES}
        return table


@cache
def load_architecture(modality: str, name: str) -> type[GAN]:
    """Import an architecture and return its class. Only modules of installed architectures are ever imported.

    Raises:
        NotFoundError: no such architecture, with the nearest names.
        InvalidFileError: the module does not define exactly one GAN.
    """
    from zoo.gan import GAN

    module = importlib.import_module(check_architecture(modality, name))
    defined = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, GAN) and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        names = ", ".join(cls.__name__ for cls in defined) or "none"
        raise InvalidFileError(f"{module.__name__}: an architecture's module defines one GAN class; this has {names}")
    return defined[0]


def load_recipe(
    source: str | Path | Entry, overrides: Iterable[str] = (), *, data: str = "", preset: str = ""
) -> Recipe:
    """Load and check the recipe of an entry or a recipe file.

    Args:
        source: an entry, its name, or the path of a recipe file.
        overrides: `key=value` with the key's full path and a TOML value, e.g. `train.generator.lr=1e-4`.
        data: what `--data` takes: the name of a data set, a folder, or `hf:org/set`.
        preset: the name of one of the recipe's presets. `overrides` win over it.

    Raises:
        NotFoundError: an unknown entry, key or preset, with the nearest ones.
        InvalidValueError: a value of the wrong type or out of range.
        InvalidFileError: not a recipe.
    """
    entry = source if isinstance(source, Entry) else registry.entry(str(source))
    table = tomllib.loads(entry.recipe.read_text(encoding="utf-8"))
    recipe = parse_recipe(table, name=entry.name, where=str(entry.recipe))
    if preset and preset not in recipe.presets:
        there = f"its presets are {', '.join(recipe.presets)}" if recipe.presets else "it has no presets"
        raise NotFoundError(f'{entry.name}: no preset "{shorten(preset)}"; {there}.{suggest(preset, recipe.presets)}')
    return override_recipe(recipe, [*recipe.presets.get(preset, ()), *overrides], data=data)


def override_recipe(recipe: Recipe, overrides: Iterable[str] = (), *, data: str = "") -> Recipe:
    """Return a recipe with some values replaced; the same recipe where none are. Arguments as in `load_recipe`."""
    overrides = list(overrides)
    if not overrides and not data:
        return recipe
    table = recipe.to_table()
    for override in overrides:
        apply_override(table, override)
    if data:
        table["data"] = DataConfig.replace_source(table["data"], data)
    changed = parse_recipe(table, name=recipe.name, where="override")
    return dataclasses.replace(changed, presets=recipe.presets, test=recipe.test)


def parse_recipe(table: Mapping[str, Any], *, name: str, where: str = "recipe") -> Recipe:
    """Make a recipe of the plain table of a TOML file. Raises as `load_recipe`; each message starts with `where`."""
    if "name" in table:
        raise NotFoundError(f'{where}: no recipe key "name"; the name of the file is the name of the recipe')
    try:
        gan = load_architecture(str(table.get("modality", "")), str(table.get("architecture", "")))
    except NotFoundError as error:
        raise NotFoundError(f"{where}: {error}") from None
    types_of = {"model": gan.Config, "data": gan.DataConfig, "train": gan.TrainConfig}
    return _build(Recipe, {"name": name, **_SECTIONS, **table}, where, prefix="", types_of=types_of)


_SECTIONS: dict[str, Any] = {
    "summary": "", "paper": "", "license": "", "model": {}, "train": {}, "evaluate": {}, "weights": {},
}  # fmt: skip


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set `a.b.c=value` in a nested table whose keys are all present. Raises NotFoundError, InvalidValueError."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals:
        raise InvalidValueError(f'override "{shorten(override)}": write key=value, e.g. train.batch=16')
    *path, last = key.split(".")
    inner: Any = table
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or (last not in inner and key not in _OPTIONAL_KEYS):
        keys = [*_leaves(table), *_OPTIONAL_KEYS]
        same_leaf = [known for known in keys if known.rpartition(".")[2] == last]
        hint = f" Did you mean {' or '.join(same_leaf)}?" if same_leaf else suggest(key, keys)
        raise NotFoundError(f'override "{shorten(override)}": no recipe key "{shorten(key)}".{hint}')
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word: loss=hinge
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list ...
        raise InvalidValueError(f'override "{shorten(override)}": its value cannot be read as TOML') from None
    if isinstance(inner.get(last), dict):
        raise InvalidValueError(
            f'override "{shorten(override)}": {key} is a table; set one of {", ".join(_leaves(inner[last], key))}'
        )
    inner[last] = value


_OPTIONAL_KEYS = ("data.name", "data.folder", "data.hub")


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the dotted keys in which two recipe tables differ, each as `key: old -> new`."""
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
    """Make the dataclass `cls` of a plain table, every field checked.

    Raises NotFoundError for an unknown key, InvalidValueError for a wrong value.
    """
    return _build(cls, table, where, prefix="")


def replace_values(config: T, values: Mapping[str, Any], *, where: str) -> T:
    """Return a dataclass with some of its values replaced, every one checked. Raises as `build`."""
    return build(type(config), {**_plain(config), **values}, where=where)


def _build(cls: type[T], table: Any, where: str, *, prefix: str, types_of: Mapping[str, type] | None = None) -> T:
    if not isinstance(table, Mapping):
        raise InvalidValueError(f"{where}: {prefix or 'this'} should be a table, not {shorten_repr(table)}")
    hints = {**get_type_hints(cls), **(types_of or {})}
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if key not in fields:
            raise NotFoundError(
                f'{where}: no recipe key "{shorten(dotted)}"; there are {", ".join(fields)}.{suggest(key, fields)}'
            )
        values[key] = _convert(value, hints[key], fields[key].metadata, where, dotted)
    missing = [
        name
        for name, f in fields.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InvalidValueError(f"{where}: {prefix or 'the recipe'} lacks {', '.join(missing)}")
    try:
        return cls(**values)
    except InvalidValueError as error:
        raise InvalidValueError(f"{where}: {error}") from None


def _convert(value: Any, hint: Any, metadata: Mapping[str, Any], where: str, key: str) -> Any:
    """`value` as the annotated type `hint`: exact types, but an integer may stand for a float."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where, prefix=key)  # type: ignore[arg-type]
    if origin is Literal:
        if not any(value == known and type(value) is type(known) for known in args):  # True is no 1
            known = ", ".join(map(str, args))
            raise InvalidValueError(
                f"{where}: {key} = {shorten_repr(value)} should be one of {known}."
                f"{suggest(value if isinstance(value, str) else '', map(str, args))}"
            )
        return value
    if origin is tuple:
        if isinstance(value, str) and get_origin(args[0]) is Literal:
            value = [value]  # one word is a list of one
        if not isinstance(value, list | tuple) or (args[-1] is not Ellipsis and len(value) != len(args)):
            count = "a list" if args[-1] is Ellipsis else f"a list of {len(args)}"
            raise InvalidValueError(f"{where}: {key} = {shorten_repr(value)} should be {count}")
        _check_count(value, metadata, where, key)
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_convert(v, t, metadata, where, key) for v, t in zip(value, inner, strict=True))
    if origin is Mapping:
        if isinstance(value, Mapping) and get_origin(args[1]) is tuple:
            _check_count(value, metadata, where, key)
            return {name: _convert(inner, args[1], metadata, where, f"{key}.{name}") for name, inner in value.items()}
        if not isinstance(value, Mapping) or not all(type(v) is args[1] for v in value.values()):
            inside = "lists" if get_origin(args[1]) is tuple else f"{_TYPE_NAMES[args[1]]}s"
            raise InvalidValueError(f"{where}: {key} = {shorten_repr(value)} should be a table of {inside}")
        _check_count(value, metadata, where, key)
        return dict(value)
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else math.inf
    if hint is not Any and type(value) is not hint:
        raise InvalidValueError(
            f"{where}: {key} = {shorten_repr(value)} should be a {_TYPE_NAMES[hint]}, not a {type(value).__name__}"
        )
    if hint in (int, float):
        _check_range(value, metadata, where, key)
    return value


_TYPE_NAMES = {int: "whole number", float: "number", str: "string", bool: "boolean (true or false)"}


def _check_count(value: Sized, metadata: Mapping[str, Any], where: str, key: str) -> None:
    most = metadata.get("items", MAX_ITEMS)
    if len(value) > most:
        raise InvalidValueError(f"{where}: {key} has {len(value):,} values; it should have at most {most}")


def _check_range(value: float, metadata: Mapping[str, Any], where: str, key: str) -> None:
    low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
    above = metadata.get("above")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValueError(f"{where}: {key} = {shorten_repr(value)} should be finite")
    if above is not None and value <= above:
        raise InvalidValueError(f"{where}: {key} = {shorten_repr(value)} should be above {above}")
    if not low <= value <= high:
        bound = f"at least {low}" if high == math.inf else f"from {low} to {high}"
        raise InvalidValueError(f"{where}: {key} = {shorten_repr(value)} should be {bound}")
