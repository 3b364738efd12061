from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import InvalidValueError, WriteError
from zoo.io.atomic import replace_atomically
from zoo.samples import Images, tile


@pytest.fixture
def images() -> Images:
    ramp = torch.linspace(-1, 1, 5 * 3 * 8 * 8).view(5, 3, 8, 8)
    return Images(tensor=ramp, latents=torch.zeros(5, 2), seed=7)


@pytest.mark.parametrize("suffix", Images.SUFFIXES)
def test_grid_is_saved_in_each_format(images: Images, tmp_path: Path, suffix: str):
    """One picture holds all images; its suffix decides the format."""
    path = images.save(tmp_path / f"grid{suffix}")

    with Image.open(path) as grid:
        assert grid.size == (3 * 10 + 2, 2 * 10 + 2)


def test_a_folder_gets_one_file_each(images: Images, tmp_path: Path):
    """A path without a suffix is a folder of single images, pixel for pixel."""
    folder = images.save(tmp_path / "faces")

    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{i}.png" for i in range(5)]
    assert np.array_equal(np.asarray(Image.open(files[2])), images.to_uint8()[2])


def test_values_map_to_bytes_and_are_clamped():
    """-1 becomes 0, 1 becomes 255, and values outside are clamped."""
    tensor = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)

    assert Images(tensor=tensor).to_uint8().flatten().tolist() == [0, 0, 128, 255, 255]


def test_png_remembers_its_seed(images: Images, tmp_path: Path):
    """A saved picture states its seed."""
    with Image.open(images.save(tmp_path / "x.png")) as picture:
        assert picture.text["seed"] == "7"


def test_notebook_preview_is_a_png(images: Images):
    """A notebook shows the grid."""
    assert images._repr_png_().startswith(b"\x89PNG")


def test_slices_keep_latents_and_seed(images: Images):
    """A slice of samples is samples."""
    part = images[1:3]

    assert (len(part), part.latents.shape, part.seed) == (2, (2, 2), 7)


@pytest.mark.parametrize(("suffix", "most"), [(".webp", "16,383"), (".jpg", "65,500")])
def test_a_grid_larger_than_its_format_allows_is_refused(tmp_path: Path, suffix: str, most: str):
    """A picture too large for its format is refused before anything is written; a .png may be that large."""
    many = Images(tensor=torch.zeros(8200, 1, 6, 6))
    with pytest.raises(InvalidValueError, match=f"10 x 65602 px, and a {suffix} has at most {most} a side"):
        many.save(tmp_path / f"long{suffix}", columns=1)

    assert list(tmp_path.iterdir()) == []
    assert many.save(tmp_path / "long.png", columns=1).exists()


def test_unknown_suffix_names_those_that_work(images: Images, tmp_path: Path):
    """A suffix without a format is refused with the list of those that have one."""
    with pytest.raises(InvalidValueError, match=r"\.png, \.jpg"):
        images.save(tmp_path / "faces.pgn")
    assert not list(tmp_path.iterdir())


def test_unwritable_paths_are_refused(images: Images, tmp_path: Path):
    """A file where a folder should be, and a folder where the file should be, are named."""
    (tmp_path / "file").write_text("")
    (tmp_path / "grid.png").mkdir()

    with pytest.raises(WriteError, match="not a folder"):
        images.save(tmp_path / "file" / "grid.png")
    with pytest.raises(OSError, match="this is a folder"):
        images.save(tmp_path / "grid.png")


@pytest.mark.parametrize("columns", [0, -1])
def test_a_picture_has_a_column(images: Images, tmp_path: Path, columns: int):
    """Fewer are refused before anything is written."""
    with pytest.raises(InvalidValueError, match="should be at least 1"):
        images.save(tmp_path / "grid.png", columns=columns)
    assert not list(tmp_path.iterdir())


def test_files_get_the_usual_permissions_from_many_threads(images: Images, tmp_path: Path):
    """The mask can only be read by setting it, and two threads that do so at once would leave it open."""
    before = os.umask(0o022)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: images[:1].save(tmp_path / f"{i}.png"), range(64)))
        assert os.umask(0o022) == 0o022
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folders_without_permission_are_refused(images: Images, tmp_path: Path):
    """A missing permission is reported before any work."""
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match="no permission"):
        images.save(tmp_path / "grid.png")


def test_nothing_half_written_is_seen(tmp_path: Path):
    """Where writing fails, the old file stays and no temporary file is left."""
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(WriteError, match="No space left"), replace_atomically(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.parametrize(
    ("count", "cell", "lines"),
    [
        (16, (8, 8), (4, 4)),
        (8, (8, 8), (2, 4)),  # full rows, and wide rather than high
        (16, (8, 16), (4, 4)),
        (64, (8, 24), (16, 4)),  # five columns would be nearer, but their last row is not full
        (5, (8, 8), (2, 3)),  # a prime number: a row is not full
        (1, (8, 80), (1, 1)),
    ],
)
def test_a_picture_of_many_is_nearly_square(count: int, cell: tuple[int, int], lines: tuple[int, int]):
    """All rows are full, unless a side would be more than twice as long as the other."""
    cells = np.zeros((count, *cell, 3), dtype=np.uint8)

    assert tile(cells, padding=0).shape == (lines[0] * cell[0], lines[1] * cell[1], 3)


def test_clips_are_arranged_as_pictures_are():
    """Dimensions between the count and the height stay as they are."""
    clips = np.random.default_rng(0).integers(0, 255, (6, 5, 4, 4, 3), dtype=np.uint8)
    moving = tile(clips, padding=1)

    assert moving.shape == (5, 2 * 5 + 1, 3 * 5 + 1, 3)
    for t in range(5):
        assert np.array_equal(moving[t], tile(clips[:, t], padding=1))
