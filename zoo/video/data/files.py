"""Clips in files: videos through PyAV, animated pictures through Pillow, and folders of frames."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from zoo.animation import import_pyav
from zoo.data.images import MOST_PIXELS, check_pixels, convert_to_rgb, open_image
from zoo.data.own import list_files, name_unreadable, name_unreadable_steps
from zoo.errors import InvalidFileError

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
ANIMATIONS = (".gif", ".webp", ".apng")
FRAMES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

RATE = 25  # frames a second of videos that do not say: FFmpeg's default for streams without a container

Crop = Literal["center", "none"]
LONGEST_FRAME = 600.0  # seconds

Timed = tuple[float, float | None, Image.Image]
"""When a frame starts, when it ends (None where the file does not say), and the frame. Times are in seconds."""


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
    frames = name_unreadable_steps(path, _check_times(_square_frames(timed, size, crop)))
    yield from _resample(frames, rate) if rate else (frame for _, _, frame in frames)


def _check_times(
    frames: Iterator[tuple[float, float | None, np.ndarray]],
) -> Iterator[tuple[float, float | None, np.ndarray]]:
    """Raise InvalidFileError for a frame that stays longer than LONGEST_FRAME: a few bytes would make hours."""
    before = None
    for start, end, frame in frames:
        if (end or start) - (start if before is None else before) > LONGEST_FRAME:
            raise InvalidFileError(f"a frame stays longer than {LONGEST_FRAME:.0f} seconds")
        before = start
        yield start, end, frame


def _square_frames(timed: Iterator[Timed], size: int, crop: Crop) -> Iterator[tuple[float, float | None, np.ndarray]]:
    """Make frames square. It and what reads a file raise InvalidFileError without its name, which their caller adds."""
    first: tuple[int, int] | None = None
    for start, end, frame in timed:
        if first is not None and frame.size != first:
            raise InvalidFileError(f"frames of mixed sizes: {first[0]} x {first[1]} and {frame.width} x {frame.height}")
        first = frame.size
        yield start, end, _square(frame, size, crop)
    if first is None:
        raise InvalidFileError("a video without frames")


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
        with name_unreadable(path.name), open_image(path) as image:
            frame = convert_to_rgb(image)
        yield float(number), None, frame


def _read_animation(path: Path) -> Iterator[Timed]:
    time = 0.0
    with open_image(path) as image:
        for frame in ImageSequence.Iterator(image):
            picture = convert_to_rgb(frame)  # this decodes the frame, which sets its duration
            end = time + (frame.info.get("duration") or 100) / 1000
            yield time, end, picture
            time = end


def _read_video(path: Path) -> Iterator[Timed]:
    av = import_pyav(f"reading {path.name}")
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise InvalidFileError("a file without a video stream")
        stream = container.streams.video[0]
        check_pixels(stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # frames may be larger than the stream says
        average = float(stream.average_rate or RATE)
        # AVI has no times of its own. Where frames are stored in another order, those that FFmpeg guesses are wrong.
        is_timed = not (container.format.name == "avi" and stream.codec_context.has_b_frames)
        begin = last = None
        for number, frame in enumerate(container.decode(stream)):
            is_timed = is_timed and frame.time is not None and (last is None or frame.time > last)
            if begin is None:
                begin = frame.time if is_timed else 0.0
            last = frame.time if is_timed else begin + number / average
            yield last, None, _show(frame, float(stream.sample_aspect_ratio or 1))


def _show(frame: Any, aspect: float) -> Image.Image:
    """Convert a frame of a video to a picture as players show it.

    Its pixels, `aspect` times as wide as high, become square ones. Its display matrix turns and mirrors it, as the
    phone was held.
    """
    picture = frame.to_image()
    if aspect != 1:  # the shorter side is stretched, so that no detail is lost
        width, height = (frame.width * aspect, frame.height) if aspect > 1 else (frame.width, frame.height / aspect)
        check_pixels(round(width), round(height))
        picture = picture.resize((round(width), round(height)), Image.Resampling.LANCZOS)
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return picture
    # x' = a x + c y and y' = b x + d y, with y downwards. `frame.rotation` does not tell of mirrors.
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
    if a * d - b * c < 0:
        picture, a, b = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), -a, -b
    return picture.rotate(round(math.degrees(math.atan2(-b, a))), expand=True)
