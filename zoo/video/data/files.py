"""Clips in files: videos through PyAV, animated pictures through Pillow, and folders of frames."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from zoo.data.images import convert_to_rgb
from zoo.data.own import list_files
from zoo.errors import InvalidFileError, MissingDependencyError

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
ANIMATIONS = (".gif", ".webp", ".apng")
FRAMES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

Crop = Literal["center", "none"]
Timed = tuple[float, float | None, Image.Image]
"""When a frame starts, when it ends (None where the file does not say), and the frame. Times are in seconds."""


def import_pyav(what: str) -> ModuleType:
    """Import the package `av`. Raises MissingDependencyError, saying that `what` needs it."""
    try:
        import av
    except ImportError:
        raise MissingDependencyError(
            f"{what} needs the package 'av': pip install 'gan-zoo[video]'; without it there are .webp, .gif and folders"
        ) from None
    return av


def find_clips(folder: Path) -> list[Path]:
    """Find video files, animated pictures, and folders with at least two pictures, anywhere below `folder`; sorted."""
    files = list_files(folder, (*VIDEOS, *ANIMATIONS, *FRAMES))
    clips = [path for path in files if path.suffix.lower() not in FRAMES]
    pictures = Counter(path.parent for path in files if path.suffix.lower() in FRAMES)
    return sorted([*clips, *(place for place, number in pictures.items() if number > 1 and place != folder)])


def stream_clip(path: Path, size: int, *, rate: float = 0.0, crop: Crop = "center") -> Iterator[np.ndarray]:
    """Read the frames of a clip one after the other, uint8 [size, size, 3].

    With a `rate` it yields that many frames per second: each time the frame that is visible then. A folder of frames
    has no rate, and is read frame by frame.

    Raises InvalidFileError where it cannot be read, has mixed sizes, or has no frame; MissingDependencyError.
    """
    timed: Iterator[Timed]
    if path.is_dir():
        timed, rate = _read_folder(path), 0.0
    elif path.suffix.lower() in VIDEOS:
        timed = _read_video(path)
    else:
        timed = _read_animation(path)
    frames = _square_frames(timed, path, size, crop)
    yield from _resample(frames, rate) if rate else (frame for _, _, frame in frames)


def _square_frames(
    timed: Iterator[Timed], path: Path, size: int, crop: Crop
) -> Iterator[tuple[float, float | None, np.ndarray]]:
    first: tuple[int, int] | None = None
    for start, end, frame in timed:
        if first is not None and frame.size != first:
            raise InvalidFileError(
                f"{path}: frames of mixed sizes: {first[0]} x {first[1]} and {frame.width} x {frame.height}"
            )
        first = frame.size
        yield start, end, _square(frame, size, crop)
    if first is None:
        raise InvalidFileError(f"{path}: a video without frames")


def _resample(frames: Iterator[tuple[float, float | None, np.ndarray]], rate: float) -> Iterator[np.ndarray]:
    """Select the frames that are visible at 0, 1 / rate, 2 / rate, ... seconds after the first."""
    begin, _, visible = first = next(frames)
    count = start = end = 0.0
    for number, (time, stop, frame) in enumerate(chain([first], frames)):
        start = time - begin
        while count / rate + 1e-6 < start:
            yield visible
            count += 1
        visible = frame
        # Where the file does not say when the last frame ends, it is as long as the others on average.
        end = stop - begin if stop is not None else start + (start / number if number else 0)
    while count < max(1, round(end * rate)):
        yield visible
        count += 1


def _square(frame: Image.Image, size: int, crop: Crop) -> np.ndarray:
    if crop == "center":
        return np.asarray(ImageOps.fit(frame, (size, size), Image.Resampling.LANCZOS))
    return np.asarray(ImageOps.pad(frame, (size, size), Image.Resampling.LANCZOS, color="black"))


def list_frames(folder: Path) -> list[Path]:
    """List the pictures in a folder by name, frame2.png before frame10.png."""
    return sorted(
        list_files(folder, FRAMES, below=False),
        key=lambda path: [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", path.name))],
    )


def _read_folder(folder: Path) -> Iterator[Timed]:
    for number, path in enumerate(list_frames(folder)):
        try:
            with Image.open(path) as image:
                yield float(number), None, convert_to_rgb(image)
        except Exception as error:  # decoders raise almost anything on damaged files
            raise InvalidFileError(f"{folder}: {path.name} cannot be read: {error}") from error


def _read_animation(path: Path) -> Iterator[Timed]:
    time = 0.0
    try:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                picture = convert_to_rgb(frame)  # this decodes the frame, which sets its duration
                end = time + (frame.info.get("duration") or 100) / 1000
                yield time, end, picture
                time = end
    except Exception as error:  # as above
        raise InvalidFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _read_video(path: Path) -> Iterator[Timed]:
    av = import_pyav(f"reading {path.name}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InvalidFileError(f"{path}: a file without a video stream")
            for i, frame in enumerate(container.decode(video=0)):
                upright = frame.to_image().rotate(frame.rotation, expand=True)  # as the phone was held
                yield (float(i) if frame.time is None else frame.time), None, upright
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
