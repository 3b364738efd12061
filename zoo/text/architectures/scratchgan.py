"""ScratchGAN. De Masson d'Autume, Rosca, Rae & Mohamed 2019, "Training language GANs from scratch", arXiv:1905.09922.

There is no pre-training. Section 3 of the paper lists what makes the policy gradient work without it. The reward is
*dense*: the discriminator reads from left to right and gives a logit after each token. The reward of a token is
r_t = 2 sigmoid(D_t) - 1, and its return R_t = sum_s gamma^(s - t) r_s, gamma = 0.23 (equation 6). Batches are large,
and the baseline is a moving average. The generator's input and output embeddings are shared. The discriminator is
regularized by layer norm, dropout on its embedding, and weight decay. The paper starts from GloVe vectors. This library
does not ship them, so all embeddings are learned.

V = vocabulary, T = length, E = embedding_dim, H = hidden_dim. The paper has H 512, two layers, batch 512.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.recipe import OptimizerConfig, TrainConfig, check_unused, within
from zoo.text.config import TextConfig
from zoo.text.gan import PolicyGAN
from zoo.text.policies import RecurrentPolicy, eval_mode, token_mask
from zoo.training import distributed
from zoo.training.losses import LOSSES
from zoo.training.phases import Phase, Step, make_optimizer


@dataclass(frozen=True, kw_only=True)
class ScratchGANConfig(TextConfig):
    """Sizes of both networks."""

    embedding_dim: int = field(default=64, metadata=within(1, 4096))
    """Size of a token's embedding in the generator, E."""
    hidden_dim: int = field(default=512, metadata=within(1, 4096))
    """Size of the generator's hidden state, H."""
    num_layers: int = field(default=2, metadata=within(1, 8))
    """LSTM layers of the generator, L."""
    discriminator_embedding_dim: int = field(default=64, metadata=within(1, 4096))
    """Size of a token's embedding in the discriminator."""
    discriminator_hidden_dim: int = field(default=512, metadata=within(1, 4096))
    """Size of the discriminator's hidden state."""
    discriminator_dropout: float = field(default=0.1, metadata=within(0, 0.9))
    """Dropout of the discriminator's embedding."""
    position_dim: int = field(default=8, metadata=within(2, 512))
    """Size of the position encoding that the discriminator reads with each token."""


@dataclass(frozen=True, kw_only=True)
class ScratchGANTrainConfig(TrainConfig):
    """`TrainConfig` with the settings of the policy gradient."""

    batch: int = field(default=512, metadata=within(2, 65536))
    """Real samples a step, over all processes together."""
    generator: OptimizerConfig = OptimizerConfig(lr=9.59e-5, betas=(0.5, 0.999))
    """Optimizer of the generator."""
    discriminator: OptimizerConfig = OptimizerConfig(lr=9.38e-3, betas=(0.5, 0.999))
    """Optimizer of the discriminator."""
    discount: float = field(default=0.23, metadata=within(0, 1))
    """Discount of later rewards, gamma."""
    baseline_keep: float = field(default=0.08, metadata=within(0, 1))
    """Share of its old value that the baseline keeps at each step."""
    discriminator_weight_decay: float = field(default=1e-6, metadata=within(0))
    """L2 penalty on all weights of the discriminator."""

    def __post_init__(self) -> None:
        check_unused(self, "ScratchGAN", "r1_gamma", "gradient_penalty", "augment", losses=("relativistic",))


