"""Fréchet distance between Gaussians fitted to two sets of features.

Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions", eq. 4; as a score for GANs:
Heusel et al. 2017, arXiv:1706.08500, eq. 6. All is in float64. No square root of a non-symmetric matrix is needed:
S1 S2 is similar to the symmetric S1^(1/2) S2 S1^(1/2), whose eigenvalues are real and not negative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features


class Moments:
    """Mean [D] and covariance [D, D] of features, updated batch by batch in float64.

    The update is that of Chan, Golub & LeVeque 1979, eq. 2.1. It has no cancellation where the mean is much larger than
    the standard deviation.
    """

    count: int
    mean: Tensor  # [D]
    scatter: Tensor  # [D, D], the sum of (x - mean)(x - mean)^T

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Compute the moments of one set of features [N, D]. Raises InvalidValueError as `update`."""
        (features,) = check_features(features, at_least=1)
        moments = cls(features.shape[1])
        moments.update(features)
        return moments

    def update(self, features: Tensor) -> None:
        """Add a batch [N, D], N >= 1. Raises InvalidValueError for another D, an empty batch, NaN or infinity."""
        (features,) = check_features(features.cpu(), at_least=1)
        if features.shape[1] != len(self.mean):
            raise InvalidValueError(
                f"these moments are of {len(self.mean)} dimensions; got features {list(features.shape)}"
            )
        count = self.count + len(features)
        batch_mean = features.mean(0)
        centered = features - batch_mean
        shift = batch_mean - self.mean
        self.scatter += centered.T @ centered + torch.outer(shift, shift) * (self.count * len(features) / count)
        self.mean += shift * (len(features) / count)
        self.count = count

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance [D, D]. Raises InvalidValueError below 2 samples."""
        if self.count < 2:
            raise InvalidValueError(f"a covariance needs at least 2 samples; got {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """Compute the Fréchet distance (>= 0) of two sets of features: the squared 2-Wasserstein of fitted Gaussians.

    `a` and `b` are features [N, D], of any two counts, or `Moments`. Lower is closer. With fewer samples the distance
    is larger, so it is comparable for equal counts only.

    Raises InvalidValueError for fewer than 2 samples, unequal D, NaN or infinity.
    """
    first, second = (m if isinstance(m, Moments) else Moments.of(m) for m in (a, b))
    return gaussian_frechet_distance(first.mean, first.covariance, second.mean, second.covariance)


def gaussian_frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Compute |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)) of means [D] and covariances [D, D].

    Singular covariances are allowed. Raises InvalidValueError where shapes disagree or an entry is not finite.
    """
    dim = len(mean_a)
    for name, tensor, shape in (
        ("mean_a", mean_a, (dim,)),
        ("cov_a", cov_a, (dim, dim)),
        ("mean_b", mean_b, (dim,)),
        ("cov_b", cov_b, (dim, dim)),
    ):
        if tuple(tensor.shape) != shape:
            raise InvalidValueError(
                f"{name} must be {list(shape)}, for mean_a has {dim} entries; got {list(tensor.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise InvalidValueError(f"{name} must be finite")
    mean_a, cov_a, mean_b, cov_b = (t.to(torch.float64) for t in (mean_a, cov_a, mean_b, cov_b))
    eigenvalues, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T  # [D, D], cov_a^(1/2)
    trace_of_root = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_of_root
    return max(distance.item(), 0.0)  # rounding may give a number a little below 0
