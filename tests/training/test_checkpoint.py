"""Checkpoints."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.errors import InvalidFileError, WriteError
from zoo.training.checkpoint import CheckpointWriter, list_checkpoints, load_checkpoint, save_best, save_checkpoint


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


STATE = {
    "step": 2,
    "weights": torch.arange(3000, dtype=torch.float32),
    "optimizer": {"lr": 0.1, "count": torch.tensor(7)},
}


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path):
    """Whichever bit of a checkpoint flips on the disk, it is read as it was written or refused."""
    path = save_checkpoint(STATE, tmp_path, step=2, keep=1)
    whole = path.read_bytes()
    refused = 0
    for position in np.random.default_rng(0).permutation(len(whole) * 8)[:400].tolist():
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        path.write_bytes(data)
        try:
            state = load_checkpoint(tmp_path)
        except InvalidFileError:
            refused += 1
        else:
            torch.testing.assert_close(state, STATE, rtol=0, atol=0)
    assert refused > 250  # most bits are those of tensors


@pytest.mark.parametrize("size", [0, 50, -1])
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path: Path, size: int):
    """Where the newest checkpoint is empty or cut, the one before it is read, and a line says so."""
    for step in (1, 2):
        path = save_checkpoint({"step": step}, tmp_path, step=step, keep=2)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.warns(UserWarning, match="step-000000002.pt: this checkpoint is damaged.*step-000000001.pt"):
        assert load_checkpoint(tmp_path) == {"step": 1}


def test_the_error_names_a_checkpoint_where_none_is_whole(tmp_path: Path):
    """Where all checkpoints are damaged, each is named; a damaged best one is not replaced by another in silence."""
    for step in (1, 2):
        save_checkpoint({"step": step}, tmp_path, step=step, keep=2).write_bytes(b"")
    save_best({"step": 1}, tmp_path).write_bytes(b"")

    lines: list[str] = []
    with pytest.raises(InvalidFileError, match=r"step-000000001.pt: this checkpoint is damaged"):
        load_checkpoint(tmp_path, log=lines.append)
    assert len(lines) == 1
    with pytest.raises(InvalidFileError, match=r"best.pt: this checkpoint is damaged.*delete it"):
        load_checkpoint(tmp_path, best=True)


def test_a_damaged_later_checkpoint_does_not_push_out_a_whole_one(tmp_path: Path):
    """A training that went back before a damaged checkpoint keeps what it writes, and the damaged one goes."""
    save_checkpoint({"step": 5}, tmp_path, step=5, keep=1)
    (tmp_path / "step-000000009.pt").write_bytes(b"")
    save_checkpoint({"step": 7}, tmp_path, step=7, keep=1)

    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000000007.pt"]


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


def test_a_full_disk_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where no space is left, the error says so, and not where in its code torch noticed."""
    full = tmp_path / "full.pt"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("zoo.training.checkpoint.replace_atomically", lambda path: contextlib.nullcontext(full))

    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, tmp_path, step=2, keep=2)


def test_a_checkpoint_is_of_the_moment_when_it_was_asked_for(tmp_path: Path):
    """The training changes its weights while a thread writes; the file has the numbers of before."""
    weights = torch.zeros(1000)
    with CheckpointWriter(tmp_path, keep=2) as writer:
        writer.save({"step": 1, "weights": weights, "nested": [{"more": (weights,)}]}, 1)
        weights.fill_(1.0)

    state = load_checkpoint(tmp_path)
    assert not state["weights"].any()
    assert not state["nested"][0]["more"][0].any()


def test_an_error_of_the_writing_thread_reaches_the_training(tmp_path: Path):
    """A checkpoint that could not be written is an error at the next one, and at the end."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match="step-000000002"), CheckpointWriter(tmp_path / "file" / "x", keep=2) as writer:
        writer.save({"step": 2}, 2)

    with CheckpointWriter(tmp_path / "file" / "x", keep=2) as writer:
        writer.save({"step": 3}, 3)
        with pytest.raises(WriteError, match="step-000000003"):
            writer.save({"step": 4}, 4)


def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without memory, or where the disk refuses, no earlier one is taken: the next save would delete a whole one."""
    for step in (1, 2):
        newest = save_checkpoint({"step": step}, tmp_path, step=step, keep=2)

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", fail)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            load_checkpoint(tmp_path)
    newest.unlink()
    newest.mkdir()  # opening a folder is an error of the system
    with pytest.raises(InvalidFileError, match=r"step-000000002\.pt: cannot read: Is a directory"):
        load_checkpoint(tmp_path)
