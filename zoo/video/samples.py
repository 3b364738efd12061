"""Samples of a model of clips: they save themselves as moving pictures, and play in a notebook."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from zoo.animation import ANIMATED, embed_animation, import_pyav, save_animation
from zoo.errors import InvalidValueError
from zoo.io.atomic import replace_atomically
from zoo.samples import Samples, enlarge, tile, visible_scale
from zoo.video.data.files import list_frames

PADDING = 2  # white pixels around each clip of a grid and each frame of a contact sheet
SHEET_FRAMES = 16  # the most frames of a clip in a contact sheet


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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

    SUFFIXES = (*ANIMATED, ".png")
    PIXELS = (*SUFFIXES, "")
    CARD_COUNT = 16

    def __getitem__(self, index: slice | int) -> Self:
        return replace(super().__getitem__(index), labels=self.labels[self._slice(index)])

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

    def grid(self, columns: int | None = None, *, scale: int = 1) -> np.ndarray:
        """Arrange all clips in one, uint8 [T, H', W', 3]. A single clip stays as it is, without a border."""
        clips = enlarge(self.to_uint8(), scale)
        if not len(clips):
            raise InvalidValueError("a grid needs at least one clip")
        return clips[0] if len(clips) == 1 else tile(clips, columns, padding=PADDING)

    def contact_sheet(self, *, scale: int = 1) -> Image.Image:
        """Draw one clip a row, with all its frames or 16 evenly spaced ones."""
        clips = enlarge(self.to_uint8(), scale)
        if not len(clips):
            raise InvalidValueError("a contact sheet needs at least one clip")
        length = clips.shape[1]
        chosen = np.linspace(0, length - 1, min(length, SHEET_FRAMES)).round().astype(int)
        frames = clips[:, chosen].reshape(-1, *clips.shape[2:])  # [N * F, H, W, 3]
        return Image.fromarray(tile(frames, len(chosen), padding=PADDING))

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        suffix = path.suffix.lower()
        if suffix == ".png":
            with replace_atomically(path) as temporary:
                self.contact_sheet(scale=scale).save(temporary)
        elif suffix in self.SUFFIXES:
            save_animation(path, self.grid(columns, scale=scale), self.rate)
        else:
            self._write_folder(path, scale)

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        digits = len(str(self.tensor.shape[2] - 1))
        for i, (number, clip) in enumerate(zip(numbers, enlarge(self.to_uint8(), scale), strict=True)):
            place = folder / (self.labels[i] if self.labels else "") / number
            for old in list_frames(place) if place.is_dir() else ():
                if old.suffix == ".png" and old.stem.isdecimal():  # from a longer clip
                    old.unlink()
            for t, frame in enumerate(clip):
                with replace_atomically(place / f"{t:0{digits}}.png") as temporary:
                    Image.fromarray(frame).save(temporary)
            yield

    def show_on(self, writer: Any, name: str, step: int) -> None:
        writer.add_image(name, np.asarray(self[:8].contact_sheet()), step, dataformats="HWC")

    def _repr_html_(self) -> str:
        """Return the notebook's preview: the first 16 clips, moving."""
        return embed_animation(self[:16].grid(scale=visible_scale(self.tensor.shape[-1])), self.rate)
