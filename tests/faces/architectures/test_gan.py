"""The original GAN has the size of the paper's networks by default."""

from __future__ import annotations

from zoo.faces.architectures.gan import VanillaGAN


def test_parameters_of_the_defaults():
    """1,200 rectifiers in two layers, and 240 maxout units of 5 pieces in two layers, on 32 x 32 x 3 values."""
    gan = VanillaGAN(VanillaGAN.Config())
    counts = [sum(p.numel() for p in network.parameters()) for network in (gan.generator, gan.discriminator)]

    assert counts == [5_251_872, 3_977_041]
