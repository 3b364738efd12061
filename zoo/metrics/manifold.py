"""Precision, recall, density and coverage: how many fakes lie near reals, and how many reals have fakes near them.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, eqs. 1-3. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797, eqs. 3-4. The manifold of a set is the union of closed balls around its samples. The radius of a ball
is the distance to the k-th nearest neighbor in the set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features

ROWS_AT_ONCE = 512  # rows whose distances are in memory at once


@dataclass(frozen=True, kw_only=True)
class ManifoldScores:
    """Four scores, higher is better. All are in [0, 1] but density, which is 1 on average for equal distributions."""

    precision: float
    """Share of fakes inside the manifold of the reals."""
    recall: float
    """Share of reals inside the manifold of the fakes."""
    density: float
    """Mean number of balls of reals that contain a fake, divided by k."""
    coverage: float
    """Share of reals whose ball contains a fake."""


def manifold_scores(
    real: Tensor, fake: Tensor, *, k_precision_recall: int = 3, k_density_coverage: int = 5
) -> ManifoldScores:
    """Compute precision, recall, density and coverage of features `fake` [M, D] against `real` [N, D].

    The default k are those of the two papers. Time is O((N + M)^2 D), memory O(N + M) beside the features.

    Raises InvalidValueError for k < 1, sets that have no more samples than k, unequal D, NaN or infinity.
    """
    if min(k_precision_recall, k_density_coverage) < 1:
        raise InvalidValueError(f"k must be at least 1; got {k_precision_recall} and {k_density_coverage}")
    real, fake = check_features(real, fake, at_least=max(k_precision_recall, k_density_coverage) + 1)
    origin = real.mean(0)  # distances do not depend on the origin, and are most exact for centered data
    real, fake = real - origin, fake - origin

    real_radius_pr, real_radius_dc = _squared_radii(real, k_precision_recall, k_density_coverage)  # [N] each
    (fake_radius_pr,) = _squared_radii(fake, k_precision_recall)  # [M]

    fakes_in_real = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    reals_in_fake, reals_covered, balls_around_fakes = 0, 0, 0
    for start in range(0, len(real), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        distances = _squared_distances(real[rows], fake)  # [R, M]
        fakes_in_real |= (distances <= real_radius_pr[rows, None]).any(0)
        reals_in_fake += int((distances <= fake_radius_pr).any(1).sum())
        inside = distances <= real_radius_dc[rows, None]
        reals_covered += int(inside.any(1).sum())
        balls_around_fakes += int(inside.sum())
    return ManifoldScores(
        precision=int(fakes_in_real.sum()) / len(fake),
        recall=reals_in_fake / len(real),
        density=balls_around_fakes / (k_density_coverage * len(fake)),
        coverage=reals_covered / len(real),
    )


def _squared_radii(features: Tensor, *ks: int) -> list[Tensor]:
    """Compute each sample's squared distance to its k-th nearest other sample, [N] for each k."""
    radii = []
    for start in range(0, len(features), ROWS_AT_ONCE):
        distances = _squared_distances(features[start : start + ROWS_AT_ONCE], features)  # [R, N]
        distances[:, start:].fill_diagonal_(torch.inf)  # a sample is not its own neighbor
        nearest = distances.topk(max(ks), largest=False).values.sort().values  # [R, max k]
        radii.append(nearest[:, [k - 1 for k in ks]])
    return list(torch.cat(radii).T)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute squared distances [A, B] of [A, D] and [B, D]."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return squares.sub_(a @ b.T, alpha=2).clamp_(min=0)
