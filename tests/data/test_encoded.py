"""Stores of encoded pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data import Batches, Store, store
from zoo.data.encoded import ENCODING, SAMPLES
from zoo.data.images import Encoding, ImageDataConfig, decode_images, flip_images
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.faces.architectures.dcgan import DCGANConfig
from zoo.faces.data.datasets import open_store
from zoo.noise import Noise
from zoo.recipe import load_recipe

SIZE = 32


def open_photos(photos: Path, encoding: Encoding, *, workers: int = 1) -> Store:
    data = ImageDataConfig(folder=str(photos), encoding=encoding)
    return open_store(data, DCGANConfig(resolution=SIZE), workers=workers, log=lambda line: None)


@pytest.mark.parametrize("encoding", ["webp", "source"])
def test_every_encoding_gives_the_same_pixels(photos: Path, encoding: Encoding):
    """JPEG, gray, transparent and turned pictures: whatever the store holds, rows are those of raw pixels."""
    raw, encoded = open_photos(photos, "raw"), open_photos(photos, encoding)

    assert encoded.samples.shape == raw.samples.shape
    assert encoded.samples.dtype == raw.samples.dtype
    assert np.array_equal(encoded.split, raw.split)
    assert encoded.fingerprint != raw.fingerprint
    count = len(raw.samples)
    for index in (3, -1, slice(None), slice(0, 9, 2), [5, 1, 5], np.array([2, 0]), np.arange(count) % 2 == 0, slice(0)):
        assert np.array_equal(encoded.samples[index], raw.samples[index])
    assert np.array_equal(encoded.mean(), raw.mean())


def test_a_training_sees_the_same_batches_of_encoded_pictures(photos: Path):
    """Decoded ahead by threads, they are the batches of raw pixels, bit for bit."""
    raw, encoded = (
        Batches(open_photos(photos, encoding), decode_images, augment=flip_images, batch=4, seed=0, prefetch=prefetch)
        for encoding, prefetch in (("raw", False), ("webp", True))
    )
    for step in range(8):
        assert torch.equal(raw.at(step, Noise(step))[0], encoded.at(step, Noise(step))[0])


def test_stores_of_files_take_what_the_files_take(photos: Path):
    """Not a byte more, and broken files none."""
    encoded = open_photos(photos, "source")
    files = [path for path in photos.rglob("*.*") if path.stem.isdigit()]  # the others are broken, or no pictures

    assert len(files) == len(encoded.samples) == 24
    assert (encoded.folder / SAMPLES).stat().st_size == sum(path.stat().st_size for path in files)


def test_a_changed_byte_of_an_encoded_picture_is_noticed(photos: Path):
    """The fingerprint covers the bytes of the pictures."""
    path = open_photos(photos, "source").folder / SAMPLES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(InvalidFileError, match="not those that were built"):
        open_photos(photos, "source")


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"size": "32"}'])
def test_a_store_whose_encoding_is_damaged_is_named(photos: Path, content: str):
    """One line, whatever the file holds."""
    (open_photos(photos, "source").folder / ENCODING).write_text(content)
    with pytest.raises(InvalidFileError, match=r"(damaged one|not those that were built)"):
        open_photos(photos, "source")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_of_encoded_pictures_is_resumed(
    photos: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    """After half of the chunks and half of a write, the rest is done, and the bytes are those of one build."""
    monkeypatch.setattr(store, "_CHUNK", 5)
    whole = open_photos(photos, "webp")
    place, expected = whole.folder, whole.fingerprint
    shutil.rmtree(place)
    write = store._Target.write

    def interrupt(target: store._Target, chunk: int, rendered: store.Rendered) -> None:
        if chunk == 2:
            with (place.with_name(place.name + ".partial") / SAMPLES).open("ab") as file:
                file.write(b"half of a picture" * 10_000)
            raise KeyboardInterrupt
        write(target, chunk, rendered)

    monkeypatch.setattr(store._Target, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_photos(photos, "webp")
    written: list[int] = []
    monkeypatch.setattr(
        store._Target, "write", lambda target, chunk, rendered: (written.append(chunk), write(target, chunk, rendered))
    )

    assert open_photos(photos, "webp", workers=workers).fingerprint == expected
    assert written == [2, 3, 4, 5]
    assert sorted(os.listdir(place)) == [
        ".checked.json", "encoding.json", "ends.npy", "samples.bin", "split.npy", "store.json"
    ]  # fmt: skip


def test_only_own_pictures_have_an_encoding():
    """The data sets of this library are raw; the error names the key, and the recipe of a folder takes it."""
    with pytest.raises(InvalidValueError, match=r'data\.encoding = "webp" is for pictures of your own'):
        load_recipe("faces-dcgan", ["data.encoding=webp"])
    assert load_recipe("faces-dcgan", ["data.encoding=webp"], data="./photos").data.encoding == "webp"


def test_photographs_of_another_size_are_stored_as_they_came(tmp_path: Path):
    """The bytes of a large JPEG file; its pixels are resized when it is read."""
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((160, 120)).save(tmp_path / f"{i}.jpg")
    encoded = open_photos(tmp_path, "source")

    joined = b"".join((tmp_path / f"{i}.jpg").read_bytes() for i in range(3))
    assert (encoded.folder / SAMPLES).read_bytes() == joined
    assert encoded.samples[:].shape == (3, SIZE, SIZE, 3)
