import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zoo.errors import InvalidValueError
from zoo.text.metrics.language_model import Config, LanguageModel, mask_padding, nll_per_token, train_language_model

SMALL = Config(embedding=8, hidden=16, dropout=0.1, batch=16, epochs=3, min_updates=120)


def rounds(n: int, *, seed: int) -> torch.Tensor:
    """Texts [n, 6] that count on from a random word among 2 to 9, and end after 3 to 6 of them."""
    rng = np.random.default_rng(seed)
    texts = 2 + (rng.integers(0, 8, (n, 1)) + np.arange(6)) % 8
    texts[np.arange(6) >= rng.integers(3, 7, (n, 1))] = 0
    return torch.from_numpy(texts)


def test_the_first_end_counts_and_padding_does_not():
    """A text is its tokens and one end, or its tokens alone where they fill the row."""
    tokens = torch.tensor([[5, 0, 0, 0], [5, 6, 7, 8], [0, 0, 0, 0]])
    assert mask_padding(tokens).tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]


def test_nats_per_token_are_those_of_the_counted_tokens():
    """Whatever follows an end, and in whatever chunks they are computed."""
    torch.manual_seed(0)
    logits = torch.randn(300, 4, 9)
    tokens = torch.randint(0, 9, (300, 4))
    expected = [
        float(F.cross_entropy(logits[i, t], tokens[i, t]))
        for i in range(300)
        for t in range(4)
        if 0 not in tokens[i, :t].tolist()
    ]
    parts = iter(logits.split(128))
    assert nll_per_token(lambda rows: next(parts), tokens) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_a_token_is_predicted_from_those_before_it_alone():
    """Changing a token changes no logits up to its own position, and those after it."""
    torch.manual_seed(0)
    model = LanguageModel(12, SMALL).eval()
    tokens = rounds(4, seed=0)
    changed = tokens.clone()
    changed[:, 2] = 11
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_features_do_not_see_the_padding():
    """The mean state of a text is the same in a longer row, and the same row alone."""
    torch.manual_seed(0)
    model = LanguageModel(12, SMALL).eval()
    tokens = rounds(300, seed=1)
    features = model.features(tokens)
    assert features.shape == (300, 16)
    torch.testing.assert_close(model.features(torch.cat([tokens, torch.zeros_like(tokens)], dim=1)), features)
    torch.testing.assert_close(model.features(tokens[:1]), features[:1])


def test_training_learns_the_language():
    """On texts that count on, what is left is where they begin and when they end."""
    model = train_language_model(rounds(400, seed=0), rounds(50, seed=1), 12, config=SMALL)
    least = (math.log(8) + math.log(4)) / 5.25  # a first word of eight, a length of four; 5.25 tokens in the mean
    assert least - 0.05 < model.nll(rounds(400, seed=2)) < least + 0.15
    assert model.nll(torch.randint(2, 10, (400, 6))) > 2


def test_the_weights_that_are_best_on_held_out_texts_are_kept():
    """Two texts are soon known by heart; texts of the language get likelier only at first."""
    lines: list[str] = []
    model = train_language_model(rounds(2, seed=0), rounds(50, seed=1), 12, config=SMALL, log=lines.append)
    nlls = [float(line.split()[4]) for line in lines]
    assert model.nll(rounds(50, seed=1)) == pytest.approx(min(nlls), abs=1e-4)
    assert min(nlls) < nlls[-1]


def test_training_is_a_function_of_its_arguments():
    """Same seed, same weights, whatever the global generator, which it leaves alone; another seed, others."""
    texts, held_out = rounds(40, seed=0), rounds(10, seed=1)
    quick = Config(embedding=4, hidden=4, batch=16, epochs=1, min_updates=1)
    first = train_language_model(texts, held_out, 12, config=quick, seed=3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = train_language_model(texts, held_out, 12, config=quick, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    other = train_language_model(texts, held_out, 12, config=quick, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([[2, 12]]), "vocabulary of 12; got 2 to 12"),
        (torch.tensor([[-1, 2]]), "got -1"),
        (torch.tensor([2, 3]), r"\[N, T\]"),
        (torch.zeros(2, 3), "float32"),
        (torch.zeros(0, 3, dtype=torch.int64), r"\[0, 3\]"),
    ],
)
def test_unusable_texts_are_refused(tokens, message):
    """Another shape or type, no text, and ids of another vocabulary raise InvalidValueError that says what it got."""
    with pytest.raises(InvalidValueError, match=message):
        LanguageModel(12, SMALL).nll(tokens)
