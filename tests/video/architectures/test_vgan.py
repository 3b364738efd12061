"""VGAN: a moving foreground over a still background."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.clip_gans import gradients_of

from zoo.errors import InvalidValueError
from zoo.video.architectures.vgan import VGAN, VGANConfig, VGANTrainConfig, compose


def test_vgan_pays_for_its_mask():
    """The mask's mean costs what `train.mask_weight` says: the gradient at its head differs by just that."""
    gan = VGAN(VGANConfig(resolution=16, frames=16, width=2))
    state = copy.deepcopy(gan.state_dict())
    gradients = []
    for weight in (0.0, 0.1, 0.2):
        gan.zero_grad()
        gan.load_state_dict(state)
        gradients.append({k: v.clone() for k, v in gradients_of(gan, VGANTrainConfig(mask_weight=weight), "G").items()})
    name = next(key for key in gradients[0] if "mask" in key)
    first, second = (later[name] - gradients[0][name] for later in gradients[1:])

    assert float(first.abs().sum()) > 0
    torch.testing.assert_close(second, 2 * first, rtol=1e-3, atol=1e-7)


def test_vgan_lays_the_foreground_over_a_still_background():
    """Where the mask is 0 there is the background, in every frame; where it is 1 the foreground."""
    foreground, background = torch.rand(1, 3, 4, 2, 2), torch.rand(1, 3, 1, 2, 2)
    mask = torch.zeros(1, 1, 4, 2, 2)
    mask[..., 0] = 1
    clip = compose(foreground, mask, background)

    torch.testing.assert_close(clip[..., 0], foreground[..., 0])
    torch.testing.assert_close(clip[..., 1], background.expand_as(foreground)[..., 1])


def test_vgan_space_and_time_double_together():
    """Other lengths than multiples of the doublings are refused."""
    with pytest.raises(InvalidValueError, match="a multiple of 16"):
        VGANConfig(frames=24)
