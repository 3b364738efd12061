"""Rendered music: pieces are functions of their number, and the test split has recordings of its own."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zoo.data.packages import NpmPackage
from zoo.io.weights import digest
from zoo.music.data import instruments
from zoo.music.data.instruments import DRUMS, Bass, Kit, Loop, Note, Part, Piano, Synth, list_recordings, play
from zoo.music.data.rendered import ROWS, RenderedMusic, compose, is_test

RATE = 8000
DRUM_NAMES = ("bd_{}", "sn_{}", "hat_{}", "ride_{}", "drum_tom_{}", "elec_wood")
NAMES = [name.format(i) for name in (*DRUM_NAMES[:5], "tabla_na{}", "loop_{}") for i in "abcd"]


def make_package(folder: Path, name: str, waves: dict[str, np.ndarray]) -> NpmPackage:
    """Write the archive of an npm package of FLAC files into the cache."""
    file = NpmPackage(name, "1.0.0", "").file
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / file, "w:gz") as archive:
        for path, wave in waves.items():
            buffer = io.BytesIO()
            soundfile.write(buffer, wave, RATE, format="FLAC")
            info = tarfile.TarInfo(f"package/{path}")
            info.size = len(buffer.getvalue())
            archive.addfile(info, io.BytesIO(buffer.getvalue()))
    return NpmPackage(name, "1.0.0", digest(folder / file))


def tone(pitch: float, seconds: float) -> np.ndarray:
    times = np.arange(round(RATE * seconds)) / RATE
    return (0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * times)).astype(np.float32)


@pytest.fixture(autouse=True)
def packages(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of a piano with nine keys, of four recordings for each drum, and of four basses and loops."""
    keys = {f"audio/{key}{octave}v10.flac": (key, octave) for octave in range(1, 4) for key in ("C", "F#", "A")}
    piano = {path: tone(instruments.KEYS[key] + 12 * (octave + 1), 0.5) for path, (key, octave) in keys.items()}
    names = [*NAMES, *(f"bass_{i}_c" for i in "abcd")]
    recordings = {f"samples/{name}.flac": tone(48 + i, 0.2) for i, name in enumerate(names)}
    recordings["samples/loop_long.flac"] = tone(40, 6.0)
    monkeypatch.setattr(instruments, "PIANO", make_package(own_cache / "packages", "@some/piano", piano))
    monkeypatch.setattr(instruments, "RECORDINGS", make_package(own_cache / "packages", "recordings", recordings))


