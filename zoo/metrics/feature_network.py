"""Feature networks: small networks whose features the metrics compare, trained on the attributes of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import InvalidFileError
from zoo.io.weights import check_weights, load_weights, to_float16, verify, write_sums, write_weights
from zoo.nn.no_init import no_init

Network = TypeVar("Network", bound=nn.Module)


def targets_of(attributes: np.ndarray, *, ignored: Collection[str]) -> tuple[dict[str, int], dict[str, Tensor]]:
    """What to learn from a store's attributes [N]: each target's classes (0: a number), and its values [N].

    Numbers are standardized; a field of several becomes a target for each.
    """
    classes: dict[str, int] = {}
    values: dict[str, Tensor] = {}
    for name in attributes.dtype.names or ():
        if name in ignored:
            continue
        column = attributes[name].reshape(len(attributes), -1)
        for i, numbers in enumerate(column.T):
            part = name if column.shape[1] == 1 else f"{name}_{i}"
            whole = numbers.dtype.kind in "ib"
            classes[part] = int(numbers.max()) + 1 if whole else 0
            standard = numbers if whole else (numbers - numbers.mean()) / (numbers.std() + 1e-8)
            values[part] = torch.from_numpy(standard.astype(np.int64 if whole else np.float32))
    return classes, values


def shuffled(rows: np.ndarray, batch: int, seed: int) -> Callable[[int], Iterator[np.ndarray]]:
    """The batches of an epoch, by its number: each row once, in an order drawn from (seed, epoch)."""

    def of_epoch(epoch: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        for start in range(0, len(order) - batch + 1, batch):
            yield np.sort(order[start : start + batch])

    return of_epoch


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[np.ndarray]],
    loss_of: Callable[[np.ndarray], Tensor],
    *,
    epochs: int,
    steps: int,
    lr: float,
    log: Callable[[str], None],
) -> None:
    """Train `model` by AdamW on the loss of the rows that `batches` gives for each epoch, `steps` batches in each.

    The rate rises to `lr` and falls to nothing in one cycle. Leaves the model in evaluation mode.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in batches(epoch):
            loss = loss_of(chosen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        log(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}")
    model.eval()


def write_network(model: nn.Module, folder: Path, config: Mapping[str, Any], card: str) -> None:
    """Write a feature network into `folder`.

    evaluator.safetensors (float16 matrices), config.json, the card, and the digests of all files there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(to_float16(model), folder / "evaluator.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_sums(folder)


def read_network(folder: Path, build: Callable[[dict[str, Any]], Network], *, kind: str, absent: str) -> Network:
    """Load the network in `folder`, which `build` makes from its config.json, in evaluation mode.

    Raises InvalidFileError where it is missing, for which `absent` says what to do, or damaged.
    """
    if not (folder / "config.json").is_file():
        raise InvalidFileError(f"{folder}: {absent}")
    verify(folder, {})
    try:
        with no_init():
            model = build(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidFileError(f"{folder}: its config.json is not a {kind}'s: {error}") from error
    check_weights(folder / "evaluator.safetensors", model.state_dict(), f"the {kind}")
    load_weights(folder / "evaluator.safetensors", model)
    return model.eval()
