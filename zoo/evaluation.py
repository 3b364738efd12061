"""Scoring an entry, a weights folder or a run, and printing what came out beside its floor."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.disk import replacing
from zoo.errors import BadFile, BadValue
from zoo.hub import is_run, load, locate, read_config
from zoo.metrics.report import Figure
from zoo.recipe import MIN_SAMPLES, Data, Evaluate, Recipe, load_recipe
from zoo.registry import registry
from zoo.safe import inside

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.gan import GAN
    from zoo.text.curve import Curve


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one evaluation, with what is needed to get them again."""

    command: str
    data: str
    data_licence: str
    fingerprint: str
    seed: int
    kimg: float | None  # progress of the run that was scored; None for released weights
    figures: list[Figure]
    curve: Curve | None = None  # of quality against diversity, beside a control's

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(replace(self, curve=None))
        del plain["curve"]
        return plain if self.curve is None else {**plain, "curve": self.curve.to_dict()}

    def table(self) -> str:
        """The figures as aligned text: samples, real against real, and which way is better."""
        rows = [("figure", "samples", "real vs real", "better", "count", "extractor")]
        rows += [
            (
                f.name,
                f"{f.value:.4g}" + (f" +- {f.spread:.2g}" if f.spread is not None else ""),
                f"{f.floor:.4g}" if f.floor is not None else "",
                "higher" if f.higher_is_better else "lower",
                f"{f.count}",
                f.extractor or "",
            )
            for f in self.figures
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        about = f"{self.command}    seed {self.seed}, test split of {self.data} ({self.fingerprint[:16]})"
        return "\n".join([*lines, "", about, *([] if self.curve is None else ["", self.curve.table()])])


def evaluate(
    name: str | os.PathLike[str],
    *,
    samples: int | None = None,
    seed: int | None = None,
    features: str | None = None,
    data: str = "",
    workers: int = 1,
    build_progress: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """See `zoo.evaluate`. A run's report goes into its folder as figures.json, for the card.

    Raises:
        NotFound, BadFile: as `zoo.load`.
        BadValue: more samples than held-out data; features for figures that are of none.
    """
    from zoo.training.loop import load_run
    from zoo.training.session import open_data

    text = os.fspath(name)
    if samples is not None and samples < MIN_SAMPLES:
        raise BadValue(f"samples = {samples}: at least {MIN_SAMPLES} are needed for a distance")
    folder = Path(text).expanduser()
    of_run = text not in registry.entries and is_run(folder)
    gan, kimg = load_run(folder)[1:] if of_run else (load(text), None)
    recipe = _recipe_of(text, data=data, features=features)
    if features and not gan.FEATURES:
        raise BadValue(f"{text}: its figures are of no features, so there is nothing to compute with {features}")
    if data:
        recipe = replace(recipe, data=replace(recipe.data, **Data.instead({}, data)))
    given: dict[str, Any] = {"samples": samples, "seed": seed, "features": features}
    settings = replace(recipe.evaluate, **{key: value for key, value in given.items() if value is not None})
    store = open_data(recipe, workers=workers, progress=build_progress)
    if samples is None:  # a small data set of one's own is judged on all it holds out
        settings = replace(settings, samples=min(settings.samples, len(store.indices("test"))))
    wing = importlib.import_module(f"zoo.{recipe.modality}.metrics")
    options = [
        word
        for key, value in {**given, "data": data or None}.items()
        if value is not None
        for word in (f"--{key}", str(value))
    ]
    report = Report(
        command=shlex.join(["zoo", "evaluate", text, *options]),
        data=store.about["name"],
        data_licence=store.about["licence"],
        fingerprint=store.fingerprint,
        seed=settings.seed,
        kimg=kimg,
        figures=wing.evaluate(gan, store, settings, progress=progress),
        curve=_curve(gan, recipe, store, settings, progress=progress) if settings.control else None,
    )
    if of_run:
        if report.curve is not None:
            report.curve.save(folder / "curve.png")
        with replacing(folder / "figures.json") as temporary:
            temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return report


def _curve(
    gan: GAN, recipe: Recipe, store: Store, settings: Evaluate, *, progress: Callable[[int, int], None] | None
) -> Curve | None:
    """The model's curve and its control's, if that knows the same words. Raises BadValue where the wing has none."""
    try:
        wing = importlib.import_module(f"zoo.{recipe.modality}.curve")
    except ModuleNotFoundError:
        raise BadValue(f"evaluate.control = {settings.control!r}: {recipe.modality} has no such curves") from None
    control = load(settings.control)
    metrics = importlib.import_module(f"zoo.{recipe.modality}.metrics")
    if not metrics.same_words(control, store):
        warnings.warn(f"no curve: {settings.control} writes in other tokens than {store.about['name']}'s", stacklevel=2)
        return None
    return wing.curve(gan, control, store, settings, name=recipe.name, control_name=settings.control, progress=progress)


def _recipe_of(text: str, *, data: str, features: str | None) -> Recipe:
    """The recipe that a name, a run or a folder was trained with.

    That of a released folder may be a stranger's: it decides neither what is read from this disk or the network, nor
    which model is fetched to compute features.
    """
    if text in registry.entries:
        return load_recipe(text)
    from zoo.training.loop import open_run

    folder = Path(text).expanduser()
    if is_run(folder):
        return open_run(folder)
    recipe = released_recipe(locate(text))
    if not data and not recipe.data.name:
        wanted = f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder"
        raise BadFile(f"{text}: its recipe was trained on {wanted}; say yourself what to score against: --data …")
    control, wanted = recipe.evaluate.control, recipe.evaluate.features
    if control and control not in registry.entries:
        warnings.warn(f"no curve: the recipe of {text} names as its control {control}, which is no entry", stacklevel=2)
        recipe = replace(recipe, evaluate=replace(recipe.evaluate, control=""))
    if features is None and wanted and not wanted.startswith("zoo:"):
        raise BadFile(f"{text}: its recipe asks for the features {wanted}; say yourself which to use: --features …")
    return recipe


def released_recipe(folder: Path) -> Recipe:
    """The recipe that lies beside released weights. Raises BadFile where it is none, or not of their network."""
    from zoo.training.loop import open_run

    path = inside(folder, "recipe.toml")
    if not path.is_file():
        raise BadFile(f"{folder}: has no recipe.toml, so its data and settings are unknown")
    recipe = open_run(folder)
    if (recipe.gan, recipe.model) != read_config(folder):
        raise BadFile(f"{path}: tells of another network than config.json")
    return recipe
