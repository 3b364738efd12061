"""Policies: text generators that write token by token, and how they are trained by maximum likelihood.

The latents of a policy are the uniform numbers [N, T] that its tokens are sampled with. So its generator is a function
from latents to samples, as in every modality, and the same seed gives the same texts at any batch size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.recipe import OptimizerConfig
from zoo.text.config import TextConfig
from zoo.text.data.vocabulary import END
from zoo.training.phases import Phase, make_optimizer

BLOCK = 64  # tokens whose probabilities are summed at once when one is sampled


class Policy(nn.Module):
    """A generator that writes token by token: latents, uniform in [0, 1) [N, T] -> tokens [N, T].

    A subclass writes texts by `forward` and scores given texts by `logits`.
    """

    banned: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("banned", config.banned_logits(), persistent=False)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        raise NotImplementedError

    def logits(self, tokens: Tensor) -> Tensor:
        """Compute logits [N, T, V] of each token of texts [N, T], given the tokens before it."""
        raise NotImplementedError

    def sample_token(self, logits: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """Sample the next token [N] by logits [N, V], with the inverse of the cumulative distribution.

        It takes one uniform number a token, not one a word of the vocabulary.
        """
        logits = logits + self.banned
        return sample_categorical((logits / temperature if temperature != 1 else logits).softmax(-1), uniforms)

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """Compute the natural logarithm of the probability of each token of texts [N, T], given those before it."""
        logits = self.logits(tokens)
        return -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view_as(tokens)


class RecurrentPolicy(Policy):
    """A policy that carries a state from token to token.

    A subclass defines the initial state and how a token changes it. A state is a tensor of rows [N, ...], so that rows
    can be selected, repeated and concatenated.
    """

    def initial_state(self, n: int) -> Tensor:
        """Return the state before anything is read [n, ...]."""
        raise NotImplementedError

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        """Return the state after reading one more token [N] each."""
        raise NotImplementedError

    def next_logits(self, state: Tensor) -> Tensor:
        """Compute logits of the next token [N, V]."""
        raise NotImplementedError

    def first_state(self, n: int) -> Tensor:
        """Return the state that first tokens are sampled from [n, ...]: the start symbol has been read."""
        state = self.initial_state(n)
        return self.read(torch.full((n,), END, device=state.device), state)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        n, length = uniforms.shape
        state = self.first_state(n)
        tokens = torch.empty(n, length, dtype=torch.long, device=uniforms.device)
        for t in range(length):
            tokens[:, t] = self.sample_next(state, uniforms[:, t], temperature)
            if t + 1 < length:
                state = self.read(tokens[:, t], state)
        return fill_after_end(tokens) if self.config.ends else tokens

    def sample_next(self, state: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """Sample the next token [N] after a state; see `sample_token`."""
        return self.sample_token(self.next_logits(state), uniforms, temperature)

    def read_states(self, tokens: Tensor) -> Tensor:
        """Return the states that tokens 1 to T of texts [N, T] are sampled from [N, T, ...]."""
        state = self.first_state(len(tokens))
        states = [state]
        for t in range(tokens.shape[1] - 1):
            state = self.read(tokens[:, t], state)
            states.append(state)
        return torch.stack(states, dim=1)

    def logits(self, tokens: Tensor) -> Tensor:
        states = self.read_states(tokens)
        return self.next_logits(states.flatten(0, 1)).view(*states.shape[:2], -1)


class NextToken(nn.Module):
    """One step of a recurrent policy: tokens [N] and states [N, ...] -> logits [N, V], and the states after these.

    A state of zeros stands for the initial state.
    """

    def __init__(self, policy: RecurrentPolicy) -> None:
        super().__init__()
        self.policy = policy

    def start(self, n: int) -> Tensor:
        """Return the states to start with: zeros [n, ...]."""
        return torch.zeros_like(self.policy.initial_state(n))

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        initial = self.policy.initial_state(1)
        fresh = (state == 0).flatten(1).all(1).view(-1, *[1] * (state.dim() - 1))
        state = self.policy.read(tokens, torch.where(fresh, initial, state))
        return self.policy.next_logits(state) + self.policy.banned, state


class NextTokenOfText(nn.Module):
    """One step of any policy: tokens [N] and states [N, T] -> logits [N, V], and the states after these tokens.

    A state is the tokens that were read, each plus 1, and then zeros. Each step reads the text again from its start.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def start(self, n: int) -> Tensor:
        """Return the states to start with: zeros [n, T]."""
        return torch.zeros(n, self.policy.config.length, dtype=torch.long)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        last = torch.arange(state.shape[1], device=state.device) == (state > 0).sum(1, keepdim=True)  # [N, T]
        state = torch.where(last, tokens[:, None] + 1, state)
        text = F.pad((state[:, 1:] - 1).clamp(min=0), (0, 1))  # without the start symbol, which `logits` puts first
        logits = self.policy.logits(text)
        return torch.where(last[..., None], logits, 0).sum(1) + self.policy.banned, state


