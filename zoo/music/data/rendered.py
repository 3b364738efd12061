"""Random music, played by recorded and by computed instruments: varied training data for vocoders, in any amount.

It is a rhythm section: short notes in low registers, and drums. Long high tones are left out, because no vocoder can
learn their pitch. It makes the same wave from the same frame of a spectrogram, so a steady tone becomes the nearest
multiple of the rate of frames (86 Hz). Low tones beat in the bands of the spectrogram, which shows the phase of a
frame. So does the start of any tone.

Piece number i depends on i and the version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from zoo.data import Store, build_store, cache_dir
from zoo.music.data.instruments import (
    DRUMS,
    Bass,
    Instrument,
    Kit,
    Loop,
    Note,
    Part,
    Piano,
    Synth,
    list_recordings,
    play,
)

VERSION = 3
NUM_PIECES = 1200
ROWS = 8  # consecutive rows of a piece
SAMPLES = np.dtype(np.int16)
ATTRIBUTES = np.dtype([("sound", np.int32)])
PEAK = 0.95
HISS = 0.001  # standard deviation, -60 dB: recordings are never digitally silent, where logarithms are very low
ONE_IN = 8  # pieces in the test split

_KICK, _SNARE, _HAT, _CYMBAL, _TOM, _OTHER = range(len(DRUMS))
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
_REGISTERS = ((28, 43), (36, 52), (48, 62))


def compose(piece: int, seconds: float) -> list[Part]:
    """Compose a piece for one to three instruments in a random scale.

    Three of four pieces have drums, one of five a loop. Pieces of the test split have drums, basses and loops that no
    other piece has.
    """
    rng = np.random.default_rng([VERSION, piece])

    def choose(role: str) -> str:
        return str(rng.choice(list_recordings(role, is_test=is_test(piece))))

    beat = 60 / rng.uniform(60, 160)
    scale = _SCALES[rng.integers(len(_SCALES))]
    degrees = [12 * octave + step for octave in range(11) for step in scale]
    pitches = np.array(degrees) + rng.integers(12)
    parts = []
    for register in rng.permutation(len(_REGISTERS))[: rng.integers(1, 4)]:
        kind = rng.random()
        instrument: Instrument = Synth.draw(rng)
        if kind < 0.35:
            instrument = Piano()
        elif register == 0 and kind < 0.7:
            instrument = Bass(choose("bass"))
        notes = _compose_voice(rng, pitches, _REGISTERS[register], beat, seconds)
        parts.append(Part(instrument, notes, level=0.4 * 10 ** (rng.uniform(-8, 0) / 20)))
    if rng.random() < 0.75:
        kit = Kit(tuple(choose(role) for role in DRUMS), shift=int(rng.integers(-1, 2)) * 2)
        parts.append(Part(kit, _compose_drums(rng, beat, seconds), level=0.8))
    if rng.random() < 0.2:
        loop = Loop(choose("loop"), shift=int(rng.integers(-1, 2)) * 3, begin=rng.random())
        parts.append(Part(loop, (Note(0.0, seconds + 1, 0, 127),), level=10 ** (rng.uniform(-12, 0) / 20)))
    return parts


def is_test(piece: int) -> bool:
    """Tell whether a piece is in the test split."""
    return piece % ONE_IN == ONE_IN - 1


def _compose_voice(
    rng: np.random.Generator, pitches: np.ndarray, register: tuple[int, int], beat: float, seconds: float
) -> tuple[Note, ...]:
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
    return tuple(notes)


def _compose_drums(rng: np.random.Generator, beat: float, seconds: float) -> tuple[Note, ...]:
    """Compose alternating kick and snare, hats in between, and a cymbal, a tom or another drum now and then."""
    step, notes = beat / rng.choice([2, 4]), []
    for i in range(int((seconds + 1) / step)):
        strokes = [_HAT] if rng.random() < 0.7 else []
        if i % 4 == 0:
            strokes.append(_KICK if i % 8 == 0 else _SNARE)
        elif rng.random() < 0.2:
            strokes.append(int(rng.choice([_KICK, _SNARE, _CYMBAL, _TOM, _OTHER], p=[0.2, 0.2, 0.1, 0.25, 0.25])))
        notes += [Note(i * step, step, stroke, int(rng.integers(50, 121))) for stroke in strokes]
    return tuple(notes)


@dataclass
class RenderedMusic:
    """Random music, played by recorded and computed instruments, for vocoders: 1,200 pieces of a few seconds.

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
    license: ClassVar[str] = "CC-BY-3.0, piano by Alexander Holm"
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
        seconds = total / self.rate
        wave = play(compose(piece, seconds), seconds + 1, self.rate)[-total:]  # without the second before it
        wave = wave / max(float(np.abs(wave).max()), 1e-6) * PEAK * 10 ** (rng.uniform(-12, 0) / 20)
        wave = (wave + rng.normal(0, HISS, total)).clip(-PEAK, PEAK)
        return np.round(wave * 32767).astype(np.int16).reshape(ROWS, self.length)

    def split(self) -> np.ndarray:
        return np.array([is_test(i // ROWS) for i in range(self.count)], dtype=np.uint8)

    @classmethod
    def open(
        cls, data: Any, config: Any, *, workers: int, progress: Callable[[int, int], None] | None, log: Any
    ) -> Store:
        source = cls(rate=config.rate, length=config.length)
        place = cache_dir() / "data" / f"{cls.name}-v{cls.version}-{config.rate}x{config.length}"
        return build_store(source, place, workers=workers, progress=progress)
