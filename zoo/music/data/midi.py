"""MIDI files to grids of steps and back, through `symusic`.

A grid is uint8 [V, T, 128]: the state of each of MIDI's pitches in each of V tracks at each of T steps. The states are
SILENT, STRUCK (a note starts) and HELD (it continues).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data.own import name_unreadable
from zoo.errors import InvalidFileError
from zoo.io.atomic import replace_atomically

SILENT, STRUCK, HELD = 0, 1, 2
NUM_PITCHES = 128
TICKS = 480  # per quarter note, in files that are written
VELOCITY = 84
MOST_BARS = 10_000  # of a file; their grid takes up to 160 MB per track
MOST_BYTES = 4 << 20  # of a file, about half a million notes; a symphony has a tenth

Mapping = Literal["pitch", "families"]

FAMILIES = ("drums", "piano", "guitar", "bass", "others")
"""The groups of General MIDI's programs, as in the data of MuseGAN: drums, programs 0-7, 24-31, 32-39, the rest."""

FAMILY_PROGRAMS = (0, 0, 25, 33, 48)
"""An instrument of each family, for files that are written."""

_FAMILY_OF_PROGRAM = {0: 1, 3: 2, 4: 3}  # by program // 8

_OF_FAMILIES = (  # the options of a command line for a model of families
    f"model.tracks={len(FAMILIES)} 'model.names={json.dumps(FAMILIES)}' 'model.programs={json.dumps(FAMILY_PROGRAMS)}'"
)


def read_grid(path: Path, *, tracks: int, steps: int, mapping: Mapping = "pitch") -> np.ndarray:
    """Read the grid [tracks, T, 128] of a MIDI file in 4/4, with `steps` per bar and whole bars.

    `pitch` takes the file's tracks with notes, without drums, from the highest on average to the lowest; missing tracks
    stay silent. `families` gathers the tracks into FAMILIES, drums included. Notes start and end at the nearest step,
    and are at least one step long.

    Raises InvalidFileError, saying why the file cannot be used.
    """
    score = _read(path)
    meters = {(meter.numerator, meter.denominator) for meter in score.time_signatures}
    if other := meters - {(4, 4)}:
        found = ", ".join(f"{numerator}/{denominator}" for numerator, denominator in sorted(other))
        raise InvalidFileError(f"{path}: not in 4/4 throughout, but in {found}")
    chosen = _gather_families(score.tracks) if mapping == "families" else _sort_by_pitch(score.tracks)
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
            add_note(track, note.pitch, round(note.time / ticks), round((note.time + note.duration) / ticks))
    return grid


def add_note(track: np.ndarray, pitch: int, start: int, end: int) -> None:
    """Write a note from step `start` until before `end` into a track [T, P]; it lasts at least one step."""
    start = min(start, len(track) - 1)
    track[start : max(end, start + 1), pitch] = HELD
    track[start, pitch] = STRUCK


def list_notes(track: np.ndarray) -> list[tuple[int, int, int]]:
    """List the notes of a track [T, P] in time: (first step, steps, pitch)."""
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
    """Write a grid [V, T, P], whose first pitch is MIDI's `lowest`, as a MIDI file with V tracks. Raises WriteError.

    A track called `drums` is written as drums.
    """
    import symusic

    score: Any = symusic.Score(TICKS)
    score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    score.tempos.append(symusic.Tempo(0, qpm=bpm))
    ticks = TICKS * 4 / steps
    for voice, name, program in zip(grid, names, programs, strict=True):
        track: Any = symusic.Track(program=program, is_drum=name == "drums", name=name)
        for start, length, pitch in list_notes(voice):
            begin, end = round(start * ticks), round((start + length) * ticks)
            track.notes.append(symusic.Note(begin, end - begin, pitch + lowest, VELOCITY))
        score.tracks.append(track)
    with replace_atomically(path) as temporary:
        score.dump_midi(str(temporary))


def _read(path: Path) -> Any:
    import symusic

    with name_unreadable(path):
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InvalidFileError(f"a MIDI file of more than {MOST_BYTES >> 20} MiB; cut it into pieces")
        score: Any = symusic.Score.from_midi(_bound_chunks(data))
        if not score.ticks_per_quarter:
            raise InvalidFileError("not a MIDI file: a quarter note has 0 ticks")
    return score


_END = b"\xff\x2f\x00"  # the event that ends a track


def _bound_chunks(data: bytes) -> bytes:
    """Return a MIDI file whose chunks have the lengths that they state.

    `symusic` reads beyond the end of the memory where a track claims more than the file has. A track that was never
    finished, as by a recorder that lost its power, ends with its last whole event.
    """
    view, parts, position = memoryview(data), list[bytes | memoryview](), 0
    while position + 8 <= len(data):
        kind, claimed = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
        body, end = view[position + 8 : position + 8 + claimed], b""
        is_whole = len(body) == claimed
        if kind == b"MTrk" and not (is_whole and body[-3:] == _END):
            body = body[: _find_end(body)]
            end = b"" if body[-3:] == _END else b"\0" + _END
        parts += [kind, (len(body) + len(end)).to_bytes(4, "big"), body, end]
        position += 8 + (claimed if is_whole else len(body))
    return b"".join(parts)


def _find_end(track: memoryview) -> int:
    """Return the position after a track's end event, or else after its last whole event."""
    status, end = 0, 0
    try:
        while end < len(track):
            _delta, position = _read_number(track, end)
            if track[position] & 0x80:
                status = track[position]
                position += 1
            if status == 0xFF:
                length, position = _read_number(track, position + 1)
            elif status in (0xF0, 0xF7):
                length, position = _read_number(track, position)
            elif 0x80 <= status < 0xF0:
                length = 1 if 0xC0 <= status < 0xE0 else 2
            else:
                return end
            if position + length > len(track):
                return end
            end = position + length
            if status == 0xFF and track[end - 3 : end] == _END:
                return end
    except IndexError:  # in the middle of an event, or at none
        pass
    return end


def _read_number(data: memoryview, position: int) -> tuple[int, int]:
    """Read a number of one to four bytes; return it and the position after it. Raises IndexError where none is."""
    number = 0
    for place in range(position, position + 4):
        number = number << 7 | data[place] & 0x7F
        if not data[place] & 0x80:
            return number, place + 1
    raise IndexError(position)


def _sort_by_pitch(tracks: Sequence[Any]) -> list[list[Any]]:
    """List the notes of the tracks that have any and are not drums, the highest track first."""
    found = [list(track.notes) for track in tracks if len(track.notes) and not track.is_drum]
    return sorted(found, key=lambda notes: -sum(note.pitch for note in notes) / len(notes))


def _gather_families(tracks: Sequence[Any]) -> list[list[Any]]:
    """Collect the notes of each family."""
    gathered: list[list[Any]] = [[] for _ in FAMILIES]
    for track in tracks:
        family = 0 if track.is_drum else _FAMILY_OF_PROGRAM.get(track.program // 8, len(FAMILIES) - 1)
        gathered[family] += list(track.notes)
    return gathered
