"""How makers of sounds are judged: generators by distances to held-out sounds, vocoders by what they give back.

A generator's metrics stand beside real sounds in the samples' place; a vocoder's beside those of Griffin-Lim with 32
iterations, from the same spectrograms, and the floor of a perfect vocoder is nought.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.conditional import LabelledGAN
from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.errors import InvalidValueError, NotFoundError
from zoo.gan import GAN
from zoo.metrics.report import Metric, distribution_metrics
from zoo.music.architectures.hifigan import HiFiGAN
from zoo.music.data.sounds import decode
from zoo.music.mel import log_mel, wave_from_mel
from zoo.music.metrics.evaluator import NAME, RATE, VERSION, Evaluator, load_evaluator
from zoo.recipe import EvaluateConfig

ITERATIONS = 32  # of the control's Griffin-Lim
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # fft, hop and window of arXiv:1910.11480, table 1

Progress = Callable[[int, int], None]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """All metrics of `gan` against the test split of `store`.

    Raises:
        InvalidValueError: more samples asked for than either split holds; sounds that the evaluator does not hear.
    """
    if isinstance(gan, HiFiGAN):
        return vocoder_metrics(gan, held_out_sounds(store, settings.samples), control=True, progress=progress)
    report = progress or (lambda done, total: None)
    evaluator = extractor(settings.features, gan)
    real, other, labels = _real_sounds(store, settings)
    samples = gan.sample(settings.samples, seed=settings.seed, progress=lambda done: report(done, 2 * settings.samples))
    metrics = sound_metrics(evaluator, real, samples.tensor, other, seed=settings.seed)
    report(2 * settings.samples, 2 * settings.samples)
    if isinstance(gan, LabelledGAN) and gan.labels == evaluator.labels:
        asked = torch.arange(settings.samples) % len(gan.labels)  # without a label asked for they take turns
        known = labels if read_labels(store.folder) == evaluator.labels else None
        metrics.append(class_accuracy(evaluator, samples.tensor, asked, real, known))
    return metrics


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Scores a generator while it trains: the Fréchet distance first, or a vocoder's log-mel error."""
    sounds: list[Tensor] = []

    def judge(gan: GAN) -> list[Metric]:
        if isinstance(gan, HiFiGAN):
            sounds[:] = sounds or held_out_sounds(store, min(settings.samples, 64))
            return vocoder_metrics(gan, sounds, control=False)
        real, other, _ = _real_sounds(store, settings)
        fake = gan.sample(settings.samples, seed=settings.seed).tensor
        return sound_metrics(extractor(settings.features, gan), real, fake, other, seed=settings.seed)

    return judge


def extractor(name: str, gan: GAN) -> Evaluator:
    """The network that a recipe's `evaluate.features` names; that of drum hits where it names none.

    Raises NotFoundError for another name, InvalidValueError where it does not hear such sounds as `gan` makes.
    """
    if gan.config.rate != RATE:
        raise InvalidValueError(
            f"the evaluator of drum hits hears sounds at {RATE} Hz, and the model's are at {gan.config.rate}"
        )
    if name not in ("", f"zoo:{NAME}"):
        raise NotFoundError(f'no features "{name}" of sounds; there are zoo:{NAME}')
    return load_evaluator()


# --- generators --------------------------------------------------------------------------------------------------


