"""How the networks that judge are trained: by what a data set's attributes say, a few epochs, one cycle of rates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn


def targets_of(attributes: np.ndarray, *, ignored: Collection[str]) -> tuple[dict[str, int], dict[str, Tensor]]:
    """What to learn from a store's attributes [N]: each target's classes (0: a number), and its values [N].

    Numbers are standardised; a field of several becomes a target for each.
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
    say: Callable[[str], None],
) -> None:
    """Train `model` by AdamW on the loss of the rows that `batches` gives for each epoch, `steps` batches in each.

    The rate rises to `lr` and falls to nothing in one cycle. Leaves the model in evaluation mode.
    """
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=epochs * steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in batches(epoch):
            loss = loss_of(chosen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        say(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}")
    model.eval()
