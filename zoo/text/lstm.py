"""The LSTM policy of text-mle and text-seqgan: an embedding, one LSTM layer, a linear layer onto the vocabulary.

It is that of Yu et al. 2017 (SeqGAN, arXiv:1609.05473, section 2 "The generative model", equations 9 and 10).

V = vocabulary, E = embedding_dim, H = hidden_dim. At the paper's V 5,000, E 32, H 32 it has 333,320 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.recipe import within
from zoo.text.config import TextConfig
from zoo.text.policies import RecurrentPolicy


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(TextConfig):
    """Sizes of the policy. The defaults are the paper's."""

    embedding_dim: int = field(default=32, metadata=within(1, 4096))
    """Size of a token's embedding, E."""
    hidden_dim: int = field(default=32, metadata=within(1, 4096))
    """Size of the hidden state, H."""
    dropout: float = field(default=0.0, metadata=within(0, 0.9))
    """Dropout of the embedding and of the state that logits are computed from."""


class LSTMPolicy(RecurrentPolicy):
    """Latents [N, T] -> tokens [N, T]. A state [N, 2, H] is the hidden state and the cell."""

    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocabulary, config.embedding_dim)
        self.gates = nn.Linear(config.embedding_dim + config.hidden_dim, 4 * config.hidden_dim)
        self.output = nn.Linear(config.hidden_dim, config.vocabulary)
        self.dropout = nn.Dropout(config.dropout)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, 0.1)

    def initial_state(self, n: int) -> Tensor:
        return self.output.weight.new_zeros(n, 2, self.config.hidden_dim)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        hidden, cell = state.unbind(1)
        gates = self.gates(torch.cat([self.dropout(self.embedding(tokens)), hidden], dim=1))
        i, f, g, o = gates.chunk(4, dim=1)  # [N, H] each
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.stack([torch.sigmoid(o) * torch.tanh(cell), cell], dim=1)

    def next_logits(self, state: Tensor) -> Tensor:
        return F.linear(self.dropout(state[:, 0]), self.output.weight, self.output.bias)
