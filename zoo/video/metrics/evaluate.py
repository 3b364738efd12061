"""Metrics of generated clips against held-out ones, each with its value for real clips.

The metrics take tensors and not files, because a codec would change the samples. FVD is the distance of the logits of
one network, I3D trained on Kinetics-400. It is computed with `features = "i3d:FILE"`, for which you need its weights.
All other metrics use an evaluator of this library (`zoo.video.metrics.evaluator`) and have other names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.device import device_of
from zoo.errors import NotFoundError
from zoo.gan import GAN
from zoo.metrics.checks import check_features
from zoo.metrics.frechet import frechet_distance
from zoo.metrics.report import Metric, distance_metrics, distribution_metrics
from zoo.metrics.swd import COARSEST, sliced_wasserstein
from zoo.recipe import MIN_SAMPLES, EvaluateConfig
from zoo.video.clip_gan import as_frames
from zoo.video.data.datasets import decode
from zoo.video.metrics.evaluator import VERSION, Evaluator, load_evaluator
from zoo.video.metrics.i3d import SIZE, load_i3d

NUM_PATCHED = 128  # clips that are cut into patches in space and time
WINDOW = 4  # frames of a patch
CLIPS_AT_ONCE = 32
I3D_PREFIX, I3D_AT_ONCE = "i3d:", 8

Progress = Callable[[int, int], None]
Content = Callable[[Tensor], Tensor]
"""Maps frames [M, 3, H, W] to what should stay the same over a clip [M, D]."""


@dataclass(frozen=True, kw_only=True)
class ClipFeatures:
    """What the metrics need of N clips."""

    clips: Tensor  # features [N, 64]
    frames: Tensor  # features of a random frame of each clip [N, 64]
    drift: Tensor  # mean distance between the contents of two frames of a clip [N]
    windows: Tensor  # four successive frames of the first 128 clips, as channels [M, 12, S, S]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """Compute all metrics of `gan` against the test split of `store`.

    Real against real compares as many clips of the training split with the same test clips. Two metrics differ: for
    `average_content_distance` it is the value of the test clips. For `motion_control_score` it is how often the
    classifier recognizes the class of a real test clip.

    Raises:
        InvalidValueError: more samples than the test split has; too few frames for I3D.
        NotFoundError, InvalidFileError: no such evaluator, or an untrained one; no I3D in the file of `i3d:FILE`.
    """
    if settings.features.startswith(I3D_PREFIX):
        return make_video_distances(store, settings, progress=progress)(gan)
    evaluator = _load_evaluator(settings.features).to(gan.device)
    content, extractor = (
        (foreground_color, "foreground color")
        if _is_of_shapes(store)
        else (evaluator.frames, _name_extractor(settings))
    )
    done, total = 0, 4 * settings.samples

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    test, train = store.sample_splits(settings.samples, settings.seed, of="clips")
    samples = gan.sample(settings.samples, seed=settings.seed)
    report(settings.samples)
    fake = extract_features(evaluator, samples.tensor.split(CLIPS_AT_ONCE), content, seed=settings.seed, report=report)
    real, other = (
        extract_features(evaluator, _read_clips(store, rows), content, seed=settings.seed, report=report)
        for rows in (test, train)
    )
    count, name = settings.samples, _name_extractor(settings)
    metrics = distribution_metrics(real.clips, fake.clips, other.clips, extractor=name, seed=settings.seed)
    metrics.append(
        Metric(
            name="frame_frechet_distance",
            value=frechet_distance(real.frames, fake.frames),
            real_vs_real=frechet_distance(real.frames, other.frames),
            better="lower",
            count=count,
            extractor=name,
            seed=settings.seed,
        )
    )
    metrics.append(
        Metric(
            name="average_content_distance",
            value=float(fake.drift.mean()),
            real_vs_real=float(real.drift.mean()),
            better="near real",
            count=count,
            extractor=extractor,
        )
    )
    if evaluator.labels and tuple(getattr(gan, "labels", ())) == evaluator.labels:
        asked = torch.tensor([evaluator.labels.index(label) for label in samples.labels])  # type: ignore[attr-defined]
        metrics.append(
            Metric(
                name="motion_control_score",
                value=_compute_accuracy(evaluator, fake, asked),
                real_vs_real=_compute_real_accuracy(evaluator, real, store, test),
                better="higher",
                count=count,
                extractor=name,
            )
        )
    return [*metrics, *_compute_patch_metrics(real, fake, other, seed=settings.seed)]


def make_video_distances(
    store: Store, settings: EvaluateConfig, *, progress: Progress | None = None
) -> Callable[[GAN], list[Metric]]:
    """Return a function that computes FVD and KVD, the Fréchet and the kernel distance of I3D's logits.

    Unterthiner et al. 2018, arXiv:1812.01717. Values differ by tens of percent between protocols. So each metric names
    the file of weights and the number, length, rate and size of the clips. The logits of real clips are computed once,
    here. Raises as `evaluate`.
    """
    path = Path(settings.features.removeprefix(I3D_PREFIX)).expanduser()
    network, stamp = load_i3d(path)
    done, count = 0, settings.samples

    @torch.no_grad()
    def logits(chunks: Iterable[Tensor]) -> Tensor:
        nonlocal done
        parts = []
        for clips in chunks:
            for part in clips.split(I3D_AT_ONCE):
                parts.append(network(part.to(device_of(network))).cpu())
                done += len(part)
                if progress is not None:
                    progress(done, 3 * count)
        return torch.cat(parts)

    real, other = (logits(_read_clips(store, rows)) for rows in store.sample_splits(count, settings.seed, of="clips"))

    def evaluate_fn(gan: GAN) -> list[Metric]:
        samples: Any = gan.sample(count, seed=settings.seed)
        length, size = samples.tensor.shape[2], samples.tensor.shape[-1]
        protocol = (
            f"I3D {stamp[:16]}, logits, {count} clips of each, {length} frames of {size} px at {samples.rate:g} a "
            f"second, resized to {SIZE}, test split"
        )
        network.to(gan.device)
        fake = logits(samples.tensor.split(CLIPS_AT_ONCE))
        return distance_metrics(real, fake, other, extractor=protocol, seed=settings.seed, names=("fvd", "kvd"))

    return evaluate_fn


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Return a function that compares clips by their features. Those of real clips are computed here, once."""
    if settings.features.startswith(I3D_PREFIX):
        return make_video_distances(store, settings)
    evaluator = _load_evaluator(settings.features)
    real, other = (
        _extract_clip_features(evaluator, _read_clips(store, rows))
        for rows in store.sample_splits(settings.samples, settings.seed, of="clips")
    )
    check_features(real, other, at_least=MIN_SAMPLES)

    def evaluate_fn(gan: GAN) -> list[Metric]:
        samples = gan.sample(settings.samples, seed=settings.seed).tensor
        evaluator.to(gan.device)
        fake = _extract_clip_features(evaluator, samples.split(CLIPS_AT_ONCE))
        return distribution_metrics(real, fake, other, extractor=_name_extractor(settings), seed=settings.seed)

    return evaluate_fn


