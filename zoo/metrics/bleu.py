"""BLEU of each text against all references, and Self-BLEU of each text against all others.

BLEU: Papineni et al. 2002, eqs. 1-4, per text, smoothed by method 1 of Chen & Cherry 2014 (0.1 instead of no match).
It is equal to nltk's `sentence_bleu` to the last digit. Self-BLEU: section 3 of Zhu et al. 2018 (Texygen),
arXiv:1802.01886.

The clip of an n-gram is its highest count in any one reference. It is found once for all texts, so the time grows with
the number of tokens. Scoring text by text would multiply that by the number of references. For Self-BLEU the text
itself does not count. The two highest counts, and the text that has the first, then give the clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import InvalidValueError

ORDERS = (2, 3, 4, 5)

Scores = dict[int, NDArray[np.float64]]
"""BLEU-n of every text [N], by n."""


def bleu(hypotheses: Sequence[ArrayLike], references: Sequence[ArrayLike], *, orders: Sequence[int] = ORDERS) -> Scores:
    """Compute BLEU-n in [0, 1], with weights 1/n, of every hypothesis against all references, for each n of `orders`.

    Texts are sequences of integers of any length; an empty one scores 0. The score grows with the number of references,
    so it is comparable for the same references only. Raises InvalidValueError for no reference or an order below 1.
    """
    if len(references) == 0:
        raise InvalidValueError("BLEU needs at least 1 reference")
    grams = _Grams([*hypotheses, *references], max(_check(orders)))
    is_reference = np.arange(len(grams.lengths)) >= len(hypotheses)
    lengths = grams.lengths[: len(hypotheses)]
    matches = []
    for gram, owner, count in grams:
        clip = np.zeros(gram.max(initial=-1) + 1, dtype=np.int64)
        of_reference = is_reference[owner]
        np.maximum.at(clip, gram[of_reference], count[of_reference])
        clipped = np.minimum(count, clip[gram])[~of_reference]
        matches.append(_sum_by(owner[~of_reference], clipped, len(hypotheses)))
    closest = _closest(lengths, grams.lengths[len(hypotheses) :])
    return _scores(np.stack(matches, axis=1), lengths, closest, orders)


def self_bleu(texts: Sequence[ArrayLike], *, orders: Sequence[int] = ORDERS) -> Scores:
    """Compute BLEU-n of every text against all other texts, for each n of `orders`. It is high where they are alike.

    Raises InvalidValueError for fewer than 2 texts or an order below 1.
    """
    if len(texts) < 2:
        raise InvalidValueError(f"Self-BLEU needs at least 2 texts; got {len(texts)}")
    grams = _Grams(texts, max(_check(orders)))
    matches = []
    for gram, owner, count in grams:
        order = np.lexsort((-count, gram))  # by n-gram, the highest count first
        gram, owner, count = gram[order], owner[order], count[order]
        first = np.flatnonzero(np.diff(gram, prepend=-1))  # n-grams are numbered: row g of `first` is that of n-gram g
        second = np.where(np.diff(first, append=len(gram)) > 1, first + 1, -1)
        second_count = np.where(second >= 0, count[second], 0) if len(count) else count
        clip = np.where(owner == owner[first][gram], second_count[gram], count[first][gram])
        matches.append(_sum_by(owner, np.minimum(count, clip), len(texts)))
    closest = _closest_other(grams.lengths)
    return _scores(np.stack(matches, axis=1), grams.lengths, closest, orders)


class _Grams:
    """The n-grams of all texts, order by order: (n-gram, text, count in that text), each pair once."""

    def __init__(self, texts: Sequence[ArrayLike], max_order: int) -> None:
        arrays = [np.asarray(text) for text in texts]
        if any(array.ndim != 1 or (array.size and array.dtype.kind not in "iu") for array in arrays):
            raise InvalidValueError("texts must be sequences of integers")
        self.max_order = max_order
        self.lengths = np.array([len(array) for array in arrays], dtype=np.int64)
        tokens = np.concatenate([array.astype(np.int64) for array in arrays]) if arrays else np.empty(0, np.int64)
        self.tokens = np.unique(tokens, return_inverse=True)[1]
        self.owner = np.repeat(np.arange(len(arrays)), self.lengths)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        num_texts = max(len(self.lengths), 1)
        num_tokens = self.tokens.max(initial=0) + 1
        gram = np.zeros(len(self.tokens), dtype=np.int64)  # the number of the (n-1)-gram that starts at each token
        for n in range(1, self.max_order + 1):
            last = self.tokens[n - 1 :]
            inside = self.owner[: len(last)] == self.owner[n - 1 :]  # else it would extend into the next text
            gram = gram[: len(last)] * num_tokens + last
            gram[~inside] = -1
            gram = np.unique(gram, return_inverse=True)[1] - (not inside.all())
            pairs, count = np.unique(gram[inside] * num_texts + self.owner[: len(last)][inside], return_counts=True)
            yield pairs // num_texts, pairs % num_texts, count
            gram = np.where(inside, gram, 0)


def _check(orders: Sequence[int]) -> Sequence[int]:
    if not orders or min(orders) < 1:
        raise InvalidValueError(f"orders of BLEU must be at least 1; got {list(orders)}")
    return orders


def _sum_by(owner: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(owner, weights=values, minlength=count).astype(np.int64)  # whole numbers below 2^53: exact


def _closest(lengths: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Find the reference length nearest to each length, the shorter of two equally near."""
    known = np.unique(references)
    wanted, which = np.unique(lengths, return_inverse=True)
    return np.array([_nearest(known, length) for length in wanted], dtype=np.int64)[which]


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """Find the length among the other texts that is nearest to each text's own."""
    known, which, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    nearest = [
        length if count > 1 else _nearest(known[known != length], length)
        for length, count in zip(known, counts, strict=True)
    ]
    return np.array(nearest, dtype=np.int64)[which]


def _nearest(known: np.ndarray, length: int) -> int:
    return int(known[np.abs(known - length).argmin()])  # the first of equals; `known` ascends


def _scores(matches: np.ndarray, lengths: np.ndarray, closest: np.ndarray, orders: Sequence[int]) -> Scores:
    """Compute BLEU from the clipped matches [N, max n], in Python's own floats, whose last digits are nltk's."""
    scores = {n: np.zeros(len(lengths)) for n in orders}
    for i, (row, length, reference) in enumerate(
        zip(matches.tolist(), lengths.tolist(), closest.tolist(), strict=True)
    ):
        if row[0] == 0:
            continue  # no word of it is in a reference
        logs = [math.log((hits or 0.1) / max(length - n, 1)) for n, hits in enumerate(row)]
        brevity = 1.0 if length > reference else math.exp(1 - reference / length)
        for n in orders:
            weight = 1 / n
            scores[n][i] = brevity * math.exp(math.fsum(weight * value for value in logs[:n]))
    return scores
