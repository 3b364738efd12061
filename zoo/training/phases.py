"""A GAN is its list of phases: each is one optimiser step of one player (StyleGAN's word). The loop knows no more.

A *turn* is one real batch and all phases that are due on it. Vanilla GAN: D, G. With lazy R1: D, D-R1, G.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.noise import Noise
from zoo.recipe import Optimiser, Train
from zoo.training.augment import diff_augment
from zoo.training.losses import LOSSES, gradient_penalty, r1_penalty

if TYPE_CHECKING:
    from zoo.gan import GAN


class Turn:
    """What the phases of one turn share: the real batch, the random numbers, and the fakes.

    The fakes are generated once, at first use. The discriminator's phases take them detached; the generator's phase
    takes them with their graph, so that a turn costs one pass through the generator, not two.
    """

    def __init__(
        self,
        gan: GAN,
        real: Tensor,
        noise: Noise,
        *,
        generator_plays: bool,
        kimg: float = 0.0,
        labels: Tensor | None = None,
    ) -> None:
        self.gan, self.real, self.noise, self.kimg, self.labels = gan, real, noise, kimg, labels
        self._generator_plays = generator_plays
        self._fake: Tensor | None = None

    @property
    def fake(self) -> Tensor:
        """Samples [N, ...] of the generator as it stands before its own phase."""
        if self._fake is None:
            latents, generator = self.latents(), self.gan.generator
            if self._generator_plays:
                with only(generator):
                    self._fake = generator(latents)
            else:
                with torch.no_grad():
                    self._fake = generator(latents)
        return self._fake

    def latents(self) -> Tensor:
        """New latents, as many as real samples, and of their classes where those have any."""
        return self.gan.latents_like(self.real, self.noise, self.labels).to(self.real.device)


@dataclass(kw_only=True)
class Phase:
    """One optimiser step of one player.

    `loss` maps a turn to named tensors: "loss" is what the player minimises, "real" and "fake" are discriminator
    outputs for the game report, and any other scalar is logged under its name. Phases may share an optimiser.

    The phase is due on every `every`-th turn from `from_kimg` until before `until_kimg`: a pre-training ends where the
    game begins. Gradients longer than `clip_norm` are shortened to it. `memory` is what the phase carries from turn to
    turn besides the players, such as a running mean: it goes into the checkpoints.
    """

    name: str
    player: nn.Module
    loss: Callable[[Turn], Mapping[str, Tensor]]
    optimiser: torch.optim.Optimizer
    every: int = 1
    from_kimg: float = 0.0
    until_kimg: float = math.inf
    clip_norm: float = math.inf
    memory: nn.Module | None = None

    def due(self, turn: int, kimg: float = 0.0) -> bool:
        return turn % self.every == 0 and self.from_kimg <= kimg < self.until_kimg


@contextmanager
def only(player: nn.Module) -> Iterator[None]:
    """Let gradients flow to the parameters of `player` alone, among those that the block touches."""
    parameters = [p for p in player.parameters() if not p.requires_grad]
    for p in parameters:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(False)


def optimiser_for(player: nn.Module, settings: Optimiser) -> torch.optim.Optimizer:
    """The player's optimiser. Fused Adam: one pass over the weights, eight times faster than the loop on a CPU."""
    parameters = list(player.parameters())
    if settings.kind == "sgd":
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=settings.momentum, fused=True)
    if settings.kind == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, weight_decay=0.01, fused=True)
    return torch.optim.Adam(parameters, lr=settings.lr, betas=settings.betas, fused=True)


def adversarial_phases(gan: GAN, train: Train) -> list[Phase]:
    """The two-player game of `train.loss`: D on every turn, its lazy R1 penalty where `r1_gamma` asks, then G.

    The lazy penalty is multiplied by its interval, so that `r1_every` changes its cost and not its strength
    (Karras et al. 2020, arXiv:1912.04958, appendix B).
    """
    loss = LOSSES[train.loss]
    discriminator, generator = gan.discriminator, gan.generator
    discriminator_optimiser = optimiser_for(discriminator, train.discriminator)

    def scores(samples: Tensor, turn: Turn) -> Tensor:
        return discriminator(samples) if turn.labels is None else discriminator(samples, turn.labels)

    def judge(samples: Tensor, turn: Turn) -> Tensor:
        return scores(diff_augment(samples, train.augment, turn.noise), turn)

    def play_discriminator(turn: Turn) -> dict[str, Tensor]:
        fake_samples = turn.fake.detach()
        real, fake = judge(turn.real, turn), judge(fake_samples, turn)
        terms = {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}
        if train.gradient_penalty:
            penalty = gradient_penalty(lambda between: scores(between, turn), turn.real, fake_samples, turn.noise)
            terms |= {"loss": terms["loss"] + train.gradient_penalty * penalty, "gradient_penalty": penalty}
        return terms

    def play_r1(turn: Turn) -> dict[str, Tensor]:
        penalty = r1_penalty(lambda samples: judge(samples, turn), turn.real)
        return {"loss": train.r1_gamma / 2 * train.r1_every * penalty, "r1_penalty": penalty}

    def play_generator(turn: Turn) -> dict[str, Tensor]:
        logits = judge(turn.fake, turn)
        return {"loss": loss.generator(logits - judge(turn.real, turn) if loss.relative else logits)}

    phases = [
        Phase(name="D", player=discriminator, loss=play_discriminator, optimiser=discriminator_optimiser),
        Phase(name="D-R1", player=discriminator, loss=play_r1, optimiser=discriminator_optimiser, every=train.r1_every),
        Phase(
            name="G",
            player=generator,
            loss=play_generator,
            optimiser=optimiser_for(generator, train.generator),
            every=train.generator_every,
        ),
    ]
    return [phase for phase in phases if phase.name != "D-R1" or train.r1_gamma]
