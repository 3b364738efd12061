"""How a generator of texts is judged: against held-out texts, and each figure beside real texts against the same.

No figure stands for quality alone. BLEU, the LM score and the verse rates are as good or better for a sample that is
repeated for ever; Self-BLEU, the reverse LM score and the two distances tell that; duplicates and copies tell the rest.
And all of them move with the sampling temperature, so that two models are compared by whole curves (`zoo.text.curve`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

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
from zoo.text.metrics.evaluator import HELD_OUT_SHARE, TextEncoder, open_evaluator, load_encoder
from zoo.text.metrics.language_model import LanguageModel, nll_per_token, train_language_model

NUM_REVERSE = 10_000  # samples that the reverse language model learns from, where the training split has as many

Progress = Callable[[int, int], None]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """All metrics of `gan` against the test split of `store`.

    BLEU takes the whole test split as references, so it is comparable for one data set only. The floors score texts of
    the training split in the samples' place; those of the test split where a figure rests on the training split itself:
    `lm`, by the evaluator that was trained on it, and `copied` from it.

    Raises:
        InvalidValueError: more samples asked for than either split holds; texts in other tokens than the model's.
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
    encoder = load_encoder(settings.features, store)
    drawn = sample_texts(gan, max(count, num_reverse), seed=seed)
    fake = drawn[:count]
    report(2 * count, total)
    metrics = [*_likelihood_metrics(gan, test), *_overlap_metrics(test, fake, other)]
    report(4 * count, total)
    metrics += [
        Metric(
            name="lm",
            value=evaluator.nll(fake),
            real_vs_real=evaluator.nll(test),
            higher_is_better=False,
            count=count,
            extractor=name,
        ),
        Metric(
            name="rlm",
            value=reverse_score(drawn[:num_reverse], test, evaluator.vocabulary, seed=seed),
            real_vs_real=reverse_score(choose_texts(train, num_reverse, seed), test, evaluator.vocabulary, seed=seed),
            higher_is_better=False,
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
    """Whether the model writes in the tokens in which the texts are stored."""
    if not isinstance(gan, TextGAN) or gan.vocabulary is None:
        return True
    return gan.vocabulary.tokens == Vocabulary.open(store.folder / "tokenizer.json").tokens


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Scores a generator while it trains, by what is quick.

    The first figure, by which the best state is chosen, is `nll_held_out` where the generator gives likelihoods, else
    `frechet_distance`.
    """
    test = read_split(store, "test")
    real, other = _real_texts(store, settings)

    @cache
    def encoder() -> TextEncoder:  # at first use: that of one's own data is trained then
        return load_encoder(settings.features, store)

    def judge(gan: GAN) -> list[Metric]:
        fake = sample_texts(gan, settings.samples, seed=settings.seed)
        first = _likelihood_metrics(gan, test)
        if not first:
            first = _distance_metrics(encoder(), real, fake, other, seed=settings.seed)
        return [*first, *_overlap_metrics(test, fake, other, orders=(4,))]

    return judge


def reverse_score(samples: Tensor, test: Tensor, vocabulary: int, *, seed: int) -> float:
    """Nats per token of `test` under a language model that learned from `samples` [N, T] alone.

    Its training stops by samples that were set apart, not by real texts. Raises InvalidValueError for fewer than 2 samples.
    """
    return train_reverse_model(samples, vocabulary, seed=seed).nll(test)


def train_reverse_model(samples: Tensor, vocabulary: int, *, seed: int) -> LanguageModel:
    """The language model of `samples`; see `reverse_score`."""
    if len(samples) < 2:
        raise InvalidValueError(f"a language model of samples needs at least 2; got {len(samples)}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(samples)))
    apart = max(1, round(HELD_OUT_SHARE * len(samples)))
    return train_language_model(samples[order[apart:]], samples[order[:apart]], vocabulary, seed=seed)


def trim_texts(tokens: Tensor) -> list[np.ndarray]:
    """The texts [N, T] as sequences of their own lengths, without their ends."""
    rows = tokens.numpy()
    lengths = np.where((rows == END).any(1), (rows == END).argmax(1), rows.shape[1])
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def sample_texts(gan: GAN, n: int, *, seed: int, **options: Any) -> Tensor:
    """n samples [n, T]; `options` are those of `sample`, such as a temperature."""
    return gan.sample(n, seed=seed, batch_size=256, **options).tensor.cpu()


def read_split(store: Store, split: Literal["train", "test"]) -> Tensor:
    """The texts of a split, int64 [N, T]."""
    return decode(store.samples[store.indices(split)])


def _real_texts(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor]:
    """Texts of the test split, and as many of the training split for the floors. Raises InvalidValueError where too few."""
    test, train = read_split(store, "test"), read_split(store, "train")
    if settings.samples > min(len(test), len(train)):
        raise InvalidValueError(
            f"evaluate.samples = {settings.samples} is more than the {min(len(test), len(train))} held-out texts"
        )
    return choose_texts(test, settings.samples, settings.seed), choose_texts(train, settings.samples, settings.seed)


def choose_texts(texts: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the texts, by chance; fewer are the first of more."""
    return texts[np.random.default_rng(seed).permutation(len(texts))[:count]]


@torch.no_grad()
def _likelihood_metrics(gan: GAN, test: Tensor) -> list[Metric]:
    """What the generator itself gives the held-out texts; nothing where it makes a text at one stroke."""
    logits_of: Callable[[Tensor], Tensor] | None = getattr(gan.generator, "logits", None)
    if logits_of is None:
        return []
    device = next((parameter.device for parameter in gan.generator.parameters()), test.device)
    nll = nll_per_token(logits_of, test.to(device))
    return [Metric(name="nll_held_out", value=nll, higher_is_better=False, count=len(test))]


def _overlap_metrics(
    test: Tensor, fake: Tensor, other: Tensor, *, orders: Sequence[int] = (2, 3, 4, 5)
) -> list[Metric]:
    """Mean BLEU against the whole test split, and mean Self-BLEU, above whose floor samples are too alike."""
    references, fakes, others = trim_texts(test), trim_texts(fake), trim_texts(other)
    scores, floors = (bleu(texts, references, orders=orders) for texts in (fakes, others))
    alike, alike_floors = (self_bleu(texts, orders=orders) for texts in (fakes, others))
    return [
        Metric(
            name=f"{kind}_{n}",
            value=float(values[n].mean()),
            real_vs_real=float(floor[n].mean()),
            higher_is_better=kind == "bleu",
            count=len(fake),
            extractor=extractor,
        )
        for kind, values, floor, extractor in (
            ("bleu", scores, floors, f"{len(references)} references"),
            ("self_bleu", alike, alike_floors, None),
        )
        for n in orders
    ]


def _distance_metrics(encoder: TextEncoder, real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """The Fréchet distance and the frontier divergence of the encoder's features."""
    of_real, of_fake, of_other = (encoder(texts) for texts in (real, fake, other))
    frechet = Metric(
        name="frechet_distance",
        value=frechet_distance(of_real, of_fake),
        real_vs_real=frechet_distance(of_real, of_other),
        higher_is_better=False,
        count=len(fake),
        extractor=encoder.name,
    )
    divergence = Metric(
        name="divergence",
        value=frontier_divergence(of_real, of_fake, seed=seed),
        real_vs_real=frontier_divergence(of_real, of_other, seed=seed),
        higher_is_better=False,
        count=len(fake),
        extractor=encoder.name,
        seed=seed,
    )
    return [frechet, divergence]


def _copy_metrics(fake: Tensor, other: Tensor, test: Tensor, train: Tensor) -> list[Metric]:
    """The shares of samples that are copies of earlier ones, and of those found whole in the training split."""
    texts, other_texts, test_texts, known = (
        [text.tobytes() for text in trim_texts(tokens)] for tokens in (fake, other, test, train)
    )
    training = set(known)

    def repeated(texts: Sequence[bytes]) -> float:
        return 1 - len(set(texts)) / len(texts)

    def copied(texts: Sequence[bytes]) -> float:
        return sum(text in training for text in texts) / len(texts)

    return [
        Metric(
            name=name,
            value=value,
            real_vs_real=floor,
            higher_is_better=False,
            count=len(fake),
            extractor=extractor,
        )
        for name, value, floor, extractor in (
            ("duplicates", repeated(texts), repeated(other_texts), None),
            ("copied", copied(texts), copied(test_texts), f"{len(known)} training texts"),
        )
    ]


def _verse_metrics(store: Store, fake: Tensor, other: Tensor) -> list[Metric]:
    """For a data set of quatrains: how many samples are any, rhyme, and how many of their lines alternate in tone."""
    vocabulary = Vocabulary.open(store.folder / "tokenizer.json")
    length = verse.find_line_length([vocabulary.decode(row) for row in other.tolist()])
    if length is None:
        return []
    whole, whole_other = (_quatrains(tokens, vocabulary, length) for tokens in (fake, other))
    rates = [("four_lines", len(whole) / len(fake), len(whole_other) / len(other), f"4 lines of {length} known")]
    try:
        read = verse.reader()
    except MissingDependencyError as missing:
        warnings.warn(f"no rhymes and tones metrics: {missing}", stacklevel=2)
    else:
        rhymes, rhymes_floor = (_share([verse.rhymes(lines, read) for lines in some]) for some in (whole, whole_other))
        tones, tones_floor = (
            _share([verse.alternates(line, read) for lines in some for line in lines]) for some in (whole, whole_other)
        )
        rates += [
            ("rhymes", rhymes, rhymes_floor, "pypinyin, Mandarin"),
            ("tones", tones, tones_floor, "pypinyin, Mandarin"),
        ]
    return [
        Metric(name=name, value=value, real_vs_real=floor, higher_is_better=True, count=len(fake), extractor=extractor)
        for name, value, floor, extractor in rates
    ]


def _quatrains(tokens: Tensor, vocabulary: Vocabulary, length: int) -> list[list[str]]:
    """The lines of those texts that are four lines of `length` known characters."""
    texts = [vocabulary.decode(row) for row in tokens[(tokens != UNK).all(1)].tolist()]
    return [lines for text in texts if (lines := verse.split_quatrain(text, length)) is not None]


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
