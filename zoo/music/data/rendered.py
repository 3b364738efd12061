"""Music that is composed by chance and played by a soundfont, for vocoders: as much of it as one likes, and varied.

It is a rhythm section's: short notes in low registers, and drums. A vocoder makes one stretch of wave a frame, the same
from the same spectrogram, so a tone that stands still comes out as the nearest multiple of the frames' rate (86 Hz).
Low tones beat in the spectrogram's bands, which tells where in a period a frame is, and near its beginning every tone
can be told by that; in high ones that stand for long nothing does.

The soundfont is TimGM6mb by Tim Brechbill (GPL-2.0), which the PyPI package `pretty_midi` carries; `symusic` plays it
without any system package. Piece number i is a function of i and the version alone.
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
ROWS = 8  # of a piece, one after the other
SAMPLES = np.dtype(np.int16)
ATTRIBUTES = np.dtype([("sound", np.int32)])
PEAK = 0.95
HISS = 0.001  # standard deviation: -60 dB, for no recording is digitally silent, and logarithms fall far there

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
_WHISTLE = 78  # of this soundfont is played from memory that nobody filled: another noise each time
_PROGRAMS = [program for program in range(112) if program != _WHISTLE]  # of General MIDI; those after are noises
_REGISTERS = ((28, 43), (36, 52), (48, 62))
_KICK, _SNARE, _CLOSED, _OPEN, _CRASH = 36, 38, 42, 46, 49


@dataclass(frozen=True)
class Note:
    """Start and length in seconds; MIDI pitch and velocity."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """What one instrument plays; `program` is General MIDI's, and -1 the drums."""

    program: int
    notes: tuple[Note, ...]


def compose(piece: int, seconds: float) -> list[Part]:
    """One to three instruments in a scale of their own, and drums in three of four pieces."""
    rng = np.random.default_rng([VERSION, piece])
    beat = 60 / rng.uniform(60, 160)
    scale = _SCALES[rng.integers(len(_SCALES))]
    degrees = [12 * octave + step for octave in range(11) for step in scale]
    pitches = np.array(degrees) + rng.integers(12)
    registers = rng.permutation(len(_REGISTERS))[: rng.integers(1, 4)]
    parts = [_voice(rng, pitches, _REGISTERS[register], beat, seconds) for register in registers]
    if rng.random() < 0.75:
        parts.append(_drums(rng, beat, seconds))
    return parts


def _voice(
    rng: np.random.Generator, pitches: np.ndarray, register: tuple[int, int], beat: float, seconds: float
) -> Part:
    """A walk through the scale, note by note or in chords of thirds."""
    low, high = register
    within = pitches[(pitches >= low) & (pitches <= high)]
    place, chord, notes = int(rng.integers(len(within))), int(rng.integers(1, 4)), []
    # Begins up to a second before the piece does, so that it may open in the middle of a note.
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


def _drums(rng: np.random.Generator, beat: float, seconds: float) -> Part:
    """Kick and snare in turns, hats between, now and then a crash."""
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
    """The parts as float32 [T], as loud as the soundfont has them, beyond 1 where they add up."""
    from symusic import Note as Played
    from symusic import Score, Track

    score: Any = Score(480, ttype="second")  # its stubs are a union of three kinds of time
    for part in parts:
        track: Any = Track("", max(part.program, 0), part.program < 0, ttype="second")
        track.notes = [Played(n.start, n.length, n.pitch, n.velocity, ttype="second") for n in part.notes]
        score.tracks.append(track)
    return np.asarray(_synthesizer(rate).render(score, stereo=False))[0]


@cache
def _synthesizer(rate: int) -> Any:
    from symusic import Synthesizer

    return Synthesizer(str(soundfont()), rate, 0)


def soundfont() -> Path:
    """The file of TimGM6mb. Raises MissingDependencyError where the package that carries it is not there."""
    spec = find_spec("pretty_midi")
    path = Path(spec.origin).with_name("TimGM6mb.sf2") if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependencyError(
            "music is rendered with the soundfont of the package pretty_midi: pip install 'gan-zoo[data]'"
        )
    return path


@dataclass
class RenderedMusic:
    """Music composed by chance and played by a soundfont, for vocoders: 1,200 pieces of a few seconds.

    One piece in eight, by its number, is held out.
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
        wanted = np.array(list(indices))
        pieces = {piece: self.piece(int(piece)) for piece in np.unique(wanted // ROWS)}
        rows = np.stack([pieces[i // ROWS][i % ROWS] for i in wanted])
        table = np.empty(len(wanted), dtype=self.attributes)
        table["sound"] = wanted // ROWS
        return rows, table

    def piece(self, piece: int) -> np.ndarray:
        """The rows of a piece int16 [ROWS, T], by turns loud and soft: its peak is from -12 to 0 dB below 0.95."""
        rng = np.random.default_rng([VERSION, piece, 1])
        total = ROWS * self.length
        wave = play(compose(piece, total / self.rate), self.rate)[self.rate :][:total]  # after the second before it
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
