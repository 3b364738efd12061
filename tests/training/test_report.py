"""The training report."""

from __future__ import annotations

import pytest
import torch

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


def test_report_explains_what_the_numbers_mean():
    """Starvation, collapse and dominance are explained in words; so is their absence."""
    bad = " ".join(
        explain({"report/advantage": 0.99, "report/gradient_ratio": 1e-4, "report/diversity": 0.1}, "minimax")
    )
    good = " ".join(
        explain({"report/advantage": 0.05, "report/gradient_ratio": 1.0, "report/diversity": 0.97}, "minimax")
    )

    assert all(word in bad for word in ("too strong", "starves", "modes are missing"))
    assert all(word in good for word in ("near equilibrium", "enough gradient", "no collapse"))


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
        (line,) = explain({"report/diversity": measure_diversity(samples, real)}, "minimax")

        assert "the real samples hardly differ" in line
        assert "%" not in line


def test_diversity_has_a_largest_value():
    """Noise beside data that differ little is said to be many times as varied, and not how many."""
    (line,) = explain({"report/diversity": measure_diversity(torch.randn(32, 8), 1e-3 * torch.randn(32, 8))}, "minimax")

    assert "10 times as varied as the data or more" in line


def test_diversity_of_tokens_counts_the_positions_that_differ():
    """Tokens are equal or different, and nothing between: 9 is no further from 1 than 2 is."""
    texts = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])

    assert measure_diversity(texts, torch.tensor([[1, 2, 3, 4], [5, 6, 3, 4]])) == pytest.approx(0.5)
