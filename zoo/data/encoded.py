"""Encoded pictures in a store: their files one after the other in samples.bin, and where each ends in ends.npy.

The asset `encoding.json` names the encoding and the size in pixels. A picture is decoded as a file of a folder is read:
cut to its central square and resized. So the pixels are those of a store of raw ones.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.data.images import FORMATS, Encoding, crop_square, open_image, read_orientation

if TYPE_CHECKING:
    from zoo.data.store import Store

T = TypeVar("T")

SAMPLES, ENDS, ENCODING = "samples.bin", "ends.npy", "encoding.json"

PIXELS, FILES = np.dtype(np.uint8), np.dtype(object)
"""The types of raw and of encoded samples in a source."""

_EFFORT = {"method": 1, "quality": 20}
"""Of WebP's search for small files: a seventh of the time that its own settings take, for 2% more bytes."""


def describe_encoding(encoding: Encoding, size: int) -> Mapping[str, str]:
    """Return the assets of a source of pictures of `size` pixels."""
    return {} if encoding == "raw" else {ENCODING: json.dumps({"encoding": encoding, "size": size}) + "\n"}


def encode_picture(source: Path | io.BytesIO, size: int, encoding: Encoding) -> np.ndarray | bytes:
    """Read a picture and return what a store holds of it: uint8 [size, size, 3], or the bytes of a file.

    Raises whatever Pillow raises where it cannot be read.
    """
    with open_image(source) as image:
        pixels = crop_square(image, size)
    if encoding == "webp":
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", lossless=True, **_EFFORT)
        return file.getvalue()
    if encoding == "source":
        return source.read_bytes() if isinstance(source, Path) else source.getvalue()
    return pixels


def stack_pictures(pictures: Sequence[np.ndarray | bytes]) -> np.ndarray:
    """Stack what `encode_picture` returned: uint8 [N, H, W, 3], or object [N] of bytes."""
    if isinstance(pictures[0], np.ndarray):
        return np.stack(pictures)
    files = np.empty(len(pictures), FILES)
    files[:] = pictures
    return files


class EncodedImages:
    """The pictures of a store, indexed like an array uint8 [N, H, W, 3]. Rows are decoded by a thread a core."""

    dtype = PIXELS

    def __init__(self, folder: Path) -> None:
        """Open the pictures. Raises OSError, ValueError, KeyError or TypeError where they are damaged."""
        size = json.loads((folder / ENCODING).read_text(encoding="utf-8"))["size"]
        ends = np.load(folder / ENDS, allow_pickle=False)
        self._files = np.memmap(folder / SAMPLES, dtype=np.uint8, mode="r")
        self._starts, self._ends, self._numbers = np.append(0, ends[:-1]), ends, np.arange(len(ends))
        self.shape = (len(ends), size, size, 3)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = self._numbers[index]
        if rows.ndim == 0:
            return self._decode(rows)
        if not len(rows):
            return np.empty((0, *self.shape[1:]), PIXELS)
        return np.stack(list(self.map(self._decode, rows)))

    def map(self, function: Callable[[np.intp], T], rows: np.ndarray) -> Iterable[T]:
        """Call a function with each row, in threads."""
        return self._pool.map(function, rows)

    def read_file(self, row: np.intp) -> bytes:
        """Return the file of a row."""
        return self._files[self._starts[row] : self._ends[row]].tobytes()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="decode")  # Pillow decodes without Python's lock

    def _decode(self, row: np.intp) -> np.ndarray:
        content = io.BytesIO(self.read_file(row))
        # Not by `open_image`, which changes the filters of warnings: those are the same for all threads. The number of
        # pixels was checked when the store was built.
        with Image.open(content, formats=FORMATS) as image:
            return crop_square(image, self.shape[1])


class EncodedWriter:
    """Writes the files of pictures, in order. `ends` [N] is filled as well; a killed write is overwritten."""

    def __init__(self, folder: Path, ends: np.ndarray) -> None:
        self._ends = ends
        (folder / SAMPLES).touch()
        self._file = (folder / SAMPLES).open("r+b")

    def __setitem__(self, rows: slice, files: np.ndarray) -> None:
        start = int(self._ends[rows.start - 1]) if rows.start else 0
        self._file.seek(start)
        self._file.write(b"".join(files))
        self._file.truncate()
        self._file.flush()
        self._ends[rows] = start + np.cumsum([len(file) for file in files])

    def close(self) -> None:
        self._file.close()


