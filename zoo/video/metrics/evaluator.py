"""The evaluators of clips: small networks that know what varies in a data set of this wing, so that distances mean
something offline.

Each has two halves. One sees a frame and tells what stays the same over a clip (who it is, what it looks like), the
other sees the clip, by convolutions in space and then in time (Tran et al. 2018, arXiv:1711.11248), and tells that,
the clip's
class, and whether time runs forwards. The 64 pooled features of either are what distances are measured on; they compare
with nothing but themselves, are no FVD, and metrics state their name and version.

    python -m zoo.video.evaluator talking-faces --out zoo/weights/video-evaluator-talking-faces
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.errors import NotFoundError, suggest
from zoo.metrics.feature_network import fit, read_network, shuffled, targets_of, write_network
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.video.data.datasets import DATASETS, build_dataset, decode

PREFIX = "video-evaluator-"
VERSION = 1
FEATURES = 64
RESOLUTION, FRAMES = 64, 16  # of the clips it sees; others are brought to them
IGNORED = (  # not asked for: numbers of rows, what moves, and ancestry, which a network shall not be asked to name
    "label", "index", "identity", "ancestry", "smile", "mouth_open", "blink", "brow_raise", "yaw", "pitch", "roll",
)  # fmt: skip
MOVING = "velocity"  # what begins with it cannot be seen in a frame
CLASS, FORWARDS = "class", "forwards"


class Evaluator(nn.Module):
    """Clips [N, 3, T, H, W] in [-1, 1] -> features [N, 64]; `frames` does so for images.

    Args:
        targets: what both halves tell, to its number of classes, or to 0 for a number; a velocity the clips' alone.
        labels: the names of the classes of clips.
    """

    def __init__(self, targets: Mapping[str, int], labels: Sequence[str]) -> None:
        super().__init__()
        self.targets, self.labels = dict(targets), tuple(labels)
        of_frames = {name: told for name, told in self.targets.items() if not name.startswith(MOVING)}
        of_clips = {**self.targets, FORWARDS: 2} | ({CLASS: len(labels)} if labels else {})
        self.frame = nn.Sequential(
            *(layer for sizes in pairwise((3, 32, 64, 64, FEATURES)) for layer in _halving(*sizes)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.clip = nn.Sequential(
            *(
                layer
                for i, (before, after) in enumerate(pairwise((3, 16, 32, 64, FEATURES)))
                for layer in _halving_in_time(before, after, stride=2 if i else 1)
            ),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
        )
        self.frame_heads, self.clip_heads = (
            nn.ModuleDict({name: nn.Linear(FEATURES, max(classes, 1)) for name, classes in told.items()})
            for told in (of_frames, of_clips)
        )

    def forward(self, clips: Tensor) -> Tensor:
        return self.clip(_brought(clips))

    def frames(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] -> features [N, 64]."""
        return self.frame(_resized(images))

    def classify(self, features: Tensor) -> Tensor:
        """The features of clips -> the logits of their classes [N, K]."""
        return self.clip_heads[CLASS](features)


