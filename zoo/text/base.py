"""What the text GANs share: their config, how a token is drawn, and the class `TextGAN`.

A text is a row of token ids [T]. The latents of a model that writes token by token are the uniform numbers [N, T]
that its tokens are drawn with, so that a generator is a function from latents to samples here as in every wing, and
the same seed gives the same texts at any batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.errors import BadFile, BadValue
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import Optimiser, within
from zoo.samples import Samples
from zoo.text.data import TextData
from zoo.text.samples import Texts
from zoo.text.vocabulary import END, UNK, Vocabulary
from zoo.training.phases import Phase, optimiser_for

COLDEST = 1e-6  # below, logits divided by the temperature leave what float32 holds
BLOCK = 64  # tokens whose chances are summed at once when one is drawn


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Sizes that come from the data. A training sets all four by its data, whatever the recipe says."""

    vocabulary: int = field(default=5000, metadata=within(2, 65536))
    length: int = field(default=20, metadata=within(1, 1024))
    """Tokens of a text, T."""
    ends: bool = False
    """Whether a text may end before T: its last token is then 0, and so are all after it."""
    never: tuple[int, ...] = field(default=(), metadata=within(0, 65535))
    """Tokens that are not drawn."""

    def barred(self) -> Tensor:
        """What is added to logits [V], so that what is never drawn is not: 0, or minus infinity."""
        barred = torch.zeros(self.vocabulary)
        barred[list(self.never)] = -torch.inf
        return barred


