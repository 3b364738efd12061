"""The evaluators of clips: small networks that know what varies in a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.data import Store
from zoo.errors import InvalidFileError, NotFoundError
from zoo.metrics.feature_network import make_targets
from zoo.video.data.datasets import decode
from zoo.video.metrics.evaluator import IGNORED, Evaluator, load_evaluator


def test_an_evaluator_tells_classes_colors_and_time(trained: tuple[Evaluator, dict[str, float]]):
    """After some epochs on moving squares it knows the direction, the color from one frame, and the arrow of time."""
    scores = trained[1]

    assert scores["clip:class"] > 0.9
    assert scores["clip:forwards"] > 0.8
    assert min(scores[f"frame:rgb_{i}"] for i in range(3)) > 0.5


def test_targets_leave_out_what_moves(moves: Store):
    """The class is one of the clip's alone, and each number of a field is a target."""
    classes, values = make_targets(moves.attributes, ignored=IGNORED)

    assert classes == {"rgb_0": 0, "rgb_1": 0, "rgb_2": 0}
    assert abs(float(values["rgb_0"].mean())) < 1e-5


def test_evaluators_take_other_lengths_and_sizes():
    """Clips are brought to 16 frames of 64 px; of 32 frames every second one is seen."""
    evaluator = Evaluator({}, ()).eval()
    clips = torch.rand(2, 3, 32, 64, 64) * 2 - 1

    torch.testing.assert_close(evaluator(clips), evaluator(clips[:, :, ::2]))
    assert evaluator(torch.rand(2, 3, 5, 16, 16)).shape == (2, 64)


def test_a_saved_evaluator_is_the_same(trained: tuple[Evaluator, dict[str, float]], moves: Store, tmp_path: Path):
    """It is saved as safetensors with a card, and a damaged one is refused."""
    trained[0].save(tmp_path, moves, trained[1], command="a test")
    loaded = load_evaluator("moves", tmp_path)
    clips = decode(moves.samples[:4])
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips), trained[0](clips), rtol=0.02, atol=0.02)
    assert "clip:class" in (tmp_path / "README.md").read_text()

    weights = tmp_path / "evaluator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(InvalidFileError):
        load_evaluator("moves", tmp_path)


def test_an_evaluator_that_is_not_there_says_how_to_train_it(tmp_path: Path):
    """An unknown name is answered with those there are; an empty folder with the command that fills it."""
    with pytest.raises(NotFoundError, match="video-evaluator-talking-faces"):
        load_evaluator("video-evaluator-talking-face")
    with pytest.raises(InvalidFileError, match="zoo evaluator train moving-digits"):
        load_evaluator("video-evaluator-moving-digits", tmp_path)
