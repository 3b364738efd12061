"""Stores of encoded pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageCms

from zoo.data import Batches, Store, encoded, rows, store
from zoo.data.encoded import ENCODING, SAMPLES, DecodedRows, EncodedImages
from zoo.data.images import Encoding, ImageDataConfig, decode_images, flip_images
from zoo.data.rows import DeviceRows, place_rows
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.faces.architectures.dcgan import DCGANConfig
from zoo.faces.data.datasets import open_store
from zoo.noise import Noise
from zoo.recipe import Placement, load_recipe

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


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """A folder of JPEG files like photographs, of many sizes, orientations and kinds, a PNG and a WebP.

    Red, green and blue are brightest at three corners, so that no two orientations look alike.
    """
    folder = tmp_path / "jpegs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        height, width = (int(side) for side in rng.integers(40, 400, 2))
        across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        pixels = 220 * np.stack([across * down, (1 - across) * down, across * (1 - down)], -1)
        image = Image.fromarray((pixels + rng.uniform(0, 30, pixels.shape)).astype(np.uint8))
        image.getexif()[0x0112] = i % 9
        options = {"exif": image.getexif(), "quality": 92, "progressive": i % 3 == 0, "subsampling": i % 3}
        if i % 7 == 3:
            image = image.convert("L" if i < 10 else "CMYK")
        if i == 11:
            options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image.save(folder / f"{i:02}.jpg", **options)
    image.save(folder / "20.png")
    image.save(folder / "21.webp")
    return folder


def read_batches(store: Store, *, device: str = "cpu", steps: int = 6, **options: Any) -> np.ndarray:
    """Return the stored pixels of a few steps, as integers."""
    batches = Batches(store, lambda rows: rows, batch=7, seed=0, device=torch.device(device), **options)
    return np.concatenate([batches.at(step, Noise(step))[0].cpu().numpy() for step in range(steps)]).astype(int)


def assert_alike(found: np.ndarray, expected: np.ndarray, *, mean: float, most: int) -> None:
    """Check that each picture differs by `mean` levels on average and by `most` anywhere, at most."""
    assert found.shape == expected.shape
    difference = abs(found - expected)
    assert difference.mean(axis=(1, 2, 3)).max() <= mean
    assert difference.max() <= most


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_device_decodes_the_same_pictures_in_the_same_order(
    jpegs: Path, monkeypatch: pytest.MonkeyPatch, prefetch: bool
):
    """JPEG files of all orientations, gray and progressive; CMYK, profiles and other formats are left to Pillow."""
    monkeypatch.setattr(encoded, "AT_ONCE", 3)
    store = open_photos(jpegs, "source")
    found = read_batches(store, decode_on_device=True, prefetch=prefetch)
    assert_alike(found, read_batches(store), mean=0.5, most=2)


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that Pillow decodes."""
    decoded: list[int] = []
    decode = EncodedImages._decode
    monkeypatch.setattr(EncodedImages, "_decode", lambda self, row: (decoded.append(int(row)), decode(self, row))[1])
    return decoded


def test_a_device_decodes_jpeg_files_itself(jpegs: Path, by_pillow: list[int]):
    """Pillow decodes those alone that it does not take: two of CMYK, one with a color profile, a PNG and a WebP."""
    store = open_photos(jpegs, "source")
    by_pillow.clear()
    found = DecodedRows(store, torch.device("cpu"))(np.arange(len(store.samples)))
    assert found.dtype == torch.uint8
    assert sorted(by_pillow) == [10, 11, 17, 20, 21]


@pytest.mark.parametrize("refused", [1, 17])
def test_pillow_decodes_what_the_decoder_of_a_device_refuses(
    jpegs: Path, by_pillow: list[int], monkeypatch: pytest.MonkeyPatch, refused: int
):
    """One file is refused, and the others are not; or all are, where torchvision was built without nvJPEG."""
    store, decode = open_photos(jpegs, "source"), torchvision.io.decode_jpeg
    count = len(store.samples)
    sizes = [path.stat().st_size for path in sorted(jpegs.glob("*.jpg")) if path.stem not in ("10", "11", "17")]

    def refuse(files: list[torch.Tensor], *args: Any) -> list[torch.Tensor]:
        if any(len(file) in sizes[:refused] for file in files):
            raise RuntimeError("Unknown chroma subsampling")
        return decode(files, *args)

    monkeypatch.setattr(torchvision.io, "decode_jpeg", refuse)
    expected = store.samples[:].astype(int)
    by_pillow.clear()
    found = DecodedRows(store, torch.device("cpu"))(np.arange(count))
    assert len(by_pillow) == 5 + refused
    assert_alike(found.numpy().astype(int), expected, mean=0.5, most=2)


def test_rows_kept_on_a_device_are_decoded_there_too(jpegs: Path, monkeypatch: pytest.MonkeyPatch):
    """So no number depends on the placement: they are those that are decoded at each step."""
    monkeypatch.setattr(rows, "measure_free_memory", lambda device: 1 << 40)
    store, device = open_photos(jpegs, "source"), torch.device("cpu")
    read = DecodedRows(store, device)
    held, train = DeviceRows(store, device, read), store.indices("train")
    assert torch.equal(held(train[::-1].copy()), read(train[::-1].copy()))
    monkeypatch.setattr(rows, "DeviceRows", lambda store, device, read: read)
    assert place_rows(store, torch.device("cuda"), "auto", read) is read


def test_a_device_decodes_files_alone(photos: Path):
    """Raw and WebP stores have no JPEG files; the recipe is refused in one line, and the store does not change."""
    for encoding in ("raw", "webp"):
        with pytest.raises(InvalidValueError, match=rf'is "{encoding}"; use data\.encoding=source$'):
            load_recipe("faces-dcgan", [f"data.encoding={encoding}", "data.decoding=device"], data="./photos")
    data = load_recipe("faces-dcgan", ["data.encoding=source", "data.decoding=device"], data=str(photos)).data
    store = open_store(data, DCGANConfig(resolution=SIZE), log=lambda line: None)
    assert data.decodes_on_device
    assert store.folder == open_photos(photos, "source").folder


@pytest.mark.gpu
@pytest.mark.parametrize("placement", ["device", "memory"])
def test_a_gpu_decodes_the_same_pictures(jpegs: Path, placement: Placement):
    """By nvJPEG, whose rounding and whose upsampling of colors differ a little."""
    store = open_photos(jpegs, "source")
    found = read_batches(store, device="cuda", decode_on_device=True, placement=placement)
    assert_alike(found, read_batches(store), mean=3, most=40)
