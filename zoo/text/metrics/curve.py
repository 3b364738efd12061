"""The quality-diversity curve: a text GAN and its maximum-likelihood control, both over a range of temperatures.

Caccia et al. 2020, arXiv:1811.02549, "Language GANs falling short": a lower temperature gives more quality and less
diversity, without any training. So one metric at one temperature cannot compare two models. Both are sampled at all
temperatures, and compared where they have the same quality. Quality and diversity are measured twice. The first pair is
the LM score and the reverse LM score, both in nats per token, where lower is better. The second is BLEU-4 and
Self-BLEU-4, which are compared with those of real texts.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from zoo.text.metrics.evaluate import (
    NUM_REVERSE,
    choose_texts,
    has_same_tokens,
    read_split,
    reverse_score,
    sample_texts,
    trim_texts,
)
from zoo.text.metrics.evaluator import open_evaluator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
TIE_NATS = 0.06
TIE_BLEU = 0.005
"""Differences up to these are chance: two standard deviations between sets of real texts of tang-quatrains."""

CONTROL_COLOR, MODEL_COLOR, REAL_COLOR, NOTE_COLOR = "#7a8794", "#c2410c", "#111111", "#777777"
LABEL_DISTANCE = 19  # pixels between the centers of two labels


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
    """How much lower one metric of a model is than its control's, at equal values of another metric."""

    mean: float
    """The mean over the range that both curves share. Above 0 the model is better."""
    better: float
    """The share of the range where the model is better by more than chance."""
    worse: float
    """The share of the range where it is worse by more than chance."""
    start: float
    end: float

    @property
    def range(self) -> str:
        """The range that both curves share, as text."""
        ends = f"{self.start:.2f}", f"{self.end:.2f}"
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)

    def describe(self, unit: str = "") -> str:
        """Describe the mean, e.g. "0.021 nats lower on average"."""
        size = f"{abs(self.mean):.3f}{' ' + unit if unit else ''} {'lower' if self.mean > 0 else 'higher'}"
        return size if self.start == self.end else f"{size} on average"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The points of a model and of its control by rising temperature, and that of real texts."""

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
        """How much lower the model's RLM is than its control's at equal LM score, in nats per token."""
        return compute_gap(_make_line(self.model, "lm", "rlm"), _make_line(self.control, "lm", "rlm"), tie=TIE_NATS)

    @property
    def bleu_gap(self) -> Gap | None:
        """How much lower the model's Self-BLEU-4 is than its control's at equal BLEU-4."""
        return compute_gap(
            _make_line(self.model, "bleu_4", "self_bleu_4"),
            _make_line(self.control, "bleu_4", "self_bleu_4"),
            tie=TIE_BLEU,
        )

    @property
    def verdict(self) -> str:
        """Which one wins, in one sentence: by the LM scores, and then by BLEU."""
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
        by = f"at equal LM score ({found.range}) its RLM is {found.describe('nats')}"
        other = self.bleu_gap
        if other is None:
            return f"{who}: {by}; they share no range of BLEU-4."
        return f"{who}: {by}, and at equal BLEU-4 ({other.range}) its Self-BLEU-4 is {other.describe()}."

    def _verdict_apart(self, model: str, control: str) -> str:
        """Compare two that share no LM score: one still loses where it is worse in both scores at once."""
        apart = "they share no LM score, and"
        if _is_worse(self.model, self.control):
            return f"{model} loses to {control}: {apart} at each temperature it is behind in LM and in RLM."
        if _is_worse(self.control, self.model):
            return f"{model} wins over {control}: {apart} at each temperature the control is behind in LM and in RLM."
        return f"{model} and {control} cannot be compared: {apart} one is ahead in LM, the other in RLM."

    def table(self) -> str:
        """Format all points as aligned text, with the verdict."""
        rows = [("", "temperature", "LM", "RLM", "BLEU-4", "Self-BLEU-4")]
        for name, points in ((self.name, self.model), (self.control_name, self.control), ("real texts", [self.real])):
            for point in points:
                lm, rlm, bleu_4, self_bleu_4 = (
                    f"{value:.3f}" for value in (point.lm, point.rlm, point.bleu_4, point.self_bleu_4)
                )
                rows.append((name, _format_temperature(point), lm, rlm, bleu_4, self_bleu_4))
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
        """Return all points and the verdict as plain values."""
        return {**asdict(self), "verdict": self.verdict}

    def save(self, path: str | Path) -> Path:
        """Draw both curves into a PNG. Raises InvalidValueError for another suffix, WriteError."""
        path = Path(path).expanduser()
        if path.suffix.lower() != ".png":
            raise InvalidValueError(f'{path}: a curve is drawn as .png, not as "{path.suffix}"')
        from matplotlib import style

        with style.context("default"), replace_atomically(path) as temporary:  # whatever the user's matplotlibrc says
            drawn = io.BytesIO()
            self.draw().savefig(drawn, format="png")
            colors = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)  # a third of the bytes
            colors.save(temporary, format="png", optimize=True)
        return path

    def draw(self) -> Figure:
        """Draw two panels: LM score against reverse LM score, and BLEU-4 against Self-BLEU-4.

        Points are labelled by their temperature. A note above each panel says where the better corner is.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10.5, 5.6), dpi=100, facecolor="white")
        figure.subplots_adjust(left=0.075, right=0.985, bottom=0.105, top=0.815, wspace=0.23)
        left, right = figure.subplots(1, 2)
        self._draw_panel(left, "lm", "rlm")
        left.set(xlabel="LM score, nats per token", ylabel="reverse LM score, nats per token")
        left.set_title("\N{SOUTH WEST ARROW} better", loc="left", fontsize=10, color=NOTE_COLOR)
        self._draw_panel(right, "bleu_4", "self_bleu_4")
        right.set(xlabel="BLEU-4", ylabel="Self-BLEU-4")
        right.set_title("better \N{SOUTH EAST ARROW}", loc="right", fontsize=10, color=NOTE_COLOR)
        title = f"{self.name} and its control on {self.data}, by temperature"
        figure.text(0.075, 0.945, title, fontsize=14, color=REAL_COLOR)
        handles, labels = left.get_legend_handles_labels()
        style = {"ncols": 3, "frameon": False, "handletextpad": 0.5, "columnspacing": 1.6, "borderpad": 0}
        figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.075, 0.885), borderaxespad=0, **style)
        return figure

    def _draw_panel(self, axes: Axes, x: str, y: str) -> None:
        series = [
            (self.control_name, self.control, CONTROL_COLOR),
            (self.name, self.model, MODEL_COLOR),
            ("real texts", (self.real,), REAL_COLOR),
        ]
        for name, points, color in series:
            style: dict[str, Any] = {"marker": "o", "markeredgecolor": "white"}
            if points == (self.real,):
                style = {"marker": "D", "markerfacecolor": "white", "markeredgewidth": 1.6}
            if len(points) == 1:
                style["linestyle"] = "none"
            axes.plot(*_make_line(points, x, y, in_order=False).T, color=color, label=name, markersize=7, **style)
        axes.margins(0.1)
        axes.locator_params(nbins=7)
        axes.grid(color="#e3e3e3", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.autoscale_view()  # labels are placed in pixels, so the limits must be final
        lines = [axes.transData.transform(_make_line(points, x, y, in_order=False)) for _, points, _ in series]
        for i, (_, points, color) in enumerate(series):
            others = np.concatenate([line for j, line in enumerate(lines) if j != i])
            _label_points(axes, points, lines[i], others, color)


def _label_points(axes: Axes, points: Sequence[Point], line: np.ndarray, others: np.ndarray, color: str) -> None:
    """Label points at pixels [P, 2] by their temperature, both ends first; a label that would overlap is left out."""
    placed: list[np.ndarray] = []
    for i in sorted(range(len(points)), key=lambda i: 0 < i < len(points) - 1):
        place = line[i] + _find_label_offset(line, i, others)
        if all(np.hypot(*(place - other)) > LABEL_DISTANCE for other in placed):
            placed.append(place)
            x, y = axes.transData.inverted().transform(place)
            axes.text(x, y, _format_temperature(points[i]), color=color, fontsize=9, ha="center", va="center")


def _find_label_offset(line: np.ndarray, i: int, others: np.ndarray) -> np.ndarray:
    """Return an offset across the line [P, 2] at its point i, on the side that is away from the nearest of `others`."""
    along = line[min(i + 1, len(line) - 1)] - line[max(i - 1, 0)]
    across = np.array([-along[1], along[0]])
    nearest = others[np.square(others - line[i]).sum(1).argmin()]
    length = math.copysign(float(np.hypot(*across)) or 1.0, float(across @ (line[i] - nearest)))
    return across / length * (17, 14)


def _format_temperature(point: Point) -> str:
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
    """Compute the curves of `gan` and its maximum-likelihood `control` on the test split of `store`.

    Each point trains a language model on samples, so the time is that of 13 small trainings. BLEU and the LM score take
    `settings.samples` texts a point. RLM takes as many as the training split has, at most 10,000. A model without a
    temperature is one point, which is compared with the control's curve.

    Returns:
        None, with a warning, where the control's tokens are not those of the data.

    Raises:
        InvalidValueError: fewer than 2 temperatures, one that is not above 0, or more samples than a split holds.
    """
    if not has_same_tokens(control, store):
        warnings.warn(f"no curve: {control_name} has other tokens than {store.about['name']}", stacklevel=2)
        return None
    ordered = sorted(temperatures)
    if len(set(ordered)) < 2 or not 0 < ordered[0] <= ordered[-1] < math.inf:
        raise InvalidValueError(f"a curve needs at least 2 temperatures, all above 0; got {list(temperatures)}")
    test, train = read_split(store, "test"), read_split(store, "train")
    if settings.samples > min(len(test), len(train)):
        raise InvalidValueError(
            f"evaluate.samples = {settings.samples} is more than the {min(len(test), len(train))} held-out texts"
        )
    num_reverse = min(NUM_REVERSE, len(train))
    evaluator_name, evaluator = open_evaluator(store)
    evaluator.to(gan.device)
    references = trim_texts(test)
    total, done = 1 + sum(len(ordered) if _has_temperature(model) else 1 for model in (gan, control)), 0

    def score(texts: torch.Tensor, temperature: float | None, *, quality: float | None = None) -> Point:
        nonlocal done
        few = texts[: settings.samples]
        point = Point(
            temperature=temperature,
            lm=evaluator.nll(few) if quality is None else quality,
            rlm=reverse_score(texts[:num_reverse], test, evaluator.vocabulary, seed=settings.seed),
            bleu_4=float(bleu(trim_texts(few), references, orders=(4,))[4].mean()),
            self_bleu_4=float(self_bleu(trim_texts(few), orders=(4,))[4].mean()),
        )
        done += 1
        if progress is not None:
            progress(done, total)
        return point

    def score_all(model: GAN) -> tuple[Point, ...]:
        count = max(settings.samples, num_reverse)
        if not _has_temperature(model):
            return (score(sample_texts(model, count, seed=settings.seed), None),)
        return tuple(score(sample_texts(model, count, seed=settings.seed, temperature=t), t) for t in ordered)

    return Curve(
        name=name,
        control_name=control_name,
        real=score(choose_texts(train, len(train), settings.seed), None, quality=evaluator.nll(test)),
        control=score_all(control),
        model=score_all(gan),
        samples=settings.samples,
        reverse_samples=num_reverse,
        seed=settings.seed,
        evaluator=evaluator_name,
        data=store.about["name"],
    )


def _has_temperature(model: GAN) -> bool:
    return issubclass(model.SampleOptions, TemperatureOptions)


def compute_gap(model: np.ndarray, control: np.ndarray, *, tie: float) -> Gap | None:
    """Compare two lines [P, 2] of points (x, y) over the range of x that they share; lower y is better.

    Both are interpolated linearly. None where they share no range.
    """
    start = max(model[:, 0].min(), control[:, 0].min())
    end = min(model[:, 0].max(), control[:, 0].max())
    if start > end:
        return None
    x = np.linspace(start, end, 1001)
    difference = np.interp(x, *control.T) - np.interp(x, *model.T)
    return Gap(
        mean=float(difference.mean()),
        better=float((difference > tie).mean()),
        worse=float((difference < -tie).mean()),
        start=float(start),
        end=float(end),
    )


def _is_worse(points: Sequence[Point], others: Sequence[Point]) -> bool:
    """Tell whether each of the points is worse than one of the others in LM and in RLM, by more than chance."""
    return all(any(p.lm > o.lm + TIE_NATS and p.rlm > o.rlm + TIE_NATS for o in others) for p in points)


def _make_line(points: Sequence[Point], x: str, y: str, *, in_order: bool = True) -> np.ndarray:
    """Return points [P, 2] by rising x, or as they come."""
    line = np.array([(getattr(point, x), getattr(point, y)) for point in points])
    return line[line[:, 0].argsort(kind="stable")] if in_order else line
