"""Clips to train on: moving shapes, talking faces, moving digits, or your own videos and folders of frames.

A clip is stored as uint8 frames [T, H, W, 3]. The store keeps the names of its classes in labels.json.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zoo.data import About, Store, build_store, cache_dir, hash_split
from zoo.data.images import decode_images as decode
from zoo.data.images import flip_images as augment
from zoo.data.labels import LABELS, check_labels
from zoo.data.own import check_folder, describe_skipped, find_own_files
from zoo.data.workers import WorkerPool
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError, suggest
from zoo.recipe import DataConfig, within
from zoo.video.data.files import ANIMATIONS, FRAMES, VIDEOS, Crop, find_clips, list_frames, stream_clip

__all__ = ["DATASETS", "ClipDataConfig", "augment", "build_dataset", "decode", "open_store"]

PIXELS = np.dtype(np.uint8)

Log = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ClipDataConfig(DataConfig):
    """Clips to train on, and which frames of them."""

    stride: int = field(default=1, metadata=within(1, 64))
    """Take every frame (1), every second one (2), and so on."""
    rate: float = field(default=0.0, metadata=within(0, 240))
    """Frames per second that videos are read at, before `stride` is applied; 0: all frames."""
    crop: Crop = "center"
    """How a picture becomes square: `center` cuts out the middle, `none` adds black borders."""
    flip: bool = False
    """Mirror half of the clips left to right. Leave it off where left and right mean something."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name and (self.rate or self.crop != "center"):
            raise InvalidValueError(
                f"data.rate and data.crop are for your own clips: {self.name} is square, at its own rate"
            )

    @property
    def augments(self) -> bool:
        return self.flip


@dataclass(kw_only=True)
class _Rendered:
    """A data set that this library renders: clips of one size. The number of a clip decides all of it."""

    size: int = 64
    frames: int = 16
    stride: int = 1

    name: ClassVar[str]
    version: ClassVar[str]
    license: ClassVar[str]
    count: ClassVar[int]
    length: ClassVar[int]
    """Frames of a whole clip."""
    labels: ClassVar[tuple[str, ...]] = ()
    attributes: ClassVar[np.dtype | None] = None
    dtype: ClassVar[np.dtype] = PIXELS

    def __post_init__(self) -> None:
        needed = (self.frames - 1) * self.stride + 1
        if needed > self.length:
            raise InvalidValueError(
                f"{self.name}: {self.frames} frames of stride {self.stride} need {needed}, and a clip has {self.length}"
            )

    @property
    def moments(self) -> np.ndarray:
        """The numbers of the frames that a clip is made of."""
        return np.arange(self.frames) * self.stride

    @property
    def folder(self) -> Path:
        return cache_dir() / "data" / f"{self.name}-v{self.version}-{self.size}px-{self.frames}x{self.stride}"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.frames, self.size, self.size, 3)

    @property
    def assets(self) -> Mapping[str, str]:
        return _make_assets(self.labels)

    def split(self) -> np.ndarray:
        return (np.arange(self.count) % 7 == 6).astype(np.uint8)


def _make_assets(labels: Sequence[str]) -> dict[str, str]:
    return {LABELS: json.dumps(list(labels)) + "\n"}


def _make_rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(key))))


@dataclass(kw_only=True)
class ShapeMotion(_Rendered):
    """Circles and squares that move upwards or leftwards along curves, on black.

    This is a remake of the data set of MoCoGAN (Tulyakov et al. 2018), with the distribution of its 8,000 clips of 32
    frames at 64 px. A shape is a circle or square of one random color, 8, 10, 12 or 14 px wide. Its center follows a
    quartic Bezier curve. Along the main axis it moves from one edge to the opposite one. On the other axis it starts at
    a random position and returns to it. The inner control points are uniform in the square that the center can reach.
    The paper trains on every second frame.
    """

    stride: int = 2
    name = "shape-motion"
    version = "1"
    license = "CC0-1.0"
    count = 8000
    length = 32
    labels = ("up", "left")
    attributes = np.dtype([("label", "i4"), ("square", "i4"), ("side", "i4"), ("rgb", "f4", 3)])

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        clips, rows = zip(*(self._render_one(int(i)) for i in indices), strict=True)
        return np.stack(clips), np.array(list(rows), dtype=self.attributes)

    def _render_one(self, index: int) -> tuple[np.ndarray, tuple[Any, ...]]:
        rng = _make_rng(int(self.version), index)
        label, square = index % 2, int(rng.integers(2))
        side = int(rng.choice([8, 10, 12, 14]))
        color = rng.integers(0, 256, 3)
        centers = _compute_path(rng, side, along=1 - label)[self.moments]
        scale = self.size / 64
        clip = np.stack([_draw_shape(center * scale, side * scale, bool(square), self.size) for center in centers])
        pixels = np.round(clip[..., None] * color).astype(np.uint8)
        return pixels, (label, square, side, tuple(color / 255))


