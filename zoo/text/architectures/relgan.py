"""RelGAN. Nie, Narodytska & Patel 2019, "RelGAN: Relational Generative Adversarial Networks for Text Generation", ICLR
2019.

Three ideas. The generator's state is a *relational memory* (Santoro et al. 2018, arXiv:1806.01822): slots that attend
to each other and to the new token. Gradients pass through the tokens by the *Gumbel-Softmax relaxation* (section 2.2):
with logits o and Gumbel noise g, the token is argmax(o + g), and the discriminator reads softmax(beta (o + g)) in its
place; the inverse temperature grows as beta_max^(n / N) over the N steps of the game (section 2.4), from soft and
smooth to nearly discrete. The discriminator embeds each text in *several representations* (section 2.3) and judges
each by itself; the loss is relativistic (RSGAN), averaged over them.

No rollouts: one pass writes the texts and carries the gradient. Pre-training is maximum likelihood.

V = vocabulary, T = length, M = num_slots, D = num_heads * head_dim, R = num_representations, K = 4 * maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.gan import PolicyGAN
from zoo.text.policies import RecurrentPolicy, eval_mode, likelihood_phase
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer


@dataclass(frozen=True, kw_only=True)
class RelGANConfig(TextConfig):
    embedding_dim: int = field(default=32, metadata=within(1, 4096))
    num_slots: int = field(default=1, metadata=within(1, 64))
    num_heads: int = field(default=2, metadata=within(1, 64))
    head_dim: int = field(default=256, metadata=within(1, 4096))
    dropout: float = field(default=0.0, metadata=within(0, 0.9))
    """Of the embedding and of the memory that scores are read from, in pre-training."""
    num_representations: int = field(default=64, metadata=within(1, 1024))
    maps: int = field(default=300, metadata=within(1, 4096))
    discriminator_dropout: float = field(default=0.25, metadata=within(0, 0.9))


@dataclass(frozen=True, kw_only=True)
class RelGANTrainConfig(TrainConfig):
    loss: LossName = "relativistic"
    generator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999))
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999))
    generator_interval: int = field(default=5, metadata=within(1))
    pretrain: OptimizerConfig = OptimizerConfig(lr=1e-2, betas=(0.9, 0.999))
    """Of the generator's maximum likelihood."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the generator is trained by maximum likelihood."""
    beta_max: float = field(default=100.0, metadata=within(1))
    """Inverse temperature at the end: the paper trades quality (100) against diversity (1,000) with it."""

    def __post_init__(self) -> None:
        check_unused(self, "RelGAN", "r1_gamma", "gradient_penalty", "augment")

    @property
    def schedule_start_kimg(self) -> float:
        return min(super().schedule_start_kimg, self.pretrain_kimg if self.beta_max > 1 else math.inf)


class RelationalMemory(RecurrentPolicy):
    """Latents [N, T] -> tokens [N, T]. A state [N, M, D] is the memory."""

    def __init__(self, config: RelGANConfig) -> None:
        super().__init__(config)
        self.heads, self.slots = config.num_heads, config.num_slots
        size = self.size = config.num_heads * config.head_dim
        self.embedding = nn.Embedding(config.vocabulary, config.embedding_dim)
        self.enter = nn.Linear(config.embedding_dim, size)
        self.attention = nn.Linear(size, 3 * size, bias=False)
        self.attention_norm = nn.LayerNorm(3 * size)
        self.attended_norm, self.refined_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.refine = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU())
        self.input_gates, self.memory_gates = nn.Linear(size, 2 * size), nn.Linear(size, 2 * size)
        self.output = nn.Linear(config.num_slots * size, config.vocabulary)
        self.dropout = nn.Dropout(config.dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:  # the authors' truncated normal, by the width of the layer's input
                deviation = 1 / math.sqrt(parameter.shape[-1])
                nn.init.trunc_normal_(parameter, 0.0, deviation, -2 * deviation, 2 * deviation)

    def initial_state(self, n: int) -> Tensor:
        return torch.eye(self.slots, self.size, device=self.output.weight.device).expand(n, -1, -1)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        entering = self.enter(self.dropout(self.embedding(tokens)))[:, None]  # [N, 1, D]
        memory = torch.cat([state, entering], dim=1)  # [N, M + 1, D]
        memory = self.attended_norm(memory + self.attend(memory))
        memory = self.refined_norm(memory + self.refine(memory))[:, : self.slots]
        gates = self.input_gates(entering) + self.memory_gates(torch.tanh(state))  # [N, M, 2 D]
        admit, forget = gates.chunk(2, dim=-1)
        return torch.sigmoid(admit) * torch.tanh(memory) + torch.sigmoid(forget + 1) * state

    def attend(self, memory: Tensor) -> Tensor:
        """Each slot's mixture of all, by heads [N, M + 1, D]; scaled by the length of query, key and value together."""
        fused = self.attention_norm(self.attention(memory))
        query, key, value = fused.unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, dim=-1)
        weights = (query @ key.transpose(-2, -1) / math.sqrt(3 * query.shape[-1])).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def next_logits(self, state: Tensor) -> Tensor:
        return self.output(self.dropout(state.flatten(1)))

    def relax(self, uniforms: Tensor, beta: float) -> Tensor:
        """Texts [N, T, V] as points between tokens: softmax(beta (o + g)), with g of uniform numbers [N, T, V].

        The token read next is the one at argmax(o + g); no gradient passes through that choice.
        """
        n, length = uniforms.shape[:2]
        gumbel = -torch.log(-torch.log(uniforms.clamp(1e-10, 1 - 1e-7)))
        state = self.first_state(n)
        points = []
        for t in range(length):
            noisy = self.next_logits(state) + self.banned + gumbel[:, t]
            points.append((beta * noisy).softmax(-1))
            if t + 1 < length:
                state = self.read(noisy.argmax(-1), state)
        return torch.stack(points, dim=1)


