"""Grids as sheet music in MusicXML. music21 splits notes at bar lines, ties them, and sets beams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import MissingDependencyError
from zoo.io.atomic import replace_atomically
from zoo.music.data.midi import list_notes


def check_musicxml() -> None:
    """Raise MissingDependencyError where MusicXML cannot be written."""
    try:
        import music21  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "MusicXML is written with the package 'music21': pip install 'gan-zoo[data]'"
        ) from None


def write_musicxml(
    grid: np.ndarray, path: Path, *, steps: int, lowest: int, names: Sequence[str], programs: Sequence[int], bpm: float
) -> None:
    """Write a grid [V, T, P], whose first pitch is MIDI's `lowest`, in 4/4, with a part for each voice.

    Raises MissingDependencyError without music21, WriteError.
    """
    check_musicxml()
    from music21 import chord, clef, instrument, metadata, meter, note, stream, tempo
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    quarter = steps / 4
    score: Any = stream.Score()
    score.insert(0, metadata.Metadata(title=path.stem))
    for voice, name, program in zip(grid, names, programs, strict=True):
        part: Any = stream.Part(id=name)
        sound: Any = instrument.instrumentFromMidiProgram(program)
        sound.partName = name
        part.append(sound)
        part.append(meter.TimeSignature("4/4"))
        if not score.parts:
            part.append(tempo.MetronomeMark(number=bpm))
        together: dict[tuple[int, int], list[int]] = defaultdict(list)
        for start, length, pitch in list_notes(voice):
            together[start, length].append(pitch + lowest)
        for (start, length), pitches in together.items():
            element: Any = note.Note(pitches[0]) if len(pitches) == 1 else chord.Chord(pitches)
            element.quarterLength = length / quarter
            part.insert(start / quarter, element)
        part.insert(0, clef.bestClef(part))
        part.makeRests(refStreamOrTimeRange=[0, grid.shape[1] / quarter], fillGaps=True, inPlace=True)
        score.insert(0, part)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(GeneralObjectExporter(score).parse())