def _compute_path(rng: np.random.Generator, side: int, *, along: int) -> np.ndarray:
    """Compute centers [32, 2] (x, y) of a shape on a quartic Bezier curve that crosses 64 px on the axis `along`."""
    low, high = side / 2, 61.5 - side / 2
    points = rng.uniform(low, high, (5, 2))
    points[0, along], points[4, along] = high, low
    points[4, 1 - along] = points[0, 1 - along]
    t = np.linspace(0, 1, ShapeMotion.length)[:, None]
    weights = np.concatenate([c * t**k * (1 - t) ** (4 - k) for k, c in enumerate((1, 4, 6, 4, 1))], axis=1)
    return weights @ points


def _draw_shape(center: np.ndarray, side: float, square: bool, size: int) -> np.ndarray:
    """Draw a mask [size, size] that is 1 inside the shape, in whole pixels as in the paper's clips."""
    x, y = np.round(center - side / 2) + side / 2
    rows, columns = np.mgrid[:size, :size] + 0.5
    if square:
        return np.maximum(abs(columns - x), abs(rows - y)) < side / 2
    return (columns - x) ** 2 + (rows - y) ** 2 < (side / 2) ** 2


@dataclass(kw_only=True)
class TalkingFaces(_Rendered):
    """Heads of people who do not exist, each performing one of seven actions. Light and background do not change.

    There are 1,000 people of `synthetic-faces` and seven clips of 16 frames for each, one per action: smile,
    open-mouth, blink, turn-left, turn-right, nod, raise-brows. As in `synthetic-faces`, every seventh person is in the
    test split: 6,006 clips to train on, and 994 of other people to test on. The attributes are those of the first
    frame, which shows the face at rest.
    """

    name = "talking-faces"
    license = "CC0-1.0"
    count = 7000
    length = 16
    _renderer: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        from zoo.render.heads import check_size

        check_size(self.size)

    @property
    def version(self) -> str:  # type: ignore[override]
        from zoo.render.motion import VERSION

        return str(VERSION)

    @property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        from zoo.render.motion import ACTIONS

        return ACTIONS

    @property
    def attributes(self) -> np.dtype:  # type: ignore[override]
        from zoo.render.attributes import ATTRIBUTE_DTYPE

        return np.dtype([("label", "i4"), *ATTRIBUTE_DTYPE.descr])

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        from zoo.render.heads import HeadRenderer
        from zoo.render.motion import sample_clip

        if self._renderer is None:
            self._renderer = HeadRenderer(self.size)
        clips = np.empty((len(indices), *self.shape), np.uint8)
        rows = np.zeros(len(indices), self.attributes)
        for i, index in enumerate(indices):
            portraits = sample_clip(int(index))
            clips[i], records = self._renderer.render_clip([portraits[moment] for moment in self.moments])
            for name in records.dtype.names:
                rows[i][name] = records[0][name]
            rows[i]["label"] = int(index) % len(self.labels)
        return clips, rows

    def split(self) -> np.ndarray:
        return (np.arange(self.count) // len(self.labels) % 7 == 6).astype(np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_renderer": None}  # each worker makes a renderer


@dataclass(kw_only=True)
class MovingDigits(_Rendered):
    """Two handwritten digits that drift and bounce off the edges, on black.

    This is Moving MNIST (Srivastava et al. 2015, arXiv:1502.04681) with the digits of scikit-learn (UCI's of 8 x 8 px,
    CC BY 4.0), enlarged to 28 of 64 px. Speeds are 1 to 5 px per frame. No digit image is in both splits.
    """

    name = "moving-digits"
    version = "1"
    license = "CC-BY-4.0"
    count = 6000
    length = 32
    attributes = np.dtype([("digits", "i4", 2), ("velocity", "f4", (2, 2))])  # px of 64 a frame: right, down

    @cached_property
    def _digits(self) -> tuple[np.ndarray, np.ndarray]:
        """Images [M, side, side] in [0, 1], and the digit that each shows [M]."""
        from PIL import Image

        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise MissingDependencyError(
                "moving-digits needs the package 'scikit-learn': pip install 'gan-zoo[data]'"
            ) from None
        shades, names = load_digits(return_X_y=True)
        side = round(28 / 64 * self.size)
        small = (Image.fromarray(one.reshape(8, 8).astype(np.float32) / 16) for one in shades)
        large = [np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1) for one in small]
        return np.stack(large), names

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        clips, rows = zip(*(self._render_one(int(i)) for i in indices), strict=True)
        return np.stack(clips), np.array(list(rows), dtype=self.attributes)

    def _render_one(self, index: int) -> tuple[np.ndarray, tuple[Any, ...]]:
        rng = _make_rng(int(self.version), index)
        shades, names = self._digits
        of_split = np.flatnonzero((np.arange(len(names)) % 7 == 6) == (index % 7 == 6))
        which = rng.choice(of_split, 2)
        which = which[names[which].argsort(kind="stable")]
        velocities = []
        canvas = np.zeros((self.frames, self.size, self.size))
        for digit in which:
            side = shades.shape[1]
            room = self.size - side
            start, angle = rng.uniform(0, room, 2), rng.uniform(0, 2 * np.pi)
            velocities.append(rng.uniform(1, 5) * np.array([np.cos(angle), np.sin(angle)]))
            free = start + self.moments[:, None] * velocities[-1] * self.size / 64
            for t, (x, y) in enumerate(np.round(room - abs(free % (2 * room) - room)).astype(int)):
                canvas[t, y : y + side, x : x + side] += shades[digit]
        pixels = np.round(canvas.clip(0, 1) * 255).astype(np.uint8)
        return np.repeat(pixels[..., None], 3, axis=-1), (names[which], np.stack(velocities))


