"""The quality-diversity curve: a text GAN and its maximum-likelihood control, both over a range of temperatures.

Caccia et al. 2020, arXiv:1811.02549, "Language GANs falling short": one figure at one temperature tells nothing of two
models, for sharpening the distribution buys quality with diversity at no cost in training. So both are sampled at all
temperatures, and compared where they have the same quality. Quality and diversity are measured twice: LM score against
reverse LM score, both in nats per token, lower is better in both; and BLEU-4 against Self-BLEU-4, whose floors are
those of real texts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo.data import Store
from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.io.atomic import replace_atomically
from zoo.metrics.bleu import bleu, self_bleu
from zoo.options import TemperatureOptions
from zoo.recipe import EvaluateConfig
from zoo.text.metrics.evaluate import NUM_REVERSE, chosen, draw, has_same_tokens, reverse_score, sequences, texts_of
from zoo.text.metrics.evaluator import evaluator_of

TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
TIE_NATS = 0.06
TIE_BLEU = 0.005
"""Differences that chance makes, too: two standard deviations between real texts of other draws on tang-quatrains."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model at one temperature, or real texts."""

    temperature: float | None
    lm: float
    rlm: float
    bleu_4: float
    self_bleu_4: float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How much less a model is than its control in one figure, at equal values of another, over the range they share.

    Positive: the model is the better one. `better` and `worse` are the shares of that range where it is so by more than
    seeds make.
    """

    mean: float
    better: float
    worse: float
    start: float
    end: float

    @property
    def range(self) -> str:
        ends = f"{self.start:.2f}", f"{self.end:.2f}"
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)

    def told(self, unit: str = "") -> str:
        size = f"{abs(self.mean):.3f}{' ' + unit if unit else ''} {'lower' if self.mean > 0 else 'higher'}"
        return size if self.start == self.end else f"{size} on average"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points by rising temperature of a model and of its control, and that of real texts of the training split."""

    name: str
    control_name: str
    model: tuple[Point, ...]
    control: tuple[Point, ...]
    real: Point
    samples: int
    reverse_samples: int
    seed: int
    evaluator: str
    data: str

    @property
    def reverse_gap(self) -> Gap | None:
        """By how many nats per token less the model's RLM is than its control's, at equal LM score."""
        return gap(_line(self.model, "lm", "rlm"), _line(self.control, "lm", "rlm"), tie=TIE_NATS)

    @property
    def bleu_gap(self) -> Gap | None:
        """By how much less the model's Self-BLEU-4 is than its control's, at equal BLEU-4."""
        return gap(
            _line(self.model, "bleu_4", "self_bleu_4"), _line(self.control, "bleu_4", "self_bleu_4"), tie=TIE_BLEU
        )

    @property
    def verdict(self) -> str:
        """Who wins, in one sentence: by the LM scores, with what BLEU says beside it."""
        found = self.reverse_gap
        model, control = self.name, f"its control {self.control_name}"
        if found is None:
            return self._verdict_apart(model, control)
        if found.worse == 0 and found.better == 0:
            who = f"{model} and {control} are level"
        elif found.worse == 0:
            who = f"{model} wins over {control}"
        elif found.better == 0:
            who = f"{model} loses to {control}"
        else:
            who = f"{model} wins over {control} at some qualities and loses at others"
        by = f"at equal LM score ({found.range}) its RLM is {found.told('nats')}"
        other = self.bleu_gap
        if other is None:
            return f"{who}: {by}; they share no range of BLEU-4."
        return f"{who}: {by}, and at equal BLEU-4 ({other.range}) its Self-BLEU-4 is {other.told()}."

    def _verdict_apart(self, model: str, control: str) -> str:
        """Of two that share no LM score: one still loses where it is behind in both scores at once."""
        apart = "they share no LM score, and"
        if _behind(self.model, self.control):
            return f"{model} loses to {control}: {apart} at each temperature it is behind in LM and in RLM."
        if _behind(self.control, self.model):
            return f"{model} wins over {control}: {apart} at each temperature the control is behind in LM and in RLM."
        return f"{model} and {control} cannot be compared: {apart} one is ahead in LM, the other in RLM."

    def table(self) -> str:
        """All points as aligned text, and the verdict."""
        rows = [("", "temperature", "LM", "RLM", "BLEU-4", "Self-BLEU-4")]
        for name, points in ((self.name, self.model), (self.control_name, self.control), ("real texts", [self.real])):
            for point in points:
                lm, rlm, bleu_4, self_bleu_4 = (
                    f"{value:.3f}" for value in (point.lm, point.rlm, point.bleu_4, point.self_bleu_4)
                )
                rows.append((name, _heat(point), lm, rlm, bleu_4, self_bleu_4))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        about = (
            f"{self.samples} samples a point, RLM from {self.reverse_samples}, seed {self.seed}, "
            f"LM by {self.evaluator}, test split of {self.data}"
        )
        return "\n".join([*(line.rstrip() for line in lines), "", about, self.verdict])

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}

    def save(self, path: str | Path) -> Path:
        """Draw both curves into a PNG. Raises InvalidValueError for another suffix, WriteError."""
        path = Path(path).expanduser()
        if path.suffix.lower() != ".png":
            raise InvalidValueError(f'{path}: a curve is drawn as .png, not as "{path.suffix}"')
        with replace_atomically(path) as temporary:
            self.picture().save(temporary)
        return path

    def picture(self) -> Image.Image:
        """Two panels: LM against RLM, and BLEU-4 against Self-BLEU-4; a point is labelled by its temperature."""
        from zoo.text.metrics.plot import Panel, Series, draw_panels

        def series(x: str, y: str) -> list[Series]:
            return [
                Series(name, [(getattr(p, x), getattr(p, y)) for p in points], [_heat(p) for p in points])
                for name, points in (
                    (self.control_name, self.control),
                    (self.name, self.model),
                    ("real texts", [self.real]),
                )
            ]

        panels = [
            Panel("LM score, nats per token", "reverse LM score, nats per token", series("lm", "rlm"), toward=(-1, -1)),
            Panel("BLEU-4", "Self-BLEU-4", series("bleu_4", "self_bleu_4"), toward=(1, -1)),
        ]
        return draw_panels(panels, title=f"{self.name} and its control on {self.data}, by temperature")


