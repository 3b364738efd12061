"""Augmentation: the same differentiable changes to real and fake samples, which only the discriminator sees.

DiffAugment changes every sample (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training",
arXiv:2006.10738, section 4): color (brightness, saturation, contrast), translation by up to 1/8 of the size, cutout of
half the size. ADA changes some (`zoo.training.ada`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import send
from zoo.noise import Noise
from zoo.recipe import TrainConfig
from zoo.training.ada import ADA, NUM_DRAWS

if TYPE_CHECKING:
    from zoo.training.phases import Step


class Augmentation(nn.Module):
    """What `train.augment` asks for, and the state of ADA, which belongs to that of a training."""

    def __init__(self, train: TrainConfig, device: torch.device) -> None:
        super().__init__()
        self.train_config, self.policies = train, train.augment
        self.ada = ADA(train.ada).to(device) if "ada" in train.augment else None

    @property
    def extra_state(self) -> nn.Module | None:
        """What a checkpoint must hold."""
        return self.ada

    def forward(self, samples: Tensor, noise: Noise) -> Tensor:
        """Augment images [N, C, H, W] in [-1, 1], each by its own random numbers; without policies, change nothing.

        Clips [N, C, T, H, W] are changed alike in all their frames.
        """
        return self.apply_draws(samples, self.draw(len(samples), noise, samples.device))

    def draw(self, n: int, noise: Noise, device: torch.device) -> list[Tensor]:
        """Draw the random numbers of n samples, [n, K] for each policy."""
        return [send(noise.uniform(n, _NUM_DRAWS[policy]), device) for policy in self.policies]

    def apply_draws(self, samples: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Change images [N, C, H, W], or clips, by the numbers that `draw` drew."""
        for policy, numbers in zip(self.policies, draws, strict=True):
            if self.ada is not None and policy == "ada":
                samples = self.ada(samples, numbers)
            elif samples.dim() == 5 and policy != "color":
                flat = _POLICIES[policy](samples.flatten(1, 2), numbers)  # all channels of a sample change alike
                samples = flat.unflatten(1, samples.shape[1:3])
            else:
                samples = _POLICIES[policy](samples, numbers)
        return samples

    def observe(self, real_logits: Tensor) -> dict[str, Tensor]:
        """Let ADA see the logits of a batch of real samples. Returns the terms for the log."""
        if self.ada is None:
            return {}
        if self.train_config.ada.target:
            self.ada.observe(real_logits)
        return {"augment_probability": self.ada.probability.clone()}  # `adapt` changes it in place

    def adapt(self, step: Step) -> None:
        """Let the probability of ADA follow what it saw, at its interval, or its schedule."""
        if self.ada is None:
            return
        train, config = self.train_config, self.train_config.ada
        if not config.target:
            end = train.schedule.ada_probability or config.probability
            self.ada.probability.fill_(train.follow_schedule(config.probability, end, step.kimg))
            return
        self.ada.share()
        if (step.number + 1) % config.interval == 0:
            self.ada.adapt(config.interval * train.batch)


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


_NUM_DRAWS = {"color": 3, "translation": 2, "cutout": 2, "ada": NUM_DRAWS}
_POLICIES = {"color": _color, "translation": _translation, "cutout": _cutout}