class Discriminator(nn.Module):
    """Tokens [N, T], or points between tokens [N, T, V] -> logits [N], the means over R representations."""

    def __init__(self, config: RelGANConfig) -> None:
        super().__init__()
        self.num_representations = config.num_representations
        self.embedding = nn.Linear(config.vocabulary, config.num_representations, bias=False)
        widths = [min(width, config.length) for width in (2, 3, 4, 5)]
        self.convolutions = nn.ModuleList(nn.Conv1d(1, config.maps, width) for width in widths)
        num_maps = len(widths) * config.maps
        self.highway = nn.Linear(num_maps, 2 * num_maps)
        self.dropout = nn.Dropout(config.discriminator_dropout)
        self.hidden = nn.Linear(num_maps, 100)
        self.output = nn.Linear(100, 1)

    def forward(self, texts: Tensor) -> Tensor:
        return self.score_representations(texts).mean(1)

    def score_representations(self, texts: Tensor) -> Tensor:
        """A logit for each representation [N, R]."""
        weight = self.embedding.weight  # [R, V]
        embedded = self.embedding(texts) if texts.is_floating_point() else F.embedding(texts, weight.T)  # [N, T, R]
        columns = embedded.transpose(1, 2).flatten(0, 1)[:, None]  # [N R, 1, T]
        maps = torch.cat([F.relu(layer(columns)).amax(2) for layer in self.convolutions], dim=1)  # [N R, K]
        transform, gate = self.highway(maps).chunk(2, dim=1)
        gate = torch.sigmoid(gate)
        maps = self.dropout(gate * F.relu(transform) + (1 - gate) * maps)
        return self.output(self.hidden(maps)).view(-1, self.num_representations)


class RelGAN(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]."""

    Config = RelGANConfig
    TrainConfig = RelGANTrainConfig

    generator: RelationalMemory
    discriminator: Discriminator

    def __init__(self, config: RelGANConfig) -> None:
        super().__init__(config)
        self.generator = RelationalMemory(config)
        self.discriminator = Discriminator(config)

    def phases(self, train: RelGANTrainConfig) -> list[Phase]:
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        game_kimg = train.total_kimg - train.pretrain_kimg

        def generate(step: Step) -> Tensor:
            share = min(1.0, max(0.0, (step.kimg - train.pretrain_kimg) / game_kimg)) if game_kimg > 0 else 1.0
            uniforms = step.noise.uniform(len(step.real), self.config.length, self.config.vocabulary)
            with eval_mode(generator):
                return generator.relax(uniforms.to(step.real.device), train.beta_max**share)

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                points = generate(step)
            real, fake = discriminator.score_representations(step.real), discriminator.score_representations(points)
            return {"loss": loss.discriminator(real, fake), "real": real, "fake": fake}

        def generator_loss(step: Step) -> dict[str, Tensor]:
            fake = discriminator.score_representations(generate(step))
            return {
                "loss": loss.generator(fake - discriminator.score_representations(step.real) if loss.relative else fake)
            }

        return [
            likelihood_phase(generator, train.pretrain, end_kimg=train.pretrain_kimg),
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=make_optimizer(discriminator, train.discriminator),
                start_kimg=train.pretrain_kimg,
                max_grad_norm=5.0,
            ),
            Phase(
                name="G",
                module=generator,
                loss=generator_loss,
                optimizer=make_optimizer(generator, train.generator),
                interval=train.generator_interval,
                start_kimg=train.pretrain_kimg,
                max_grad_norm=5.0,
            ),
        ]
