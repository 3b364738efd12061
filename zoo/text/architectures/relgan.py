"""RelGAN. Nie, Narodytska & Patel 2019, "RelGAN: Relational Generative Adversarial Networks for Text Generation", ICLR
2019.

The paper has three ideas. The generator's state is a *relational memory* (Santoro et al. 2018, arXiv:1806.01822): slots
that attend to each other and to the new token. Gradients pass through the tokens by the *Gumbel-Softmax relaxation*
(section 2.2). With logits o and Gumbel noise g, the token is argmax(o + g). The discriminator reads
softmax(beta (o + g)) instead. The inverse temperature grows as beta_max^(n / N) over the N steps of the adversarial
training (section 2.4), from smooth to nearly discrete. The discriminator embeds each text in *several representations*
(section 2.3) and scores each separately. The loss is relativistic (RSGAN), averaged over them.

There are no rollouts: one pass generates the texts and carries the gradient. Pre-training is maximum likelihood.

V = vocabulary, T = length, M = num_slots, D = num_heads * head_dim, R = num_representations, K = 4 * maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import send
from zoo.recipe import LossName, OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.gan import PolicyGAN
from zoo.text.policies import RecurrentPolicy, eval_mode, likelihood_phase
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer


@dataclass(frozen=True, kw_only=True)
class RelGANConfig(TextConfig):
    """Sizes of both networks. The defaults are the paper's."""

    embedding_dim: int = field(default=32, metadata=within(1, 4096))
    """Size of a token's embedding in the generator."""
    num_slots: int = field(default=1, metadata=within(1, 64))
    """Slots of the relational memory, M."""
    num_heads: int = field(default=2, metadata=within(1, 64))
    """Attention heads of the relational memory."""
    head_dim: int = field(default=256, metadata=within(1, 4096))
    """Size of a head; a slot has the size of all heads together, D."""
    dropout: float = field(default=0.0, metadata=within(0, 0.9))
    """Dropout in pre-training, of the embedding and of the memory that logits are computed from."""
    num_representations: int = field(default=64, metadata=within(1, 1024))
    """Representations of a text in the discriminator, R."""
    maps: int = field(default=300, metadata=within(1, 4096))
    """Feature maps of each of the discriminator's four convolutions."""
    discriminator_dropout: float = field(default=0.25, metadata=within(0, 0.9))
    """Dropout after the discriminator's highway layer."""


@dataclass(frozen=True, kw_only=True)
class RelGANTrainConfig(TrainConfig):
    """`TrainConfig` with pre-training and the temperature of the relaxation."""

    loss: LossName = "relativistic"
    """The adversarial loss; the paper's is the relativistic loss."""
    generator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999))
    """Optimizer of the generator in the adversarial training."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999))
    """Optimizer of the discriminator."""
    generator_interval: int = field(default=5, metadata=within(1))
    """Discriminator steps to one generator step."""
    pretrain: OptimizerConfig = OptimizerConfig(lr=1e-2, betas=(0.9, 0.999))
    """Optimizer of the maximum-likelihood training."""
    pretrain_kimg: float = field(default=0.0, metadata=within(0))
    """Until here the generator is trained by maximum likelihood."""
    beta_max: float = field(default=100.0, metadata=within(1))
    """Inverse temperature at the end. In the paper 100 gives quality, and 1,000 gives diversity."""

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
            if parameter.dim() > 1:  # the authors' truncated normal, scaled by the number of inputs
                deviation = 1 / math.sqrt(parameter.shape[-1])
                nn.init.trunc_normal_(parameter, 0.0, deviation, -2 * deviation, 2 * deviation)

    def initial_state(self, n: int) -> Tensor:
        weight = self.output.weight
        return torch.eye(self.slots, self.size, dtype=weight.dtype, device=weight.device).expand(n, -1, -1)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        inputs = self.enter(self.dropout(self.embedding(tokens)))[:, None]  # [N, 1, D]
        memory = torch.cat([state, inputs], dim=1)  # [N, M + 1, D]
        memory = self.attended_norm(memory + self.attend(memory))
        memory = self.refined_norm(memory + self.refine(memory))[:, : self.slots]
        gates = self.input_gates(inputs) + self.memory_gates(torch.tanh(state))  # [N, M, 2 D]
        input_gate, forget_gate = gates.chunk(2, dim=-1)
        return torch.sigmoid(input_gate) * torch.tanh(memory) + torch.sigmoid(forget_gate + 1) * state

    def attend(self, memory: Tensor) -> Tensor:
        """Attend from each slot to all [N, M + 1, D]. The scale is the size of query, key and value together."""
        fused = self.attention_norm(self.attention(memory))
        query, key, value = fused.unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, dim=-1)
        weights = (query @ key.transpose(-2, -1) / math.sqrt(3 * query.shape[-1])).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def next_logits(self, state: Tensor) -> Tensor:
        return self.output(self.dropout(state.flatten(1)))

    def relax(self, uniforms: Tensor, beta: float) -> Tensor:
        """Compute relaxed texts [N, T, V], softmax(beta (o + g)), with g from uniform numbers [N, T, V].

        The generator reads the token at argmax(o + g) next. No gradient passes through that choice.
        """
        n, length = uniforms.shape[:2]
        gumbel = -torch.log(-torch.log(uniforms.clamp(1e-10, 1 - 1e-7)))
        state = self.first_state(n)
        texts = []
        for t in range(length):
            noisy = self.next_logits(state) + self.banned + gumbel[:, t]
            texts.append((beta * noisy).softmax(-1))
            if t + 1 < length:
                state = self.read(noisy.argmax(-1), state)
        return torch.stack(texts, dim=1)


class Discriminator(nn.Module):
    """Tokens [N, T], or distributions over tokens [N, T, V] -> logits [N], the means over R representations."""

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
        """Compute a logit for each representation [N, R]."""
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
        adversarial_kimg = train.total_kimg - train.pretrain_kimg

        def generate(step: Step) -> Tensor:
            progress = (step.kimg - train.pretrain_kimg) / adversarial_kimg if adversarial_kimg > 0 else 1.0
            uniforms = step.noise.uniform(len(step.real), self.config.length, self.config.vocabulary)
            with eval_mode(generator):
                return generator.relax(send(uniforms, step.real.device), train.beta_max ** min(1.0, max(0.0, progress)))

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            with torch.no_grad():
                texts = generate(step)
            real, fake = discriminator.score_representations(step.real), discriminator.score_representations(texts)
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
