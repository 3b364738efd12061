"""The evaluator of drum hits: a small network that knows their classes.

Four convolutions over a log-mel spectrogram are trained to classify the hits of `drum-hits`. The Fréchet and kernel
distances are measured on its 128 pooled features. The inception score and the accuracy of requested classes use its
class probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.errors import InvalidValueError
from zoo.io.weights import BUNDLED
from zoo.metrics.feature_network import FeatureNetwork, Log, Score, fit
from zoo.music.data.sounds import decode
from zoo.music.mel import FLOOR, MelConfig, log_mel
from zoo.noise import Noise

NAME = "music-evaluator-drum-hits"
LENGTH, RATE = 16384, 16000
MEL = MelConfig(rate=RATE, mels=64, fft=512, hop=128, high=0.0)
CHANNELS = (16, 32, 64, 128)


class Evaluator(FeatureNetwork):
    """Waves [N, 1, 16384] at 16 kHz -> features [N, 128].

    Loudness does not matter, because each wave is first scaled to a peak of 1.
    """

    KIND = "drum hits evaluator"
    DATASETS = ("drum-hits",)
    VERSION = 2  # version 1 knew the recorded kits of versions 1 and 2 of drum-hits
    EPOCHS = 12
    num_features = CHANNELS[-1]

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        layers: list[nn.Module] = []
        for before, after in zip((1, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.main = nn.Sequential(*layers)  # [N, 128, 4, 8]
        self.head = nn.Linear(self.num_features, len(self.labels))

    def forward(self, waves: Tensor) -> Tensor:
        if waves.shape[1:] != (1, LENGTH):
            raise InvalidValueError(
                f"the evaluator of drum hits hears waves [N, 1, {LENGTH}] at {RATE} Hz, not {list(waves.shape)}"
            )
        waves = waves[:, 0] / waves[:, 0].abs().amax(dim=1, keepdim=True).clamp_min(FLOOR)
        spectrograms = log_mel(waves, MEL) / 4 + 1  # about N(0, 1)
        return self.main(spectrograms[:, None]).mean(dim=(2, 3))

    def classify(self, waves: Tensor) -> Tensor:
        """Compute class logits [N, K]."""
        return self.head(self(waves))

    @torch.no_grad()
    def hear(self, waves: Tensor, *, batch: int = 100) -> tuple[Tensor, Tensor]:
        """Compute features [N, 128] and class probabilities [N, K] on the CPU, a batch at a time."""
        features = torch.cat([self(some.to(self.device)) for some in waves.split(batch)])
        return features.cpu(), self.head(features).softmax(1).cpu()

    @classmethod
    def release_name(cls, dataset: str) -> str:
        return NAME

    @classmethod
    def train_on(
        cls, store: Store, *, epochs: int | None = None, batch: int = 32, seed: int = 0, log: Log = print
    ) -> tuple[Self, dict[str, float]]:
        """Train on the training split; returns the network and its balanced accuracy on the test split.

        Hits of rare classes are shown as often as others. Raises InvalidValueError for a store without classes.
        """
        labels, names = store.labels, read_labels(store.folder)
        if labels is None:
            raise InvalidValueError(f"{store.folder}: these sounds have no classes to learn")
        torch.manual_seed(seed)
        network, noise, rng = cls(names), Noise(seed), np.random.default_rng(seed)
        rows = store.indices("train")
        shares = 1 / np.bincount(labels[rows], minlength=len(names)).clip(1)[labels[rows]]
        steps = len(rows) // batch

        def batches(epoch: int) -> Iterator[np.ndarray]:
            for _ in range(steps):
                yield np.sort(rng.choice(rows, batch, p=shares / shares.sum()))

        def loss_fn(chosen: np.ndarray) -> Tensor:
            waves = decode(store.samples[chosen])
            waves = waves + 10 ** (-2 - 2 * noise.uniform(batch, 1, 1)) * noise.normal(*waves.shape)
            return F.cross_entropy(network.classify(waves), torch.from_numpy(labels[chosen]), label_smoothing=0.1)

        fit(network, batches, loss_fn, epochs=epochs or cls.EPOCHS, steps=steps, lr=2e-3, log=log)
        return network, {"accuracy": network.balanced_accuracy(store)}

    def balanced_accuracy(self, store: Store) -> float:
        """Compute the mean over classes of the accuracy on the test split."""
        rows = store.indices("test")
        predicted = self.hear(decode(store.samples[rows]))[1].argmax(1).numpy()
        truth = store.attributes["label"][rows]
        return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["labels"])

    def to_config(self) -> dict[str, Any]:
        return {"name": NAME, "version": self.VERSION, "labels": self.labels, "mel": asdict(MEL)}

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> str:
        return f"""Four convolutions over a log-mel spectrogram, which classify the hits of `drum-hits`
({", ".join(config["labels"])}). `zoo evaluate` measures distances on its {cls.num_features} pooled features. It knows
isolated hits of a second at {RATE} Hz, and it is of no use on music. The hits of the test split are of instruments that
are not in the training split."""

    @classmethod
    def scores_to_config(cls, scores: Mapping[str, float]) -> dict[str, Any]:
        return {"test_accuracy": round(scores["accuracy"], 4)}

    @classmethod
    def list_scores(cls, config: Mapping[str, Any]) -> list[Score]:
        return [("class", "balanced accuracy", config["test_accuracy"])]


VERSION = Evaluator.VERSION


def load_evaluator(folder: Path | None = None) -> Evaluator:
    """Load the released evaluator, or the one in `folder`. Raises InvalidFileError where it is missing or damaged."""
    return Evaluator.load(folder or BUNDLED / NAME, dataset="drum-hits")
