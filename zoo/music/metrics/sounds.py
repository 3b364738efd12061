"""Metrics of sounds: of generators, distances to held-out sounds; of vocoders, errors of resynthesis.

Real against real compares real sounds with a generator's test sounds. A perfect vocoder has errors of 0; the control is
Griffin-Lim with 32 iterations, from the same spectrograms.
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
from zoo.music.data.sounds import decode
from zoo.music.mel import invert_mel, log_mel
from zoo.music.metrics.evaluator import NAME, RATE, VERSION, Evaluator, load_evaluator
from zoo.music.vocoder import Vocoder
from zoo.recipe import EvaluateConfig

ITERATIONS = 32  # of Griffin-Lim, the control
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # fft, hop and window of arXiv:1910.11480, table 1

Progress = Callable[[int, int], None]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """Compute all metrics of `gan` against the test split of `store`.

    Raises:
        InvalidValueError: more samples than either split has; sounds at another rate than the evaluator's.
    """
    if isinstance(gan, Vocoder):
        return vocoder_metrics(gan, read_held_out_sounds(store, settings.samples), control=True, progress=progress)
    report = progress or (lambda done, total: None)
    evaluator = load_extractor(settings.features, gan)
    real, other, labels = _read_real_sounds(store, settings)
    samples = gan.sample(settings.samples, seed=settings.seed, progress=lambda done: report(done, 2 * settings.samples))
    metrics = sound_metrics(evaluator, real, samples.tensor, other, seed=settings.seed)
    report(2 * settings.samples, 2 * settings.samples)
    if isinstance(gan, LabelledGAN) and gan.labels == evaluator.labels:
        asked = torch.arange(settings.samples) % len(gan.labels)  # without a choice the classes alternate
        known = labels if read_labels(store.folder) == evaluator.labels else None
        metrics.append(class_accuracy(evaluator, samples.tensor, asked, real, known))
    return metrics


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Return a function that evaluates during the training: first the Fréchet distance, or a vocoder's error."""
    sounds: list[Tensor] = []

    def evaluate_fn(gan: GAN) -> list[Metric]:
        if isinstance(gan, Vocoder):
            sounds[:] = sounds or read_held_out_sounds(store, min(settings.samples, 64))
            return vocoder_metrics(gan, sounds, control=False)
        real, other, _ = _read_real_sounds(store, settings)
        fake = gan.sample(settings.samples, seed=settings.seed).tensor
        return sound_metrics(load_extractor(settings.features, gan), real, fake, other, seed=settings.seed)

    return evaluate_fn


def load_extractor(name: str, gan: GAN) -> Evaluator:
    """Load the network that a recipe's `evaluate.features` names; that of drum hits if it names none.

    Raises NotFoundError for another name, InvalidValueError where the sounds of `gan` have another rate.
    """
    if gan.config.rate != RATE:
        raise InvalidValueError(
            f"the evaluator of drum hits takes sounds at {RATE} Hz, and the model's are at {gan.config.rate}"
        )
    if name not in ("", f"zoo:{NAME}"):
        raise NotFoundError(f'no features "{name}" of sounds; there are zoo:{NAME}')
    return load_evaluator().to(gan.device)


# --- generators --------------------------------------------------------------------------------------------------


