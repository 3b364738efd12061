"""Images as the networks see them, and the table `[data]` of models that train on images."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from zoo.data.rows import to_tensor
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.noise import Noise
from zoo.recipe import DataConfig

Encoding = Literal["raw", "webp", "source"]


@dataclass(frozen=True, kw_only=True)
class ImageDataConfig(DataConfig):
    """Images to train on."""

    flip: bool = True
    """Mirror half of the images left to right."""
    encoding: Encoding = "raw"
    """How the store holds pictures of your own: `raw` pixels, lossless `webp`, or `source`, the bytes of the files.
    All give the same pixels; the smaller ones are decoded for each batch."""
    decoding: Literal["cpu", "device"] = "cpu"
    """What decodes JPEG files of a store of encoding `source`: threads of the `cpu`, or the training's `device`. A GPU
    rounds otherwise than a CPU, so a training is no longer the same bit for bit on every machine."""

    classes: bool = False
    """Whether pictures of your own have classes: the subfolders of a folder, numbered by the order of their names, or
    the column of classes of a data set of the Hub. For architectures with `model.labels`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name and self.classes:
            raise InvalidValueError(f"data.classes: {self.name} has none; leave it out")
        if self.name and self.encoding != "raw":
            raise InvalidValueError(
                f'data.encoding = "{self.encoding}" is for pictures of your own; {self.name} is raw: leave it out'
            )
        if self.decoding == "device" and self.encoding != "source":
            raise InvalidValueError(
                f'data.decoding = "device": only JPEG files are decoded there, and data.encoding is "{self.encoding}"; '
                "use data.encoding=source"
            )

    @property
    def augments(self) -> bool:
        return self.flip

    @property
    def decodes_on_device(self) -> bool:
        return self.decoding == "device"


def decode_images(pixels: np.ndarray | Tensor) -> Tensor:
    """Decode uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1], channels last in memory; or clips, with T before H.

    They stay on their device.
    """
    images = to_tensor(pixels).movedim(-1, 1).float().div_(127.5).sub_(1)
    return images.contiguous(memory_format=torch.channels_last if images.dim() == 4 else torch.channels_last_3d)


def flip_images(pixels: Tensor, noise: Noise) -> Tensor:
    """Mirror half of stored images [N, H, W, C] left to right; or of clips, with T before H."""
    mirrored = noise.uniform(len(pixels), *[1] * (pixels.dim() - 1)) < 0.5
    return torch.where(mirrored.to(pixels.device, non_blocking=pixels.is_cuda), pixels.flip(-2), pixels)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright."""


MOST_PIXELS = 50_000_000
"""Of a picture or frame, which takes up to 200 MB. A file of a kilobyte can state thousands of megapixels."""


def check_pixels(width: int, height: int) -> None:
    """Raise InvalidFileError, without the file's name, where a picture has more than MOST_PIXELS."""
    if width * height > MOST_PIXELS:
        most = f"{MOST_PIXELS / 1e6:.0f} megapixels"
        raise InvalidFileError(f"a picture of {width} x {height} px; at most {most} are read: save it smaller")


FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
"""What a file may hold, whatever its name says. Others run programs of the system: Pillow draws EPS by Ghostscript."""


@contextmanager
def open_image(source: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Open a picture, whose pixels are not read yet. `convert_to_rgb` checks how many they are.

    Raises InvalidFileError, without the file's name, where Pillow itself refuses their number; and what Pillow raises
    for a file of none of FORMATS.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
        try:
            opened = Image.open(source, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise InvalidFileError(
                f"a picture of too many pixels; at most {MOST_PIXELS / 1e6:.0f} megapixels are read: save it smaller"
            ) from error
    with opened as image:
        yield image


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to 8-bit sRGB by its color profile, upright by EXIF, on white where it is transparent.

    Of 16 bits, the upper ones are kept. A broken profile is passed over. Raises InvalidFileError, without the file's
    name, for a picture of more than MOST_PIXELS, and for one of 32-bit numbers, whose range is not known.
    """
    check_pixels(*image.size)
    if image.mode in ("I", "F"):
        raise InvalidFileError("a picture of 32-bit numbers, whose range is not known; save it with 8 or 16 bits")
    turn = _TURNS.get(read_orientation(image))
    if image.mode.startswith("I;16"):  # Pillow would clip them all to white
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if profile := image.info.get("icc_profile"):
        image = _convert_to_srgb(image, profile)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def crop_square(image: Image.Image, size: int) -> np.ndarray:
    """Resize the central square of an image to uint8 [size, size, 3]: sRGB, upright, on white where transparent.

    The filter is Lanczos with antialiasing, as the metrics of the field assume (Pillow's filters have it).
    """
    return np.asarray(ImageOps.fit(convert_to_rgb(image), (size, size), Image.Resampling.LANCZOS))


def _convert_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert a picture with a color profile to sRGB, with its transparency; unchanged if the profile is broken."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    try:
        plain = image if image.mode in ("L", "CMYK") else image.convert("L" if image.mode == "LA" else "RGB")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # damaged profiles raise almost anything
        return image
    assert converted is not None  # it is not converted in place
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def read_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 if there is none. Other tags of a telephone's pictures may be out of order."""
    try:
        return image.getexif().get(0x0112) or 1
    except Exception:
        return 1