class Policy(nn.Module):
    """A generator that writes token by token: latents, uniform in [0, 1) [N, T] -> tokens [N, T].

    A subclass says how it writes, by `forward`, and what it thinks of texts that are there, by `logits`.
    """

    barred: Tensor

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("barred", config.barred(), persistent=False)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        raise NotImplementedError

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [N, T, V] of each token of texts [N, T], given those before it."""
        raise NotImplementedError

    def pick(self, scores: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """The next token [N] by logits [N, V], by inverse of the cumulative distribution.

        It takes one uniform number a token, not one a word.
        """
        scores = scores + self.barred
        return drawn((scores / temperature if temperature != 1 else scores).softmax(-1), uniforms)

    def log_probabilities(self, tokens: Tensor) -> Tensor:
        """The natural logarithm of the probability of each token of texts [N, T], given those before it."""
        logits = self.logits(tokens)
        return -F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view_as(tokens)


class RecurrentPolicy(Policy):
    """A policy that carries a state from token to token.

    A subclass says how a state starts and what a token does to it. Every state is a tensor of rows [N, ...], which may
    be chosen, repeated and joined.
    """

    def start(self, n: int) -> Tensor:
        """The state before anything is written [n, ...]."""
        raise NotImplementedError

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        """The state after reading one more token [N] each."""
        raise NotImplementedError

    def scores(self, state: Tensor) -> Tensor:
        """Logits of the next token [N, V]."""
        raise NotImplementedError

    def begun(self, n: int) -> Tensor:
        """The state that first tokens are drawn from [n, ...]: the start symbol is read."""
        state = self.start(n)
        return self.read(torch.full((n,), END, device=state.device), state)

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        n, length = uniforms.shape
        state = self.begun(n)
        tokens = torch.empty(n, length, dtype=torch.long, device=uniforms.device)
        for t in range(length):
            tokens[:, t] = self.draw(state, uniforms[:, t], temperature)
            if t + 1 < length:
                state = self.read(tokens[:, t], state)
        return ended(tokens) if self.config.ends else tokens

    def draw(self, state: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        """The next token [N] after a state, see `pick`."""
        return self.pick(self.scores(state), uniforms, temperature)

    def states(self, tokens: Tensor) -> Tensor:
        """The states that tokens 1..T of texts [N, T] are drawn from [N, T, ...]."""
        state = self.begun(len(tokens))
        states = [state]
        for t in range(tokens.shape[1] - 1):
            state = self.read(tokens[:, t], state)
            states.append(state)
        return torch.stack(states, dim=1)

    def logits(self, tokens: Tensor) -> Tensor:
        states = self.states(tokens)
        return self.scores(states.flatten(0, 1)).view(*states.shape[:2], -1)


def drawn(chances: Tensor, uniforms: Tensor) -> Tensor:
    """The tokens [N] that uniform numbers in [0, 1) [N] fall on, by the chances of each [N, V].

    A running sum over the vocabulary is what drawing costs. So the vocabulary is cut into blocks: the sums of whole
    blocks tell which one a number falls into, and only that block is summed token by token.
    """
    blocks = F.pad(chances, (0, -chances.shape[1] % BLOCK)).view(len(chances), -1, BLOCK)
    sums = blocks.sum(-1)
    ends = sums.cumsum(-1)
    targets = uniforms[:, None] * ends[:, -1:]
    block = _first_above(ends, targets)
    rest = targets - (ends - sums).gather(1, block)
    inside = blocks[torch.arange(len(blocks), device=block.device), block.squeeze(1)].cumsum(-1)
    return (block * BLOCK + _first_above(inside, rest)).squeeze(1)


def _first_above(cumulative: Tensor, targets: Tensor) -> Tensor:
    """Where running sums [N, K] first exceed the targets [N, 1], kept inside by what rounding may be off: [N, 1].

    Where a running sum first exceeds something it has grown, so nothing without a chance is ever found.
    """
    last = cumulative[:, -1:]
    inside = targets.clamp(min=0).minimum(last.nextafter(torch.zeros_like(last)))
    return torch.searchsorted(cumulative, inside, right=True)


def ended(tokens: Tensor) -> Tensor:
    """Texts [N, T] with all tokens after the first 0 set to 0."""
    return torch.where((tokens == END).cumsum(1) > 0, END, tokens)


def written(tokens: Tensor, config: TextConfig) -> Tensor:
    """1.0 for the tokens of texts [N, T] that were drawn, the first end among them, and 0.0 for what fills the rest."""
    if not config.ends:
        return torch.ones_like(tokens, dtype=torch.float32)
    ends = (tokens == END).cumsum(1)
    return ((ends == 0) | ((ends == 1) & (tokens == END))).float()


def likelihood_loss(policy: Policy, tokens: Tensor) -> Tensor:
    """Maximum likelihood: the mean negative log-probability of a token of texts [N, T], in nats."""
    mask = written(tokens, policy.config)
    return -(policy.log_probabilities(tokens) * mask).sum() / mask.sum()


def likelihood_phase(policy: Policy, settings: Optimiser, *, until_kimg: float = math.inf) -> Phase:
    """Maximum likelihood as a phase: the whole training of text-mle, the pre-training of others."""
    return Phase(
        name="MLE",
        player=policy,
        loss=lambda turn: {"loss": likelihood_loss(policy, turn.real)},
        optimiser=optimiser_for(policy, settings),
        until_kimg=until_kimg,
        clip_norm=5.0,
    )


class TextGAN(GAN):
    """A GAN whose samples are texts. It carries the vocabulary that tells what its tokens mean."""

    Data = TextData
    Output = Texts
    ASSETS: ClassVar[tuple[str, ...]] = ("tokenizer.json",)

    vocabulary: Vocabulary | None = None

    @property
    def sample_shape(self) -> tuple[int]:
        return (self.config.length,)

    @classmethod
    def fitted(cls, config: Any, data: Store) -> Any:
        rows = data.samples[data.indices("train")]
        ends = bool((rows == END).any())
        size = len(Vocabulary.open(data.folder / "tokenizer.json"))
        never = (UNK,) if ends else (END, UNK)
        return replace(config, vocabulary=size, length=rows.shape[1], ends=ends, never=never)

    def attach(self, folder: Path) -> None:
        vocabulary = Vocabulary.open(folder / "tokenizer.json")
        if len(vocabulary) != self.config.vocabulary:
            raise BadFile(
                f"{folder}: tokenizer.json has {len(vocabulary)} tokens, and the model {self.config.vocabulary}: "
                "it belongs to another vocabulary"
            )
        self.vocabulary = vocabulary

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Texts:
        return Texts(tensor=tensor, latents=latents, seed=seed, vocabulary=self.vocabulary)


class PolicyGAN(TextGAN):
    """A text GAN whose generator is a `Policy`, so that texts can be drawn at a temperature."""

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, self.config.length)

    @torch.no_grad()
    def sample(
        self,
        n: int = 16,
        *,
        seed: int | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        temperature: float = 1.0,
    ) -> Samples:
        """As `GAN.sample`. A temperature below 1 writes what is likelier, and with less variety.

        Raises:
            BadValue: n, seed, batch_size or temperature out of range.
        """
        if not COLDEST <= temperature < math.inf:
            raise BadValue(f"temperature = {temperature} should be finite, and at least {COLDEST}")
        return self._draw(n, seed, batch_size, progress, temperature=temperature)

    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> Samples:
        raise BadValue("there is nothing between two texts: their tokens are drawn one by one")


@contextmanager
def evaluating(player: nn.Module) -> Iterator[None]:
    """Without dropout, so that what is drawn has the probabilities that are then differentiated."""
    training = player.training
    player.eval()
    try:
        yield
    finally:
        player.train(training)