def sound_metrics(evaluator: Evaluator, real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """Compute distances of the evaluator's features and the inception score of its classes, for waves [N, 1, T]."""
    name = f"zoo:{NAME}-v{VERSION}"
    (of_real, _), (of_fake, classes), (of_other, real_classes) = map(evaluator.hear, (real, fake, other))
    score = Metric(
        name="inception_score",
        value=inception_score(classes),
        real_vs_real=inception_score(real_classes),
        better="higher",
        count=len(fake),
        extractor=name,
    )
    return [*distribution_metrics(of_real, of_fake, of_other, extractor=name, seed=seed), score]


def inception_score(probabilities: Tensor) -> float:
    """Compute exp E KL(p(y|x) || p(y)) of class probabilities [N, K]: from 1 to K (Salimans et al. 2016)."""
    probabilities = probabilities.double().clamp_min(1e-12)
    marginal = probabilities.mean(0, keepdim=True)
    return float((probabilities * (probabilities / marginal).log()).sum(1).mean().exp())


def class_accuracy(evaluator: Evaluator, fake: Tensor, asked: Tensor, real: Tensor, labels: Tensor | None) -> Metric:
    """Compute the share of samples that are recognized as the class that was asked for.

    Real against real is that of held-out sounds, if they have the evaluator's classes.
    """

    def share(waves: Tensor, classes: Tensor) -> float:
        return float((evaluator.hear(waves)[1].argmax(1) == classes).float().mean())

    return Metric(
        name="class_accuracy",
        value=share(fake, asked),
        real_vs_real=None if labels is None else share(real, labels),
        better="higher",
        count=len(fake),
        extractor=f"zoo:{NAME}-v{VERSION}",
    )


def _read_real_sounds(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor, Tensor | None]:
    """Read sounds of the test split, as many of the training split, and the classes of the former."""
    chosen, others = store.sample_splits(settings.samples, settings.seed, of="sounds")
    labels = None if store.labels is None else torch.from_numpy(store.labels[chosen])
    return decode(store.samples[chosen]), decode(store.samples[others]), labels


# --- vocoders ----------------------------------------------------------------------------------------------------


def read_held_out_sounds(store: Store, rows: int) -> list[Tensor]:
    """Read whole sounds [T] of the test split until they have `rows` rows."""
    test = store.indices("test")
    owners = store.attributes["sound"][test]
    chosen = list(dict.fromkeys(owners.tolist()))
    sounds: list[Tensor] = []
    count = 0
    for owner in chosen:
        own_rows = test[owners == owner]
        sounds.append(decode(store.samples[own_rows]).flatten())
        count += len(own_rows)
        if count >= rows:
            break
    return sounds


@torch.no_grad()
def vocoder_metrics(
    gan: Vocoder, sounds: list[Tensor], *, control: bool, progress: Progress | None = None
) -> list[Metric]:
    """Compute the errors of resynthesized sounds, and with `control` those of Griffin-Lim."""
    mel = gan.config.mel
    kinds: dict[str, Callable[[Tensor], Tensor]] = {"": lambda mels: gan.vocode(mels)[:, 0]}
    if control:
        kinds["griffin_lim_"] = lambda mels: invert_mel(mels, mel, iterations=ITERATIONS)
    errors: dict[str, list[float]] = {}
    for i, sound in enumerate(sounds):
        mels = log_mel(sound[None], mel)
        for prefix, make in kinds.items():
            for name, value in compute_sound_errors(make(mels).cpu(), sound[None], gan).items():
                errors.setdefault(f"{prefix}{name}", []).append(value)
        if progress is not None:
            progress(i + 1, len(sounds))
    return [
        Metric(
            name=name,
            value=float(np.mean(values)),
            real_vs_real=0.0,
            better="lower",
            count=len(values),
            extractor=f"{ITERATIONS} iterations" if name.startswith("griffin_lim") else None,
        )
        for name, values in errors.items()
    ]


def compute_sound_errors(fake: Tensor, real: Tensor, gan: Vocoder) -> dict[str, float]:
    """Compute the errors of waves [N, T]: of the vocoder's log-mel spectrograms, over all frequencies, and others."""
    mel, whole = gan.config.mel, replace(gan.config.mel, high=0.0)
    convergence, magnitude = stft_distance(fake, real)
    return {
        "log_mel_error": float(F.l1_loss(log_mel(fake, mel), log_mel(real, mel))),
        "log_mel_error_all_frequencies": float(F.l1_loss(log_mel(fake, whole), log_mel(real, whole))),
        "stft_distance": convergence + magnitude,
        "spectral_convergence": convergence,
    }


def stft_distance(fake: Tensor, real: Tensor) -> tuple[float, float]:
    """Compute spectral convergence and log-magnitude distance of waves [N, T], means over three resolutions.

    Waves shorter than a window get silence at their end.

    Yamamoto, Song & Kim 2020, arXiv:1910.11480, equations 4 to 6.
    """
    convergences, distances = [], []
    longest = max(fft for fft, _, _ in RESOLUTIONS)
    fake, real = (F.pad(wave, (0, max(0, longest - wave.shape[1]))) for wave in (fake, real))
    for fft, hop, window in RESOLUTIONS:
        a, b = (
            torch.stft(wave, fft, hop, window, torch.hann_window(window), return_complex=True).abs().clamp_min(1e-5)
            for wave in (fake, real)
        )
        convergences.append(float(torch.linalg.vector_norm(b - a) / torch.linalg.vector_norm(b)))
        distances.append(float(F.l1_loss(a.log(), b.log())))
    return float(np.mean(convergences)), float(np.mean(distances))
