from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data import images
from zoo.data.images import Encoding, ImageDataConfig, flip_images
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.faces.architectures.dcgan import DCGANConfig
from zoo.faces.architectures.r3gan import R3GAN
from zoo.faces.data.datasets import SyntheticFaces, decode, open_store, read_image
from zoo.noise import Noise
from zoo.recipe import load_recipe


def test_a_folder_of_photos_becomes_a_store(photos: Path):
    """Pictures of any size and kind are read, in folders below, too; the log counts what is left out."""
    lines: list[str] = []

    store = open_store(ImageDataConfig(folder=str(photos)), DCGANConfig(resolution=32), log=lines.append)

    assert store.samples.shape == (24, 32, 32, 3)
    assert len(lines) == 1
    assert "3 of 27 files" in lines[0]
    assert f"{photos / 'broken.png'}: cannot be read: " in lines[0]
    assert 0 < len(store.indices("test")) < 12


def test_names_that_are_no_utf_8_are_read(photos: Path):
    """As old archives have them; so is the name of the folder."""
    latin = photos.rename(os.fsdecode(os.fsencode(photos.parent) + b"/\xe9t\xe9"))
    (latin / "4.png").rename(os.fsdecode(os.fsencode(latin) + b"/\xe9.png"))

    store = open_store(ImageDataConfig(folder=str(latin)), DCGANConfig(resolution=32), log=lambda line: None)
    assert len(store.samples) == 24


def test_an_unchanged_folder_is_read_once(photos: Path, monkeypatch: pytest.MonkeyPatch):
    """The second opening decodes nothing; a changed folder is another data set."""
    small = DCGANConfig(resolution=32)
    first = open_store(ImageDataConfig(folder=str(photos)), small, log=lambda line: None)
    again = open_store(ImageDataConfig(folder=str(photos)), small, log=lambda line: pytest.fail("read again"))
    (photos / "new.png").write_bytes((photos / "4.png").read_bytes())
    changed = open_store(ImageDataConfig(folder=str(photos)), small, log=lambda line: None)

    assert again.folder == first.folder
    assert len(changed.samples) == 25


def test_phones_rotation_transparency_and_gray_are_understood(tmp_path: Path):
    """EXIF rotation is applied, transparent parts become white, gray becomes color, the center is cut out."""
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: the left side is the top
    picture.save(tmp_path / "turned.png", exif=exif)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (8, 8), 77).save(tmp_path / "gray.png")

    turned = read_image(tmp_path / "turned.png", 8)
    assert turned[0, 4].tolist() == [0, 0, 255]
    assert turned[-1, 4].tolist() == [255, 0, 0]
    assert read_image(tmp_path / "clear.png", 4).min() == 255
    assert np.unique(read_image(tmp_path / "gray.png", 4)).tolist() == [77]


def test_a_missing_folder_and_one_without_images_are_named(tmp_path: Path):
    """No folder, and no image in it, are different mistakes."""
    with pytest.raises(InvalidFileError, match="no such folder"):
        open_store(ImageDataConfig(folder=str(tmp_path / "none")), DCGANConfig(resolution=32))
    with pytest.raises(InvalidFileError, match=r"none of .* image files? here can be read"):
        open_store(ImageDataConfig(folder=str(tmp_path)), DCGANConfig(resolution=32))


def test_unknown_data_sets_suggest_the_nearest():
    """A misspelt data set is suggested."""
    with pytest.raises(NotFoundError, match='"synthetic-faces"'):
        open_store(ImageDataConfig(name="synthetic-face"), DCGANConfig(resolution=64))


def test_a_hub_data_set_is_read_through_datasets(photos: Path):
    """`hf:` takes whatever the package `datasets` loads; here a local folder of images."""
    pytest.importorskip("datasets")
    for broken in ("broken.png", "empty.jpg", "cut.png"):
        (photos / broken).unlink()

    store = open_store(ImageDataConfig(hub=str(photos)), DCGANConfig(resolution=32))

    assert store.samples.shape == (24, 32, 32, 3)


@pytest.mark.parametrize("hub", [False, True])
def test_subfolders_are_classes_where_one_says_so(tmp_path: Path, hub: bool, own_cache: Path):
    """Numbered by the order of their names; StyleGAN2 and R3GAN then have as many, and others refuse them."""
    if hub:
        pytest.importorskip("datasets")
    photos = tmp_path / "photos"
    for name in ("dogs", "cats"):
        (photos / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (32, 32), (i if name == "cats" else 200, 0, 0)).save(photos / name / f"{i}.png")
    source = {"hub": str(photos)} if hub else {"folder": str(photos)}

    store = open_store(ImageDataConfig(**source, classes=True), DCGANConfig(resolution=32))

    assert store.samples[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, *[200] * 6]
    assert store.labels.tolist() == [0] * 6 + [1] * 6
    assert R3GAN.config_for(R3GAN.Config(), store).labels == 2
    assert open_store(ImageDataConfig(**source), DCGANConfig(resolution=32)).labels is None
    with pytest.raises(InvalidValueError, match=r"data\.classes: dcgan has no classes"):
        load_recipe("faces-dcgan", ["data.classes=true"], data=str(photos))


def test_classes_that_are_none_are_refused(photos: Path):
    """Pictures beside the subfolders, and data of this library."""
    with pytest.raises(InvalidFileError, match="every picture should lie in a subfolder"):
        open_store(ImageDataConfig(folder=str(photos), classes=True), DCGANConfig(resolution=32))
    with pytest.raises(InvalidValueError, match="synthetic-faces has none"):
        ImageDataConfig(name="synthetic-faces", classes=True)


