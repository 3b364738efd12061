"""Callbacks see what a training writes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import zoo
from zoo.errors import InvalidFileError, MissingDependencyError
from zoo.music.samples.sounds import Sounds
from zoo.samples import Images, Samples
from zoo.training.callbacks import Callback, CSVLog, WandbLog
from zoo.training.run import Run

SMALL = {"model.width": 4, "train.batch": 4, "train.total_kimg": 0.04, "train.log_kimg": 0.02,
         "train.samples_kimg": 0.02, "train.lr_decay_share": 0.0}  # fmt: skip


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_start(self, run: Run) -> None:
        self.calls.append(("start", run.folder.name))

    def on_log(self, kimg: float, values: Mapping[str, float]) -> None:
        self.calls.append(("log", round(kimg, 3), "loss/D" in values))

    def on_samples(self, kimg: float, samples: Samples) -> None:
        self.calls.append(("samples", round(kimg, 3), type(samples)))

    def on_end(self, kimg: float, *, finished: bool) -> None:
        self.calls.append(("end", round(kimg, 3), finished))


def train(photos: Path, out: Path, *callbacks: Callback) -> None:
    options = {"out": out, "data": str(photos), "overrides": SMALL}
    zoo.train("faces-dcgan", **options, callbacks=callbacks, log=lambda line: None)


def test_a_callback_is_told_all_that_is_written(photos: Path, tmp_path: Path):
    """Start, samples from 0 kimg on, the log and the end, in order; a resumed run goes on."""
    seen = Recorder()
    train(photos, tmp_path / "run", seen)

    assert seen.calls == [
        ("start", "run"),
        ("samples", 0, Images),
        ("samples", 0.02, Images),
        ("log", 0.02, True),
        ("samples", 0.04, Images),
        ("log", 0.04, True),
        ("end", 0.04, True),
    ]

    again = Recorder()
    longer = {"train.total_kimg": 0.06}
    zoo.train(resume=tmp_path / "run", overrides=longer, callbacks=[again], log=lambda line: None)
    assert again.calls == [("start", "run"), ("samples", 0.06, Images), ("log", 0.06, True), ("end", 0.06, True)]


def test_the_log_as_csv_goes_on_with_a_resumed_run(photos: Path, tmp_path: Path):
    """A line an interval, none twice; a number that comes later has a column, empty before."""
    path = tmp_path / "log.csv"
    train(photos, tmp_path / "run", CSVLog(path))
    zoo.train(
        resume=tmp_path / "run", overrides="train.total_kimg=0.06", callbacks=[CSVLog(path)], log=lambda line: None
    )
    late = CSVLog(path)
    late.on_start(Run.open(tmp_path / "run"))
    late.on_log(0.08, {"metrics/frechet": 3.0})

    rows = list(csv.DictReader(path.open()))
    assert [float(row["kimg"]) for row in rows] == [0.02, 0.04, 0.06, 0.08]
    assert [row["metrics/frechet"] for row in rows] == ["", "", "", "3.0"]
    assert all(float(row["loss/D"]) > 0 for row in rows[:3])


def test_one_log_as_csv_may_serve_two_trainings(photos: Path, tmp_path: Path):
    """The second begins with an empty file; a file of something else is refused where a run is resumed."""
    log = CSVLog(tmp_path / "log.csv")
    for name in ("a", "b"):
        train(photos, tmp_path / name, log)
    assert [float(row["kimg"]) for row in csv.DictReader(log.path.open())] == [0.02, 0.04]

    log.path.write_text("name,size\na,b\n")
    with pytest.raises(InvalidFileError, match=r"log\.csv: not a log of a training"):
        zoo.train(resume=tmp_path / "a", overrides="train.total_kimg=0.06", callbacks=[log], log=lambda line: None)
    assert log.path.read_text() == "name,size\na,b\n"


def test_a_callback_that_cannot_start_ends_those_that_did(photos: Path, tmp_path: Path):
    """And no other, which would not know what to end."""

    class Broken(Recorder):
        def on_start(self, run: Run) -> None:
            raise RuntimeError("no network")

    first, broken, last = Recorder(), Broken(), Recorder()
    with pytest.raises(RuntimeError, match="no network"):
        train(photos, tmp_path / "run", first, broken, last)

    assert first.calls == [("start", "run"), ("end", 0, False)]
    assert not broken.calls
    assert not last.calls


def test_weights_and_biases_gets_numbers_and_pictures(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`WandbLog` starts a run of the folder's name, logs numbers and pictures, and finishes it."""
    started: dict[str, Any] = {}
    logged: list[dict[str, Any]] = []
    run = SimpleNamespace(
        log=logged.append,
        finish=lambda: logged.append({"finished": True}),
        define_metric=lambda name, step_metric: started.update({name: step_metric}),
    )
    fake = SimpleNamespace(
        init=lambda **options: started.update(options) or run,
        Image=lambda picture: picture,
        Audio=lambda wave, sample_rate: (wave, sample_rate),
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)

    train(photos, tmp_path / "run", WandbLog(project="faces"))

    assert started["project"] == "faces"
    assert started["*"] == "kimg"
    assert started["name"] == "run"
    assert started["config"]["train"]["batch"] == 4
    assert isinstance(logged[0]["samples"], Image.Image)
    assert logged[-2]["loss/D"] > 0
    assert logged[-1] == {"finished": True}

    log = WandbLog()
    log.on_start(Run.open(tmp_path / "run"))
    log.on_samples(1.0, Sounds(tensor=torch.zeros(9, 1, 4), rate=16000))
    sounds = logged[-1]["samples"]
    assert len(sounds) == 8
    assert (sounds[0][0].shape, sounds[0][1]) == ((4,), 16000)


def test_weights_and_biases_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """The error names the package and the command that installs it."""
    monkeypatch.setitem(sys.modules, "wandb", None)

    with pytest.raises(MissingDependencyError, match="pip install wandb"):
        WandbLog()
