"""RelGAN against its paper's equations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.noise import Noise
from zoo.recipe import LossName
from zoo.text.architectures.relgan import Discriminator, RelationalMemory, RelGAN, RelGANConfig, RelGANTrainConfig
from zoo.training.phases import Step

SIZES = {"vocabulary": 12, "length": 6, "banned": (0, 1)}


def step_of(gan: torch.nn.Module, n: int = 64, kimg: float = 0.0, seed: int = 0) -> Step:
    real = torch.randint(2, 12, (n, 6), generator=torch.Generator().manual_seed(seed))
    return Step(gan, real, Noise(seed), train_generator=True, kimg=kimg)  # type: ignore[arg-type]


def test_the_relaxation_becomes_the_token_as_beta_grows():
    """A relaxed token is a distribution; at a high inverse temperature it is the one-hot vector of argmax(o + g)."""
    torch.manual_seed(0)
    policy = RelationalMemory(RelGANConfig(**SIZES, head_dim=4)).requires_grad_(False)
    uniforms = Noise(0).uniform(16, 6, 12)

    soft, hard = policy.relax(uniforms, 1.0), policy.relax(uniforms, 1e4)

    torch.testing.assert_close(soft.sum(-1), torch.ones(16, 6))
    assert torch.equal(soft.argmax(-1), hard.argmax(-1))
    assert hard.max(-1).values.min() > 0.99 > soft.max(-1).values.mean()
    assert (soft[..., :2] == 0).all()


def test_gumbel_noise_samples_tokens_with_their_probabilities():
    """The argmax of noisy logits comes as often as the softmax says (the Gumbel-max trick)."""
    torch.manual_seed(0)
    policy = RelationalMemory(RelGANConfig(**SIZES, head_dim=4)).requires_grad_(False)
    first = policy.relax(Noise(0).uniform(20_000, 1, 12), 1.0)[:, 0].argmax(-1)
    state = policy.read(torch.zeros(1, dtype=torch.long), policy.initial_state(1))

    expected = (policy.next_logits(state)[0] + policy.banned).softmax(-1)
    torch.testing.assert_close(first.bincount(minlength=12) / 20_000, expected, rtol=0, atol=0.02)


def test_tokens_and_their_one_hot_vectors_are_scored_alike():
    """The discriminator reads a token as the certain distribution."""
    torch.manual_seed(0)
    tokens = torch.randint(2, 12, (5, 6))
    discriminator = Discriminator(RelGANConfig(**SIZES, head_dim=4, maps=4)).eval()

    torch.testing.assert_close(discriminator(tokens), discriminator(F.one_hot(tokens, 12).float()))


def test_relgan_s_inverse_temperature_grows_from_1_to_its_maximum():
    """beta = beta_max^(n / N) over the adversarial training, which starts after pre-training (section 2.4)."""
    gan = RelGAN(RelGANConfig(**SIZES, head_dim=4, maps=4)).requires_grad_(False)
    train = RelGANTrainConfig(total_kimg=3.0, pretrain_kimg=1.0, beta_max=100.0)
    (phase,) = [p for p in gan.phases(train) if p.name == "D"]
    betas: list[float] = []
    relax = gan.generator.relax
    gan.generator.relax = lambda uniforms, beta: betas.append(beta) or relax(uniforms, beta)  # type: ignore
    for kimg in (1.0, 2.0, 3.0):
        phase.loss(step_of(gan, kimg=kimg))

    assert betas == pytest.approx([1.0, 10.0, 100.0])


@pytest.mark.parametrize("loss", ["non_saturating", "hinge", "relativistic"])
def test_relgan_s_generator_is_compared_with_real_texts_by_relative_losses_alone(loss: LossName):
    """Other losses take its texts alone, so that real texts do not matter to it."""
    gan = RelGAN(RelGANConfig(**SIZES, head_dim=4, maps=4, discriminator_dropout=0)).requires_grad_(False)
    (phase,) = [p for p in gan.phases(RelGANTrainConfig(loss=loss)) if p.name == "G"]
    steps = [step_of(gan), step_of(gan)]
    steps[1].real = steps[1].real.flip(1)

    losses = [float(phase.loss(step)["loss"]) for step in steps]
    assert (losses[0] == losses[1]) == (loss != "relativistic")
