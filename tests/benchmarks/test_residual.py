"""The controls of text-ebm."""

from __future__ import annotations

import torch
from residual import NUCLEUS, Chosen, Likeliest, Nucleus, Tempered, Vote, with_policy

from zoo.noise import Noise
from zoo.text.architectures.mle import MLE
from zoo.text.lstm import LSTMConfig, LSTMPolicy
from zoo.text.policies import token_mask

CONFIG = LSTMConfig(vocabulary=7, length=5, ends=True, banned=(1,), embedding_dim=8, hidden_dim=8)
TEXTS = torch.tensor([[2, 3, 4, 0, 0], [5, 6, 2, 2, 0]])


def make_policy(seed: int) -> LSTMPolicy:
    torch.manual_seed(seed)
    policy = LSTMPolicy(CONFIG).eval().requires_grad_(False)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter)
    return policy


def test_a_vote_is_the_mean_of_probabilities():
    """Each token has the mean of the probabilities that both give it, after the same tokens."""
    policies = [make_policy(0), make_policy(1)]

    vote = Vote(policies).log_probabilities(TEXTS).exp()

    torch.testing.assert_close(vote, sum(p.log_probabilities(TEXTS).exp() for p in policies) / 2)


def test_a_temperature_divides_the_logits():
    """The likelihood of texts is that of the sampling at this temperature."""
    policy = make_policy(0)

    torch.testing.assert_close(Tempered(policy, 0.5).logits(TEXTS), 2 * policy.logits(TEXTS))


def test_a_nucleus_has_the_likeliest_tokens():
    """The fewest likeliest tokens that have the share together can follow, and no other; never a banned one."""
    policy = make_policy(0)
    state = policy.first_state(1)
    probabilities = (policy.next_logits(state) + policy.banned).softmax(-1)[0]

    kept = Nucleus(policy).next_logits(state)[0].isfinite()

    assert probabilities[kept].min() > probabilities[~kept].max()
    assert probabilities[kept].sum() >= NUCLEUS > probabilities[kept].sum() - probabilities[kept].min()


def test_the_likeliest_candidate_is_chosen():
    """No other candidate of a text has a higher likelihood."""
    gan = with_policy(MLE(CONFIG), Likeliest(make_policy(0)), Chosen)
    policy = gan.generator.policy
    latents = gan.latents(6, Noise(0))

    def likelihood(texts: torch.Tensor) -> torch.Tensor:
        return (policy.log_probabilities(texts) * token_mask(texts, CONFIG)).sum(1)

    chosen = likelihood(gan.sample(6, seed=0).tensor)
    candidates = likelihood(policy(latents.flatten(0, 1))).view(6, -1)

    torch.testing.assert_close(chosen, candidates.amax(1))
