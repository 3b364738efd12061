"""SeqGAN. Yu, Zhang, Wang & Yu 2017, "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient",
arXiv:1609.05473.

Tokens are discrete, so no gradient passes from the discriminator to the generator. The generator is a policy instead,
a token is an action, and its reward Q is what the discriminator thinks of texts that begin with it: the mean over N
completions written by a roll-out policy (equation 4). The policy gradient of equation 6 then raises the logarithm of
each token's probability by its reward (REINFORCE, no baseline in the paper; `baseline` subtracts the batch's mean at
each place). Algorithm 1: the generator is first trained by maximum likelihood, then the discriminator against it,
then both in turns.

The discriminator is section 3's ("The discriminative model"): convolutions of many widths over embedded tokens,
max-over-time pooling, one highway layer (Srivastava et al. 2015, equation 12 of the paper's appendix), dropout. The
widths and numbers of maps are those of the authors' experiments at T = 20; the paper's two-way softmax is a sigmoid
of the difference of its outputs, which is the one logit here. The weight decay is on the last layer alone.

The roll-out policy of Algorithm 1 follows the generator with a delay. `rollout_delay` is the share of its old weights
that it keeps at each step (0: it is the generator, as in the authors' experiments).

What does the discriminator add? `reward = "constant"` and `reward = "noise"` play the same game with rewards of 1, or
of uniform random numbers, in the place of the discriminator's: the controls that the paper left out.

V = vocabulary, T = length, W = kernel widths, M = all feature maps together (1,720 in the paper).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BadValue
from zoo.noise import Noise
from zoo.recipe import Optimiser, Train, refuse_unplayed, within
from zoo.text.base import PolicyGAN, RecurrentPolicy, evaluating, likelihood_phase, written
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.rollout import completions
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Turn, optimiser_for


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig(LSTMConfig):
    judge_embedding_dim: int = field(default=64, metadata=within(1, 4096))
    kernel_widths: tuple[int, ...] = field(default=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20), metadata=within(1, 1024))
    kernel_maps: tuple[int, ...] = field(
        default=(100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160), metadata=within(1, 4096)
    )
    judge_dropout: float = field(default=0.25, metadata=within(0, 0.9))

    def __post_init__(self) -> None:
        if len(self.kernel_widths) != len(self.kernel_maps) or not self.kernel_widths:
            raise BadValue(
                f"model.kernel_widths has {len(self.kernel_widths)} numbers and model.kernel_maps "
                f"{len(self.kernel_maps)}: each width needs its number of maps"
            )


@dataclass(frozen=True, kw_only=True)
class SeqGANTrain(Train):
    """Adds the pre-trainings and the search to `Train`; `generator` and `discriminator` are of the game itself."""

    pretrain: Optimiser = Optimiser(lr=1e-2)
    """Of the generator's maximum likelihood."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the generator is trained by maximum likelihood."""
    judge_kimg: float = field(default=0.0, metadata=within(0))
    """So long the discriminator is then trained alone."""
    rollouts: int = field(default=16, metadata=within(1, 256))
    rollout_delay: float = field(default=0.0, metadata=within(0, 0.9999))
    reward: Literal["discriminator", "constant", "noise"] = "discriminator"
    baseline: bool = False
    """Subtract the mean reward of the batch at each place."""
    judge_weight_decay: float = field(default=0.2, metadata=within(0))
    """Weight of the squared weights of the discriminator's last layer in its loss."""

    def __post_init__(self) -> None:
        refuse_unplayed(self, "SeqGAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class Discriminator(nn.Module):
    """Tokens [N, T] -> logits [N]: above 0 is "real"."""

    def __init__(self, config: SeqGANConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.judge_embedding_dim)
        nn.init.uniform_(self.embedding.weight, -1, 1)
        widths = [min(width, config.length) for width in config.kernel_widths]  # a text is shorter than some kernels
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.judge_embedding_dim, maps, width)
            for width, maps in zip(widths, config.kernel_maps, strict=True)
        )
        num_maps = sum(config.kernel_maps)
        self.transform = nn.Linear(num_maps, num_maps)
        self.gate = nn.Linear(num_maps, num_maps)
        self.dropout = nn.Dropout(config.judge_dropout)
        self.output = nn.Linear(num_maps, 1)
        for layer in (*self.convolutions, self.transform, self.gate, self.output):
            nn.init.trunc_normal_(layer.weight, 0.0, 0.1, -0.2, 0.2)
            nn.init.constant_(layer.bias, 0.1)
        nn.init.zeros_(self.gate.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens).transpose(1, 2)  # [N, E, T]
        return self.judge(torch.cat([layer(embedded).amax(2) for layer in self.convolutions], dim=1))

    def judge(self, features: Tensor) -> Tensor:
        """The highway and the output layer, of the greatest value of each feature map [N, M]."""
        maps = F.relu(features)
        gate = torch.sigmoid(self.gate(maps))
        return self.output(self.dropout(gate * F.relu(self.transform(maps)) + (1 - gate) * maps)).squeeze(1)

    def completed(self, tokens: Tensor, completions: Tensor, *, chunk: int = 16) -> Tensor:
        """The logits [N, T - 1, R] of R completions [N, T - 1, R, T] of each beginning of texts [N, T].

        As `forward` of each, with less work: a kernel that lies in the beginning sees the same in all its
        completions, and looks at it once. `chunk` texts at a time, which stay in the processor's cache.
        """
        parts = zip(tokens.split(chunk), completions.split(chunk), strict=True)
        return torch.cat([self._completed(*some) for some in parts])

    def _completed(self, tokens: Tensor, completions: Tensor) -> Tensor:
        embedded = self.embedding(tokens).transpose(1, 2)  # [N, E, T]
        begun = [layer(embedded).cummax(2).values for layer in self.convolutions]  # [N, M, T - W + 1] each
        logits = []
        for t, texts in enumerate(completions.unbind(1), start=1):  # of beginnings of t tokens [N, R, T]
            after = self.embedding(texts).movedim(2, 3)  # [N, R, E, T]
            features = []
            for layer, seen in zip(self.convolutions, begun, strict=True):
                (width,) = cast(nn.Conv1d, layer).kernel_size
                fresh = after[..., max(0, t + 1 - width) :].flatten(0, 1)
                greatest = layer(fresh).amax(2).unflatten(0, texts.shape[:2])  # [N, R, M]
                features.append(greatest.maximum(seen[:, None, :, t - width]) if t >= width else greatest)
            logits.append(self.judge(torch.cat(features, dim=2).flatten(0, 1)).view(texts.shape[:2]))
        return torch.stack(logits, dim=1)


