"""The residual energy model against its paper's equations."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.text.architectures.ebm import EBMConfig, ResidualEBM, ResidualModel, bound_log_mean_exp
from zoo.text.architectures.mle import MLE
from zoo.text.lstm import LSTMConfig
from zoo.text.policies import fill_after_end, token_mask

WORDS, LENGTH = 5, 3
SIZES = {"vocabulary": WORDS, "length": LENGTH, "ends": True, "banned": (1,), "embedding_dim": 8, "hidden_dim": 8}


def make_model(candidates: int = 64) -> ResidualEBM:
    """A model whose weights are random and large enough that its energy matters."""
    torch.manual_seed(3)
    gan = ResidualEBM(EBMConfig(**SIZES, energy_dim=8, candidates=candidates)).eval().requires_grad_(False)
    for parameter in gan.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    gan.policy.output.bias[1] = -torch.inf  # banned, so that likelihood and samples are of one distribution
    return gan


def list_texts() -> torch.Tensor:
    """All texts of these words up to this length, without the banned one."""
    words = [word for word in range(WORDS) if word != 1]
    rows = torch.tensor(list(itertools.product(words, repeat=LENGTH)))
    return fill_after_end(rows).unique(dim=0)


def true_distribution(gan: ResidualEBM, texts: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The logarithm of P exp(-E) / Z of all texts, and log Z, by adding all up."""
    mask = token_mask(texts, gan.config)
    policy = (gan.policy.log_probabilities(texts) * mask).sum(1).double()
    assert float(policy.exp().sum()) == pytest.approx(1, abs=1e-5)
    joint = policy + gan.generator.score(texts).double()
    log_z = float(joint.logsumexp(0))
    return joint - log_z, log_z


def test_samples_follow_the_policy_times_the_energy():
    """Equation 1: with many candidates the texts have probabilities P exp(-E) / Z, and not those of P."""
    gan, texts = make_model(), list_texts()
    truth = true_distribution(gan, texts)[0].exp()
    policy = (gan.policy.log_probabilities(texts) * token_mask(texts, gan.config)).sum(1).exp().double()

    def count(samples: torch.Tensor) -> torch.Tensor:
        return (samples[:, None] == texts).all(2).double().mean(0)

    found, alone = count(gan.sample(4000, seed=0).tensor), count(gan.sample(4000, seed=0, candidates=1).tensor)
    assert (found - truth).abs().sum() < 0.1 < 0.3 < (policy - truth).abs().sum()
    assert (alone - policy).abs().sum() < 0.1


def test_the_bounds_of_the_likelihood_enclose_the_true_one():
    """Held-out texts cost what adding up over all texts gives, between the two bounds and near to both."""
    gan, texts = make_model(), list_texts()
    logarithms, _ = true_distribution(gan, texts)
    truth = -float(logarithms.sum()) / float(token_mask(texts, gan.config).sum())

    found = {metric.name: metric.value for metric in gan.measure_likelihood(texts, draws=20_000, seed=1)}

    assert found["nll_lower_bound"] <= truth + 0.01
    assert truth - 0.01 <= found["nll_held_out"]
    assert found["nll_held_out"] - found["nll_lower_bound"] < 0.01
    assert 1 < found["effective_candidates"] < 64


def test_bounds_come_from_below_and_above():
    """Theorem 2: over many small sets, the plug-in estimate is too low on average and the other bound too high."""
    sets = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = torch.tensor([bound_log_mean_exp(scores) for scores in sets])

    low, high = bounds.mean(0)
    assert low < 0.5 - 0.01 < 0.5 + 0.001 < high  # log E exp(x) = 1/2 of x ~ N(0, 1)
    assert bound_log_mean_exp(torch.full((5,), 2.0)) == pytest.approx((2.0, 2.0))


def test_an_energy_of_zero_is_the_language_model():
    """Before its training the energy is 0: texts cost what they cost the language model, and all candidates count."""
    torch.manual_seed(0)
    gan = ResidualEBM(EBMConfig(**SIZES, energy_dim=8)).eval()
    texts = list_texts()

    found = {metric.name: metric.value for metric in gan.measure_likelihood(texts, draws=64, seed=0)}

    assert found["nll_held_out"] == pytest.approx(found["nll_policy"]) == found["nll_lower_bound"]
    assert found["effective_candidates"] == pytest.approx(32)


def test_the_energy_does_not_see_the_padding():
    """Texts have the same energy, however long the padding after their end."""
    torch.manual_seed(0)
    model = ResidualModel(EBMConfig(**{**SIZES, "length": 6}, energy_dim=8)).eval()
    torch.nn.init.normal_(model.energy.output.weight)
    texts = torch.tensor([[2, 3, 0, 0, 0, 0], [4, 2, 3, 0, 0, 0]])

    with torch.no_grad():
        torch.testing.assert_close(model.score(texts), model.score(texts[:, :4]))


def test_a_training_starts_from_the_language_model():
    """Weights of text-mle become the language model; those of others are refused."""
    start = MLE(LSTMConfig(**SIZES))
    state = ResidualEBM.states_to_start(start)["generator"]

    gan = ResidualEBM(EBMConfig(**SIZES, energy_dim=8))
    missing = gan.generator.load_state_dict(state, strict=False).missing_keys

    assert all(name.startswith("energy.") for name in missing)
    texts = list_texts()
    assert torch.equal(gan.eval().policy.logits(texts), start.eval().generator.logits(texts))
    with pytest.raises(InvalidValueError, match="ResidualEBM"):
        MLE.states_to_start(gan)


def test_the_number_of_candidates_is_checked():
    """A number of candidates out of range is refused in one line."""
    with pytest.raises(InvalidValueError, match="candidates = 0 should be 1 to 1024"):
        make_model().sample(1, candidates=0)


def test_texts_are_a_function_of_their_latents():
    """A latent has a row of uniform numbers for each candidate, and one number more that chooses."""
    gan = make_model(candidates=4)
    latents = gan.latents(3, Noise(0))
    assert latents.shape == (3, 4, LENGTH + 1)
    latents[..., -1] = torch.tensor([0.0, 1 - 2**-24, 0.0, 0.0])  # certain to choose the second one

    chosen = gan.generate(latents).tensor

    assert torch.equal(chosen, gan.policy(latents[:, 1, :-1]))
    assert math.isfinite(float(gan.generator.score(chosen).sum()))
