"""The command line on sounds: from your own folder to a model, a class, and a resynthesized sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from zoo.music.samples import player

TINY = {
    "music-wavegan": ["model.width=2"],
    "music-hifigan": ["model.width=8", "model.period_width=1", "train.pretrain_kimg=0"],
    "music-vocos": ["model.width=8", "model.inner_width=8", "model.period_width=1", "train.pretrain_kimg=0"],
    "music-bigvgan": ["model.width=8", "model.period_width=1", "train.pretrain_kimg=0"],
}


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Folders of low and high tones at 44.1 kHz."""
    for kind, pitch in (("kick", 60), ("hat", 3000)):
        (tmp_path / "sounds" / kind).mkdir(parents=True)
        for i in range(6):
            wave = np.sin(np.arange(20000) * 2 * np.pi * (pitch + i) / 44100) * np.linspace(0.8, 0, 20000)
            soundfile.write(tmp_path / "sounds" / kind / f"{i}.wav", wave, 44100)
    return tmp_path / "sounds"


def trained(command, entry: str, sounds: Path, run: Path) -> Path:
    code, _, errors = command(
        "train", entry, *TINY[entry], "train.batch=4", "train.total_kimg=0.008", "--data", sounds, "--out", run,
        "--workers", 1,
    )  # fmt: skip
    assert code == 0, errors
    return run


def test_own_folder_to_sounds_of_a_class(command, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder trains, its inner folders are the classes, and one of them can be asked for by name."""
    run = trained(command, "music-wavegan", sounds, tmp_path / "run")

    code, output, _ = command("sample", run, "-n", 3, "--seed", 0, "--label", "kick", "--out", tmp_path / "kicks")
    assert code == 0
    assert "3 samples" in output
    assert sorted(path.name for path in (tmp_path / "kicks").iterdir()) == ["0-kick.wav", "1-kick.wav", "2-kick.wav"]

    code, _, errors = command("sample", run, "--action", "kik")
    assert (code, 'Did you mean "kick"' in errors) == (2, True)
    code, _, errors = command("sample", run, "--input", "a.wav")
    assert (code, "makes samples from latents" in errors) == (2, True)
    code, _, errors = command("sample", run, "--temperature", "0.5")
    assert (code, "does not write token by token" in errors) == (2, True)
    monkeypatch.setattr(player, "PLAYERS", (("no-such-player",),))
    code, _, errors = command("sample", run, "--play")
    assert (code, "no-such-player" in errors) == (2, True)


@pytest.mark.parametrize("entry", ["music-hifigan", "music-vocos", "music-bigvgan"])
def test_a_vocoder_gives_back_a_sound(command, entry: str, sounds: Path, tmp_path: Path):
    """`--input` takes a sound file and resynthesizes it, at the vocoder's rate and of the same length."""
    run = trained(command, entry, sounds, tmp_path / "run")

    code, _, errors = command("sample", run, "--input", sounds / "kick" / "0.wav", "--out", tmp_path / "again.flac")
    assert code == 0, errors
    info = soundfile.info(tmp_path / "again.flac")
    assert (info.samplerate, info.frames) == (22050, 10000)

    soundfile.write(tmp_path / "loud.wav", np.clip(3 * np.sin(np.arange(9000) * 0.05), -1, 1), 44100)
    code, _, errors = command("sample", run, "--input", tmp_path / "loud.wav", "--out", tmp_path / "loud.flac")
    assert code == 0
    assert errors.startswith(f"zoo: {tmp_path / 'loud.wav'}: clipped: ")
    assert len(errors.splitlines()) == 1

    soundfile.write(tmp_path / "silent.wav", np.zeros(4000), 44100)
    for path, message in (("silent.wav", "silent"), ("none.wav", "cannot be read")):
        code, _, errors = command("sample", run, "--input", tmp_path / path)
        assert (code, message in errors) == (2, True)
    code, _, errors = command("sample", run, "--label", "kick")
    assert (code, "knows no classes" in errors) == (2, True)
