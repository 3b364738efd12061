"""Samples as objects, in every modality: numbers, loops, their repr, bytes, file objects and scales."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.errors import InvalidValueError
from zoo.samples import Images, Samples

ENTRIES = ("faces-dcgan", "text-mle", "music-musegan", "music-wavegan", "video-vgan")


@pytest.fixture(scope="module", params=[*ENTRIES, "a walk"])
def samples(request: pytest.FixtureRequest) -> Samples:
    if request.param == "a walk":
        return zoo.load("faces-dcgan", device="cpu").walk(3, seed=0, stops=2)
    return zoo.sample(request.param, 3, seed=0, device="cpu")


def test_samples_are_taken_by_number_and_in_loops(samples: Samples):
    """A number gives samples of one row; a loop goes through all of them; beyond the end is an IndexError."""
    assert type(samples[0]) is type(samples)
    assert torch.equal(samples[-1].tensor, samples.tensor[2:])
    assert [len(each) for each in samples] == [1, 1, 1]
    assert len(samples[1:]) == len(list(samples)[1:]) == 2
    with pytest.raises(IndexError):
        samples[3]
    with pytest.raises(TypeError, match="take a number or a slice"):
        samples["first"]  # type: ignore[index]


def test_samples_say_in_a_line_what_they_are(samples: Samples):
    """Kind, number, source, seed and shape, and not all their numbers."""
    shape = " x ".join(map(str, samples.tensor.shape[1:]))

    assert repr(samples).startswith(f"{type(samples).__name__}(3 of ")
    assert repr(samples).endswith(f", seed 0, {shape})")


def test_bytes_are_those_of_the_file(samples: Samples, tmp_path: Path):
    """In every format, in memory and through a file object."""
    for suffix in samples.SUFFIXES:
        if suffix == ".mp4":
            pytest.importorskip("av")
        path, buffer = samples.save(tmp_path / f"a{suffix}"), io.BytesIO()
        samples.save(buffer, format=suffix)

        assert len(path.read_bytes()) > 0
        if suffix != ".musicxml":  # which has random names in it
            assert samples.to_bytes(suffix) == buffer.getvalue() == path.read_bytes()


def test_scales_enlarge_what_has_pixels(samples: Samples, tmp_path: Path):
    """Each pixel becomes a square; other formats refuse a scale."""
    for suffix in samples.SUFFIXES:
        if suffix not in samples.PIXELS:
            with pytest.raises(InvalidValueError, match=r"scale = 2: .* have pixels in"):
                samples.save(tmp_path / f"a{suffix}", scale=2)
            assert not (tmp_path / f"a{suffix}").exists()
        elif suffix != ".mp4":
            small, large = (Image.open(io.BytesIO(samples.to_bytes(suffix, scale=scale))) for scale in (1, 2))
            assert 1.8 * small.width < large.width <= 2 * small.width
    with pytest.raises(InvalidValueError, match="scale = 0 should be at least 1"):
        samples.save(tmp_path / "b", scale=0)


@pytest.mark.parametrize(("format", "told"), [("", "should be one of"), ("png", "Did you mean"), (".bmp", "one of")])
def test_unknown_formats_are_refused(samples: Samples, format: str, told: str):
    """By what there is."""
    with pytest.raises(InvalidValueError, match="should be one of"):
        samples.save(io.BytesIO(), format=format)
    if isinstance(samples, Images):
        with pytest.raises(InvalidValueError, match=told):
            samples.to_bytes(format)


def test_a_path_has_its_format_in_its_suffix(samples: Samples, tmp_path: Path):
    """Two of them would have to agree."""
    with pytest.raises(InvalidValueError, match="is for file objects"):
        samples.save(tmp_path / f"a{samples.SUFFIXES[0]}", format=samples.SUFFIXES[0])


def test_pixels_stay_squares(tmp_path: Path):
    """Single images in a folder are enlarged, too, and no color changes."""
    images = Images(tensor=torch.rand(2, 3, 4, 4) * 2 - 1)

    folder = images.save(tmp_path / "many", scale=3)

    with Image.open(folder / "1.png") as opened:
        assert opened.size == (12, 12)
        small = opened.resize((4, 4), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(small), images.to_uint8()[1])


def test_other_packages_get_arrays_and_files():
    """Sounds as NumPy, scores as MIDI, texts as strings."""
    sounds: Any = zoo.sample("music-wavegan", 2, seed=0)
    scores: Any = zoo.sample("music-musegan", 1, seed=0)
    texts: Any = zoo.sample("text-mle", 2, seed=0)

    assert (sounds.to_numpy().shape, sounds.to_numpy().dtype) == ((2, sounds.tensor.shape[2]), "float32")
    assert scores.to_midi().startswith(b"MThd")
    assert [str(text) for text in texts] == texts.texts
