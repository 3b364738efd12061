"""Multi-scale structural similarity of random pairs of samples: how alike they are.

MS-SSIM: Wang, Simoncelli & Bovik 2003, "Multiscale structural similarity for image quality assessment", eq. 7 and
section 3.2. As a measure of diversity: Odena et al. 2017, arXiv:1610.09585, section 4.3; Karras et al. 2018,
arXiv:1710.10196, Table 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InvalidValueError

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first (Wang et al. 2003, section 3.2)
WINDOW, WINDOW_STD = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for pixels in [0, 1]
PAIRS_AT_ONCE = 256


class PairSimilarity(NamedTuple):
    """Mean MS-SSIM of pairs, its standard deviation between pairs, and the number of scales it was computed on."""

    mean: float
    spread: float
    num_scales: int


def pair_similarity(images: Tensor, *, seed: int, num_pairs: int = 10_000) -> PairSimilarity:
    """Compute MS-SSIM, in [0, 1], of `num_pairs` random pairs of different images [N, C, H, W] in [-1, 1].

    Lower is more diverse. It says nothing of quality, so it must be compared with that of real images. `num_scales` is
    what the size allows (see `count_scales`). At 64 px it is 3; the papers have 5, so their numbers are not comparable.

    Raises InvalidValueError for fewer than 2 images, and as `ms_ssim`.
    """
    if images.ndim != 4 or len(images) < 2 or num_pairs < 2:
        raise InvalidValueError(
            f"at least 2 images [N, C, H, W] and 2 pairs are needed; got {list(images.shape)} and {num_pairs}"
        )
    num_scales = count_scales(*images.shape[-2:])
    rng = torch.Generator().manual_seed(seed)
    first = torch.randint(len(images), (num_pairs,), generator=rng)
    second = (first + torch.randint(1, len(images), (num_pairs,), generator=rng)) % len(images)
    similarity = torch.cat(
        [
            ms_ssim(images[i], images[j], num_scales=num_scales)
            for i, j in zip(first.split(PAIRS_AT_ONCE), second.split(PAIRS_AT_ONCE), strict=True)
        ]
    )
    return PairSimilarity(similarity.mean().item(), similarity.std().item(), num_scales)


def count_scales(height: int, width: int) -> int:
    """Count the scales, up to the paper's 5, at which the 11x11 window fits into the image. Each halves the image.

    There are 5 from 176 px, 4 from 88 px, and 3 from 44 px. Raises InvalidValueError below 11 px.
    """
    side = min(height, width)
    if side < WINDOW:
        raise InvalidValueError(f"SSIM needs images of at least {WINDOW} px; got {height}x{width}")
    return sum(side >> scale >= WINDOW for scale in range(len(EXPONENTS)))


def ms_ssim(a: Tensor, b: Tensor, *, num_scales: int) -> Tensor:
    """Compute MS-SSIM of each pair of images `a` and `b` [N, C, H, W] in [-1, 1]: [N] in [0, 1], float64.

    The terms of each scale are averaged over pixels and channels. With fewer than 5 scales the paper's exponents of
    these scales are divided by their sum. A negative contrast-structure term has no such power and counts as 0.

    Raises InvalidValueError for unequal shapes, values outside [-1, 1], or scales that do not fit.
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise InvalidValueError(f"two sets of images of one shape are needed; got {list(a.shape)} and {list(b.shape)}")
    if not 1 <= num_scales <= count_scales(*a.shape[-2:]):
        possible = count_scales(*a.shape[-2:])
        raise InvalidValueError(
            f"num_scales must be 1 to {possible} for {a.shape[-2]}x{a.shape[-1]} px; got {num_scales}"
        )
    if not all(bool((images.abs() <= 1).all()) for images in (a, b)):
        raise InvalidValueError("images must lie in [-1, 1]")
    a, b = (a.double() + 1) / 2, (b.double() + 1) / 2  # in the luminance term 0 is black
    exponents = torch.tensor(EXPONENTS[:num_scales], dtype=torch.float64, device=a.device)
    terms = []
    for scale in range(num_scales):
        if scale > 0:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, contrast_structure = _ssim_terms(a, b)
        last = scale == num_scales - 1
        terms.append((luminance * contrast_structure if last else contrast_structure).mean((1, 2, 3)))
    return (torch.stack(terms, dim=1).clamp(min=0) ** (exponents / exponents.sum())).prod(1)


def _ssim_terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compute luminance, and contrast times structure, at every position of the window: [N, C, H - 10, W - 10] each."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a**2
    var_b = _window_mean(b * b) - mean_b**2
    cov = _window_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * cov + C2) / (var_a + var_b + C2)


def _window_mean(images: Tensor) -> Tensor:
    """Compute means under the 11x11 Gaussian window: [N, C, H, W] -> [N, C, H - 10, W - 10].

    It takes two products with banded matrices. On a CPU a convolution in float64 takes several times as long.
    """
    return _window_rows(images.shape[-2], images) @ images @ _window_rows(images.shape[-1], images).T


def _window_rows(size: int, like: Tensor) -> Tensor:
    """Make a matrix [size - 10, size] whose row i has the one-dimensional window from position i."""
    distance = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    window = torch.exp(-0.5 * (distance / WINDOW_STD) ** 2)
    rows = like.new_zeros(size - WINDOW + 1, size)
    for i, row in enumerate(rows):
        row[i : i + WINDOW] = window / window.sum()
    return rows
