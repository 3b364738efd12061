"""How clips are evaluated: what each metric measures, and evaluators that recognize what varies in a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.releases import write_model
from torch import Tensor

from zoo.data import Store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.io.weights import write_sums
from zoo.recipe import EvaluateConfig, load_recipe
from zoo.releases.loading import load_folder
from zoo.video.architectures.mocogan import MoCoGAN, MoCoGANConfig
from zoo.video.data.datasets import ShapeMotion, decode
from zoo.video.metrics import evaluate as metrics
from zoo.video.metrics.evaluate import content_distance, evaluate, extract_features, foreground_color, held_out
from zoo.video.metrics.evaluator import Evaluator
from zoo.video.samples import Clips

SETTINGS = EvaluateConfig(samples=8, features="zoo:video-evaluator-shape-motion")


@pytest.fixture
def gan(moves: Store) -> MoCoGAN:
    torch.manual_seed(0)
    gan = MoCoGAN(MoCoGANConfig(resolution=16, frames=8, width=2, labels=2)).eval()
    gan.load_assets(moves.folder)
    return gan


@pytest.fixture
def small_evaluator(monkeypatch: pytest.MonkeyPatch, trained: tuple[Evaluator, dict[str, float]]) -> None:
    """The evaluator of the small data set instead of the released ones."""
    monkeypatch.setattr(metrics, "load_evaluator", lambda name: trained[0])


class Replayed(MoCoGAN):
    """Gives real clips of a split as its samples, each of the class that it is of, or of the other."""

    def __init__(self, config: MoCoGANConfig, store: Store, *, obeys: bool = True, split: str = "train") -> None:
        super().__init__(config)
        self.load_assets(store.folder)
        self.store, self.obeys, self.rows = store, obeys, store.indices(split)  # type: ignore[arg-type]

    def sample(self, n: int = 16, **options: object) -> Clips:  # type: ignore[override]
        rows = self.rows[:n]
        shown = self.store.labels[rows]
        asked = shown if self.obeys else 1 - shown
        names = tuple(self.labels[label] for label in asked)
        return Clips(tensor=decode(self.store.samples[rows]), rate=12.5, labels=names)


def by_name(gan: MoCoGAN, store: Store, settings: EvaluateConfig = SETTINGS) -> dict[str, metrics.Metric]:
    return {metric.name: metric for metric in evaluate(gan, store, settings)}


def test_the_content_distance_of_real_shapes_is_zero():
    """As in the paper: a shape keeps its color, so the reference is 0; a color that changes counts in 0..255."""
    clips = decode(ShapeMotion().render(range(1, 9))[0])
    assert content_distance(clips, foreground_color).max() < 1e-2

    halves = torch.full((1, 3, 2, 4, 4), -1.0)
    halves[0, 0, 0, 1, 1] = 1.0  # red, then green
    halves[0, 1, 1, 2, 2] = 1.0
    assert float(content_distance(halves, foreground_color)) == pytest.approx(255 * 2**0.5)


def test_an_edge_between_two_pixels_is_no_change_of_color():
    """A square of one color that moves by fractions of a pixel stays the same; one that darkens by 10/255 does not."""

    def draw(brightness: list[float]) -> Tensor:
        frames = []
        for i, bright in enumerate(brightness):
            fine = torch.zeros(1, 1, 128, 128)
            fine[..., 40 + i : 80 + i, 30 + 3 * i : 70 + 3 * i] = bright  # of eighths of a pixel
            frames.append(F.avg_pool2d(fine, 8)[0] * 2 - 1)
        return torch.stack(frames, dim=1).expand(3, -1, -1, -1)[None]

    assert float(content_distance(draw([1.0] * 16), foreground_color)) < 0.01
    assert float(content_distance(draw([1.0, 1 - 10 / 255]), foreground_color)) == pytest.approx(10 * 3**0.5, abs=0.1)


def test_a_black_frame_has_the_color_black():
    """Where a shape has vanished nothing breaks."""
    assert foreground_color(torch.full((1, 3, 4, 4), -1.0)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.usefixtures("small_evaluator")
def test_metrics_have_their_values_for_real_clips(gan: MoCoGAN, moves: Store):
    """Every metric has one; real clips as samples come near it, an untrained model does not."""
    untrained = by_name(gan, moves)
    real = by_name(Replayed(gan.config, moves), moves)

    assert set(untrained) == {
        "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "frame_frechet_distance",
        "average_content_distance", "motion_control_score", "sliced_wasserstein_16px",
    }  # fmt: skip
    assert next(iter(untrained)) == "frechet_distance"  # by which `train.keep = "best"` selects
    assert all(metric.real_vs_real is not None for metric in untrained.values())
    for name in ("frechet_distance", "frame_frechet_distance", "sliced_wasserstein_16px"):
        assert real[name].value < untrained[name].value
    assert not any("fvd" in name.lower() for name in untrained)


@pytest.mark.usefixtures("small_evaluator")
def test_motion_control_is_whether_the_asked_action_is_seen(gan: MoCoGAN, moves: Store):
    """A model that shows what it is asked for scores as real clips do; one that shows the other action, nothing."""
    settings = replace(SETTINGS, samples=24)
    obedient = by_name(Replayed(gan.config, moves), moves, settings)["motion_control_score"]
    contrary = by_name(Replayed(gan.config, moves, obeys=False), moves, settings)["motion_control_score"]

    assert obedient.value > 0.9
    assert obedient.real_vs_real is not None
    assert obedient.real_vs_real > 0.9
    assert contrary.value < 0.1


@pytest.mark.usefixtures("small_evaluator")
def test_a_training_is_evaluated_by_the_features_of_clips(gan: MoCoGAN, moves: Store):
    """`held_out` gives the first metrics of `evaluate`, by the same numbers."""
    early = held_out(moves, SETTINGS)(gan)
    whole = by_name(gan, moves)

    assert early[0].name == "frechet_distance"
    assert early[0].value == pytest.approx(whole["frechet_distance"].value, rel=1e-4)
    assert early[0].real_vs_real == pytest.approx(whole["frechet_distance"].real_vs_real, rel=1e-4)


@pytest.mark.usefixtures("small_evaluator")
def test_more_samples_than_clips_are_refused(gan: MoCoGAN, moves: Store):
    """Counts must be equal on both sides."""
    with pytest.raises(InvalidValueError, match="more than the 48 held-out clips"):
        evaluate(gan, moves, replace(SETTINGS, samples=49))


def test_the_seed_chooses_the_frames_that_are_compared(trained: tuple[Evaluator, dict[str, float]]):
    """The same moments of real and of generated clips are compared; another seed looks at others."""
    clips = torch.rand(6, 3, 8, 16, 16) * 2 - 1
    a, b, other = (extract_features(trained[0], clips.split(3), trained[0].frames, seed=seed) for seed in (0, 0, 1))

    torch.testing.assert_close(a.frames, b.frames)
    torch.testing.assert_close(a.windows, b.windows)
    assert a.windows.shape == (6, 12, 16, 16)
    assert not torch.allclose(a.frames, other.frames)
    assert not torch.allclose(a.windows, other.windows)


@pytest.mark.usefixtures("small_evaluator")
def test_the_command_reports_them(
    moves: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
):
    """`zoo evaluate` prints each metric of a folder of weights beside that of real clips."""
    recipe = load_recipe("video-mocogan", ["model.resolution=16", "model.frames=8", "model.width=2"])
    folder = write_model(recipe, tmp_path / "model")
    (folder / "recipe.toml").write_text(replace(recipe, model=load_folder(folder).config).to_toml())
    write_sums(folder)
    monkeypatch.setattr("zoo.evaluation.open_data", lambda *arguments, **options: moves)
    code, out, errors = command("evaluate", folder, "--samples", 8)

    assert code == 0, errors
    assert "motion_control_score" in out
    assert "real vs real" in out


def test_features_of_images_are_refused():
    """Clips have features of their own."""
    with pytest.raises(NotFoundError, match="those of timm are of images"):
        metrics._load_evaluator("timm:resnet18")
