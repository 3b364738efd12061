"""Clips in files: videos through PyAV, animated pictures through Pillow, and folders of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from zoo.errors import BadFile, MissingExtra

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
ANIMATIONS = (".gif", ".webp", ".apng")
FRAMES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

Crop = Literal["centre", "none"]


def pyav(what: str) -> ModuleType:
    """The package `av`. Raises MissingExtra, saying that `what` needs it."""
    try:
        import av
    except ImportError:
        raise MissingExtra(
            f"{what} needs the package 'av': pip install 'gan-zoo[video]'; without it there are .webp, .gif and folders"
        ) from None
    return av


def find_clips(folder: Path) -> list[Path]:
    """Video files, animated pictures, and folders that hold two pictures or more, anywhere below `folder`; sorted.

    A picture inside of a folder of frames is a frame, not a clip.
    """
    inside = [path for path in sorted(folder.rglob("*")) if path.is_dir()]
    of_frames = [path for path in inside if len(_frames_in(path)) > 1]
    frames = {frame for path in of_frames for frame in _frames_in(path)}
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in (*VIDEOS, *ANIMATIONS) and path not in frames
    ]
    return sorted([*of_frames, *files])


def read_clip(path: Path, size: int, *, rate: float = 0.0, crop: Crop = "centre") -> np.ndarray:
    """All frames of a clip, uint8 [T, size, size, 3]; with `rate`, so many a second, each the one shown at that moment.

    A folder of frames has no rate of its own, and is read frame by frame.

    Raises BadFile where it cannot be read, is of mixed sizes, or has no frame; MissingExtra.
    """
    timed: Iterator[tuple[float | None, Image.Image]]
    if path.is_dir():
        timed = ((None, frame) for frame in _folder_frames(path))
    elif path.suffix.lower() in VIDEOS:
        timed = _video_frames(path)
    else:
        timed = _animation_frames(path)
    frames: list[np.ndarray] = []
    times: list[float | None] = []
    first: tuple[int, int] | None = None
    for time, frame in timed:
        if first is not None and frame.size != first:
            raise BadFile(f"{path}: frames of mixed sizes: {first[0]} x {first[1]} and {frame.width} x {frame.height}")
        first = frame.size
        frames.append(_squared(frame, size, crop))
        times.append(time)
    if not frames:
        raise BadFile(f"{path}: a video without frames")
    clip = np.stack(frames)
    return clip if not rate or times[0] is None else clip[_shown_at(times, rate)]


def _shown_at(times: list[float | None], rate: float) -> np.ndarray:
    """The numbers of the frames that are shown at 0, 1 / rate, 2 / rate, ... seconds after the first."""
    starts = np.array(times, dtype=np.float64)
    starts -= starts[0]
    last = starts[-1] + (starts[-1] / (len(starts) - 1) if len(starts) > 1 else 0)  # when the last frame ends
    moments = np.arange(max(1, round(last * rate))) / rate
    return np.searchsorted(starts, moments + 1e-6, side="right") - 1


def _squared(frame: Image.Image, size: int, crop: Crop) -> np.ndarray:
    picture = frame.convert("RGB")
    if crop == "centre":
        return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS))
    return np.asarray(ImageOps.pad(picture, (size, size), Image.Resampling.LANCZOS, color="black"))


def _frames_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FRAMES and path.is_file())


def _folder_frames(folder: Path) -> Iterator[Image.Image]:
    for path in _frames_in(folder):
        try:
            with Image.open(path) as image:
                yield ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadFile(f"{folder}: {path.name} cannot be read: {error}") from error


def _animation_frames(path: Path) -> Iterator[tuple[float | None, Image.Image]]:
    time = 0.0
    try:
        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                picture = frame.convert("RGB")  # decodes, and so knows how long it is shown
                yield time, picture
                time += (frame.info.get("duration") or 100) / 1000
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadFile(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _video_frames(path: Path) -> Iterator[tuple[float | None, Image.Image]]:
    av = pyav(f"reading {path.name}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadFile(f"{path}: a file without a video stream")
            for i, frame in enumerate(container.decode(video=0)):
                yield (float(i) if frame.time is None else frame.time), frame.to_image()
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
