"""Policies: generators that write token by token."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.text.architectures.mle import MLE
from zoo.text.architectures.relgan import RelationalMemory, RelGANConfig
from zoo.text.architectures.scratchgan import Generator, ScratchGANConfig
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.policies import RecurrentPolicy, fill_after_end, likelihood_loss, sample_categorical, token_mask

SIZES = {"vocabulary": 30, "length": 7, "banned": (0, 1)}
POLICIES = {
    "lstm": (LSTMPolicy, LSTMConfig(**SIZES)),
    "relational": (RelationalMemory, RelGANConfig(**SIZES, head_dim=4)),
    "scratch": (Generator, ScratchGANConfig(**SIZES, hidden_dim=8, embedding_dim=8)),
}


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> RecurrentPolicy:
    torch.manual_seed(0)
    cls, config = POLICIES[request.param]
    policy = cls(config).eval().requires_grad_(False)
    for parameter in policy.parameters():
        parameter.mul_(3)  # as if trained: far from uniform
    return policy


def test_a_policy_samples_each_token_with_its_probability(policy: RecurrentPolicy):
    """Over evenly spread uniform numbers a token comes as often as its softmax says, at every temperature."""
    state = policy.read(torch.zeros(1, dtype=torch.long), policy.initial_state(1))
    state = state.expand(20_000, *state.shape[1:])
    uniforms = (torch.arange(20_000) + 0.5) / 20_000
    for temperature in (1.0, 0.5):
        shares = policy.sample_next(state, uniforms, temperature).bincount(minlength=30) / 20_000
        expected = ((policy.next_logits(state[:1])[0] + policy.banned) / temperature).softmax(-1)

        torch.testing.assert_close(shares, expected, rtol=0, atol=2e-4)


def test_banned_tokens_are_never_sampled(policy: RecurrentPolicy):
    """What the config bans is not sampled, not even by the smallest and the greatest uniform number."""
    edges = torch.tensor([[0.0], [1 - 2**-24]]).expand(2, 7)

    assert not torch.isin(policy(edges), torch.tensor([0, 1])).any()


def test_reading_ahead_gives_the_logits_of_writing(policy: RecurrentPolicy):
    """Teacher-forced logits are those that each token was sampled from."""
    uniforms = Noise(0).uniform(5, 7)
    tokens = policy(uniforms)
    logits = policy.logits(tokens)

    chosen = ((logits + policy.banned).softmax(-1).cumsum(-1) <= uniforms[..., None]).sum(-1)
    assert torch.equal(chosen, tokens)
    expected = logits.log_softmax(-1).gather(2, tokens[..., None]).squeeze(2)
    torch.testing.assert_close(policy.log_probabilities(tokens), expected)


def test_a_low_temperature_writes_what_is_likelier(policy: RecurrentPolicy):
    """At temperature 0.5 texts are likelier to the policy than at 1, and at 1 likelier than at 2."""
    likelihoods = [
        float(policy.log_probabilities(policy(Noise(1).uniform(500, 7), temperature)).mean())
        for temperature in (2.0, 1.0, 0.5)
    ]

    assert likelihoods == sorted(likelihoods)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-7, 1e-40, math.inf, math.nan])
def test_temperatures_out_of_range_are_refused(temperature: float):
    """0, less, next to nothing, infinity and NaN; the smallest and a huge one are not."""
    gan = MLE(LSTMConfig(vocabulary=12, length=7)).eval()

    with pytest.raises(InvalidValueError, match=r"temperature = .* should be finite, and at least 1e-06"):
        gan.sample(2, seed=0, temperature=temperature)
    assert gan.sample(2, seed=0, temperature=1e-6).tensor.shape == (2, 7)
    assert gan.sample(2, seed=0, temperature=1e30).tensor.shape == (2, 7)


def test_after_its_end_a_text_is_filled_with_ends():
    """What follows the first 0 is 0, and only what was sampled counts in the likelihood."""
    tokens = torch.tensor([[3, 0, 5, 2], [3, 2, 5, 2]])
    config = LSTMConfig(vocabulary=9, length=4, ends=True, banned=(1,))

    assert fill_after_end(tokens).tolist() == [[3, 0, 0, 0], [3, 2, 5, 2]]
    assert token_mask(fill_after_end(tokens), config).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert token_mask(tokens, replace(config, ends=False)).tolist() == [[1, 1, 1, 1]] * 2


def test_the_likelihood_of_texts_that_end_counts_their_end_and_nothing_after():
    """The loss is the mean over sampled tokens, the first end among them."""
    torch.manual_seed(0)
    config = LSTMConfig(vocabulary=9, length=4, ends=True, banned=(1,))
    policy = LSTMPolicy(config)
    tokens = torch.tensor([[3, 0, 0, 0], [3, 2, 5, 2]])
    log_probabilities = policy.log_probabilities(tokens)

    expected = -(log_probabilities[0, :2].sum() + log_probabilities[1].sum()) / 6
    torch.testing.assert_close(likelihood_loss(policy, tokens), expected)


def test_sampling_by_blocks_is_sampling_by_the_running_sum():
    """The token found block by block is the first at which the plain running sum exceeds the number."""
    probabilities = torch.rand(500, 150, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 8
    probabilities[:, 60:130] *= torch.arange(500)[:, None] % 2  # whole blocks, and parts of them, are impossible
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    uniforms = torch.linspace(0, 1 - 1e-9, 500, dtype=torch.float64)
    plain = torch.searchsorted(probabilities.cumsum(1), uniforms[:, None], right=True).squeeze(1)

    assert sample_categorical(probabilities, uniforms).tolist() == plain.tolist()
