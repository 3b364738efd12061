"""The renderer of synthetic-faces: purity, ranges, and pictures that look like people."""

from __future__ import annotations

import colorsys
import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.render import heads
from zoo.render.attributes import (
    ATTRIBUTE_DTYPE,
    BACKGROUNDS,
    BEARDS,
    GARMENTS,
    HAIR_STYLES,
    HEADWEAR,
    Portrait,
    sample_portrait,
)


@pytest.fixture(scope="module")
def renderer() -> heads.HeadRenderer:
    pytest.importorskip("anny")
    return heads.HeadRenderer(64)


def plain(index: int = 4, **changes: object) -> Portrait:
    """A frontal, evenly lit, bare head."""
    frontal = {
        "yaw": 0.0, "pitch": 0.0, "roll": 0.0, "zoom": 1.0, "shift": (0.0, 0.0), "glasses": 0, "headwear": 0,
        "hair_style": HAIR_STYLES.index("bald"), "beard": 0, "light_azimuth": 10.0, "light_elevation": 25.0,
        "blink": 0.0, "gaze": (0.0, 0.0), "mouth_open": 0.0, "brow_raise": 0.0, "smile": 0.3,
    }  # fmt: skip
    return dataclasses.replace(sample_portrait(index), **(frontal | changes))


# -- parameters: NumPy alone


def test_sampling_is_a_pure_function_of_the_index() -> None:
    assert sample_portrait(7) == sample_portrait(7)
    assert sample_portrait(7) != sample_portrait(8)


def test_two_indices_share_a_person() -> None:
    a, b = sample_portrait(10), sample_portrait(11)
    for name in (
        "identity",
        "gender",
        "age_years",
        "local_changes",
        "skin",
        "hair",
        "hair_style",
        "beard",
        "iris",
    ):
        assert getattr(a, name) == getattr(b, name)
    assert (a.yaw, a.background_phase) != (b.yaw, b.background_phase)


def test_parameters_stay_in_range() -> None:
    for p in map(sample_portrait, range(500)):
        assert 18 <= p.age_years <= 75
        assert sum(p.ancestry) == pytest.approx(1)
        assert abs(p.yaw) <= 40
        assert abs(p.pitch) <= 18
        assert abs(p.roll) <= 12
        for name in (
            "gender",
            "melanin",
            "hair_grey",
            "smile",
            "mouth_open",
            "blink",
            "freckles",
            "recession",
        ):
            assert 0 <= getattr(p, name) <= 1, name
        for name, names in (
            ("hair_style", HAIR_STYLES), ("beard", BEARDS), ("headwear", HEADWEAR), ("garment", GARMENTS),
            ("background", BACKGROUNDS),
        ):  # fmt: skip
            assert 0 <= getattr(p, name) < len(names)


def test_accessories_have_their_share() -> None:
    portraits = [sample_portrait(i) for i in range(2000)]
    assert 0.12 < np.mean([p.glasses > 0 for p in portraits]) < 0.18
    assert 0.09 < np.mean([p.headwear > 0 for p in portraits]) < 0.15


def test_without_anny_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gan-zoo\[data\]'"):
        heads.HeadRenderer(64)


# -- pictures


def test_a_picture_does_not_depend_on_its_batch(renderer: heads.HeadRenderer) -> None:
    alone, record = renderer.render([5])
    together, records = renderer.render([3, 4, 5])
    assert alone.shape == (1, 64, 64, 3)
    assert alone.dtype == np.uint8
    assert (alone[0] == together[2]).all()
    assert record[0] == records[2]
    assert (alone[0] != together[1]).any()


def test_a_picture_is_the_same_in_another_process(renderer: heads.HeadRenderer) -> None:
    code = "from zoo.render.heads import HeadRenderer; import sys; " \
           "sys.stdout.buffer.write(b'pixels' + HeadRenderer(64).render([9, 6])[0].tobytes())"  # fmt: skip
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert out.split(b"pixels", 1)[1] == renderer.render([9, 6])[0].tobytes()


def test_records(renderer: heads.HeadRenderer) -> None:
    _, records = renderer.render(range(12))
    assert records.dtype == ATTRIBUTE_DTYPE
    assert (records["identity"] == records["index"] // 2).all()
    assert (records["skin_rgb"] > 0.03).all()
    assert (records["skin_rgb"] < 1).all()
    for r in records:
        assert r["yaw"] == np.float32(sample_portrait(int(r["index"])).yaw)


def test_skin_has_natural_hues(renderer: heads.HeadRenderer) -> None:
    _, records = renderer.render(range(40))
    for rgb in records["skin_rgb"]:
        hue, saturation, _ = colorsys.rgb_to_hsv(*map(float, rgb))
        assert 5 < hue * 360 < 40, rgb  # between red and yellow: no green, gray or magenta
        assert saturation > 0.1, rgb


def test_eyes_are_darker_than_the_cheeks_below(renderer: heads.HeadRenderer) -> None:
    image = renderer.render_portraits([plain()])[0][0].mean(-1)
    for columns in (slice(20, 31), slice(33, 44)):
        eye, cheek = image[26:32, columns], image[35:39, columns]
        assert eye.min() < 0.45 * np.median(cheek)


def test_a_blink_changes_the_eyes_and_little_else(renderer: heads.HeadRenderer) -> None:
    awake, asleep = renderer.render_portraits([plain(), plain(blink=0.9)])[0].astype(int)
    change = np.abs(awake - asleep).max(-1)
    assert change[24:34].max() > 40
    assert change[:16].max() < 8
    assert change[50:].max() < 8


def test_opening_the_mouth_changes_the_lower_face(renderer: heads.HeadRenderer) -> None:
    shut, wide = renderer.render_portraits([plain(), plain(mouth_open=1.0)])[0].astype(int)
    change = np.abs(shut - wide).max(-1)
    assert change[40:54].max() > 40
    assert change[:20].max() < 8


@pytest.mark.parametrize("style", range(len(HAIR_STYLES)))
def test_no_hair_style_hides_the_eyes(renderer: heads.HeadRenderer, style: int) -> None:
    bald, haired = renderer.render_portraits([plain(), plain(hair_style=style)])[0].astype(int)
    eyes = (slice(26, 32), slice(23, 41))
    assert np.abs(bald[eyes] - haired[eyes]).mean() < 14  # shadows may differ, not what is seen


def test_sizes(renderer: heads.HeadRenderer) -> None:
    with pytest.raises(InvalidValueError, match="at 32 to 256 px, and not at"):
        heads.HeadRenderer(16)
    small = renderer.render_portraits([plain()])[0][0].astype(float)
    large = heads.HeadRenderer(128).render_portraits([plain()])[0][0].astype(float)
    shrunk = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 4  # the same picture, only finer
