import pytest
import torch

from zoo.errors import InvalidValueError
from zoo.metrics.frechet import frechet_distance
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.manifold import manifold_scores
from zoo.metrics.report import distribution_metrics


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def test_each_metric_is_beside_real_vs_real():
    """Six metrics: real against fake, and real against other reals, with count, extractor and seed."""
    real, fake, other = normal(1200, 0), normal(1200, 1) * 0.9, normal(1200, 2)
    metrics = {f.name: f for f in distribution_metrics(real, fake, other, extractor="timm:some", seed=3)}
    assert list(metrics) == ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]
    assert {(f.count, f.extractor) for f in metrics.values()} == {(1200, "timm:some")}
    assert [f.name for f in metrics.values() if f.better == "higher"] == ["precision", "recall", "density", "coverage"]

    assert metrics["frechet_distance"].value == pytest.approx(frechet_distance(real, fake))
    assert metrics["frechet_distance"].real_vs_real == pytest.approx(frechet_distance(real, other))
    kernel = metrics["kernel_distance"]
    assert (kernel.value, kernel.spread) == kernel_distance(real, fake, seed=3)
    assert kernel.real_vs_real == kernel_distance(real, other, seed=3).mean
    assert [name for name, f in metrics.items() if f.seed is not None] == ["kernel_distance"]
    assert metrics["recall"].value == manifold_scores(real, fake).recall
    assert metrics["density"].real_vs_real == manifold_scores(real, other).density


def test_fresh_reals_score_real_vs_real():
    """For fakes of the real distribution every metric is near real against real; for others every metric is worse."""
    real, other = normal(400, 0), normal(400, 1)
    near = distribution_metrics(real, normal(400, 2), other, extractor="x", seed=0)
    far = distribution_metrics(real, normal(400, 3) + 2, other, extractor="x", seed=0)
    for good, bad in zip(near, far, strict=True):
        assert good.value == pytest.approx(good.real_vs_real, abs=0.2)
        assert (bad.value < bad.real_vs_real) == (bad.better == "higher")


def test_unequal_counts_are_refused():
    """All metrics depend on the counts, so all three sets must have the same."""
    with pytest.raises(InvalidValueError, match="equal counts"):
        distribution_metrics(normal(10, 0), normal(10, 1), normal(9, 2), extractor="x", seed=0)
