"""Checkpoints: the state of a training as one dictionary, written whole or not at all.

A checkpoint is private to its run and holds tensors and primitives only, so it is read with `weights_only=True`;
what is published is safetensors (`zoo.releases`).
"""

from __future__ import annotations

import errno
import re
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch

from zoo.errors import InvalidFileError, NoWeightsError, is_out_of_memory
from zoo.io.atomic import replace_atomically

BEST = "best.pt"

_NAME = re.compile(r"step-(\d{9})\.pt")


def save_checkpoint(state: dict[str, Any], folder: Path, *, step: int, keep: int) -> Path:
    """Write `step-000001234.pt` into `folder` and delete all but this and the `keep - 1` before it.

    It is flushed to the disk under a temporary name first, so earlier checkpoints survive a crash or a full disk.
    Later ones were damaged, or this training would not have started before them. Raises WriteError.
    """
    path = folder / f"step-{step:09}.pt"
    _save(state, path)
    found = list_checkpoints(folder)
    last = found.index(path)
    for other in [*found[: max(0, last + 1 - keep)], *found[last + 1 :]]:
        other.unlink(missing_ok=True)
    return path


class DamagedFileError(InvalidFileError):
    """A checkpoint that is not whole."""


class CheckpointWriter:
    """Writes checkpoints into a folder in a thread of its own, so that the training goes on meanwhile.

    The state is copied to the CPU first. One checkpoint is written at a time. An error is raised by the next call.
    Leaving the context waits until all is written.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def save(self, state: dict[str, Any], step: int) -> None:
        """Write a state as `save_checkpoint` does. Raises WriteError where the one before could not be written."""
        self._start(partial(save_checkpoint, step=step, keep=self._keep), state)

    def save_best(self, state: dict[str, Any]) -> None:
        """Write a state as `save_best` does. Raises WriteError where the one before could not be written."""
        self._start(save_best, state)

    def wait(self) -> None:
        """Wait until the last checkpoint is written. Raises WriteError where it could not be."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _start(self, save: Callable[[dict[str, Any], Path], Path], state: dict[str, Any]) -> None:
        self.wait()
        self._writing = self._thread.submit(save, _copy_to_cpu(state), self._folder)


def _copy_to_cpu(value: Any) -> Any:
    """Copy a state: its tensors to the CPU, and the dictionaries, lists and tuples around them."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_copy_to_cpu, value))
    return value


def save_best(state: dict[str, Any], folder: Path) -> Path:
    """Write `best.pt` into `folder`, beside the newest checkpoints. Raises WriteError."""
    _save(state, folder / BEST)
    return folder / BEST


def _save(state: dict[str, Any], path: Path) -> None:
    # Given a path, torch opens the file itself, and does not say why it failed: that the disk is full, for example.
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # of closing the archive, which hides the first one
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def read_step(checkpoint: Path) -> int:
    """Read the number of steps from the name of a checkpoint."""
    return int(checkpoint.stem.removeprefix("step-"))


def load_checkpoint(folder: Path, *, best: bool = False, log: Callable[[str], None] = warnings.warn) -> dict[str, Any]:
    """Read the newest checkpoint of `folder` that is whole, or its `best.pt`.

    Args:
        log: called with a line for each damaged checkpoint that is passed over.

    Raises NoWeightsError where there is none, InvalidFileError where all are damaged or one cannot be read.
    """
    if best:
        try:
            return read_checkpoint(folder / BEST)
        except DamagedFileError as error:
            raise InvalidFileError(f"{error}; delete it to use the newest checkpoint") from error
    found = list_checkpoints(folder)
    if not found:
        raise NoWeightsError(f"{folder}: no checkpoint here yet")
    for path, earlier in zip(found[:0:-1], found[-2::-1], strict=True):
        try:
            return read_checkpoint(path)
        except DamagedFileError as error:
            log(f"{error}; the one before it is used, {earlier.name}")
    try:
        return read_checkpoint(found[0])
    except DamagedFileError as error:
        raise InvalidFileError(f"{error}, and there is no earlier one: start a new run") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint. The file has a checksum of each tensor, which `torch.load` by itself does not compare.

    Raises DamagedFileError for what was read and is not whole. What cannot be read now may be whole: then it is another
    InvalidFileError, or an error of too little memory.
    """
    try:
        with zipfile.ZipFile(path) as file:
            changed = file.testzip()
        if changed is None:
            return torch.load(path, map_location="cpu", weights_only=True)
        why = f"{changed} has another checksum"
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # of the disk or the network, and not of a wrong place in the file
            raise InvalidFileError(f"{path}: cannot read: {error.strerror}") from error
        why = type(error).__name__
    except Exception as error:  # a changed byte can make the readers raise almost anything
        if is_out_of_memory(error):
            raise
        why = type(error).__name__
    raise DamagedFileError(f"{path}: this checkpoint is damaged ({why})")
