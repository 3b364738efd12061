"""Filters as matrix products: what convolutions of single channels compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.nn.resampling import FEW_CHANNELS, resample
from zoo.nn.stylegan2 import blur, make_filter, upsample
from zoo.recipe import ADAConfig
from zoo.training.ada import ADA, _double, _halve


def make_maps(channels: int, height: int = 7, width: int = 10) -> Tensor:
    maps = torch.randn(2, channels, height, width, dtype=torch.float64)
    return maps.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [3, FEW_CHANNELS])
@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (1, 1), (2, 1), (1, 2), (-1, 2)])
def test_products_are_convolutions(channels: int, padding: int, stride: int):
    """Any taps, both layouts, and a negative padding, which leaves out pixels."""
    x, taps = make_maps(channels), torch.randn(4, dtype=torch.float64)
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    expected = F.conv2d(F.pad(x, (padding,) * 4), kernel, stride=stride, groups=channels)

    torch.testing.assert_close(resample(x, taps, padding=padding, stride=stride), expected)


@pytest.mark.parametrize("channels", [3, FEW_CHANNELS])
def test_transposed_products_are_transposed_convolutions(channels: int):
    """Twice the size, as the filter of even length puts it; channels that are last in memory stay so."""
    x, taps = make_maps(channels), torch.randn(4, dtype=torch.float64)
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    found = resample(x, taps, padding=1, up=True)

    torch.testing.assert_close(found, F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels))
    assert found.is_contiguous(memory_format=torch.channels_last) == (channels == FEW_CHANNELS)


def test_penalties_can_be_computed_through_products():
    """First and second derivatives are right."""
    x = make_maps(2, 5, 5).requires_grad_()
    taps = make_filter().double().sum(0)

    assert torch.autograd.gradcheck(lambda x: resample(x, taps, padding=1, stride=2), x)
    assert torch.autograd.gradgradcheck(lambda x: resample(x, taps, padding=1, up=True).square(), x)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [3, 32])
def test_a_gpu_filters_as_the_cpu_does(channels: int):
    """The layers of StyleGAN2 and the resizing of ADA."""
    x, kernel = make_maps(channels, 16, 16).float(), make_filter()
    taps = ADA(ADAConfig())._taps
    for run in (
        lambda x, kernel, taps: blur(x, kernel, padding=2, gain=4),
        lambda x, kernel, taps: blur(x, kernel, padding=1, stride=2),
        lambda x, kernel, taps: upsample(x, kernel),
        lambda x, kernel, taps: _double(x, taps),
        lambda x, kernel, taps: _halve(x, taps),
    ):
        found = run(x.cuda(), kernel.cuda(), taps.cuda()).cpu()
        torch.testing.assert_close(found, run(x, kernel, taps), rtol=1e-3, atol=1e-3)
