"""StyleGAN2 in plain operations, as public code computes it without its custom kernels.

Maps are doubled by inserting zeros, and filtered by one convolution a resampling. Each sample has weights of its own:
they are modulated and demodulated, and a grouped convolution applies them. The generator runs once for each phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.faces.architectures.stylegan2 import (
    DiscriminatorBlock,
    Epilogue,
    SynthesisBlock,
    SynthesisLayer,
    ToRGB,
)
from zoo.gan import GAN
from zoo.nn.stylegan2 import GAIN, SLOPE, Convolution, append_deviation
from zoo.recipe import Recipe


def resample(x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int], gain: float = 1) -> Tensor:
    """Insert zeros, pad by (before, after), filter, and keep every `down`-th pixel of maps [N, C, r, r]."""
    n, channels, height, width = x.shape
    x = F.pad(x.reshape(n, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
    x = F.pad(x.reshape(n, channels, height * up, width * up), [pad[0], pad[1], pad[0], pad[1]])
    x = F.conv2d(x, (gain * kernel)[None, None].repeat(channels, 1, 1, 1), groups=channels)
    return x[:, :, ::down, ::down]


def modulate(x: Tensor, weight: Tensor, scale: Tensor, *, up: Tensor | None = None, demodulate: bool = True) -> Tensor:
    """Convolve maps with weights [D, C, k, k] of each sample, as one grouped convolution."""
    n = len(x)
    weights = weight[None] * scale[:, None, :, None, None]  # [N, D, C, k, k]
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    flat = x.reshape(1, -1, *x.shape[2:])
    if up is None:
        flat = F.conv2d(flat, weights.flatten(0, 1), padding=weight.shape[2] // 2, groups=n)
        return flat.reshape(n, -1, *flat.shape[2:])
    flat = F.conv_transpose2d(flat, weights.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
    return resample(flat.reshape(n, -1, *flat.shape[2:]), up, pad=(1, 1), gain=4)


def rectify(x: Tensor) -> Tensor:
    """Apply a leaky ReLU, and multiply by a gain."""
    return F.leaky_relu(x, SLOPE) * GAIN


def _layer(self: SynthesisLayer, x: Tensor, styles: Tensor, noise: Any) -> Tensor:
    x = modulate(x, self.weight, self.affine(styles), up=self.resample_filter if self.up else None)
    return rectify(x + self.bias[:, None, None])


def _to_rgb(self: ToRGB, x: Tensor, styles: Tensor) -> Tensor:
    scale = self.affine(styles) * self.weight.shape[1] ** -0.5
    return modulate(x, self.weight, scale, demodulate=False) + self.bias[:, None, None]


def _block(self: SynthesisBlock, x: Any, image: Any, styles: Tensor, noise: Any) -> tuple[Tensor, Any]:
    x = self.const.repeat(len(styles), 1, 1, 1) if x is None else self.conv0(x, styles[:, self.first - 1], noise)
    x = self.conv1(x, styles[:, self.first], noise)
    assert self.torgb is not None  # of the skip generator
    new = self.torgb(x, styles[:, self.first + 1])
    return x, new if image is None else resample(image, self.resample_filter, up=2, pad=(2, 1), gain=4) + new


def _convolution(self: Convolution, x: Tensor) -> Tensor:
    weight = self.weight * self.scale
    if not self.down:
        return F.conv2d(x, weight, self.bias, padding=self.padding)
    if not self.padding:
        return F.conv2d(resample(x, self.resample_filter, down=2, pad=(1, 1)), weight, self.bias)
    return F.conv2d(resample(x, self.resample_filter, pad=(2, 2)), weight, self.bias, stride=2)


def _discriminator_block(self: DiscriminatorBlock, x: Tensor) -> Tensor:
    if self.fromrgb is not None:
        x = rectify(self.fromrgb(x))
    assert self.skip is not None  # of the residual discriminator
    return (rectify(self.conv1(rectify(self.conv0(x)))) + self.skip(x)) * math.sqrt(0.5)


def _epilogue(self: Epilogue, x: Tensor) -> Tensor:
    x = rectify(self.conv(append_deviation(x, self.group)))
    return self.out(rectify(self.fc(x.flatten(1))))[:, 0]


_PLAIN: dict[type[nn.Module], Callable[..., Any]] = {
    SynthesisLayer: _layer,
    ToRGB: _to_rgb,
    SynthesisBlock: _block,
    Convolution: _convolution,
    DiscriminatorBlock: _discriminator_block,
    Epilogue: _epilogue,
}


def make_plain(gan: GAN) -> GAN:
    """Let a StyleGAN2 without noise compute in plain operations, in place. Its numbers are the same, to rounding."""
    for module in gan.modules():
        if type(module) in _PLAIN:
            module.forward = MethodType(_PLAIN[type(module)], module)  # type: ignore[method-assign]
    return gan


def make_plain_step(recipe: Recipe, real: Tensor) -> Callable[[], None]:
    """Make a step of D and G, without penalties, on real images [N, 3, R, R]."""
    gan: Any = make_plain(recipe.build())
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.0, 0.99)) for network in gan.networks.values()
    ]

    def generate() -> Tensor:
        images: Tensor = gan.generator(torch.randn(len(real), recipe.model.latent_dim))
        return images

    def step() -> None:
        with torch.no_grad():
            fake = generate()
        loss = F.softplus(gan.discriminator(fake)).mean() + F.softplus(-gan.discriminator(real)).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        F.softplus(-gan.discriminator(generate())).mean().backward()
        optimizers[0].step()

    return step
