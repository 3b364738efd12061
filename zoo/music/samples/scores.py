"""Samples of a model of notes: `Scores`, piano rolls that can be saved as MIDI, sound, picture and sheet music."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from zoo.io.atomic import replace_atomically
from zoo.music.data.midi import HELD, SILENT, STRUCK, list_notes, write_midi
from zoo.music.data.scores import ScoreConfig
from zoo.music.samples.musicxml import check_musicxml, write_musicxml
from zoo.music.samples.player import Playable
from zoo.music.samples.rendering import RATE, encode_wav, render
from zoo.samples import tile

COLORS = ("#d1495b", "#e8a33d", "#3a9d78", "#3567a8", "#7a5195", "#5b8c3a", "#8d6e63", "#546e7a")
PAPER, BLACK_KEY, BEAT, BAR, OCTAVE = "#fdfbf7", "#f3eee4", "#ece5d8", "#b9ae9b", "#ddd3c2"
STEP_PIXELS, PITCH_PIXELS = 9, 5  # of the picture, at 16 steps a bar


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scores(Playable):
    """Scores [N, V + 1, T, P] of V voices: above 0 where a voice sounds, in the last roll where any voice has an onset.

    A bar of 4/4 has `steps`, and the P pitches start at MIDI's `lowest`. A note starts where its voice starts to sound,
    and where its pitch has an onset.

    `save` chooses the format by the suffix of the path:

    - .mid, .wav and .musicxml: all scores one after the other, with a bar's rest between them.
    - .png: piano rolls in one picture.
    - .npz: arrays, of which `grids` is uint8 [N, V, T, P] of 0 silent, 1 struck, 2 held.
    - no suffix: a folder with one .mid for each score.
    """

    steps: int = 16
    lowest: int = 36
    names: tuple[str, ...] = ()
    programs: tuple[int, ...] = ()
    bpm: float = 90.0

    SUFFIXES = (".mid", ".wav", ".png", ".npz", ".musicxml")
    CARD_SUFFIXES = (".mid", ".png")

    @classmethod
    def check_path(cls, path: str | os.PathLike[str]) -> Path:
        """Check as `Samples.check_path`. Raises MissingDependencyError for .musicxml without the extra `data`."""
        path = super().check_path(path)
        if path.suffix.lower() == ".musicxml":
            check_musicxml()
        return path

    @cached_property
    def grids(self) -> np.ndarray:
        """The states of all pitches, uint8 [N, V, T, P]: SILENT, STRUCK or HELD."""
        rolls = (self.tensor > 0).cpu().numpy()
        sounding, starts = rolls[:, :-1], rolls[:, -1:]
        before = np.pad(sounding, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
        return np.where(sounding, np.where(starts | ~before, STRUCK, HELD), SILENT).astype(np.uint8)

    def to_midi(self) -> bytes:
        """Return all scores one after the other as a MIDI file."""
        return self.to_bytes(".mid")

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        suffix = path.suffix.lower()
        if suffix in (".mid", ".musicxml"):
            self._write_notes(self._join(), path)
        elif suffix == ".wav":
            with replace_atomically(path) as temporary:
                temporary.write_bytes(encode_wav(self._render(self._join())))
        elif suffix == ".png":
            with replace_atomically(path) as temporary:
                picture = ImageOps.scale(self.picture(columns), scale, Image.Resampling.NEAREST)
                picture = picture.quantize(dither=Image.Dither.NONE)  # a palette of a dozen colors halves the bytes
                picture.save(temporary, format="PNG", optimize=True)
        elif suffix == ".npz":
            self._write_arrays(path)
        else:
            self._write_folder(path, scale)

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        for number, grid in zip(numbers, self.grids, strict=True):
            self._write_notes(grid, folder / f"{number}.mid")
            yield

    def waves(self) -> list[np.ndarray]:
        """Render each score as float32 [samples] at 22,050 Hz; see `zoo.music.samples.rendering`."""
        return [self._render(grid) for grid in self.grids]

    def picture(self, columns: int | None = None) -> Image.Image:
        """Draw piano rolls, arranged as in `zoo.samples.tile`: a color for each voice, the highest in front.

        Lines mark bars, beats and octaves (above each C). The rows of black keys are shaded.
        """
        rolls = np.stack([np.asarray(self._draw_roll(grid)) for grid in self.grids])
        return Image.fromarray(tile(rolls, columns, padding=12))

    def _join(self) -> np.ndarray:
        """Join all scores to one grid [V, T', P], with a bar's rest between them."""
        padded = np.pad(self.grids, ((0, 0), (0, 0), (0, self.steps), (0, 0)))
        return np.concatenate(list(padded), axis=1)[:, : -self.steps]

    def _write_notes(self, grid: np.ndarray, path: Path) -> None:
        voices = range(grid.shape[0])
        names = self.names or tuple(f"voice {i + 1}" for i in voices)
        programs = self.programs or (0,) * len(voices)
        write = write_musicxml if path.suffix.lower() == ".musicxml" else write_midi
        write(grid, path, steps=self.steps, lowest=self.lowest, names=names, programs=programs, bpm=self.bpm)

    def _render(self, grid: np.ndarray) -> np.ndarray:
        return render(grid, steps=self.steps, lowest=self.lowest, bpm=self.bpm)

    def _write_arrays(self, path: Path) -> None:
        arrays = {"grids": self.grids, "lowest": np.array(self.lowest), "steps": np.array(self.steps)}
        if self.latents is not None:
            arrays["latents"] = self.latents.cpu().numpy()
        if self.seed is not None:
            arrays["seed"] = np.array(self.seed)
        with replace_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    def _draw_roll(self, grid: np.ndarray) -> Image.Image:
        num_steps, num_pitches = grid.shape[1:]
        across = max(2, STEP_PIXELS * 16 // self.steps)
        image = Image.new("RGB", (num_steps * across + 1, num_pitches * PITCH_PIXELS + 1), PAPER)
        draw = ImageDraw.Draw(image)
        self._draw_lines(draw, num_steps, num_pitches, across)
        for voice in reversed(range(len(grid))):
            color = COLORS[voice % len(COLORS)]
            for start, length, pitch in list_notes(grid[voice]):
                left, top = start * across, (num_pitches - 1 - pitch) * PITCH_PIXELS
                right, bottom = max(left + 1, (start + length) * across - 2), top + PITCH_PIXELS
                draw.rounded_rectangle((left + 1, top, right, bottom), radius=2, fill=color)
        return image

    def _draw_lines(self, draw: ImageDraw.ImageDraw, num_steps: int, num_pitches: int, across: int) -> None:
        right, bottom = num_steps * across, num_pitches * PITCH_PIXELS
        for pitch in range(num_pitches):
            top = (num_pitches - 1 - pitch) * PITCH_PIXELS
            if (pitch + self.lowest) % 12 in (1, 3, 6, 8, 10):
                draw.rectangle((0, top, right, top + PITCH_PIXELS - 1), fill=BLACK_KEY)
        for pitch in range(num_pitches + 1):
            if (pitch + self.lowest) % 12 == 0:
                y = bottom - pitch * PITCH_PIXELS
                draw.line((0, y, right, y), fill=OCTAVE)
        for step in range(0, num_steps + 1, self.steps // 4):
            draw.line((step * across, 0, step * across, bottom), fill=BAR if step % self.steps == 0 else BEAT)

    def show_on(self, writer: Any, name: str, step: int) -> None:
        writer.add_image(name, np.asarray(self[:8].picture()), step, dataformats="HWC")
        for i, wave in enumerate(self[:2].waves()):
            writer.add_audio(f"{name}/{i}", wave[None], step, sample_rate=RATE)

    def _repr_html_(self) -> str:
        """Return the notebook's preview: the first four scores, each as a piano roll above a player."""
        shown = self[:4]
        cells = []
        for i, sound in enumerate(shown.waves()):
            buffer = io.BytesIO()
            shown[i : i + 1].picture().save(buffer, format="PNG")
            picture = base64.b64encode(buffer.getvalue()).decode()
            player = base64.b64encode(encode_wav(sound)).decode()
            cells.append(
                f"<div><img src='data:image/png;base64,{picture}'><br>"
                f"<audio controls src='data:audio/wav;base64,{player}'></audio></div>"
            )
        return "".join(cells)


def make_scores(tensor: Tensor, latents: Tensor | None, seed: int | None, config: ScoreConfig) -> Scores:
    """Wrap the rolls of a model of `config` in `Scores`."""
    return Scores(
        tensor=tensor,
        latents=latents,
        seed=seed,
        steps=config.steps,
        lowest=config.lowest,
        names=config.names,
        programs=config.programs,
        bpm=config.bpm,
    )
