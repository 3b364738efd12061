"""The evaluators of clips: small networks that know what varies in one video data set.

Each has two halves. One sees a frame and predicts what stays the same over a clip: who it is, what it looks like. The
other sees the clip, by convolutions in space and then in time (Tran et al. 2018, arXiv:1711.11248). It predicts that,
the class of the clip, and whether time runs forwards. Distances are measured on the 64 pooled features of either half.
They are no FVD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.errors import NotFoundError, suggest
from zoo.io.weights import BUNDLED
from zoo.metrics.feature_network import (
    FeatureNetwork,
    Log,
    Score,
    fit,
    make_targets,
    score_target,
    shuffle_batches,
    target_loss,
)
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.video.data.datasets import DATASETS, decode

PREFIX = "video-evaluator-"
FEATURES = 64
RESOLUTION, FRAMES = 64, 16  # of the clips that it sees; others are resampled
IGNORED = (  # no targets: numbers of rows, what moves, and ancestry, which a network should not classify
    "label", "index", "identity", "ancestry", "smile", "mouth_open", "blink", "brow_raise", "yaw", "pitch", "roll",
)  # fmt: skip
MOVING = "velocity"  # a target with this prefix cannot be seen in a frame
CLASS, FORWARDS = "class", "forwards"


class Evaluator(FeatureNetwork):
    """Clips [N, 3, T, H, W] in [-1, 1] -> features [N, 64].

    Args:
        targets: what both halves predict, and its number of classes, 0 for a number. Only the clip half predicts
            velocities.
        labels: the names of the classes of clips.
    """

    KIND = "video evaluator"
    DATASETS = tuple(DATASETS)
    EPOCHS = 8
    RESOLUTION = RESOLUTION

    def __init__(self, targets: Mapping[str, int], labels: Sequence[str]) -> None:
        super().__init__()
        self.targets, self.labels = dict(targets), tuple(labels)
        frame_targets = {name: classes for name, classes in self.targets.items() if not name.startswith(MOVING)}
        clip_targets = {**self.targets, FORWARDS: 2} | ({CLASS: len(labels)} if labels else {})
        self.frame = nn.Sequential(
            *(layer for sizes in pairwise((3, 32, 64, 64, FEATURES)) for layer in _make_frame_layers(*sizes)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.clip = nn.Sequential(
            *(
                layer
                for i, (before, after) in enumerate(pairwise((3, 16, 32, 64, FEATURES)))
                for layer in _make_clip_layers(before, after, stride=2 if i else 1)
            ),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
        )
        self.frame_heads, self.clip_heads = (
            nn.ModuleDict({name: nn.Linear(FEATURES, max(classes, 1)) for name, classes in targets.items()})
            for targets in (frame_targets, clip_targets)
        )

    def forward(self, clips: Tensor) -> Tensor:
        return self.clip(resample(clips))

    def frames(self, images: Tensor) -> Tensor:
        """Compute the features [N, 64] of images [N, 3, H, W]."""
        return self.frame(resize(images))

    def classify(self, features: Tensor) -> Tensor:
        """Compute class logits [N, K] from the features of clips."""
        return self.clip_heads[CLASS](features)

    @classmethod
    def release_name(cls, dataset: str) -> str:
        return f"{PREFIX}{dataset}"

    @classmethod
    def train_on(
        cls, store: Store, *, epochs: int | None = None, batch: int = 32, seed: int = 0, log: Log = print
    ) -> tuple[Self, dict[str, float]]:
        torch.manual_seed(seed)
        classes, values = make_targets(store.attributes, ignored=IGNORED)
        network = channels_last(cls(classes, read_labels(store.folder)))
        rows, noise = store.indices("train"), Noise(seed)

        def loss_fn(chosen: np.ndarray) -> Tensor:
            return network.loss(store, chosen, values, noise)

        batches, steps = shuffle_batches(rows, batch, seed), len(rows) // batch
        fit(network, batches, loss_fn, epochs=epochs or cls.EPOCHS, steps=steps, lr=3e-3, log=log)
        return network, network.score(store, values)

    def loss(self, store: Store, rows: np.ndarray, values: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Compute the mean loss of both halves on rows of a store. A third of the clips runs backwards.

        Clips are not mirrored, because left and right are classes.
        """
        clips = decode(store.samples[rows])
        clips = clips + 0.02 * noise.normal(*clips.shape)
        backwards = noise.uniform(len(rows)) < 1 / 3
        clips = torch.where(backwards[:, None, None, None, None], clips.flip(2), clips)
        moments = (noise.uniform(len(rows)) * clips.shape[2]).long()
        frame_features = self.frames(clips[torch.arange(len(rows)), :, moments])
        clip_features = self(clips)
        losses = [
            target_loss(heads[name](features), values[name][rows], self.targets[name])
            for heads, features in ((self.frame_heads, frame_features), (self.clip_heads, clip_features))
            for name in self.targets
            if name in heads
        ]
        total = F.cross_entropy(self.clip_heads[FORWARDS](clip_features), (~backwards).long())
        if store.labels is not None:
            labels = torch.from_numpy(store.labels[rows])
            class_loss = F.cross_entropy(self.classify(clip_features), labels, reduction="none")
            total = total + 2 * (class_loss * ~backwards).mean()  # a class is one of clips that run forwards
        return total + (torch.stack(losses).mean() if losses else 0)

    @torch.no_grad()
    def score(self, store: Store, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Compute the accuracy or R^2 of each target on the test split; see `score_target`.

        `frame:NAME` is predicted from the first frame, `clip:NAME` from the clip.
        """
        rows, labels = store.indices("test"), store.labels
        parts: dict[str, list[Tensor]] = {}
        for chunk in np.array_split(rows, max(1, len(rows) // 64)):
            clips = decode(store.samples[chunk])
            frame_features, clip_features = self.frames(clips[:, :, 0]), self(clips)
            reversed_features = self(clips.flip(2))
            outputs = {f"frame:{name}": head(frame_features) for name, head in self.frame_heads.items()}
            outputs |= {f"clip:{name}": head(clip_features) for name, head in self.clip_heads.items()}
            outputs["backwards"] = self.clip_heads[FORWARDS](reversed_features)
            for name, output in outputs.items():
                parts.setdefault(name, []).append(output)
        predicted = {name: torch.cat(outputs) for name, outputs in parts.items()}
        forwards = predicted.pop(f"clip:{FORWARDS}").argmax(1).float().mean()
        backwards = 1 - predicted.pop("backwards").argmax(1).float().mean()
        scores = {f"clip:{FORWARDS}": float((forwards + backwards) / 2)}
        for name, output in predicted.items():
            target = name.partition(":")[2]
            if target == CLASS:
                assert labels is not None
                scores[name] = score_target(output, torch.from_numpy(labels[rows]), len(self.labels))
            else:
                scores[name] = score_target(output, values[target][rows], self.targets[target])
        return scores

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["targets"], config["labels"])

    def to_config(self) -> dict[str, Any]:
        return {"version": self.VERSION, "targets": self.targets, "labels": list(self.labels)}

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> str:
        dataset = config["data"]["name"]
        return f"""Two small networks that predict what varies in clips of `{dataset}`. One sees a frame (`frame:`),
and the other the clip (`clip:`). `zoo evaluate` measures distances on their {FEATURES} pooled features, which are
comparable with each other only. The networks are of no use on other videos."""

    @classmethod
    def list_scores(cls, config: Mapping[str, Any]) -> list[Score]:
        classes = {**config["targets"], FORWARDS: 2, CLASS: len(config["labels"])}
        return [
            (name, "accuracy" if classes[name.partition(":")[2]] else "R^2", value)
            for name, value in config["test_scores"].items()
        ]


VERSION = Evaluator.VERSION


def _make_frame_layers(before: int, after: int) -> list[nn.Module]:
    """Make layers that halve height and width."""
    return [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _make_clip_layers(before: int, after: int, *, stride: int) -> list[nn.Module]:
    """Make layers that halve height and width and divide the number of frames by `stride`."""
    return [
        nn.Conv3d(before, after, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
        nn.Conv3d(after, after, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
    ]


def resample(clips: Tensor) -> Tensor:
    """Resample clips [N, 3, T, H, W] to 16 frames, evenly spaced, of 64 x 64 pixels."""
    n, length = len(clips), clips.shape[2]
    if length != FRAMES:
        clips = clips[:, :, torch.arange(FRAMES, device=clips.device) * length // FRAMES]
    if clips.shape[-1] == RESOLUTION:
        return clips
    return resize(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (n, FRAMES)).transpose(1, 2)


def resize(images: Tensor) -> Tensor:
    """Resize images [N, 3, H, W] to 64 x 64 pixels."""
    if images.shape[-1] == RESOLUTION:
        return images
    return F.interpolate(images, (RESOLUTION, RESOLUTION), mode="bicubic", antialias=True).clamp(-1, 1)


def load_evaluator(name: str, folder: Path | None = None) -> Evaluator:
    """Load the evaluator `video-evaluator-DATA`, or the one in `folder`.

    Raises NotFoundError for another name, InvalidFileError where it is missing or damaged.
    """
    dataset = name.removeprefix(PREFIX)
    if folder is None and (not name.startswith(PREFIX) or dataset not in DATASETS):
        known = [PREFIX + data for data in DATASETS]
        raise NotFoundError(f'no features "zoo:{name}"; there are zoo:{", zoo:".join(known)}.{suggest(name, known)}')
    return Evaluator.load(folder or BUNDLED / name, dataset=dataset)
