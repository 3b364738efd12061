import itertools

import pytest
import torch

from zoo.errors import InvalidValueError
from zoo.metrics.kernel import kernel_distance


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force(a: torch.Tensor, b: torch.Tensor) -> float:
    def kernel(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    a, b = a.tolist(), b.tolist()
    within = [sum(kernel(x, y) for x, y in itertools.permutations(s, 2)) / (len(s) * (len(s) - 1)) for s in (a, b)]
    between = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    return sum(within) - 2 * between


def test_all_samples_give_the_unbiased_estimate():
    """Sets no larger than a subset give the sum over all pairs, of any two counts, and no spread."""
    a, b = normal(12, 3, seed=0), normal(17, 3, seed=1) + 0.5
    distance = kernel_distance(a, b, seed=0, subset_size=17)
    assert distance.mean == pytest.approx(brute_force(a, b))
    assert distance.spread is None


def test_more_rows_than_are_held_at_once_change_nothing(monkeypatch):
    """The blocks in which kernels are summed do not show."""
    a, b = normal(23, 4, seed=0), normal(9, 4, seed=1)
    whole = kernel_distance(a, b, seed=0)
    monkeypatch.setattr("zoo.metrics.kernel.ROWS_AT_ONCE", 5)
    assert kernel_distance(a, b, seed=0).mean == pytest.approx(whole.mean)


def test_subsets_estimate_the_full_distance():
    """The mean over subsets is near the estimate of all samples; the spread shrinks as subsets grow."""
    a, b = normal(400, 8, seed=0), normal(400, 8, seed=1) + 0.3
    full = kernel_distance(a, b, seed=0)
    small = kernel_distance(a, b, seed=0, subset_size=50)
    large = kernel_distance(a, b, seed=0, subset_size=200)
    for subsets in (small, large):
        assert abs(subsets.mean - full.mean) < 4 * subsets.spread / 10
    assert large.spread < small.spread


def test_equal_distributions_are_at_zero_on_average():
    """The estimator is unbiased: over many draws of one distribution it averages to 0, and goes below it."""
    estimates = torch.tensor(
        [kernel_distance(normal(30, 4, seed=2 * i), normal(30, 4, seed=2 * i + 1), seed=0).mean for i in range(400)]
    )
    assert estimates.min() < 0 < estimates.max()
    assert abs(estimates.mean()) < 4 * estimates.std() / 20


def test_the_seed_alone_decides_the_subsets():
    """Same seed, same value, whatever the global generator; another seed, another value."""
    a, b = normal(60, 4, seed=0), normal(60, 4, seed=1)
    first = kernel_distance(a, b, seed=3, subset_size=20)
    torch.manual_seed(99)
    assert kernel_distance(a, b, seed=3, subset_size=20) == first
    assert kernel_distance(a, b, seed=4, subset_size=20) != first


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        (torch.zeros(1, 3), {}, "at least 2"),
        (torch.zeros(4, 2), {}, "share their dimension"),
        (torch.full((4, 3), torch.inf), {}, "finite"),
        (torch.zeros(4, 3), {"subset_size": 1}, "subset_size"),
        (torch.zeros(4, 3), {"num_subsets": 1}, "num_subsets"),
    ],
)
def test_unusable_arguments_are_refused(a, options, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        kernel_distance(a, torch.zeros(4, 3), seed=0, **options)
