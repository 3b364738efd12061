"""DiffAugment: the same differentiable changes to real and fake samples, which only the discriminator sees.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738, section 4:
color (brightness, saturation, contrast), translation by up to 1/8 of the size, cutout of half the size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.device import send
from zoo.noise import Noise


def diff_augment(images: Tensor, policies: Sequence[str], noise: Noise) -> Tensor:
    """Augment images [N, C, H, W] in [-1, 1], each by its own random numbers; without policies, change nothing.

    Clips [N, C, T, H, W] are changed alike in all their frames.
    """
    return apply_augmentation(images, policies, draw_augmentation(len(images), policies, noise, images.device))


def draw_augmentation(n: int, policies: Sequence[str], noise: Noise, device: torch.device) -> list[Tensor]:
    """Draw the random numbers of n images, [n, K] for each policy."""
    return [send(noise.uniform(n, _NUM_DRAWS[policy]), device) for policy in policies]


def apply_augmentation(images: Tensor, policies: Sequence[str], draws: Sequence[Tensor]) -> Tensor:
    """Change images [N, C, H, W], or clips, by the numbers that `draw_augmentation` drew."""
    for policy, numbers in zip(policies, draws, strict=True):
        if images.dim() == 5 and policy != "color":
            flat = _POLICIES[policy](images.flatten(1, 2), numbers)  # all channels of a sample change alike
            images = flat.unflatten(1, images.shape[1:3])
        else:
            images = _POLICIES[policy](images, numbers)
    return images


def _color(images: Tensor, draws: Tensor) -> Tensor:
    brightness, saturation, contrast = (draw.view(-1, *[1] * (images.dim() - 1)) for draw in draws.unbind(1))
    images = images + (brightness - 0.5)  # shift by -0.5..0.5
    gray = images.mean(dim=1, keepdim=True)
    images = torch.lerp(gray, images, saturation * 2)  # 0..2 times the distance from gray
    mean = images.mean(dim=tuple(range(1, images.dim())), keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)  # 0.5..1.5 times the distance from the mean


def _translation(images: Tensor, draws: Tensor) -> Tensor:
    n, _, height, width = images.shape
    reach_y, reach_x = height // 8, width // 8
    shift_y = (draws[:, 0] * (2 * reach_y + 1)).long() - reach_y
    shift_x = (draws[:, 1] * (2 * reach_x + 1)).long() - reach_x
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y))  # the new pixels are zero: mid gray
    rows = (torch.arange(height, device=images.device) + reach_y + shift_y[:, None])[:, :, None]  # [N, H, 1]
    columns = (torch.arange(width, device=images.device) + reach_x + shift_x[:, None])[:, None, :]  # [N, 1, W]
    sample = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2)


def _cutout(images: Tensor, draws: Tensor) -> Tensor:
    _, _, height, width = images.shape
    center_y = (draws[:, 0, None] * (height + 1)).floor()  # [N, 1]
    center_x = (draws[:, 1, None] * (width + 1)).floor()
    inside_y = (torch.arange(height, device=images.device) + 0.5 - center_y).abs() < height / 4  # [N, H]
    inside_x = (torch.arange(width, device=images.device) + 0.5 - center_x).abs() < width / 4
    hole = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return images.masked_fill(hole, 0.0)


_NUM_DRAWS = {"color": 3, "translation": 2, "cutout": 2}
_POLICIES = {"color": _color, "translation": _translation, "cutout": _cutout}
