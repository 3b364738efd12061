"""All metrics on one pass of features, each beside its floor: the same figure of real against other real samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.metrics.checks import check_features
from zoo.metrics.frechet import Moments, frechet_distance
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.manifold import manifold_scores


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number and what is needed to judge it and to compute it again."""

    name: str
    value: float
    spread: float | None = None  # standard deviation between subsets, where the metric draws any
    real_vs_real: float | None = None
    """The same metric of real against real samples: what a perfect generator would get."""
    higher_is_better: bool
    count: int  # samples on each side
    extractor: str | None = None
    seed: int | None = None  # None where no chance is involved


def distance_metrics(
    real: Tensor,
    fake: Tensor,
    held_out_real: Tensor,
    *,
    extractor: str,
    seed: int,
    names: tuple[str, str] = ("frechet_distance", "kernel_distance"),
) -> list[Metric]:
    """Fréchet and kernel distance of `fake` from `real`, called by `names`, with floors; see `distribution_metrics`."""
    moments = Moments.of(real)
    kernel, kernel_floor = (kernel_distance(real, other, seed=seed) for other in (fake, held_out_real))
    frechet, of_kernel = names
    return [
        Metric(
            name=frechet,
            value=frechet_distance(moments, fake),
            real_vs_real=frechet_distance(moments, held_out_real),
            higher_is_better=False,
            count=len(fake),
            extractor=extractor,
        ),
        Metric(
            name=of_kernel,
            value=kernel.mean,
            spread=kernel.spread,
            real_vs_real=kernel_floor.mean,
            higher_is_better=False,
            count=len(fake),
            extractor=extractor,
            seed=seed,
        ),
    ]


def distribution_metrics(
    real: Tensor, fake: Tensor, held_out_real: Tensor, *, extractor: str, seed: int
) -> list[Metric]:
    """Fréchet and kernel distance, precision, recall, density and coverage of `fake` against `real`, with floors.

    The three are features of the same extractor and count, [N, D] each; `held_out_real` is of real samples that are not
    in `real`, and takes the place of `fake` for the floors. `seed` draws the subsets of the kernel distance. Raises
    InvalidValueError for unequal shapes, fewer than 6 samples, NaN or infinity.
    """
    real, fake, held_out_real = check_features(real, fake, held_out_real, at_least=6)
    if not len(real) == len(fake) == len(held_out_real):
        raise InvalidValueError(
            f"equal counts are needed, for all metrics depend on them; got {len(real)} real, {len(fake)} fake and "
            f"{len(held_out_real)} real samples for the floor"
        )
    scores, score_floors = (manifold_scores(real, other) for other in (fake, held_out_real))
    return [
        *distance_metrics(real, fake, held_out_real, extractor=extractor, seed=seed),
        *(
            Metric(
                name=name,
                value=getattr(scores, name),
                real_vs_real=getattr(score_floors, name),
                higher_is_better=True,
                count=len(fake),
                extractor=extractor,
            )
            for name in ("precision", "recall", "density", "coverage")
        ),
    ]
