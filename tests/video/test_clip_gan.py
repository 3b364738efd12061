"""The architectures of video together: the sizes of their papers, and clips of any length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_gans import moco, style
from helpers.releases import write_model
from torch import nn

from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.releases.loading import load_folder
from zoo.training.augment import Augmentation
from zoo.video.architectures.mocogan import (
    MoCoGAN,
    MoCoGANConfig,
    MoCoGANTrainConfig,
)
from zoo.video.architectures.styleganv import ModulatedConvolution, StyleGANV, StyleGANVConfig, StyleGANVTrainConfig
from zoo.video.architectures.tgan import TGAN, TGANConfig
from zoo.video.architectures.vgan import VGAN, VGANConfig, VGANTrainConfig


@pytest.mark.parametrize(
    ("gan", "config", "counts"),
    [
        (MoCoGAN, MoCoGANConfig(), (3_249_684, 11_056_896, 663_296)),
        (MoCoGAN, MoCoGANConfig(labels=6), (3_249_864, 11_253_504, 663_296)),
        (MoCoGAN, MoCoGANConfig(labels=6, labels_to="image"), (3_298_836, 11_253_504, 663_296)),
        (VGAN, VGANConfig(), (16_245_383, 11_057_858)),
        (TGAN, TGANConfig(), (4_448_135, 11_031_489)),
        (StyleGANV, StyleGANVConfig(resolution=64), (31_158_031, 26_315_776)),
        (StyleGANV, StyleGANVConfig(), (32_105_941, 26_909_504)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_papers_sizes(gan: Callable[..., GAN], config: object, counts: tuple[int, ...]):
    """The defaults are the papers': 3.30 M with the class for G_I, 16.25 M, 0.83 + 3.62 M, 31.2 M, ..."""
    with torch.device("meta"):
        networks = gan(config).networks

    assert tuple(sum(p.numel() for p in network.parameters()) for network in networks.values()) == counts


@pytest.mark.parametrize("make", [moco, style], ids=["mocogan", "styleganv"])
def test_longer_clips_begin_as_shorter_ones(make: Callable[[], MoCoGAN | StyleGANV]):
    """A seed's clip of more frames, or of less, is the same clip continued, or cut; whatever their number."""
    gan = make()
    usual = gan.sample(3, seed=4).tensor
    trained = usual.shape[2]
    longer, shorter = (gan.sample(3, seed=4, frames=frames).tensor for frames in (2 * trained + 3, 3))

    assert longer.shape[2] == 2 * trained + 3
    torch.testing.assert_close(longer[:, :, :trained], usual, rtol=0, atol=2e-5)
    torch.testing.assert_close(shorter, usual[:, :, :3], rtol=0, atol=2e-5)
    longest = gan.sample(3, seed=4, frames=4 * trained).tensor
    torch.testing.assert_close(longest[:, :, : longer.shape[2]], longer, rtol=0, atol=2e-5)
    fewer = gan.sample(2, seed=4, frames=2 * trained + 3, batch_size=1).tensor
    torch.testing.assert_close(fewer, longer[:2], rtol=0, atol=2e-5)
    assert bool((longer[:, :, -1] != longer[:, :, -2]).any())  # and it still moves
    with pytest.raises(InvalidValueError, match="frames = 0"):
        gan.sample(1, seed=0, frames=0)


@pytest.mark.parametrize("make", [moco, style], ids=["mocogan", "styleganv"])
def test_frames_are_generated_in_pieces(make: Callable[[], MoCoGAN | StyleGANV], monkeypatch: pytest.MonkeyPatch):
    """However many clips are asked for at once, and however long: at most 128 frames lie in memory as maps together."""
    sizes: list[int] = []
    for module in (nn.ConvTranspose2d, ModulatedConvolution):
        forward = module.forward

        def counted(self: nn.Module, x: torch.Tensor, *args: Any, _forward: Any = forward) -> torch.Tensor:
            sizes.append(len(x))
            return _forward(self, x, *args)

        monkeypatch.setattr(module, "forward", counted)
    gan = make()
    gan.sample(64, seed=0, batch_size=64)
    gan.sample(4, seed=0, frames=100)
    gan.sample(2, seed=0, frames=300)

    assert max(sizes) == 128


def test_augmentation_is_the_same_in_all_frames():
    """A clip whose frames are alike has frames alike when it was changed, whatever the policy."""
    clips = torch.rand(8, 3, 1, 16, 16).expand(-1, -1, 5, -1, -1)
    for policy in ("color", "translation", "cutout"):
        train = load_recipe("video-styleganv", [f"train.augment={policy}"]).train
        changed = Augmentation(train, clips.device)(clips, Noise(0))
        assert not torch.equal(changed, clips)
        torch.testing.assert_close(changed, changed[:, :, :1].expand_as(changed))


def test_the_command_line_asks_for_an_action_and_a_length(tmp_path: Path, command: Callable[..., tuple[int, str, str]]):
    """`--label` and `--frames` reach the model; an option that the model lacks is refused."""
    recipe = load_recipe("video-mocogan", ["model.resolution=16", "model.width=2"])
    folder = write_model(recipe, tmp_path / "model")
    assert load_folder(folder).labels == ("right", "down")

    code, out, _ = command("sample", folder, "-n", 2, "--label", "down", "--frames", 20, "--out", tmp_path / "a.webp")
    assert (code, "2 samples" in out) == (0, True)
    code, _, errors = command("sample", folder, "--label", "dwon", "--out", tmp_path / "b.webp")
    assert code == 2
    assert 'Did you mean "down"' in errors
    code, _, errors = command("sample", folder, "--temperature", 0.5, "--out", tmp_path / "b.webp")
    assert code == 2
    assert "it does not write token by token" in errors


def test_a_model_of_one_length_says_so(tmp_path: Path, command: Callable[..., tuple[int, str, str]]):
    """VGAN's length is its architecture's."""
    recipe = load_recipe("video-vgan", ["model.resolution=16", "model.width=2"])
    folder = write_model(recipe, tmp_path / "model")
    code, _, errors = command("sample", folder, "--frames", 64, "--out", tmp_path / "b.webp")

    assert code == 2
    assert "takes no frames: it makes samples of one length" in errors


@pytest.mark.parametrize(
    ("train", "changes", "named"),
    [
        (VGANTrainConfig, {"augment": ("translation",)}, "train.augment: the training of VGAN"),
        (VGANTrainConfig, {"loss": "relativistic"}, 'train.loss = "relativistic"'),
        (MoCoGANTrainConfig, {"gradient_penalty": 10.0}, "train.gradient_penalty: the training of MoCoGAN"),
        (StyleGANVTrainConfig, {"gradient_penalty": 10.0}, "train.gradient_penalty: the training of StyleGAN-V"),
    ],
)
def test_settings_that_a_training_does_not_use_are_refused(train: type, changes: dict[str, Any], named: str):
    with pytest.raises(InvalidValueError, match=named):
        train(**changes)
