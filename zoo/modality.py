"""The one contract between shared code and a modality: what each `zoo/<modality>/modality.py` provides.

A fifth modality is a folder with a `modality.py` that defines `MODALITY`, and its name in `zoo.registry.MODALITIES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from zoo.errors import InvalidValueError, NotFoundError, suggest
from zoo.registry import MODALITIES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from zoo.data import Store
    from zoo.gan import GAN
    from zoo.metrics.feature_network import FeatureNetwork
    from zoo.metrics.report import Metric
    from zoo.noise import Noise
    from zoo.recipe import DataConfig, EvaluateConfig, Recipe

Progress = Callable[[int, int], None]
"""Called with what is done and the total."""
Log = Callable[[str], None]
"""Called with lines for the user."""


class OpenStore(Protocol):
    def __call__(
        self, data: Any, model: Any, /, *, workers: int = 1, progress: Progress | None = None, log: Log = print
    ) -> Store:
        """Open the store that a recipe's `[data]` names, in the sizes of its `[model]`; built at first use.

        Raises:
            NotFoundError: no data set of that name.
            InvalidFileError: a folder without usable files.
            MissingDependencyError: an extra, or the tool of a package registry, is needed.
        """


class BuildDataset(Protocol):
    def __call__(
        self, name: str, *, size: int | None = None, workers: int = 1, progress: Progress | None = None
    ) -> Store:
        """Build a named data set in the sizes of its own recipe, or pictures of `size` pixels. Raises as OpenStore."""


class Decode(Protocol):
    def __call__(self, rows: np.ndarray | Tensor, /) -> Tensor:
        """Turn stored rows [N, ...] into what the networks see, on the device of the rows."""


class Augment(Protocol):
    def __call__(self, rows: Tensor, noise: Noise, /) -> Tensor:
        """Change stored rows [N, ...] at random, on their device. The draws do not depend on the rows."""


class Evaluate(Protocol):
    def __call__(
        self, gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None
    ) -> list[Metric]:
        """Compute all metrics against the test split of `store`. Raises InvalidValueError for too many samples."""


class HeldOut(Protocol):
    def __call__(self, store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
        """Return a function that evaluates a generator during its training, by metrics that are quick."""


class Curve(Protocol):
    """A curve of quality against diversity, beside that of a control."""

    def to_dict(self) -> dict[str, Any]: ...

    def table(self) -> str: ...

    def save(self, path: Any) -> Any: ...


class CompareCurves(Protocol):
    def __call__(
        self,
        gan: GAN,
        control: GAN,
        store: Store,
        settings: EvaluateConfig,
        *,
        name: str,
        control_name: str,
        progress: Progress | None = None,
    ) -> Curve | None:
        """Compute the curves of a model and its control; None where they cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class KindMetrics:
    """How samples of a kind are evaluated."""

    evaluate: Evaluate
    held_out: HeldOut
    compare_curves: CompareCurves | None = None
    """None where samples of this kind have no curve of quality against diversity."""
    evaluator: type[FeatureNetwork] | None = None
    """The feature network that `zoo evaluator train` trains; None where the metrics use no features."""
    other_features: str = ""
    """Features for data of one's own, which that network has not seen: what `--features` takes, and what for."""


@dataclass(frozen=True, kw_only=True)
class KindSteering:
    """What steering needs to know of samples of a kind."""

    predict_attributes: Callable[[Tensor], dict[str, Tensor]]
    """Predicts a number [N] for each attribute of samples [N, ...]."""
    named: Mapping[str, str]
    """Directions that are learned by name, and the attributes that they move."""
    load_maps: Callable[[str], Callable[[Tensor], list[Tensor]]]
    """Loads a network by name that maps samples [N, ...] to feature maps, with gradients."""
    default_maps: str
    """The network that needs no download."""
    align: Callable[[Any, Tensor], Any]
    """Cuts a photo so that what it shows is where it is in a model's samples [N, ...]."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of samples: how they are stored, read and evaluated."""

    data_config: type[DataConfig]
    """The class of `[data]` that recipes of this kind have."""
    datasets: Mapping[str, Any]
    """The data sets that this library builds, by name; the docstring of each says what it is."""
    open_store: OpenStore
    build_dataset: BuildDataset
    decode: Decode
    augment: Augment | None = None
    """None where samples of this kind are never changed at random."""
    load_metrics: Callable[[], KindMetrics]
    """Imports the metrics, which need more packages than a training does."""
    load_steering: Callable[[], KindSteering] | None = None
    """Imports what steering needs; None where samples of this kind are not steered by their attributes."""
    has_pixels: bool = True
    """Whether a data set can be built at another number of pixels."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """A modality: its kinds of samples, and what a model card says of it."""

    name: str
    kinds: tuple[Kind, ...]
    risks: str
    """A sentence or two for the section "Limits and risks" of a card."""
    pipeline_tag: str | None = None
    """What the Hub calls the task; None where it has no word for it."""
    metric_notes: Mapping[str, str] = field(default_factory=dict)
    """Notes for the metrics table of a card, by the start of the metric's name."""


@cache
def load_modality(name: str) -> Modality:
    """Import a modality. Raises NotFoundError where there is none of that name."""
    if name not in MODALITIES:
        raise NotFoundError(f'no modality "{name}"; there are {", ".join(MODALITIES)}.{suggest(name, MODALITIES)}')
    return importlib.import_module(f"zoo.{name}.modality").MODALITY


def kind_of(recipe: Recipe) -> Kind:
    """Return the kind of samples that a recipe trains on, by the class of its `[data]`."""
    return next(kind for kind in load_modality(recipe.modality).kinds if isinstance(recipe.data, kind.data_config))


def list_datasets() -> dict[str, tuple[Modality, Kind]]:
    """List all data sets that can be built, each with its modality and kind."""
    return {
        name: (modality, kind)
        for modality in map(load_modality, MODALITIES)
        for kind in modality.kinds
        for name in kind.datasets
    }


def build_dataset(name: str, *, size: int | None = None, workers: int = 1, progress: Progress | None = None) -> Store:
    """Build a data set of any modality into the cache.

    Raises:
        NotFoundError: no data set of that name.
        InvalidValueError: a `size` in pixels for something without pixels.
    """
    known = list_datasets()
    if name not in known:
        raise NotFoundError(f'no data set "{name}"; there are {", ".join(known)}.{suggest(name, known)}')
    _, kind = known[name]
    if size is not None and not kind.has_pixels:
        raise InvalidValueError(f"{name} has no pixels: it has its own sizes, so leave --size out")
    return kind.build_dataset(name, size=size, workers=workers, progress=progress)
