"""StyleGAN-V: motion codes, and a discriminator of few frames."""

from __future__ import annotations

import torch
from helpers.clip_gans import style

from zoo.noise import Noise
from zoo.training.phases import Step


def test_motion_codes_are_continuous_and_aligned():
    """At an anchor the code is that anchor's A u, from the left as from the right; between, it takes any time."""
    gan = style()
    noise = torch.randn(2, gan.config.noise_vectors(40), 8)
    times = torch.tensor([[15.999, 16.0, 16.001, 7.5]]).expand(2, -1)
    left, at, right, between = gan.generator.motion(noise, times).unbind(1)
    first, second = gan.generator.motion.convolutions
    codes = second(torch.nn.functional.leaky_relu(first(noise.transpose(1, 2)), 0.2) * 2**0.5).transpose(1, 2)

    torch.testing.assert_close(at, gan.generator.motion.aligners(codes[:, 1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(left, at, rtol=0, atol=1e-2)
    torch.testing.assert_close(right, at, rtol=0, atol=1e-2)
    assert not torch.allclose(between, at, atol=1e-2)


def test_styleganv_sees_frames_in_order_and_when_they_are():
    """Training samples different frames in order; the same frames at other times have another score."""
    gan = style()
    step = Step(gan, torch.rand(6, *gan.sample_shape), Noise(0), train_generator=False)
    times = gan.sample_times(step)

    assert times.shape == (6, 3)
    assert bool((times.diff(dim=1) >= 1).all())
    assert times.unique().numel() > 4
    frames = torch.rand(1, 3, 3, 32, 32)
    near, far = (gan.discriminator(frames, torch.tensor([when])) for when in ([0.0, 1.0, 2.0], [0.0, 7.0, 15.0]))
    assert not torch.allclose(near, far)
