"""Kernel distance (KID): Bińkowski et al. 2018, arXiv:1801.01401, sections 2 and 4.

The unbiased estimator of the squared MMD is that of Gretton et al. 2012, JMLR 13, eq. 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features

ROWS_AT_ONCE = 1024


class KernelDistance(NamedTuple):
    """Mean of the squared MMD over subsets, and its standard deviation between them, None for one subset."""

    mean: float
    spread: float | None


def kernel_distance(
    a: Tensor, b: Tensor, *, seed: int, subset_size: int = 1000, num_subsets: int = 100
) -> KernelDistance:
    """Compute the squared maximum mean discrepancy of features [N, D] and [M, D] under the kernel (x·y / D + 1)^3.

    The estimator is unbiased: it is 0 on average for equal distributions, and may be below 0. Lower is closer. It is
    averaged over `num_subsets` pairs of random subsets, without replacement. Where no set is larger than `subset_size`,
    there is one estimate, from all samples. `spread` is the standard deviation of the subsets' estimates, not of their
    mean.

    Raises InvalidValueError for fewer than 2 samples or subsets, unequal D, NaN or infinity.
    """
    a, b = check_features(a, b, at_least=2)
    if subset_size < 2 or num_subsets < 2:
        raise InvalidValueError(f"subset_size and num_subsets must be at least 2; got {subset_size} and {num_subsets}")
    if max(len(a), len(b)) <= subset_size:
        return KernelDistance(squared_mmd(a, b), None)
    rng = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=rng)[:subset_size].to(features.device)]

    estimates = torch.tensor([squared_mmd(subset(a), subset(b)) for _ in range(num_subsets)], dtype=torch.float64)
    return KernelDistance(estimates.mean().item(), estimates.std().item())


def squared_mmd(a: Tensor, b: Tensor) -> float:
    """Compute the unbiased estimate from all of `a` [N, D] and `b` [M, D], N and M >= 2, in float64."""
    within_a = (_kernel_sum(a, a) - _kernel(a.square().sum(1), a.shape[1]).sum().item()) / (len(a) * (len(a) - 1))
    within_b = (_kernel_sum(b, b) - _kernel(b.square().sum(1), b.shape[1]).sum().item()) / (len(b) * (len(b) - 1))
    return within_a + within_b - 2 * _kernel_sum(a, b) / (len(a) * len(b))


def _kernel(dot_products: Tensor, dim: int) -> Tensor:
    return (dot_products / dim + 1) ** 3


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    return sum(_kernel(rows @ b.T, b.shape[1]).sum().item() for rows in a.split(ROWS_AT_ONCE))
