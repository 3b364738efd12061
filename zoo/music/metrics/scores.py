"""Metrics of generated scores: statistics and distances, each with its value for real scores.

For a statistic, such as the polyphony, real against real is its value in held-out scores, and samples should be near
it. For a distance, it is the distance between held-out scores and as many of the training split.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from zoo.data import Store
from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.metrics.report import Metric
from zoo.music.data.midi import HELD, SILENT
from zoo.music.data.scores import read_ranges
from zoo.music.metrics import counterpoint, statistics
from zoo.music.samples.scores import Scores
from zoo.recipe import EvaluateConfig

STYLE = ("interval_distance", "chord_distance", "length_distance")
COPIED_BARS = 2  # single bars, such as cadences, recur in many pieces

Measure = Callable[[np.ndarray], np.ndarray]


def evaluate(
    gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Callable[[int, int], None] | None = None
) -> list[Metric]:
    """Compute all metrics of `gan` against the test split of `store`.

    Raises InvalidValueError for more samples than either split has.
    """
    report = progress or (lambda done, total: None)
    real, other = _read_real_scores(store, settings)
    fake = sample_grids(gan, settings)
    report(settings.samples, 2 * settings.samples)
    metrics = [*_compute_distances(gan, fake, real, other), *_compute_statistics(gan, store, fake, real)]
    metrics += _compute_copies(gan, store, fake, real)
    report(2 * settings.samples, 2 * settings.samples)
    return metrics


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Return a function that evaluates as `evaluate` does, without copies. Its first metric is `style_distance`."""
    real, other = _read_real_scores(store, settings)

    def evaluate_fn(gan: GAN) -> list[Metric]:
        fake = sample_grids(gan, settings)
        return [*_compute_distances(gan, fake, real, other), *_compute_statistics(gan, store, fake, real)]

    return evaluate_fn


def sample_grids(gan: GAN, settings: EvaluateConfig) -> np.ndarray:
    """Generate the grids [N, V, T, P] that are evaluated."""
    samples = gan.sample(settings.samples, seed=settings.seed)
    if not isinstance(samples, Scores):
        raise InvalidValueError(f"{type(gan).__name__} generates {type(samples).__name__.lower()}, not scores")
    return samples.grids


def _read_real_scores(store: Store, settings: EvaluateConfig) -> tuple[np.ndarray, np.ndarray]:
    """Read grids of the test split, and as many of the training split. Raises InvalidValueError for too few."""
    real, other = store.sample_splits(settings.samples, settings.seed, of="scores")
    return _to_grids(store.samples[real]), _to_grids(store.samples[other])


def _to_grids(rows: np.ndarray) -> np.ndarray:
    return np.where(rows <= HELD, rows, SILENT).astype(np.uint8)


def _compute_distances(gan: GAN, fake: np.ndarray, real: np.ndarray, other: np.ndarray) -> list[Metric]:
    """Compute the Jensen-Shannon distances of distributions, and first the mean of those of STYLE, `style_distance`."""
    steps, lowest = gan.config.steps, gan.config.lowest
    histograms: dict[str, Measure] = {
        "interval_distance": counterpoint.interval_histogram,
        "chord_distance": partial(counterpoint.quality_histogram, steps=steps, lowest=lowest),
        "length_distance": partial(counterpoint.length_histogram, steps=steps),
        "contour_distance": partial(counterpoint.contour_histogram, steps=steps),
    }
    values, references = {}, {}
    for name, histogram in histograms.items():
        of_real = histogram(real)
        distances = [counterpoint.distance(histogram(scores), of_real) for scores in (fake, other)]
        values[name], references[name] = np.nan_to_num(distances, nan=1.0).tolist()  # nothing to count: all differs
    values, references = (
        {"style_distance": float(np.mean([found[name] for name in STYLE])), **found} for found in (values, references)
    )
    return [
        Metric(name=name, value=value, real_vs_real=references[name], better="lower", count=len(fake),
               extractor="Jensen-Shannon")
        for name, value in values.items()
    ]  # fmt: skip


def _compute_statistics(gan: GAN, store: Store, fake: np.ndarray, real: np.ndarray) -> list[Metric]:
    """Compute the mean statistics of samples and of held-out scores."""
    steps, lowest = gan.config.steps, gan.config.lowest
    reach = read_ranges(store.samples[store.indices("train")[:1]])
    typical: dict[str, Measure] = {
        "pitch_class_entropy": partial(statistics.pitch_class_entropy, lowest=lowest),
        "polyphony": statistics.polyphony,
        "note_density": partial(statistics.note_density, steps=steps),
        "used_pitches": statistics.used_pitches,
        "used_pitch_classes": partial(statistics.used_pitch_classes, steps=steps, lowest=lowest),
        "tonal_distance": partial(statistics.tonal_distance, steps=steps, lowest=lowest),
        "scale_consistency": partial(statistics.scale_consistency, lowest=lowest),
        "groove_consistency": partial(statistics.groove_consistency, steps=steps),
        "empty_bars": partial(statistics.empty_bars, steps=steps),
        "shared_moves": partial(counterpoint.shared_moves, steps=steps),
    }
    faults: dict[str, Measure] = {}
    if gan.config.tracks > 1:
        typical["voices_in_range"] = lambda grids: counterpoint.in_range(grids, reach, steps).mean(axis=1)
        typical["cadences"] = partial(counterpoint.cadences, steps=steps, lowest=lowest)
        faults["unclassified_chords"] = partial(counterpoint.unclassified, steps=steps, lowest=lowest)
        faults["crossings"] = counterpoint.crossings
        faults["parallel_fifths"] = partial(counterpoint.parallels, interval=7, steps=steps)
        faults["parallel_octaves"] = partial(counterpoint.parallels, interval=0, steps=steps)
    return [
        Metric(
            name=name,
            value=average(measure(fake)),
            real_vs_real=average(measure(real)),
            better="lower" if name in faults else "near real",
            count=len(fake),
        )
        for name, measure in {**typical, **faults}.items()
    ]


def average(values: np.ndarray) -> float:
    """Average over the scores that have something to count; 0 where none has."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else 0.0


def _compute_copies(gan: GAN, store: Store, fake: np.ndarray, real: np.ndarray) -> list[Metric]:
    """Compute the share of samples with two bars of the training split, in any key; also that of held-out scores."""
    steps = gan.config.steps
    bars = min(COPIED_BARS, gan.config.bars)
    train = _to_grids(store.samples[store.indices("train")])
    known = set().union(*counterpoint.list_passages(train, steps, bars))
    shares = [
        counterpoint.copied_share(counterpoint.list_passages(grids, steps, bars), known) for grids in (fake, real)
    ]
    return [
        Metric(name="copied", value=shares[0], real_vs_real=shares[1], better="lower", count=len(fake),
               extractor=f"{bars} bars of {len(train)} training windows")
    ]  # fmt: skip
