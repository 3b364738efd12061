"""SeqGAN against its paper's equations."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig
from zoo.text.architectures.seqgan import Follower, SeqGAN, SeqGANConfig, SeqGANTrainConfig
from zoo.text.rollout import complete_prefixes
from zoo.training.phases import Step, trainable

SIZES = {"vocabulary": 12, "length": 6, "banned": (0, 1)}
SEQGAN = SeqGANConfig(**SIZES, discriminator_embedding_dim=8, kernel_widths=(1, 2, 9), kernel_maps=(4, 4, 4))


def step_of(gan: torch.nn.Module, n: int = 64, kimg: float = 0.0, seed: int = 0) -> Step:
    real = torch.randint(2, 12, (n, 6), generator=torch.Generator().manual_seed(seed))
    return Step(gan, real, Noise(seed), train_generator=True, kimg=kimg)  # type: ignore[arg-type]


def test_the_paper_s_seqgan_has_its_number_of_parameters():
    """At vocabulary 5,000, width 32 and the authors' kernels: 333,320 and 7,043,681."""
    gan = SeqGAN(SeqGANConfig(vocabulary=5000, length=20))

    assert [sum(p.numel() for p in network.parameters()) for network in gan.networks.values()] == [333_320, 7_043_681]


def test_a_token_s_reward_is_the_mean_over_its_completions():
    """Equation 4: over N completions for a prefix, of the text itself for its last token."""
    torch.manual_seed(0)
    gan = SeqGAN(SEQGAN).eval().requires_grad_(False)
    tokens = gan.sample(8, seed=0).tensor
    train = SeqGANTrainConfig(rollouts=4)

    reward = gan.reward(tokens, gan.generator, train, Noise(5))  # type: ignore[arg-type]

    texts = complete_prefixes(gan.generator, tokens, 4, Noise(5))  # type: ignore[arg-type]
    for prefix in range(1, 6):
        expected = torch.stack([gan.discriminator(texts[:, prefix - 1, i]).sigmoid() for i in range(4)]).mean(0)
        torch.testing.assert_close(reward[:, prefix - 1], expected)
    torch.testing.assert_close(reward[:, -1], gan.discriminator(tokens).sigmoid())


def test_completions_have_the_logits_of_whole_texts():
    """Computing a prefix once for all its completions gives each text the logit that it has by itself."""
    torch.manual_seed(0)
    gan = SeqGAN(SeqGANConfig(vocabulary=30, length=7, kernel_widths=(1, 3, 7), kernel_maps=(5, 6, 7))).eval()
    tokens = gan.sample(5, seed=0).tensor
    with torch.no_grad():
        texts = complete_prefixes(gan.generator, tokens, 4, Noise(1))
        logits = gan.discriminator.score_completions(tokens, texts, chunk=2)

        torch.testing.assert_close(logits, gan.discriminator(texts.flatten(0, 2)).view(5, 6, 4))


def test_the_policy_gradient_makes_rewarded_tokens_likelier():
    """Where the discriminator likes token 5 alone, the generator learns to sample it."""
    torch.manual_seed(0)
    gan = SeqGAN(SEQGAN).requires_grad_(False)
    liking = torch.zeros(12)
    liking[5] = 6.0
    gan.discriminator.forward = lambda tokens: liking[tokens].mean(1) * 3 - 3  # type: ignore[method-assign]
    train = SeqGANTrainConfig(generator=OptimizerConfig(lr=1e-2), rollouts=2, baseline=True)
    (phase,) = [p for p in gan.phases(train) if p.name == "G"]
    before = (gan.sample(500, seed=1).tensor == 5).float().mean()
    for step in range(40):
        with trainable(phase.module):
            phase.optimizer.zero_grad()
            phase.loss(step_of(gan, seed=step))["loss"].backward()
        phase.optimizer.step()

    assert (gan.sample(500, seed=1).tensor == 5).float().mean() > before + 0.3


@pytest.mark.parametrize("reward", ["constant", "noise"])
def test_the_controls_never_call_the_discriminator(reward: str):
    """A control's rewards are 1, or random numbers, and the discriminator is not called for them."""
    gan = SeqGAN(SEQGAN).requires_grad_(False)
    gan.discriminator.forward = None  # type: ignore[method-assign, assignment]
    tokens = torch.full((50, 6), 3)

    rewards = gan.reward(tokens, gan.generator, SeqGANTrainConfig(reward=reward), Noise(0))  # type: ignore[arg-type]

    assert rewards.shape == (50, 6)
    assert (rewards.std() == 0) == (reward == "constant")
    assert 0 <= rewards.min() <= rewards.max() <= 1


def test_the_delayed_policy_follows_and_is_part_of_the_checkpoint():
    """It starts as the policy is at its first step, after pre-training. Then it keeps 0.8 of its weights at a step."""
    torch.manual_seed(0)
    gan = SeqGAN(SEQGAN).requires_grad_(False)
    (phase,) = [p for p in gan.phases(SeqGANTrainConfig(rollout_delay=0.8, rollouts=1)) if p.name == "G"]
    follower = phase.extra_state
    assert isinstance(follower, Follower)
    bias, embedding = gan.generator.output.bias, gan.generator.embedding.weight
    for change, lag in ((1.0, 0.0), (1.0, 0.8), (0.0, 0.64)):
        with torch.no_grad():
            bias += change
        phase.loss(step_of(gan))
        torch.testing.assert_close(follower.policy.output.bias, bias - lag)
    assert torch.equal(follower.policy.embedding.weight, embedding)
    assert "policy.output.bias" in follower.state_dict()


def test_pre_training_ends_where_the_adversarial_training_starts():
    """Maximum likelihood, then the discriminator alone, then both: algorithm 1."""
    phases = SeqGAN(SEQGAN).phases(SeqGANTrainConfig(pretrain_kimg=2.0, discriminator_kimg=1.0))
    due = [[phase.name for phase in phases if phase.is_due(0, kimg)] for kimg in (0.0, 1.99, 2.0, 2.99, 3.0, 100.0)]

    assert due == [["MLE"], ["MLE"], ["D"], ["D"], ["D", "G"], ["D", "G"]]


def test_kernels_need_their_number_of_maps():
    """Two widths with three numbers of maps are refused."""
    with pytest.raises(InvalidValueError, match="each width needs"):
        SeqGANConfig(**SIZES, kernel_widths=(1, 2), kernel_maps=(4, 4, 4))
