import math
from pathlib import Path

import pytest
import torch

from zoo.errors import InvalidFileError, InvalidValueError
from zoo.text.oracle.model import Oracle, load_oracle


def test_the_oracle_is_its_seed():
    """Every parameter is N(0, 1), the same for one seed and others for another."""
    oracle = Oracle(0)
    values = torch.cat([parameter.flatten() for parameter in oracle.parameters()])
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    assert sum(parameter.numel() for parameter in oracle.parameters()) == 333_320
    assert all(torch.equal(a, b) for a, b in zip(Oracle(0).parameters(), oracle.parameters(), strict=True))
    assert not torch.equal(Oracle(1).embedding, oracle.embedding)


def test_samples_follow_the_oracles_own_probabilities():
    """With few words and one step, frequencies are the probabilities; a low temperature keeps to the likeliest."""
    oracle = Oracle(3, vocabulary=7, dim=4)
    probabilities = torch.exp(-oracle.nll(torch.arange(7)[:, None]))[:, 0]
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    samples = oracle.sample(20_000, 1, seed=0)
    frequencies = torch.bincount(samples[:, 0], minlength=7) / 20_000
    assert (frequencies - probabilities).abs().max() < 4 * math.sqrt(0.25 / 20_000)
    assert (oracle.sample(50, 1, seed=0, temperature=1e-3) == probabilities.argmax()).all()


def test_samples_do_not_depend_on_the_batch():
    """One seed gives the same texts in batches of any size, and fewer texts are the first of more."""
    oracle = Oracle(0, vocabulary=50, dim=8)
    texts = oracle.sample(20, 6, seed=5)
    assert torch.equal(oracle.sample(20, 6, seed=5, batch_size=3), texts)
    assert torch.equal(oracle.sample(4, 6, seed=5), texts[:4])
    assert torch.allclose(oracle.nll(texts, batch_size=3), oracle.nll(texts), atol=1e-5)


def test_its_own_samples_score_its_entropy():
    """The mean NLL of its samples is its entropy, far below that of random words; sharpened samples go below it."""
    oracle = Oracle(0, vocabulary=200, dim=16)
    entropy, error = oracle.own_nll(8, samples=2000)
    again, _ = oracle.own_nll(8, samples=2000, seed=1)
    assert abs(entropy - again) < 5 * error
    rng = torch.Generator().manual_seed(0)
    assert oracle.nll(torch.randint(200, (500, 8), generator=rng)).mean() > entropy + 1
    assert oracle.nll(oracle.sample(500, 8, seed=0, temperature=0.5)).mean() < entropy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda oracle: oracle.sample(0, seed=0), "at least 1"),
        (lambda oracle: oracle.sample(1, seed=0, temperature=0), "above 0"),
        (lambda oracle: oracle.sample(1, seed=0, temperature=math.nan), "above 0"),
        (lambda oracle: oracle.nll(torch.tensor([[9]])), "0 to 8; got 9"),
        (lambda oracle: oracle.nll(torch.tensor([1, 2])), r"\[N, T\]"),
        (lambda oracle: oracle.nll(torch.zeros(2, 3)), "float32"),
    ],
)
def test_unusable_arguments_are_refused(call, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        call(Oracle(0, vocabulary=9, dim=2))


def test_another_oracles_weights_are_refused(tmp_path: Path):
    """A file of another shape does not load."""
    from zoo.io.weights import write_weights

    write_weights(Oracle(0, vocabulary=9, dim=2).state_dict(), tmp_path / "small.safetensors")
    with pytest.raises(InvalidFileError, match="shape"):
        load_oracle(tmp_path / "small.safetensors")
