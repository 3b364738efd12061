"""Clips as what `sample` gives: files that move, sheets, frames, and a preview that plays."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.moves import read_clip
from PIL import Image

from zoo.data.labels import read_labels
from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.video.data.datasets import ClipDataConfig, open_store
from zoo.video.samples import Clips


def clips(n: int = 3, frames: int = 6, size: int = 16, rate: float = 12.5, labels: tuple[str, ...] = ()) -> Clips:
    """Gray clips that grow lighter, each from its own shade."""
    shades = torch.linspace(-1, 0.5, n)[:, None] + torch.linspace(0, 0.5, frames)
    tensor = shades[:, None, :, None, None].expand(n, 3, frames, size, size).contiguous()
    return Clips(tensor=tensor, latents=torch.zeros(n, 2), seed=0, rate=rate, labels=labels)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_animations_loop_at_their_rate(tmp_path: Path, suffix: str):
    """All frames are there, shown for as long as the rate says, over and over, all clips in one picture."""
    path = clips().save(tmp_path / f"out{suffix}")
    with Image.open(path) as image:
        durations = []
        for t in range(image.n_frames):
            image.seek(t)
            image.load()
            durations.append(image.info["duration"])
        assert image.size == (2 + 2 * 18, 2 + 2 * 18)
        assert image.info.get("loop") == 0

    assert len(durations) == 6
    assert sum(durations) == 480


def test_mp4_keeps_rate_size_and_frames(tmp_path: Path):
    """What is read back has the frames, the rate, the size and, to the codec's rounding, the colors."""
    av = pytest.importorskip("av")
    some = clips(n=1, rate=12.5)
    path = some.save(tmp_path / "out.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12.5
        assert stream.pix_fmt == "yuv420p"

    assert np.abs(read_clip(path, 16).astype(int) - some.to_uint8()[0]).max() <= 4


@pytest.mark.parametrize("size", [16, 720])
def test_mp4_says_how_its_colors_were_made(tmp_path: Path, size: int):
    """Matrix, primaries, transfer and range are those of BT.709, by which the colors come back at any size."""
    av = pytest.importorskip("av")
    skin = torch.tensor([200.0, 140.0, 110.0])
    tensor = (skin / 127.5 - 1).view(1, 3, 1, 1, 1).expand(1, 3, 2, size, size)
    path = Clips(tensor=tensor, rate=12.5).save(tmp_path / "out.mp4")
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        frame = next(container.decode(video=0))
        shown = frame.to_ndarray(format="rgb24", src_colorspace="ITU709")[size // 2, size // 2]

    assert np.abs(shown.astype(int) - skin.numpy()).max() <= 3
    assert np.abs(read_clip(path, 16)[0, 8, 8].astype(int) - skin.numpy()).max() <= 3


def test_odd_sizes_have_no_mp4(tmp_path: Path):
    """A single clip of an odd size is refused, with the formats that take it; no file is made."""
    pytest.importorskip("av")
    with pytest.raises(InvalidValueError, match=r"15 x 15 px.*even sizes"):
        clips(n=1, size=15).save(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
    assert clips(n=1, size=15).save(tmp_path / "out.webp").exists()


def test_mp4_without_the_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Already the check of the path tells, before any work is done."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"writing .mp4 needs .*gan-zoo\[video\]"):
        Clips.check_path(tmp_path / "out.mp4")
    assert Clips.check_path(tmp_path / "out.webp")


def test_a_folder_holds_frames_that_come_back_exactly(tmp_path: Path):
    """A folder of PNGs for each clip, inside of its class's; they are read again as training data would be."""
    some = clips(labels=("nod", "blink", "nod"))
    folder = some.save(tmp_path / "out")

    assert sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*")) == ["blink/1", "nod/0", "nod/2"]
    np.testing.assert_array_equal(read_clip(folder / "blink" / "1", 16), some.to_uint8()[1])
    store = open_store(ClipDataConfig(folder=str(folder)), SimpleNamespace(resolution=16, frames=some.tensor.shape[2]))
    assert read_labels(store.folder) == ("blink", "nod")


def test_a_folder_keeps_no_frames_of_what_was_saved_there_before(tmp_path: Path):
    """But what else somebody has put there."""
    clips(frames=12).save(tmp_path / "out")
    some = clips(frames=6)
    (tmp_path / "out" / "2" / "mine.jpg").write_bytes(b"a picture")
    folder = some.save(tmp_path / "out")
    (folder / "2" / "mine.jpg").unlink()

    np.testing.assert_array_equal(read_clip(folder / "2", 16), some.to_uint8()[2])


def test_a_contact_sheet_is_a_row_a_clip(tmp_path: Path):
    """Frames run from left to right; of more than 16, 16 with the first and the last."""
    path = clips(n=2, frames=32).save(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(path))

    assert sheet.shape == (2 + 2 * 18, 2 + 16 * 18, 3)
    first, last = clips(n=2, frames=32).to_uint8()[0, [0, -1], 0, 0, 0]
    assert (sheet[2, 2, 0], sheet[2, -3, 0]) == (first, last)


def test_slices_keep_what_belongs_to_their_clips():
    """Tensor, latents and classes are cut together."""
    some = clips(labels=("a", "b", "c"))[1:]

    assert len(some) == 2
    assert some.labels == ("b", "c")
    assert len(some.latents) == 2
    assert [each.labels for each in some] == [("b",), ("c",)]


def test_the_notebook_s_preview_plays():
    """It is an animation in the page itself."""
    assert clips()._repr_html_().startswith("<img src='data:image/webp;base64,")


def test_an_unknown_format_suggests_the_nearest(tmp_path: Path):
    """A suffix without a format here is refused with those that have one."""
    with pytest.raises(InvalidValueError, match=r"\.webp, \.gif, \.mp4, \.png"):
        clips().save(tmp_path / "out.avi")


@pytest.mark.parametrize(
    ("suffix", "n", "message"),
    [
        (".webp", 1000, r"18002 x 20 px, and a \.webp has at most 16,383 a side"),
        (".mp4", 1000, r"18002 x 20 px, and a \.mp4 has at most 16,384 a side"),
        (".gif", 4000, r"72002 x 20 px, and a \.gif has at most 65,535 a side"),
    ],
)
def test_what_is_larger_than_the_format_allows_is_refused(tmp_path: Path, suffix: str, n: int, message: str):
    if suffix == ".mp4":
        pytest.importorskip("av")
    with pytest.raises(InvalidValueError, match=message):
        clips(n=n, frames=2).save(tmp_path / f"wide{suffix}", columns=n)
    assert not (tmp_path / f"wide{suffix}").exists()
