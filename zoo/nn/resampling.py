"""Filters of single channels as matrix products, for NVIDIA's GPUs.

A filter of one dimension is a matrix whose rows hold the taps, each row one place or one stride further. Tensor cores
multiply such matrices, zeros and all, in a fraction of the time that cuDNN takes for convolutions of each channel by
itself: these took three quarters of a StyleGAN2 training step on an H100.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

FEW_CHANNELS = 16  # below which a product over the channels of each pixel leaves most of a GPU's tile empty


def resample(x: Tensor, taps: Tensor, *, padding: int, stride: int = 1, up: bool = False) -> Tensor:
    """Filter maps [N, C, h, w] by the taps [K] along both axes.

    The result is that of `conv2d` of each channel by itself; with `up`, maps [N, C, 2h, 2w], that of `conv_transpose2d`
    with a stride of 2 and K = 2 * padding + 2.
    """
    n, channels, height, width = x.shape
    padded = F.pad(taps.to(x.dtype), (0, 1))
    place = _place_taps if torch.compiler.is_compiling() else _keep_places  # compilers make constants of them
    down, across = (padded[place(size, len(taps), padding, stride, up, x.device)] for size in (height, width))
    if channels < FEW_CHANNELS:
        rows = down.expand(n * channels, -1, -1) @ x.reshape(n * channels, height, width)
        return (rows @ across.mT).view(n, channels, len(down), len(across))
    rows = x.permute(0, 2, 3, 1).reshape(n, height, width * channels)  # no copy, where channels are last in memory
    rows = (down.expand(n, -1, -1) @ rows).view(n * len(down), width, channels)
    rows = across.expand(len(rows), -1, -1) @ rows
    return rows.view(n, len(down), len(across), channels).permute(0, 3, 1, 2)


def _place_taps(size: int, num_taps: int, padding: int, stride: int, up: bool, device: torch.device) -> Tensor:
    """Say which tap each input has in each output, [outputs, size]; `num_taps` where it has none."""
    inputs = torch.arange(size, device=device)
    outputs = torch.arange(2 * size if up else (size + 2 * padding - num_taps) // stride + 1, device=device)[:, None]
    taps = outputs + padding - 2 * inputs if up else inputs + padding - stride * outputs
    return torch.where((taps >= 0) & (taps < num_taps), taps, num_taps)


_keep_places = functools.cache(_place_taps)
