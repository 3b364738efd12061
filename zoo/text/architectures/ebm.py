"""A residual energy model of text. Deng, Bakhtin, Ott, Szlam & Ranzato 2020, "Residual Energy-Based Models for Text
Generation", arXiv:2004.11714.

A language model P writes token by token, so it judges a text by its beginnings. The energy E reads whole texts, and
corrects P: p(x) = P(x) exp(-E(x)) / Z (equation 1). E learns by noise contrastive estimation against samples of P
(equation 3), which is the discriminator's loss of a GAN whose generator stands still: -E(x) is the logit of "real". The
optimal E makes p the distribution of the data. So this is the one entry where a discriminator lowers the cost of
held-out texts, which no temperature can do.

Sampling: P writes K candidates, and one is chosen with probability in proportion to exp(-E) (section 3.3). It is chosen
by Gumbel noise, which is computed from one more uniform number of each candidate, so that texts stay a function of
their latents. A temperature is P's.

Likelihood: log Z is unknown. The logarithm of the mean of exp(-E) over n samples of P is too low on average, so it
flatters; (2 n - 1) T_n - 2 (n - 1) T_{n-1} is too high (theorem 2), where T_n is that logarithm and T_{n-1} its mean
over all sets of n - 1 of the samples. Both bounds are measured.

Here E is two LSTMs, one of which reads backward. They read P's embedding, which stays as it is. The mean and the
maximum of their states over a text go through two layers, of which the last starts at zero. The paper's E is a
Transformer of the size of BERT.

V = vocabulary, T = length, K = candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.gan import GAN
from zoo.metrics.report import Metric
from zoo.noise import Noise
from zoo.options import MOST_CANDIDATES, CandidateOptions, TemperatureOptions
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.architectures.mle import MLE
from zoo.text.gan import PolicyGAN
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.metrics.language_model import nll_per_token
from zoo.text.policies import eval_mode, likelihood_phase, token_mask
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer

CHUNK = 256  # texts that are sampled, or whose energy is computed, at once
SMALLEST = 2.0**-24  # the distance of uniform float32 numbers, in place of 0


@dataclass(frozen=True, kw_only=True)
class EBMConfig(LSTMConfig):
    """Sizes of the language model (`LSTMConfig`) and of the energy."""

    energy_dim: int = field(default=512, metadata=within(1, 4096))
    """Size of the energy's hidden state in each direction."""
    energy_dropout: float = field(default=0.3, metadata=within(0, 0.9))
    """Dropout of what the energy reads, and of its states."""
    candidates: int = field(default=32, metadata=within(1, MOST_CANDIDATES))
    """Texts of the language model that one is chosen from, K."""


@dataclass(frozen=True, kw_only=True)
class EBMTrainConfig(TrainConfig):
    """`TrainConfig` with a training of the language model in front. `discriminator` is the energy's optimizer."""

    pretrain: OptimizerConfig = OptimizerConfig(lr=1e-3, betas=(0.9, 0.999))
    """Optimizer of the maximum-likelihood training."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the language model is trained; 0 where `start` names a trained one, of text-mle."""

    def __post_init__(self) -> None:
        settings = ("loss", "generator", "generator_interval", "r1_gamma", "gradient_penalty", "augment")
        check_unused(self, "text-ebm", *settings)


@dataclass(frozen=True, kw_only=True)
class EBMOptions(TemperatureOptions, CandidateOptions):
    """Temperature of the language model, and the texts of it that the energy chooses from."""

    def __post_init__(self) -> None:
        TemperatureOptions.__post_init__(self)
        CandidateOptions.__post_init__(self)


