"""Checkpoints."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from zoo.errors import InvalidFileError, WriteError
from zoo.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint


def test_checkpoints_are_kept_by_count_and_the_newest_is_read(tmp_path: Path):
    """Older checkpoints go, the newest stays readable."""
    for step in (1, 2, 3):
        save_checkpoint({"step": step}, tmp_path, step=step, keep=2)

    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000000002.pt", "step-000000003.pt"]
    assert load_checkpoint(tmp_path) == {"step": 3}


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path):
    """Where a checkpoint cannot be written, the one before it stays, and no temporary file is left."""
    save_checkpoint({"step": 1}, tmp_path, step=1, keep=2)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may become larger
    try:
        with pytest.raises(WriteError, match="step-000000002"):
            save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, tmp_path, step=2, keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert load_checkpoint(tmp_path) == {"step": 1}


def test_the_error_of_a_damaged_checkpoint_names_the_one_before(tmp_path: Path):
    """Where the newest checkpoint is damaged, the error says which one to resume from."""
    for step in (1, 2):
        path = save_checkpoint({"step": step}, tmp_path, step=step, keep=2)
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(InvalidFileError, match="delete it to resume from step-000000001"):
        load_checkpoint(tmp_path)


def test_checkpoints_hold_no_code(tmp_path: Path):
    """A pickle that would run code is refused as damaged."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    (tmp_path / "step-000000001.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InvalidFileError):
        load_checkpoint(tmp_path)

    assert not (tmp_path / "pwned").exists()
