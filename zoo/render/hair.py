"""Hair and headwear: smooth shells over the scalp, cut by smooth curves. NumPy only.

A shell is a grid over the directions (azimuth, elevation) from the center of the head. It follows the skull or, for
long hair and scarves, leaves it above the ears and hangs down. Its thickness is a field on the grid. Its border is an
*edge table*: an elevation for each azimuth. The kernels evaluate that table at every sample, so hairlines are smooth at
any resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.render.attributes import HAIR_STYLES, HEADWEAR, Portrait

EDGE_AZIMUTHS = np.arange(72) * 5.0 - 180  # degrees, of the edge tables
COLUMNS = 73  # of a shell's grid; the last repeats the first, so there is no seam
ROWS = 34
GRID_AZIMUTHS = np.linspace(-180, 180, COLUMNS)
FOLLOWING = np.linspace(90, -62, ROWS)  # elevations of the rows of a shell that follows the skull
HANGING = np.linspace(90, 6, ROWS // 2)  # ... of one that hangs, down to where it leaves the skull
HANG_REACH = 0.1  # meters of fall that count as one radian of elevation below the release

# Knots (azimuth, elevation) of the natural hairline: forehead, temple, sideburn, over the ear, nape.
HAIRLINE = {
    0: 36, 20: 36.5, 38: 34, 50: 27, 60: 19, 68: 4, 74: -14, 80: -14, 86: 5, 100: 10, 115: 3, 128: -26,
    150: -42, 180: -45,
}  # fmt: skip
FRAMING = {48: 26, 54: 19, 59: 6, 63: -20, 67: -70, 72: -170, 180: -300}  # hair that hangs next to the face


def _curve(knots: Mapping[int, float], asymmetry: np.ndarray | float = 0.0) -> np.ndarray:
    """Make a slightly smoothed edge table in degrees from knots over the absolute azimuth."""
    azimuth, elevation = np.array(sorted(knots.items())).T
    table = np.interp(np.abs(EDGE_AZIMUTHS), azimuth, elevation) + asymmetry
    return 0.25 * np.roll(table, 1) + 0.5 * table + 0.25 * np.roll(table, -1)


def _bell(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (x / width) ** 2)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Shell:
    """A shell to build: the grid's thickness and fall, and the edge table that cuts it."""

    thickness: np.ndarray  # [ROWS, COLUMNS] meters above the scalp
    edge: np.ndarray  # [72] degrees of elevation
    fall: float = 0.0  # meters that it hangs below the skull; at 0 it follows the skull
    flare: float = 0.0  # how much wider the lower end is, as a fraction
    wave: float = 0.0  # amplitude of the waves in hanging hair, in meters


def grid_elevations(fall: float) -> np.ndarray:
    """Compute the elevations in degrees of a shell's rows [ROWS]; where it hangs they measure the fall."""
    if not fall:
        return FOLLOWING
    drop = np.linspace(0, fall, ROWS - len(HANGING) + 1)[1:]
    return np.concatenate([HANGING, HANGING[-1] - np.degrees(drop / HANG_REACH)])


def make_hairline(portrait: Portrait) -> np.ndarray:
    """Make the edge table of the roots, which decides where hair is painted on the scalp."""
    azimuth = np.abs(EDGE_AZIMUTHS)
    back = 22 * _bell(azimuth - 30, 13) + 9 * _bell(azimuth, 16)
    table = _curve(HAIRLINE, portrait.recession * back)
    if HAIR_STYLES[portrait.hair_style] == "bald":
        # A bald man has a ring of shaved stubble, which is so short that only its shadow is visible.
        table = np.maximum(table, np.interp(azimuth, (0, 60, 85, 180), (120, 80, 22, 10)))
    return table


