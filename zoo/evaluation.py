"""Evaluating an entry, a folder of weights or a run, and printing each metric beside its real-against-real value."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.device import choose_device
from zoo.errors import InvalidFileError, InvalidValueError, count
from zoo.gan import GAN, choose_seed
from zoo.io.atomic import replace_atomically
from zoo.io.weights import resolve_inside
from zoo.metrics.report import Metric
from zoo.modality import Curve, KindMetrics, Progress, kind_of
from zoo.recipe import MIN_SAMPLES, DataConfig, EvaluateConfig, Recipe, load_recipe, parse_recipe
from zoo.registry import registry
from zoo.releases.exporting import round_networks
from zoo.releases.loading import Release, find_release, load
from zoo.training.run import find_run, read_resolved_recipe
from zoo.training.session import open_data

if TYPE_CHECKING:
    import torch

    from zoo.data import Store


@dataclass(frozen=True, kw_only=True)
class Report:
    """The metrics of one evaluation, with what is needed to compute them again."""

    command: str
    data: str
    data_license: str
    fingerprint: str
    seed: int
    kimg: float | None
    """Progress of the run that was evaluated; None for released weights."""
    metrics: list[Metric]
    notes: list[str] = field(default_factory=list)
    """What a reader of these metrics must know."""
    curve: Curve | None = None
    """Of quality against diversity, beside a control's."""

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(replace(self, curve=None))
        del plain["curve"]
        return plain if self.curve is None else {**plain, "curve": self.curve.to_dict()}

    def table(self) -> str:
        """Format the metrics as aligned text: samples, real against real, and which way is better."""
        rows = [("metric", "samples", "real vs real", "better", "count", "extractor")]
        rows += [
            (
                m.name,
                f"{m.value:.4g}" + (f" +- {m.spread:.2g}" if m.spread is not None else ""),
                f"{m.real_vs_real:.4g}" if m.real_vs_real is not None else "",
                m.better,
                f"{m.count}",
                m.extractor or "",
            )
            for m in self.metrics
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        about = f"{self.command}    seed {self.seed}, test split of {self.data} ({self.fingerprint[:16]})"
        return "\n".join([*lines, "", about, *self.notes, *([] if self.curve is None else ["", self.curve.table()])])


def evaluate(
    name: str | os.PathLike[str],
    *,
    samples: int | None = None,
    seed: int | None = None,
    features: str | None = None,
    data: str | os.PathLike[str] = "",
    device: str | torch.device = "auto",
    workers: int = 1,
    build_progress: Progress | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compute the metrics of an entry, a weights folder or a run, each beside its real-against-real value.

    A run is measured as `zoo release` would write it, matrices in float16 where no sample shows it. The report is saved
    in its folder as metrics.json, for the card. That of one of its checkpoints, given by its path, is not.

    Args:
        name: what `zoo.load` takes.
        samples: how many to evaluate, instead of the recipe's number.
        seed: instead of the recipe's.
        features: "zoo:NAME", "timm:NAME" for images, "transformers:MODEL" for texts or "i3d:FILE" for clips, instead of
            the recipe's.
        data: a data set's name, a folder, or `hf:org/set`, instead of the recipe's data.
        device: where samples and features are computed, as for `zoo.load`.
        workers: processes that build the data set if it is not there yet.
        build_progress: called with the samples built and their total.
        progress: called with the evaluation's progress and its total.

    Returns:
        A report whose `metrics` are data and whose `table()` is text.

    Raises:
        NotFoundError, NoWeightsError, InvalidFileError: as `zoo.load`.
        InvalidValueError: more samples than held-out data; features for metrics that use none; no such device.
    """
    place = choose_device(device)
    text, data = os.fspath(name), os.fspath(data)
    if samples is not None and samples < MIN_SAMPLES:
        raise InvalidValueError(f"samples = {samples}: at least {MIN_SAMPLES} are needed for a distance")
    choose_seed(seed)  # refused before any work
    folder = Path(text).expanduser()
    run = find_run(folder) if text not in registry.entries else None
    if run is not None:
        recipe, (gan, kimg) = run.recipe, run.load()
        for network, state in round_networks(gan).items():  # so that the card tells of what is in its folder
            gan.networks[network].load_state_dict(state)
    else:
        recipe, gan, kimg = *_open_released(text, data=data, features=features), None
    gan.to(place)
    if features and not gan.FEATURES:
        raise InvalidValueError(f"{text}: its metrics use no features, so there is nothing to compute with {features}")
    if data:
        recipe = replace(recipe, data=replace(recipe.data, **DataConfig.replace_source({}, data)))
    given: dict[str, Any] = {"samples": samples, "seed": seed, "features": features}
    settings = replace(recipe.evaluate, **{key: value for key, value in given.items() if value is not None})
    store = open_data(recipe, workers=workers, progress=build_progress)
    if samples is None:  # a small data set of one's own is evaluated on all that it holds out
        settings = replace(settings, samples=min(settings.samples, len(store.indices("test"))))
        if gan.FEATURES and settings.samples < MIN_SAMPLES:
            raise InvalidValueError(
                f"{store.about['name']}: {count(settings.samples, 'held-out sample')}, and at least {MIN_SAMPLES} are "
                "needed for a distance; give more data"
            )
    options = [
        word
        for key, value in {**given, "data": data or None}.items()
        if value is not None
        for word in (f"--{key}", str(value))
    ]
    kind = kind_of(recipe).load_metrics()
    metrics = kind.evaluate(gan, store, settings, progress=progress)
    report = Report(
        command=shlex.join(["zoo", "evaluate", text, *options]),
        data=store.about["name"],
        data_license=store.about["license"],
        fingerprint=store.fingerprint,
        seed=settings.seed,
        kimg=kimg,
        metrics=metrics,
        notes=list(list_notes(metrics, recipe.data, kind)),
        curve=_compare_curves(gan, recipe, store, settings, progress=progress) if settings.control else None,
    )
    if run is not None and run.checkpoint is None:
        if report.curve is not None:
            report.curve.save(folder / "curve.png")
        with replace_atomically(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return report


FEW = 1000
"""Samples a side below which distances and shares are rough."""


def list_notes(metrics: list[Metric], data: DataConfig, kind: KindMetrics) -> Iterator[str]:
    """List what a reader of metrics must know: few samples, and features of a network that has seen other data."""
    of_features = [metric for metric in metrics if metric.dimensions is not None]
    for metric in of_features[:1]:
        if metric.count < FEW:
            few = count(metric.count, "sample")
            yield (
                f"Note: {few} a side are few for {metric.dimensions} features. The distances are too large, and the "
                f"shares are rough. Compare them with real against real, and with other evaluations of {few}."
            )
        if not data.name and kind.other_features and (metric.extractor or "").startswith("zoo:"):
            yield (
                f"Note: {metric.extractor} has not seen data of this kind. Beside it, try --features "
                f"{kind.other_features}."
            )


def _compare_curves(
    gan: GAN, recipe: Recipe, store: Store, settings: EvaluateConfig, *, progress: Progress | None
) -> Curve | None:
    """Compute the model's curve and its control's. Raises InvalidValueError where such samples have no curves."""
    compare = kind_of(recipe).load_metrics().compare_curves
    if compare is None:
        raise InvalidValueError(f"evaluate.control = {settings.control!r}: {recipe.modality} has no such curves")
    return compare(
        gan,
        load(settings.control, device=gan.device),
        store,
        settings,
        name=recipe.name,
        control_name=settings.control,
        progress=progress,
    )


def _open_released(text: str, *, data: str, features: str | None) -> tuple[Recipe, GAN]:
    """Load released weights and the recipe that trained them.

    The recipe of a folder may be a stranger's. It decides neither what is read from this disk or the network, nor which
    model is fetched to compute features.
    """
    if text in registry.entries:
        return load_recipe(text), load(text, device="cpu")
    release = find_release(text)
    if not (release.folder / "recipe.toml").is_file() and data:
        return make_default_recipe(release, data), release.load()
    recipe = read_released_recipe(release)
    if not data and not recipe.data.name:
        wanted = f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder"
        raise InvalidFileError(
            f"{text}: its recipe was trained on {wanted}; say yourself what to evaluate against: --data …"
        )
    control, wanted = recipe.evaluate.control, recipe.evaluate.features
    if control and control not in registry.entries:
        warnings.warn(f"no curve: the recipe of {text} names the control {control}, which is no entry", stacklevel=2)
        recipe = replace(recipe, evaluate=replace(recipe.evaluate, control=""))
    if features is None and wanted and not wanted.startswith("zoo:"):
        raise InvalidFileError(
            f"{text}: its recipe asks for the features {wanted}; say yourself which to use: --features …"
        )
    return recipe, release.load()


def make_default_recipe(release: Release, data: str) -> Recipe:
    """Make a recipe of converted weights, which have none, by the defaults of their architecture."""
    table = {
        "modality": release.modality,
        "architecture": release.architecture.__module__.rpartition(".")[2],
        "data": DataConfig.replace_source({}, data),
    }
    return replace(parse_recipe(table, name=release.folder.name), model=release.config)


def read_released_recipe(release: Release) -> Recipe:
    """Read the recipe of released weights. Raises InvalidFileError where it is none, or of another network."""
    path = resolve_inside(release.folder, "recipe.toml")
    if not path.is_file():
        raise InvalidFileError(f"{release.folder}: has no recipe.toml, so its data are unknown; give --data")
    recipe = read_resolved_recipe(path)
    if (recipe.architecture_class, recipe.model) != (release.architecture, release.config):
        raise InvalidFileError(f"{path}: describes another network than config.json")
    return recipe
