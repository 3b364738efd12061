"""The parameters of a portrait of `synthetic-faces`, their distributions, and its attributes. NumPy only.

Colors are linear RGB in 0..1 unless a name says sRGB. Angles are in degrees. Azimuth 0 is the front; it is positive
towards the right of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

VERSION: int = 1  # of the data set: a change of any pixel must raise it

HAIR_STYLES = (
    "bald", "buzz", "short", "side_part", "quiff", "fringe", "bob", "long", "curly", "afro", "bun",
)  # fmt: skip
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
HEADWEAR = ("none", "cap", "beanie", "headband", "scarf")
GARMENTS = ("crew", "v_neck", "turtleneck", "open_collar")
BACKGROUNDS = ("gradient", "bokeh", "horizon", "wall")

# The local changes of the body model that make faces differ. A name without a side prefix moves both sides equally. The
# negative of an "incr" is its "decr". Asymmetric changes (trans-out, angle-out) are left out.
LOCAL_CHANGES = (
    "cheek-volume-incr", "cheek-inner-incr", "cheek-bones-incr", "chin-height-incr", "chin-prominent-incr",
    "chin-bones-incr", "chin-width-incr", "chin-jaw-drop-incr", "ear-scale-incr", "ear-wing-incr",
    "eyebrows-angle-up", "eyebrows-trans-up", "eye-scale-incr", "eye-trans-out", "eye-corner1-up",
    "eye-corner2-up", "eye-eyefold-up", "eye-bag-incr", "forehead-temple-incr", "forehead-scale-vert-incr",
    "head-fat-incr", "head-scale-horiz-incr", "head-scale-vert-incr", "mouth-lowerlip-volume-incr",
    "mouth-scale-horiz-incr", "mouth-upperlip-volume-incr", "mouth-cupidsbow-incr", "mouth-angles-up",
    "mouth-trans-up", "neck-scale-horiz-incr", "nose-flaring-incr", "nose-hump-incr", "nose-point-up",
    "nose-point-width-incr", "nose-scale-depth-incr", "nose-scale-horiz-incr", "nose-scale-vert-incr",
    "nose-trans-up", "nose-width1-incr", "nose-width2-incr", "nose-width3-incr", "nose-volume-incr",
)  # fmt: skip

ATTRIBUTE_DTYPE = np.dtype([
    ("index", "i8"),
    ("identity", "i8"),  # index // 2
    ("gender", "f4"),  # 0 male .. 1 female
    ("age_years", "f4"),  # 18..75
    ("ancestry", "f4", 3),  # African, Asian, European; sums to 1
    ("melanin", "f4"),  # 0 lightest .. 1 darkest
    ("skin_rgb", "f4", 3),  # sRGB 0..1, the mean of the skin as rendered (lit)
    ("hair_style", "i4"),  # index into HAIR_STYLES
    ("hair_rgb", "f4", 3),  # sRGB 0..1, unlit
    ("hair_grey", "f4"),  # 0..1; spelled so in version 1 of the data, and part of its fingerprint
    ("beard", "i4"),  # index into BEARDS
    ("glasses", "?"),
    ("headwear", "i4"),  # index into HEADWEAR
    ("garment", "i4"),  # index into GARMENTS
    ("smile", "f4"),  # 0..1, like the next two
    ("mouth_open", "f4"),
    ("blink", "f4"),
    ("brow_raise", "f4"),  # -1 frown .. 1 raised
    ("yaw", "f4"),  # degrees, positive: turned to the right of the picture
    ("pitch", "f4"),  # degrees, positive: looks up
    ("roll", "f4"),  # degrees, positive: clockwise in the picture
    ("light_azimuth", "f4"),  # degrees
    ("light_elevation", "f4"),  # degrees
    ("background", "i4"),  # index into BACKGROUNDS
])  # fmt: skip

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Portrait:
    """Everything that a picture depends on, except for its size. `dataclasses.replace` changes any field."""

    index: int
    # The person: it depends on `identity` alone.
    identity: int
    gender: float  # 0 male .. 1 female
    age_years: float
    ancestry: tuple[float, float, float]  # African, Asian, European
    muscle: float  # 0..1
    weight: float  # 0..1
    local_changes: tuple[float, ...]  # [len(LOCAL_CHANGES)] about -0.6..0.6
    melanin: float
    skin: Color
    lip: Color
    iris: Color
    freckles: float  # 0..1
    hair_style: int
    hair: Color  # with the gray hair mixed in
    hair_grey: float
    hair_length: float  # 0..1 within the style
    hair_part: float  # -1 or 1: the side of the parting
    recession: float  # 0..1 of the hairline
    beard: int
    brow_weight: float  # 0.7 fine .. 1.3 bushy
    # The picture: expression, pose, clothes, light, background.
    smile: float
    mouth_open: float
    blink: float
    brow_raise: float
    gaze: tuple[float, float]  # right and up, -1..1
    yaw: float
    pitch: float
    roll: float
    zoom: float  # about 1
    shift: tuple[float, float]  # of the head, in picture widths: right, down
    glasses: int  # 0 none, 1 rectangular, 2 round
    glasses_color: Color
    headwear: int
    headwear_color: Color
    garment: int
    garment_color: Color
    light_azimuth: float
    light_elevation: float
    light_warmth: float  # -1 cool .. 1 warm
    fill: float  # strength of the fill light, 0..1
    background: int
    background_colors: tuple[Color, Color]
    background_phase: float  # seeds the blobs and the tilt


def to_linear(srgb: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Convert sRGB in 0..1 to linear RGB."""
    c = np.asarray(srgb, np.float64)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Convert linear RGB in 0..1 to sRGB."""
    c = np.clip(np.asarray(linear, np.float64), 0, 1)
    return np.where(c <= 0.0031308, c * 12.92, 1.055 * c ** (1 / 2.4) - 0.055)


def _parse_hex(*codes: str) -> np.ndarray:
    """Convert hexadecimal sRGB codes to linear colors [N, 3]."""
    return to_linear(np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in codes]) / 255)


# From light to dark, on the natural line from pink-ivory over olive to deep brown.
SKIN_TONES = _parse_hex("f6d9c6", "efc8ab", "e0b08c", "c99270", "ad7552", "8a583b", "68412d", "4c3024")
HAIR_COLORS = {
    "black": _parse_hex("17120f")[0], "dark_brown": _parse_hex("2e1f17")[0], "brown": _parse_hex("4f3423")[0],
    "light_brown": _parse_hex("7b5636")[0], "blond": _parse_hex("c39a5f")[0], "red": _parse_hex("8a4122")[0],
}  # fmt: skip
GREY_HAIR = _parse_hex("c9c5c0")[0]
IRISES = _parse_hex("3b2314", "5b3a1d", "74562c", "5f7040", "4f7d9c", "6c8796")  # browns, hazel, green, blue, gray
CLOTHES = _parse_hex(
    "26324a", "7d2f35", "35513f", "d9d4c7", "3b3b40", "8a6d4b", "4f6d86", "a3564a", "6b4f6e", "ece8e0",
    "1f2226", "b98a3e", "5e7a6a",
)  # fmt: skip
BACKDROPS = _parse_hex(
    "8b98a3", "a99f90", "6f7f76", "59636e", "b7aa98", "7a6c66", "9aa79b", "c2bcb0", "4c5258", "8f8478",
    "6c8494", "a58f86", "d2cabd", "5f5a63",
)  # fmt: skip


def _interpolate(palette: np.ndarray, position: float) -> np.ndarray:
    """Interpolate the color at `position` (0..1) along a palette [N, 3]."""
    x = position * (len(palette) - 1)
    i = min(int(x), len(palette) - 2)
    return palette[i] + (x - i) * (palette[i + 1] - palette[i])


def _to_color(c: np.ndarray) -> Color:
    return tuple(float(x) for x in np.clip(c, 0, 1))  # type: ignore[return-value]


def _sample_person(identity: int) -> dict[str, Any]:
    """Sample the fields of `Portrait` that belong to the person."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([VERSION, 0, identity])))
    woman = rng.random() < 0.5
    gender = float(np.clip((0.9 if woman else 0.1) + rng.normal(0, 0.07), 0, 1))
    age = float(18 + 57 * rng.beta(1.1, 1.7))
    ancestry = rng.dirichlet((0.35, 0.35, 0.45))
    melanin = float(np.clip(ancestry @ (0.82, 0.34, 0.17) + rng.normal(0, 0.07), 0, 1))
    skin = _interpolate(SKIN_TONES, melanin) * (1 + rng.normal(0, 0.02, 3))
    # Lips are redder than the skin: deeper on dark skin, and stronger (a little make-up) on some women.
    rouge = 0.7 + 0.25 * rng.random() + (0.3 * rng.random() if woman else 0)
    lip = skin * (1 - rouge * np.array((0.20, 0.62, 0.54)))

    fair = max(0.0, float(ancestry[2] - 0.45)) / 0.55
    weights = np.array([1.2, 1.2, 1.7 * fair, 1.3 * fair**2, 1.3 * fair**2, 0.5 * fair**2])
    hair = list(HAIR_COLORS.values())[rng.choice(6, p=weights / weights.sum())] * np.exp(rng.normal(0, 0.12))
    gray = float(np.clip((age - rng.normal(54, 9)) / 18, 0, 1)) * (0.6 if woman else 1.0)
    # Red hair turns sandy before it turns white; red mixed with white would be pink.
    sand = float(hair.mean()) * np.array((1.12, 1.0, 0.86))
    hair = hair + (sand - hair) * min(1.0, 6 * gray)
    hair = hair + (GREY_HAIR * rng.uniform(0.7, 1.05) - hair) * gray
    iris_kind = rng.choice(6, p=np.array([2.5, 2, 1, 0.9 * fair, 2 * fair, fair]) / (5.5 + 3.9 * fair))

    african = float(ancestry[0])
    if woman:  #           bald  buzz  short part quiff fringe bob long curly afro           bun
        odds = np.array([0.00, 0.05, 0.45, 0.5, 0.1, 0.3, 1.8, 2.6, 1.1, 2.2 * african**2, 1.3])
    else:
        odds = np.array([0.6 + age / 75, 1.0, 2.2, 1.7, 1.2, 0.9, 0.1, 0.25, 0.6, 0.9 * african**2, 0.15])
    recession = 0.0 if woman else float(np.clip(rng.normal((age - 30) / 60, 0.2), 0, 1))
    beard_odds = np.array([3.0, 1.6, 0.45, 0.5, 1.4])
    return {
        "identity": identity,
        "gender": gender,
        "age_years": age,
        "ancestry": tuple(float(a) for a in ancestry),
        "muscle": float(np.clip(rng.normal(0.5, 0.1), 0.2, 0.8)),
        "weight": float(np.clip(rng.normal(0.48, 0.13), 0.15, 0.85)),
        "local_changes": tuple(float(x) for x in np.clip(rng.normal(0, 0.24, len(LOCAL_CHANGES)), -0.6, 0.6)),
        "melanin": melanin,
        "skin": _to_color(skin),
        "lip": _to_color(lip),
        "iris": _to_color(IRISES[iris_kind] * rng.uniform(0.85, 1.25)),
        "freckles": float(rng.uniform(0.4, 1)) if rng.random() < 0.25 * (melanin < 0.35) else 0.0,
        "hair_style": int(rng.choice(len(HAIR_STYLES), p=odds / odds.sum())),
        "hair": _to_color(hair),
        "hair_grey": gray,
        "hair_length": float(rng.random()),
        "hair_part": float(rng.choice((-1.0, 1.0))),
        "recession": recession,
        "beard": 0 if woman else int(rng.choice(len(BEARDS), p=beard_odds / beard_odds.sum())),
        "brow_weight": float(rng.uniform(0.75, 1.0) if woman else rng.uniform(0.95, 1.3)),
    }


