"""Samples of a model of clips: they save themselves as moving pictures, and play in a notebook."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from zoo.errors import InvalidValueError
from zoo.io.atomic import replace_atomically
from zoo.samples import Samples, check_size, tile
from zoo.video.data.files import import_pyav, list_frames

PADDING = 2  # white pixels around each clip of a grid and each frame of a contact sheet
SHEET_FRAMES = 16  # the most frames of a clip in a contact sheet
BT709 = 1  # FFmpeg's number for the matrix, the primaries and the transfer of ITU-R BT.709 alike
LIMITED_RANGE = 1  # FFmpeg's number for luma from 16 to 235


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips(Samples):
    """Clips [N, 3, T, H, W] in [-1, 1] at `rate` frames a second.

    `save` chooses the format by the suffix of the path:

    - .webp and .gif, which loop, or .mp4: one moving picture of all clips side by side, nearly square.
    - .png: a contact sheet with one clip a row, its frames from left to right.
    - no suffix: a folder with a folder of PNG frames for each clip, below a folder for its class if there are classes.
    """

    rate: float
    labels: Sequence[str] = ()
    """The class of each clip."""

    SUFFIXES = (".webp", ".gif", ".mp4", ".png")
    CARD_COUNT = 16

    def __getitem__(self, index: slice) -> Self:
        if not isinstance(index, slice):
            raise TypeError(f"samples take a slice, e.g. samples[:4], not {index!r}")
        latents = self.latents[index] if self.latents is not None else None
        return replace(self, tensor=self.tensor[index], latents=latents, labels=self.labels[index])

    @classmethod
    def check_path(cls, path: str | os.PathLike[str]) -> Path:
        """Check as `Samples.check_path`. Raises MissingDependencyError for .mp4 without the extra `video`."""
        path = super().check_path(path)
        if path.suffix.lower() == ".mp4":
            import_pyav("writing .mp4")
        return path

    def to_uint8(self) -> np.ndarray:
        """Convert to uint8 [N, T, H, W, 3] in 0..255."""
        scaled = self.tensor.detach().float().cpu().clamp(-1, 1).add(1).mul(127.5).round()
        return scaled.to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous().numpy()

    def grid(self, columns: int | None = None) -> np.ndarray:
        """Arrange all clips in one, uint8 [T, H', W', 3]. A single clip stays as it is, without a border."""
        clips = self.to_uint8()
        if not len(clips):
            raise InvalidValueError("a grid needs at least one clip")
        return clips[0] if len(clips) == 1 else tile(clips, columns, padding=PADDING)

    def contact_sheet(self) -> Image.Image:
        """Draw one clip a row, with all its frames or 16 evenly spaced ones."""
        clips = self.to_uint8()
        if not len(clips):
            raise InvalidValueError("a contact sheet needs at least one clip")
        length = clips.shape[1]
        chosen = np.linspace(0, length - 1, min(length, SHEET_FRAMES)).round().astype(int)
        frames = clips[:, chosen].reshape(-1, *clips.shape[2:])  # [N * F, H, W, 3]
        return Image.fromarray(tile(frames, len(chosen), padding=PADDING))

    def save(self, path: str | os.PathLike[str], *, columns: int | None = None) -> Path:
        """Save as the class says, with `columns` clips in a row of the grid. Raises InvalidValueError, WriteError."""
        path = self.check_path(path)
        suffix = path.suffix.lower()
        if suffix == ".png":
            with replace_atomically(path) as temporary:
                self.contact_sheet().save(temporary)
        elif suffix == ".mp4":
            frames = _check_even(self.grid(columns), path)
            check_size(frames.shape[2], frames.shape[1], path)
            with replace_atomically(path) as temporary:
                _write_mp4(temporary, frames, self.rate)
        elif suffix in self.SUFFIXES:
            frames = self.grid(columns)
            check_size(frames.shape[2], frames.shape[1], path)
            with replace_atomically(path) as temporary:
                _write_animation(temporary, frames, self.rate, suffix)
        else:
            self._save_frames(path)
        return path

    def _save_frames(self, folder: Path) -> None:
        digits, frame_digits = len(str(len(self) - 1)), len(str(self.tensor.shape[2] - 1))
        for i, clip in enumerate(self.to_uint8()):
            place = folder / (self.labels[i] if self.labels else "") / f"{i:0{digits}}"
            for old in list_frames(place) if place.is_dir() else ():
                if old.suffix == ".png" and old.stem.isdecimal():  # from a longer clip
                    old.unlink()
            for t, frame in enumerate(clip):
                with replace_atomically(place / f"{t:0{frame_digits}}.png") as temporary:
                    Image.fromarray(frame).save(temporary)

    def _repr_html_(self) -> str:
        """Return the notebook's preview: the first 16 clips, moving."""
        buffer = io.BytesIO()
        _write_animation(buffer, self[:16].grid(), self.rate, ".webp")
        return f"<img src='data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}'>"


def _write_animation(target: Path | io.BytesIO, frames: np.ndarray, rate: float, suffix: str) -> None:
    """Write frames uint8 [T, H, W, 3] as a moving picture that loops, .webp or .gif."""
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


def _check_even(frames: np.ndarray, path: Path) -> np.ndarray:
    """Return the frames, if an MP4 can have their size. Raises InvalidValueError."""
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise InvalidValueError(
            f"{path}: {width} x {height} px: an MP4 that every player shows (yuv420p) needs even sizes; "
            "save as .webp, .gif or into a folder"
        )
    return frames


def _write_mp4(path: Path, frames: np.ndarray, rate: float) -> None:
    av = import_pyav("writing .mp4")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
        # Players guess what a file does not say, by its height: large ones were shown in other colors.
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            converted = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            container.mux(stream.encode(converted))
        container.mux(stream.encode())
