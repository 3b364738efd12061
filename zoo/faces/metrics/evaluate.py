"""The metrics of generated faces against held-out faces, each beside real against real."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import MissingDependencyError, NotFoundError
from zoo.faces.metrics.detectors import detection_rate, load_detectors
from zoo.faces.metrics.evaluator import NAME, Evaluator, load_evaluator
from zoo.gan import GAN
from zoo.metrics.checks import check_features
from zoo.metrics.features import Features, load_timm_features
from zoo.metrics.ms_ssim import pair_similarity
from zoo.metrics.report import Metric, distribution_metrics
from zoo.metrics.swd import COARSEST, sliced_wasserstein
from zoo.recipe import MIN_SAMPLES, EvaluateConfig

NUM_PATCHED = 1000  # images for the sliced Wasserstein distance
NUM_PAIRS = 2000  # pairs of images whose similarity is computed
NUM_DETECTED = 300  # images for the face detectors

Progress = Callable[[int, int], None]


def load_features(name: str) -> Features:
    """Load the features that a recipe's `evaluate.features` names.

    `zoo:faces-evaluator` or an empty name is the evaluator of this library. `timm:NAME` is a model of timm.

    Raises NotFoundError for another name, and as `load_timm_features`.
    """
    kind, _, model = name.partition(":")
    if kind == "timm":
        return load_timm_features(model)
    if name not in ("", f"zoo:{NAME}"):
        raise NotFoundError(f'no features "{name}"; there are zoo:{NAME} and timm:MODEL, e.g. timm:resnet18.a1_in1k')
    side = Evaluator.RESOLUTION
    neutral = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # the evaluator takes [-1, 1] as it is
    return Features(f"zoo:{NAME}-v{Evaluator.VERSION}", load_evaluator(), size=(side, side), **neutral)


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """Compute all metrics of `gan` against the test split of `store`.

    For real against real, images of the training split, of other people, replace the samples. For `faces_found` it is
    the share of held-out images in which a detector finds a face.

    Raises:
        InvalidValueError: more samples than the test split holds.
    """
    count = settings.samples
    features = load_features(settings.features).to(gan.device)
    report = progress or (lambda done, total: None)
    total = 4 * count
    real, other = _real_images(store, settings)
    fake = gan.sample(count, seed=settings.seed, progress=lambda done: report(done, total)).tensor
    images = torch.cat([real, fake, other])
    real_features, fake_features, other_features = _compute_features(
        features, images, lambda done: report(count + done, total)
    ).chunk(3)
    metrics = distribution_metrics(
        real_features, fake_features, other_features, extractor=features.name, seed=settings.seed
    )
    return [*metrics, *_pixel_metrics(real, fake, other, seed=settings.seed), *_detection_metrics(real, fake)]


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Return a function that evaluates a generator as `evaluate` does, by features alone.

    Features of the real images are computed once, here.
    """
    features = load_features(settings.features)
    real, other = (features(images) for images in _real_images(store, settings))
    check_features(real, other, at_least=MIN_SAMPLES)

    def evaluate_generator(gan: GAN) -> list[Metric]:
        fake = features.to(gan.device)(gan.sample(settings.samples, seed=settings.seed).tensor)
        return distribution_metrics(real, fake, other, extractor=features.name, seed=settings.seed)

    return evaluate_generator


def _real_images(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor]:
    """Read images of the test split, and as many of the training split. Raises InvalidValueError for too few images."""
    real, other = store.sample_splits(settings.samples, settings.seed, of="images")
    return decode_images(store.samples[real]), decode_images(store.samples[other])


def _compute_features(features: Features, images: Tensor, progress: Callable[[int], None]) -> Tensor:
    parts = []
    for chunk in images.split(250):
        parts.append(features(chunk))
        progress(sum(map(len, parts)))
    return torch.cat(parts)


def _pixel_metrics(real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """Compute the sliced Wasserstein distance by level, and MS-SSIM between samples.

    The distance needs a size of 16 px times a power of two. MS-SSIM is best near that of real images: above it samples
    are too alike, far below it they are noise.
    """
    n = min(NUM_PATCHED, len(fake))
    pyramid = (real.shape[-1] // COARSEST).bit_count() == 1 and real.shape[-1] % COARSEST == 0
    swd, real_swd = (
        sliced_wasserstein(real[:n], images[:n], seed=seed) if pyramid else dict[int, float]()
        for images in (fake, other)
    )
    similarity, real_similarity = (pair_similarity(images, seed=seed, num_pairs=NUM_PAIRS) for images in (fake, other))
    metrics = [
        Metric(
            name=f"sliced_wasserstein_{level}px",
            value=swd[level],
            real_vs_real=real_swd[level],
            better="lower",
            count=n,
            extractor="7x7 patches",
            seed=seed,
        )
        for level in swd
    ]
    ms_ssim = Metric(
        name="ms_ssim",
        value=similarity.mean,
        real_vs_real=real_similarity.mean,
        better="near real",
        count=len(fake),
        extractor=f"{similarity.num_scales} scales, {NUM_PAIRS} pairs",
        seed=seed,
    )
    return [*metrics, ms_ssim]


def _detection_metrics(real: Tensor, fake: Tensor) -> list[Metric]:
    """Compute how often each installed detector finds a face, in samples and in held-out images."""
    try:
        detectors = load_detectors()
    except MissingDependencyError as missing:
        warnings.warn(f"no faces_found metrics: {missing}", stacklevel=2)
        return []
    n = min(NUM_DETECTED, len(fake))
    return [
        Metric(
            name=f"faces_found_{detector.name}",
            value=detection_rate(fake[:n], detector),
            real_vs_real=detection_rate(real[:n], detector),
            better="near real",
            count=n,
            extractor=f"{detector.name} {detector.version}",
        )
        for detector in detectors
    ]
