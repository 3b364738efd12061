import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InvalidValueError
from zoo.metrics.frechet import Moments, frechet_distance, gaussian_frechet_distance


def random_covariance(rng: np.random.Generator, dim: int) -> np.ndarray:
    root = rng.normal(size=(dim, dim))
    return root @ root.T


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_commuting_gaussians_have_the_textbook_distance():
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2."""
    mean_a, mean_b = torch.tensor([0.0, 1.0]), torch.tensor([3.0, 5.0])
    distance = gaussian_frechet_distance(mean_a, torch.diag(torch.tensor([1.0, 4.0])), mean_b, torch.eye(2) * 9)
    assert distance == pytest.approx(9 + 16 + (1 - 3) ** 2 + (2 - 3) ** 2)


@pytest.mark.parametrize("dim", [2, 5, 40])
def test_non_commuting_covariances_agree_with_scipy(dim):
    """The trace of the root equals that of scipy's general matrix square root."""
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(dim)
    a, b = random_covariance(rng, dim), random_covariance(rng, dim)
    assert not np.allclose(a @ b, b @ a)
    expected = np.trace(a) + np.trace(b) - 2 * np.trace(linalg.sqrtm(a @ b)).real
    zero = torch.zeros(dim)
    assert gaussian_frechet_distance(zero, torch.from_numpy(a), zero, torch.from_numpy(b)) == pytest.approx(expected)


def test_two_dimensional_covariances_agree_with_the_closed_form():
    """In 2D, tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))."""
    rng = np.random.default_rng(0)
    a, b = random_covariance(rng, 2), random_covariance(rng, 2)
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    zero = torch.zeros(2)
    distance = gaussian_frechet_distance(zero, torch.from_numpy(a), zero, torch.from_numpy(b))
    assert distance == pytest.approx(np.trace(a) + np.trace(b) - 2 * root)


def test_singular_covariances_are_allowed():
    """Fewer samples than dimensions: a set is still at 0 from itself, and at |shift|^2 from its shifted copy."""
    features = normal(10, 50)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(features, features + 2) == pytest.approx(50 * 4, abs=1e-4)


@given(sizes=st.lists(st.integers(1, 20), min_size=2, max_size=6), offset=st.sampled_from([0.0, 1e6]))
@settings(max_examples=30, deadline=None)
def test_moments_do_not_depend_on_the_batches(sizes, offset):
    """However the features are cut, and however far from 0 they lie, numpy's mean and covariance come out."""
    features = normal(sum(sizes), 4, seed=len(sizes)) + offset
    moments = Moments(4)
    for batch in features.split(sizes):
        moments.update(batch)
    np.testing.assert_allclose(moments.mean, features.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(features.numpy().T), rtol=1e-7, atol=1e-8)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_invariances(seed, scale):
    """Order of the samples, order of the sets, and a common rotation and shift do not count; scale counts squared."""
    a, b = normal(30, 6, seed=seed), normal(40, 6, seed=seed + 1) * 1.5 + 1
    rotation = torch.linalg.qr(normal(6, 6, seed=seed + 2)).Q
    distance = frechet_distance(a, b)
    assert distance > 0
    assert frechet_distance(a.flip(0), b.roll(7, 0)) == pytest.approx(distance, rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-7)
    assert frechet_distance(a @ rotation + 5, b @ rotation + 5) == pytest.approx(distance, rel=1e-7)
    assert frechet_distance(a * scale, b * scale) == pytest.approx(distance * scale**2, rel=1e-7)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), "at least 2"),
        (torch.zeros(5, 3), torch.zeros(5, 4), r"must be \[3\]"),
        (torch.zeros(5), torch.zeros(5, 4), r"\[N, D\]"),
        (torch.full((5, 3), torch.nan), torch.zeros(5, 3), "finite"),
    ],
)
def test_unusable_features_are_refused(a, b, message):
    """Too few samples, unequal dimensions, a wrong shape, and NaN each raise InvalidValueError that says which."""
    with pytest.raises(InvalidValueError, match=message):
        frechet_distance(a, b)


def test_a_batch_of_other_dimension_is_refused():
    """Moments keep to the dimension they were made for."""
    with pytest.raises(InvalidValueError, match="4 dimensions"):
        Moments(4).update(torch.zeros(2, 3))
