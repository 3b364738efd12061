"""The types that `sample()` returns. They know their seed, save themselves, and show themselves in a notebook."""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, ClassVar, Self, overload

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from zoo.errors import InvalidValueError, WriteError, suggest
from zoo.io.atomic import replace_atomically


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Samples:
    """Generated samples. All tensors have one row a sample; `seed` is None for samples without one.

    A slice of samples, or one of them by its number, is samples again. So are the items of a loop over them.
    """

    tensor: Tensor
    latents: Tensor | None = None
    styles: Tensor | None = None
    """What the latents were mapped to, of models with styles: [N, 1, W], or [N, L, W] where layers differ."""
    seed: int | None = None
    source: str = ""
    """The name that the model was loaded by."""

    SUFFIXES: ClassVar[tuple[str, ...]] = ()
    CARD_SUFFIXES: ClassVar[tuple[str, ...]] = ()
    """The formats of the samples beside a model card; empty for the first of SUFFIXES."""
    CARD_COUNT: ClassVar[int] = 64
    """The number of samples beside a model card."""
    PIXELS: ClassVar[tuple[str, ...]] = (".png",)
    """The formats of SUFFIXES that have pixels; "" is a folder."""
    LINES: ClassVar[tuple[str, ...]] = ()
    """The formats of SUFFIXES that have a line for each sample."""
    READABLE: ClassVar[bool] = False
    """Whether `str` of the samples shows them, as of texts."""

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: slice | int) -> Self:
        """Return the samples of a slice, or the one with this number. Raises TypeError, IndexError."""
        rows = self._slice(index)
        latents, styles = (values if values is None else values[rows] for values in (self.latents, self.styles))
        return replace(self, tensor=self.tensor[rows], latents=latents, styles=styles)

    def _slice(self, index: slice | int) -> slice:
        if isinstance(index, slice):
            return index
        if not hasattr(index, "__index__"):
            raise TypeError(f"samples take a number or a slice, e.g. samples[0] or samples[:4], not {index!r}")
        number = range(len(self))[index]  # raises IndexError as a list does
        return slice(number, number + 1)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.tensor.shape[1:]))
        known = [self.source and f"of {self.source}", "" if self.seed is None else f"seed {self.seed}", shape]
        return f"{type(self).__name__}({len(self)} {', '.join(filter(None, known))})"

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

    @overload
    def save(
        self, target: str | os.PathLike[str], *, format: str = "", columns: int | None = None, scale: int = 1
    ) -> Path: ...

    @overload
    def save(self, target: IO[bytes], *, format: str, columns: int | None = None, scale: int = 1) -> None: ...

    def save(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        *,
        format: str = "",
        columns: int | None = None,
        scale: int = 1,
    ) -> Path | None:
        """Save the samples in the format of the path's suffix, whole or not at all; return the path.

        Args:
            target: a file, a folder (a path without a suffix), or a file object that is open for writing bytes.
            format: the format for a file object, as a suffix, e.g. ".png".
            columns: samples in a row of a picture, or of another format that has rows.
            scale: how many pixels wide and high each pixel of a picture or clip becomes.

        Raises InvalidValueError for an unknown format or a scale of what has no pixels, WriteError.
        """
        if not isinstance(target, str | os.PathLike):
            target.write(self.to_bytes(format, columns=columns, scale=scale))
            return None
        path = self.check_path(target)
        if format:
            raise InvalidValueError(f'format = "{format}" is for file objects; {path} has its format in its suffix')
        self.check_scale(path.suffix, scale)
        self._write(path, columns, scale)
        return path

    def to_bytes(self, format: str, *, columns: int | None = None, scale: int = 1) -> bytes:
        """Return what `save` would write into a file of this format, a suffix such as ".png". Raises as `save`."""
        if format.lower() not in self.SUFFIXES:
            known = ", ".join(self.SUFFIXES)
            raise InvalidValueError(
                f'format = "{format}" should be one of {known}.{suggest(format.lower(), self.SUFFIXES)}'
            )
        self.check_scale(format, scale)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"samples{format.lower()}"
            self._write(self.check_path(path), columns, scale)
            return path.read_bytes()

    def show_on(self, writer: Any, name: str, step: int) -> None:
        """Show some of the samples on TensorBoard, by its `SummaryWriter`."""

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        """Write a file, or a folder, for each sample, named by its number; yields after each."""
        raise NotImplementedError

    def write_lines(self, file: IO[str], numbers: Sequence[str]) -> Iterator[None]:
        """Write a line for each sample, in a format of LINES; yields after each."""
        raise NotImplementedError

    @classmethod
    def check_scale(cls, suffix: str, scale: int) -> None:
        """Raise InvalidValueError for a scale below 1, or above it in a format without pixels."""
        if scale < 1:
            raise InvalidValueError(f"scale = {scale} should be at least 1")
        if scale > 1 and suffix.lower() not in cls.PIXELS:
            where = ", ".join(filter(None, cls.PIXELS)) or "none of their formats"
            raise InvalidValueError(f"scale = {scale}: {cls.__name__.lower()} have pixels in {where}")

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        """Write the samples to a path that was checked, in the format of its suffix, whole or not at all."""
        raise NotImplementedError

    def _write_folder(self, path: Path, scale: int) -> None:
        for _ in self.write_each(path, number_files(range(len(self)), len(self)), scale):
            pass


