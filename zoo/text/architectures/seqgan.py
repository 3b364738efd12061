"""SeqGAN. Yu, Zhang, Wang & Yu 2017, "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient",
arXiv:1609.05473.

Tokens are discrete, so no gradient passes from the discriminator to the generator. Instead the generator is a policy,
and a token is an action. Its reward Q is the discriminator's mean output on N texts that start with it, which a
roll-out policy completes (equation 4). The policy gradient of equation 6 is REINFORCE: it weights the gradient of each
token's log-probability by the token's reward. The paper has no baseline; `baseline` subtracts the batch's mean at each
position. In Algorithm 1 the generator is first trained by maximum likelihood, then the discriminator alone, then both
alternately.

The discriminator is that of section 3 ("The discriminative model"): convolutions of many widths over embedded tokens,
max-over-time pooling, one highway layer (Srivastava et al. 2015, equation 12 of the paper's appendix), dropout. The
widths and numbers of maps are those of the authors' experiments at T = 20. The paper's softmax over two outputs is the
sigmoid of their difference, so there is one logit here. The weight decay is on the last layer alone.

The roll-out policy of Algorithm 1 follows the generator with a delay. `rollout_delay` is the share of its old weights
that it keeps at each step. At 0 it is the generator itself, as in the authors' experiments.

What does the discriminator add? The paper has no controls for this question. With `reward = "constant"` the rewards are
1, and with `reward = "noise"` they are uniform random numbers; all else stays.

V = vocabulary, T = length, W = kernel widths, M = all feature maps together (1,720 in the paper).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import send
from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.gan import PolicyGAN
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.policies import RecurrentPolicy, eval_mode, likelihood_phase, token_mask
from zoo.text.rollout import complete_prefixes
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig(LSTMConfig):
    """Sizes of the generator (`LSTMConfig`) and of the discriminator."""

    discriminator_embedding_dim: int = field(default=64, metadata=within(1, 4096))
    """Size of a token's embedding in the discriminator."""
    kernel_widths: tuple[int, ...] = field(default=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20), metadata=within(1, 1024))
    """Widths of the discriminator's convolutions, W."""
    kernel_maps: tuple[int, ...] = field(
        default=(100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160), metadata=within(1, 4096)
    )
    """Feature maps of each convolution, one number for each width."""
    discriminator_dropout: float = field(default=0.25, metadata=within(0, 0.9))
    """Dropout before the discriminator's last layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.kernel_widths) != len(self.kernel_maps) or not self.kernel_widths:
            raise InvalidValueError(
                f"model.kernel_widths has {len(self.kernel_widths)} numbers and model.kernel_maps "
                f"{len(self.kernel_maps)}: each width needs its number of maps"
            )


@dataclass(frozen=True, kw_only=True)
class SeqGANTrainConfig(TrainConfig):
    """`TrainConfig` with pre-training and Monte-Carlo search. `generator` is of the adversarial training."""

    pretrain: OptimizerConfig = OptimizerConfig(lr=1e-2)
    """Optimizer of the maximum-likelihood training."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the generator is trained by maximum likelihood."""
    discriminator_kimg: float = field(default=0.0, metadata=within(0))
    """For this long after that, the discriminator is trained alone."""
    rollouts: int = field(default=16, metadata=within(1, 256))
    """Completions of each prefix, N."""
    rollout_delay: float = field(default=0.0, metadata=within(0, 0.9999))
    """Share of its old weights that the roll-out policy keeps at each step. 0: it is the generator."""
    reward: Literal["discriminator", "constant", "noise"] = "discriminator"
    """What rewards the generator; `constant` (1) and `noise` (random numbers) are controls."""
    baseline: bool = False
    """Whether the mean reward of the batch is subtracted at each position."""
    discriminator_weight_decay: float = field(default=0.2, metadata=within(0))
    """L2 penalty on the weights of the discriminator's last layer."""

    def __post_init__(self) -> None:
        check_unused(self, "SeqGAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class Discriminator(nn.Module):
    """Tokens [N, T] -> logits [N], above 0 for "real"."""

    def __init__(self, config: SeqGANConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.discriminator_embedding_dim)
        nn.init.uniform_(self.embedding.weight, -1, 1)
        widths = [min(width, config.length) for width in config.kernel_widths]  # a text may be shorter than a kernel
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.discriminator_embedding_dim, maps, width)
            for width, maps in zip(widths, config.kernel_maps, strict=True)
        )
        num_maps = sum(config.kernel_maps)
        self.transform = nn.Linear(num_maps, num_maps)
        self.gate = nn.Linear(num_maps, num_maps)
        self.dropout = nn.Dropout(config.discriminator_dropout)
        self.output = nn.Linear(num_maps, 1)
        for layer in (*self.convolutions, self.transform, self.gate, self.output):
            nn.init.trunc_normal_(layer.weight, 0.0, 0.1, -0.2, 0.2)
            nn.init.constant_(layer.bias, 0.1)
        nn.init.zeros_(self.gate.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens).transpose(1, 2)  # [N, E, T]
        return self.classify(torch.cat([layer(embedded).amax(2) for layer in self.convolutions], dim=1))

    def classify(self, features: Tensor) -> Tensor:
        """Compute logits [N] from the maximum of each feature map [N, M]: the highway and the output layer."""
        maps = F.relu(features)
        gate = torch.sigmoid(self.gate(maps))
        return self.output(self.dropout(gate * F.relu(self.transform(maps)) + (1 - gate) * maps)).squeeze(1)

    def score_completions(self, tokens: Tensor, completions: Tensor, *, chunk: int = 16) -> Tensor:
        """Compute the logits [N, T - 1, R] of R completions [N, T - 1, R, T] of each prefix of texts [N, T].

        The result is that of `forward`, with less work. A convolution inside the prefix gives the same value in all its
        completions, so it is computed once. `chunk` texts at a time stay in the processor's cache.
        """
        parts = zip(tokens.split(chunk), completions.split(chunk), strict=True)
        return torch.cat([self._score_completions(*some) for some in parts])

    def _score_completions(self, tokens: Tensor, completions: Tensor) -> Tensor:
        embedded = self.embedding(tokens).transpose(1, 2)  # [N, E, T]
        prefixes = [layer(embedded).cummax(2).values for layer in self.convolutions]  # [N, M, T - W + 1] each
        logits = []
        for t, texts in enumerate(completions.unbind(1), start=1):  # of prefixes of t tokens [N, R, T]
            after = self.embedding(texts).movedim(2, 3)  # [N, R, E, T]
            features = []
            for layer, prefix in zip(self.convolutions, prefixes, strict=True):
                (width,) = cast(nn.Conv1d, layer).kernel_size
                fresh = after[..., max(0, t + 1 - width) :].flatten(0, 1)
                greatest = layer(fresh).amax(2).unflatten(0, texts.shape[:2])  # [N, R, M]
                features.append(greatest.maximum(prefix[:, None, :, t - width]) if t >= width else greatest)
            logits.append(self.classify(torch.cat(features, dim=2).flatten(0, 1)).view(texts.shape[:2]))
        return torch.stack(logits, dim=1)