AT_ONCE = 16  # JPEG files decoded together: of 50 megapixels each, they take 2.4 GB of the device

_TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}
"""What brings a picture of each EXIF orientation upright: whether it is mirrored, then quarter turns left."""


class DecodedRows:
    """Rows of a store of encoded pictures whose JPEG files a device decodes. Pillow decodes all other files.

    So it does JPEG files with a color profile or in CMYK, and those that the device's decoder refuses.
    """

    def __init__(self, store: Store, device: torch.device) -> None:
        assert isinstance(store.samples, EncodedImages)  # the recipe says so
        self._pictures, self._size, self._device = store.samples, store.samples.shape[1], device
        # The decoder writes by a stream of its own into memory that it takes from the current one. With the stream of
        # the networks, their kernels that are still to run might read that memory. This stream is waited for instead.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, rows: np.ndarray, /) -> Tensor:
        """Return uint8 [n, size, size, 3] on the device."""
        with torch.cuda.stream(self._stream):
            decoded = torch.cat([self._decode(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)])
        if self._stream is not None:
            self._stream.synchronize()
            decoded.record_stream(torch.cuda.current_stream(self._device))
        return decoded

    def _decode(self, rows: np.ndarray) -> Tensor:
        read = list(self._pictures.map(self._read, rows))
        decoded = iter(_decode_jpegs([content for content, orientation in read if orientation], self._device))
        squares = []
        for row, (pixels, orientation) in zip(rows, read, strict=True):
            if orientation:
                whole = next(decoded)
                pixels = self._read_pixels(row) if whole is None else _fit_square(whole, self._size, orientation)
            squares.append(pixels.to(self._device))
        stacked = torch.stack(squares)
        if self._stream is not None:
            self._stream.synchronize()  # before the memory of whole pictures is used again
        return stacked

    def _read_pixels(self, row: np.intp) -> Tensor:
        return torch.from_numpy(np.array(self._pictures[row]))

    def _read(self, row: np.intp) -> tuple[Tensor, int]:
        """Read the file of a row: its bytes and orientation if the device may decode it, else its pixels and 0."""
        content = self._pictures.read_file(row)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.format == "JPEG" and image.mode in ("L", "RGB") and "icc_profile" not in image.info:
                return torch.frombuffer(bytearray(content), dtype=torch.uint8), read_orientation(image)
        return self._read_pixels(row), 0


def _decode_jpegs(files: list[Tensor], device: torch.device) -> list[Tensor | None]:
    """Decode JPEG files to uint8 [3, H, W] each. None: the decoder of this device refuses the file."""
    from torchvision.io import decode_jpeg  # deprecated since 0.29, for a package that we do not need otherwise

    if not files:
        return []
    try:
        return decode_jpeg(files, "RGB", device)
    except RuntimeError:  # of one file, for all of them
        return [None] if len(files) == 1 else [picture for file in files for picture in _decode_jpegs([file], device)]


def _fit_square(picture: Tensor, size: int, orientation: int) -> Tensor:
    """Resize the central square of uint8 [3, H, W] to [size, size, 3], upright, by the filter of `crop_square`."""
    side = min(picture.shape[1:])
    down, across = (_weigh_pixels(length, side, size, picture.device) for length in picture.shape[1:])
    square = (down @ picture.float() @ across.T).round().clamp(0, 255).to(torch.uint8)
    mirrored, quarters = _TURNS.get(orientation, (False, 0))
    return torch.rot90(square.flip(-1) if mirrored else square, quarters, (-2, -1)).permute(1, 2, 0)


def _weigh_pixels(length: int, side: int, size: int, device: torch.device) -> Tensor:
    """Compute the weights [size, length] of Pillow's Lanczos filter: the middle `side` of `length` pixels to `size`."""
    scale = side / size
    centers = (length - side) / 2 + (torch.arange(size, device=device) + 0.5) * scale
    distances = (torch.arange(length, device=device) + 0.5 - centers[:, None]) / max(scale, 1)
    weights = torch.sinc(distances) * torch.sinc(distances / 3) * (distances.abs() < 3)
    return weights / weights.sum(1, keepdim=True)
