"""Convolutions of rows give the numbers of torch's convolutions of waves."""

from __future__ import annotations

import torch
from torch import nn

from zoo.nn.rows import RowConv1d, RowConvTranspose1d, as_row, as_wave


def test_rows_are_convolved_as_waves():
    """With the weights of a (transposed) convolution of waves, a row gives the output and gradients of that layer."""
    torch.manual_seed(0)
    wave = torch.randn(2, 6, 50)
    pairs = [
        (nn.Conv1d(6, 4, 5, stride=2, padding=3, dilation=2, groups=2), RowConv1d(6, 4, 5, 2, 3, 2, 2)),
        (nn.ConvTranspose1d(6, 4, 9, 4, 3, output_padding=1), RowConvTranspose1d(6, 4, 9, 4, 3, output_padding=1)),
    ]
    for plain, rows in pairs:
        rows.load_state_dict(plain.state_dict())
        row = rows(as_row(wave))

        assert row.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(as_wave(row), plain(wave), rtol=0, atol=1e-5)
        gradients = [
            torch.autograd.grad(out.square().sum(), layer.weight)[0]
            for out, layer in ((row, rows), (plain(wave), plain))
        ]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
