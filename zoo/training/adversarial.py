"""The phases of two networks with an adversarial loss: what most architectures return from `phases`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.gan import GAN
from zoo.recipe import TrainConfig
from zoo.training.augment import Augmentation
from zoo.training.losses import LOSSES, Penalties
from zoo.training.phases import Phase, Step, make_optimizer


def adversarial_phases(
    gan: GAN, train: TrainConfig, *, generate: Callable[[Step], Tensor] = lambda step: step.fake
) -> list[Phase]:
    """Make the phases of `train.loss`: D on every step, its lazy R1 penalty where `r1_gamma` asks for it, then G.

    Args:
        generate: the fakes of a step, the same for all its phases.
    """
    loss, penalties = LOSSES[train.loss], Penalties.of(train, gan.discriminator)
    discriminator, generator = gan.discriminator, gan.generator
    discriminator_optimizer = make_optimizer(discriminator, train.discriminator)
    augment = Augmentation(train, gan.device)

    def discriminate(samples: Tensor, step: Step) -> Tensor:
        return _score(discriminator, augment(samples, step.noise), step.labels)

    def discriminator_loss(step: Step) -> dict[str, Tensor]:
        fake_samples = generate(step).detach()
        real, fake = discriminate(step.real, step), discriminate(fake_samples, step)
        terms = {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}
        if train.gradient_penalty:
            labels = step.labels
            penalty = penalties.gradient_penalty(
                lambda between: _score(discriminator, between, labels), step.real, fake_samples, step.noise
            )
            terms |= {"loss": terms["loss"] + train.gradient_penalty * penalty, "gradient_penalty": penalty}
        return terms | augment.observe(real)

    def compute_r1(step: Step) -> Tensor:
        real, labels = step.real, step.labels
        # The numbers come first, so that a compiled penalty has no stream of random numbers inside.
        draws = augment.draw(len(real), step.noise, real.device)
        return penalties.r1(
            lambda samples: _score(discriminator, augment.apply_draws(samples, draws), labels),
            real,
            step.noise,
        )

    def generator_loss(step: Step) -> dict[str, Tensor]:
        logits = discriminate(generate(step), step)
        return {"loss": loss.generator(logits - discriminate(step.real, step) if loss.relative else logits)}

    return [
        Phase(
            name="D",
            module=discriminator,
            loss=discriminator_loss,
            optimizer=discriminator_optimizer,
            extra_state=augment.extra_state,
            after=augment.adapt,
        ),
        *r1_phases(train, discriminator, discriminator_optimizer, compute_r1),
        Phase(
            name="G",
            module=generator,
            loss=generator_loss,
            optimizer=make_optimizer(generator, train.generator),
            interval=train.generator_interval,
        ),
    ]


def r1_phases(
    train: TrainConfig,
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    compute: Callable[[Step], Tensor],
    *,
    name: str = "D-R1",
    term: str = "r1_penalty",
) -> list[Phase]:
    """Make the phase of a lazy R1 penalty; none where `train.r1_gamma` is 0.

    The penalty is multiplied by its interval. So `r1_interval` changes its cost and not its strength (Karras et al.
    2020, arXiv:1912.04958, appendix B).

    Args:
        compute: the penalty of a step, a scalar without its weight.
        name: of the phase.
        term: the name of the penalty in the log.
    """
    if not train.r1_gamma:
        return []

    def compute_loss(step: Step) -> dict[str, Tensor]:
        penalty = compute(step)
        return {"loss": train.compute_r1_gamma(step.kimg) / 2 * train.r1_interval * penalty, term: penalty}

    return [Phase(name=name, module=discriminator, loss=compute_loss, optimizer=optimizer, interval=train.r1_interval)]


def penalized_phases(
    gan: GAN, train: TrainConfig, *, encode: Callable[[Tensor], Tensor], generate: Callable[[Step], Tensor]
) -> list[Phase]:
    """Make the phases D and G of WGAN-GP for a critic that sees something else than samples, e.g. their spectrograms.

    Args:
        encode: what the critic sees of real samples.
        generate: what the critic sees of new samples, with gradients.
    """
    generator, critic, loss, penalties = (
        gan.generator,
        gan.discriminator,
        LOSSES[train.loss],
        Penalties.of(train, gan.discriminator),
    )

    def discriminator_loss(step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            fakes, reals = generate(step), encode(step.real)
        labels = step.labels
        real, fake = _score(critic, reals, labels), _score(critic, fakes, labels)
        penalty = penalties.gradient_penalty(lambda between: _score(critic, between, labels), reals, fakes, step.noise)
        return {
            "loss": loss.discriminator(real, fake) + train.gradient_penalty * penalty,
            "real": real,
            "fake": fake,
            "gradient_penalty": penalty,
        }

    def generator_loss(step: Step) -> dict[str, Tensor]:
        return {"loss": loss.generator(_score(critic, generate(step), step.labels))}

    return [
        Phase(name="D", module=critic, loss=discriminator_loss, optimizer=make_optimizer(critic, train.discriminator)),
        Phase(
            name="G",
            module=generator,
            loss=generator_loss,
            optimizer=make_optimizer(generator, train.generator),
            interval=train.generator_interval,
        ),
    ]


def _score(discriminator: nn.Module, samples: Tensor, labels: Tensor | None) -> Tensor:
    return discriminator(samples) if labels is None else discriminator(samples, labels)