def number_files(numbers: Sequence[int], total: int) -> list[str]:
    """Write numbers with as many digits as the last of `total` has, so that names sort."""
    return [f"{number:0{len(str(total - 1))}}" for number in numbers]


def can_stream(output: type[Samples], path: Path) -> bool:
    """Tell whether samples of a class can be saved to a path as they come: into a folder, or line by line."""
    suffix = path.suffix.lower()
    return suffix in output.LINES or suffix not in output.SUFFIXES


def save_stream(
    parts: Iterable[Samples],
    output: type[Samples],
    target: str | os.PathLike[str],
    total: int,
    *,
    scale: int = 1,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Save samples as they come, as `save` would all at once; returns how many were saved.

    Ctrl-C ends it early. What was saved until then is whole.

    Args:
        parts: what `GAN.stream` yields.
        output: the class of the parts.
        target: a folder, or a file of lines (.jsonl).
        total: how many samples will come.
        progress: called with the number of samples saved.

    Raises InvalidValueError for a path that is neither and for a scale that does not fit it, WriteError.
    """
    path = output.check_path(target)
    if not can_stream(output, path):
        known = " or as ".join(["into a folder", *output.LINES])
        raise InvalidValueError(f"{path}: samples are saved as they come {known}")
    output.check_scale(path.suffix, scale)
    saved = 0

    def write(file: IO[str] | None) -> None:
        nonlocal saved
        for part in parts:
            numbers = number_files(range(saved, saved + len(part)), total)
            for _ in part.write_each(path, numbers, scale) if file is None else part.write_lines(file, numbers):
                saved += 1
            if progress is not None:
                progress(saved)

    with suppress(KeyboardInterrupt):
        if path.suffix.lower() in output.LINES:
            # An interrupt ends the innermost block, so the lines until then replace the file.
            with (
                replace_atomically(path) as temporary,
                temporary.open("w", encoding="utf-8") as file,
                suppress(KeyboardInterrupt),
            ):
                write(file)
        else:
            write(None)
    return saved


class Images(Samples):
    """Images [N, C, H, W] in [-1, 1], C of 1 or 3.

    `save` writes one grid (.png, .jpg, .jpeg, .webp). Into a folder, a path without a suffix, it writes one PNG each.
    """

    SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
    PIXELS = (*SUFFIXES, "")

    def to_uint8(self) -> np.ndarray:
        """Convert to uint8 [N, H, W, C] in 0..255."""
        scaled = self.tensor.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round()
        return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def to_pil(self) -> list[Image.Image]:
        """Convert to one Pillow image each."""
        return [_to_pil(pixels) for pixels in self.to_uint8()]

    def grid(self, columns: int | None = None, *, padding: int = 2, scale: int = 1) -> Image.Image:
        """Arrange all images in one picture, as `tile` does, each pixel `scale` pixels wide and high."""
        pixels = self.to_uint8()
        if not len(pixels):
            raise InvalidValueError("a grid needs at least one image")
        return _to_pil(tile(enlarge(pixels, scale), columns, padding=padding))

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        for number, pixels in zip(numbers, enlarge(self.to_uint8(), scale), strict=True):
            text = {"seed": f"{self.seed}", "index": f"{int(number)}"}
            _save_image(_to_pil(pixels), folder / f"{number}.png", text=text)
            yield

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        if path.suffix.lower() not in self.SUFFIXES:
            self._write_folder(path, scale)
            return
        grid = self.grid(columns, scale=scale)
        _save_image(grid, path, text={"seed": f"{self.seed}", "count": f"{len(self)}"})

    def show_on(self, writer: Any, name: str, step: int) -> None:
        writer.add_image(name, np.asarray(self.grid().convert("RGB")), step, dataformats="HWC")

    def _repr_png_(self) -> bytes:
        """Show a grid of the first 64 in a notebook, large enough to see them."""
        buffer = io.BytesIO()
        self[:64].grid(scale=visible_scale(self.tensor.shape[-1])).save(buffer, format="PNG")
        return buffer.getvalue()


VISIBLE = 128  # pixels a side of what a notebook shows


def visible_scale(side: int) -> int:
    """Return how often pixels are repeated where images of this side are shown."""
    return max(1, VISIBLE // side)


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Make each pixel of pictures or clips, uint8 [..., H, W, C], `scale` pixels wide and high."""
    return pixels if scale == 1 else pixels.repeat(scale, axis=-3).repeat(scale, axis=-2)


def tile(cells: np.ndarray, columns: int | None = None, *, padding: int) -> np.ndarray:
    """Tile pictures or clips, uint8 [N, ..., H, W, C], row by row on white: [..., H', W', C].

    Unless `columns` is given, the result is as near to a square as possible. Grids with a full last row are preferred,
    unless each of them is more than twice as wide as high, or as high as wide. Raises InvalidValueError for columns
    below 1.
    """
    if columns is not None and columns < 1:
        raise InvalidValueError(f"columns = {columns} should be at least 1")
    n, *between, height, width, channels = cells.shape
    high, wide = height + padding, width + padding
    columns = _choose_columns(n, wide / high) if columns is None else columns
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
