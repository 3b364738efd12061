"""MoCoGAN's training step as one would write it plainly: what benchmarks/textbook.py times."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.noise import Noise
from zoo.video.architectures.mocogan import MoCoGAN, sample_frames


def plain_step(gan: MoCoGAN, real: Tensor, labels: Tensor | None) -> Callable[[], None]:
    """Make a step of both discriminators and the generator of `gan` on real clips, of the classes `labels`.

    Default memory formats and Adam, and the discriminators' gradients left on in the generator's step. Its fakes are
    generated once for all three networks, as here; the released code generates them three times.
    """
    criterion, noise = nn.BCEWithLogitsLoss(), Noise(0)
    networks = (gan.discriminator, gan.image_discriminator, gan.generator)
    clips, images, generator = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), weight_decay=1e-5) for network in networks
    )

    def target_loss(logits: Tensor, real: float) -> Tensor:
        return criterion(logits, torch.full_like(logits, real))

    def category(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels) if labels is not None else logits.new_zeros(())

    def step() -> None:
        fake = gan.generator(gan.latents_for_batch(real, noise, labels))
        clips.zero_grad()
        logits, classes = gan.discriminator.logits(real)
        (target_loss(logits, 1) + target_loss(gan.discriminator(fake.detach()), 0) + category(classes)).backward()
        clips.step()
        images.zero_grad()
        logits_of = [gan.image_discriminator(sample_frames(some, noise)) for some in (real, fake.detach())]
        (target_loss(logits_of[0], 1) + target_loss(logits_of[1], 0)).backward()
        images.step()
        generator.zero_grad()
        logits, classes = gan.discriminator.logits(fake)
        of_images = target_loss(gan.image_discriminator(sample_frames(fake, noise)), 1)
        (target_loss(logits, 1) + of_images + category(classes)).backward()
        generator.step()

    return step
