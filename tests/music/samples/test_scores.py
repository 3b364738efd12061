from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import symusic
import torch
from helpers.chorales import progression
from PIL import Image

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.music.data.midi import HELD, SILENT, STRUCK, add_note, list_notes
from zoo.music.data.scores import decode
from zoo.music.samples.rendering import RATE, render, render_note
from zoo.music.samples.scores import Scores

BAR = 4 * 60 / 90 * RATE  # samples of a bar at 90 quarter notes a minute


@pytest.fixture
def grids() -> np.ndarray:
    """Three scores of three voices and two bars, 60 pitches from C2 on."""
    return np.stack([progression(i, tracks=3, bars=2, steps=16)[:, :, 36:96] for i in range(3)])


@pytest.fixture
def scores(grids: np.ndarray) -> Scores:
    return Scores(tensor=decode(grids), latents=torch.arange(3.0)[:, None], seed=7, names=("s", "a", "b"))


def test_rolls_tell_struck_from_held(scores: Scores, grids: np.ndarray):
    """A grid comes back from what the networks see."""
    assert (scores.grids == grids).all()


def test_a_note_begins_where_its_voice_begins_to_sound():
    """Whether or not the roll of what is struck says so; and only where its own voice sounds."""
    rolls = -torch.ones(1, 2, 4, 12)
    rolls[0, 0, 1:4, 5] = 1
    rolls[0, 1, 3, [5, 7]] = 1

    assert Scores(tensor=rolls).grids[0, 0, :, 5].tolist() == [SILENT, STRUCK, HELD, STRUCK]
    assert not Scores(tensor=rolls).grids[0, 0, :, 7].any()


def test_a_slice_keeps_what_belongs_to_it(scores: Scores):
    chosen = scores[1:]

    assert (len(chosen), chosen.seed, chosen.names) == (2, 7, ("s", "a", "b"))
    assert torch.equal(chosen.latents, scores.latents[1:])


def test_midi_holds_all_scores_with_a_bar_s_rest_between(scores: Scores, grids: np.ndarray, tmp_path: Path):
    """A named track a voice, in 4/4 and the score's tempo."""
    score = symusic.Score(str(scores.save(tmp_path / "a.mid")))
    step = score.ticks_per_quarter // 4

    assert [track.name for track in score.tracks] == ["s", "a", "b"]
    assert score.tempos[0].qpm == pytest.approx(90, abs=0.01)
    assert sum(len(track.notes) for track in score.tracks) == (grids == STRUCK).sum()
    starts = {note.time // step for track in score.tracks for note in track.notes}
    assert {0, 48, 96} <= starts
    assert starts.isdisjoint({*range(32, 48), *range(80, 96)})


def test_sheet_music_has_the_same_notes(scores: Scores, grids: np.ndarray, tmp_path: Path):
    """A part for each voice, with the score's tempo; a note across a bar line becomes two that are tied."""
    music21 = pytest.importorskip("music21")
    path = scores.save(tmp_path / "a.musicxml")
    parts = music21.converter.parse(path).parts

    assert [part.partName for part in parts] == ["s", "a", "b"]
    assert [len(part.getElementsByClass("Measure")) for part in parts] == [8, 8, 8]
    assert "<per-minute>90</per-minute>" in path.read_text()
    for voice, part in enumerate(parts):
        found = {
            (float(note.offset), float(note.quarterLength), pitch.midi)
            for note in part.stripTies().flatten().notes
            for pitch in note.pitches
        }
        expected = {
            (12 * i + start / 4, length / 4, pitch + scores.lowest)
            for i, grid in enumerate(grids)
            for start, length, pitch in list_notes(grid[voice])
        }
        assert found == expected


def test_sheet_music_shows_chords_and_ties(tmp_path: Path):
    """Of a piano's track: two pitches at once, and a note that a bar line cuts."""
    music21 = pytest.importorskip("music21")
    grid = np.zeros((1, 1, 32, 24), dtype=np.uint8)
    for pitch in (0, 4):
        add_note(grid[0, 0], pitch, 0, 4)
    add_note(grid[0, 0], 7, 12, 20)
    path = Scores(tensor=decode(grid)).save(tmp_path / "a.musicxml")

    notes = list(music21.converter.parse(path).flatten().notes)
    assert [[pitch.midi for pitch in note.pitches] for note in notes] == [[36, 40], [43], [43]]
    assert [note.tie.type for note in notes[1:]] == ["start", "stop"]


def test_scores_play_where_there_is_a_player(scores: Scores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    played = tmp_path / "played"
    player = tmp_path / "player"
    player.write_text(f'#!/bin/sh\ncp "$2" {played}\n')
    player.chmod(0o755)
    monkeypatch.setattr("zoo.music.samples.player.PLAYERS", ((str(player), "-q"),))
    scores.play()
    assert played.read_bytes() == scores.save(tmp_path / "a.wav").read_bytes()

    monkeypatch.setattr("zoo.music.samples.player.PLAYERS", (("no-such-player",),))
    with pytest.raises(MissingDependencyError, match="install one of no-such-player"):
        scores.play()


def test_a_folder_holds_a_file_a_score(scores: Scores, tmp_path: Path):
    scores.save(tmp_path / "all")

    assert [path.name for path in sorted((tmp_path / "all").iterdir())] == ["0.mid", "1.mid", "2.mid"]


def test_arrays_hold_grids_latents_and_seed(scores: Scores, grids: np.ndarray, tmp_path: Path):
    with np.load(scores.save(tmp_path / "a.npz")) as arrays:
        assert (arrays["grids"] == grids).all()
        assert (int(arrays["seed"]), int(arrays["lowest"]), int(arrays["steps"])) == (7, 36, 16)
        assert arrays["latents"].shape == (3, 1)


def test_sound_is_as_long_as_the_score_and_never_clips(scores: Scores, tmp_path: Path):
    """16-bit mono, the loudest sample at 0.9, the same bytes each time."""
    path = scores.save(tmp_path / "a.wav")
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)

    assert len(samples) == pytest.approx(8 * BAR, rel=0.01)
    assert np.abs(samples).max() == round(0.9 * 32767)
    rest = samples[round(2.1 * BAR) : round(2.9 * BAR)]
    assert not rest.any()
    assert path.read_bytes() == scores.save(tmp_path / "b.wav").read_bytes()


def test_a_note_sounds_at_its_pitch():
    """A4 has 440 Hz, and its loudest partial is the fundamental."""
    sound = render_note(69, 1.0, brightness=0.0).numpy()[:RATE]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))

    assert np.argmax(spectrum) * RATE / len(sound) == pytest.approx(440, abs=1)