def make_hair(portrait: Portrait) -> Shell | None:
    """Make the shell of a portrait's hair style; None for hair that is only painted on the scalp."""
    style = HAIR_STYLES[portrait.hair_style]
    if style in ("bald", "buzz"):
        return None
    length, side = portrait.hair_length, portrait.hair_part
    azimuth, roots = EDGE_AZIMUTHS, make_hairline(portrait)
    edge, fall, flare, wave = roots, 0.0, 0.0, 0.0
    fringe = np.where(np.abs(azimuth) < 62, np.minimum(roots, 14 + 5 * side * azimuth / 60 + 0.003 * azimuth**2), roots)
    if style == "fringe":
        edge = fringe
    elif style == "side_part":
        # The hair is combed from the parting across the forehead, and lower on the far side.
        edge = roots - (5 + 8 * length) * _bell(azimuth + side * 34, 20)
    elif style in ("bob", "long", "curly"):
        fall = {"bob": 0.085 + 0.05 * length, "long": 0.17 + 0.1 * length, "curly": 0.06 + 0.12 * length}[style]
        if style == "curly" and portrait.gender < 0.5:
            fall = 0.0
        else:
            flare, wave = (0.10 if style != "curly" else 0.22), (0.006 if style == "long" else 0.002)
            edge = np.minimum(roots - 4 * _bell(azimuth + side * 40, 18), _curve({0: 36, 30: 36, 40: 32, **FRAMING}))
            if portrait.hair_length < {"bob": 0.6, "long": 0.25}.get(style, 0.0):
                edge = np.minimum(edge, np.where(np.abs(azimuth) < 56, 14 + 4 * side * azimuth / 60, 90))
    if style == "curly" and not fall:
        edge = roots - 3 - 9 * _bell(azimuth, 35)

    elevation = grid_elevations(fall)[:, None]
    azimuth_grid = GRID_AZIMUTHS[None]
    forwards = np.cos(np.radians(azimuth_grid)) * np.cos(np.radians(elevation))  # 0 at the pole: no spike there
    front = smoothstep(0.05, 0.7, forwards) * smoothstep(15, 50, elevation)
    top = smoothstep(5, 60, elevation)
    # Thickness in millimeters at the sides and on the top, and what is added above the forehead.
    sides, crown, quiff = {
        "short": (5, 12 + 6 * length, 5),
        "side_part": (6, 15 + 8 * length, 8),
        "quiff": (5, 14, 20 + 12 * length),
        "fringe": (9, 15, 4),
        "bob": (22, 20, 2),
        "long": (21, 19 + 5 * length, 3),
        "curly": (24 + 8 * length, 28 + 8 * length, 6),
        "afro": (32 + 26 * length, 36 + 28 * length, 0),
        "bun": (5, 9, 3),
    }[style]
    thickness = sides + (crown - sides) * top + quiff * front
    if style in ("side_part", "long", "bob"):
        groove = _bell(azimuth_grid * np.cos(np.radians(elevation)) - side * 22, 5) * smoothstep(30, 50, elevation)
        thickness = thickness - 5 * groove * _bell(np.abs(azimuth_grid) - 45, 60)
    if style in ("curly", "afro"):
        phase = portrait.identity % 7
        lumps = np.sin(np.radians(azimuth_grid) * 9 + phase) * np.sin(np.radians(elevation) * 8 + 2 * phase)
        lumps = lumps + 0.7 * np.sin(np.radians(azimuth_grid) * 17 + elevation * 0.3 + phase)
        thickness = thickness + (2.6 if style == "curly" else 1.6) * lumps * np.cos(np.radians(elevation))
    # The shell starts at the skin at its roots; a free edge, such as a fringe, keeps some thickness.
    above = elevation - np.interp(azimuth_grid, azimuth, edge, period=360)
    free = np.interp(azimuth_grid, azimuth, roots - edge, period=360) > 4
    rise = smoothstep(-4, 20 if style == "afro" else 15, above)
    thickness = np.maximum(thickness * np.where(free, 0.3 + 0.7 * rise, 0.12 + 0.88 * rise), 1.0)
    return Shell(thickness / 1000, edge, fall, flare, wave)


def make_hat(portrait: Portrait) -> Shell | None:
    """Make the shell of a portrait's headwear; the visor of a cap is another part."""
    kind = HEADWEAR[portrait.headwear]
    if kind == "none":
        return None
    fall = 0.22 if kind == "scarf" else 0.0
    knots: Mapping[int, float] = {
        "cap": {0: 27, 50: 24, 90: 16, 140: 2, 180: -6},
        "beanie": {0: 27, 50: 20, 80: 2, 110: -6, 180: -18},
        "headband": {0: 36, 60: 28, 100: 16, 180: -30},
        "scarf": {0: 33, 25: 32, 40: 27, **{k: v for k, v in FRAMING.items() if k > 45}},
    }[kind]
    elevation = grid_elevations(fall)[:, None] + 0 * GRID_AZIMUTHS[None]
    edge = _curve(knots)
    base = {"cap": 14, "beanie": 16, "headband": 12, "scarf": 24}[kind]
    thickness = base + 8 * smoothstep(40, 80, elevation) * (kind in ("cap", "beanie"))
    if kind == "beanie":  # the turned-up brim is thicker
        above = elevation - np.interp(GRID_AZIMUTHS[None], EDGE_AZIMUTHS, edge, period=360)
        thickness = thickness + 4 * smoothstep(17, 13, above)
    return Shell(np.asarray(thickness, np.float64) / 1000, edge, fall, 0.05 if fall else 0.0, 0.0)


def flatten_under(hair: Shell, hat: Shell, headband: bool) -> Shell:
    """Reduce the thickness of hair under a hat; a headband only presses a groove."""
    elevation = grid_elevations(hair.fall)[:, None]
    above = elevation - np.interp(GRID_AZIMUTHS[None], EDGE_AZIMUTHS, hat.edge, period=360)
    under = smoothstep(-14, 2, above)
    if headband:
        under = under * smoothstep(24, 14, above)
    flat = np.minimum(hair.thickness, 0.007)
    return Shell(hair.thickness + (flat - hair.thickness) * under, hair.edge, hair.fall, hair.flare, hair.wave)


def compute_points(shell: Shell, radius: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Compute the points [ROWS, COLUMNS, 3] of a shell; the scalp is `radius` [rows, COLUMNS] from `center`."""
    rows = len(radius)
    azimuth = np.radians(GRID_AZIMUTHS)[None]
    elevation = np.radians(HANGING if shell.fall else FOLLOWING)[:, None]
    direction = np.stack([
        np.sin(azimuth) * np.cos(elevation),
        -np.cos(azimuth) * np.cos(elevation),
        np.sin(elevation) + 0 * azimuth,
    ], axis=-1)  # fmt: skip
    points = np.empty((ROWS, COLUMNS, 3))
    points[:rows] = center + direction * (radius + shell.thickness[:rows])[..., None]
    if shell.fall:
        t = np.linspace(0, 1, ROWS - rows + 1)[1:, None]
        last = points[rows - 1] - center
        swing = 1 + shell.flare * np.sin(1.6 * t) + shell.wave / 0.1 * np.sin(11 * t + 3 * azimuth) * t
        points[rows:, :, 0] = center[0] + last[:, 0] * swing
        points[rows:, :, 1] = center[1] + last[:, 1] * swing
        points[rows:, :, 2] = center[2] + last[:, 2] - shell.fall * t
    return points