def find_pitch(wave: np.ndarray) -> float:
    """Find the MIDI pitch of a wave's strongest frequency."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 17))
    return float(69 + 12 * np.log2(spectrum.argmax() * RATE / (1 << 17) / 440))


def test_a_piece_is_a_function_of_its_number():
    """The same piece is the same to the last bit; others are others; rows of a piece follow one another."""
    source = RenderedMusic(rate=RATE, length=2048, pieces=3)
    rows, table = source.render(range(2 * ROWS))

    again, _ = RenderedMusic(rate=RATE, length=2048, pieces=3).render([ROWS, 3])
    assert np.array_equal(again, rows[[ROWS, 3]])
    assert list(table["sound"]) == [0] * ROWS + [1] * ROWS
    assert not np.array_equal(rows[:ROWS], rows[ROWS:])
    assert 0.2 < np.abs(rows[:ROWS]).max() / 32767 <= 0.951


def test_no_stretch_is_silent():
    """Hiss at -60 dB lies under it: in the quietest of its short stretches, too."""
    rows, _ = RenderedMusic(rate=RATE, length=2048, pieces=2).render(range(2 * ROWS))
    assert (rows.reshape(-1, 256) / 32767).std(axis=1).min() > 0.0007


def test_pieces_have_voices_and_perhaps_drums_and_a_loop():
    """They are of one to three voices, and sound from their beginning on."""
    parts = [compose(piece, 2.0) for piece in range(40)]

    voices = [[part for part in piece if not isinstance(part.instrument, (Kit, Loop))] for piece in parts]
    assert {len(piece) for piece in voices} == {1, 2, 3}
    assert {type(part.instrument) for piece in voices for part in piece} == {Piano, Bass, Synth}
    for kind, least, most in ((Kit, 24, 36), (Loop, 3, 14)):
        assert least <= sum(any(isinstance(part.instrument, kind) for part in piece) for piece in parts) <= most
    for piece in parts[:5]:
        wave = play(piece, 3.0, RATE)[RATE:]
        assert wave.shape == (2 * RATE,)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0.01


def test_the_test_split_has_recordings_of_its_own():
    """A fourth of each kind is in pieces of the test split alone."""
    for role in instruments.ROLES:
        kept, others = (list_recordings(role, is_test=state) for state in (True, False))
        assert kept
        assert others
        assert not {*kept} & {*others}
    used: dict[bool, set[str]] = {True: set(), False: set()}
    for piece in range(200):
        for part in compose(piece, 1.0):
            if isinstance(part.instrument, Kit):
                used[is_test(piece)].update(part.instrument.names)
            elif isinstance(part.instrument, (Bass, Loop)):
                used[is_test(piece)].add(part.instrument.name)
    assert used[True]
    assert not used[True] & used[False]
    split = RenderedMusic(pieces=16).split()
    assert split.reshape(16, ROWS).tolist() == [[i % 8 == 7] * ROWS for i in range(16)]


@pytest.mark.parametrize("pitch", [36, 41, 50])
def test_instruments_play_the_note_that_is_asked_for(pitch: int):
    """The nearest key of the piano, a bass of another octave perhaps, and the synthesizer, all in tune."""
    note = Note(0.0, 0.4, pitch, 100)
    synth = Synth(slope=2.0, is_odd=False, attack=0.01, decay=0.5, damping=4.0, detune=0.0, vibrato=0.0)
    assert find_pitch(Piano().play(note, RATE)) == pytest.approx(pitch, abs=0.2)
    assert find_pitch(synth.play(note, RATE)) == pytest.approx(pitch, abs=0.2)
    root = 48 + len(NAMES)  # of the first bass; its name says C
    moved = (pitch + 6) % 12 - 6
    assert find_pitch(Bass("bass_a_c").play(note, RATE)) == pytest.approx(root + moved, abs=0.3)


def test_notes_fade_and_loops_repeat():
    """A note ends soon after its length; a loop fills the length of its note, however long the recording is."""
    short = Piano().play(Note(0.0, 0.1, 36, 100), RATE)
    assert len(short) == round(0.25 * RATE)
    assert abs(short[-1]) < 1e-3
    loop = Loop("loop_a", 0, 0.0).play(Note(0.0, 1.0, 0, 100), RATE)
    assert len(loop) == RATE
    np.testing.assert_array_equal(loop[:800], loop[1600:2400])
    assert len(np.unique(Loop("loop_long", 0, 0.0).play(Note(0.0, 5.0, 0, 100), RATE)[4 * RATE :])) > 100


@pytest.mark.parametrize("vibrato", [0.0, 25.0])
def test_the_synthesizer_stays_below_the_highest_frequency(vibrato: float):
    """Nothing folds back: harmonics end below half of the rate."""
    synth = Synth(slope=0.6, is_odd=True, attack=0.002, decay=0.0, damping=0.5, detune=12.0, vibrato=vibrato)
    wave = synth.play(Note(0.0, 1.0, 60, 100), RATE)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    assert spectrum[frequencies > 0.47 * RATE].max() < spectrum.max() / 1000
    assert np.abs(wave).max() <= 1


def test_later_notes_are_cut_and_parts_add():
    """A note that begins beyond the end is left out; two equal parts are twice as loud."""
    kit = Kit(tuple(list_recordings(role, is_test=False)[0] for role in DRUMS), 0)
    notes = (Note(0.0, 0.1, 0, 127), Note(0.9, 0.5, 1, 127), Note(3.0, 0.1, 2, 127))
    one = play([Part(kit, notes)], 1.0, RATE)
    two = play([Part(kit, notes), Part(kit, notes)], 1.0, RATE)
    assert one.shape == (RATE,)
    np.testing.assert_allclose(two, 2 * one)
