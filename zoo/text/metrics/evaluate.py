"""The metrics of generated texts against held-out texts, each beside real against real.

No metric measures quality alone. One good text that is repeated has a good BLEU, LM score and verse rates, or better.
Self-BLEU, the reverse LM score and the two distances show it. Duplicates and copies show the rest. All of them depend
on the sampling temperature, so two models are compared by whole curves (`curve.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from zoo.data import Store
from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.gan import GAN
from zoo.metrics.bleu import bleu, self_bleu
from zoo.metrics.frechet import frechet_distance
from zoo.metrics.mauve import frontier_divergence
from zoo.metrics.report import Metric
from zoo.recipe import EvaluateConfig
from zoo.text.data.datasets import decode
from zoo.text.data.vocabulary import END, UNK, Vocabulary
from zoo.text.gan import TextGAN
from zoo.text.metrics import verse
from zoo.text.metrics.evaluator import HELD_OUT_SHARE, TextEncoder, load_encoder, open_evaluator
from zoo.text.metrics.language_model import LanguageModel, train_language_model

NUM_REVERSE = 10_000  # samples that the reverse language model learns from, where the training split has as many

Progress = Callable[[int, int], None]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """Compute all metrics of `gan` against the test split of `store`.

    BLEU takes the whole test split as references, so it is comparable on one data set only. For real against real,
    texts of the training split replace the samples. Two metrics use the training split themselves: `lm`, whose
    evaluator was trained on it, and `copied`. For these, texts of the test split replace the samples.

    Raises:
        InvalidValueError: more samples than a split holds; texts in other tokens than the model's.
    """
    if not has_same_tokens(gan, store):
        raise InvalidValueError(
            f"{store.about['name']}: its texts are stored in other tokens than the model's, which can be compared with "
            "texts in its own alone, such as those that it was trained on"
        )
    count, seed = settings.samples, settings.seed
    test, train = read_split(store, "test"), read_split(store, "train")
    real, other = _real_texts(store, settings)
    num_reverse = min(NUM_REVERSE, len(train))
    total = 2 * num_reverse + 6 * count
    report = progress or (lambda done, total: None)

    name, evaluator = open_evaluator(store)
    evaluator.to(gan.device)
    encoder = load_encoder(settings.features, store, device=gan.device)
    samples = sample_texts(gan, max(count, num_reverse), seed=seed)
    fake = samples[:count]
    report(2 * count, total)
    metrics = [*_likelihood_metrics(gan, test, draws=num_reverse, seed=seed), *_overlap_metrics(test, fake, other)]
    report(4 * count, total)
    metrics += [
        Metric(
            name="lm",
            value=evaluator.nll(fake),
            real_vs_real=evaluator.nll(test),
            better="lower",
            count=count,
            extractor=name,
        ),
        Metric(
            name="rlm",
            value=reverse_score(samples[:num_reverse], test, evaluator.vocabulary, seed=seed),
            real_vs_real=reverse_score(choose_texts(train, num_reverse, seed), test, evaluator.vocabulary, seed=seed),
            better="lower",
            count=num_reverse,
            extractor="lstm of the samples",
            seed=seed,
        ),
    ]
    report(4 * count + 2 * num_reverse, total)
    metrics += _distance_metrics(encoder, real, fake, other, seed=seed)
    report(total - count, total)
    metrics += [*_copy_metrics(fake, other, test, train), *_verse_metrics(store, fake, other)]
    report(total, total)
    return metrics


def has_same_tokens(gan: GAN, store: Store) -> bool:
    """Tell whether the model's tokens are those of the stored texts."""
    if not isinstance(gan, TextGAN) or gan.vocabulary is None:
        return True
    return gan.vocabulary.tokens == Vocabulary.open(store.folder / "tokenizer.json").tokens


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Return a function that evaluates a generator during its training, by metrics that are quick.

    The best checkpoint is chosen by the first. It is `nll_held_out` where the generator gives likelihoods, else
    `frechet_distance`.
    """
    test = read_split(store, "test")
    real, other = _real_texts(store, settings)

    @cache
    def encoder(device: torch.device) -> TextEncoder:  # at first use, because that of your own data is trained then
        return load_encoder(settings.features, store, device=device)

    def evaluate_generator(gan: GAN) -> list[Metric]:
        fake = sample_texts(gan, settings.samples, seed=settings.seed)
        first = _likelihood_metrics(gan, test, draws=settings.samples, seed=settings.seed)
        if not first:
            first = _distance_metrics(encoder(gan.device), real, fake, other, seed=settings.seed)
        return [*first, *_overlap_metrics(test, fake, other, orders=(4,))]

    return evaluate_generator


def reverse_score(samples: Tensor, test: Tensor, vocabulary: int, *, seed: int) -> float:
    """Compute nats per token of `test` under a language model that was trained on `samples` [N, T].

    Held-out samples, not real texts, tell when its training stops. Raises InvalidValueError for fewer than 2 samples.
    """
    return train_reverse_model(samples, vocabulary, seed=seed).nll(test)


def train_reverse_model(samples: Tensor, vocabulary: int, *, seed: int) -> LanguageModel:
    """Train a language model on `samples`; see `reverse_score`."""
    if len(samples) < 2:
        raise InvalidValueError(f"a language model of samples needs at least 2; got {len(samples)}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(samples)))
    num_held_out = max(1, round(HELD_OUT_SHARE * len(samples)))
    return train_language_model(samples[order[num_held_out:]], samples[order[:num_held_out]], vocabulary, seed=seed)


def trim_texts(tokens: Tensor) -> list[np.ndarray]:
    """Return texts [N, T] as arrays of their own lengths, without ends and padding."""
    rows = tokens.numpy()
    lengths = np.where((rows == END).any(1), (rows == END).argmax(1), rows.shape[1])
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def sample_texts(gan: GAN, n: int, *, seed: int, **options: Any) -> Tensor:
    """Sample n texts [n, T]; `options` are those of `GAN.sample`, such as a temperature."""
    return gan.sample(n, seed=seed, batch_size=256, **options).tensor.cpu()


def read_split(store: Store, split: Literal["train", "test"]) -> Tensor:
    """Read the texts of a split, int64 [N, T]."""
    return decode(store.samples[store.indices(split)])


def _real_texts(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor]:
    """Choose texts of the test split, and as many of the training split. Raises InvalidValueError for too few texts."""
    test, train = read_split(store, "test"), read_split(store, "train")
    if settings.samples > min(len(test), len(train)):
        raise InvalidValueError(
            f"evaluate.samples = {settings.samples} is more than the {min(len(test), len(train))} held-out texts"
        )
    return choose_texts(test, settings.samples, settings.seed), choose_texts(train, settings.samples, settings.seed)


def choose_texts(texts: Tensor, count: int, seed: int) -> Tensor:
    """Choose `count` texts at random; fewer are the first of more."""
    return texts[np.random.default_rng(seed).permutation(len(texts))[:count]]


def _likelihood_metrics(gan: GAN, test: Tensor, *, draws: int, seed: int) -> list[Metric]:
    return cast(TextGAN, gan).measure_likelihood(test, draws=draws, seed=seed)


def _overlap_metrics(
    test: Tensor, fake: Tensor, other: Tensor, *, orders: Sequence[int] = (2, 3, 4, 5)
) -> list[Metric]:
    """Compute mean BLEU against the whole test split, and mean Self-BLEU.

    Samples whose Self-BLEU is above that of real texts are too alike.
    """
    references, fakes, others = trim_texts(test), trim_texts(fake), trim_texts(other)
    scores, real_scores = (bleu(texts, references, orders=orders) for texts in (fakes, others))
    self_scores, real_self_scores = (self_bleu(texts, orders=orders) for texts in (fakes, others))
    return [
        Metric(
            name=f"{kind}_{n}",
            value=float(values[n].mean()),
            real_vs_real=float(real_values[n].mean()),
            better="higher" if kind == "bleu" else "near real",
            count=len(fake),
            extractor=extractor,
        )
        for kind, values, real_values, extractor in (
            ("bleu", scores, real_scores, f"{len(references)} references"),
            ("self_bleu", self_scores, real_self_scores, None),
        )
        for n in orders
    ]


def _distance_metrics(encoder: TextEncoder, real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """Compute the Fréchet distance and the frontier divergence of the encoder's features."""
    real, fake, other = (encoder(texts) for texts in (real, fake, other))
    frechet = Metric(
        name="frechet_distance",
        value=frechet_distance(real, fake),
        real_vs_real=frechet_distance(real, other),
        better="lower",
        count=len(fake),
        extractor=encoder.name,
        dimensions=real.shape[1],
    )
    divergence = Metric(
        name="divergence",
        value=frontier_divergence(real, fake, seed=seed),
        real_vs_real=frontier_divergence(real, other, seed=seed),
        better="lower",
        count=len(fake),
        extractor=encoder.name,
        seed=seed,
    )
    return [frechet, divergence]


