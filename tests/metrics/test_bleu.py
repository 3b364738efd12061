import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zoo.errors import InvalidValueError
from zoo.metrics.bleu import bleu, self_bleu

nltk_bleu = pytest.importorskip("nltk.translate.bleu_score")

texts = st.lists(st.lists(st.integers(0, 4), max_size=9), min_size=1, max_size=8)


def nltk(references: list[list[int]], hypothesis: list[int], n: int) -> float:
    smoothing = nltk_bleu.SmoothingFunction().method1
    return nltk_bleu.sentence_bleu(references, hypothesis, weights=(1 / n,) * n, smoothing_function=smoothing)


@given(hypotheses=texts, references=texts)
@example(hypotheses=[[1, 2, 3, 4, 5]], references=[[1, 2, 3], [1, 2, 3, 4, 5, 6, 7]])  # equally near lengths
@example(hypotheses=[[]], references=[[]])
@settings(max_examples=300, deadline=None)
def test_bleu_is_nltks_to_the_last_digit(hypotheses, references):
    """Every order of every text, whatever the lengths, is the very float of sentence_bleu with method1."""
    scores = bleu(hypotheses, references, orders=(1, 2, 3, 4, 5))
    for n, values in scores.items():
        assert values.tolist() == [nltk(references, hypothesis, n) for hypothesis in hypotheses]


@given(texts=texts.filter(lambda some: len(some) > 1))
@example(texts=[[1, 1, 1], [1, 1], [2]])  # the two highest counts of one word, and a length that only one has
@settings(max_examples=300, deadline=None)
def test_self_bleu_is_nltks_with_the_text_itself_left_out(texts):
    """Each text is scored against exactly the others, copies of it among them."""
    scores = self_bleu(texts, orders=(1, 2, 3, 4, 5))
    for n, values in scores.items():
        others = [texts[:i] + texts[i + 1 :] for i in range(len(texts))]
        assert values.tolist() == [nltk(rest, text, n) for rest, text in zip(others, texts, strict=True)]


def test_copies_score_one_and_strangers_nothing():
    """A text that is a reference has BLEU 1; one that shares no word has 0; two equal texts have Self-BLEU 1."""
    scores = bleu([[3, 1, 4, 1, 5], [9, 9, 9]], [[3, 1, 4, 1, 5], [2, 7]])
    assert [values.tolist() for values in scores.values()] == [[1, 0]] * 4
    assert self_bleu([[3, 1, 4, 1, 5], [3, 1, 4, 1, 5], [2, 7]])[4].tolist() == [1, 1, 0]


def test_any_integers_and_arrays_are_tokens():
    """Ids need be neither small nor positive, and rows of an array are texts."""
    rows = np.array([[-5, 2**40, 7], [2**40, 7, 7]])
    assert (
        bleu(rows, rows[:1], orders=(2,))[2].tolist()
        == bleu([[0, 1, 2], [1, 2, 2]], [[0, 1, 2]], orders=(2,))[2].tolist()
    )


def test_the_clip_is_found_once_for_all_texts():
    """Of 10,000 texts and as many references, scores are those of each text alone: no pair is compared by itself."""
    rows = np.random.default_rng(0).zipf(1.3, (20_000, 20)) % 5000
    texts, references = rows[:10_000], rows[10_000:]
    scores, self_scores = bleu(texts, references), self_bleu(texts)
    assert bleu(texts[:1], references)[4][0] == scores[4][0]
    assert bleu(texts[:1], texts[1:])[4][0] == self_scores[4][0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bleu([[1]], []), "at least 1 reference"),
        (lambda: self_bleu([[1]]), "at least 2 texts"),
        (lambda: bleu([[1]], [[1]], orders=(0,)), "at least 1"),
        (lambda: bleu([[1.5]], [[1]]), "integers"),
        (lambda: bleu([["a"]], [["a"]]), "integers"),
    ],
)
def test_unusable_arguments_are_refused(call, message):
    """Each raises InvalidValueError that says what was wrong."""
    with pytest.raises(InvalidValueError, match=message):
        call()