class Generator(RecurrentPolicy):
    """Latents [N, T] -> tokens [N, T]. A state [N, 2 L, H] is each layer's hidden state, then each layer's cell."""

    config: ScratchGANConfig

    def __init__(self, config: ScratchGANConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocabulary, config.embedding_dim)
        sizes = [config.embedding_dim, *[config.hidden_dim] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(nn.LSTMCell(size, config.hidden_dim) for size in sizes)
        self.project = nn.Linear(config.hidden_dim, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(config.embedding_dim))

    def initial_state(self, n: int) -> Tensor:
        return self.bias.new_zeros(n, 2 * len(self.layers), self.config.hidden_dim)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        hidden, cells = state.chunk(2, dim=1)
        inputs, states = self.embedding(tokens), []
        for i, layer in enumerate(self.layers):
            inputs, cell = layer(inputs, (hidden[:, i], cells[:, i]))
            states.append((inputs, cell))
        return torch.stack([*(hidden for hidden, _ in states), *(cell for _, cell in states)], dim=1)

    def next_logits(self, state: Tensor) -> Tensor:
        top = state[:, len(self.layers) - 1]
        return F.linear(
            self.project(top), self.embedding.weight, self.bias
        )  # the input embedding is the output embedding


class Discriminator(nn.Module):
    """Tokens [N, T] -> logits [N], the means over `score_tokens`."""

    positions: Tensor

    def __init__(self, config: ScratchGANConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.discriminator_embedding_dim)
        self.lstm = NormedLSTM(
            config.discriminator_embedding_dim + config.position_dim, config.discriminator_hidden_dim
        )
        self.output = nn.Linear(config.discriminator_hidden_dim, 1)
        nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(config.discriminator_embedding_dim))
        self.register_buffer("positions", encode_positions(config.length, config.position_dim), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = token_mask(tokens, self.config)
        return (self.score_tokens(tokens) * mask).sum(1) / mask.sum(1)

    def score_tokens(self, tokens: Tensor) -> Tensor:
        """Compute a logit after each token of texts [N, T]."""
        table = F.dropout(self.embedding.weight, self.config.discriminator_dropout, self.training)
        positions = self.positions.expand(tokens.shape[0], -1, -1)
        return self.output(self.lstm(torch.cat([F.embedding(tokens, table), positions], dim=2))).squeeze(2)


class NormedLSTM(nn.Module):
    """An LSTM whose gates and cell are normalized (Ba et al. 2016, arXiv:1607.06450): [N, T, D] -> [N, T, H]."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.enter = nn.Linear(input_dim, 4 * hidden_dim, bias=False)
        self.recur = nn.Linear(hidden_dim, 4 * hidden_dim, bias=False)
        self.enter_norm, self.recur_norm = nn.LayerNorm(4 * hidden_dim), nn.LayerNorm(4 * hidden_dim)
        self.cell_norm = nn.LayerNorm(hidden_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        projected = self.enter_norm(self.enter(inputs))
        hidden = cell = inputs.new_zeros(inputs.shape[0], self.hidden_dim)
        outputs = []
        for t in range(inputs.shape[1]):
            gates = projected[:, t] + self.recur_norm(self.recur(hidden))
            i, f, g, o = gates.chunk(4, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(self.cell_norm(cell))
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


def encode_positions(length: int, size: int) -> Tensor:
    """Compute sines and cosines of positions [T, size] (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :size]


class Baseline(nn.Module):
    """The moving average of the returns."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))


def discounted_returns(rewards: Tensor, discount: float) -> Tensor:
    """Compute R_t, the sum over s >= t of discount^(s - t) r_s, of rewards [N, T]."""
    total = torch.zeros_like(rewards[:, 0])
    sums = []
    for reward in rewards.flip(1).unbind(1):
        total = reward + discount * total
        sums.append(total)
    return torch.stack(sums[::-1], dim=1)


class ScratchGAN(PolicyGAN):
    """Uniform latents [N, T] -> tokens [N, T]."""

    Config = ScratchGANConfig
    TrainConfig = ScratchGANTrainConfig

    generator: Generator
    discriminator: Discriminator

    def __init__(self, config: ScratchGANConfig) -> None:
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    def phases(self, train: ScratchGANTrainConfig) -> list[Phase]:
        generator, discriminator, loss = self.generator, self.discriminator, LOSSES[train.loss]
        baseline = Baseline().to(self.device)

        def generate(step: Step) -> Tensor:
            with torch.no_grad():
                return generator(step.latents())

        def discriminator_loss(step: Step) -> dict[str, Tensor]:
            real, fake = (
                discriminator.score_tokens(tokens)[token_mask(tokens, self.config) > 0]
                for tokens in (step.real, generate(step))
            )
            decay = sum(parameter.square().sum() for parameter in discriminator.parameters())
            return {
                "loss": loss.discriminator(real, fake) + train.discriminator_weight_decay * decay,
                "real": real,
                "fake": fake,
            }

        def generator_loss(step: Step) -> dict[str, Tensor]:
            tokens = generate(step)
            mask = token_mask(tokens, self.config)
            with torch.no_grad(), eval_mode(discriminator):
                rewards = (2 * discriminator.score_tokens(tokens).sigmoid() - 1) * mask
            gains = discounted_returns(rewards, train.discount)
            advantage = (gains - baseline.value) * mask
            sums = torch.stack([(gains * mask).sum(), mask.sum()])
            distributed.add_up(sums)  # processes share a baseline, as they share weights
            mean = sums[0] / sums[1]
            baseline.value.lerp_(mean, 1 - train.baseline_keep)
            log_probabilities = generator.log_probabilities(tokens)
            return {"loss": -(log_probabilities * advantage).sum() / mask.sum(), "reward": mean}

        return [
            Phase(
                name="D",
                module=discriminator,
                loss=discriminator_loss,
                optimizer=make_optimizer(discriminator, train.discriminator),
            ),
            Phase(
                name="G",
                module=generator,
                loss=generator_loss,
                optimizer=make_optimizer(generator, train.generator),
                interval=train.generator_interval,
                extra_state=baseline,
            ),
        ]
