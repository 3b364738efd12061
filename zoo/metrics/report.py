"""All figures on one pass of features, each beside its floor: the same figure of real against other real samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoo.errors import BadValue
from zoo.metrics.checks import checked_features
from zoo.metrics.frechet import Moments, frechet_distance
from zoo.metrics.kernel import kernel_distance
from zoo.metrics.manifold import manifold_scores


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number and what is needed to judge it and to compute it again."""

    name: str
    value: float
    spread: float | None = None  # standard deviation between subsets, where the metric draws any
    floor: float | None = None  # the same figure of real against real samples: what a perfect generator would get
    higher_is_better: bool
    count: int  # samples on each side
    extractor: str | None = None
    seed: int | None = None  # None where no chance is involved


def distance_figures(
    real: Tensor,
    fake: Tensor,
    floor_real: Tensor,
    *,
    extractor: str,
    seed: int,
    names: tuple[str, str] = ("frechet_distance", "kernel_distance"),
) -> list[Figure]:
    """Fréchet and kernel distance of `fake` from `real`, called by `names`, with floors; see `distribution_figures`."""
    moments = Moments.of(real)
    kernel, kernel_floor = (kernel_distance(real, other, seed=seed) for other in (fake, floor_real))
    frechet, of_kernel = names
    return [
        Figure(
            name=frechet,
            value=frechet_distance(moments, fake),
            floor=frechet_distance(moments, floor_real),
            higher_is_better=False,
            count=len(fake),
            extractor=extractor,
        ),
        Figure(
            name=of_kernel,
            value=kernel.mean,
            spread=kernel.spread,
            floor=kernel_floor.mean,
            higher_is_better=False,
            count=len(fake),
            extractor=extractor,
            seed=seed,
        ),
    ]


def distribution_figures(real: Tensor, fake: Tensor, floor_real: Tensor, *, extractor: str, seed: int) -> list[Figure]:
    """Fréchet and kernel distance, precision, recall, density and coverage of `fake` against `real`, with floors.

    The three are features of the same extractor and count, [N, D] each; `floor_real` is of real samples that are not
    in `real`, and takes the place of `fake` for the floors. `seed` draws the subsets of the kernel distance. Raises
    BadValue for unequal shapes, fewer than 6 samples, NaN or infinity.
    """
    real, fake, floor_real = checked_features(real, fake, floor_real, at_least=6)
    if not len(real) == len(fake) == len(floor_real):
        raise BadValue(
            f"equal counts are needed, for all figures depend on them; got {len(real)} real, {len(fake)} fake and "
            f"{len(floor_real)} real samples for the floor"
        )
    scores, score_floors = (manifold_scores(real, other) for other in (fake, floor_real))
    return [
        *distance_figures(real, fake, floor_real, extractor=extractor, seed=seed),
        *(
            Figure(
                name=name,
                value=getattr(scores, name),
                floor=getattr(score_floors, name),
                higher_is_better=True,
                count=len(fake),
                extractor=extractor,
            )
            for name in ("precision", "recall", "density", "coverage")
        ),
    ]
