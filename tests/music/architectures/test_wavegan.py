"""WaveGAN: the sizes of the paper, phase shuffle and the filter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.errors import InvalidValueError
from zoo.music.architectures.wavegan import PhaseShuffle, PostFilter, WaveGAN, WaveGANConfig


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("width", "millions"), [(64, (19.07, 17.43)), (32, (5.18, 4.36)), (16, (1.50, 1.09))])
def test_wavegan_has_the_papers_sizes(width: int, millions: tuple[float, float]):
    """Generator and critic of 16384 samples have the parameters that table 3's layers make."""
    with torch.device("meta"):
        gan = WaveGAN(WaveGANConfig(width=width))
    assert tuple(round(count(network) / 1e6, 2) for network in gan.networks.values()) == millions


@pytest.mark.parametrize("length", [16384, 32768, 65536])
def test_wavegan_makes_longer_sounds(length: int):
    """Twice and four times as long, by one more layer in each network."""
    gan = WaveGAN(WaveGANConfig(width=2, length=length)).eval()
    samples = gan.sample(2, seed=0)
    assert samples.tensor.shape == (2, 1, length)
    assert gan.discriminator(samples.tensor).shape == (2,)
    with pytest.raises(InvalidValueError, match="16384, 32768, 65536"):
        WaveGANConfig(length=20000)


def test_phase_shuffle_shifts_a_batch_by_one_step():
    """All features of a layer move by the same random step in [-2, 2], the edge mirrored; in evaluation none does."""
    torch.manual_seed(0)
    shuffle, features = PhaseShuffle(2).train(), torch.arange(24.0).reshape(2, 1, 12)

    seen = set()
    for _ in range(60):
        moved = shuffle(features)
        shift = int(moved[0, 0, 5] - features[0, 0, 5])
        seen.add(shift)
        assert torch.equal(moved[..., 2:-2], features[..., 2:-2] + shift)
        if shift == 2:
            assert moved[0, 0].tolist() == [*range(2, 12), 10, 9]
        if shift == -2:
            assert moved[0, 0].tolist() == [2, 1, *range(10)]
    assert seen == {-2, -1, 0, 1, 2}
    assert torch.equal(shuffle.eval()(features), features)


def test_post_filter_is_a_convolution():
    """By Fourier transform or by definition: the same filter, for even and odd numbers of taps."""
    torch.manual_seed(0)
    wave = torch.randn(3, 1, 1000)
    for taps in (512, 7):
        layer = PostFilter(taps)
        plain = F.conv1d(F.pad(wave, ((taps - 1) // 2, taps // 2)), layer.weight)
        torch.testing.assert_close(layer(wave), plain, rtol=0, atol=1e-5)
