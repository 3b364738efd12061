"""Feature networks: small networks whose features the metrics compare, each trained on one data set of this library.

They need no download, and they know what varies in their data. Distances of their features are comparable for the same
network only, so metrics state its name and version.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.device import device_of
from zoo.errors import InvalidFileError
from zoo.io.weights import check_weights, load_weights, to_float16, verify, write_sums, write_weights
from zoo.nn.no_init import no_init

if TYPE_CHECKING:
    from zoo.data import Store

Log = Callable[[str], None]

Score = tuple[str, str, float]
"""What was scored, the kind of score, and its value."""


class FeatureNetwork(nn.Module):
    """A network whose features metrics compare. A subclass says how it is trained, and this class does the rest.

    A saved network is a folder with evaluator.safetensors (matrices in float16), config.json, a card and SHA256SUMS.
    """

    KIND: ClassVar[str]
    """What errors call it, e.g. "faces evaluator"."""
    DATASETS: ClassVar[tuple[str, ...]]
    """The data sets that it can be trained on."""
    VERSION: ClassVar[int] = 1
    EPOCHS: ClassVar[int | None] = None
    """Epochs of its training; None where the network's own config has them."""
    RESOLUTION: ClassVar[int | None] = None
    """Pixels of the data that it is trained on; None for data without pixels."""
    DATA_FACTS: ClassVar[tuple[str, ...]] = ("name", "version", "fingerprint")
    """What config.json states of the data."""
    ASSETS: ClassVar[tuple[str, ...]] = ()
    """Files of the data that belong to the network."""

    @property
    def device(self) -> torch.device:
        """Where its features are computed."""
        return device_of(self)

    @classmethod
    def release_name(cls, dataset: str) -> str:
        """Return the name of the folder of a released network."""
        raise NotImplementedError

    @classmethod
    def train_on(
        cls, store: Store, *, epochs: int | None = None, seed: int = 0, log: Log = print
    ) -> tuple[Self, dict[str, float]]:
        """Train on the training split of a store; returns the network and its scores on the test split."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the network that a config.json states."""
        raise NotImplementedError

    def to_config(self) -> dict[str, Any]:
        """Return what `from_config` needs, with the version."""
        raise NotImplementedError

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> str:
        """Write the card's paragraph: what the network is, what its features are for, and what it cannot do."""
        raise NotImplementedError

    @classmethod
    def scores_to_config(cls, scores: Mapping[str, float]) -> dict[str, Any]:
        """Return what config.json states of the scores."""
        return {"test_scores": {name: round(value, 4) for name, value in scores.items()}}

    @classmethod
    def list_scores(cls, config: Mapping[str, Any]) -> list[Score]:
        """List the scores that a config.json states."""
        raise NotImplementedError

    def save(self, folder: Path, store: Store, scores: Mapping[str, float], *, command: str) -> dict[str, Any]:
        """Write the network that was trained on `store` by `command` into a folder; returns its config.json."""
        config = {
            "format": 1,
            **self.to_config(),
            "license": "apache-2.0",
            "data": {key: store.fingerprint if key == "fingerprint" else store.about[key] for key in self.DATA_FACTS},
            **self.scores_to_config(scores),
            "command": command,
        }
        folder.mkdir(parents=True, exist_ok=True)
        for asset in self.ASSETS:
            shutil.copyfile(store.folder / asset, folder / asset)
        write_weights(to_float16(self), folder / "evaluator.safetensors")
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(self.format_card(config), encoding="utf-8")
        write_sums(folder)
        return config

    @classmethod
    def load(cls, folder: Path, *, dataset: str) -> Self:
        """Load the network in a folder, frozen and in evaluation mode.

        Raises InvalidFileError where it is damaged, or missing: then the message names the command that trains it on
        `dataset`.
        """
        if not (folder / "config.json").is_file():
            raise InvalidFileError(f"{folder}: no {cls.KIND} here; `zoo evaluator train {dataset}` trains it")
        verify(folder, {})
        try:
            with no_init():
                network = cls.from_config(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InvalidFileError(f"{folder}: its config.json is not a {cls.KIND}'s: {error}") from error
        check_weights(folder / "evaluator.safetensors", network.state_dict(), f"the {cls.KIND}")
        load_weights(folder / "evaluator.safetensors", network)
        return network.eval().requires_grad_(False)

    @classmethod
    def format_card(cls, config: Mapping[str, Any]) -> str:
        """Write the card README.md from a config.json."""
        rows = "\n".join(f"| {what} | {kind} | {value:.3f} |" for what, kind, value in cls.list_scores(config))
        note = f"{config['note']}\n\n" if "note" in config else ""
        return f"""---
license: {config["license"]}
library_name: gan-zoo
---
# Evaluator of {config["data"]["name"]}, version {config["version"]}

{cls.describe(config)}

{note}Trained by `{config["command"]}`. Scores on held-out data:

| what | score | value |
|---|---|---|
{rows}
"""


def make_targets(attributes: np.ndarray, *, ignored: Collection[str]) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Make training targets of a store's attributes [N]: each target's number of classes, and its values [N].

    A number has 0 classes, and its values are standardized. Each component of a field is a target of its own.
    """
    classes: dict[str, int] = {}
    values: dict[str, Tensor] = {}
    for name in attributes.dtype.names or ():
        if name in ignored:
            continue
        column = attributes[name].reshape(len(attributes), -1)
        for i, numbers in enumerate(column.T):
            target = name if column.shape[1] == 1 else f"{name}_{i}"
            is_class = numbers.dtype.kind in "ib"
            classes[target] = int(numbers.max()) + 1 if is_class else 0
            standard = numbers if is_class else (numbers - numbers.mean()) / (numbers.std() + 1e-8)
            values[target] = torch.from_numpy(standard.astype(np.int64 if is_class else np.float32))
    return classes, values


def target_loss(output: Tensor, value: Tensor, classes: int) -> Tensor:
    """Compute the cross entropy of logits [N, K], or the squared error of numbers [N] or [N, 1] (no classes)."""
    return F.cross_entropy(output, value) if classes else F.mse_loss(output.flatten(), value)


def score_target(output: Tensor, value: Tensor, classes: int) -> float:
    """Compute the accuracy of logits [N, K], or the R^2 (share of explained variance) of numbers [N] or [N, 1]."""
    if classes:
        return float((output.argmax(1) == value).float().mean())
    return 1 - float((output.flatten() - value).square().mean() / value.var().clamp_min(1e-12))


def shuffle_batches(rows: np.ndarray, batch: int, seed: int) -> Callable[[int], Iterator[np.ndarray]]:
    """Return a function from an epoch's number to its batches: each row at most once, in an order of (seed, epoch).

    The rows that would make an incomplete batch are left out.
    """

    def of_epoch(epoch: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        for start in range(0, len(order) - batch + 1, batch):
            yield np.sort(order[start : start + batch])

    return of_epoch


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterable[np.ndarray]],
    loss_fn: Callable[[np.ndarray], Tensor],
    *,
    epochs: int,
    steps: int,
    lr: float,
    log: Log,
) -> None:
    """Minimize the loss of batches of rows with AdamW, `steps` batches an epoch, and switch to evaluation mode.

    The learning rate rises to `lr` and falls to zero in one cycle.
    """
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps)
    for epoch in range(epochs):
        total = 0.0
        for rows in batches(epoch):
            loss = loss_fn(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        log(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}")
    network.eval()
