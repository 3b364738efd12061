"""The LSTM policy of text-mle and text-seqgan: an embedding, one LSTM layer, a linear layer onto the vocabulary.

It is that of Yu et al. 2017 (SeqGAN, arXiv:1609.05473, section 2 "The generative model", equations 9 and 10).

V = vocabulary, E = embedding_dim, H = hidden_dim. At the paper's V 5,000, E 32, H 32 it has 333,320 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidValueError
from zoo.recipe import within
from zoo.text.config import TextConfig
from zoo.text.data.vocabulary import END
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
    tied: bool = False
    """The last layer shares the embedding's weights (Press & Wolf 2017, arXiv:1608.05859). Then E is H."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tied and self.embedding_dim != self.hidden_dim:
            raise InvalidValueError(
                f"model.tied needs model.embedding_dim = model.hidden_dim; got {self.embedding_dim} and "
                f"{self.hidden_dim}"
            )


class LSTMPolicy(RecurrentPolicy):
    """Latents [N, T] -> tokens [N, T]. A state [N, 2, H] is the hidden state and the cell."""

    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocabulary, config.embedding_dim)
        self.gates = nn.Linear(config.embedding_dim + config.hidden_dim, 4 * config.hidden_dim)
        if config.tied:
            self.bias = nn.Parameter(torch.empty(config.vocabulary))
        else:
            self.output = nn.Linear(config.hidden_dim, config.vocabulary)
        self.dropout = nn.Dropout(config.dropout)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, 0.1)

    def initial_state(self, n: int) -> Tensor:
        return self.embedding.weight.new_zeros(n, 2, self.config.hidden_dim)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        hidden, cell = state.unbind(1)
        gates = self.gates(torch.cat([self.dropout(self.embedding(tokens)), hidden], dim=1))
        i, f, g, o = gates.chunk(4, dim=1)  # [N, H] each
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.stack([torch.sigmoid(o) * torch.tanh(cell), cell], dim=1)

    def next_logits(self, state: Tensor) -> Tensor:
        return self._compute_logits(state[:, 0])

    def logits(self, tokens: Tensor) -> Tensor:
        """Compute as `RecurrentPolicy.logits`, by PyTorch's LSTM, which takes the embeddings of all tokens at once."""
        start = F.pad(tokens[:, :-1], (1, 0), value=END)
        state = self.initial_state(len(tokens)).transpose(0, 1).contiguous()  # [2, N, H]
        config, bias = self.config, self.gates.bias
        of_input, of_hidden = self.gates.weight.split([config.embedding_dim, config.hidden_dim], dim=1)
        weights = [of_input.contiguous(), of_hidden.contiguous(), bias, torch.zeros_like(bias)]
        embedded = self.dropout(self.embedding(start))
        hidden, _, _ = torch.lstm(embedded, state.split(1), weights, True, 1, 0.0, self.training, False, True)
        return self._compute_logits(hidden)

    def _compute_logits(self, hidden: Tensor) -> Tensor:
        """Compute logits [..., V] of the tokens after hidden states [..., H]."""
        if self.config.tied:
            return F.linear(self.dropout(hidden), self.embedding.weight, self.bias)
        return F.linear(self.dropout(hidden), self.output.weight, self.output.bias)
