"""Maximum likelihood: the control that every text GAN is compared with.

The generator is that of `text-seqgan` (zoo/text/lstm.py). It learns to predict each token of real texts from the tokens
before it. The checkpoint that gives held-out texts the highest likelihood is kept (`train.keep = "best"`). There is no
discriminator.
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
    """`TrainConfig`, without what needs a discriminator."""

    def __post_init__(self) -> None:
        settings = ("loss", "discriminator", "generator_interval", "r1_gamma", "gradient_penalty", "augment")
        check_unused(self, "text-mle", *settings)


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
