"""The checks of all metrics on features."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import InvalidValueError


def check_features(*sets: Tensor, at_least: int) -> list[Tensor]:
    """Check feature sets, each [N_i, D]; returns them in float64.

    Raises InvalidValueError unless all are finite, have one common D >= 1, and have `at_least` rows.
    """
    shapes = ", ".join(str(list(features.shape)) for features in sets)
    if any(features.ndim != 2 for features in sets):
        raise InvalidValueError(f"features must be [N, D], one row a sample; got {shapes}")
    if len({features.shape[1] for features in sets}) > 1 or sets[0].shape[1] == 0:
        raise InvalidValueError(f"feature sets must share their dimension D >= 1; got {shapes}")
    if any(len(features) < at_least for features in sets):
        raise InvalidValueError(f"at least {at_least} samples are needed in each set; got {shapes}")
    if not all(torch.isfinite(features).all() for features in sets):
        raise InvalidValueError(f"features must be finite; got NaN or infinity in sets of shape {shapes}")
    return [features.to(torch.float64) for features in sets]
