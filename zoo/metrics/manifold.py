"""How much of the fakes lies where the reals are, and how much of the reals the fakes reach.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, eqs. 1-3. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797, eqs. 3-4. A set's manifold is the union of the closed balls around its samples, each reaching to its
sample's k-th nearest neighbor within the set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features

ROWS_AT_ONCE = 512  # distances are held for this many rows at a time


@dataclass(frozen=True, kw_only=True)
class ManifoldScores:
    """Higher is better in all four. All lie in [0, 1] but density, whose expectation is 1 for equal distributions."""

    precision: float  # share of fakes inside the manifold of the reals
    recall: float  # share of reals inside the manifold of the fakes
    density: float  # mean number of reals' balls around a fake, over k
    coverage: float  # share of reals whose ball holds a fake


def manifold_scores(
    real: Tensor, fake: Tensor, *, k_precision_recall: int = 3, k_density_coverage: int = 5
) -> ManifoldScores:
    """Precision, recall, density and coverage of features `fake` [M, D] against `real` [N, D].

    The two k are the defaults of the two papers. Time is O((N + M)^2 D), memory O(N + M) beside the features. Raises
    InvalidValueError unless each k >= 1 and each set has more samples than k, and for unequal D, NaN or infinity.
    """
    if min(k_precision_recall, k_density_coverage) < 1:
        raise InvalidValueError(f"k must be at least 1; got {k_precision_recall} and {k_density_coverage}")
    real, fake = check_features(real, fake, at_least=max(k_precision_recall, k_density_coverage) + 1)
    origin = real.mean(0)  # distances are the same from everywhere, and most exact from amid the data
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
    """For each k, [N]: every sample's squared distance to its k-th nearest other sample."""
    radii = []
    for start in range(0, len(features), ROWS_AT_ONCE):
        distances = _squared_distances(features[start : start + ROWS_AT_ONCE], features)  # [R, N]
        distances[:, start:].fill_diagonal_(torch.inf)  # nobody is their own neighbor
        nearest = distances.topk(max(ks), largest=False).values.sort().values  # [R, max k]
        radii.append(nearest[:, [k - 1 for k in ks]])
    return list(torch.cat(radii).T)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[A, D], [B, D] -> [A, B]"""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return squares.sub_(a @ b.T, alpha=2).clamp_(min=0)