def sample_categorical(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Sample tokens [N] by probabilities [N, V], with one uniform number in [0, 1) each [N].

    The cost of sampling is a running sum over the vocabulary. So the vocabulary is cut into blocks. The sums of whole
    blocks give the block that a number falls into, and only that block is summed token by token.
    """
    blocks = F.pad(probabilities, (0, -probabilities.shape[1] % BLOCK)).view(len(probabilities), -1, BLOCK)
    sums = blocks.sum(-1)
    ends = sums.cumsum(-1)
    targets = uniforms[:, None] * ends[:, -1:]
    block = _first_above(ends, targets)
    rest = targets - (ends - sums).gather(1, block)
    inside = blocks[torch.arange(len(blocks), device=block.device), block.squeeze(1)].cumsum(-1)
    return (block * BLOCK + _first_above(inside, rest)).squeeze(1)


def _first_above(cumulative: Tensor, targets: Tensor) -> Tensor:
    """Find where running sums [N, K] first exceed the targets [N, 1], kept inside against rounding: [N, 1].

    A running sum has just grown where it first exceeds something. So a token of probability 0 is never found.
    """
    last = cumulative[:, -1:]
    inside = targets.clamp(min=0).minimum(last.nextafter(torch.zeros_like(last)))
    return torch.searchsorted(cumulative, inside, right=True)


def fill_after_end(tokens: Tensor) -> Tensor:
    """Set all tokens after the first 0 of texts [N, T] to 0."""
    return torch.where((tokens == END).cumsum(1) > 0, END, tokens)


def token_mask(tokens: Tensor, config: TextConfig) -> Tensor:
    """Return 1.0 for the sampled tokens of texts [N, T], the first end included, and 0.0 for the padding."""
    if not config.ends:
        return torch.ones_like(tokens, dtype=torch.float32)
    ends = (tokens == END).cumsum(1)
    return ((ends == 0) | ((ends == 1) & (tokens == END))).float()


def likelihood_loss(policy: Policy, tokens: Tensor) -> Tensor:
    """Compute the mean negative log-probability of a token of texts [N, T], in nats."""
    mask = token_mask(tokens, policy.config)
    return -(policy.log_probabilities(tokens) * mask).sum() / mask.sum()


def likelihood_phase(policy: Policy, settings: OptimizerConfig, *, end_kimg: float = math.inf) -> Phase:
    """Make the phase of maximum likelihood: the whole training of text-mle, the pre-training of others."""
    return Phase(
        name="MLE",
        module=policy,
        loss=lambda step: {"loss": likelihood_loss(policy, step.real)},
        optimizer=make_optimizer(policy, settings),
        end_kimg=end_kimg,
        max_grad_norm=5.0,
    )


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Turn dropout off, so that what is sampled has the probabilities that are then differentiated."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
