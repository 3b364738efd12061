"""Layers of StyleGAN2 against their equations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.nn.stylegan2 import (
    GAIN,
    Convolution,
    Linear,
    append_deviation,
    blur,
    convert_to_rgb,
    convolve_modulated,
    make_filter,
    normalize,
    rectify,
    upsample,
)


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolutions_are_those_of_the_paper(up: bool):
    """Scaling inputs and outputs gives what a weight for each sample gives: equations 1 to 3."""
    x, weight, scale, offset = torch.randn(3, 4, 6, 6), torch.randn(5, 4, 3, 3), torch.randn(3, 4), torch.randn(5, 1, 1)
    each = []
    for one, style in zip(x, scale, strict=True):
        modulated = weight * style[:, None, None]
        modulated = modulated / (modulated.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wide = F.conv_transpose2d(one[None], modulated.transpose(0, 1), stride=2)
            each.append(blur(wide, make_filter(), padding=1, gain=4))
        else:
            each.append(F.conv2d(one[None], modulated, padding=1))

    found = convolve_modulated(x, weight, scale, offset, up=make_filter() if up else None, gain=3.0)
    torch.testing.assert_close(found, 3 * (torch.cat(each) + offset), rtol=1e-4, atol=1e-5)


def test_large_styles_do_not_overflow_half_precision():
    """Weights and styles as large as those of released networks: 64 x 9 x 25 x 19 x 19 is far beyond float16."""
    x, weight, scale, offset = (
        torch.randn(1, 64, 4, 4),
        5 * torch.randn(8, 64, 3, 3),
        torch.full((1, 64), 19.0),
        torch.zeros(1, 1),
    )
    expected = convolve_modulated(x, weight, scale, offset)
    half = convolve_modulated(x.half(), weight.half(), scale.half(), offset.half())

    torch.testing.assert_close(half.float(), expected, rtol=0.02, atol=0.02)


def test_images_are_modulated_but_not_demodulated():
    """Scaling the weights gives what scaling the maps gives, in any memory format."""
    x, weight, scale, bias = torch.randn(2, 4, 6, 6), torch.randn(3, 4, 1, 1), torch.randn(2, 4), torch.randn(3)
    expected = F.conv2d(x * scale[:, :, None, None] / 2, weight, bias)

    for maps in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(convert_to_rgb(maps, weight, scale, bias), expected)


def test_resizing_keeps_the_level():
    """A flat map stays flat away from its edges, when it is blurred, doubled or halved."""
    flat = torch.full((1, 2, 8, 8), 3.0)

    assert float(make_filter().sum()) == 1
    for resized in (blur(flat, make_filter(), padding=1, stride=2), upsample(flat, make_filter())):
        inner = resized[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))
    assert upsample(flat, make_filter()).shape == (1, 2, 16, 16)


@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_convolutions_blur_and_then_drop_pixels(kernel: int):
    """A pixel that stays is computed as if none were dropped."""
    layer = Convolution(2, 3, kernel, down=True)
    x = torch.randn(1, 2, 8, 8)
    whole = F.conv2d(blur(x, make_filter(), padding=kernel // 2 + 1), layer.weight * layer.scale, layer.bias)

    torch.testing.assert_close(layer(x), whole[:, :, ::2, ::2])
    assert layer(x).shape == (1, 3, 4, 4)


def test_layers_start_with_outputs_of_unit_size():
    """Weights are scaled at run time: outputs have a mean square near 1, at any rate, which a gain keeps."""
    torch.manual_seed(0)
    for layer, x in (
        (Linear(256, 256), torch.randn(64, 256)),
        (Linear(256, 256, rate=0.01), torch.randn(64, 256)),
        (Convolution(64, 64, 3), torch.randn(4, 64, 16, 16)),
    ):
        layer.bias.data.normal_()
        assert float((layer(x) - layer(0 * x)).detach().square().mean()) == pytest.approx(1, abs=0.2)
        torch.testing.assert_close(layer(x, 3.0), 3 * layer(x), rtol=1e-4, atol=1e-5)
    assert float(rectify(GAIN * torch.randn(1000, 100)).square().mean()) == pytest.approx(1.04, abs=0.02)  # (1 + 0.2^2)
    torch.testing.assert_close(normalize(torch.randn(5, 7)).square().mean(1), torch.ones(5))


def test_deviations_are_those_of_groups_that_interleave():
    """Of eight samples in groups of four, the first is grouped with the third, fifth and seventh."""
    x = torch.randn(8, 2, 4, 4)
    found = append_deviation(x)[:, 2]
    changed = x.clone()
    changed[2] *= 5
    moved = (append_deviation(changed)[:, 2] != found).flatten(1).any(1)

    assert moved.tolist() == [True, False] * 4
    expected = (x[::2].var(0, unbiased=False) + 1e-8).sqrt().mean()
    torch.testing.assert_close(found[0], expected.expand(4, 4))
    assert append_deviation(x[:3], 4).shape == (3, 3, 4, 4)  # one group of three
