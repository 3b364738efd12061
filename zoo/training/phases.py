"""A GAN is trained in phases: each is one optimizer step of one network, as in StyleGAN. The loop knows no more.

A *step* is one real batch and all phases that are due on it. Vanilla GAN: D, G. With lazy R1: D, D-R1, G.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from zoo.device import send
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig

if TYPE_CHECKING:
    from zoo.gan import GAN


class Step:
    """What the phases of one step share: the real batch, the random numbers, and the fakes.

    The fakes are generated once, at first use. Phases of the discriminator detach them. The generator's phase needs
    their graph, so that a step costs one pass through the generator and not two.
    """

    def __init__(
        self,
        gan: GAN,
        real: Tensor,
        noise: Noise,
        *,
        train_generator: bool,
        number: int = 0,
        kimg: float = 0.0,
        labels: Tensor | None = None,
    ) -> None:
        self.gan, self.real, self.noise, self.number, self.kimg = gan, real, noise, number, kimg
        self.labels = labels if gan.USES_LABELS else None
        self._train_generator = train_generator
        self._fake: Tensor | None = None

    def replace(self, **values: Any) -> Self:
        """Return a copy with other values, and no fakes yet."""
        changed = copy.copy(self)
        for name, value in values.items():
            setattr(changed, name, value)
        changed.forget_fake()
        return changed

    def forget_fake(self) -> None:
        """Let the next use of `fake` generate others."""
        self._fake = None

    @property
    def fake(self) -> Tensor:
        """Samples [N, ...] of the generator as it is before its own phase."""
        return self.generate(self.gan.generator)

    def generate(self, generate: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `fake`. At its first use `generate` makes it of new latents, for generators with more arguments."""
        if self._fake is None:
            latents = self.latents()
            if self._train_generator:
                with trainable(self.gan.generator):
                    self._fake = generate(latents)
            else:
                with torch.no_grad():
                    self._fake = generate(latents)
        return self._fake

    def latents(self) -> Tensor:
        """Draw new latents, as many as real samples, and of their classes where those have any."""
        return send(self.gan.latents_for_batch(self.real, self.noise, self.labels), self.real.device)


@dataclass(kw_only=True)
class Phase:
    """One optimizer step of one network.

    `loss` maps a step to named tensors: "loss" is what the module minimizes, "real" and "fake" are discriminator
    outputs for the training report, and any other scalar is logged under its name. Phases may share an optimizer.

    The phase is due on every `interval`-th step from `start_kimg` until before `end_kimg`. Gradients whose norm exceeds
    `max_grad_norm` are scaled down to it. `extra_state` is what the phase keeps between steps besides the networks,
    such as a running mean; checkpoints contain it. `after` follows the update. It may go by the number of the step or
    by the progress; a loss may compute with them, and not decide by them, where steps become CUDA graphs.
    """

    name: str
    module: nn.Module
    loss: Callable[[Step], Mapping[str, Tensor]]
    optimizer: torch.optim.Optimizer
    interval: int = 1
    start_kimg: float = 0.0
    end_kimg: float = math.inf
    max_grad_norm: float = math.inf
    extra_state: nn.Module | None = None
    after: Callable[[Step], None] | None = None

    def is_due(self, step: int, kimg: float = 0.0) -> bool:
        """Tell whether the phase runs in the step with this number, at this progress."""
        return step % self.interval == 0 and self.start_kimg <= kimg < self.end_kimg


@contextmanager
def trainable(module: nn.Module, *, frozen: Collection[nn.Parameter] = ()) -> Iterator[None]:
    """Let gradients reach the parameters of `module` inside the block, but for `frozen`; all others stay frozen."""
    kept = set(map(id, frozen))
    parameters = [p for p in module.parameters() if not p.requires_grad and id(p) not in kept]
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(False)


_FUSED = ("cpu", "cuda", "mps")  # devices with fused optimizers


def make_optimizer(module: nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Make the optimizer of a module. Fused Adam passes over the weights once: eight times faster on a CPU."""
    parameters = list(module.parameters())
    fused = all(p.device.type in _FUSED for p in parameters)
    lr, decay = settings.lr, settings.weight_decay
    if settings.kind == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=settings.momentum, weight_decay=decay, fused=fused)
    if settings.kind == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, momentum=settings.momentum, weight_decay=decay)
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, betas=settings.betas, weight_decay=0.01, fused=fused)
    return torch.optim.Adam(parameters, lr=lr, betas=settings.betas, weight_decay=decay, fused=fused)
