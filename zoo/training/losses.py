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
from torch import Tensor, nn

from zoo.device import send
from zoo.nn.compiling import compile_function
from zoo.nn.counter_noise import counter_noise, draw_keys
from zoo.nn.precision import use_float32
from zoo.noise import Noise
from zoo.recipe import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An adversarial loss: what the discriminator and the generator minimize."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real logits, fake logits) -> scalar to minimize
    generator: Callable[[Tensor], Tensor]  # fake logits -> scalar to minimize
    equilibrium: float  # the discriminator's loss where real and fake are equal
    relative: bool = False  # the generator's loss takes fake logits minus real ones
    slope: Callable[[Tensor], Tensor] | None = None
    """Of a loss that saturates while the discriminator wins: fake logits -> how steep the generator's loss is there,
    over its steepness at equilibrium."""


def _binary_cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Compute -log D(x) - log(1 - D(G(z))), D = sigmoid(logit): Goodfellow et al. 2014, equation 1, negated."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


LOSSES: dict[str, Loss] = {
    # Goodfellow et al. 2014, equation 1: the generator minimizes log(1 - D(G(z))), which saturates while D wins.
    "minimax": Loss(
        discriminator=_binary_cross_entropy,
        generator=lambda fake: -F.softplus(fake).mean(),
        equilibrium=math.log(4),
        slope=lambda fake: 2 * fake.sigmoid(),
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


class Penalties:
    """The penalties on the gradients of a discriminator, computed as `train.penalty` and `train.compile` say.

    Exact norms are differentiated twice. `torch.compile` cannot do that to a compiled network, and has returned wrong
    gradients where it tried. So the network is run uncompiled, or its gradient is taken inside one compiled function.

    Approximate norms are finite differences along one random direction, and need no second derivative. With
    e ~ N(0, I), the mean of d^2 with d = (D(x + s e) - D(x)) / s is |grad D(x)|^2, and that of |d| is sqrt(2 / pi)
    times the norm.
    """

    STEP = 0.01
    """The length s of a finite difference."""

    def __init__(self, *, approximate: bool = False, compiled: bool = False) -> None:
        self.approximate = approximate
        self._exact = compile_function(_differentiate_inside) if compiled else _differentiate

    @classmethod
    def of(cls, train: TrainConfig, *discriminators: nn.Module) -> Penalties:
        """Make the penalties of a recipe. Batch norms count their batches, which no function compiled so may do."""
        layers = (layer for network in discriminators for layer in network.modules())
        counts = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)
        return cls(approximate=train.penalty == "approximate", compiled=train.compile and not counts)

    def r1(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, noise: Noise) -> Tensor:
        """Compute E |grad D(x)|^2 on real samples [N, ...]; the loss adds gamma / 2 of it.

        Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, equation 9.
        """
        if self.approximate:
            return self._difference(discriminator, real, noise).square().mean()
        return self._squared_norm(discriminator, real).mean()

    def gradient_penalty(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, noise: Noise
    ) -> Tensor:
        """Compute E (|grad D(x)| - 1)^2 at one uniform point on each line from a real to a fake sample [N, ...].

        Gulrajani et al. 2017, arXiv:1704.00028, equation 3; the paper weighs it by 10.
        """
        share = send(noise.uniform(len(real), *[1] * (real.dim() - 1)), real.device)
        between = torch.lerp(real, fake, share)
        if self.approximate:
            difference = self._difference(discriminator, between, noise).abs()
            return (difference.square() - 2 * math.sqrt(math.pi / 2) * difference + 1).mean()
        return (self._squared_norm(discriminator, between).clamp_min(1e-12).sqrt() - 1).square().mean()

    def _squared_norm(self, discriminator: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        with use_float32(inputs.device):
            gradient = self._exact(discriminator, inputs.detach().float())
            return gradient.square().flatten(1).sum(1)  # [N]

    def _difference(self, discriminator: Callable[[Tensor], Tensor], inputs: Tensor, noise: Noise) -> Tensor:
        """Compute directional derivatives [N], each along a random direction of its own."""
        direction = counter_noise(send(draw_keys(len(inputs), noise), inputs.device), *inputs.shape[1:])
        inputs = inputs.detach()
        restart = _keep_random_state(inputs.device)
        moved = discriminator(torch.add(inputs, direction.to(inputs), alpha=self.STEP))
        restart()
        difference = (moved - discriminator(inputs)).float() / self.STEP
        return difference.flatten(1).sum(1) if difference.dim() > 1 else difference


def _keep_random_state(device: torch.device) -> Callable[[], None]:
    """Return a function that lets dropout and the like draw again the numbers that follow now."""
    cpu = torch.get_rng_state()
    own = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restart() -> None:
        torch.set_rng_state(cpu)
        if own is not None:
            torch.cuda.set_rng_state(own, device)

    return restart


def _differentiate(discriminator: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    inputs = inputs.requires_grad_()
    with torch.compiler.set_stance("force_eager"):
        return torch.autograd.grad(discriminator(inputs).sum(), inputs, create_graph=True)[0]


def _differentiate_inside(discriminator: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return torch.func.grad(lambda samples: discriminator(samples).sum())(inputs)
