"""Data sets of the Hub that are read like a folder of files: clips, scores and sounds."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.chorales import progression
from helpers.loopback_hub import LoopbackHub, corrupt
from PIL import Image

from zoo.data import Store
from zoo.data.hub import load_files
from zoo.data.labels import read_labels
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, UnreachableError
from zoo.music.data import scores, sounds
from zoo.music.data.midi import write_midi
from zoo.video.data import datasets as video

CARD = b"---\nlicense: cc-by-4.0\n---\n# A data set\n"
CLIP = SimpleNamespace(resolution=16, frames=4)
SCORE = scores.ScoreConfig(tracks=4, bars=2, steps=16, pitches=48, lowest=36)
SOUND = SimpleNamespace(length=1600, rate=16000)


def clip(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    first, *others = [Image.fromarray(frame) for frame in pixels]
    first.save(buffer := io.BytesIO(), format="webp", save_all=True, append_images=others, lossless=True)
    return buffer.getvalue()


def midi(seed: int, folder: Path) -> bytes:
    grid = progression(seed, tracks=4, bars=4, steps=16)
    names, programs = ("a", "b", "c", "d"), (0, 0, 0, 0)
    write_midi(grid, folder / "a.mid", steps=16, lowest=0, names=names, programs=programs, bpm=90)
    return (folder / "a.mid").read_bytes()


def wave(seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.1, 1600)
    soundfile.write(buffer := io.BytesIO(), noise, 16000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@pytest.fixture
def published(hub: LoopbackHub, tmp_path: Path) -> LoopbackHub:
    """A data set of each kind."""
    places = [f"{name}/{i}" for name in ("left", "right") for i in range(6)]
    for name, suffix, content in (
        ("clips", "webp", clip),
        ("scores", "mid", lambda seed: midi(seed, tmp_path)),
        ("sounds", "wav", wave),
    ):
        files = {f"{place}.{suffix}": content(i) for i, place in enumerate(places)}
        hub.repo(f"me/{name}", {"README.md": CARD, "notes.txt": b"not data", **files}, kind="dataset")
    return hub


def open_kind(kind: str) -> Store:
    if kind == "clips":
        return video.open_store(video.ClipDataConfig(hub="me/clips"), CLIP)
    if kind == "scores":
        return scores.open_store(scores.ScoreDataConfig(hub="me/scores"), SCORE, log=lambda line: None)
    return sounds.open_store(sounds.SoundDataConfig(hub="me/sounds"), SOUND, log=lambda line: None)


@pytest.mark.parametrize("kind", ["clips", "scores", "sounds"])
def test_a_data_set_of_the_hub_is_read_as_a_folder_is(kind: str, published: LoopbackHub):
    """A store has the data set's files of this kind and its license. Later it asks for the commit alone."""
    store = open_kind(kind)

    assert len(store.samples) >= 12
    assert (store.about["name"], store.about["license"]) == (f"me/{kind}", "cc-by-4.0")
    assert not published.count("notes.txt")
    asked = len(published.requests)
    assert open_kind(kind).fingerprint == store.fingerprint
    assert len(published.requests) <= asked + 1
    published.close()
    assert open_kind(kind).fingerprint == store.fingerprint


@pytest.mark.parametrize("kind", ["clips", "sounds"])
def test_its_folders_are_classes(kind: str, published: LoopbackHub):
    """Folders are classes, as in a user's own folder."""
    assert read_labels(open_kind(kind).folder) == ("left", "right")


def test_pixels_are_the_files(published: LoopbackHub):
    """The pixels of the store are those of the files."""
    samples = open_kind("clips").samples
    expected = np.stack([np.asarray(Image.open(io.BytesIO(clip(i))).convert("RGB")) for i in range(12)])

    assert np.array_equal(np.sort(samples[:, 0], axis=0), np.sort(expected, axis=0))


def test_wrong_bytes_are_refused_and_fetched_anew(published: LoopbackHub):
    """A damaged file is fetched again; damaged twice, it is an error and does not stay in the cache."""
    published.fault("GET .*left/3.webp", corrupt(), times=1)
    assert len(open_kind("clips").samples) == 12

    published.fault("GET .*right/2.wav", corrupt(), times=2)
    with pytest.raises(InvalidFileError, match=r"right/2.wav came with other bytes"):
        open_kind("sounds")
    published.heal()
    assert len(open_kind("sounds").samples) >= 12


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("clips", InvalidValueError, 'is named "org/name"'),
        ("me/nothing", NotFoundError, "no data set me/nothing"),
        ("me/sounds", InvalidFileError, r"none of its 15 files ends in .mp4"),
        ("me/model", NotFoundError, "me/model is a model on .*, not a dataset"),
        ("me/clips@v9", NotFoundError, "me/clips has no revision 'v9'. It has main"),
    ],
)
def test_names_that_are_no_such_data_set_are_refused(name: str, error: type, message: str, published: LoopbackHub):
    published.repo("me/model", {"config.json": b"{}"})

    with pytest.raises(error, match=message):
        load_files(name, (".mp4", ".webp"))


def test_an_unreachable_hub_is_one_clear_error(published: LoopbackHub):
    published.close()

    with pytest.raises(UnreachableError, match="me/clips"):
        open_kind("clips")


def test_a_training_on_a_data_set_of_the_hub(
    published: LoopbackHub, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
):
    """`--data hf:` on the command line trains on the data set, and refuses one that does not exist."""
    sizes = ["model.resolution=16", "model.frames=4", "model.width=2", "model.time_stride=2", "train.batch=4"]
    code, _, errors = command(
        "train", "video-mocogan", "--out", tmp_path / "run", "--data", "hf:me/clips", *sizes, "train.total_kimg=0.008"
    )

    assert code == 0, errors
    assert 'hub = "me/clips"' in (tmp_path / "run" / "recipe.toml").read_text()
    code, _, errors = command("train", "video-mocogan", "--out", tmp_path / "b", "--data", "hf:me/none", *sizes)
    assert code == 2
    assert "no data set me/none" in errors
