"""Processes of one training that hang or die: the others say so in one line, and do not wait for long."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.hanging import LIMIT_SECONDS

from zoo.errors import InvalidValueError
from zoo.faces.architectures.stylegan2 import PathLength
from zoo.recipe import ADAConfig
from zoo.training import distributed
from zoo.training.ada import ADA
from zoo.training.run import Run

SCRIPT = """
import os, signal, sys, time, torch
from zoo.cli import main
from zoo.training import distributed
from zoo.training.trainer import Trainer

torch.set_num_threads(1)
fault, sys.argv[1:] = sys.argv[1], sys.argv[2:]
step = Trainer.step

def step_or_fail(self, report):
    if distributed.rank() == 1 and self.num_steps == 3:
        time.sleep(1000) if fault == "hang" else os.kill(os.getpid(), signal.SIGKILL)
    step(self, report)

Trainer.step = step_or_fail
main()
"""
TINY = ["model.generator_units=8", "model.maxout_units=4", "train.batch=4", "train.checkpoint_kimg=0.004"]


def start_together(commands: list[list[str]]) -> list[subprocess.Popen]:
    """Start a process for each command, as torchrun would, but without its watch over them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, command in enumerate(commands)
    ]


@pytest.mark.parametrize(("fault", "told"), [("hang", "does not answer"), ("die", "ended or was killed")])
def test_a_lost_process_is_named_by_the_others(fault: str, told: str, photos: Path, tmp_path: Path):
    """Where one process hangs or is killed, the other ends with one line, and the last checkpoint is whole."""
    arguments = ["train", "faces-gan", *TINY, "--data", photos, "--out", tmp_path / "run", "--timeout", "5"]
    processes = start_together([[sys.executable, "-c", SCRIPT, fault, *map(str, arguments)]] * 2)
    try:
        _, errors = processes[0].communicate(timeout=LIMIT_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert processes[0].returncode == 2
    assert "Traceback" not in errors
    assert f"zoo: process 0 of 2: another process of this training {told}" in errors.splitlines()[-1]
    assert Run.open(tmp_path / "run").load()[1] == pytest.approx(0.012)


def test_processes_that_do_not_share_the_run_folder_are_refused(
    photos: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
):
    """Where one machine finds a checkpoint and another none, the training does not start on two different states."""
    arguments = ["faces-gan", *TINY, "--data", str(photos), "train.total_kimg=0.008", "train.lr_decay_share=0"]
    assert command("train", *arguments, "--out", tmp_path / "first")[0] == 0
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    for state in (tmp_path / "second" / "checkpoints").iterdir():
        state.unlink()
    resume = [sys.executable, "-m", "zoo", "train", "train.total_kimg=0.016", "--timeout", "60", "--resume"]

    processes = start_together([[*resume, str(tmp_path / name)] for name in ("first", "second")])
    errors = [process.communicate(timeout=LIMIT_SECONDS)[1] for process in processes]

    assert all("all machines must share this folder" in text or "ended or was killed" in text for text in errors)
    assert any("all machines must share this folder" in text for text in errors)


def test_a_parameter_without_a_gradient_has_none_in_many_processes(monkeypatch: pytest.MonkeyPatch):
    """As in one process, where Adam leaves it alone. A gradient of zero would be moved by its momentum."""
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda values: values.mul_(2))
    layer = torch.nn.Linear(2, 1)
    layer.weight.grad = torch.tensor([[1.0, 3.0]])

    distributed.average_gradients(layer)

    assert layer.bias.grad is None
    assert torch.equal(layer.weight.grad, torch.tensor([[1.0, 3.0]]))


@pytest.mark.parametrize(("size", "fails"), [("1", False), ("2", True)])
def test_half_of_what_torchrun_sets_is_ignored_or_said(size: str, fails: bool, monkeypatch: pytest.MonkeyPatch):
    """One process alone needs no others; of two, it says how they are started."""
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", size)
    if fails:
        with pytest.raises(InvalidValueError, match="RANK, MASTER_ADDR, MASTER_PORT not: start all processes by torch"):
            distributed.process_group("cpu").__enter__()
    else:
        with distributed.process_group("cpu") as device:
            assert device == torch.device("cpu")


@pytest.mark.parametrize("kind", ["signs", "path lengths"])
def test_processes_share_what_they_keep_beside_the_networks(kind: str, monkeypatch: pytest.MonkeyPatch):
    """A checkpoint has the state of the first process, so those of the others are the same."""
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda values: values.add_(10))  # what the other one has
    if kind == "signs":
        ada = ADA(ADAConfig())
        ada.observe(torch.tensor([1.0, 1.0, -1.0]))
        ada.share()
        assert ada.signs.tolist() == [11, 13]
        assert ada.recent.tolist() == [0, 0]
    else:
        path_length = PathLength()
        path_length.penalize(torch.tensor([2.0, 4.0]))
        torch.testing.assert_close(path_length.mean, torch.tensor(0.01 * (3 + 10) / 2))