def _copy_metrics(fake: Tensor, other: Tensor, test: Tensor, train: Tensor) -> list[Metric]:
    """Compute the share of samples that repeat another one, and of those that are in the training split."""
    texts, other_texts, test_texts, known = (
        [text.tobytes() for text in trim_texts(tokens)] for tokens in (fake, other, test, train)
    )
    training = set(known)

    def share_repeated(texts: Sequence[bytes]) -> float:
        return 1 - len(set(texts)) / len(texts)

    def share_copied(texts: Sequence[bytes]) -> float:
        return sum(text in training for text in texts) / len(texts)

    return [
        Metric(
            name=name,
            value=value,
            real_vs_real=real_value,
            better="lower",
            count=len(fake),
            extractor=extractor,
        )
        for name, value, real_value, extractor in (
            ("duplicates", share_repeated(texts), share_repeated(other_texts), None),
            ("copied", share_copied(texts), share_copied(test_texts), f"{len(known)} training texts"),
        )
    ]


def _verse_metrics(store: Store, fake: Tensor, other: Tensor) -> list[Metric]:
    """Compute the shares of quatrains, of rhymes, and of lines with alternating tones, where the data are quatrains."""
    vocabulary = Vocabulary.open(store.folder / "tokenizer.json")
    length = verse.find_line_length([vocabulary.decode(row) for row in other.tolist()])
    if length is None:
        return []
    poems, real_poems = (_find_quatrains(tokens, vocabulary, length) for tokens in (fake, other))
    rates = [("four_lines", len(poems) / len(fake), len(real_poems) / len(other), f"4 lines of {length} known")]
    try:
        read = verse.make_reader()
    except MissingDependencyError as missing:
        warnings.warn(f"no rhymes and tones metrics: {missing}", stacklevel=2)
    else:
        rhymes, real_rhymes = (_share([verse.rhymes(lines, read) for lines in some]) for some in (poems, real_poems))
        tones, real_tones = (
            _share([verse.alternates(line, read) for lines in some for line in lines]) for some in (poems, real_poems)
        )
        rates += [
            ("rhymes", rhymes, real_rhymes, "pypinyin, Mandarin"),
            ("tones", tones, real_tones, "pypinyin, Mandarin"),
        ]
    return [
        Metric(
            name=name, value=value, real_vs_real=real_value, better="near real", count=len(fake), extractor=extractor
        )
        for name, value, real_value, extractor in rates
    ]


def _find_quatrains(tokens: Tensor, vocabulary: Vocabulary, length: int) -> list[list[str]]:
    """Return the lines of those texts that are four lines of `length` known characters."""
    texts = [vocabulary.decode(row) for row in tokens[(tokens != UNK).all(1)].tolist()]
    return [lines for text in texts if (lines := verse.split_quatrain(text, length)) is not None]


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