@torch.no_grad()
def extract_features(
    evaluator: Evaluator,
    chunks: Iterable[Tensor],
    content: Content,
    *,
    seed: int,
    report: Callable[[int], None] = lambda count: None,
) -> ClipFeatures:
    """Extract what the metrics need from clips in chunks [n, 3, T, S, S]; `seed` chooses the frames."""
    rng = torch.Generator().manual_seed(seed)
    clip_features, frame_features, drift = [], [], []
    windows: list[Tensor] = []
    for chunk in chunks:
        clips = chunk.to(evaluator.device)
        n, length = len(clips), clips.shape[2]
        moments = torch.randint(length, (n,), generator=rng)
        starts = torch.randint(max(1, length - WINDOW + 1), (n,), generator=rng)
        clip_features.append(evaluator(clips))
        frame_features.append(evaluator.frames(clips[torch.arange(n), :, moments]))
        drift.append(content_distance(clips, content))
        if sum(len(window) for window in windows) < NUM_PATCHED and length >= WINDOW:
            cut = [clip[:, start : start + WINDOW].flatten(0, 1) for clip, start in zip(clips, starts, strict=True)]
            windows.append(torch.stack(cut))
        report(n)
    return ClipFeatures(
        clips=torch.cat(clip_features).cpu(),
        frames=torch.cat(frame_features).cpu(),
        drift=torch.cat(drift).cpu(),
        windows=torch.cat(windows)[:NUM_PATCHED].cpu() if windows else torch.empty(0),
    )


