"""A small LSTM language model, with which texts are evaluated.

It has three uses. For the LM score, a model of real texts reads samples. Few nats per token mean that samples look
real; but so does one sample that is repeated. For the reverse LM score (RLM), a model of the samples reads held-out
real texts. Few nats per token mean that the samples cover the data. Both are in Caccia et al. 2020, arXiv:1811.02549,
section 4; RLM is from Zhao et al. 2018, arXiv:1706.04223, section 5.2. Third, its states are features of texts
(`evaluator.py`).

A text is a row of token ids [T]. Id 0 ends it and fills the row, and is the start token before the first one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import device_of
from zoo.errors import InvalidValueError
from zoo.noise import seed_torch
from zoo.text.data.vocabulary import END

CHUNK = 128  # texts whose logits are in memory at once, outside of training


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the model, and its training. The last layer shares the embedding's weights (Press & Wolf 2017)."""

    embedding: int = 64
    """Size of a token's embedding."""
    hidden: int = 128
    """Size of the hidden state."""
    dropout: float = 0.3
    """Dropout of embeddings and states."""
    batch: int = 64
    """Texts of one update."""
    lr: float = 1e-2
    """The largest learning rate. It rises to it over the first tenth of the updates, and then falls to zero."""
    epochs: int = 6
    """How often each text is read."""
    min_updates: int = 600
    """The fewest updates; with few texts there are more epochs."""


DEFAULT = Config()


class LanguageModel(nn.Module):
    """Token ids [N, T] -> logits [N, T, V] of each token, given those before it."""

    def __init__(self, vocabulary: int, config: Config) -> None:
        super().__init__()
        self.vocabulary, self.config = vocabulary, config
        self.embedding = nn.Embedding(vocabulary, config.embedding)
        nn.init.normal_(self.embedding.weight, std=config.embedding**-0.5)  # it is the last layer's weight, too
        self.lstm = nn.LSTM(config.embedding, config.hidden, batch_first=True)
        self.project = nn.Linear(config.hidden, config.embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        start = tokens.new_full((len(tokens), 1), END)
        return self.logits_after(self.read_states(torch.cat([start, tokens[:, :-1]], dim=1)))

    def read_states(self, tokens: Tensor) -> Tensor:
        """Compute the hidden state after each token, [N, T] -> [N, T, hidden]."""
        embedded = F.dropout(self.embedding(tokens), self.config.dropout, self.training)
        return F.dropout(self.lstm(embedded)[0], self.config.dropout, self.training)

    def logits_after(self, states: Tensor) -> Tensor:
        """Compute logits [..., V] of the tokens after states [..., hidden]."""
        return F.linear(self.project(states), self.embedding.weight, self.bias)

    @torch.no_grad()
    def nll(self, tokens: Tensor) -> float:
        """Compute nats per token of texts [N, T], ends included. Raises InvalidValueError as `check_texts`."""
        check_texts(tokens, self.vocabulary)
        return nll_per_token(self, tokens.to(device_of(self)))

    @torch.no_grad()
    def features(self, tokens: Tensor) -> Tensor:
        """Compute the mean [N, hidden] on the CPU of the states after the start and each token before the end."""
        check_texts(tokens, self.vocabulary)
        parts = []
        for rows in tokens.to(device_of(self)).split(CHUNK):
            start = rows.new_full((len(rows), 1), END)
            mask = torch.cat([start == END, (rows == END).cumsum(1) == 0], dim=1)[:, :, None]  # [N, 1 + T, 1]
            parts.append((self.read_states(torch.cat([start, rows], dim=1)) * mask).sum(1) / mask.sum(1))
        return torch.cat(parts).cpu()


def mask_padding(tokens: Tensor) -> Tensor:
    """Return True for the tokens [N, T] of the texts, the first END included, and False for the padding."""
    ended = (tokens == END).cumsum(1)
    return ended - (tokens == END).int() == 0


def nll_per_token(logits_of: Callable[[Tensor], Tensor], tokens: Tensor) -> float:
    """Compute nats per token of texts [N, T] under teacher-forced logits [N, T, V]: ends included, padding not."""
    total, count = 0.0, 0
    for rows in tokens.split(CHUNK):
        inside = mask_padding(rows)
        total += float(F.cross_entropy(logits_of(rows)[inside], rows[inside], reduction="sum"))
        count += int(inside.sum())
    return total / count


def check_texts(tokens: Tensor, vocabulary: int) -> None:
    """Raise InvalidValueError unless `tokens` are int64 ids [N, T] of the vocabulary, at least one."""
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or tokens.numel() == 0:
        raise InvalidValueError(f"texts must be int64 token ids [N, T]; got {tokens.dtype} {list(tokens.shape)}")
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        raise InvalidValueError(
            f"token ids must be in this vocabulary of {vocabulary:,}; got {int(tokens.min())} to {int(tokens.max())}"
        )


def train_language_model(
    texts: Tensor,
    held_out: Tensor,
    vocabulary: int,
    *,
    config: Config | None = None,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> LanguageModel:
    """Train by maximum likelihood on `texts` [N, T]; returns the weights of the epoch that is best on `held_out`.

    The result depends on the arguments alone. Raises InvalidValueError as `check_texts`.
    """
    config = config or DEFAULT
    check_texts(texts, vocabulary)
    check_texts(held_out, vocabulary)
    updates_per_epoch = math.ceil(len(texts) / config.batch)
    epochs = max(config.epochs, math.ceil(config.min_updates / updates_per_epoch))
    with seed_torch(seed):
        model = LanguageModel(vocabulary, config)
        counts = torch.bincount(texts[mask_padding(texts)], minlength=vocabulary) + 0.1
        model.bias.data = (counts / counts.sum()).log()  # so that the training need not learn how common words are
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.lr, total_steps=epochs * updates_per_epoch, pct_start=0.1, anneal_strategy="linear"
        )
        best, best_state = math.inf, copy.deepcopy(model.state_dict())
        for epoch in range(epochs):
            model.train()
            order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(texts)))
            for rows in order.split(config.batch):
                loss = _loss(model, texts[rows])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            nll = model.eval().nll(held_out)
            if nll < best:
                best, best_state = nll, copy.deepcopy(model.state_dict())
            if log is not None:
                log(f"epoch {epoch + 1}/{epochs}: held out {nll:.4f} nats per token")
    model.load_state_dict(best_state)
    return model.eval().requires_grad_(False)


def _loss(model: LanguageModel, texts: Tensor) -> Tensor:
    """Compute the mean nats of a token. Logits are computed outside of the padding only."""
    inside = mask_padding(texts)
    start = texts.new_full((len(texts), 1), END)
    states = model.read_states(torch.cat([start, texts[:, :-1]], dim=1))
    return F.cross_entropy(model.logits_after(states[inside]), texts[inside])