DATASETS: dict[str, type[Any]] = {
    "shape-motion": ShapeMotion,
    "talking-faces": TalkingFaces,
    "moving-digits": MovingDigits,
}


@dataclass
class ClipFolder:
    """Clips below a folder: video files, animated pictures, and folders of frames. A long one is cut into several.

    If all of them are in subfolders, `folder/CLASS/clip.mp4`, the subfolders are the classes. A tenth of the files,
    chosen by a hash of their names, is the test split. Of a single file it is the end.
    """

    folder: Path
    data: ClipDataConfig
    size: int
    frames: int
    lengths: Mapping[Path, int]
    """The number of frames of each usable file, at the rate of `data`."""
    name: str
    license: str
    version: str = field(default="1", init=False)
    dtype: np.dtype = field(default=PIXELS, init=False)
    _reading: tuple[Path, int, Iterator[np.ndarray]] | None = field(default=None, init=False, repr=False)
    """The file that is open, the number of its next frame, and its frames."""

    def __post_init__(self) -> None:
        needed = span(self.frames, self.data.stride)
        self.windows = [
            (path, start) for path, length in self.lengths.items() for start in range(0, length - needed + 1, needed)
        ]
        places = [path.relative_to(self.folder).parts for path, _ in self.windows]
        nested = all(len(parts) > 1 for parts in places)
        self.classes = [parts[0] for parts in places] if nested and len({parts[0] for parts in places}) > 1 else []
        self.labels = tuple(sorted(set(self.classes)))
        check_labels(self.labels, self.folder)

    @property
    def count(self) -> int:
        return len(self.windows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.frames, self.size, self.size, 3)

    @property
    def attributes(self) -> np.dtype | None:
        return np.dtype([("label", "i4")]) if self.labels else None

    @property
    def assets(self) -> Mapping[str, str]:
        return _make_assets(self.labels)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        clips = np.stack([self._read_window(*self.windows[i]) for i in indices])
        if self.attributes is None:
            return clips, None
        return clips, np.array([(self.labels.index(self.classes[i]),) for i in indices], dtype=self.attributes)

    def _read_window(self, path: Path, start: int) -> np.ndarray:
        """Read a clip that starts at a frame. Each file is read only once where its windows come in order."""
        reading, at, frames = self._reading or (None, 0, iter(()))
        if reading != path or at > start:
            at, frames = 0, stream_clip(path, self.size, rate=self.data.rate, crop=self.data.crop)
        end = start + span(self.frames, self.data.stride)
        window = list(islice(frames, start - at, end - at))
        self._reading = (path, end, frames)
        return np.stack(window[:: self.data.stride])

    def split(self) -> np.ndarray:
        """Split by file, so that no video is in both splits; of a single file, the last tenth is for tests."""
        names = [path.relative_to(self.folder).as_posix() for path, _ in self.windows]
        files = list(dict.fromkeys(names))
        if len(files) == 1 and self.count > 1:
            return (np.arange(self.count) >= self.count - max(1, self.count // 10)).astype(np.uint8)
        split = dict(zip(files, hash_split(files), strict=True))
        return np.array([split[name] for name in names], dtype=np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None}  # each worker opens files by itself


def span(frames: int, stride: int) -> int:
    """Count the frames from the first to the last of a clip of `frames`, every `stride`-th of which is taken."""
    return (frames - 1) * stride + 1


def open_store(
    data: ClipDataConfig, model: Any, *, workers: int = 1, progress: Progress | None = None, log: Log = print
) -> Store:
    """Open the store that a recipe's `[data]` names, built at first use.

    The `frames` and `resolution` of its `[model]` are those of the clips.

    Raises:
        NotFoundError: no data set of that name.
        InvalidValueError: more frames than its clips have.
        InvalidFileError: a folder that does not exist, or without a readable clip that is long enough.
        NotFoundError, UnreachableError, InvalidFileError: as `zoo.data.hub.load_files`, for a data set of the Hub.
        MissingDependencyError: the extra `data` or `video` is needed.
    """
    if data.name:
        source = _make_source(data.name, size=model.resolution, frames=model.frames, stride=data.stride)
        return build_store(source, source.folder, workers=workers, progress=progress)
    folder, about = find_own_files(data, (*VIDEOS, *ANIMATIONS, *FRAMES), progress=progress)
    return _open_folder(folder, about, data, model, workers=workers, progress=progress, log=log)


def build_dataset(name: str, *, size: int | None = None, workers: int = 1, progress: Progress | None = None) -> Store:
    """Build the data set `name` with 16 frames of `size` pixels a clip, 64 if None.

    Raises NotFoundError, MissingDependencyError.
    """
    source = _make_source(name, size=size or 64)
    return build_store(source, source.folder, workers=workers, progress=progress)


def _make_source(name: str, **sizes: int) -> Any:
    if name not in DATASETS:
        raise NotFoundError(f'no data set "{name}" of clips; there are {", ".join(DATASETS)}.{suggest(name, DATASETS)}')
    return DATASETS[name](**sizes)


def _open_folder(
    folder: Path,
    about: About,
    data: ClipDataConfig,
    model: Any,
    *,
    workers: int,
    progress: Progress | None,
    log: Log,
) -> Store:
    check_folder(folder, "clips")
    found = find_clips(folder)
    stamp = hashlib.sha256(
        os.fsencode(f"{folder.resolve()} {model.resolution} {model.frames} {data.stride} {data.rate} {data.crop}")
    )
    for path in found:
        for part in list_frames(path) if path.is_dir() else [path]:
            status = part.stat()
            stamp.update(os.fsencode(f"{part.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n"))
    place = cache_dir() / "data" / f"clips-{stamp.hexdigest()[:16]}-{model.resolution}px-{model.frames}x{data.stride}"
    if (place / "store.json").exists():
        return Store.open(place)
    needed = span(model.frames, data.stride)
    lengths, errors = _measure_lengths(found, data, needed, workers=workers, progress=progress)
    if errors:
        log(describe_skipped(errors, len(found), "clips"))
    if not lengths:
        raise InvalidFileError(
            f"{folder}: no clip of {needed} frames or more that can be read, which model.frames = {model.frames} at "
            f"data.stride = {data.stride} need; looked for video files, .gif, .webp, and folders of frames"
        )
    source = ClipFolder(folder, data, model.resolution, model.frames, lengths, about.name, about.license)
    return build_store(source, place, workers=workers, progress=progress)


def _measure_lengths(
    found: Sequence[Path], data: ClipDataConfig, needed: int, *, workers: int, progress: Progress | None
) -> tuple[dict[Path, int], list[InvalidFileError]]:
    """Count the frames of each usable clip; returns also what is wrong with the others."""
    lengths: dict[Path, int] = {}
    errors: list[InvalidFileError] = []
    measure = partial(_measure_length, data=data, needed=needed)
    workers = min(workers, len(found))
    pool = WorkerPool(workers) if workers > 1 else None
    try:
        measured = map(measure, found) if pool is None else pool.map(measure, found)
        for done, (path, length) in enumerate(zip(found, measured, strict=True), start=1):
            if progress is not None:
                progress(done, len(found))
            if isinstance(length, InvalidFileError):
                errors.append(length)
            else:
                lengths[path] = length
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C
    return lengths, errors


def _measure_length(path: Path, *, data: ClipDataConfig, needed: int) -> int | InvalidFileError:
    """Count the frames of a clip, or return what is wrong with it."""
    try:
        length = sum(1 for _ in stream_clip(path, 8, rate=data.rate, crop=data.crop))
    except InvalidFileError as error:
        return error
    return length if length >= needed else InvalidFileError(f"{path}: {length} frames, {needed} are needed")
