"""The faces evaluator: a small network that knows what varies in `synthetic-faces`.

It is a timm ResNet-10-T of half the width, trained to predict the attributes of a picture (age, hair, pose, light,
glasses, ...) from its pixels. The Fréchet and kernel distances are measured on its 256 pooled features.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.faces.data.datasets import DATASETS
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
from zoo.noise import Noise

NAME = "faces-evaluator"
IGNORED = ("index", "identity", "ancestry")  # ancestry shows in skin and shape, and a network should not classify it
BACKBONE = "resnet10t"
CHANNELS = (32, 64, 128, 256)


class Evaluator(FeatureNetwork):
    """Images [N, 3, 64, 64] in [-1, 1] -> features [N, 256].

    Args:
        targets: each attribute and its number of classes, 0 for a number.
    """

    KIND = "faces evaluator"
    DATASETS = tuple(DATASETS)
    EPOCHS = 6
    RESOLUTION: ClassVar[int] = 64
    num_features = CHANNELS[-1]

    def __init__(self, targets: Mapping[str, int]) -> None:
        super().__init__()
        self.targets = dict(targets)
        self.backbone = timm.create_model(BACKBONE, pretrained=False, channels=CHANNELS, num_classes=0)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.num_features, max(classes, 1)) for name, classes in self.targets.items()}
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(self.resize(images))

    def resize(self, images: Tensor) -> Tensor:
        """Resize images [N, 3, H, W] to the size that the network was trained on."""
        if images.shape[-1] == self.RESOLUTION:
            return images
        return F.interpolate(images, (self.RESOLUTION, self.RESOLUTION), mode="bicubic", antialias=True)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Predict each attribute: class logits [N, K], or the standardized number [N]."""
        features = self(images)
        return {
            name: head(features) if self.targets[name] else head(features)[:, 0] for name, head in self.heads.items()
        }

    @classmethod
    def release_name(cls, dataset: str) -> str:
        return NAME

    @classmethod
    def train_on(
        cls, store: Store, *, epochs: int | None = None, batch: int = 64, seed: int = 0, log: Log = print
    ) -> tuple[Self, dict[str, float]]:
        torch.manual_seed(seed)
        classes, values = make_targets(store.attributes, ignored=IGNORED)
        network = cls(classes).to(memory_format=torch.channels_last)
        rows, noise = store.indices("train"), Noise(seed)

        def loss_fn(chosen: np.ndarray) -> Tensor:
            # Images are not mirrored: yaw, roll and the side of the light are among the targets.
            images = decode_images(store.samples[chosen])
            images = images + 0.02 * noise.normal(*images.shape)
            outputs = network.predict(images)
            return torch.stack(
                [target_loss(outputs[name], values[name][chosen], classes[name]) for name in classes]
            ).mean()

        batches, steps = shuffle_batches(rows, batch, seed), len(rows) // batch
        fit(network, batches, loss_fn, epochs=epochs or cls.EPOCHS, steps=steps, lr=2e-3, log=log)
        return network, network.score(store, values)

    @torch.no_grad()
    def score(self, store: Store, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Compute the accuracy or R^2 of each attribute on the test split; see `score_target`."""
        rows = store.indices("test")
        parts = [
            self.predict(decode_images(store.samples[chunk]))
            for chunk in np.array_split(rows, max(1, len(rows) // 250))
        ]
        outputs = {name: torch.cat([part[name] for part in parts]) for name in self.targets}
        return {
            name: score_target(outputs[name], values[name][rows], classes) for name, classes in self.targets.items()
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["targets"])

    def to_config(self) -> dict[str, Any]:
        return {"name": NAME, "version": self.VERSION, "targets": self.targets}

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> str:
        return f"""A timm {BACKBONE} of channels {list(CHANNELS)}. It predicts what a picture of `synthetic-faces` (CC0)
was rendered from. `zoo evaluate` measures distances on its {cls.num_features} pooled features. It was not trained to
predict ancestry or identity, and it is of no use on photographs of people."""

    @classmethod
    def list_scores(cls, config: Mapping[str, Any]) -> list[Score]:
        return [
            (name, "accuracy" if config["targets"][name] else "R^2", value)
            for name, value in config["test_scores"].items()
        ]


def load_evaluator(folder: Path | None = None) -> Evaluator:
    """Load the released evaluator, or the one in `folder`. Raises InvalidFileError where it is missing or damaged."""
    return Evaluator.load(folder or BUNDLED / NAME, dataset="synthetic-faces")
