"""Random music, played by a soundfont: varied training data for vocoders, in any amount.

It is a rhythm section: short notes in low registers, and drums. Long high tones are left out, because no vocoder can
learn their pitch. It makes the same wave from the same frame of a spectrogram, so a steady tone becomes the nearest
multiple of the rate of frames (86 Hz). Low tones beat in the bands of the spectrogram, which shows the phase of a
frame. So does the start of any tone.

The soundfont is TimGM6mb by Tim Brechbill (GPL-2.0), which is part of the PyPI package `pretty_midi`. `symusic` plays
it without any system package. Piece number i depends on i and the version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zoo.data import Store, build_store, cache_dir
from zoo.errors import MissingDependencyError

VERSION = 2
NUM_PIECES = 1200
ROWS = 8  # consecutive rows of a piece
SAMPLES = np.dtype(np.int16)
ATTRIBUTES = np.dtype([("sound", np.int32)])
PEAK = 0.95
HISS = 0.001  # standard deviation, -60 dB: recordings are never digitally silent, where logarithms are very low

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
_WHISTLE = 78  # this soundfont plays it from uninitialized memory: another noise each time
_PROGRAMS = [program for program in range(112) if program != _WHISTLE]  # of General MIDI; later ones are noises
_REGISTERS = ((28, 43), (36, 52), (48, 62))
_KICK, _SNARE, _CLOSED, _OPEN, _CRASH = 36, 38, 42, 46, 49


@dataclass(frozen=True)
class Note:
    """A note: start and length in seconds, MIDI pitch and velocity."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """The notes of one instrument. `program` is General MIDI's; -1 means drums."""

    program: int
    notes: tuple[Note, ...]


def compose(piece: int, seconds: float) -> list[Part]:
    """Compose a piece for one to three instruments in a random scale, with drums in three of four pieces."""
    rng = np.random.default_rng([VERSION, piece])
    beat = 60 / rng.uniform(60, 160)
    scale = _SCALES[rng.integers(len(_SCALES))]
    degrees = [12 * octave + step for octave in range(11) for step in scale]
    pitches = np.array(degrees) + rng.integers(12)
    registers = rng.permutation(len(_REGISTERS))[: rng.integers(1, 4)]
    parts = [_compose_voice(rng, pitches, _REGISTERS[register], beat, seconds) for register in registers]
    if rng.random() < 0.75:
        parts.append(_compose_drums(rng, beat, seconds))
    return parts


def _compose_voice(
    rng: np.random.Generator, pitches: np.ndarray, register: tuple[int, int], beat: float, seconds: float
) -> Part:
    """Compose a random walk through the scale, in single notes or in chords of thirds."""
    low, high = register
    within = pitches[(pitches >= low) & (pitches <= high)]
    place, chord, notes = int(rng.integers(len(within))), int(rng.integers(1, 4)), []
    # The walk starts up to a second before the piece, so the piece may start in the middle of a note.
    start = -rng.uniform(0, 1)
    while start < seconds:
        length = beat * rng.choice([0.25, 0.5, 1], p=[0.35, 0.45, 0.2])
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(within) - 1))
        velocity = int(rng.integers(40, 121))
        if rng.random() < 0.9:
            for step in range(chord):
                pitch = int(within[min(place + 2 * step, len(within) - 1)])
                notes.append(Note(start + 1, length * rng.uniform(0.6, 1.2), pitch, velocity))
        start += length
    return Part(int(rng.choice(_PROGRAMS)), tuple(notes))


def _compose_drums(rng: np.random.Generator, beat: float, seconds: float) -> Part:
    """Compose alternating kick and snare, hats in between, and a crash now and then."""
    step, notes = beat / rng.choice([2, 4]), []
    for i in range(int((seconds + 1) / step)):
        strokes = [_CLOSED if rng.random() < 0.85 else _OPEN] if rng.random() < 0.8 else []
        if i % 4 == 0:
            strokes.append(_KICK if i % 8 == 0 else _SNARE)
        elif rng.random() < 0.12:
            strokes.append(int(rng.choice([_KICK, _SNARE, 41, 45, 48, _CRASH])))
        notes += [Note(i * step, step, stroke, int(rng.integers(50, 121))) for stroke in strokes]
    return Part(-1, tuple(notes))