def sound_metrics(evaluator: Evaluator, real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """Distances of the evaluator's features, and the inception-style score of its classes; waves [N, 1, T] each."""
    name = f"zoo:{NAME}-v{VERSION}"
    (of_real, _), (of_fake, classes), (of_other, real_classes) = map(evaluator.hear, (real, fake, other))
    score = Metric(
        name="inception_score",
        value=inception_score(classes),
        real_vs_real=inception_score(real_classes),
        higher_is_better=True,
        count=len(fake),
        extractor=name,
    )
    return [*distribution_metrics(of_real, of_fake, of_other, extractor=name, seed=seed), score]


def inception_score(probabilities: Tensor) -> float:
    """exp E KL(p(y|x) || p(y)) of the classes' probabilities [N, K]: from 1 to K (Salimans et al. 2016)."""
    probabilities = probabilities.double().clamp_min(1e-12)
    marginal = probabilities.mean(0, keepdim=True)
    return float((probabilities * (probabilities / marginal).log()).sum(1).mean().exp())


def class_accuracy(evaluator: Evaluator, fake: Tensor, asked: Tensor, real: Tensor, labels: Tensor | None) -> Metric:
    """The share of samples recognized as the class that was asked for; beside that of held-out sounds as theirs, where
    they have the evaluator's classes."""

    def share(waves: Tensor, classes: Tensor) -> float:
        return float((evaluator.hear(waves)[1].argmax(1) == classes).float().mean())

    return Metric(
        name="class_accuracy",
        value=share(fake, asked),
        real_vs_real=None if labels is None else share(real, labels),
        higher_is_better=True,
        count=len(fake),
        extractor=f"zoo:{NAME}-v{VERSION}",
    )


def _real_sounds(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sounds of the test split, as many of the training split for the floors, and the classes of the first."""
    chosen, others = store.compared(settings.samples, settings.seed, of="sounds")
    labels = None if store.labels is None else torch.from_numpy(store.labels[chosen])
    return decode(store.samples[chosen]), decode(store.samples[others]), labels


# --- vocoders ----------------------------------------------------------------------------------------------------


def held_out_sounds(store: Store, rows: int) -> list[Tensor]:
    """The sounds of the test split, whole [T] each: those that `rows` rows are of."""
    test = store.indices("test")
    owners = store.attributes["sound"][test]
    chosen = list(dict.fromkeys(owners.tolist()))
    sounds: list[Tensor] = []
    taken = 0
    for owner in chosen:
        mine = test[owners == owner]
        sounds.append(decode(store.samples[mine]).flatten())
        taken += len(mine)
        if taken >= rows:
            break
    return sounds


@torch.no_grad()
def vocoder_metrics(
    gan: HiFiGAN, sounds: list[Tensor], *, control: bool, progress: Progress | None = None
) -> list[Metric]:
    """How far resynthesized sounds are from those they were made of, and with `control` Griffin-Lim's beside them."""
    mel = gan.config.mel
    kinds: dict[str, Callable[[Tensor], Tensor]] = {"": lambda seen: gan.vocode(seen)[:, 0]}
    if control:
        kinds["griffin_lim_"] = lambda seen: wave_from_mel(seen, mel, iterations=ITERATIONS)
    errors: dict[str, list[float]] = {}
    for i, sound in enumerate(sounds):
        seen = log_mel(sound[None], mel)
        for prefix, make in kinds.items():
            for name, value in sound_errors(make(seen), sound[None], gan).items():
                errors.setdefault(f"{prefix}{name}", []).append(value)
        if progress is not None:
            progress(i + 1, len(sounds))
    return [
        Metric(
            name=name,
            value=float(np.mean(values)),
            real_vs_real=0.0,
            higher_is_better=False,
            count=len(values),
            extractor=f"{ITERATIONS} iterations" if name.startswith("griffin_lim") else None,
        )
        for name, values in errors.items()
    ]


def sound_errors(made: Tensor, real: Tensor, gan: HiFiGAN) -> dict[str, float]:
    """The errors of waves [N, T]: of log-mel spectrograms as the vocoder is given them, and over all frequencies."""
    mel, whole = gan.config.mel, replace(gan.config.mel, high=0.0)
    convergence, magnitude = stft_distance(made, real)
    return {
        "log_mel_error": float(F.l1_loss(log_mel(made, mel), log_mel(real, mel))),
        "log_mel_error_all_frequencies": float(F.l1_loss(log_mel(made, whole), log_mel(real, whole))),
        "stft_distance": convergence + magnitude,
        "spectral_convergence": convergence,
    }


def stft_distance(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Spectral convergence and mean log-magnitude distance of waves [N, T], means over three resolutions.

    Yamamoto, Song & Kim 2020, arXiv:1910.11480, equations 4 to 6.
    """
    convergences, distances = [], []
    for fft, hop, window in RESOLUTIONS:
        a, b = (
            torch.stft(wave, fft, hop, window, torch.hann_window(window), return_complex=True).abs().clamp_min(1e-5)
            for wave in (made, real)
        )
        convergences.append(float(torch.linalg.vector_norm(b - a) / torch.linalg.vector_norm(b)))
        distances.append(float(F.l1_loss(a.log(), b.log())))
    return float(np.mean(convergences)), float(np.mean(distances))
