"""Pictures of other kinds than 8-bit RGB, as photos and as frames of clips."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from zoo.data import images
from zoo.data.images import FORMATS, check_pixels, convert_to_rgb
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


def write_header(path: Path, width: int, height: int) -> None:
    """A picture file that states a size and has hardly any bytes."""
    if path.suffix == ".png":
        chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        with path.open("ab") as file:
            file.write(struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    else:
        path.write_bytes(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b"\x2c"
                         + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;")  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (12_000, 12_000), (60_000, 60_000)])
@pytest.mark.parametrize("kind", ["photo", "frame", "animation"])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, monkeypatch, kind: str, width: int, height: int):
    """Above 50 megapixels nothing is decoded; the error names the file and the limit, and Pillow does not warn."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    path = tmp_path / ("a.gif" if kind == "animation" else "a.png")
    write_header(path, width, height)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidFileError, match=r"a\.(png|gif).*at most 50 megapixels"):
            read_image(path, 8) if kind == "photo" else next(stream_clip(tmp_path if kind == "frame" else path, 8))


def test_a_file_that_would_run_another_program_is_refused(tmp_path: Path):
    """Pillow looks at the content and not at the name, and draws EPS by Ghostscript."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "EPS")

    with pytest.raises(InvalidFileError, match=r"a\.png: cannot be read: cannot identify"):
        read_image(tmp_path / "a.png", 8)


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_are_told_by_the_content(tmp_path: Path, kind: str):
    """A JPEG that is called .png is read, as viewers read it."""
    Image.new("RGB", (4, 4), "white").save(tmp_path / "a.png", kind)

    assert read_image(tmp_path / "a.png", 4).min() == 255


def test_fifty_megapixels_are_allowed(monkeypatch: pytest.MonkeyPatch):
    """The limit itself is not above the limit."""
    check_pixels(10_000, 5_000)
    monkeypatch.setattr(images, "MOST_PIXELS", 12)
    assert convert_to_rgb(Image.new("RGB", (4, 3))).size == (4, 3)
    with pytest.raises(InvalidFileError, match="a picture of 4 x 4 px"):
        convert_to_rgb(Image.new("RGB", (4, 4)))


def make_profile(primaries: Sequence[float], space: bytes = b"RGB ", gamma: float = 1.0) -> bytes:
    """An ICC profile of three primaries (X, Y, Z of each, for D50) and a gamma, as cameras write them; or of grays."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)

    def xyz(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))

    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": curve}
    if space == b"RGB ":
        del tags[b"kTRC"]
        for i, letter in enumerate((b"r", b"g", b"b")):
            tags[letter + b"XYZ"], tags[letter + b"TRC"] = xyz(*primaries[3 * i : 3 * i + 3]), curve
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", 0, bytes(4), 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    data = header.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(data)) + data[4:]


DISPLAY_P3 = (0.51512, 0.2412, -0.00105, 0.29198, 0.69225, 0.04189, 0.1571, 0.06657, 0.78407)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_are_those_of_the_profile(mode: str):
    """Skin of a telephone's Display P3 has the colors that a screen shows, and keeps its transparency."""
    image = Image.new("RGB", (4, 4), (191, 144, 120)).convert(mode, palette=Image.Palette.ADAPTIVE)
    if mode == "RGBA":
        image.putpixel((0, 0), (191, 144, 120, 0))
    image.info["icc_profile"] = make_profile(DISPLAY_P3, gamma=2.2)

    pixels = np.asarray(convert_to_rgb(image)).astype(int)

    # By the matrix of P3 to sRGB: linear (0.529, 0.284, 0.190) is (0.529 * 1.225 - 0.284 * 0.225, ...).
    linear = (np.array([191, 144, 120]) / 255) ** 2.2
    matrix = np.array([[1.2249, -0.2247, 0], [-0.042, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    shown = matrix @ linear
    want = np.where(shown > 0.0031308, 1.055 * shown ** (1 / 2.4) - 0.055, 12.92 * shown) * 255
    assert np.abs(pixels[3, 3] - want).max() < 2.5
    assert np.abs(pixels[3, 3] - [191, 144, 120]).max() > 5
    assert mode != "RGBA" or pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grays_are_those_of_the_profile(mode: str):
    """A gray picture of linear light becomes lighter, as screens show it."""
    image = Image.new("L", (2, 2), 55).convert(mode)
    image.info["icc_profile"] = make_profile((), b"GRAY", gamma=1.0)

    assert np.abs(np.asarray(convert_to_rgb(image)).astype(int) - 128).max() <= 2  # 55 / 255 of the light


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA"])
@pytest.mark.parametrize("profile", [b"junk", b"\0" * 200, make_profile(DISPLAY_P3)[:140], make_profile((), b"CMYK")])
def test_a_broken_profile_is_passed_over(mode: str, profile: bytes):
    """The pixels stay as they are, as if the picture had no profile; so with one of other channels than the picture."""
    plain = Image.new(mode, (2, 2), "teal")
    tagged = plain.copy()
    tagged.info["icc_profile"] = profile

    assert np.array_equal(np.asarray(convert_to_rgb(tagged)), np.asarray(convert_to_rgb(plain)))
