"""The frontier divergence of two sets of features, a variant of MAUVE.

Pillutla et al. 2021, arXiv:2102.01454, eqs. 1-3. One k-means quantizes both sets. Each mixture R = w P + (1 - w) Q of
the two histograms gives a point of a curve: exp(-c KL(Q|R)) and exp(-c KL(P|R)), c = 5. The paper's MAUVE is the area
under this curve. The divergence is 1 minus the area, so that lower is closer, as for all distances here.

It is not the number of the package `mauve-text`. On the same histograms the areas agree. But the package has features
of its own, scales each to length 1, and reduces them by PCA before it quantizes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features

SCALE = 5.0  # c
MIXTURES = 200  # points of the curve
SAMPLES_PER_CLUSTER = 10  # of each set, as in the paper's section 4
MAX_ITERATIONS = 50  # of k-means
ROWS_AT_ONCE = 1024


def frontier_divergence(a: Tensor, b: Tensor, *, seed: int, num_clusters: int | None = None) -> float:
    """Compute 1 minus the area under the divergence curve of features [N, D] and [M, D], in [0, 1); lower is closer.

    It is 0 where both have equal histograms over the clusters, and 0.996 where no cluster has samples of both. Finite
    samples of one distribution are above 0, more so for fewer samples a cluster. So it is comparable for equal counts
    and clusters only.

    Args:
        seed: of the first centers.
        num_clusters: a tenth of the smaller set if None.

    Raises InvalidValueError for fewer than 2 samples, less than 2 clusters or more than samples, unequal D, NaN or
    infinity.
    """
    a, b = check_features(a, b, at_least=2)
    num_clusters = num_clusters or max(2, min(len(a), len(b)) // SAMPLES_PER_CLUSTER)
    if not 2 <= num_clusters <= len(a) + len(b):
        raise InvalidValueError(
            f"num_clusters = {num_clusters} should be 2 to {len(a) + len(b)}, the number of samples"
        )
    clusters = k_means(torch.cat([a, b]), num_clusters, seed=seed)
    p, q = (torch.bincount(part, minlength=num_clusters).double() for part in clusters.split([len(a), len(b)]))
    return 1 - area_under_curve(p / p.sum(), q / q.sum())


def area_under_curve(p: Tensor, q: Tensor, *, scale: float = SCALE) -> float:
    """Compute the area under the divergence curve of two histograms [K] of sum 1. It is symmetric, in (0, 1]."""
    weights = ((torch.arange(MIXTURES, dtype=torch.float64) + 0.5) / MIXTURES)[:, None]  # [W, 1]
    mixtures = weights * p + (1 - weights) * q  # [W, K]
    along, up = (torch.exp(-scale * _kl(histogram, mixtures)) for histogram in (q, p))  # [W]: falling, rising
    zero, one = along.new_zeros(1), along.new_ones(1)
    along, up = torch.cat([one, along, zero]), torch.cat([zero, up, one])  # from (1, 0) to (0, 1)
    return -float(torch.trapezoid(up, along))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """Compute KL(p | q) of a histogram [K] from each of [W, K], in nats; 0 log 0 is 0."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(1).clamp(min=0)


def k_means(points: Tensor, k: int, *, seed: int) -> Tensor:
    """Assign a cluster [N] to each point [N, D]: Lloyd 1982, with first centers of Arthur & Vassilvitskii 2007.

    The result depends on the points, their order and the seed. It ends when no point changes its cluster, or after 50
    iterations.
    """
    points = points - points.mean(0)  # distances are most exact for centered data
    centers = _choose_centers(points, k, np.random.default_rng(seed))
    clusters = _find_nearest(points, centers)
    for _ in range(MAX_ITERATIONS):
        counts = torch.bincount(clusters, minlength=k)
        sums = torch.zeros_like(centers).index_add_(0, clusters, points)
        centers = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centers)
        before, clusters = clusters, _find_nearest(points, centers)
        if torch.equal(before, clusters):
            break
    return clusters


def _choose_centers(points: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Choose centers by k-means++: points with probabilities proportional to the squared distance to earlier ones."""
    chosen = [int(rng.integers(len(points)))]
    distances = (points - points[chosen[0]]).square().sum(1)  # [N]
    for _ in range(k - 1):
        cumulative = distances.cumsum(0)
        if cumulative[-1] <= 0:  # fewer different points than clusters
            break
        index = int(torch.searchsorted(cumulative, rng.random() * cumulative[-1], right=True))
        chosen.append(min(index, len(points) - 1))
        distances = torch.minimum(distances, (points - points[chosen[-1]]).square().sum(1))
    chosen += chosen[:1] * (k - len(chosen))
    return points[chosen]


def _find_nearest(points: Tensor, centers: Tensor) -> Tensor:
    """Find the nearest center [N] of each point."""
    squares = centers.square().sum(1)
    return torch.cat([torch.addmm(squares, rows, centers.T, alpha=-2).argmin(1) for rows in points.split(ROWS_AT_ONCE)])
