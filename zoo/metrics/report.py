"""Metrics of features, each beside its value for real against other real samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features
from zoo.metrics.frechet import Moments, frechet_distance
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.manifold import manifold_scores

Better = Literal["higher", "lower", "near real"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number, and what is needed to interpret it and to compute it again."""

    name: str
    value: float
    spread: float | None = None
    """Standard deviation between subsets; None for a metric without subsets."""
    real_vs_real: float | None = None
    """The same metric of real against real samples: what a perfect generator would get."""
    better: Better
    """Which values are better."""
    count: int
    """Samples on each side."""
    dimensions: int | None = None
    """Of the features, where a distance is computed from them."""
    extractor: str | None = None
    """What computed the features, or other facts of the computation."""
    seed: int | None = None
    """None for a metric without random numbers."""


def distance_metrics(
    real: Tensor,
    fake: Tensor,
    held_out_real: Tensor,
    *,
    extractor: str,
    seed: int,
    names: tuple[str, str] = ("frechet_distance", "kernel_distance"),
) -> list[Metric]:
    """Compute Fréchet and kernel distance, under the given names; see `distribution_metrics`."""
    moments = Moments.of(real)
    kernel, real_kernel = (kernel_distance(real, other, seed=seed) for other in (fake, held_out_real))
    frechet_name, kernel_name = names
    return [
        Metric(
            name=frechet_name,
            value=frechet_distance(moments, fake),
            real_vs_real=frechet_distance(moments, held_out_real),
            better="lower",
            count=len(fake),
            dimensions=real.shape[1],
            extractor=extractor,
        ),
        Metric(
            name=kernel_name,
            value=kernel.mean,
            spread=kernel.spread,
            real_vs_real=real_kernel.mean,
            better="lower",
            count=len(fake),
            extractor=extractor,
            seed=seed,
        ),
    ]


def distribution_metrics(
    real: Tensor, fake: Tensor, held_out_real: Tensor, *, extractor: str, seed: int
) -> list[Metric]:
    """Compute Fréchet and kernel distance, precision, recall, density and coverage of `fake` against `real`.

    Args:
        real, fake, held_out_real: features [N, D] of the same extractor and count. `held_out_real` are of real samples
            that are not in `real`; for real against real they replace `fake`.
        seed: of the subsets of the kernel distance.

    Raises InvalidValueError for unequal shapes, fewer than 6 samples, NaN or infinity.
    """
    real, fake, held_out_real = check_features(real, fake, held_out_real, at_least=6)
    if not len(real) == len(fake) == len(held_out_real):
        raise InvalidValueError(
            f"equal counts are needed, for all metrics depend on them; got {len(real)} real, {len(fake)} fake and "
            f"{len(held_out_real)} real samples for real against real"
        )
    scores, real_scores = (manifold_scores(real, other) for other in (fake, held_out_real))
    return [
        *distance_metrics(real, fake, held_out_real, extractor=extractor, seed=seed),
        *(
            Metric(
                name=name,
                value=getattr(scores, name),
                real_vs_real=getattr(real_scores, name),
                better="higher",
                count=len(fake),
                extractor=extractor,
            )
            for name in ("precision", "recall", "density", "coverage")
        ),
    ]
