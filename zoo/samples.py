"""The types that `sample()` returns. They know their seed, save themselves, and show themselves in a notebook."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from zoo.errors import InvalidValueError, WriteError, suggest
from zoo.io.atomic import replace_atomically


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Generated samples. All tensors have one row a sample; `seed` is None for samples without one."""

    tensor: Tensor
    latents: Tensor | None = None
    styles: Tensor | None = None
    """What the latents were mapped to, of models with styles: [N, 1, W], or [N, L, W] where layers differ."""
    seed: int | None = None

    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    CARD_SUFFIXES: ClassVar[tuple[str, ...]] = ()
    """The formats of the samples beside a model card; empty for the first of SUFFIXES."""
    CARD_COUNT: ClassVar[int] = 64
    """The number of samples beside a model card."""
    READABLE: ClassVar[bool] = False
    """Whether `str` of the samples shows them, as of texts."""

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: slice) -> Self:
        """Return the samples of a slice. Raises TypeError for anything else."""
        if not isinstance(index, slice):
            raise TypeError(f"samples take a slice, e.g. samples[:4], not {index!r}")
        latents, styles = (rows if rows is None else rows[index] for rows in (self.latents, self.styles))
        return replace(self, tensor=self.tensor[index], latents=latents, styles=styles)

    @classmethod
    def check_path(cls, path: str | os.PathLike[str]) -> Path:
        """Return `path` if `save` could write it.

        Raises InvalidValueError for a suffix of an unknown format, WriteError.
        """
        path = Path(path).expanduser()
        if path.suffix and path.suffix.lower() not in cls.SUFFIXES and not path.is_dir():
            known = ", ".join(cls.SUFFIXES)
            raise InvalidValueError(
                f'{path}: cannot save {cls.__name__.lower()} as "{path.suffix}"; there are {known}, '
                f"or a folder for one file each.{suggest(path.suffix, cls.SUFFIXES)}"
            )
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        if path.suffix and path.is_dir() and path.suffix.lower() in cls.SUFFIXES:
            raise WriteError(f"{path}: cannot write: this is a folder")
        if existing != path and not existing.is_dir():
            raise WriteError(f"{path}: cannot write: {existing} is not a folder")
        if not path.suffix and path.is_file():
            raise WriteError(f"{path}: cannot write: a file is here, and a path without a suffix means a folder")
        if not os.access(existing, os.W_OK):
            raise WriteError(f"{path}: cannot write: no permission for {existing}")
        return path

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the samples in the format of the path's suffix, whole or not at all; return the path."""
        raise NotImplementedError


class Images(Samples):
    """Images [N, C, H, W] in [-1, 1], C of 1 or 3.

    `save` writes one grid (.png, .jpg, .jpeg, .webp). Into a folder, a path without a suffix, it writes one PNG each.
    """

    SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

    def to_uint8(self) -> np.ndarray:
        """Convert to uint8 [N, H, W, C] in 0..255."""
        scaled = self.tensor.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round()
        return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def to_pil(self) -> list[Image.Image]:
        """Convert to one Pillow image each."""
        return [_to_pil(pixels) for pixels in self.to_uint8()]

    def grid(self, columns: int | None = None, *, padding: int = 2) -> Image.Image:
        """Arrange all images in one picture, as `tile` does."""
        pixels = self.to_uint8()
        if not len(pixels):
            raise InvalidValueError("a grid needs at least one image")
        return _to_pil(tile(pixels, columns, padding=padding))

    def save(self, path: str | os.PathLike[str], *, columns: int | None = None) -> Path:
        path = self.check_path(path)
        if path.suffix.lower() not in self.SUFFIXES:
            digits = len(str(len(self) - 1))
            for i, image in enumerate(self.to_pil()):
                _save_image(image, path / f"{i:0{digits}}.png", text={"seed": f"{self.seed}", "index": f"{i}"})
            return path
        _save_image(self.grid(columns), path, text={"seed": f"{self.seed}", "count": f"{len(self)}"})
        return path

    def _repr_png_(self) -> bytes:
        """Show a grid of the first 64 in a notebook."""
        buffer = io.BytesIO()
        self[:64].grid().save(buffer, format="PNG")
        return buffer.getvalue()


def tile(cells: np.ndarray, columns: int | None = None, *, padding: int) -> np.ndarray:
    """Tile pictures or clips, uint8 [N, ..., H, W, C], row by row on white: [..., H', W', C].

    Unless `columns` is given, the result is as near to a square as possible. Grids with a full last row are preferred,
    unless each of them is more than twice as wide as high, or as high as wide.
    """
    n, *between, height, width, channels = cells.shape
    high, wide = height + padding, width + padding
    columns = columns or _choose_columns(n, wide / high)
    shape = (*between, math.ceil(n / columns) * high + padding, columns * wide + padding, channels)
    canvas = np.full(shape, 255, dtype=np.uint8)
    for i, cell in enumerate(cells):
        y, x = padding + i // columns * high, padding + i % columns * wide
        canvas[..., y : y + height, x : x + width, :] = cell
    return canvas


def _choose_columns(n: int, aspect: float) -> int:
    """Choose the number of columns for n cells, each `aspect` times as wide as high."""
    off = {columns: abs(math.log(aspect * columns / math.ceil(n / columns))) for columns in range(1, n + 1)}
    full = {columns: distance for columns, distance in off.items() if n % columns == 0 and distance <= math.log(2)}
    best = full or off
    return min(best, key=lambda columns: (round(best[columns], 6), -columns))  # of two equally near, the wide one


def _to_pil(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


LARGEST_SIDE = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500, ".gif": 65_535, ".mp4": 16_384}
"""Pixels a side, by the format. The limits of .jpg and .mp4 are those of libjpeg and x264."""


def check_size(width: int, height: int, path: Path) -> None:
    """Raise InvalidValueError where a picture or clip has more pixels a side than the format of `path` allows."""
    suffix = path.suffix.lower()
    if max(width, height) > LARGEST_SIDE.get(suffix, math.inf):
        raise InvalidValueError(
            f"{path}: {width} x {height} px, and a {suffix} has at most {LARGEST_SIDE[suffix]:,} a side; ask for "
            "fewer, or save into a folder"
        )


def _save_image(image: Image.Image, path: Path, *, text: dict[str, str]) -> None:
    check_size(*image.size, path)
    options: dict[str, Any] = {"quality": 95}
    if path.suffix.lower() == ".png":
        info = PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_text(key, value)
        options = {"pnginfo": info}
    with replace_atomically(path) as temporary:
        image.save(temporary, **options)
