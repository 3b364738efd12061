import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.errors import InvalidValueError
from zoo.metrics.mauve import area_under_curve, frontier_divergence, k_means

counts = arrays(np.float64, 6, elements=st.integers(0, 9).map(float)).filter(lambda values: values.sum() > 0)


def histogram(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values / values.sum())


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_strangers_have_the_area_of_the_closed_form():
    """Where no bin has both, the curve is ((1 - w)^c, w^c), whose area is c B(c + 1, c) = 1 / 252 for c = 5."""
    p, q = torch.tensor([0.5, 0.5, 0, 0]).double(), torch.tensor([0, 0, 0.1, 0.9]).double()
    exact = 5 * math.gamma(6) * math.gamma(5) / math.gamma(11)
    assert exact == pytest.approx(1 / 252)
    assert area_under_curve(p, q) == pytest.approx(exact, abs=2e-4)


@given(p=counts, q=counts)
@settings(max_examples=100, deadline=None)
def test_the_area_is_symmetric_and_1_for_equal_histograms_alone(p, q):
    """Either may be the real one; in (0, 1]; 1 exactly where the histograms are equal; merging bins brings closer."""
    p, q = histogram(p), histogram(q)
    area = area_under_curve(p, q)
    assert area_under_curve(q, p) == pytest.approx(area, abs=1e-12)
    assert 1 / 252 - 1e-9 <= area <= 1 + 1e-12
    assert area_under_curve(p, p) == pytest.approx(1, abs=1e-12)
    assert (area > 1 - 1e-9) == bool((p - q).abs().max() < 1e-5)
    merged = [torch.stack([h[:3].sum(), h[3:].sum()]) for h in (p, q)]
    assert area_under_curve(*merged) >= area - 1e-12


def test_two_bins_agree_with_the_integral():
    """Against a fine numerical integral of the paper's definition."""
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    w = np.linspace(0, 1, 200_001)[1:-1, None]
    r = w * p + (1 - w) * q
    x, y = (np.exp(-5 * (h * np.log(h / r)).sum(1)) for h in (q, p))
    order = np.argsort(x)
    fine = np.trapezoid(np.r_[1, y[order], 0], np.r_[0, x[order], 1])
    assert area_under_curve(torch.from_numpy(p), torch.from_numpy(q)) == pytest.approx(fine, abs=1e-3)


def test_well_separated_clusters_are_found():
    """Four clouds far apart are four clusters, whichever points come first."""
    clouds = torch.cat([normal(30, 2, seed=i) + 50 * torch.tensor([i % 2, i // 2]) for i in range(4)])
    clusters = k_means(clouds, 4, seed=0).view(4, 30)
    assert (clusters == clusters[:, :1]).all()
    assert len(clusters[:, 0].unique()) == 4


def test_fewer_different_points_than_clusters_are_allowed():
    """Copies share a cluster, and the others stay empty."""
    points = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert len(k_means(points, 3, seed=0).unique()) == 2


def test_the_divergence_grows_with_the_distance():
    """Equal sets are at 0, other samples of one distribution near it, a shifted one farther, strangers at 0.996."""
    real = normal(500, 4, seed=0)
    same = frontier_divergence(real, real, seed=0)
    fresh = frontier_divergence(real, normal(500, 4, seed=1), seed=0)
    near = frontier_divergence(real, normal(500, 4, seed=1) + 0.5, seed=0)
    far = frontier_divergence(real, normal(500, 4, seed=1) + 1, seed=0)
    assert same == pytest.approx(0, abs=1e-12)
    assert same < fresh < near < far
    assert frontier_divergence(real, real + 100, seed=0) == pytest.approx(1 - 1 / 252, abs=2e-4)


def test_a_collapsed_set_is_far():
    """Samples that keep to one corner of the distribution are likely ones, and yet far as a set."""
    real = normal(500, 4, seed=0)
    assert frontier_divergence(real, 0.1 * normal(500, 4, seed=1), seed=0) > 0.6


def test_the_seed_alone_decides_the_clusters():
    """Same seed, same value, whatever the global generator; moving and turning both sets does not count."""
    a, b = normal(200, 3, seed=0), normal(300, 3, seed=1) * 1.3
    first = frontier_divergence(a, b, seed=3)
    torch.manual_seed(99)
    assert frontier_divergence(a, b, seed=3) == first
    rotation = torch.linalg.qr(normal(3, 3, seed=2)).Q
    assert frontier_divergence(a @ rotation + 5, b @ rotation + 5, seed=3) == pytest.approx(first)


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        (torch.zeros(1, 3), {}, "at least 2"),
        (torch.zeros(4, 2), {}, "share their dimension"),
        (torch.full((4, 3), torch.inf), {}, "finite"),
        (torch.zeros(4, 3), {"num_clusters": 1}, "num_clusters"),
        (torch.zeros(4, 3), {"num_clusters": 9}, "2 to 8"),
    ],
)
def test_unusable_arguments_are_refused(a, options, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        frontier_divergence(a, torch.zeros(4, 3), seed=0, **options)
