"""The actions of the data set `talking-faces`: how expression and pose change over a clip. NumPy only.

In a clip a person of `synthetic-faces` rests, performs one action, and may return to rest. Movements follow the curve
of minimum jerk, as people's do (Flash & Hogan 1985). The head also sways by about a degree, because nobody keeps
perfectly still. Light, clothes and background do not change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zoo.render.attributes import Portrait, draw_portrait

VERSION: int = 1  # of the data set: a change of any pixel must raise it, and so must a change of synthetic-faces

ACTIONS = ("smile", "open-mouth", "blink", "turn-left", "turn-right", "nod", "raise-brows")
"""Left and right are as seen in the picture."""

FRAMES = 16
RATE = 12.5  # frames per second: a clip lasts 1.28 s


def sample_clip(index: int) -> list[Portrait]:
    """Sample the 16 portraits of a clip: person index // 7 performs action index % 7.

    They depend on the index and VERSION alone.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([VERSION, 2, index])))
    identity, action = divmod(index, len(ACTIONS))
    rest = _relax(draw_portrait(identity, rng, index=index), rng)
    seconds = np.arange(FRAMES) / RATE
    move = _MOVES[ACTIONS[action]](rng)
    sway = _Sway.draw(rng)
    return [sway.apply(move(rest, time), time) for time in seconds]


def _relax(portrait: Portrait, rng: np.random.Generator) -> Portrait:
    """Return the portrait with open eyes and a closed mouth, almost facing the camera."""
    return replace(
        portrait,
        smile=float(rng.uniform(0.0, 0.2)),
        mouth_open=0.0,
        blink=float(rng.uniform(0.0, 0.1)),
        brow_raise=float(rng.uniform(-0.35, 0.0)),
        gaze=(0.5 * portrait.gaze[0], 0.5 * portrait.gaze[1]),
        yaw=float(rng.uniform(-10, 10)),
        pitch=float(rng.uniform(-4, 4)),
        roll=float(rng.uniform(-4, 4)),
    )


def ease(time: float, start: float, duration: float) -> float:
    """Compute the curve of minimum jerk from 0 before `start` to 1 after `duration` more seconds."""
    u = min(max((time - start) / duration, 0.0), 1.0)
    return u**3 * (10 - 15 * u + 6 * u**2)


@dataclass(frozen=True)
class _Stroke:
    """A movement from 0 to 1, a pause, and the way back, in seconds. A clip may end before it does."""

    start: float
    rise: float
    hold: float
    fall: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, rise: tuple[float, float], hold: tuple[float, float]) -> _Stroke:
        up = float(rng.uniform(*rise))
        return cls(float(rng.uniform(0.1, 0.35)), up, float(rng.uniform(*hold)), up * float(rng.uniform(1.1, 1.5)))

    def __call__(self, time: float) -> float:
        return ease(time, self.start, self.rise) - ease(time, self.start + self.rise + self.hold, self.fall)


@dataclass(frozen=True)
class _Sway:
    """Two slow waves for each angle of the head, in degrees."""

    amplitude: np.ndarray  # [3, 2]
    rate: np.ndarray  # radians a second
    phase: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Sway:
        draws = (rng.uniform(0.1, 0.5, (3, 2)), rng.uniform(1.5, 5.0, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2)))
        return cls(*draws)

    def apply(self, portrait: Portrait, time: float) -> Portrait:
        yaw, pitch, roll = (self.amplitude * np.sin(self.rate * time + self.phase)).sum(1)
        return replace(
            portrait,
            yaw=portrait.yaw + float(yaw),
            pitch=portrait.pitch + float(pitch),
            roll=portrait.roll + float(roll),
        )


Move = Callable[[Portrait, float], Portrait]


def _smile(rng: np.random.Generator) -> Move:
    """Draw a smile, with more or less open lips."""
    stroke, height = _Stroke.draw(rng, rise=(0.35, 0.55), hold=(0.3, 0.9)), float(rng.uniform(0.8, 1.0))
    parted = float(rng.uniform(0.2, 0.6))

    def move(rest: Portrait, time: float) -> Portrait:
        share = stroke(time)
        return replace(rest, smile=rest.smile + (height - rest.smile) * share, mouth_open=parted * share)

    return move


def _open_mouth(rng: np.random.Generator) -> Move:
    """Draw a mouth that opens and closes."""
    stroke, height = _Stroke.draw(rng, rise=(0.25, 0.4), hold=(0.1, 0.5)), float(rng.uniform(0.75, 1.0))
    return lambda rest, time: replace(rest, mouth_open=height * stroke(time))


def _blink(rng: np.random.Generator) -> Move:
    """Draw one or two slow blinks, closed for at least two frames, so that 12.5 frames per second show them."""
    first = _Stroke(float(rng.uniform(0.12, 0.3)), 0.14, float(rng.uniform(0.12, 0.2)), 0.2)
    again = replace(first, start=first.start + first.rise + first.hold + first.fall + float(rng.uniform(0.04, 0.12)))
    strokes = (first, again) if rng.random() < 0.5 else (first,)

    def move(rest: Portrait, time: float) -> Portrait:
        shut = max(stroke(time) for stroke in strokes)
        return replace(rest, blink=rest.blink + (0.95 - rest.blink) * shut)

    return move


def _turn(side: int) -> Callable[[np.random.Generator], Move]:
    """Make a turn of the head, in which the eyes move first."""

    def draw(rng: np.random.Generator) -> Move:
        stroke, angle = _Stroke.draw(rng, rise=(0.45, 0.7), hold=(0.3, 1.2)), side * float(rng.uniform(22, 36))
        eyes = replace(stroke, start=stroke.start - 0.08, rise=0.5 * stroke.rise)

        def move(rest: Portrait, time: float) -> Portrait:
            gaze = (rest.gaze[0] + 0.7 * side * eyes(time), rest.gaze[1])
            return replace(rest, yaw=rest.yaw + angle * stroke(time), gaze=gaze)

        return move

    return draw


def _nod(rng: np.random.Generator) -> Move:
    """Draw a nod: down, up a little beyond rest, and often down again."""
    start, period = float(rng.uniform(0.08, 0.25)), float(rng.uniform(0.5, 0.7))
    depth, again = float(rng.uniform(13, 20)), float(rng.uniform(0.5, 1.0)) if rng.random() < 0.6 else 0.0

    def move(rest: Portrait, time: float) -> Portrait:
        half = 0.5 * period
        first = ease(time, start, half) - ease(time, start + half, half)
        second = ease(time, start + period, half) - ease(time, start + period + half, half)
        lift = ease(time, start + half, half) - ease(time, start + period, half)
        return replace(rest, pitch=rest.pitch - depth * (first + again * second) + 3 * lift)

    return move


def _raise_brows(rng: np.random.Generator) -> Move:
    """Draw brows that rise and fall."""
    stroke, height = _Stroke.draw(rng, rise=(0.2, 0.35), hold=(0.2, 0.7)), float(rng.uniform(0.85, 1.0))
    return lambda rest, time: replace(rest, brow_raise=rest.brow_raise + (height - rest.brow_raise) * stroke(time))


_MOVES: dict[str, Callable[[np.random.Generator], Move]] = {
    "smile": _smile,
    "open-mouth": _open_mouth,
    "blink": _blink,
    "turn-left": _turn(-1),
    "turn-right": _turn(1),
    "nod": _nod,
    "raise-brows": _raise_brows,
}
