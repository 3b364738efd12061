"""How a generator of clips is judged: against held-out clips, and each figure beside real clips against the same.

Tensors are scored, never files: what a codec leaves out would be counted against the model. FVD is the distance of one
network's logits (I3D, trained on Kinetics-400), whose weights have to be had: with `features = "i3d:FILE"` it is
computed. What else stands here is of this library's evaluators (`zoo.video.evaluator`), and not called so.
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
from zoo.errors import NotFoundError
from zoo.gan import GAN
from zoo.metrics.frechet import frechet_distance
from zoo.metrics.report import Metric, distance_metrics, distribution_metrics
from zoo.metrics.swd import COARSEST, sliced_wasserstein
from zoo.recipe import EvaluateConfig
from zoo.video.clip_gan import as_frames
from zoo.video.data.datasets import decode
from zoo.video.metrics.evaluator import VERSION, Evaluator, load_evaluator
from zoo.video.metrics.i3d import SIZE, load_i3d

NUM_PATCHED = 128  # clips cut into patches in space and time
WINDOW = 4  # frames that a patch reaches over
CLIPS_AT_ONCE = 32
I3D_PREFIX, I3D_AT_ONCE = "i3d:", 8

Progress = Callable[[int, int], None]
Content = Callable[[Tensor], Tensor]
"""Frames [M, 3, H, W] -> what should stay the same over a clip [M, D]."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is kept of N clips."""

    clips: Tensor  # features [N, 64]
    frames: Tensor  # features of a random frame of each [N, 64]
    drift: Tensor  # mean distance between the contents of two frames of a clip [N]
    windows: Tensor  # four successive frames of the first 128, as channels [M, 12, S, S]


def evaluate(gan: GAN, store: Store, settings: EvaluateConfig, *, progress: Progress | None = None) -> list[Metric]:
    """All metrics of `gan` against the test split of `store`.

    The floors score as many clips of the training split in the samples' place; that of `average_content_distance` is
    the test clips' own, and that of `motion_control_score` how often the classifier knows the class of a real test
    clip.

    Raises:
        InvalidValueError: more samples asked for than the test split holds; too few frames for I3D.
        NotFoundError, InvalidFileError: no such evaluator, or none that has been trained; no I3D in the file of `i3d:FILE`.
    """
    if settings.features.startswith(I3D_PREFIX):
        return video_distances(store, settings, progress=progress)(gan)
    evaluator = _evaluator(settings.features)
    content, of_what = (
        (foreground_color, "foreground color") if _of_shapes(store) else (evaluator.frames, _named(settings))
    )
    done, total = 0, 4 * settings.samples

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    test, train = store.compared(settings.samples, settings.seed, of="clips")
    samples = gan.sample(settings.samples, seed=settings.seed)
    report(settings.samples)
    fake = look(evaluator, samples.tensor.split(CLIPS_AT_ONCE), content, seed=settings.seed, report=report)
    real, other = (
        look(evaluator, _real(store, rows), content, seed=settings.seed, report=report) for rows in (test, train)
    )
    count, name = settings.samples, _named(settings)
    metrics = distribution_metrics(real.clips, fake.clips, other.clips, extractor=name, seed=settings.seed)
    metrics.append(
        Metric(
            name="frame_frechet_distance",
            value=frechet_distance(real.frames, fake.frames),
            real_vs_real=frechet_distance(real.frames, other.frames),
            higher_is_better=False,
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
            higher_is_better=False,
            count=count,
            extractor=of_what,
        )
    )
    if evaluator.labels and tuple(getattr(gan, "labels", ())) == evaluator.labels:
        asked = torch.tensor([evaluator.labels.index(label) for label in samples.labels])  # type: ignore[attr-defined]
        metrics.append(
            Metric(
                name="motion_control_score",
                value=_share_known(evaluator, fake, asked),
                real_vs_real=_share_of_real(evaluator, real, store, test),
                higher_is_better=True,
                count=count,
                extractor=name,
            )
        )
    return [*metrics, *_patch_metrics(real, fake, other, seed=settings.seed)]


def video_distances(
    store: Store, settings: EvaluateConfig, *, progress: Progress | None = None
) -> Callable[[GAN], list[Metric]]:
    """FVD and KVD: scores a generator by the Fréchet and the kernel distance of I3D's logits.

    Unterthiner et al. 2018, arXiv:1812.01717. Figures of it differ by tens of percent with what is compared and how,
    so each names the file of weights, the clips, their frames, their rate and their size. The real clips' logits are
    computed once, here. Raises as `evaluate`.
    """
    path = Path(settings.features.removeprefix(I3D_PREFIX)).expanduser()
    network, stamp = load_i3d(path)
    done, count = 0, settings.samples

    @torch.no_grad()
    def logits(chunks: Iterable[Tensor]) -> Tensor:
        nonlocal done
        parts = []
        for clips in chunks:
            for few in clips.split(I3D_AT_ONCE):
                parts.append(network(few))
                done += len(few)
                if progress is not None:
                    progress(done, 3 * count)
        return torch.cat(parts)

    real, other = (logits(_real(store, rows)) for rows in store.compared(count, settings.seed, of="clips"))

    def judge(gan: GAN) -> list[Metric]:
        samples: Any = gan.sample(count, seed=settings.seed)
        length, size = samples.tensor.shape[2], samples.tensor.shape[-1]
        protocol = (
            f"I3D {stamp[:16]}, logits, {count} clips of each, {length} frames of {size} px at {samples.rate:g} a "
            f"second, resized to {SIZE}, test split"
        )
        fake = logits(samples.tensor.split(CLIPS_AT_ONCE))
        return distance_metrics(real, fake, other, extractor=protocol, seed=settings.seed, names=("fvd", "kvd"))

    return judge


