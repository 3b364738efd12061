"""Encoded pictures in a store: their files one after the other in samples.bin, and where each ends in ends.npy.

The asset `encoding.json` names the encoding and the size in pixels. A picture is decoded as a file of a folder is read:
cut to its central square and resized. So the pixels are those of a store of raw ones.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.data.images import FORMATS, Encoding, crop_square, open_image

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
        return np.stack(list(self._pool.map(self._decode, rows)))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="decode")  # Pillow decodes without Python's lock

    def _decode(self, row: np.intp) -> np.ndarray:
        content = io.BytesIO(self._files[self._starts[row] : self._ends[row]].tobytes())
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
