"""Training state on disk: one dictionary, written whole or not at all.

A checkpoint is private to its run and holds tensors and primitives only, so it is read with `weights_only=True`;
what gets published is safetensors (`zoo.hub`).
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from zoo.disk import replacing
from zoo.errors import BadFile, CannotWrite

BEST = "best.pt"

_NAME = re.compile(r"turn-(\d{9})\.pt")


def save_checkpoint(state: dict[str, Any], folder: Path, *, turn: int, keep: int) -> Path:
    """Write `turn-000001234.pt` into `folder` and delete all but the newest `keep`.

    Flushed to the disk under a temporary name first: a crash or a full disk leaves the earlier checkpoints whole.
    Raises CannotWrite.
    """
    path = folder / f"turn-{turn:09}.pt"
    _save(state, path)
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def save_best(state: dict[str, Any], folder: Path) -> Path:
    """Write `best.pt` into `folder`, which stays beside the newest checkpoints. Raises CannotWrite."""
    _save(state, folder / BEST)
    return folder / BEST


def _save(state: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # which torch raises where the disk is full
            raise CannotWrite(f"{path}: cannot write: {str(error).splitlines()[0]}") from error


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("turn-*.pt") if _NAME.fullmatch(path.name))


def turn_of(checkpoint: Path) -> int:
    """The number of turns played at a checkpoint, by its name."""
    return int(checkpoint.stem.removeprefix("turn-"))


def load_checkpoint(folder: Path, *, best: bool = False) -> dict[str, Any]:
    """The state in the newest checkpoint of `folder`, or in `best.pt` if asked and there.

    Raises BadFile where there is none or it is damaged.
    """
    found = [folder / BEST] if best and (folder / BEST).is_file() else checkpoints(folder)
    if not found:
        raise BadFile(f"{folder}: no checkpoint here to go on from")
    try:
        return torch.load(found[-1], map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        earlier = f"; delete it to go on from {found[-2].name}" if len(found) > 1 else ""
        raise BadFile(f"{found[-1]}: this checkpoint is damaged{earlier} ({type(error).__name__})") from error