class SeqGAN(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]. At V 5,000, T 20: 333,320 and 7,043,681 parameters."""

    Config = SeqGANConfig
    TrainConfig = SeqGANTrainConfig

    generator: LSTMPolicy
    discriminator: Discriminator

    def __init__(self, config: SeqGANConfig) -> None:
        super().__init__(config)
        self.generator = LSTMPolicy(config)
        self.discriminator = Discriminator(config)

    def phases(self, train: SeqGANTrainConfig) -> list[Phase]:
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        discriminator_start = train.pretrain_kimg
        adversarial_start = discriminator_start + train.discriminator_kimg
        follower = Follower(generator) if train.rollout_delay else None

        def generate(step: Step) -> Tensor:
            with torch.no_grad(), eval_mode(generator):
                return generator(step.latents())

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = discriminator(step.real), discriminator(generate(step))
            decay = train.discriminator_weight_decay * discriminator.output.weight.square().sum() / 2
            return {"loss": loss.discriminator(real, fake) + decay, "real": real, "fake": fake}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            tokens = generate(step)
            if follower is not None:
                follower.follow(generator, train.rollout_delay)
            policy = generator if follower is None else follower.policy
            with torch.no_grad(), eval_mode(policy), eval_mode(discriminator):
                reward = self.reward(tokens, policy, train, step.noise)  # [N, T]
            if train.baseline:
                reward = reward - reward.mean(0)
            with eval_mode(generator):
                log_probabilities = generator.log_probabilities(tokens)
            mask = token_mask(tokens, self.config)
            return {"loss": -(log_probabilities * reward * mask).sum(1).mean(), "reward": reward.mean()}

        return [
            likelihood_phase(generator, train.pretrain, end_kimg=discriminator_start),
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=make_optimizer(discriminator, train.discriminator),
                start_kimg=discriminator_start,
            ),
            Phase(
                name="G",
                module=generator,
                loss=generator_loss,
                optimizer=make_optimizer(generator, train.generator),
                interval=train.generator_interval,
                start_kimg=adversarial_start,
                max_grad_norm=5.0,
                extra_state=follower,
            ),
        ]

    def reward(self, tokens: Tensor, policy: RecurrentPolicy, train: SeqGANTrainConfig, noise: Noise) -> Tensor:
        """Compute the reward Q of each token of texts [N, T] (equation 4): the discriminator's probability of "real".

        The last token has the probability of the text itself. Another token has the mean over the completions of its
        prefix.
        """
        if train.reward == "constant":
            return torch.ones(tokens.shape, device=tokens.device)
        if train.reward == "noise":
            return send(noise.uniform(*tokens.shape), tokens.device)
        whole = self.discriminator(tokens).sigmoid()[:, None]
        if tokens.shape[1] == 1:
            return whole
        texts = complete_prefixes(policy, tokens, train.rollouts, noise)
        prefixes = self.discriminator.score_completions(tokens, texts).sigmoid().mean(2)
        return torch.cat([prefixes, whole], dim=1)


class Follower(nn.Module):
    """A policy that starts as a copy of another one at its first step, which may come long after, and then lags."""

    started: Tensor

    def __init__(self, leader: LSTMPolicy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(leader)
        self.register_buffer("started", torch.zeros((), device=next(leader.parameters()).device))

    @torch.no_grad()
    def follow(self, leader: LSTMPolicy, keep: float) -> None:
        """Move the weights toward those of `leader`; `keep` is the share of the old ones, and 0 at the first step."""
        share = 1 - keep * self.started
        for old, new in zip(self.policy.parameters(), leader.parameters(), strict=True):
            old.lerp_(new, share)
        self.started.fill_(1)
