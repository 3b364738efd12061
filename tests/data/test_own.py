"""Folders as people have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zoo.data.own import describe_skipped, list_files, name_unreadable, name_unreadable_steps
from zoo.errors import InvalidFileError, MissingDependencyError
from zoo.music.data.sounds import SoundDataConfig, open_store
from zoo.recipe import load_recipe


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_what_systems_put_into_a_folder_is_passed_over(tmp_path: Path):
    """Names with a dot in front and the folder of a Mac's archives are no data, at any depth."""
    touch(*(tmp_path / name for name in ("b.png", "a/A.PNG", "a/._A.png", ".DS_Store", ".trash/c.png", "a/c.txt")))
    touch(tmp_path / "__MACOSX" / "a" / "d.png", tmp_path / "a" / "__MACOSX" / "d.png")

    assert list_files(tmp_path, [".png"]) == [tmp_path / "a" / "A.PNG", tmp_path / "b.png"]
    assert list_files(tmp_path, [".png"], below=False) == [tmp_path / "b.png"]


def test_linked_folders_are_followed_once(tmp_path: Path):
    """A link to a folder elsewhere is followed; one that leads back up ends nothing and repeats nothing."""
    touch(tmp_path / "elsewhere" / "a.png", tmp_path / "data" / "b.png")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "data")

    found = list_files(tmp_path / "data", [".png"])

    assert [path.name for path in found] == ["b.png", "a.png"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator can open every folder")
def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path):
    """A folder without permission is named in a warning, and the others are read."""
    touch(tmp_path / "closed" / "a.png", tmp_path / "b.png")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.warns(UserWarning, match="closed: this folder cannot be opened"):
            assert list_files(tmp_path, [".png"]) == [tmp_path / "b.png"]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_classes_are_those_whose_sounds_can_be_read(tmp_path: Path, own_cache: Path):
    """Folders of an archive's leftovers, empty folders and folders of damaged files make no class."""
    noise = np.random.default_rng(0).normal(0, 0.1, (10, 8000))
    for i, name in enumerate(["kick"] * 5 + ["snare"] * 5):
        (tmp_path / name).mkdir(exist_ok=True)
        soundfile.write(tmp_path / name / f"{i}.wav", noise[i], 16000)
    touch(tmp_path / "__MACOSX" / "kick" / "._0.wav", tmp_path / "hat" / "damaged.wav")
    (tmp_path / "empty").mkdir()
    lines: list[str] = []

    config = load_recipe("music-wavegan").model
    store = open_store(SoundDataConfig(folder=str(tmp_path), cut="first"), config, log=lines.append)

    assert (store.folder / "labels.json").read_text().strip() == '["kick", "snare"]'
    assert np.bincount(store.labels).tolist() == [5, 5]
    assert len(lines) == 1
    assert "damaged.wav" in lines[0]


def test_a_sound_that_was_written_to_a_pipe_is_read(tmp_path: Path, own_cache: Path):
    """A FLAC whose header does not say how long it is has all its samples."""
    from zoo.music.data.sounds import read_sound

    wave = 0.5 * np.sin(np.arange(16000) / 6)
    soundfile.write(tmp_path / "a.flac", wave, 16000)
    whole, _ = read_sound(tmp_path / "a.flac")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the number of samples, 36 bits of the header
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)

    read, rate = read_sound(tmp_path / "a.flac")

    assert rate == 16000
    assert read.equal(whole)


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), OSError(5, "broken"), RuntimeError("a\nb" * 999)])
def test_whatever_a_decoder_raises_names_the_file(error: Exception):
    """The error is one line of bounded length that begins with the file and has its cause."""
    with (
        pytest.raises(InvalidFileError, match=r"^some/file: cannot be read: .+$") as caught,
        name_unreadable("some/file"),
    ):
        raise error

    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_what_is_not_the_fault_of_the_file_passes():
    """Ctrl-C and a package that is not installed leave no file out; our own errors get the name alone."""
    for error in (KeyboardInterrupt(), MissingDependencyError("install it")):
        with pytest.raises(type(error)) as caught, name_unreadable("file"):
            raise error
        assert caught.value is error
    with pytest.raises(InvalidFileError, match=r"^file: too short$"), name_unreadable("file"):
        raise InvalidFileError("too short")


def test_errors_of_the_consumer_are_not_those_of_the_decoder():
    """Only what happens while the decoder works is turned; its end is an end."""

    def decode() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    assert list(name_unreadable_steps("file", iter([1, 2]))) == [1, 2]
    steps = name_unreadable_steps("file", decode())
    assert [next(steps), next(steps)] == [1, 2]
    with pytest.raises(InvalidFileError, match="file: cannot be read: damaged"):
        next(steps)
    steps = name_unreadable_steps("file", decode())
    next(steps)
    with pytest.raises(ZeroDivisionError):
        steps.throw(ZeroDivisionError())  # type: ignore[attr-defined]


def test_five_of_the_files_that_are_left_out_are_named():
    errors = [InvalidFileError(f"{i}.png: cannot be read: broken") for i in range(7)]

    line = describe_skipped(errors, 9, "files")

    assert line.startswith("7 of 9 files are left out: 0.png: cannot be read: broken; 1.png")
    assert line.endswith("4.png: cannot be read: broken; ...")