def play(parts: Sequence[Part], rate: int) -> np.ndarray:
    """Play the parts as float32 [T], as loud as the soundfont is; sums may exceed 1."""
    from symusic import Note as ScoreNote
    from symusic import Score, Track

    score: Any = Score(480, ttype="second")  # its stubs are a union of three kinds of time
    for part in parts:
        track: Any = Track("", max(part.program, 0), part.program < 0, ttype="second")
        track.notes = [ScoreNote(n.start, n.length, n.pitch, n.velocity, ttype="second") for n in part.notes]
        score.tracks.append(track)
    return np.asarray(_make_synthesizer(rate).render(score, stereo=False))[0]


@cache
def _make_synthesizer(rate: int) -> Any:
    from symusic import Synthesizer

    return Synthesizer(str(soundfont()), rate, 0)


def soundfont() -> Path:
    """Find the file of TimGM6mb. Raises MissingDependencyError where its package is not installed."""
    spec = find_spec("pretty_midi")
    path = Path(spec.origin).with_name("TimGM6mb.sf2") if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            "music is rendered with the soundfont of the package 'pretty_midi': pip install 'gan-zoo[data]'"
        )
    return path


@dataclass
class RenderedMusic:
    """Random music, played by a soundfont, for vocoders: 1,200 pieces of a few seconds.

    Every eighth piece is held out.
    """

    rate: int = 22050
    length: int = 8192
    pieces: int = NUM_PIECES
    dtype: np.dtype = SAMPLES
    assets: Mapping[str, str] = field(default_factory=dict)
    attributes: np.dtype = ATTRIBUTES

    name: ClassVar[str] = "rendered-music"
    version: ClassVar[str] = str(VERSION)
    license: ClassVar[str] = "GPL-2.0"
    defaults: ClassVar[dict[str, Any]] = {}

    @property
    def count(self) -> int:
        return self.pieces * ROWS

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        rows_wanted = np.array(list(indices))
        pieces = {piece: self.render_piece(int(piece)) for piece in np.unique(rows_wanted // ROWS)}
        rows = np.stack([pieces[i // ROWS][i % ROWS] for i in rows_wanted])
        table = np.empty(len(rows_wanted), dtype=self.attributes)
        table["sound"] = rows_wanted // ROWS
        return rows, table

    def render_piece(self, piece: int) -> np.ndarray:
        """Render the rows of a piece int16 [ROWS, T], with a random peak from -12 to 0 dB below 0.95."""
        rng = np.random.default_rng([VERSION, piece, 1])
        total = ROWS * self.length
        wave = play(compose(piece, total / self.rate), self.rate)[self.rate :][:total]  # without the second before it
        wave = np.pad(wave, (0, total - len(wave)))
        wave = wave / max(float(np.abs(wave).max()), 1e-6) * PEAK * 10 ** (rng.uniform(-12, 0) / 20)
        wave = (wave + rng.normal(0, HISS, total)).clip(-PEAK, PEAK)
        return np.round(wave * 32767).astype(np.int16).reshape(ROWS, self.length)

    def split(self) -> np.ndarray:
        return (np.arange(self.count) // ROWS % 8 == 7).astype(np.uint8)

    @classmethod
    def open(
        cls, data: Any, config: Any, *, workers: int, progress: Callable[[int, int], None] | None, log: Any
    ) -> Store:
        source = cls(rate=config.rate, length=config.length)
        place = cache_dir() / "data" / f"{cls.name}-v{cls.version}-{config.rate}x{config.length}"
        return build_store(source, place, workers=workers, progress=progress)
