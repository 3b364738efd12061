"""Line charts of a few labelled points, drawn with Pillow: two panels side by side, one legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SCALE = 3  # drawn so many times larger, and then reduced, so that lines are smooth
SIDE, GAP = 420, 110  # of a panel's frame, and between two
LEFT, TOP, RIGHT, BOTTOM = 84, 92, 28, 66
INK, FAINT, PAPER = "#222222", "#e3e3e3", "#ffffff"
COLORS = ("#7a8794", "#c2410c", "#111111")

Where = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points in the order in which they are joined, each with its label."""

    name: str
    points: Sequence[Where]
    labels: Sequence[str]


@dataclass(frozen=True)
class Panel:
    """One chart. `toward` says which way is better: signs of x and y."""

    x_label: str
    y_label: str
    series: Sequence[Series]
    toward: tuple[int, int]


def draw_panels(panels: Sequence[Panel], *, title: str) -> Image.Image:
    """All panels in a row, under the title and the legend of the first."""
    width = LEFT + len(panels) * SIDE + (len(panels) - 1) * GAP + RIGHT
    canvas = Image.new("RGB", (width * SCALE, (TOP + SIDE + BOTTOM) * SCALE), PAPER)
    pen = _Pen(canvas)
    pen.text((LEFT, 22), title, size=18, anchor="lm")
    x = float(LEFT)
    for color, series in zip(COLORS, panels[0].series, strict=True):
        pen.mark((x + 6, 56), color, hollow=len(series.points) == 1)
        x += 20 + pen.text((x + 18, 56), series.name, size=14, anchor="lm") + 24
    for i, panel in enumerate(panels):
        _draw_panel(pen, panel, left=LEFT + i * (SIDE + GAP))
    return canvas.resize((width, TOP + SIDE + BOTTOM), Image.Resampling.LANCZOS)


def _draw_panel(pen: _Pen, panel: Panel, *, left: float) -> None:
    x_axis, y_axis = (_Axis([point[i] for series in panel.series for point in series.points]) for i in (0, 1))
    bottom = TOP + SIDE

    def place(point: Where) -> Where:
        return left + x_axis.share(point[0]) * SIDE, bottom - y_axis.share(point[1]) * SIDE

    for tick in x_axis.ticks:
        x = left + x_axis.share(tick) * SIDE
        pen.line([(x, TOP), (x, bottom)], FAINT, 1)
        pen.text((x, bottom + 16), x_axis.label(tick), size=13)
    for tick in y_axis.ticks:
        y = bottom - y_axis.share(tick) * SIDE
        pen.line([(left, y), (left + SIDE, y)], FAINT, 1)
        pen.text((left - 8, y), y_axis.label(tick), size=13, anchor="rm")
    pen.line([(left, TOP), (left, bottom), (left + SIDE, bottom)], INK, 1.4)
    pen.text((left + SIDE / 2, bottom + 44), panel.x_label, size=15)
    pen.upright((left - 62, TOP + SIDE / 2), panel.y_label, size=15)
    _draw_compass(pen, panel.toward, left=left)
    lines = [[place(point) for point in series.points] for series in panel.series]
    for color, places in zip(COLORS, lines, strict=True):
        if len(places) > 1:
            pen.line(places, color, 2.4)
    for color, places, series in zip(COLORS, lines, panel.series, strict=True):
        others = [where for line in lines if line is not places for where in line]
        for i, label in enumerate(series.labels):
            pen.mark(places[i], color, hollow=len(places) == 1)
            if label:
                pen.text(_beside(places, i, others), label, size=12, color=color)


def _beside(line: Sequence[Where], i: int, others: Sequence[Where]) -> Where:
    """A place across the line from its point i, on the side that is away from the nearest of `others`."""
    (x, y), before, after = line[i], line[max(i - 1, 0)], line[min(i + 1, len(line) - 1)]
    across = before[1] - after[1], after[0] - before[0]
    nearest = min(others, key=lambda other: math.dist(other, (x, y)))
    away = across[0] * (x - nearest[0]) + across[1] * (y - nearest[1])
    length = math.copysign(math.hypot(*across) or 1.0, away)
    return x + 16 * across[0] / length, y + 14 * across[1] / length


def _draw_compass(pen: _Pen, toward: tuple[int, int], *, left: float) -> None:
    """An arrow to the better corner, in that corner."""
    x = left + (34 if toward[0] < 0 else SIDE - 34)
    y = TOP + (34 if toward[1] > 0 else SIDE - 34)
    tip = x + 18 * toward[0], y - 18 * toward[1]
    pen.line([(x - 8 * toward[0], y + 8 * toward[1]), tip], "#999999", 1.6)
    pen.line([(tip[0] - 9 * toward[0], tip[1]), tip, (tip[0], tip[1] + 9 * toward[1])], "#999999", 1.6)
    pen.text((x - 12 * toward[0], y + 18 * toward[1]), "better", size=12, color="#999999")


class _Axis:
    """A range around the values with some room, and round numbers in it."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        room = 0.1 * (high - low) or 0.1 * abs(low) or 1.0
        self.low, self.high = low - room, high + room
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        self.ticks = [i * self.step for i in range(first, last + 1)]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        return f"{tick:.{max(0, -math.floor(math.log10(self.step)))}f}"


class _Pen:
    """Draws on a canvas SCALE times as large as the places it is told."""

    def __init__(self, canvas: Image.Image) -> None:
        self._canvas, self._draw = canvas, ImageDraw.Draw(canvas)

    def line(self, places: Sequence[Where], color: str, width: float) -> None:
        self._draw.line([(x * SCALE, y * SCALE) for x, y in places], color, round(width * SCALE), joint="curve")

    def mark(self, where: Where, color: str, *, hollow: bool) -> None:
        x, y = where[0] * SCALE, where[1] * SCALE
        r = (7 if hollow else 5) * SCALE
        if hollow:
            self._draw.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], PAPER, color, width=2 * SCALE)
        else:
            self._draw.ellipse([x - r, y - r, x + r, y + r], color, PAPER, width=SCALE)

    def text(self, where: Where, text: str, *, size: float, color: str = INK, anchor: str = "mm") -> float:
        """Returns the text's width."""
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((where[0] * SCALE, where[1] * SCALE), text, color, font, anchor)
        return self._draw.textlength(text, font) / SCALE

    def upright(self, where: Where, text: str, *, size: float) -> None:
        """A text that reads from the bottom up."""
        font = ImageFont.load_default(size * SCALE)
        left, top, right, bottom = (round(edge) for edge in self._draw.textbbox((0, 0), text, font))
        patch = Image.new("RGB", (right + left, bottom + top), PAPER)
        ImageDraw.Draw(patch).text((0, 0), text, INK, font)
        patch = patch.rotate(90, expand=True)
        self._canvas.paste(
            patch, (round(where[0] * SCALE) - patch.width // 2, round(where[1] * SCALE) - patch.height // 2)
        )
