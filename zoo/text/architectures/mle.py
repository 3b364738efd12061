"""Maximum likelihood: the control that every text GAN is held against.

The generator of `text-seqgan` (zoo/text/lstm.py), trained to predict each token of real texts from those before it, and
kept where held-out texts are likeliest (`train.keep = "best"`). There is no discriminator and no game.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.recipe import TrainConfig, check_unused
from zoo.text.gan import PolicyGAN
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.policies import likelihood_phase
from zoo.training.phases import Phase


@dataclass(frozen=True, kw_only=True)
class MLETrainConfig(TrainConfig):
    def __post_init__(self) -> None:
        of_two = ("loss", "discriminator", "generator_interval", "r1_gamma", "gradient_penalty", "augment")
        check_unused(self, "one player", *of_two)


class MLE(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]."""

    Config = LSTMConfig
    TrainConfig = MLETrainConfig

    generator: LSTMPolicy

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.generator = LSTMPolicy(config)

    def phases(self, train: MLETrainConfig) -> list[Phase]:
        return [likelihood_phase(self.generator, train.generator)]