def _halving(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _halving_in_time(before: int, after: int, *, stride: int) -> list[nn.Module]:
    return [
        nn.Conv3d(before, after, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
        nn.Conv3d(after, after, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(after),
        nn.ReLU(),
    ]


def _brought(clips: Tensor) -> Tensor:
    """To 16 frames, evenly chosen, of 64 x 64."""
    n, length = len(clips), clips.shape[2]
    if length != FRAMES:
        clips = clips[:, :, torch.arange(FRAMES, device=clips.device) * length // FRAMES]
    if clips.shape[-1] == RESOLUTION:
        return clips
    return _resized(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (n, FRAMES)).transpose(1, 2)


def _resized(images: Tensor) -> Tensor:
    if images.shape[-1] == RESOLUTION:
        return images
    return F.interpolate(images, (RESOLUTION, RESOLUTION), mode="bicubic", antialias=True).clamp(-1, 1)


def target_table(attributes: np.ndarray) -> tuple[dict[str, int], dict[str, Tensor]]:
    """What to tell of a store's attributes [N]; see `targets_of`."""
    return targets_of(attributes, ignored=IGNORED)


def train_evaluator(
    store: Store, *, epochs: int = 8, batch: int = 32, seed: int = 0, log: Callable[[str], None] = print
) -> tuple[Evaluator, dict[str, float]]:
    """Train on the store's training split; returns the network and its scores on the test split."""
    torch.manual_seed(seed)
    classes, values = target_table(store.attributes)
    model = channels_last(Evaluator(classes, read_labels(store.folder)))
    rows, labels, noise = store.indices("train"), store.labels, Noise(seed)

    def loss_of(chosen: np.ndarray) -> Tensor:
        return _loss_of(model, store, chosen, values, labels, noise)

    fit(model, shuffled(rows, batch, seed), loss_of, epochs=epochs, steps=len(rows) // batch, lr=3e-3, log=log)
    return model, score(model, store, values)


def _loss_of(
    model: Evaluator,
    store: Store,
    rows: np.ndarray,
    values: Mapping[str, Tensor],
    labels: np.ndarray | None,
    noise: Noise,
) -> Tensor:
    """Both halves' mean loss. Not mirrored, as left and right are classes; a clip in three runs backwards."""
    clips = decode(store.samples[rows])
    clips = clips + 0.02 * noise.normal(*clips.shape)
    backwards = noise.uniform(len(rows)) < 1 / 3
    clips = torch.where(backwards[:, None, None, None, None], clips.flip(2), clips)
    moments = (noise.uniform(len(rows)) * clips.shape[2]).long()
    of_frames = model.frames(clips[torch.arange(len(rows)), :, moments])
    of_clips = model(clips)
    losses = [
        _loss(heads[name](features), values[name][rows], bool(model.targets[name]))
        for heads, features in ((model.frame_heads, of_frames), (model.clip_heads, of_clips))
        for name in model.targets
        if name in heads
    ]
    told = F.cross_entropy(model.clip_heads[FORWARDS](of_clips), (~backwards).long())
    if labels is not None:
        of_class = F.cross_entropy(model.classify(of_clips), torch.from_numpy(labels[rows]), reduction="none")
        told = told + 2 * (of_class * ~backwards).mean()  # a class is one of clips that run forwards
    return told + (torch.stack(losses).mean() if losses else 0)


def _loss(output: Tensor, value: Tensor, of_classes: bool) -> Tensor:
    return F.cross_entropy(output, value) if of_classes else F.mse_loss(output[:, 0], value)


@torch.no_grad()
def score(model: Evaluator, store: Store, values: Mapping[str, Tensor]) -> dict[str, float]:
    """On the test split: the accuracy of a class, the share of explained variance (R^2) of a number.

    `frame:` what a frame tells (the first), `clip:` what the clip does.
    """
    rows, labels = store.indices("test"), store.labels
    parts: dict[str, list[Tensor]] = {}
    for chunk in np.array_split(rows, max(1, len(rows) // 64)):
        clips = decode(store.samples[chunk])
        of_frames, of_clips, of_backwards = model.frames(clips[:, :, 0]), model(clips), model(clips.flip(2))
        outputs = {f"frame:{name}": head(of_frames) for name, head in model.frame_heads.items()}
        outputs |= {f"clip:{name}": head(of_clips) for name, head in model.clip_heads.items()}
        outputs["backwards"] = model.clip_heads[FORWARDS](of_backwards)
        for name, output in outputs.items():
            parts.setdefault(name, []).append(output)
    told = {name: torch.cat(outputs) for name, outputs in parts.items()}
    forwards = told.pop(f"clip:{FORWARDS}").argmax(1).float().mean()
    backwards = 1 - told.pop("backwards").argmax(1).float().mean()
    scores = {f"clip:{FORWARDS}": float((forwards + backwards) / 2)}
    for name, output in told.items():
        target = name.partition(":")[2]
        if target == CLASS:
            assert labels is not None
            scores[name] = float((output.argmax(1) == torch.from_numpy(labels[rows])).float().mean())
        elif model.targets[target]:
            scores[name] = float((output.argmax(1) == values[target][rows]).float().mean())
        else:
            value = values[target][rows]
            scores[name] = 1 - float((output[:, 0] - value).square().mean() / value.var().clamp_min(1e-12))
    return scores


def save_evaluator(model: Evaluator, folder: Path, about: Mapping[str, Any]) -> None:
    """Write it into `folder`, with the facts `about` in its config.json."""
    config = {"format": 1, "version": VERSION, "targets": model.targets, "labels": list(model.labels), **about}
    write_network(model, folder, config, card_text(config))


def card_text(config: Mapping[str, Any]) -> str:
    """The card of an evaluator: what it is, what it can tell, and what it is not for."""
    data = config["data"]["name"]
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in config["test_scores"].items())
    return f"""---
license: {config["license"]}
library_name: gan-zoo
---
# {PREFIX}{data}, version {config["version"]}

Two small networks that tell what varies in clips of `{data}`, one from a frame and one from the clip. Their 64 pooled
features are what `zoo evaluate` measures distances on; they compare with nothing but themselves. Of no use on other
videos.

Trained by `{config["command"]}`. On the test split, the accuracy of classes and the R^2 of numbers:

| what | score |
|---|---|
{rows}
"""


def load_evaluator(name: str, folder: Path | None = None) -> Evaluator:
    """The evaluator `video-evaluator-DATA`, or the one in `folder`.

    Raises NotFoundError for another name, InvalidFileError where it is missing or damaged.
    """
    data = name.removeprefix(PREFIX)
    if folder is None and (not name.startswith(PREFIX) or data not in DATASETS):
        known = [PREFIX + data for data in DATASETS]
        raise NotFoundError(f'no features "zoo:{name}"; there are zoo:{", zoo:".join(known)}.{suggest(name, known)}')
    folder = folder or Path(__file__).parents[1] / "weights" / name
    absent = f"this evaluator is not here; `python -m zoo.video.evaluator {data}` trains it"
    model = read_network(
        folder, lambda config: Evaluator(config["targets"], config["labels"]), kind="video evaluator", absent=absent
    )
    return model.requires_grad_(False)


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Train an evaluator of clips.")
    parser.add_argument("data", choices=list(DATASETS))
    parser.add_argument(
        "--out", type=Path, help="the folder of its weights; zoo/weights/video-evaluator-DATA if absent"
    )
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    store = build_dataset(options.data, size=RESOLUTION)
    model, scores = train_evaluator(store, epochs=options.epochs)
    for name, value in scores.items():
        print(f"{name:<24} {value:.3f}")
    about = {
        "license": "apache-2.0",
        "data": {"name": options.data, "version": store.about["version"], "fingerprint": store.fingerprint},
        "test_scores": {name: round(value, 4) for name, value in scores.items()},
        "command": f"python -m zoo.video.evaluator {options.data} --epochs {options.epochs}",
    }
    save_evaluator(model, options.out or Path(__file__).parents[1] / "weights" / f"{PREFIX}{options.data}", about)


if __name__ == "__main__":
    main()
