"""Maximum likelihood: the control that every text GAN is held against.

The generator of `text-seqgan` (zoo/text/lstm.py), trained to predict each token of real texts from those before it, and
kept where held-out texts are likeliest (`train.keep = "best"`). There is no discriminator and no game.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.recipe import Train, refuse_unplayed
from zoo.text.base import PolicyGAN, likelihood_phase
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class MLETrain(Train):
    def __post_init__(self) -> None:
        of_two = ("loss", "discriminator", "generator_every", "r1_gamma", "gradient_penalty", "augment")
        refuse_unplayed(self, "one player", *of_two)


class MLE(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]."""

    Config = LSTMConfig
    Train = MLETrain

    generator: LSTMPolicy

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.generator = LSTMPolicy(config)

    def phases(self, train: MLETrain) -> list[Phase]:
        return [likelihood_phase(self.generator, train.generator)]