def sample_portrait(index: int) -> Portrait:
    """Sample the portrait of an index. It depends on the index and VERSION alone."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([VERSION, 1, index])))
    return draw_portrait(index // 2, rng, index=index)


def draw_portrait(identity: int, rng: np.random.Generator, *, index: int) -> Portrait:
    """Draw a portrait of a person: `rng` decides the expression, pose, clothes, light and background."""
    person = _sample_person(identity)

    def normal(sd: float, limit: float) -> float:
        return float(np.clip(rng.normal(0, sd), -limit, limit))

    headwear = int(rng.choice(5, p=(0.88, 0.035, 0.03, 0.025, 0.03)))
    if HEADWEAR[headwear] in ("headband", "scarf") and person["gender"] < 0.5:
        headwear = HEADWEAR.index("cap" if HEADWEAR[headwear] == "headband" else "beanie")
    backdrop = BACKDROPS[rng.choice(len(BACKDROPS), 2, replace=False)] * rng.uniform(0.6, 1.15)
    return Portrait(
        index=index,
        **person,
        smile=float(rng.beta(1.3, 1.2)),
        mouth_open=float(rng.beta(1.2, 3)) if rng.random() < 0.4 else 0.0,
        blink=float(rng.uniform(0.75, 0.9)) if rng.random() < 0.012 else float(rng.uniform(0, 0.12)),
        brow_raise=normal(0.4, 1),
        gaze=(normal(0.3, 0.8), normal(0.15, 0.4)),
        yaw=normal(15, 40),
        pitch=normal(6, 18),
        roll=normal(4, 12),
        zoom=float(np.exp(normal(0.03, 0.07))),
        shift=(normal(0.012, 0.03), normal(0.012, 0.03)),
        glasses=int(rng.integers(1, 3)) if rng.random() < 0.15 else 0,
        glasses_color=_to_color(_parse_hex("17171a", "3a2417", "6d6a66", "2a2f45")[rng.integers(4)]),
        headwear=headwear,
        headwear_color=_to_color(CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.8, 1.2)),
        garment=int(rng.choice(len(GARMENTS), p=(0.4, 0.25, 0.13, 0.22))),
        garment_color=_to_color(CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.8, 1.2)),
        light_azimuth=float(rng.uniform(-55, 55)),
        light_elevation=float(rng.uniform(15, 50)),
        light_warmth=normal(0.5, 1),
        fill=float(rng.uniform(0.35, 0.75)),
        background=int(rng.choice(len(BACKGROUNDS), p=(0.3, 0.25, 0.2, 0.25))),
        background_colors=(_to_color(backdrop[0]), _to_color(backdrop[1])),
        background_phase=float(rng.uniform(0, 100)),
    )