def test_silence_is_silent():
    assert not render(np.zeros((2, 16, 12), dtype=np.uint8), steps=16, lowest=60, bpm=90).any()


def test_the_picture_shows_each_voice_in_its_color(scores: Scores, tmp_path: Path):
    """As many colors as voices that sound, and more scores make a larger picture."""
    one = Image.open(scores[:1].save(tmp_path / "one.png")).convert("RGB")
    three = Image.open(scores.save(tmp_path / "three.png", columns=3))

    assert three.width > 2.9 * one.width
    found = {color for _, color in one.getcolors(1 << 20)}
    assert {(209, 73, 91), (232, 163, 61), (58, 157, 120)} <= found
    assert (np.asarray(one) == np.asarray(scores[:1].picture())).all()  # a file with a palette, of the very colors
    assert (53, 103, 168) not in found


@pytest.mark.parametrize("steps", [64, 192])
def test_the_finest_steps_are_drawn(steps: int, tmp_path: Path):
    """A note of one step is two pixels wide then."""
    grid = np.zeros((1, 1, steps, 12), dtype=np.uint8)
    add_note(grid[0, 0], 3, 5, 6)
    picture = Image.open(Scores(tensor=decode(grid), steps=steps).save(tmp_path / "a.png")).convert("RGB")

    assert (209, 73, 91) in {color for _, color in picture.getcolors(1 << 20)}


def test_the_notebook_shows_a_roll_and_a_player_for_each(scores: Scores):
    shown = scores._repr_html_()

    assert shown.count("<img src='data:image/png;base64,") == shown.count("<audio controls") == 3


def test_an_unknown_suffix_names_the_known_ones(scores: Scores, tmp_path: Path):
    with pytest.raises(InvalidValueError, match=r'as ".midi"; there are .mid, .wav, .png, .npz, .musicxml'):
        scores.save(tmp_path / "a.midi")


def test_drums_are_written_as_drums(tmp_path: Path):
    """A track of that name goes to MIDI's channel of drums."""
    grid = np.zeros((1, 2, 16, 12), dtype=np.uint8)
    add_note(grid[0, 0], 0, 0, 1)
    add_note(grid[0, 1], 5, 0, 4)
    path = Scores(tensor=decode(grid), names=("drums", "bass"), programs=(0, 33)).save(tmp_path / "a.mid")

    tracks = symusic.Score.from_midi(io.BytesIO(path.read_bytes()).getvalue()).tracks
    assert {track.name: (track.is_drum, track.program) for track in tracks} == {"drums": (True, 0), "bass": (False, 33)}
