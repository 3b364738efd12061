"""How a generator of faces is judged: against held-out faces, and each figure beside real faces against the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import MissingDependencyError, NotFoundError
from zoo.faces.metrics.detectors import detection_rate, detectors
from zoo.faces.metrics.evaluator import NAME, VERSION, Evaluator, load_evaluator
from zoo.gan import GAN
from zoo.metrics.features import Features, timm_features
from zoo.metrics.ms_ssim import pair_similarity
from zoo.metrics.report import Metric, distribution_metrics
from zoo.metrics.swd import COARSEST, sliced_wasserstein
from zoo.recipe import EvaluateConfig

NUM_PATCHED = 1000  # images cut into patches: 128 each, sorted in 512 directions at every level
NUM_DETECTED = 300  # images in which each detector looks for a face

Progress = Callable[[int, int], None]


def extractor(name: str) -> Features:
    """The features that a recipe's `evaluate.features` names: `zoo:faces-evaluator`, also by nothing, or `timm:NAME`.

    Raises NotFoundError for another name, and as `timm_features`.
    """
    kind, _, model = name.partition(":")
    if kind == "timm":
        return timm_features(model)
    if name not in ("", f"zoo:{NAME}"):
        raise NotFoundError(f'no features "{name}"; there are zoo:{NAME} and timm:MODEL, e.g. timm:resnet18.a1_in1k')
    side = Evaluator.resolution
    neutral = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # the evaluator takes [-1, 1] as it is
    return Features(f"zoo:{NAME}-v{VERSION}", load_evaluator(), size=(side, side), **neutral)


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """All metrics of `gan` against the test split of `store`.

    The floors score as many images of the training split, of other people, in the samples' place; that of
    `faces_found` is how often a detector finds a face in the held-out images themselves.

    Raises:
        InvalidValueError: more samples asked for than the test split holds.
    """
    count = settings.samples
    features = extractor(settings.features)
    report = progress or (lambda done, total: None)
    total = 4 * count
    real, other = _real_images(store, settings)
    fake = gan.sample(count, seed=settings.seed, progress=lambda done: report(done, total)).tensor
    images = torch.cat([real, fake, other])
    seen = _features(features, images, lambda done: report(count + done, total)).chunk(3)
    metrics = distribution_metrics(*seen, extractor=features.name, seed=settings.seed)
    return [*metrics, *_pixel_metrics(real, fake, other, seed=settings.seed), *_detection_metrics(real, fake)]


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Scores a generator as `evaluate` does, by features alone; those of the real images are computed once, here."""
    features = extractor(settings.features)
    real, other = (features(images) for images in _real_images(store, settings))

    def judge(gan: GAN) -> list[Metric]:
        fake = features(gan.sample(settings.samples, seed=settings.seed).tensor)
        return distribution_metrics(real, fake, other, extractor=features.name, seed=settings.seed)

    return judge


def _real_images(store: Store, settings: EvaluateConfig) -> tuple[Tensor, Tensor]:
    """Images of the test split, and as many of the training split for the floors. Raises InvalidValueError where too few."""
    real, other = store.sample_splits(settings.samples, settings.seed, of="images")
    return decode_images(store.samples[real]), decode_images(store.samples[other])


def _features(features: Features, images: Tensor, progress: Callable[[int], None]) -> Tensor:
    parts = []
    for chunk in images.split(250):
        parts.append(features(chunk))
        progress(sum(map(len, parts)))
    return torch.cat(parts)


def _pixel_metrics(real: Tensor, fake: Tensor, other: Tensor, *, seed: int) -> list[Metric]:
    """Sliced Wasserstein distance by level where the size is 16 px times a power of two, and MS-SSIM between samples.

    MS-SSIM is best near its floor: above, samples are more alike than real images; far below, they are noise.
    """
    n = min(NUM_PATCHED, len(fake))
    pyramid = (real.shape[-1] // COARSEST).bit_count() == 1 and real.shape[-1] % COARSEST == 0
    swd, swd_floor = (
        sliced_wasserstein(real[:n], images[:n], seed=seed) if pyramid else dict[int, float]()
        for images in (fake, other)
    )
    similarity, similarity_floor = (pair_similarity(images, seed=seed, num_pairs=2000) for images in (fake, other))
    metrics = [
        Metric(
            name=f"sliced_wasserstein_{level}px",
            value=swd[level],
            real_vs_real=swd_floor[level],
            higher_is_better=False,
            count=n,
            extractor="7x7 patches",
            seed=seed,
        )
        for level in swd
    ]
    ms_ssim = Metric(
        name="ms_ssim",
        value=similarity.mean,
        real_vs_real=similarity_floor.mean,
        higher_is_better=False,
        count=len(fake),
        extractor=f"{similarity.num_scales} scales, 2000 pairs",
        seed=seed,
    )
    return [*metrics, ms_ssim]


def _detection_metrics(real: Tensor, fake: Tensor) -> list[Metric]:
    """How often each installed detector, trained on photographs, finds a face: in samples and in held-out images."""
    try:
        found = detectors()
    except MissingDependencyError as missing:
        warnings.warn(f"no faces_found metrics: {missing}", stacklevel=2)
        return []
    n = min(NUM_DETECTED, len(fake))
    return [
        Metric(
            name=f"faces_found_{detector.name}",
            value=detection_rate(fake[:n], detector),
            real_vs_real=detection_rate(real[:n], detector),
            higher_is_better=True,
            count=n,
            extractor=f"{detector.name} {detector.version}",
        )
        for detector in found
    ]
