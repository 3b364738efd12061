"""The one-shot WGAN of texts."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from zoo.text.architectures.wgan import Critic, TextWGAN, WGANConfig

SIZES = {"vocabulary": 12, "length": 6, "banned": (0, 1)}


def test_a_sample_has_the_most_probable_token_at_each_position():
    """All positions are generated at once, and a sample is the argmax of its distributions."""
    torch.manual_seed(0)
    gan = TextWGAN(WGANConfig(**SIZES, width=8)).eval()
    samples = gan.sample(5, seed=0)

    with torch.no_grad():
        texts = gan.generator.relax(samples.latents)
    assert torch.equal(texts.argmax(-1), samples.tensor)
    torch.testing.assert_close(texts.sum(-1), torch.ones(5, 6))
    assert not torch.isin(samples.tensor, torch.tensor([0, 1])).any()


def test_tokens_and_their_one_hot_vectors_are_scored_alike():
    """The critic reads a token as the certain distribution."""
    torch.manual_seed(0)
    tokens = torch.randint(2, 12, (5, 6))
    critic = Critic(WGANConfig(**SIZES, width=8))

    torch.testing.assert_close(critic(tokens), critic(F.one_hot(tokens, 12).float()))