def make_table(folder: Path, cells: list[bytes | None]) -> Path:
    """A data set of the Hub as a table in which the pictures are, some of them damaged."""
    datasets = pytest.importorskip("datasets")
    kind = datasets.Features({"image": datasets.Image()})
    rows = [None if cell is None else {"bytes": cell, "path": None} for cell in cells]
    datasets.Dataset.from_dict({"image": rows}, features=kind).to_parquet(folder / "table.parquet")
    return folder


@pytest.mark.parametrize(("encoding", "workers"), [("raw", 1), ("source", 2)])
def test_damaged_pictures_of_a_hub_table_are_left_out(
    tmp_path: Path, photos: Path, own_cache: Path, encoding: Encoding, workers: int
):
    """Each is named by its row, and the others are used; so is a picture that is missing, or too large."""
    good = (photos / "4.png").read_bytes(), (photos / "7.png").read_bytes()
    huge = good[0][:16] + (100_000).to_bytes(4, "big") * 2 + good[0][24:]
    (tmp_path / "table").mkdir()
    hub = make_table(tmp_path / "table", [good[0], b"no picture", None, good[0][:99], huge, good[1]])
    lines: list[str] = []

    data = ImageDataConfig(hub=str(hub), encoding=encoding)
    store = open_store(data, DCGANConfig(resolution=32), workers=workers, log=lines.append)

    assert np.array_equal(store.samples[0], read_image(photos / "4.png", 32))
    assert np.array_equal(store.samples[1], read_image(photos / "7.png", 32))
    assert len(store.samples) == 2
    assert len(lines) == 1
    assert "4 of 6 images are left out" in lines[0]
    assert all(f"image {row}: " in lines[0] for row in (1, 2, 3, 4))


def test_a_hub_table_without_a_readable_picture_is_named(tmp_path: Path, own_cache: Path):
    hub = make_table(tmp_path, [b"no picture", b"nor here"])
    with pytest.raises(InvalidFileError, match=r'no image of its column "image" can be read'):
        open_store(ImageDataConfig(hub=str(hub)), DCGANConfig(resolution=32), log=lambda line: None)


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), SystemError("damaged")])
def test_whatever_a_decoder_raises_leaves_the_picture_out(photos: Path, monkeypatch, error: Exception):
    """Whichever exception it is: the file is named, and the others are used."""
    converted = images.convert_to_rgb

    def convert(image: Image.Image) -> Image.Image:
        if str(getattr(image, "filename", "")).endswith("/4.png"):
            raise error
        return converted(image)

    monkeypatch.setattr(images, "convert_to_rgb", convert)
    lines: list[str] = []
    store = open_store(ImageDataConfig(folder=str(photos)), DCGANConfig(resolution=32), log=lines.append)

    assert len(store.samples) == 23
    assert f"{photos / '4.png'}: cannot be read" in lines[0]


def test_pictures_that_are_all_alike_are_refused(tmp_path: Path):
    """A folder of copies of one picture is named before it is trained on; a second picture is enough."""
    for i in range(12):
        Image.new("RGB", (8, 8), "teal").save(tmp_path / f"{i}.png")
    data, model = ImageDataConfig(folder=str(tmp_path)), DCGANConfig(resolution=32)
    for _ in range(2):  # built, and opened
        with pytest.raises(InvalidFileError, match=rf"^{tmp_path.name}: all \d+ samples to train on are the same"):
            open_store(data, model)

    for i in range(12, 18):
        Image.new("RGB", (8, 8), "navy").save(tmp_path / f"{i}.png")
    assert len(open_store(data, model).samples) == 18


def test_a_hub_data_set_that_cannot_be_loaded_is_named():
    """Offline, or misspelt: one clear error."""
    pytest.importorskip("datasets")
    with pytest.raises(InvalidFileError, match="hf:nobody/nothing"):
        open_store(ImageDataConfig(hub="nobody/nothing"), DCGANConfig(resolution=32))


def test_decoding_mirrors_half_of_the_images():
    """Stored bytes become [-1, 1], and with random numbers about half are mirrored."""
    pixels = np.zeros((400, 2, 2, 3), dtype=np.uint8)
    pixels[:, :, 0] = 255

    plain, mirrored = decode(pixels), decode(flip_images(torch.from_numpy(pixels), Noise(0)))

    assert plain.shape == (400, 3, 2, 2)
    assert (plain.min(), plain.max()) == (-1, 1)
    assert 150 < (mirrored[:, 0, 0, 0] == -1).sum() < 250


def test_the_split_is_by_person_and_of_the_stated_size():
    """Both images of a person are in one split: 30,000 to train on, 5,000 to test on."""
    split = SyntheticFaces().split()

    assert np.array_equal(split[0::2], split[1::2])
    assert (int((split == 0).sum()), int((split == 1).sum())) == (30_000, 5_000)


def test_synthetic_faces_build_at_another_size(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    """A few images at 32 px, rendered or taken from the built 64 px: the same bytes, a row of attributes each."""
    pytest.importorskip("anny")
    from zoo.data import build_store

    store = build_store(SyntheticFaces(size=32, count=8), own_cache / "few")
    build_store(SyntheticFaces(size=64, count=8), SyntheticFaces(size=64).folder)

    assert build_store(SyntheticFaces(size=32, count=8), own_cache / "again").fingerprint == store.fingerprint
    assert store.samples.shape == (8, 32, 32, 3)
    assert store.attributes["identity"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert store.about["license"] == "CC0-1.0"
