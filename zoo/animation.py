"""Moving pictures: animated .webp and .gif, .mp4 through PyAV, and Walk, the frames of one."""

from __future__ import annotations

import io
import itertools
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.io.atomic import replace_atomically
from zoo.samples import Images, check_size, enlarge, visible_scale

ANIMATED = (".webp", ".gif", ".mp4")
BT709 = 1  # FFmpeg's number for the matrix, the primaries and the transfer of ITU-R BT.709 alike
LIMITED_RANGE = 1  # FFmpeg's number for luma from 16 to 235


def import_pyav(what: str) -> ModuleType:
    """Import the package `av`. Raises MissingDependencyError, saying that `what` needs it."""
    try:
        import av
    except ImportError:
        raise MissingDependencyError(
            f"{what} needs the package 'av': pip install 'gan-zoo[video]'; without it there are .webp, .gif and folders"
        ) from None
    return av


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Walk(Images):
    """The frames [N, 3, H, W] of a walk from image to image, in their order, at `rate` frames a second.

    `save` writes a moving picture (.webp and .gif, which loop, or .mp4), all frames in one .png, or a folder of them.
    """

    rate: float = 25.0

    SUFFIXES = (*ANIMATED, ".png")
    PIXELS = (*SUFFIXES, "")

    @classmethod
    def check_path(cls, path: Any) -> Path:
        """Check as `Samples.check_path`. Raises MissingDependencyError for .mp4 without the extra `video`."""
        path = super().check_path(path)
        if path.suffix.lower() == ".mp4":
            import_pyav("writing .mp4")
        return path

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        if path.suffix.lower() in ANIMATED:
            save_animation(path, enlarge(self.to_uint8(), scale), self.rate)
        else:
            super()._write(path, columns, scale)

    def _repr_html_(self) -> str:
        """Return the notebook's preview, moving."""
        return embed_animation(enlarge(self.to_uint8(), visible_scale(self.tensor.shape[-1])), self.rate)


def save_animation(path: Path, frames: np.ndarray, rate: float) -> None:
    """Save frames uint8 [T, H, W, 3], whole or not at all.

    Raises InvalidValueError for a size that the format does not have, MissingDependencyError, WriteError.
    """
    suffix = path.suffix.lower()
    height, width = frames.shape[1:3]
    if suffix == ".mp4":
        check_mp4_size(height, width, path)
    check_size(width, height, path)
    with replace_atomically(path) as temporary:
        if suffix == ".mp4":
            _write_mp4(temporary, frames, frames.shape[1:3], rate)
        else:
            _write_looping(temporary, frames, rate, suffix)


def embed_animation(frames: np.ndarray, rate: float) -> str:
    """Return an HTML element that holds frames uint8 [T, H, W, 3] as a moving picture."""
    buffer = io.BytesIO()
    _write_looping(buffer, frames, rate, ".webp")
    return f"<img src='data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}'>"


def _write_looping(target: Path | io.BytesIO, frames: np.ndarray, rate: float, suffix: str) -> None:
    """Write frames as a moving picture that loops, .webp or .gif."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    # Times in whole milliseconds (in GIF, hundredths of a second) that do not drift from the rate.
    step = 10 if suffix == ".gif" else 1
    ends = np.round(np.arange(len(frames) + 1) * 1000 / rate / step).astype(int) * step
    options: dict[str, Any] = {"quality": 90} if suffix == ".webp" else {"disposal": 1}
    first.save(
        target,
        format=suffix.removeprefix("."),
        save_all=True,
        append_images=others,
        duration=np.diff(ends).clip(step).tolist(),
        loop=0,
        **options,
    )


def stream_mp4(
    parts: Iterable[np.ndarray], path: Path, rate: float, *, progress: Callable[[int], None] | None = None
) -> int:
    """Save frames, parts of uint8 [T, H, W, 3], as they come; returns how many were saved.

    Ctrl-C ends the video early, with the frames until then. Before the first frame there is nothing to keep, and it is
    raised.

    Args:
        parts: at least one frame.
        progress: called with the number of frames saved.

    Raises as `save_animation`.
    """
    saved = 0

    def list_frames() -> Iterator[np.ndarray]:
        nonlocal saved
        for part in parts:
            for frame in part:
                yield frame
                saved += 1
            if progress is not None:
                progress(saved)

    frames = list_frames()
    first = next(frames)
    height, width = first.shape[:2]
    check_mp4_size(height, width, path)
    with replace_atomically(path) as temporary:
        _write_mp4(temporary, itertools.chain([first], frames), (height, width), rate, may_end_early=True)
    return saved


def check_mp4_size(height: int, width: int, path: Path) -> None:
    """Raise InvalidValueError for a size that an MP4 cannot have."""
    if height % 2 or width % 2:
        raise InvalidValueError(
            f"{path}: {width} x {height} px: an MP4 that every player shows (yuv420p) needs even sizes; "
            "save as .webp, .gif or into a folder"
        )
    check_size(width, height, path)


def _write_mp4(
    path: Path, frames: Iterable[np.ndarray], size: tuple[int, ...], rate: float, *, may_end_early: bool = False
) -> None:
    av = import_pyav("writing .mp4")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = size
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
        # Players guess what a file does not say, by its height: large ones were shown in other colors.
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        with suppress(KeyboardInterrupt) if may_end_early else nullcontext():
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                converted = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                container.mux(stream.encode(converted))
        container.mux(stream.encode())
