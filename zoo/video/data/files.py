"""Clips in files: videos through PyAV, animated pictures through Pillow, and folders of frames."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from zoo.errors import InvalidFileError, MissingDependencyError

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
ANIMATIONS = (".gif", ".webp", ".apng")
FRAMES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

Crop = Literal["center", "none"]
Timed = tuple[float, float | None, Image.Image]
"""When a frame is shown, until when (None: the file does not tell), and the frame."""


def pyav(what: str) -> ModuleType:
    """The package `av`. Raises MissingDependencyError, saying that `what` needs it."""
    try:
        import av
    except ImportError:
        raise MissingDependencyError(
            f"{what} needs the package 'av': pip install 'gan-zoo[video]'; without it there are .webp, .gif and folders"
        ) from None
    return av


def find_clips(folder: Path) -> list[Path]:
    """Video files, animated pictures, and folders that hold two pictures or more, anywhere below `folder`; sorted.

    A picture inside of a folder of frames is a frame, not a clip.
    """
    inside = [path for path in sorted(folder.rglob("*")) if path.is_dir()]
    of_frames = [path for path in inside if os.access(path, os.R_OK | os.X_OK) and len(frames_in(path)) > 1]
    frames = {frame for path in of_frames for frame in frames_in(path)}
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in (*VIDEOS, *ANIMATIONS) and path not in frames
    ]
    return sorted([*of_frames, *files])


def stream_clip(path: Path, size: int, *, rate: float = 0.0, crop: Crop = "center") -> Iterator[np.ndarray]:
    """One frame of a clip after the other, uint8 [size, size, 3]; with `rate`, so many a second, of each moment the one
    shown then.

    A folder of frames has no rate of its own, and is read frame by frame.

    Raises InvalidFileError where it cannot be read, is of mixed sizes, or has no frame; MissingDependencyError.
    """
    timed: Iterator[Timed]
    if path.is_dir():
        timed, rate = _folder_frames(path), 0.0
    elif path.suffix.lower() in VIDEOS:
        timed = _video_frames(path)
    else:
        timed = _animation_frames(path)
    frames = _squared_frames(timed, path, size, crop)
    yield from _at_rate(frames, rate) if rate else (frame for _, _, frame in frames)


def _squared_frames(
    timed: Iterator[Timed], path: Path, size: int, crop: Crop
) -> Iterator[tuple[float, float | None, np.ndarray]]:
    first: tuple[int, int] | None = None
    for start, end, frame in timed:
        if first is not None and frame.size != first:
            raise InvalidFileError(
                f"{path}: frames of mixed sizes: {first[0]} x {first[1]} and {frame.width} x {frame.height}"
            )
        first = frame.size
        yield start, end, _squared(frame, size, crop)
    if first is None:
        raise InvalidFileError(f"{path}: a video without frames")


def _at_rate(frames: Iterator[tuple[float, float | None, np.ndarray]], rate: float) -> Iterator[np.ndarray]:
    """Those that are shown at 0, 1 / rate, 2 / rate, ... seconds after the first."""
    begin, _, shown = first = next(frames)
    given = start = end = 0.0
    for number, (time, stop, frame) in enumerate(chain([first], frames)):
        start = time - begin
        while given / rate + 1e-6 < start:
            yield shown
            given += 1
        shown = frame
        # The last one's end, where the file does not tell, is guessed: it is shown as long as the others on average.
        end = stop - begin if stop is not None else start + (start / number if number else 0)
    while given < max(1, round(end * rate)):
        yield shown
        given += 1


def _squared(frame: Image.Image, size: int, crop: Crop) -> np.ndarray:
    picture = frame.convert("RGB")
    if crop == "center":
        return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS))
    return np.asarray(ImageOps.pad(picture, (size, size), Image.Resampling.LANCZOS, color="black"))


# What Pillow raises of a damaged picture; the last two, of a damaged animation.
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, IndexError, struct.error)


def frames_in(folder: Path) -> list[Path]:
    """The pictures in a folder by their names, frame2.png before frame10.png."""
    return sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in FRAMES and path.is_file()),
        key=lambda path: [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", path.name))],
    )


def _folder_frames(folder: Path) -> Iterator[Timed]:
    for number, path in enumerate(frames_in(folder)):
        try:
            with Image.open(path) as image:
                yield float(number), None, ImageOps.exif_transpose(image).convert("RGB")
        except _UNREADABLE as error:
            raise InvalidFileError(f"{folder}: {path.name} cannot be read: {error}") from error


def _animation_frames(path: Path) -> Iterator[Timed]:
    time = 0.0
    try:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                picture = frame.convert("RGB")  # decodes, and so knows how long it is shown
                end = time + (frame.info.get("duration") or 100) / 1000
                yield time, end, picture
                time = end
    except _UNREADABLE as error:
        raise InvalidFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _video_frames(path: Path) -> Iterator[Timed]:
    av = pyav(f"reading {path.name}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InvalidFileError(f"{path}: a file without a video stream")
            for i, frame in enumerate(container.decode(video=0)):
                upright = frame.to_image().rotate(frame.rotation, expand=True)  # as a telephone was held
                yield (float(i) if frame.time is None else frame.time), None, upright
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
