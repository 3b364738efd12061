from __future__ import annotations

import pytest
import torch
from scipy import stats

from zoo.nn.counter_noise import counter_noise, draw_keys
from zoo.noise import Noise


def test_the_numbers_are_normal_and_independent():
    """Kolmogorov-Smirnov over all, and no correlation between neighbors, rows, keys one apart, or streams."""
    keys = torch.arange(1000, 1512)
    noise = counter_noise(keys, 32, 32)

    assert noise.dtype == torch.float32
    assert stats.kstest(noise.flatten().numpy()[::7], "norm").pvalue > 0.01
    assert float(noise.mean()) == pytest.approx(0, abs=5e-3)
    assert float(noise.var()) == pytest.approx(1, abs=1e-2)
    others = {
        "next place": (noise[..., :-1], noise[..., 1:]),
        "next row": (noise[:, :-1], noise[:, 1:]),
        "next key": (noise[:-1], noise[1:]),
        "next stream": (noise, counter_noise(keys, 32, 32, stream=1)),
    }
    for name, (a, b) in others.items():
        assert abs(float((a * b).mean())) < 6e-3, name


def test_a_row_depends_on_its_key_and_stream_alone():
    """Any batch, order and number of rows gives a key the same numbers; a stream gives it others."""
    keys = torch.tensor([5, 2**31, 7, 5])
    noise = counter_noise(keys, 3, 4, stream=2)

    assert torch.equal(noise[0], noise[3])
    assert torch.equal(noise[1:3], counter_noise(keys[1:3], 3, 4, stream=2))
    assert not torch.equal(noise[0], counter_noise(keys[:1], 3, 4, stream=3)[0])


def test_keys_have_32_bits_and_follow_the_seed():
    """Each bit is set in half of the keys, few keys are equal, and the first keys of many are those of few."""
    keys = draw_keys(4096, Noise(0))
    bits = keys[:, None] >> torch.arange(32) & 1

    assert 0 <= int(keys.min()) <= int(keys.max()) < 1 << 32
    assert float((bits.float().mean(0) - 0.5).abs().max()) < 0.05
    assert len(keys.unique()) > 4090
    assert torch.equal(draw_keys(7, Noise(0)), keys[:7])


@pytest.mark.gpu
def test_a_gpu_computes_the_same_numbers():
    """CPU and GPU agree to rounding."""
    keys = torch.arange(64)
    torch.testing.assert_close(counter_noise(keys.cuda(), 1000).cpu(), counter_noise(keys, 1000), rtol=0, atol=1e-5)
