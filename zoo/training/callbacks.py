"""Callbacks: what else should happen while a training runs: `zoo.train(..., callbacks=[CSVLog("log.csv")])`."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import InvalidFileError, MissingDependencyError
from zoo.io.atomic import replace_atomically
from zoo.samples import Images, Samples

if TYPE_CHECKING:
    from zoo.training.run import Run


_NUM_SOUNDS = 8  # that are logged at a time


class Callback:
    """A callback that does nothing. Yours overrides what it needs.

    All methods are called in the first process alone, between two steps. What they raise ends the training; the last
    checkpoint is kept.
    """

    def on_start(self, run: Run) -> None:
        """Called before the first step, also of a resumed training. `run` has the folder and the recipe."""

    def on_log(self, kimg: float, values: Mapping[str, float]) -> None:
        """Called with each line of the log: losses, gradient norms, the training report, the speed."""

    def on_samples(self, kimg: float, samples: Samples) -> None:
        """Called with the averaged generator's samples of fixed latents, whenever they are saved."""

    def on_end(self, kimg: float, *, finished: bool) -> None:
        """Called after the last step, also where the training failed. `finished` is False where it ended early."""


class CSVLog(Callback):
    """Writes the log as CSV, a line an interval. Numbers that come later than others get columns at the right."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._rows: list[dict[str, float]] = []

    def on_start(self, run: Run) -> None:
        """Keep the lines that are there, of a training that is resumed. Raises InvalidFileError for another file."""
        self._rows = []
        if self.path.is_file() and run.has_checkpoint:
            try:
                with self.path.open(newline="", encoding="utf-8") as file:
                    rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
                self._rows = [row for row in rows if row["kimg"] <= run.kimg]
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                raise InvalidFileError(f"{self.path}: not a log of a training; name another file") from error

    def on_log(self, kimg: float, values: Mapping[str, float]) -> None:
        """Write all lines again. Raises WriteError."""
        self._rows.append({"kimg": kimg, **values})
        columns = list(dict.fromkeys(key for row in self._rows for key in row))
        with replace_atomically(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows)


class WandbLog(Callback):
    """Logs to Weights & Biases; needs the package `wandb`.

    Args:
        options: of `wandb.init`, e.g. project="faces". With id="a" and resume="allow", a resumed training goes on in
            the same place.

    Raises MissingDependencyError.
    """

    def __init__(self, **options: Any) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingDependencyError(
                "logging to Weights & Biases needs the package 'wandb': pip install wandb"
            ) from None
        self._wandb, self._options = wandb, options

    def on_start(self, run: Run) -> None:
        options = {"config": run.recipe.to_table(), "name": run.folder.name, **self._options}
        self._run = self._wandb.init(**options)
        self._run.define_metric("*", step_metric="kimg")

    def on_log(self, kimg: float, values: Mapping[str, float]) -> None:
        self._run.log({"kimg": kimg, **values})

    def on_samples(self, kimg: float, samples: Samples) -> None:
        if isinstance(samples, Images):
            self._run.log({"kimg": kimg, "samples": self._wandb.Image(samples.grid())})
        elif (rate := getattr(samples, "rate", None)) and samples.tensor.dim() == 3:  # sounds
            waves = samples.tensor[:_NUM_SOUNDS, 0].float().cpu().numpy()
            self._run.log({"kimg": kimg, "samples": [self._wandb.Audio(wave, sample_rate=rate) for wave in waves]})

    def on_end(self, kimg: float, *, finished: bool) -> None:
        self._run.finish()
