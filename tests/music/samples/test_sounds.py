"""Sounds: what `sample` gives, saved, seen and played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.music.samples import player
from zoo.music.samples.sounds import Sounds


@pytest.fixture
def sounds() -> Sounds:
    wave = torch.sin(torch.arange(4000) * 0.1)
    return Sounds(
        tensor=torch.stack([wave, wave / 2, 2 * wave])[:, None], rate=8000, labels=("kick", "snare", "kick"), seed=1
    )


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_one_file_holds_all_with_silence_between(sounds: Sounds, tmp_path: Path, suffix: str):
    """n sounds are one after the other, a quarter of a second apart; what is beyond full scale is cut there."""
    wave, rate = soundfile.read(sounds.save(tmp_path / f"all{suffix}"))

    assert rate == 8000
    assert len(wave) == 3 * 4000 + 2 * 2000
    np.testing.assert_allclose(wave[:4000], sounds.tensor[0, 0].numpy(), atol=1e-4)
    assert not wave[4000:6000].any()
    assert np.abs(wave).max() <= 1


def test_a_folder_holds_one_file_each_named_by_class(sounds: Sounds, tmp_path: Path):
    """Files are numbered, and named by what was asked for."""
    sounds.save(tmp_path / "hits")
    assert sorted(path.name for path in (tmp_path / "hits").iterdir()) == ["0-kick.wav", "1-snare.wav", "2-kick.wav"]
    sounds[1:].save(tmp_path / "rest")
    assert sorted(path.name for path in (tmp_path / "rest").iterdir()) == ["0-snare.wav", "1-kick.wav"]


def test_a_picture_has_as_many_columns_as_asked(sounds: Sounds, tmp_path: Path):
    wide, tall = (Image.open(sounds.save(tmp_path / f"{n}.png", columns=n)) for n in (len(sounds), 1))
    assert (wide.width - 4) // (tall.width - 4) == len(sounds) == (tall.height - 4) // (wide.height - 4)


def test_a_picture_shows_the_spectrograms(sounds: Sounds, tmp_path: Path):
    """Low tones are low in the picture, silence is black."""
    low = torch.sin(torch.arange(16000) * 2 * np.pi * 100 / 16000)
    Sounds(tensor=low[None, None], rate=16000).save(tmp_path / "a.png")
    saved = Image.open(tmp_path / "a.png").convert("RGB")
    assert np.array_equal(np.asarray(saved), np.asarray(Sounds(tensor=low[None, None], rate=16000).spectrograms()))
    picture = np.asarray(saved).astype(int).sum(-1)[4:-4, 4:-4]

    assert picture.mean(axis=1).argmax() > 0.8 * len(picture)
    assert picture[: len(picture) // 2].mean() < picture[-10:].mean() / 3


@pytest.mark.parametrize("length", [1, 256, 600])
def test_sounds_shorter_than_a_frame_have_a_picture(length: int, tmp_path: Path):
    path = Sounds(tensor=torch.rand(2, 1, length), rate=8000).save(tmp_path / "short.png")

    assert Image.open(path).height > 96


def test_unknown_suffixes_say_what_there_is(sounds: Sounds, tmp_path: Path):
    """A suffix that has no format here suggests the nearest."""
    with pytest.raises(InvalidValueError, match=r"\.wav, \.flac, \.png"):
        sounds.save(tmp_path / "a.mp3")


def test_notebooks_show_players(sounds: Sounds):
    """Each of the first sounds has a player, under its class."""
    html = sounds._repr_html_()
    assert html.count("<audio controls src='data:audio/wav;base64,UklGR") == 3
    assert "snare" in html


def test_playing_takes_the_first_player_of_the_machine(sounds: Sounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A player is called on a file that holds the sounds; without one the error says so."""
    script = tmp_path / "player"
    script.write_text(f'#!/bin/sh\ncp "$1" "{tmp_path}/played.wav"\n')
    script.chmod(0o755)
    monkeypatch.setattr(player, "PLAYERS", (("no-such-player",), (str(script),)))
    sounds.play()
    assert soundfile.info(tmp_path / "played.wav").frames == 3 * 4000 + 2 * 2000

    monkeypatch.setattr(player, "PLAYERS", (("no-such-player",),))
    with pytest.raises(MissingDependencyError, match="no-such-player"):
        sounds.play()