def content_distance(clips: Tensor, content: Content) -> Tensor:
    """Compute the mean Euclidean distance between the contents of two frames of a clip: [N, 3, T, H, W] -> [N].

    The average content distance (ACD) of Tulyakov et al. 2018 is its mean over clips.
    """
    n, _, length = clips.shape[:3]
    of_frames = content(as_frames(clips)).unflatten(0, (n, length))  # [N, T, D]
    return torch.cdist(of_frames, of_frames, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2)) / max(
        1, length * (length - 1)
    )


def foreground_color(frames: Tensor) -> Tensor:
    """Compute the mean color inside the foreground: frames [M, 3, H, W] on black, in [-1, 1] -> [M, 3] in 0..255.

    A pixel is foreground if its brightest channel is at least half of the frame's brightest. It is inside if its four
    neighbors are foreground, too. Pixels of the edge mix the foreground with the background. With them, a shape of one
    color with smooth edges would be off by 4.9 at 64 px and 8.8 at 32 px; without them, by 0.3 and 1.3. Where all of a
    shape is edge, all of it counts.
    """
    colors = (frames + 1) * 127.5
    brightness = colors.amax(1, keepdim=True)
    foreground = (brightness >= brightness.amax((2, 3), keepdim=True) / 2).float()
    inside = torch.minimum(_take_window_minimum(foreground, (3, 1)), _take_window_minimum(foreground, (1, 3)))
    counted = torch.where(inside.sum((2, 3), keepdim=True) > 0, inside, foreground)
    return (colors * counted).sum((2, 3)) / counted.sum((2, 3))


def _take_window_minimum(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """Compute the minimum over the window around each pixel, as far as the window is in the image."""
    return -F.max_pool2d(-maps, window, stride=1, padding=(window[0] // 2, window[1] // 2))


def _compute_patch_metrics(real: ClipFeatures, fake: ClipFeatures, other: ClipFeatures, *, seed: int) -> list[Metric]:
    """Compute sliced Wasserstein distances between patches of 7 x 7 pixels and 4 frames, at each scale."""
    size = real.windows.shape[-1] if real.windows.numel() else 0
    if size < COARSEST or size & (size - 1) or not len(real.windows) == len(fake.windows) == len(other.windows):
        return []
    distances, real_vs_real = (sliced_wasserstein(real.windows, x.windows, seed=seed) for x in (fake, other))
    return [
        Metric(
            name=f"sliced_wasserstein_{level}px",
            value=distances[level],
            real_vs_real=real_vs_real[level],
            better="lower",
            count=len(real.windows),
            extractor=f"patches of {WINDOW}x7x7",
            seed=seed,
        )
        for level in distances
    ]


@torch.no_grad()
def _compute_accuracy(evaluator: Evaluator, features: ClipFeatures, labels: Tensor) -> float:
    predicted = evaluator.classify(features.clips.to(evaluator.device)).argmax(1).cpu()
    return float((predicted == labels).float().mean())


def _compute_real_accuracy(evaluator: Evaluator, real: ClipFeatures, store: Store, rows: np.ndarray) -> float | None:
    """Compute the accuracy on real clips; None where the data has no classes, or others than the evaluator's."""
    if store.labels is None or read_labels(store.folder) != evaluator.labels:
        return None
    return _compute_accuracy(evaluator, real, torch.from_numpy(store.labels[rows]))


@torch.no_grad()
def _extract_clip_features(evaluator: Evaluator, chunks: Iterable[Tensor]) -> Tensor:
    return torch.cat([evaluator(clips.to(evaluator.device)).cpu() for clips in chunks])


def _read_clips(store: Store, rows: np.ndarray) -> Iterator[Tensor]:
    for start in range(0, len(rows), CLIPS_AT_ONCE):
        yield decode(store.samples[rows[start : start + CLIPS_AT_ONCE]])


def _load_evaluator(features: str) -> Evaluator:
    kind, _, name = features.partition(":")
    if kind != "zoo":
        raise NotFoundError(
            f'no features "{features}" of clips: those of timm are of images; there are zoo:video-evaluator-…, '
            "and i3d:FILE for FVD"
        )
    return load_evaluator(name)


def _name_extractor(settings: EvaluateConfig) -> str:
    return f"{settings.features}-v{VERSION}"


def _is_of_shapes(store: Store) -> bool:
    return store.about["name"] == "shape-motion"
