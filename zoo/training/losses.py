"""Adversarial losses, as functions of the discriminator's raw outputs (logits) [N] on real and on fake samples.

Each states the discriminator's loss at equilibrium: the generator's distribution is that of the data, and no
discriminator can tell them apart. It is the zero point of the training report.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An adversarial loss: what the discriminator and the generator minimize."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real logits, fake logits) -> scalar to minimize
    generator: Callable[[Tensor], Tensor]  # fake logits -> scalar to minimize
    equilibrium: float  # the discriminator's loss where real and fake are equal
    relative: bool = False  # the generator's loss takes fake logits minus real ones


def _binary_cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Compute -log D(x) - log(1 - D(G(z))), D = sigmoid(logit): Goodfellow et al. 2014, equation 1, negated."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


LOSSES: dict[str, Loss] = {
    # Goodfellow et al. 2014, equation 1: the generator minimizes log(1 - D(G(z))), which saturates while D wins.
    "minimax": Loss(
        discriminator=_binary_cross_entropy,
        generator=lambda fake: -F.softplus(fake).mean(),
        equilibrium=math.log(4),
    ),
    # Goodfellow et al. 2014, section 3: the generator maximizes log D(G(z)); the same fixed point, stronger gradients.
    "non_saturating": Loss(
        discriminator=_binary_cross_entropy,
        generator=lambda fake: F.softplus(-fake).mean(),
        equilibrium=math.log(4),
    ),
    # Mao et al. 2017, arXiv:1611.04076, equation 9 (a = 0, b = c = 1); both outputs are 1/2 at equilibrium.
    "least_squares": Loss(
        discriminator=lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        generator=lambda fake: (fake - 1).square().mean() / 2,
        equilibrium=1 / 4,
    ),
    # Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equations 16 and 17.
    "hinge": Loss(
        discriminator=lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        generator=lambda fake: -fake.mean(),
        equilibrium=2.0,
    ),
    # Jolicoeur-Martineau 2018, arXiv:1807.00734, equations 1 and 2: the discriminator tells which of a pair is real.
    "relativistic": Loss(
        discriminator=lambda real, fake: F.softplus(fake - real).mean(),
        generator=lambda lead: F.softplus(-lead).mean(),
        equilibrium=math.log(2),
        relative=True,
    ),
    # Arjovsky et al. 2017, arXiv:1701.07875, equation 2; the critic needs a Lipschitz bound: gradient_penalty.
    "wasserstein": Loss(
        discriminator=lambda real, fake: fake.mean() - real.mean(),
        generator=lambda fake: -fake.mean(),
        equilibrium=0.0,
    ),
}


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Compute E |grad D(x)|^2 on real samples [N, ...]; the loss adds gamma / 2 of it.

    Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, equation 9.
    """
    return _squared_gradient_norm(discriminator, real).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
    """Compute E (|grad D(x)| - 1)^2 at one uniform point on each line from a real to a fake sample [N, ...].

    Gulrajani et al. 2017, arXiv:1704.00028, equation 3; the paper weighs it by 10.
    """
    share = noise.uniform(len(real), *[1] * (real.dim() - 1)).to(real.device)
    between = torch.lerp(real, fake, share)
    return (_squared_gradient_norm(discriminator, between).clamp_min(1e-12).sqrt() - 1).square().mean()


def _squared_gradient_norm(discriminator: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    inputs = inputs.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(inputs).sum(), inputs, create_graph=True)
    return gradient.square().flatten(1).sum(1)  # [N]
