"""Images as the networks see them, and the table `[data]` of models that train on images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.noise import Noise
from zoo.recipe import DataConfig


@dataclass(frozen=True, kw_only=True)
class ImageDataConfig(DataConfig):
    """Images to train on."""

    flip: bool = True
    """Mirror half of the images left to right."""

    @property
    def augments(self) -> bool:
        return self.flip


def decode_images(pixels: np.ndarray, noise: Noise | None = None) -> Tensor:
    """Decode uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1], channels last in memory; or clips, with T before H.

    With `noise`, half of them are mirrored left to right.
    """
    images = torch.from_numpy(np.array(pixels)).movedim(-1, 1).float().div_(127.5).sub_(1)
    if noise is not None:
        mirrored = noise.uniform(len(images), *[1] * (images.dim() - 1)) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    return images.contiguous(memory_format=torch.channels_last if images.dim() == 4 else torch.channels_last_3d)
