"""MIDI files to grids of steps and back, through `symusic`.

A grid is uint8 [V, T, 128]: what each of V tracks does at each of T steps with each of MIDI's pitches, SILENT, STRUCK
(a note begins) or HELD (it goes on).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.errors import InvalidFileError
from zoo.io.atomic import replacing

SILENT, STRUCK, HELD = 0, 1, 2
NUM_PITCHES = 128
TICKS = 480  # per quarter note, in what is written
VELOCITY = 84
MOST_BARS = 10_000  # of a file; a grid of them takes up to 160 MB a track

Mapping = Literal["pitch", "families"]

FAMILIES = ("drums", "piano", "guitar", "bass", "others")
"""What General MIDI's programs are gathered into, as in the data of MuseGAN: programs 0-7, 24-31, 32-39, the rest."""

FAMILY_PROGRAMS = (0, 0, 25, 33, 48)
"""An instrument of each, to write it with."""

_FAMILY_OF_PROGRAM = {0: 1, 3: 2, 4: 3}  # by program // 8

_OF_FAMILIES = (  # what is written on a command line for a model of them
    f"model.tracks={len(FAMILIES)} 'model.names={json.dumps(FAMILIES)}' 'model.programs={json.dumps(FAMILY_PROGRAMS)}'"
)


def read_grid(path: Path, *, tracks: int, steps: int, mapping: Mapping = "pitch") -> np.ndarray:
    """The grid [tracks, T, 128] of a MIDI file in 4/4, `steps` to the bar and T of whole bars.

    `pitch` takes the file's tracks with notes, without drums, from the highest on average to the lowest; missing ones
    stay silent. `families` gathers them into FAMILIES, drums among them. Notes begin and end at the nearest step, and
    last one at least.

    Raises InvalidFileError, saying why the file cannot be used.
    """
    score = _read(path)
    meters = {(meter.numerator, meter.denominator) for meter in score.time_signatures}
    if other := meters - {(4, 4)}:
        found = ", ".join(f"{numerator}/{denominator}" for numerator, denominator in sorted(other))
        raise InvalidFileError(f"{path}: not in 4/4 throughout, but in {found}")
    chosen = _families(score.tracks) if mapping == "families" else _by_pitch(score.tracks)
    if not any(chosen):
        raise InvalidFileError(f"{path}: no notes" + ("" if mapping == "families" else " besides drums"))
    if len(chosen) > tracks:
        more = f"more than the model's {tracks}; train one with"
        if mapping == "families":
            raise InvalidFileError(f"{path}: the {len(FAMILIES)} families, {more} {_OF_FAMILIES}")
        raise InvalidFileError(
            f"{path}: {len(chosen)} tracks with notes, {more} model.tracks={len(chosen)} 'model.names=[]' "
            f"'model.programs=[]', or gather them by 'data.mapping=\"families\"' {_OF_FAMILIES}"
        )
    ticks = score.ticks_per_quarter * 4 / steps
    end = max(note.time + note.duration for notes in chosen for note in notes)
    num_bars = max(1, int(np.ceil(round(end / ticks) / steps)))
    if num_bars > MOST_BARS:
        raise InvalidFileError(f"{path}: its last note ends in bar {num_bars:,}; at most {MOST_BARS:,} are read")
    grid = np.zeros((tracks, num_bars * steps, NUM_PITCHES), dtype=np.uint8)
    for track, notes in zip(grid, chosen, strict=False):
        for note in sorted(notes, key=lambda note: note.time):
            put(track, note.pitch, round(note.time / ticks), round((note.time + note.duration) / ticks))
    return grid


def put(track: np.ndarray, pitch: int, start: int, end: int) -> None:
    """Write a note from step `start` to before `end` into a track [T, P]; it lasts one step at least."""
    start = min(start, len(track) - 1)
    track[start : max(end, start + 1), pitch] = HELD
    track[start, pitch] = STRUCK


def notes_of(track: np.ndarray) -> list[tuple[int, int, int]]:
    """The notes of a track [T, P], in time: (first step, steps, pitch)."""
    notes = []
    for pitch in np.flatnonzero(track.any(axis=0)):
        line = track[:, pitch]
        before = np.concatenate([[SILENT], line[:-1]])
        starts = np.flatnonzero((line == STRUCK) | ((line == HELD) & (before == SILENT)))
        ends = np.flatnonzero((line != SILENT) & np.append((line[1:] != HELD), True)) + 1
        notes += [(int(start), int(end - start), int(pitch)) for start, end in zip(starts, ends, strict=True)]
    return sorted(notes)


def write_midi(
    grid: np.ndarray, path: Path, *, steps: int, lowest: int, names: Sequence[str], programs: Sequence[int], bpm: float
) -> None:
    """Write a grid [V, T, P], whose first pitch is MIDI's `lowest`, as a MIDI file of a track each. Raises WriteError.

    A track called `drums` is written as drums.
    """
    import symusic

    score: Any = symusic.Score(TICKS)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    score.tempos.append(symusic.Tempo(0, qpm=bpm))
    ticks = TICKS * 4 / steps
    for voice, name, program in zip(grid, names, programs, strict=True):
        track: Any = symusic.Track(program=program, is_drum=name == "drums", name=name)
        for start, length, pitch in notes_of(voice):
            begin, end = round(start * ticks), round((start + length) * ticks)
            track.notes.append(symusic.Note(begin, end - begin, pitch + lowest, VELOCITY))
        score.tracks.append(track)
    with replacing(path) as temporary:
        score.dump_midi(str(temporary))


def _read(path: Path) -> Any:
    import symusic

    try:
        return symusic.Score.from_midi(path.read_bytes())
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except (RuntimeError, ValueError, MemoryError) as error:
        why = str(error).removeprefix("MiniMidi: ").partition("\n")[0]
        raise InvalidFileError(f"{path}: not a MIDI file ({why})") from error


def _by_pitch(tracks: Sequence[Any]) -> list[list[Any]]:
    """The notes of the tracks that have any and are no drums, the highest track first."""
    found = [list(track.notes) for track in tracks if len(track.notes) and not track.is_drum]
    return sorted(found, key=lambda notes: -sum(note.pitch for note in notes) / len(notes))


def _families(tracks: Sequence[Any]) -> list[list[Any]]:
    gathered: list[list[Any]] = [[] for _ in FAMILIES]
    for track in tracks:
        family = 0 if track.is_drum else _FAMILY_OF_PROGRAM.get(track.program // 8, len(FAMILIES) - 1)
        gathered[family] += list(track.notes)
    return gathered
