"""Checkpoints: the state of a training as one dictionary, written whole or not at all.

A checkpoint is private to its run and holds tensors and primitives only, so it is read with `weights_only=True`;
what is published is safetensors (`zoo.releases`).
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from zoo.errors import InvalidFileError, NoWeightsError, WriteError
from zoo.io.atomic import replace_atomically

BEST = "best.pt"

_NAME = re.compile(r"step-(\d{9})\.pt")


def save_checkpoint(state: dict[str, Any], folder: Path, *, step: int, keep: int) -> Path:
    """Write `step-000001234.pt` into `folder` and delete all but the newest `keep`.

    It is flushed to the disk under a temporary name first, so earlier checkpoints survive a crash or a full disk.
    Raises WriteError.
    """
    path = folder / f"step-{step:09}.pt"
    _save(state, path)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def save_best(state: dict[str, Any], folder: Path) -> Path:
    """Write `best.pt` into `folder`, beside the newest checkpoints. Raises WriteError."""
    _save(state, folder / BEST)
    return folder / BEST


def _save(state: dict[str, Any], path: Path) -> None:
    with replace_atomically(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # which torch raises where the disk is full
            raise WriteError(f"{path}: cannot write: {str(error).splitlines()[0]}") from error


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def read_step(checkpoint: Path) -> int:
    """Read the number of steps from the name of a checkpoint."""
    return int(checkpoint.stem.removeprefix("step-"))


def load_checkpoint(folder: Path, *, best: bool = False) -> dict[str, Any]:
    """Read the newest checkpoint of `folder`, or its `best.pt`.

    Raises NoWeightsError where there is none, InvalidFileError where it is damaged.
    """
    found = [folder / BEST] if best else list_checkpoints(folder)
    if not found:
        raise NoWeightsError(f"{folder}: no checkpoint here yet")
    try:
        return torch.load(found[-1], map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        earlier = f"; delete it to resume from {found[-2].name}" if len(found) > 1 else ""
        raise InvalidFileError(f"{found[-1]}: this checkpoint is damaged{earlier} ({type(error).__name__})") from error
