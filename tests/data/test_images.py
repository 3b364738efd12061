"""Pictures of other kinds than 8-bit RGB, as photos and as frames of clips."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.images import convert_to_rgb
from zoo.errors import InvalidFileError
from zoo.faces.data.datasets import read_image
from zoo.video.data.files import stream_clip

RAMP = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(64, 0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_keep_their_levels(tmp_path: Path, suffix: str):
    """A gray picture of 16 bits, from a scanner or a microscope, has the same levels in 8, in every wing."""
    Image.fromarray(RAMP).save(tmp_path / f"photo{suffix}")
    (tmp_path / "clip").mkdir()
    Image.fromarray(RAMP).save(tmp_path / "clip" / "0.png")

    for row in (read_image(tmp_path / f"photo{suffix}", 64)[32], next(iter(stream_clip(tmp_path / "clip", 64)))[32]):
        assert np.abs(row.astype(int) - np.round(np.linspace(0, 255, 64))[:, None]).max() <= 1


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, dtype: type):
    """Pictures of 32-bit numbers do not say which of them is white; the error names what to do."""
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / "depth.tif")

    with Image.open(tmp_path / "depth.tif") as image, pytest.raises(InvalidFileError, match="8 or 16 bits"):
        convert_to_rgb(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_whatever_their_other_tags_say(orientation: int):
    """A telephone's orientation is read although another tag has a value of the wrong type."""
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 3), dtype=np.uint8)
    tags = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHI4s", 0x011A, 2, 3, b"no")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(4)  # the second is the resolution, a text here
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)

    upright = np.asarray(convert_to_rgb(Image.open(file)))

    across, down = pixels[:, ::-1], pixels[::-1]
    turned = {1: pixels, 2: across, 3: down[:, ::-1], 4: down, 5: pixels.swapaxes(0, 1), 6: down.swapaxes(0, 1),
              7: down[:, ::-1].swapaxes(0, 1), 8: across.swapaxes(0, 1)}  # fmt: skip
    assert np.array_equal(upright, turned[orientation])
