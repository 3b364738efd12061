from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import symusic
from helpers.chorales import progression
from helpers.releases import write_model

from zoo.music.data.midi import write_midi
from zoo.recipe import load_recipe

Command = Callable[..., tuple[int, str, str]]

SMALL = ["model.generator_width=4", "model.private_width=2", "model.critic_width=2", "model.latent_dim=8"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dozen MIDI files of four voices and six bars, and one that is a waltz."""
    place = tmp_path / "midi"
    place.mkdir()
    for i in range(12):
        grid = progression(i, tracks=4, bars=6, steps=16)
        write_midi(grid, place / f"{i}.mid", steps=16, lowest=0, names="satb", programs=[0] * 4, bpm=90)
    waltz = symusic.Score(480)
    waltz.time_signatures.append(symusic.TimeSignature(0, 3, 4))
    waltz.dump_midi(str(place / "waltz.mid"))
    return place


@pytest.mark.parametrize("name", ["music-musegan", "music-midinet"])
def test_scores_are_sampled_into_every_format(name: str, command: Command, tmp_path: Path):
    """The same seed, the same bytes; a folder holds a file each."""
    overrides = SMALL if name == "music-musegan" else []
    model = write_model(load_recipe(name, overrides), tmp_path / "model")
    for suffix in (".mid", ".wav", ".png", ".npz"):
        code, said, errors = command("sample", model, "-n", 3, "--seed", 1, "--out", tmp_path / f"a{suffix}")
        assert (code, errors) == (0, ""), errors
        assert "3 samples" in said
        command("sample", model, "-n", 3, "--seed", 1, "--out", tmp_path / f"b{suffix}")
        if suffix != ".npz":  # the archive has the time in it
            assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    command("sample", model, "-n", 3, "--seed", 1, "--out", tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.mid"))) == 3

    code, _, errors = command("sample", model, "--out", tmp_path / "a.mp3")
    assert code == 2
    assert 'cannot save scores as ".mp3"; there are .mid, .wav, .png, .npz' in errors


def test_your_own_midi_files_are_trained_on_evaluated_and_sampled(command: Command, folder: Path, tmp_path: Path):
    """From a folder to scores; the file that is a waltz is named; metrics are compared with held-out files."""
    run = tmp_path / "run"
    code, _, errors = command(
        "train", "music-musegan", "--out", run, "--data", folder, *SMALL, "train.batch=4", "train.total_kimg=0.02",
        "train.evaluate_kimg=0.02",
    )  # fmt: skip
    assert code == 0, errors
    assert "1 of 13 MIDI files is left out" in errors
    assert "waltz.mid: not in 4/4 throughout, but in 3/4" in errors
    assert "style_distance" in errors
    assert list((run / "samples").glob("*.mid"))

    code, said, errors = command("evaluate", run)
    assert code == 0, errors
    assert "voices_in_range" in said
    assert "copied" in said
    code, said, errors = command("sample", run, "-n", 2, "--seed", 3, "--out", tmp_path / "mine.npz")
    assert code == 0, errors
    with np.load(tmp_path / "mine.npz") as arrays:
        assert arrays["grids"].shape == (2, 4, 64, 48)


def test_a_folder_of_too_many_tracks_says_what_to_do(command: Command, folder: Path, tmp_path: Path):
    code, _, errors = command(
        "train", "music-musegan", "--out", tmp_path / "run", "--data", folder, "model.tracks=3", "model.names=[]",
        "model.programs=[]",
    )  # fmt: skip

    assert code == 2
    assert "none of 13 MIDI files can be used" in errors
    assert "4 tracks with notes, more than the model's 3; train one with model.tracks=4" in errors


def test_chords_in_voices_that_should_be_single_are_said(command: Command, tmp_path: Path):
    """A training on files with chords says how many have them, and the setting that learns them."""
    place = tmp_path / "midi"
    place.mkdir()
    for i in range(8):
        grid = progression(i, tracks=4, bars=6, steps=16)
        if i % 2 == 0:
            grid[0] = np.maximum(grid[0], np.roll(grid[0], 4, axis=-1))  # thirds
        write_midi(grid, place / f"{i}.mid", steps=16, lowest=0, names="satb", programs=[0] * 4, bpm=90)
    arguments = ["train", "music-musegan", "--data", place, *SMALL, "train.batch=2", "train.total_kimg=0.002"]

    code, _, errors = command(*arguments, "--out", tmp_path / "single", "model.single=true")
    assert code == 0, errors
    assert "% of the training scores have chords within a voice" in errors
    assert "model.single=false" in errors
    code, _, errors = command(*arguments, "--out", tmp_path / "chords", "model.single=false")
    assert code == 0, errors
    assert "chords within a voice" not in errors
