"""The training report."""

from __future__ import annotations

import math
import re

import pytest
import torch

from zoo.recipe import load_recipe
from zoo.registry import registry
from zoo.training.losses import LOSSES
from zoo.training.report import TrainingReport, explain, measure_diversity


def summary_of(loss: str, real: torch.Tensor, fake: torch.Tensor, norms: tuple[float, float]) -> dict[str, float]:
    report = TrainingReport(loss)
    report.add("D", {"loss": torch.tensor(0.0), "real": real, "fake": fake}, torch.tensor(float(norms[0])))
    report.add("G", {"loss": torch.tensor(0.0)}, torch.tensor(float(norms[1])))
    return report.summary()


def test_advantage_is_zero_at_equilibrium_and_one_for_a_perfect_discriminator():
    """D = 1/2 everywhere is 0; sure and right everywhere is 1; sure and wrong is below 0."""
    zeros, sure = torch.zeros(8), torch.full((8,), 30.0)

    assert summary_of("non_saturating", zeros, zeros, (1, 1))["report/advantage"] == pytest.approx(0, abs=1e-6)
    assert summary_of("minimax", sure, -sure, (1, 1))["report/advantage"] == pytest.approx(1)
    assert summary_of("hinge", -sure, sure, (1, 1))["report/advantage"] < 0
    assert summary_of("least_squares", zeros + 0.5, zeros + 0.5, (1, 1))["report/advantage"] == pytest.approx(0)


def test_wasserstein_gap_is_in_deviations():
    """A critic's advantage is its gap over the outputs' deviation, whatever their scale."""
    real, fake = torch.randn(1000) + 2, torch.randn(1000)

    gaps = [summary_of("wasserstein", s * real, s * fake, (1, 1))["report/advantage"] for s in (1, 100)]

    assert gaps[0] == pytest.approx(2, abs=0.2)
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)


def explain_for(entry: str, *overrides: str, num_steps: int = 1000, **numbers: float) -> str:
    """Explain numbers of a training of an entry, in one text."""
    summary = {f"report/{name}": value for name, value in numbers.items()}
    return "\n".join(explain(summary, load_recipe(entry, overrides), num_steps=num_steps))


def test_report_explains_what_the_numbers_mean():
    """Starvation, collapse and dominance are explained in words; so is their absence."""
    bad = explain_for("faces-gan", "train.loss=minimax", advantage=0.99, gradient_ratio=1e-4, diversity=0.1)
    good = explain_for("faces-gan", advantage=0.05, gradient_ratio=1.0, diversity=0.97)

    assert all(word in bad for word in ("too strong", "starves", "modes are missing", "train.loss=non_saturating"))
    assert all(word in good for word in ("near equilibrium", "enough gradient", "no collapse of all", "recall"))


def test_a_flat_loss_is_starvation_whatever_the_gradients():
    """With minimax both gradients die while the discriminator wins. The other losses do not saturate then."""
    torch.manual_seed(0)
    outputs = torch.randn(64) - 5
    found = summary_of("minimax", -outputs, outputs, (1e-6, 1e-6))
    slopes = []
    for fake in (outputs, torch.zeros(64)):  # the second: equilibrium
        fake.requires_grad_()
        (gradient,) = torch.autograd.grad(LOSSES["minimax"].generator(fake), fake)
        slopes.append(gradient.abs().mean().item())

    assert found["report/gradient_ratio"] == pytest.approx(1)
    assert found["report/slope"] == pytest.approx(slopes[0] / slopes[1], rel=1e-5)
    for slope, says in (
        (found["report/slope"], "of its slope at equilibrium; the generator starves; try train.loss=non_saturating"),
        (0.3, "enough gradient"),
    ):
        assert says in explain_for("faces-gan", "train.loss=minimax", gradient_ratio=1.0, slope=slope)
    assert "report/slope" not in summary_of("non_saturating", -outputs, outputs, (1, 1))


def test_advice_names_settings_that_the_architecture_takes():
    """Every setting that the report recommends to a starved and collapsed training is accepted by its recipe."""
    for entry in registry.entries.values():
        said = explain_for(entry.name, gradient_ratio=1e-4, diversity=0.1)
        for setting, value in re.findall(r"(train\.[\w.]+)(?:=(\w+)| above)", said):
            load_recipe(entry.name, [f"{setting}={value or 1}"])
    assert "train.augment=ada" in explain_for("faces-dcgan", diversity=0.1)
    for name in ("music-wavegan", "text-seqgan"):
        assert "augment" not in explain_for(name, diversity=0.1)


def test_a_vocoder_hears_nothing_of_modes():
    """The samples of a generator that takes an input vary as that input does."""
    said = explain_for("music-hifigan", advantage=0.5, gradient_ratio=1.0, diversity=0.1)

    assert "Equilibrium" in said
    assert "Collapse" not in said
    assert "modes" not in said


def test_nothing_is_judged_after_a_few_steps():
    """After one step, one line says that it is too early."""
    said = explain_for("faces-dcgan", num_steps=1, advantage=0.99, gradient_ratio=1e-4, diversity=0.1)

    assert said == "After 1 step it is too early to say how the training goes; the report starts at 200 steps."


def test_too_much_variety_is_noise():
    """Samples more varied than the data are not said to be free of collapse."""
    for variety in (1.6, 6.94):
        said = explain_for("faces-dcgan", diversity=variety)
        assert "noise" in said
        assert "no collapse" not in said


def test_diversity_compares_with_the_data():
    """The data itself is as varied as the data; one sample repeated is not varied at all."""
    real = torch.randn(32, 3, 8, 8)

    assert measure_diversity(torch.randn(32, 3, 8, 8), real) == pytest.approx(1, abs=0.05)
    assert measure_diversity(real[:1].expand(32, 3, 8, 8), real) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "real", [torch.zeros(32, 8), torch.zeros(32, 8) + 1e-9 * torch.randn(32, 8), torch.zeros(1, 8)]
)
def test_diversity_beside_data_that_are_alike_is_no_percentage(real: torch.Tensor):
    """Where real samples hardly differ, the report says so instead of billions of percent."""
    for samples in (torch.randn(32, 8), torch.zeros(32, 8)):
        line = explain_for("faces-gan", diversity=measure_diversity(samples, real))

        assert "the real samples hardly differ" in line
        assert "%" not in line


def test_diversity_has_a_largest_value():
    """Noise beside data that differ little is said to be many times as varied, and not how many."""
    line = explain_for("faces-gan", diversity=measure_diversity(torch.randn(32, 8), 1e-3 * torch.randn(32, 8)))

    assert "10 times as varied as the data or more" in line


def test_diversity_of_tokens_counts_the_positions_that_differ():
    """Tokens are equal or different, and nothing between: 9 is no further from 1 than 2 is."""
    texts = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])

    assert measure_diversity(texts, torch.tensor([[1, 2, 3, 4], [5, 6, 3, 4]])) == pytest.approx(0.5)


def test_a_norm_that_overflowed_is_left_out():
    """float16 leaves out a step whose gradients overflow, and such a step has no norm."""
    report = TrainingReport("non_saturating")
    for norm in (2.0, math.inf, math.nan, 4.0):
        report.add("G", {"loss": torch.tensor(1.0)}, torch.tensor(norm))
    assert report.summary()["gradient_norm/G"] == 3.0
    report.add("G", {"loss": torch.tensor(1.0)}, torch.tensor(math.inf))
    assert "gradient_norm/G" not in report.summary()
