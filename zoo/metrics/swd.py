"""The sliced Wasserstein distance between the patches of two sets of images, at each scale.

Karras et al. 2018 (ProGAN), arXiv:1710.10196, section 5. Every image has a Laplacian pyramid (Burt & Adelson 1983) from
16 px to the full resolution. Every level gives 128 descriptors of 7x7 pixels. They are normalized to the mean and
standard deviation of each channel over the set, and compared along 512 random directions (Rabin et al. 2011). The
distance is multiplied by 10^3, as in the paper's Table 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InvalidValueError

PATCH = 7
COARSEST = 16
IMAGES_AT_ONCE = 256
DIRECTIONS_AT_ONCE = 16


def sliced_wasserstein(
    real: Tensor, fake: Tensor, *, seed: int, patches_per_image: int = 128, num_directions: int = 512
) -> dict[int, float]:
    """Compute the sliced 1-Wasserstein distance x 10^3 at each resolution, finest first, e.g. {64: 9.1, 32: ...}.

    `real` and `fake` are floating images [N, C, S, S] of one shape, where S is 16 px times a power of two. Descriptors
    are normalized, so the brightness and contrast of a set do not count. Lower is closer. A set has distance 0 from
    itself, because both sets are cut at the same positions. The paper has N = 16,384. With fewer images the distance is
    larger, so it is comparable for equal N only.

    Raises InvalidValueError for other shapes, NaN or infinity.
    """
    size = real.shape[-1]
    if real.ndim != 4 or real.shape[-2] != size or real.shape != fake.shape or len(real) == 0:
        raise InvalidValueError(
            f"two sets of square images of one shape are needed; got {list(real.shape)}, {list(fake.shape)}"
        )
    if size < COARSEST or size % COARSEST or (size // COARSEST).bit_count() != 1:
        raise InvalidValueError(f"images must be {COARSEST} px times a power of two, such as 16, 32 or 64; got {size}")
    if not (torch.isfinite(real).all() and torch.isfinite(fake).all()):
        raise InvalidValueError("images must be finite; got NaN or infinity")
    rng = torch.Generator().manual_seed(seed)
    distances = {}
    for level in range((size // COARSEST).bit_length()):
        corners = torch.randint((size >> level) - PATCH + 1, (2, len(real), patches_per_image), generator=rng)
        directions = torch.randn(real.shape[1] * PATCH**2, num_directions, generator=rng)
        directions /= directions.norm(dim=0)
        a, b = (_cut_descriptors(images, level, corners) for images in (real, fake))  # [N * P, C * 49]
        along = [_wasserstein(a @ d, b @ d) for d in directions.split(DIRECTIONS_AT_ONCE, dim=1)]
        distances[size >> level] = torch.cat(along).mean().item() * 1e3
    return distances


def _wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Compute the 1-Wasserstein distance [K] of numbers [N, K] and [N, K], column by column, in float64."""
    return (a.sort(0).values - b.sort(0).values).abs().mean(0, dtype=torch.float64)


def _cut_descriptors(images: Tensor, level: int, corners: Tensor) -> Tensor:
    """Cut normalized patches [N * P, C * 49] from images [N, C, S, S] at `corners` (row and column, [2, N, P])."""
    patches = torch.cat(
        [
            _cut_patches(_compute_level(some.float().cpu(), level), *where)
            for some, where in zip(images.split(IMAGES_AT_ONCE), corners.split(IMAGES_AT_ONCE, dim=1), strict=True)
        ]
    )  # [N, P, C, 7, 7]
    mean = patches.mean((0, 1, 3, 4), keepdim=True, dtype=torch.float64).float()
    patches -= mean
    std = patches.square().mean((0, 1, 3, 4), keepdim=True, dtype=torch.float64).sqrt().float()
    patches /= std.clamp(min=torch.finfo(std.dtype).tiny)  # a constant channel stays 0
    return patches.flatten(0, 1).flatten(1)


def _cut_patches(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Cut patches [N, P, C, 7, 7] from images [N, C, S, S] at corners [N, P]."""
    offsets = torch.arange(PATCH)
    rows = (top[:, :, None] + offsets)[:, :, :, None]  # [N, P, 7, 1]
    columns = (left[:, :, None] + offsets)[:, :, None, :]  # [N, P, 1, 7]
    which = torch.arange(len(images))[:, None, None, None]
    return images.movedim(1, -1)[which, rows, columns].movedim(-1, 2)


def _compute_level(images: Tensor, level: int) -> Tensor:
    """Compute a level of the pyramid of images [N, C, S, S]: the detail at S / 2^level, or the whole image at 16 px."""
    for _ in range(level):
        images = _shrink(images)
    if images.shape[-1] == COARSEST:
        return images
    return images - _grow(_shrink(images))


def _shrink(images: Tensor) -> Tensor:
    return _blur(images)[..., ::2, ::2]


def _grow(images: Tensor) -> Tensor:
    n, c, height, width = images.shape
    grown = images.new_zeros(n, c, 2 * height, 2 * width)
    grown[..., ::2, ::2] = images
    return _blur(grown) * 4  # three of four pixels are 0


def _blur(images: Tensor) -> Tensor:
    """Apply the 5x5 binomial filter of Burt & Adelson (a = 0.375), mirrored at the borders."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    n, c, height, width = images.shape
    planes = F.pad(images, (2, 2, 2, 2), mode="reflect").reshape(n * c, 1, height + 4, width + 4)
    planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, 5, 1)), taps.view(1, 1, 1, 5))
    return planes.reshape(n, c, height, width)
