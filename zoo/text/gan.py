"""class TextGAN: what the text architectures share. A text is a row of token ids [T]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor

from zoo.data import Store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.gan import GAN, Graph
from zoo.metrics.report import Metric
from zoo.noise import Noise
from zoo.options import TemperatureOptions
from zoo.text.data.datasets import TextDataConfig
from zoo.text.data.vocabulary import END, UNK, Vocabulary
from zoo.text.metrics.language_model import nll_per_token
from zoo.text.policies import NextToken, NextTokenOfText, Policy, RecurrentPolicy
from zoo.text.samples import Texts

MOST_NATS = 0.01
"""The mean change of a token's log-probability that rounded weights may make."""


class TextGAN(GAN[Texts]):
    """A GAN whose samples are texts. It carries the vocabulary that decodes its tokens."""

    DataConfig = TextDataConfig
    Output = Texts
    ASSETS: ClassVar[tuple[str, ...]] = ("tokenizer.json",)

    vocabulary: Vocabulary | None = None

    @property
    def sample_shape(self) -> tuple[int]:
        return (self.config.length,)

    def describe_samples(self) -> dict[str, Any]:
        """As `GAN.describe_samples`, with the text of each token."""
        tokens = {} if self.vocabulary is None else {"tokens": self.vocabulary.tokens}
        return {**super().describe_samples(), "range": [0, self.config.vocabulary - 1], **tokens}

    @classmethod
    def config_for(cls, config: Any, data: Store) -> Any:
        rows = data.samples[data.indices("train")]
        ends = bool((rows == END).any())
        size = len(Vocabulary.open(data.folder / "tokenizer.json"))
        banned = (UNK,) if ends else (END, UNK)
        return replace(config, vocabulary=size, length=rows.shape[1], ends=ends, banned=banned)

    def load_assets(self, folder: Path) -> None:
        vocabulary = Vocabulary.open(folder / "tokenizer.json")
        if len(vocabulary) != self.config.vocabulary:
            raise InvalidFileError(
                f"{folder}: tokenizer.json has {len(vocabulary)} tokens, and the model {self.config.vocabulary}: "
                "it belongs to another vocabulary"
            )
        self.vocabulary = vocabulary

    def align_start(self, start: GAN, states: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Mapping[str, Tensor]]:
        """Move the numbers of each token to its id in this vocabulary. Tokens that only this one has keep their own.

        Raises InvalidValueError where the vocabularies share no tokens but `<end>` and `<unk>`.
        """
        theirs, ours = getattr(start, "vocabulary", None), self.vocabulary
        if theirs is None or ours is None or theirs.tokens == ours.tokens:
            return states
        ids = {token: id for id, token in enumerate(theirs.tokens)}
        shared = [(ids[token], id) for id, token in enumerate(ours.tokens) if token in ids]
        if len(shared) <= 2:
            raise InvalidValueError(f"another vocabulary: none of its {len(ids):,} tokens is among those of the data")
        own = {name: network.state_dict() for name, network in self.networks.items()}
        # What differs between two sizes of the vocabulary are the dimensions that count tokens.
        shapes, shorter = (self.state_shapes(replace(self.config, vocabulary=len(ours) - less)) for less in (0, 1))
        aligned = {name: {**state} for name, state in states.items()}
        for name, state in shapes.items():
            for key, shape in state.items():
                dim, given = _find_differing(shape, shorter[name][key]), states.get(name, {}).get(key)
                if dim >= 0 and given is not None:
                    aligned[name][key] = _move_tokens(given, own[name][key], dim, shared, (len(theirs), len(ours)))
        return aligned

    @torch.no_grad()
    def measure_likelihood(self, texts: Tensor, *, draws: int, seed: int) -> list[Metric]:
        """Measure the cost of texts [N, T] in nats per token, first as nll_held_out; [] where there is no likelihood.

        Args:
            draws: samples of the model, where its likelihood has to be estimated by samples.
        """
        logits_of = getattr(self.generator, "logits", None)
        if logits_of is None:
            return []
        nll = nll_per_token(logits_of, texts.to(self.device))
        return [Metric(name="nll_held_out", value=nll, better="lower", count=len(texts))]

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Texts:
        return Texts(tensor=tensor, latents=latents, seed=seed, vocabulary=self.vocabulary)


def _find_differing(one: Tensor, other: Tensor) -> int:
    """Find the dimension in which the shapes of two tensors differ; -1 if they are the same."""
    return next((dim for dim, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b), -1)


def _move_tokens(given: Tensor, own: Tensor, dim: int, shared: list[tuple[int, int]], sizes: tuple[int, int]) -> Tensor:
    """Return `own` with the numbers that `given` has for the shared tokens, whose ids are in the dimension `dim`.

    What follows the vocabulary there, e.g. the token of a class, is moved with them. A tensor that differs in other
    dimensions, too, is returned as it is given.

    Args:
        shared: ids of each token, in `given` and in `own`.
        sizes: of both vocabularies.
    """
    others = own.shape[dim] - sizes[1]
    if given.shape != (*own.shape[:dim], sizes[0] + others, *own.shape[dim + 1 :]):
        return given
    pairs = [*shared, *((sizes[0] + i, sizes[1] + i) for i in range(others))]
    from_ids, to_ids = torch.tensor(pairs, device=given.device).unbind(1)
    return own.to(given.device).index_copy(dim, to_ids, given.index_select(dim, from_ids))


class PolicyGAN(TextGAN):
    """A text GAN whose generator is a `Policy`: it writes token by token, so that a temperature can be chosen."""

    SampleOptions = TemperatureOptions

    @property
    def policy(self) -> Policy:
        """What writes token by token: the generator, or a part of it."""
        return cast(Policy, self.generator)

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, self.config.length)

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        return self.latents(n, Noise(seed)), {"temperature": options.temperature}

    @torch.no_grad()
    def shows_rounding(self, rounded: Self) -> bool:
        """As `GAN.shows_rounding`: where tokens of 16 samples are likelier or less likely by 0.01 nats on average.

        Samples themselves tell nothing here. One token that changes, by whatever little, changes all that follow.
        """
        tokens = self.sample(16, seed=0).tensor.to(self.device)
        own, other = (gan.policy.log_probabilities(tokens) for gan in (self, rounded))
        return not float((own - other).abs().mean()) <= MOST_NATS

    @torch.no_grad()
    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return one step: a token [N] and a state -> logits [N, V] of the next token, and the state after it.

        The first of the inputs is a start; the others have read two tokens.
        """
        policy = self.policy
        step = NextToken(policy) if isinstance(policy, RecurrentPolicy) else NextTokenOfText(policy)
        tokens = self.sample(n, seed=seed).tensor[:, 0]
        state = step(tokens, step(torch.full_like(tokens, END), step.start(n))[1])[1]
        tokens[0], state[0] = END, 0
        return Graph(
            module=step,
            inputs={"token": tokens, "state": state},
            outputs=("logits", "next_state"),
            usage=f"Start with token {END} and a state of zeros. Choose the next token by the logits, and give it back "
            f"with next_state as the state, up to {self.config.length} tokens."
            + (f" The text ends before its first token {END}." if self.config.ends else ""),
        )

    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> Texts:
        raise InvalidValueError("there is nothing between two texts: their tokens are sampled one by one")