def held_out(store: Store, settings: EvaluateConfig) -> Callable[[GAN], list[Metric]]:
    """Scores a generator as `evaluate` does, by the features of clips alone; the real ones' are computed once, here."""
    if settings.features.startswith(I3D_PREFIX):
        return video_distances(store, settings)
    evaluator = _evaluator(settings.features)
    real, other = (
        _features(evaluator, _real(store, rows)) for rows in store.compared(settings.samples, settings.seed, of="clips")
    )

    def judge(gan: GAN) -> list[Metric]:
        samples = gan.sample(settings.samples, seed=settings.seed).tensor
        fake = _features(evaluator, samples.split(CLIPS_AT_ONCE))
        return distribution_metrics(real, fake, other, extractor=_named(settings), seed=settings.seed)

    return judge


@torch.no_grad()
def look(
    evaluator: Evaluator,
    chunks: Iterable[Tensor],
    content: Content,
    *,
    seed: int,
    report: Callable[[int], None] = lambda count: None,
) -> Seen:
    """See clips that arrive by chunks [n, 3, T, S, S]; which frames are looked at is drawn by `seed`."""
    rng = torch.Generator().manual_seed(seed)
    clip_features, frame_features, drift = [], [], []
    windows: list[Tensor] = []
    for clips in chunks:
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
    return Seen(
        clips=torch.cat(clip_features),
        frames=torch.cat(frame_features),
        drift=torch.cat(drift),
        windows=torch.cat(windows)[:NUM_PATCHED] if windows else torch.empty(0),
    )


def content_distance(clips: Tensor, content: Content) -> Tensor:
    """Clips [N, 3, T, H, W] -> the mean Euclidean distance between the contents of two of a clip's frames [N].

    The average content distance (ACD) of Tulyakov et al. 2018 is the mean over clips.
    """
    n, _, length = clips.shape[:3]
    of_frames = content(as_frames(clips)).unflatten(0, (n, length))  # [N, T, D]
    return torch.cdist(of_frames, of_frames, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2)) / max(
        1, length * (length - 1)
    )


def foreground_color(frames: Tensor) -> Tensor:
    """Frames [M, 3, H, W] on black, in [-1, 1] -> the mean color of the inside of what is not black [M, 3], in 0..255.

    Not black are the pixels whose brightest channel is at least half of the frame's brightest; inside are those whose
    four neighbors are so, too. A pixel of the edge shows as much of the ground as lies in it: with the edge, a shape
    of one color, drawn without fault between the pixels, would be 4.9 off at 64 px and 8.8 at 32; without, 0.3 and
    1.3. Of what is all edge, all counts.
    """
    colors = (frames + 1) * 127.5
    brightness = colors.amax(1, keepdim=True)
    seen = (brightness >= brightness.amax((2, 3), keepdim=True) / 2).float()
    inside = torch.minimum(_least(seen, (3, 1)), _least(seen, (1, 3)))
    counted = torch.where(inside.sum((2, 3), keepdim=True) > 0, inside, seen)
    return (colors * counted).sum((2, 3)) / counted.sum((2, 3))


def _least(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """The least of the window around each pixel, as far as that is in the image."""
    return -F.max_pool2d(-maps, window, stride=1, padding=(window[0] // 2, window[1] // 2))


def _patch_metrics(real: Seen, fake: Seen, other: Seen, *, seed: int) -> list[Metric]:
    """Sliced Wasserstein distance between patches of 7 x 7 pixels and 4 frames, scale by scale."""
    size = real.windows.shape[-1] if real.windows.numel() else 0
    if size < COARSEST or size & (size - 1) or not len(real.windows) == len(fake.windows) == len(other.windows):
        return []
    distances, floors = (sliced_wasserstein(real.windows, seen.windows, seed=seed) for seen in (fake, other))
    return [
        Metric(
            name=f"sliced_wasserstein_{level}px",
            value=distances[level],
            real_vs_real=floors[level],
            higher_is_better=False,
            count=len(real.windows),
            extractor=f"patches of {WINDOW}x7x7",
            seed=seed,
        )
        for level in distances
    ]


@torch.no_grad()
def _share_known(evaluator: Evaluator, seen: Seen, labels: Tensor) -> float:
    return float((evaluator.classify(seen.clips).argmax(1) == labels).float().mean())


def _share_of_real(evaluator: Evaluator, real: Seen, store: Store, rows: np.ndarray) -> float | None:
    """None where the data have other classes than the evaluator knows, or none."""
    if store.labels is None or read_labels(store.folder) != evaluator.labels:
        return None
    return _share_known(evaluator, real, torch.from_numpy(store.labels[rows]))


@torch.no_grad()
def _features(evaluator: Evaluator, chunks: Iterable[Tensor]) -> Tensor:
    return torch.cat([evaluator(clips) for clips in chunks])


def _real(store: Store, rows: np.ndarray) -> Iterator[Tensor]:
    for start in range(0, len(rows), CLIPS_AT_ONCE):
        yield decode(store.samples[rows[start : start + CLIPS_AT_ONCE]])


def _evaluator(features: str) -> Evaluator:
    kind, _, name = features.partition(":")
    if kind != "zoo":
        raise NotFoundError(
            f'no features "{features}" of clips: those of timm are of images; there are zoo:video-evaluator-…, '
            "and i3d:FILE for FVD"
        )
    return load_evaluator(name)


def _named(settings: EvaluateConfig) -> str:
    return f"{settings.features}-v{VERSION}"


def _of_shapes(store: Store) -> bool:
    return store.about["name"] == "shape-motion"
