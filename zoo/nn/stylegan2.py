"""Layers of StyleGAN2. Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958.

All of them are plain torch. Maps are resized with a binomial filter, which is a convolution of each channel by itself.
Where the style scales the inputs and outputs of a convolution, the result is that of equations 1 to 3 of the paper,
which scale its weights; so one convolution serves the whole batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.nn.precision import use_float32
from zoo.nn.resampling import resample

SLOPE = 0.2  # of the leaky rectifiers
GAIN = math.sqrt(2)  # of the layers before them, which keeps the variance


def rectify(x: Tensor) -> Tensor:
    """Apply a leaky ReLU. The paper's are multiplied by the root of 2; here the layer before it has that as its `gain`.

    The result is the same, since 2 relu(x) = relu(2 x), and one pass over the maps less.
    """
    return F.leaky_relu(x, SLOPE)


def normalize(x: Tensor) -> Tensor:
    """Scale rows to a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Linear(nn.Module):
    """A linear layer [N, inputs] -> [N, outputs] with an equalized learning rate.

    Its weights start from N(0, 1), and are scaled when they are used. `rate` is its learning rate, relative to others.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float | None = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = None if bias is None else nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate * inputs**-0.5, rate

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        bias = None if self.bias is None else (self.bias * (self.rate * gain)).to(x)
        return F.linear(x, (self.weight * (self.scale * gain)).to(x), bias)


def make_filter() -> Tensor:
    """Return the binomial filter [4, 4], whose sum is 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(taps, taps)


def blur(x: Tensor, kernel: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Convolve each channel of maps [N, C, r, r] with a filter [4, 4], the product of two of one dimension."""
    if x.is_cuda:
        return resample(x, kernel.sum(0) * math.sqrt(gain), padding=padding, stride=stride)
    return F.conv2d(x, _repeat(kernel, x, gain), stride=stride, padding=padding, groups=x.shape[1])


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the height and width by a filter [4, 4]: [N, C, r, r] -> [N, C, 2r, 2r]."""
    if x.is_cuda:
        return resample(x, kernel.sum(0) * 2, padding=1, up=True)
    return F.conv_transpose2d(x, _repeat(kernel, x, 4.0), stride=2, padding=1, groups=x.shape[1])


def _repeat(kernel: Tensor, x: Tensor, gain: float) -> Tensor:
    return (gain * kernel.to(x)).expand(x.shape[1], 1, *kernel.shape)


def convolve_modulated(
    x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, *, up: Tensor | None = None, gain: float = 1.0
) -> Tensor:
    """Convolve maps [N, C, r, r] with weights [D, C, k, k] that are modulated by `scale` [N, C], and demodulated.

    The `offset` is added, which fits [N, D, r, r], and the sum multiplied by `gain`. With a filter `up` [4, 4], the
    height and width double.
    """
    with use_float32(x.device):  # the squares of a trained network sum up to more than float16 holds
        squares = scale.float().square() @ weight.float().square().sum((2, 3)).T  # [N, D]
        demodulation = (squares + 1e-8).rsqrt() * gain
    x = x * scale[:, :, None, None]
    if up is not None:
        x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), up, padding=1, gain=4)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
    return torch.addcmul((offset * gain).to(x), x, demodulation.to(x)[:, :, None, None])


def convert_to_rgb(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Convert maps [N, C, r, r] by weights [D, C, 1, 1] that are modulated by `scale` [N, C], and not demodulated.

    With a kernel of 1 x 1 px it is the weights that are few. So here they are scaled, and not the maps.
    """
    weights = weight.flatten(1) * (scale * weight.shape[1] ** -0.5)[:, None]  # [N, D, C]
    return (weights @ x.flatten(2) + bias[:, None]).unflatten(2, x.shape[2:])


class Convolution(nn.Module):
    """A convolution [N, inputs, r, r] -> [N, outputs, r, r], or r / 2, scaled as `Linear` is.

    Published files of StyleGAN2 hold the filter of each layer: `save_filter` makes it part of the state.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
        bias: bool = True,
        save_filter: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("resample_filter", make_filter(), persistent=save_filter)
        self.scale, self.down, self.padding = (inputs * kernel**2) ** -0.5, down, kernel // 2

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        weight, bias = self.weight * (self.scale * gain), None if self.bias is None else self.bias * gain
        if not self.down:
            return F.conv2d(x, weight, bias, padding=self.padding)
        if not self.padding:  # a 1 x 1 kernel: blur only the pixels that stay
            return F.conv2d(blur(x, self.resample_filter, padding=1, stride=2), weight, bias)
        return F.conv2d(blur(x, self.resample_filter, padding=2), weight, bias, stride=2)


def append_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append the mean deviation over groups of samples: [N, C, r, r] -> [N, C + 1, r, r].

    A group has the most samples up to `group` that divide the batch. Karras et al. 2018, arXiv:1710.10196, section 3.
    """
    n = len(x)
    size = next(size for size in range(min(group, n), 0, -1) if n % size == 0)
    deviation = (x.reshape(size, n // size, *x.shape[1:]).var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)
