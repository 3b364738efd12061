"""Convolutions of waves as pictures of one row, channels last in memory: the same numbers, several times faster.

On a CPU torch's `Conv1d` puts channels first, which is slow for few channels and many samples. These layers have its
weights and names, and take rows [N, C, 1, T]. `as_row` and `as_wave` convert to rows and back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def as_row(wave: Tensor) -> Tensor:
    """Convert a wave [N, C, T] to a row [N, C, 1, T], channels last in memory."""
    return wave[:, :, None].contiguous(memory_format=torch.channels_last)


def as_wave(row: Tensor) -> Tensor:
    """Convert a row [N, C, 1, T] to a wave [N, C, T], contiguous."""
    return row.squeeze(2).contiguous()


class RowConv1d(nn.Conv1d):
    """A layer like `nn.Conv1d`, for rows [N, C, 1, T]."""

    def forward(self, row: Tensor) -> Tensor:
        return F.conv2d(
            row,
            self.weight[:, :, None],
            self.bias,
            stride=(1, *self.stride),
            padding=(0, *self.padding),
            dilation=(1, *self.dilation),
            groups=self.groups,
        )


class RowConvTranspose1d(nn.ConvTranspose1d):
    """A layer like `nn.ConvTranspose1d`, for rows [N, C, 1, T]."""

    def forward(self, row: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.conv_transpose2d(
            row,
            self.weight[:, :, None],
            self.bias,
            stride=(1, *self.stride),
            padding=(0, *self.padding),
            output_padding=(0, *self.output_padding),
            groups=self.groups,
            dilation=(1, *self.dilation),
        )
