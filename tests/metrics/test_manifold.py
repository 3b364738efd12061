import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InvalidValueError
from zoo.metrics.manifold import ManifoldScores, manifold_scores


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(real: torch.Tensor, fake: torch.Tensor, k_pr: int = 3, k_dc: int = 5) -> ManifoldScores:
    real, fake = real.numpy(), fake.numpy()

    def distances(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    def radii(features, k):
        return np.sort(distances(features, features), axis=1)[:, k]  # column 0 is the sample itself

    between = distances(real, fake)
    inside = between <= radii(real, k_dc)[:, None]
    return ManifoldScores(
        precision=float((between <= radii(real, k_pr)[:, None]).any(0).mean()),
        recall=float((between <= radii(fake, k_pr)[None]).any(1).mean()),
        density=float(inside.sum() / (k_dc * len(fake))),
        coverage=float(inside.any(1).mean()),
    )


def as_tuple(scores: ManifoldScores) -> tuple[float, ...]:
    return scores.precision, scores.recall, scores.density, scores.coverage


@given(
    n=st.integers(6, 40), m=st.integers(6, 40), dim=st.integers(1, 8), shift=st.floats(0, 3), seed=st.integers(0, 999)
)
@settings(max_examples=40, deadline=None)
def test_scores_agree_with_the_definitions(n, m, dim, shift, seed):
    """All four equal a naive computation from the papers' definitions, for any two counts."""
    real, fake = normal(n, dim, seed=seed), normal(m, dim, seed=seed + 1000) + shift
    assert as_tuple(manifold_scores(real, fake)) == pytest.approx(as_tuple(naive(real, fake)))


def test_more_rows_than_are_held_at_once_change_nothing(monkeypatch):
    """The blocks in which distances are held do not show."""
    real, fake = normal(50, 4, seed=0), normal(33, 4, seed=1)
    monkeypatch.setattr("zoo.metrics.manifold.ROWS_AT_ONCE", 7)
    assert as_tuple(manifold_scores(real, fake)) == pytest.approx(as_tuple(naive(real, fake)))


def test_scores_agree_with_the_package_of_the_density_paper():
    """`prdc`, by the authors of density and coverage, gives the same; it uses one k for all four."""
    compute_prdc = pytest.importorskip("prdc").compute_prdc
    real, fake = normal(300, 16, seed=0), normal(200, 16, seed=1) * 0.8
    scores = manifold_scores(real, fake, k_precision_recall=5, k_density_coverage=5)
    expected = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    assert vars(scores) == pytest.approx(expected)


def test_equal_distributions_score_high():
    """Fresh samples of the real distribution: precision and recall are near each other and density near 1."""
    scores = manifold_scores(normal(1000, 4, seed=0), normal(1000, 4, seed=1))
    assert scores.precision == pytest.approx(scores.recall, abs=0.05)
    assert scores.density == pytest.approx(1, abs=0.05)
    assert scores.coverage == pytest.approx(1 - 0.5**5, abs=0.03)  # Naeem et al. 2020, eq. 9


def test_dropped_modes_cost_recall_and_coverage_alone():
    """Fakes of 2 modes in 10 keep their precision and density; recall and coverage fall to a fifth."""
    centers = 20 * torch.eye(10, dtype=torch.float64)

    def sample(modes: int, seed: int) -> torch.Tensor:
        return centers[torch.arange(500) % modes] + normal(500, 10, seed=seed) * 0.5

    full, dropped = (manifold_scores(sample(10, 0), sample(modes, 1)) for modes in (10, 2))
    assert dropped.precision > full.precision - 0.1
    assert dropped.density > full.density - 0.2
    assert full.recall > 0.6
    assert dropped.recall <= 0.2
    assert full.coverage > 0.9
    assert dropped.coverage <= 0.2


def test_distant_sets_score_nothing():
    """No fake near a real: all four are 0."""
    scores = manifold_scores(normal(50, 3, seed=0), normal(50, 3, seed=1) + 100)
    assert as_tuple(scores) == (0, 0, 0, 0)


def test_a_set_scores_all_of_itself():
    """A set that repeats the reals has precision, recall and coverage 1, in any order and far from the origin."""
    real = normal(80, 5, seed=0) + 1e4
    scores = manifold_scores(real, real.flip(0))
    assert (scores.precision, scores.recall, scores.coverage) == (1, 1, 1)


@pytest.mark.parametrize(
    ("real", "options", "message"),
    [
        (torch.zeros(5, 3), {}, "at least 6"),
        (torch.zeros(9, 2), {}, "share their dimension"),
        (torch.full((9, 3), torch.nan), {}, "finite"),
        (torch.zeros(9, 3), {"k_density_coverage": 0}, "k must be"),
    ],
)
def test_unusable_arguments_are_refused(real, options, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        manifold_scores(real, torch.zeros(9, 3), **options)
