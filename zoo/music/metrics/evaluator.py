"""The evaluator of drum hits: a small network that knows their classes, so that distances mean something offline.

Four convolutions over a log-mel spectrogram, trained to tell the class of a hit of `drum-hits`. Its 128 pooled
features are what the Fréchet and kernel distances are measured on, its classes what the score and the accuracy of asked
classes are counted with. They are comparable with nothing but themselves: metrics state its name and version.

    python -m zoo.music.sounds.evaluator --out zoo/weights/music-evaluator-drum-hits    # trains it: a few CPU minutes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.data import Store
from zoo.data.labels import read_labels
from zoo.errors import InvalidValueError
from zoo.metrics.feature_network import fit, read_network, write_network
from zoo.music.data.sounds import build_dataset, decode
from zoo.music.mel import FLOOR, MelConfig, log_mel
from zoo.noise import Noise

NAME = "music-evaluator-drum-hits"
VERSION = 1
LENGTH, RATE = 16384, 16000
MEL = MelConfig(rate=RATE, mels=64, fft=512, hop=128, high=0.0)
CHANNELS = (16, 32, 64, 128)


class Evaluator(nn.Module):
    """Waves [N, 1, 16384] at 16 kHz -> features [N, 128]; `classify` -> logits [N, K].

    Loudness does not matter to it: each wave is first brought to a peak of 1.
    """

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
        seen = log_mel(waves, MEL) / 4 + 1  # about N(0, 1)
        return self.main(seen[:, None]).mean(dim=(2, 3))

    def classify(self, waves: Tensor) -> Tensor:
        return self.head(self(waves))

    @torch.no_grad()
    def hear(self, waves: Tensor, *, batch: int = 100) -> tuple[Tensor, Tensor]:
        """Features [N, 128] and probabilities of the classes [N, K], a batch at a time."""
        features = torch.cat([self(some) for some in waves.split(batch)])
        return features, self.head(features).softmax(1)


def train_evaluator(
    store: Store, *, epochs: int = 12, batch: int = 32, seed: int = 0, log: Callable[[str], None] = print
) -> tuple[Evaluator, float]:
    """Train on the training split; returns the network and its accuracy on the test split, each class as heavy.

    Hits of classes that are rare are seen as often as others. Raises InvalidValueError for a store without classes.
    """
    labels, names = store.labels, read_labels(store.folder)
    if labels is None:
        raise InvalidValueError(f"{store.folder}: these sounds have no classes to learn")
    torch.manual_seed(seed)
    model, noise, rng = Evaluator(names), Noise(seed), np.random.default_rng(seed)
    rows = store.indices("train")
    shares = 1 / np.bincount(labels[rows], minlength=len(names)).clip(1)[labels[rows]]
    steps = len(rows) // batch

    def batches(epoch: int) -> Iterator[np.ndarray]:
        for _ in range(steps):
            yield np.sort(rng.choice(rows, batch, p=shares / shares.sum()))

    def loss_of(chosen: np.ndarray) -> Tensor:
        waves = decode(store.samples[chosen])
        waves = waves + 10 ** (-2 - 2 * noise.uniform(batch, 1, 1)) * noise.normal(*waves.shape)
        return F.cross_entropy(model.classify(waves), torch.from_numpy(labels[chosen]), label_smoothing=0.1)

    fit(model, batches, loss_of, epochs=epochs, steps=steps, lr=2e-3, log=log)
    return model, balanced_accuracy(model, store)


def balanced_accuracy(model: Evaluator, store: Store) -> float:
    """The mean over classes of the share of held-out hits that are told right."""
    rows = store.indices("test")
    told = model.hear(decode(store.samples[rows]))[1].argmax(1).numpy()
    truth = store.attributes["label"][rows]
    return float(np.mean([(told[truth == label] == label).mean() for label in np.unique(truth)]))


def save_evaluator(model: Evaluator, folder: Path, about: Mapping[str, Any]) -> None:
    """Write it into `folder`, with the facts `about` in its config.json."""
    config = {"format": 1, "name": NAME, "version": VERSION, "labels": model.labels, "mel": asdict(MEL), **about}
    write_network(model, folder, config, card_text(config))


def card_text(config: Mapping[str, Any]) -> str:
    """The card of the evaluator: what it is, what it can tell, and what it is not for."""
    return f"""---
license: gpl-2.0
library_name: gan-zoo
---
# {config["name"]}, version {config["version"]}

Four convolutions over a log-mel spectrogram, which tell the class of a hit of `drum-hits`
({", ".join(config["labels"])}). Its {Evaluator.num_features} pooled features are what `zoo evaluate` measures
distances on. It knows isolated hits of a second at {RATE} Hz, and is of no use on music.

Trained by `{config["command"]}`. It tells {config["test_accuracy"]:.1%} of the held-out hits right, the mean over the
classes; those are of instruments that it never heard.
"""


def load_evaluator(folder: Path | None = None) -> Evaluator:
    """The released evaluator. Raises InvalidFileError where it is missing or damaged."""
    folder = folder or Path(__file__).parents[2] / "weights" / NAME
    absent = "the evaluator is not here; `python -m zoo.music.sounds.evaluator` trains it"
    kind = "drum hits evaluator"
    return read_network(folder, lambda config: Evaluator(config["labels"]), kind=kind, absent=absent)


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Train the evaluator of drum hits.")
    parser.add_argument("--out", type=Path, required=True, help="the folder of its weights")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    store = build_dataset("drum-hits")
    model, accuracy = train_evaluator(store, epochs=options.epochs)
    print(f"balanced accuracy {accuracy:.3f}")
    about = {
        "license": "gpl-2.0",
        "data": {"name": "drum-hits", "version": store.about["version"], "fingerprint": store.fingerprint},
        "test_accuracy": round(accuracy, 4),
        "command": f"python -m zoo.music.sounds.evaluator --epochs {options.epochs}",
    }
    save_evaluator(model, options.out, about)


if __name__ == "__main__":
    main()
