"""The faces evaluator: a small network that knows what varies in `synthetic-faces`, so that distances mean something
offline.

A timm ResNet-10-T of half the width, trained to tell each picture's generating attributes (age, hair, pose, light,
glasses, ...) from its pixels. Its 256 pooled features are what the Fréchet and kernel distances are measured on.
They are comparable with nothing but themselves: metrics state the extractor's name and version.

    python -m zoo.faces.evaluator --out zoo/weights/faces-evaluator        # trains it: 10 to 20 CPU minutes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.faces.data.datasets import build_dataset
from zoo.metrics.feature_network import fit, read_network, shuffled, targets_of, write_network
from zoo.noise import Noise

NAME = "faces-evaluator"
VERSION = 1
IGNORED = ("index", "identity", "ancestry")  # ancestry shows in skin and shape; a network shall not be asked to name it
BACKBONE = "resnet10t"
CHANNELS = (32, 64, 128, 256)


class Evaluator(nn.Module):
    """Images [N, 3, 64, 64] in [-1, 1] -> features [N, 256]; `predict` -> one output per attribute.

    Args:
        targets: attribute to its number of classes, or to 0 for a number (one output per number).
    """

    num_features = CHANNELS[-1]
    resolution = 64

    def __init__(self, targets: Mapping[str, int]) -> None:
        super().__init__()
        self.targets = dict(targets)
        self.backbone = timm.create_model(BACKBONE, pretrained=False, channels=CHANNELS, num_classes=0)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.num_features, max(classes, 1)) for name, classes in self.targets.items()}
        )

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.resolution:
            images = F.interpolate(images, (self.resolution, self.resolution), mode="bicubic", antialias=True)
        return self.backbone(images)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Class logits [N, classes], or the standardized number [N], by attribute."""
        features = self(images)
        return {
            name: head(features) if self.targets[name] else head(features)[:, 0] for name, head in self.heads.items()
        }


def target_table(attributes: np.ndarray) -> tuple[dict[str, int], dict[str, Tensor]]:
    """What to learn from a store's attributes [N]; see `targets_of`."""
    return targets_of(attributes, ignored=IGNORED)


def train_evaluator(
    store: Store, *, epochs: int = 6, batch: int = 64, seed: int = 0, log: Callable[[str], None] = print
) -> tuple[Evaluator, dict[str, float]]:
    """Train on the store's training split; returns the network and its scores on the test split.

    A score is the accuracy of a class and the share of explained variance (R^2) of a number.
    """
    torch.manual_seed(seed)
    classes, values = target_table(store.attributes)
    model = Evaluator(classes).to(memory_format=torch.channels_last)
    rows, noise = store.indices("train"), Noise(seed)

    def loss_of(chosen: np.ndarray) -> Tensor:
        # Not mirrored: yaw, roll and the light's side are among the targets.
        images = decode_images(store.samples[chosen])
        images = images + 0.02 * noise.normal(*images.shape)
        outputs = model.predict(images)
        return torch.stack([_loss(outputs[name], values[name][chosen], classes[name]) for name in classes]).mean()

    fit(model, shuffled(rows, batch, seed), loss_of, epochs=epochs, steps=len(rows) // batch, lr=2e-3, log=log)
    return model, score(model, store, classes, values)


def _loss(output: Tensor, value: Tensor, classes: int) -> Tensor:
    return F.cross_entropy(output, value) if classes else F.mse_loss(output, value)


@torch.no_grad()
def score(model: Evaluator, store: Store, classes: Mapping[str, int], values: Mapping[str, Tensor]) -> dict[str, float]:
    """Accuracy or R^2 of each target on the test split."""
    rows = store.indices("test")
    parts: list[dict[str, Tensor]] = [
        model.predict(decode_images(store.samples[chunk])) for chunk in np.array_split(rows, max(1, len(rows) // 250))
    ]
    scores = {}
    for name in classes:
        output = torch.cat([part[name] for part in parts])
        value = values[name][rows]
        if classes[name]:
            scores[name] = float((output.argmax(1) == value).float().mean())
        else:
            scores[name] = 1 - float((output - value).square().mean() / value.var())
    return scores


def save_evaluator(model: Evaluator, folder: Path, about: Mapping[str, Any]) -> None:
    """Write it into `folder`, with the facts `about` in its config.json."""
    config = {"format": 1, "name": NAME, "version": VERSION, "targets": model.targets, **about}
    write_network(model, folder, config, card_text(config))


def card_text(config: Mapping[str, Any]) -> str:
    """The card of an evaluator: what it is, what it can tell, and what it is not for."""
    command = config.get("command", "python -m zoo.faces.evaluator")
    rows = [
        f"| {name} | {'accuracy' if config['targets'].get(name) else 'R^2'} | {value:.3f} |"
        for name, value in config.get("test_scores", {}).items()
    ]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "library_name: gan-zoo",
            "---",
            f"# {config['name']}, version {config['version']}",
            "",
            f"A timm {BACKBONE} of channels {list(CHANNELS)} that tells from a picture of `synthetic-faces` (CC0) what",
            f"it was rendered from. Its {CHANNELS[-1]} pooled features are what `zoo evaluate` measures distances",
            "on. It was not asked to name ancestry or identity, and is of no use on photographs of people.",
            "",
            f"Trained by `{command}`. Scores on people of the test split:",
            "",
            "| attribute | score | value |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def load_evaluator(folder: Path | None = None) -> Evaluator:
    """The released evaluator. Raises InvalidFileError where it is missing or damaged."""
    folder = folder or Path(__file__).parents[1] / "weights" / NAME
    absent = "the faces evaluator is not here; `python -m zoo.faces.evaluator` trains it"
    return read_network(folder, lambda config: Evaluator(config["targets"]), kind="faces evaluator", absent=absent)


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Train the faces evaluator on synthetic-faces.")
    parser.add_argument("--out", type=Path, required=True, help="the folder of its weights")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    store = build_dataset("synthetic-faces", size=Evaluator.resolution)
    model, scores = train_evaluator(store, epochs=options.epochs)
    for name, value in scores.items():
        print(f"{name:<18} {value:.3f}")
    about = {
        "license": "apache-2.0",
        "data": {"name": "synthetic-faces", "version": store.about["version"], "fingerprint": store.fingerprint},
        "test_scores": {name: round(value, 4) for name, value in scores.items()},
        "command": f"python -m zoo.faces.evaluator --epochs {options.epochs}",
    }
    save_evaluator(model, options.out, about)


if __name__ == "__main__":
    main()