class Energy(nn.Module):
    """Embedded tokens [N, T, D] and which of them are text [N, T] -> -E [N]."""

    def __init__(self, config: EBMConfig) -> None:
        super().__init__()
        self.forth = nn.LSTM(config.embedding_dim, config.energy_dim, batch_first=True)
        self.back = nn.LSTM(config.embedding_dim, config.energy_dim, batch_first=True)
        self.hidden = nn.Linear(4 * config.energy_dim, config.energy_dim)
        self.output = nn.Linear(config.energy_dim, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.dropout = nn.Dropout(config.energy_dropout)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        mask = mask[..., None]  # [N, T, 1]
        embedded = self.dropout(embedded)
        turned = embedded.take_along_dim(reverse_places(mask), dim=1)
        mask = mask.to(embedded.dtype)
        # The places of the two halves differ, which neither a mean nor a maximum over places can tell.
        states = torch.cat([self.forth(embedded)[0], self.back(turned)[0]], dim=2)  # [N, T, 2 H]
        mean = (states * mask).sum(1) / mask.sum(1)
        most = (states - 2 * (1 - mask)).amax(1)  # states are above -1, so padding is never the most
        hidden = F.gelu(self.hidden(self.dropout(torch.cat([mean, most], dim=1))))
        return self.output(self.dropout(hidden)).squeeze(1)


def reverse_places(mask: Tensor) -> Tensor:
    """Return the places [N, T, 1] that turn texts with this mask around, and leave the padding behind them."""
    places = torch.arange(mask.shape[1], device=mask.device)[:, None]  # [T, 1]
    lengths = mask.sum(1, keepdim=True).long()
    return torch.where(places < lengths, lengths - 1 - places, places)


class ResidualModel(nn.Module):
    """Latents, uniform in [0, 1) [N, K, T + 1] -> tokens [N, T]: the chosen one of K candidates."""

    def __init__(self, config: EBMConfig) -> None:
        super().__init__()
        self.config = config
        self.policy = LSTMPolicy(config)
        self.energy = Energy(config)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        n, num_candidates, _ = uniforms.shape
        texts = self.policy(uniforms[..., :-1].flatten(0, 1), temperature)
        scores = self.score(texts).view(n, num_candidates)
        gumbel = -torch.log(-torch.log(uniforms[..., -1].clamp_min(SMALLEST)))
        chosen = (scores + gumbel).argmax(1)
        return texts.view(n, num_candidates, -1)[torch.arange(n, device=texts.device), chosen]

    def score(self, tokens: Tensor) -> Tensor:
        """Compute -E [N] of tokens [N, T]: above 0 for texts that are likelier than the language model says."""
        return self.energy(self.policy.embedding(tokens), token_mask(tokens, self.config))


class ResidualEBM(PolicyGAN):
    """Uniform latents [N, K, T + 1] -> tokens [N, T]."""

    Config = EBMConfig
    TrainConfig = EBMTrainConfig
    SampleOptions = EBMOptions

    generator: ResidualModel

    def __init__(self, config: EBMConfig) -> None:
        super().__init__(config)
        self.generator = ResidualModel(config)

    @property
    def policy(self) -> LSTMPolicy:
        return self.generator.policy

    def latents(self, n: int, noise: Noise) -> Tensor:
        return self._latents(n, self.config.candidates, noise)

    def _latents(self, n: int, num_candidates: int, noise: Noise) -> Tensor:
        return noise.uniform(n, num_candidates, self.config.length + 1)

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """Draw the latents of the language model [N, T]: nothing is chosen in the training."""
        return noise.uniform(len(real), self.config.length)

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        num_candidates = options.candidates or self.config.candidates
        return self._latents(n, num_candidates, Noise(seed)), {"temperature": options.temperature}

    @classmethod
    def states_to_start(cls, start: GAN) -> Mapping[str, Mapping[str, Tensor]]:
        """As `GAN.states_to_start`; weights of text-mle are those of the language model."""
        if not isinstance(start, MLE):
            return super().states_to_start(start)
        return {"generator": {f"policy.{name}": tensor for name, tensor in start.generator.state_dict().items()}}

    def phases(self, train: EBMTrainConfig) -> list[Phase]:
        policy, energy, score = self.generator.policy, self.generator.energy, self.generator.score

        def energy_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad(), eval_mode(policy):
                texts = policy(step.latents())
            real, fake = score(step.real), score(texts)
            return {"loss": LOSSES["non_saturating"].discriminator(real, fake), "real": real, "fake": fake}

        return [
            likelihood_phase(policy, train.pretrain, end_kimg=train.pretrain_kimg),
            Phase(
                name="D",
                module=energy,
                loss=energy_loss,
                optimizer=make_optimizer(energy, train.discriminator),
                start_kimg=train.pretrain_kimg,
                max_grad_norm=1.0,
            ),
        ]

    @torch.no_grad()
    def measure_likelihood(self, texts: Tensor, *, draws: int, seed: int) -> list[Metric]:
        """As `TextGAN.measure_likelihood`, from `draws` samples of the language model.

        nll_held_out takes the upper bound of log Z, and nll_lower_bound the lower one. nll_policy is the language
        model's own. energy_accuracy is the share of held-out texts and samples that E takes for what they are.
        effective_candidates is how many of K candidates a choice is made of, on average: 1 / sum of squared shares.
        """
        texts = texts.to(self.device)
        uniforms = Noise(seed).uniform(draws, self.config.length)
        drawn = torch.cat([self.policy(rows.to(self.device)) for rows in uniforms.split(CHUNK)])
        given, sampled = self._score(texts), self._score(drawn)
        policy = nll_per_token(self.policy.logits, texts)
        tokens_per_text = float(token_mask(texts, self.config).sum()) / len(texts)
        low, high = bound_log_mean_exp(sampled)
        gains = [(float(given.mean()) - log_z) / tokens_per_text for log_z in (high, low)]
        num_candidates = min(self.config.candidates, draws)
        shares = sampled[: draws // num_candidates * num_candidates].view(-1, num_candidates).softmax(1)
        accuracy = ((given > 0).double().mean() + (sampled < 0).double().mean()) / 2
        values = {"nll_held_out": policy - gains[0], "nll_lower_bound": policy - gains[1], "nll_policy": policy}
        metrics = [Metric(name=name, value=value, better="lower", count=len(texts)) for name, value in values.items()]
        return [
            *metrics,
            Metric(name="energy_accuracy", value=float(accuracy), better="higher", count=len(texts), seed=seed),
            Metric(
                name="effective_candidates",
                value=float(1 / shares.square().sum(1).mean()),
                better="higher",
                count=len(shares),
                extractor=f"{num_candidates} candidates",
                seed=seed,
            ),
        ]

    def _score(self, texts: Tensor) -> Tensor:
        """Compute -E [N] of texts [N, T], float64 on the CPU."""
        return torch.cat([self.generator.score(rows).double().cpu() for rows in texts.split(CHUNK)])


def bound_log_mean_exp(scores: Tensor) -> tuple[float, float]:
    """Bound the logarithm of the mean of exp of a random number by samples of it [n], n at least 2.

    Both bounds hold on average, and for many samples (theorem 2 of the paper).
    """
    n = len(scores)
    total = scores.logsumexp(0)
    whole = total - math.log(n)
    rest = total + torch.log1p(-(scores - total).exp().clamp_max(1 - 1e-12))  # of the sum without each one
    without = (rest - math.log(n - 1)).mean()
    return float(whole), float((2 * n - 1) * whole - 2 * (n - 1) * without)