def _heat(point: Point) -> str:
    return "" if point.temperature is None else f"{point.temperature:g}"


def compare_curves(
    gan: GAN,
    control: GAN,
    store: Store,
    settings: EvaluateConfig,
    temperatures: Sequence[float] = TEMPERATURES,
    *,
    name: str = "the model",
    control_name: str = "maximum likelihood",
    progress: Callable[[int, int], None] | None = None,
) -> Curve | None:
    """Score `gan` and its maximum-likelihood `control` on the test split of `store` at every temperature.

    Each point trains a language model on samples, so the time is that of 13 small trainings. `settings.samples` texts a
    point are scored by BLEU and LM; RLM learns from as many as the training split has, at most 10,000. A model that has
    no temperature, as it makes a text at one stroke, is one point, held against the control's curve.

    Returns None, with a warning, where the control writes in other tokens than the data's.

    Raises InvalidValueError for fewer than 2 temperatures, one that is not above 0, or more samples than a split holds.
    """
    if not has_same_tokens(control, store):
        warnings.warn(f"no curve: {control_name} writes in other tokens than {store.about['name']}'s", stacklevel=2)
        return None
    heats = sorted(temperatures)
    if len(set(heats)) < 2 or not 0 < heats[0] <= heats[-1] < math.inf:
        raise InvalidValueError(f"a curve needs at least 2 temperatures, all above 0; got {list(temperatures)}")
    test, train = texts_of(store, "test"), texts_of(store, "train")
    if settings.samples > min(len(test), len(train)):
        raise InvalidValueError(
            f"evaluate.samples = {settings.samples} is more than the {min(len(test), len(train))} held-out texts"
        )
    num_reverse = min(NUM_REVERSE, len(train))
    evaluator_name, evaluator = evaluator_of(store)
    references = sequences(test)
    total, done = 1 + sum(len(heats) if _has_temperature(model) else 1 for model in (gan, control)), 0

    def point(texts: torch.Tensor, temperature: float | None, *, quality: float | None = None) -> Point:
        nonlocal done
        few = texts[: settings.samples]
        scored = Point(
            temperature=temperature,
            lm=evaluator.nll(few) if quality is None else quality,
            rlm=reverse_score(texts[:num_reverse], test, evaluator.vocabulary, seed=settings.seed),
            bleu_4=float(bleu(sequences(few), references, orders=(4,))[4].mean()),
            self_bleu_4=float(self_bleu(sequences(few), orders=(4,))[4].mean()),
        )
        done += 1
        if progress is not None:
            progress(done, total)
        return scored

    def points(model: GAN) -> tuple[Point, ...]:
        count = max(settings.samples, num_reverse)
        if not _has_temperature(model):
            return (point(draw(model, count, seed=settings.seed), None),)
        return tuple(point(draw(model, count, seed=settings.seed, temperature=heat), heat) for heat in heats)

    return Curve(
        name=name,
        control_name=control_name,
        real=point(chosen(train, len(train), settings.seed), None, quality=evaluator.nll(test)),
        control=points(control),
        model=points(gan),
        samples=settings.samples,
        reverse_samples=num_reverse,
        seed=settings.seed,
        evaluator=evaluator_name,
        data=store.about["name"],
    )


def _has_temperature(model: GAN) -> bool:
    return issubclass(model.SampleOptions, TemperatureOptions)


def gap(model: np.ndarray, control: np.ndarray, *, tie: float) -> Gap | None:
    """Compare two lines [P, 2], of which the second number is better the lower, over the first numbers they share.

    Both are drawn straight from point to point. None where they share no range.
    """
    start = max(model[:, 0].min(), control[:, 0].min())
    end = min(model[:, 0].max(), control[:, 0].max())
    if start > end:
        return None
    along = np.linspace(start, end, 1001)
    less = np.interp(along, *control.T) - np.interp(along, *model.T)
    return Gap(
        mean=float(less.mean()),
        better=float((less > tie).mean()),
        worse=float((less < -tie).mean()),
        start=float(start),
        end=float(end),
    )


def _behind(points: Sequence[Point], others: Sequence[Point]) -> bool:
    """Whether each of the points is worse than one of the others in LM and in RLM, by more than seeds make."""
    return all(any(p.lm > o.lm + TIE_NATS and p.rlm > o.rlm + TIE_NATS for o in others) for p in points)


def _line(points: Sequence[Point], x: str, y: str) -> np.ndarray:
    """[P, 2], by rising x."""
    line = np.array([(getattr(point, x), getattr(point, y)) for point in points])
    return line[line[:, 0].argsort(kind="stable")]
