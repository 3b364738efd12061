"""Samples are saved as they come: the same files, memory that does not grow, and nothing broken by Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.releases import write_model

import zoo
from zoo.animation import stream_mp4
from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.recipe import load_recipe
from zoo.samples import Images, Samples, save_stream

Command = Callable[..., tuple[int, str, str]]


def list_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["faces-dcgan", "faces-stylegan2", "text-seqgan", "music-wavegan", "music-midinet", "video-mocogan"]
)
def test_streamed_samples_are_those_of_sample(name: str, tmp_path: Path):
    """In every modality: the same samples in the same files, whether n is a multiple of the batch or not."""
    model = zoo.load(name)
    for n in (4, 5):
        whole = model.sample(n, seed=3, batch_size=2)
        parts = list(model.stream(n, seed=3, batch_size=2))
        assert torch.equal(torch.cat([part.tensor for part in parts]), whole.tensor)
        assert {part.seed for part in parts} == {3}

        whole.save(tmp_path / f"whole{n}")
        assert save_stream(parts, model.Output, tmp_path / f"parts{n}", n) == n
        assert list_contents(tmp_path / f"parts{n}") == list_contents(tmp_path / f"whole{n}")


def test_no_more_than_a_batch_is_generated_ahead(monkeypatch: pytest.MonkeyPatch):
    """The samples of the second batch are made when they are asked for."""
    made: list[int] = []
    make = GAN._make

    def count(self: GAN, latents: torch.Tensor, *arguments: object, **options: object) -> Samples:
        made.append(len(latents))
        return make(self, latents, *arguments, **options)

    monkeypatch.setattr(GAN, "_make", count)
    parts = zoo.load("faces-dcgan").stream(10, seed=0, batch_size=4)
    assert made == []
    next(parts)
    assert made == [4]
    list(parts)
    assert made == [4, 4, 2]


def test_bad_values_are_refused_before_the_first_batch():
    model = zoo.load("faces-dcgan")
    for options in ({"n": 0}, {"n": 2, "seed": -1}, {"n": 2, "label": "x"}):
        with pytest.raises(InvalidValueError):
            model.stream(**options)


def interrupted(parts: Iterator[Any], after: int) -> Iterator[Any]:
    """Yield some parts, and then what Ctrl-C does."""
    for number, part in enumerate(parts):
        if number == after:
            raise KeyboardInterrupt
        yield part


def test_an_interrupt_leaves_whole_files_and_says_how_many(tmp_path: Path):
    """A folder has the files until then, and a .jsonl its lines."""
    faces, poems = zoo.load("faces-dcgan"), zoo.load("text-seqgan")

    saved = save_stream(interrupted(faces.stream(9, seed=0, batch_size=2), 2), faces.Output, tmp_path / "faces", 9)
    assert saved == 4
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]

    target = tmp_path / "poems.jsonl"
    assert save_stream(interrupted(poems.stream(9, seed=0, batch_size=2), 3), poems.Output, target, 9) == 6
    assert [json.loads(line)["index"] for line in target.read_text().splitlines()] == list(range(6))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["poems.jsonl"]


def test_only_folders_and_lines_are_saved_as_they_come(tmp_path: Path):
    with pytest.raises(InvalidValueError, match="into a folder"):
        save_stream([], Images, tmp_path / "grid.png", 4)


def test_the_command_saves_as_it_generates(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`zoo sample` into a folder and into .jsonl; stopped, it says how many there are and exits with 130."""
    model = write_model(load_recipe("faces-dcgan", ["model.width=4"]), tmp_path / "model")
    code, said, _ = command("sample", model, "-n", 5, "--batch-size", 2, "--seed", 1, "--out", tmp_path / "all")
    assert (code, said) == (0, f"5 samples of {model}, seed 1: {tmp_path / 'all'}\n")
    assert len(list((tmp_path / "all").iterdir())) == 5

    stream = GAN.stream
    monkeypatch.setattr(GAN, "stream", lambda self, n, **options: interrupted(stream(self, n, **options), 1))
    code, said, _ = command("sample", model, "-n", 5, "--batch-size", 2, "--seed", 1, "--out", tmp_path / "some")
    assert code == 130
    assert "2 of 5 samples, then stopped, of" in said
    assert len(list((tmp_path / "some").iterdir())) == 2


@pytest.mark.parametrize(("name", "options"), [("video-mocogan", {}), ("video-styleganv", {"truncation": 0.7})])
def test_a_long_clip_comes_in_pieces(name: str, options: dict[str, float]):
    """The pieces follow one another, and together are the clip that `sample` makes."""
    model = zoo.load(name)
    whole = model.sample(1, seed=2, frames=300, **options)
    pieces = list(model.stream_clip(seed=2, frames=300, **options))

    assert [piece.tensor.shape[2] for piece in pieces] == [128, 128, 44]
    torch.testing.assert_close(torch.cat([piece.tensor for piece in pieces], dim=2), whole.tensor)


def test_a_long_clip_is_saved_as_it_comes(command: Command, tmp_path: Path):
    """`zoo sample -n 1 --frames 150 --out clip.mp4` has 150 frames; stopped, those until then."""
    av = pytest.importorskip("av")
    target = tmp_path / "clip.mp4"
    said = command("sample", "video-mocogan", "-n", 1, "--frames", 150, "--seed", 1, "--out", target)[1]
    assert said == f"150 frames of video-mocogan, seed 1: {target}\n"
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 150

    frames = torch.zeros(3, 40, 16, 16, 3, dtype=torch.uint8).numpy()
    saved = stream_mp4(interrupted(iter(frames), 2), target, 25)
    assert saved == 80
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 80
    with pytest.raises(KeyboardInterrupt):
        stream_mp4(interrupted(iter(frames), 0), tmp_path / "none.mp4", 25)
    assert not (tmp_path / "none.mp4").exists()


def test_an_interrupt_while_a_frame_is_encoded_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C comes at any moment, and not only while frames are generated."""
    av = pytest.importorskip("av")
    frames = torch.zeros(3, 40, 16, 16, 3, dtype=torch.uint8).numpy()
    convert, seen = av.VideoFrame.from_ndarray, []

    class Frames:
        @staticmethod
        def from_ndarray(*arguments: Any, **options: Any) -> Any:
            seen.append(arguments)
            if len(seen) == 51:
                raise KeyboardInterrupt
            return convert(*arguments, **options)

    monkeypatch.setattr(av, "VideoFrame", Frames)
    saved = stream_mp4(iter(frames), tmp_path / "clip.mp4", 25)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == saved == 50


def test_a_walk_comes_in_parts_and_into_a_video(command: Command, tmp_path: Path):
    """The parts are the walk; `zoo sample --walk` writes them into .mp4 as they come."""
    av = pytest.importorskip("av")
    model = zoo.load("faces-stylegan2")
    whole = model.walk(10, seed=1, batch_size=4, truncation=0.8)
    parts = list(model.stream_walk(10, seed=1, batch_size=4, truncation=0.8))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part.tensor for part in parts]), whole.tensor)

    target = tmp_path / "walk.mp4"
    said = command("sample", "faces-gan", "--walk", 70, "--seed", 1, "--out", target)[1]
    assert said == f"70 frames of a walk of faces-gan, seed 1: {target}\n"
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 70