class SeqGAN(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]. At V 5,000, T 20: 333,320 and 7,043,681 parameters."""

    Config = SeqGANConfig
    Train = SeqGANTrain

    generator: LSTMPolicy
    discriminator: Discriminator

    def __init__(self, config: SeqGANConfig) -> None:
        super().__init__(config)
        self.generator = LSTMPolicy(config)
        self.discriminator = Discriminator(config)

    def phases(self, train: SeqGANTrain) -> list[Phase]:
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        judged_from = train.pretrain_kimg
        played_from = judged_from + train.judge_kimg
        follower = copy.deepcopy(generator) if train.rollout_delay else None

        def write(turn: Turn) -> Tensor:
            with torch.no_grad(), evaluating(generator):
                return generator(turn.latents())

        def judge(turn: Turn) -> dict[str, Tensor]:
            real, fake = discriminator(turn.real), discriminator(write(turn))
            decay = train.judge_weight_decay * discriminator.output.weight.square().sum() / 2
            return {"loss": loss.discriminator(real, fake) + decay, "real": real, "fake": fake}

        def play(turn: Turn) -> dict[str, Tensor]:
            tokens = write(turn)
            if follower is not None:
                _follow(follower, generator, train.rollout_delay)
            policy = follower or generator
            with torch.no_grad(), evaluating(policy), evaluating(discriminator):
                reward = self.reward(tokens, policy, train, turn.noise)  # [N, T]
            if train.baseline:
                reward = reward - reward.mean(0)
            with evaluating(generator):
                chances = generator.log_probabilities(tokens)
            mask = written(tokens, self.config)
            return {"loss": -(chances * reward * mask).sum(1).mean(), "reward": reward.mean()}

        return [
            likelihood_phase(generator, train.pretrain, until_kimg=judged_from),
            Phase(
                name="D",
                player=discriminator,
                loss=judge,
                optimiser=optimiser_for(discriminator, train.discriminator),
                from_kimg=judged_from,
            ),
            Phase(
                name="G",
                player=generator,
                loss=play,
                optimiser=optimiser_for(generator, train.generator),
                every=train.generator_every,
                from_kimg=played_from,
                clip_norm=5.0,
                memory=follower,
            ),
        ]

    def reward(self, tokens: Tensor, policy: RecurrentPolicy, train: SeqGANTrain, noise: Noise) -> Tensor:
        """Q of each token of texts [N, T] (equation 4): the probability, to the discriminator, of "real".

        That of the last token is of the text itself, that of another the mean over the completions of its prefix.
        """
        if train.reward == "constant":
            return torch.ones(tokens.shape, device=tokens.device)
        if train.reward == "noise":
            return noise.uniform(*tokens.shape).to(tokens.device)
        whole = self.discriminator(tokens).sigmoid()[:, None]
        if tokens.shape[1] == 1:
            return whole
        texts = completions(policy, tokens, train.rollouts, noise)
        begun = self.discriminator.completed(tokens, texts).sigmoid().mean(2)
        return torch.cat([begun, whole], dim=1)


def _follow(follower: nn.Module, leader: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for old, new in zip(follower.parameters(), leader.parameters(), strict=True):
            old.lerp_(new, 1 - keep)
