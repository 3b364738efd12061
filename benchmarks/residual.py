"""What else could have gained what the energy of text-ebm gains: python benchmarks/residual.py SECOND.

SECOND is another language model of the same sentences, trained from another seed:

    zoo train text-mle-english --out runs/second train.seed=1

All sides are measured by the metrics of `zoo evaluate`, on the test split, with one seed:

- the language model alone, at three temperatures, and from its nucleus (Holtzman et al. 2020, arXiv:1904.09751);
- the likeliest of eight candidates, by the language model itself;
- text-ebm, which chooses one of eight by the energy;
- the vote of two language models, the mean of their probabilities.

The nucleus and the choice of the likeliest change samples alone; the likelihood beside them is the language model's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import zoo
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.text.architectures.mle import MLE
from zoo.text.lstm import LSTMPolicy
from zoo.text.metrics.evaluate import evaluate
from zoo.text.policies import RecurrentPolicy, token_mask
from zoo.training.session import open_data

CANDIDATES = 8
NUCLEUS = 0.95
TEMPERATURES = (0.9, 0.8)
COLUMNS = ("nll_held_out", "lm", "rlm", "frechet_distance", "divergence", "self_bleu_4")


class Changed(RecurrentPolicy):
    """A policy with other probabilities of its next token."""

    def __init__(self, policy: LSTMPolicy) -> None:
        super().__init__(policy.config)
        self.policy = policy

    def initial_state(self, n: int) -> Tensor:
        return self.policy.initial_state(n)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        return self.policy.read(tokens, state)


class Tempered(Changed):
    """A policy at a temperature."""

    def __init__(self, policy: LSTMPolicy, temperature: float) -> None:
        super().__init__(policy)
        self.temperature = temperature

    def next_logits(self, state: Tensor) -> Tensor:
        return self.policy.next_logits(state) / self.temperature


class Nucleus(Changed):
    """A policy that writes with the likeliest tokens alone, which have the probability `NUCLEUS` together."""

    def next_logits(self, state: Tensor) -> Tensor:
        logits = self.policy.next_logits(state) + self.banned
        ordered, places = logits.softmax(-1).sort(-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered > NUCLEUS
        return logits.masked_fill(torch.zeros_like(beyond).scatter(-1, places, beyond), -torch.inf)

    def logits(self, tokens: Tensor) -> Tensor:
        return self.policy.logits(tokens)


class Vote(RecurrentPolicy):
    """The mean of the probabilities of several policies, M. A state [N, M, 2, H] is that of each."""

    def __init__(self, policies: list[LSTMPolicy]) -> None:
        super().__init__(policies[0].config)
        self.policies = nn.ModuleList(policies)

    def initial_state(self, n: int) -> Tensor:
        return torch.stack([policy.initial_state(n) for policy in self.policies], dim=1)

    def read(self, tokens: Tensor, state: Tensor) -> Tensor:
        return torch.stack([p.read(tokens, s) for p, s in zip(self.policies, state.unbind(1), strict=True)], dim=1)

    def next_logits(self, state: Tensor) -> Tensor:
        logits = [p.next_logits(s) for p, s in zip(self.policies, state.unbind(1), strict=True)]
        return torch.stack(logits).log_softmax(-1).logsumexp(0)


class Likeliest(nn.Module):
    """Latents [N, K, T] -> tokens [N, T]: of K candidates the one that the policy itself finds the likeliest."""

    def __init__(self, policy: LSTMPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
        texts = self.policy(uniforms.flatten(0, 1), temperature)
        likelihoods = (self.policy.log_probabilities(texts) * token_mask(texts, self.policy.config)).sum(1)
        chosen = likelihoods.view(uniforms.shape[:2]).argmax(1)
        return texts.view(*uniforms.shape[:2], -1)[torch.arange(len(uniforms)), chosen]

    def logits(self, tokens: Tensor) -> Tensor:
        return self.policy.logits(tokens)


class Chosen(MLE):
    """A language model with candidates."""

    def latents(self, n: int, noise: Noise) -> Tensor:
        return noise.uniform(n, CANDIDATES, self.config.length)


def with_policy(gan: MLE, policy: nn.Module, kind: type[MLE] = MLE) -> MLE:
    """Return a model that writes by `policy`, with the vocabulary of `gan`."""
    other = kind(gan.config).eval().requires_grad_(False)
    other.generator, other.vocabulary = policy.eval(), gan.vocabulary  # type: ignore[assignment]
    return other


def list_sides(second: str) -> Iterator[tuple[str, GAN[Any]]]:
    """List the models to measure, and what they are called."""
    first, other = (zoo.load(name, device="cpu") for name in ("text-mle-english", second))
    policy = first.generator
    yield "text-mle-english", first
    yield "the second one", other
    for temperature in TEMPERATURES:
        yield f"the first, temperature {temperature}", with_policy(first, Tempered(policy, temperature))
    yield f"the first, nucleus {NUCLEUS}", with_policy(first, Nucleus(policy))
    yield f"the likeliest of {CANDIDATES}", with_policy(first, Likeliest(policy), Chosen)
    yield "text-ebm", zoo.load("text-ebm", device="cpu")
    yield "the vote of both", with_policy(first, Vote([policy, other.generator]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("second", metavar="SECOND", help="a run or weights of text-mle-english from another seed")
    arguments = parser.parse_args()
    recipe = load_recipe("text-mle-english")
    store = open_data(recipe)
    print("".join(f"{name:>20}" for name in ("", *COLUMNS)))
    for name, gan in list_sides(arguments.second):
        values = {metric.name: metric for metric in evaluate(gan, store, recipe.evaluate)}
        print(f"{name:>20}" + "".join(f"{values[column].value:20.4f}" for column in COLUMNS), flush=True)
    print(f"{'real':>20}" + "".join(f"{values[column].real_vs_real or torch.nan:20.4f}" for column in COLUMNS))


if __name__ == "__main__":
    main()
