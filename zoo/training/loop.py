"""The training loop. It runs any GAN's phases, writes logs, samples and checkpoints, and knows no modality."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from zoo.data.identity import describe_store
from zoo.errors import InvalidFileError
from zoo.gan import GAN
from zoo.io.atomic import sweep_partial_files
from zoo.modality import Log
from zoo.noise import Noise
from zoo.training import distributed
from zoo.training.callbacks import Callback
from zoo.training.checkpoint import CheckpointWriter
from zoo.training.log import RunLog
from zoo.training.report import TrainingReport, explain, measure_diversity
from zoo.training.run import Run
from zoo.training.trainer import Trainer

ESTIMATE_SECONDS = 20.0  # after which a training says how long it will take, and keeps its first state
NUM_FIXED = 64  # latents of the sample grid; diversity is measured on as many

EvaluateFn = Callable[[GAN], Mapping[str, tuple[float, float | None]]]
"""Computes held-out metrics: by name, the value and that of real against real.

Of the first metric, lower is better: `train.keep = "best"` selects by it.
"""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What `on_step` gets after every step."""

    kimg: float
    total_kimg: float
    images_per_second: float
    summary: dict[str, float]
    """The last line of the log; empty before the first."""


def run_training(
    run: Run,
    trainer: Trainer,
    *,
    deadline: float = math.inf,
    evaluate_fn: EvaluateFn | None = None,
    on_step: Callable[[Progress], None] | None = None,
    callbacks: Sequence[Callback] = (),
    log: Log = print,
) -> bool:
    """Train in the folder of a run, from its newest checkpoint if it has one.

    Ctrl-C and SIGTERM end the step, write a checkpoint and return. A second Ctrl-C stops at once.

    Args:
        deadline: the `time.monotonic()` at which it stops as at Ctrl-C, if it has not reached its end.
        evaluate_fn: evaluates the averaged generator every `evaluate_kimg`.
        on_step: called after each step in the first process.
        callbacks: are told what is logged and sampled, in the first process.
        log: called with lines for the user.

    Returns:
        Whether the training reached its end.

    Raises:
        InUseError: another process trains in this folder.
        InvalidFileError: a checkpoint does not fit, or the processes do not share the folder.
        LostProcessError: another process of this training ended, or does not answer. The last checkpoint is kept.
        DivergenceError: a loss or gradient is no longer finite. The last checkpoint is kept.
        WriteError: the disk is full or the folder read-only. The last checkpoint is whole.
    """
    if distributed.rank() > 0:
        log = _say_nothing
    # The first process holds the lock for all processes of a training.
    with _stop_signals() as stop_requested, run.lock() if distributed.rank() == 0 else nullcontext():
        if distributed.rank() == 0:
            sweep_partial_files(run.folder)
        if run.has_checkpoint:
            run.restore(trainer, log)
            if trainer.kimg >= (total := run.recipe.train.total_kimg):
                longer = f"zoo train --resume {run.folder} train.total_kimg={2 * total:g}"
                if run.has_schedule_begun(2 * total):
                    longer = run.describe_continuation()
                log(f"{run.folder}: this training is finished, at {total:g} kimg. To train longer: {longer}")
            else:
                log(f"resuming from {trainer.kimg:.3f} kimg")
        if distributed.average({"step": trainer.num_steps})["step"] != trainer.num_steps:
            raise InvalidFileError(
                f"{run.folder}: the processes found different checkpoints here; all machines must share this folder"
            )
        with CheckpointWriter(run.checkpoints, keep=run.recipe.train.keep_checkpoints) as writer:
            loop = _Loop(trainer, run, writer, evaluate_fn=evaluate_fn, callbacks=callbacks, log=log)
            return loop.run_to_end(lambda: stop_requested() or time.monotonic() >= deadline, on_step)


def _say_nothing(line: str) -> None:
    """Take a line that the first process says."""


class _Loop:
    """The steps of one training between two starts of the program."""

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        writer: CheckpointWriter,
        *,
        evaluate_fn: EvaluateFn | None,
        callbacks: Sequence[Callback],
        log: Log,
    ) -> None:
        self.trainer, self.run, self.writer, self.log = trainer, run, writer, log
        self.settings = run.recipe.train
        self.evaluate_fn = evaluate_fn if self.settings.evaluate_kimg else None
        self.report, self.summary = TrainingReport(self.settings.loss), dict[str, float]()
        self.fixed = trainer.gan.latents(NUM_FIXED, Noise(self.settings.seed + 1))
        store = trainer.store
        self.real = trainer.decode(store.samples[store.indices("train")[: 2 * NUM_FIXED : 2]])
        self.callbacks = callbacks if distributed.rank() == 0 else ()
        self.run_log = None
        if distributed.rank() == 0:
            self.run_log = RunLog(run.folder, kimg=trainer.kimg, callbacks=self.callbacks)
        self.has_estimated = False

    def run_to_end(self, stop_requested: Callable[[], bool], on_step: Callable[[Progress], None] | None) -> bool:
        """Step until the end or a request to stop; returns whether the end was reached."""
        trainer, settings = self.trainer, self.settings
        begun: list[Callback] = []
        try:
            for callback in self.callbacks:
                callback.on_start(self.run)
                begun.append(callback)
            self._step_to_end(stop_requested, on_step)
        finally:  # what a training saw before it failed is what one wants to see
            if self.run_log is not None:
                self.run_log.close()
            finished = trainer.kimg >= settings.total_kimg
            for callback in begun:
                callback.on_end(trainer.kimg, finished=finished)
        if self.run_log is not None and self.summary:
            for sentence in explain(self.summary, self.run.recipe, num_steps=trainer.num_steps):
                self.log(sentence)
        return finished

    def _step_to_end(self, stop_requested: Callable[[], bool], on_step: Callable[[Progress], None] | None) -> None:
        trainer, settings = self.trainer, self.settings
        started, first_step = time.perf_counter(), trainer.num_steps
        stopped = False
        self._write_first()
        while trainer.kimg < settings.total_kimg and not stopped:
            before = trainer.kimg
            trainer.step(self.report)
            stopped = distributed.any_process(stop_requested())
            speed = (trainer.num_steps - first_step) * settings.batch / (time.perf_counter() - started)
            self._write_what_is_due(before, speed, stopped=stopped)
            if not self.has_estimated and time.perf_counter() - started >= ESTIMATE_SECONDS:
                self._estimate(speed)
            if self.run_log is not None and on_step is not None:
                on_step(
                    Progress(
                        kimg=trainer.kimg,
                        total_kimg=settings.total_kimg,
                        images_per_second=speed,
                        summary=self.summary,
                    )
                )

    def _write_first(self) -> None:
        """Write what there is to see before the first step: real samples, and those of a new training."""
        if self.run_log is None or self.trainer.num_steps:
            return
        self.run_log.save_reals(self.trainer, self.real)
        self.run_log.save_samples(self.trainer, self.fixed)

    def _estimate(self, speed: float) -> None:
        """Say how long the training will take, and keep a first state."""
        self.has_estimated = True
        if self.run_log is None:
            return
        left = (self.settings.total_kimg - self.trainer.kimg) * 1000 / speed
        self.log(f"{speed:.3g} samples/s: about {format_time(left)} to {self.settings.total_kimg:g} kimg")
        if not self.run.has_checkpoint:
            self.trainer.check_finite()
            self._save_checkpoint()

    def _write_what_is_due(self, before: float, speed: float, *, stopped: bool) -> None:
        settings, kimg = self.settings, self.trainer.kimg
        over = kimg >= settings.total_kimg
        evaluates = self.evaluate_fn is not None and (over or _is_due(before, kimg, settings.evaluate_kimg))
        keeps = self.run_log is not None and (over or stopped or _is_due(before, kimg, settings.checkpoint_kimg))
        intervals = (settings.log_kimg, settings.samples_kimg, settings.checkpoint_kimg)
        if over or stopped or evaluates or any(_is_due(before, kimg, interval) for interval in intervals):
            self.trainer.check_finite()  # before anything is written of it
        if self.run_log is not None and (over or _are_samples_due(before, kimg, settings.samples_kimg)):
            self.run_log.save_samples(self.trainer, self.fixed)
        if over or stopped or _is_due(before, kimg, settings.log_kimg):
            self._write_summary(speed)
        if self.evaluate_fn is not None and evaluates:
            if self.run_log is not None:
                self._evaluate(self.evaluate_fn, self.run_log)
            distributed.wait_for_all()
        if keeps:
            self._save_checkpoint()

    def _write_summary(self, speed: float) -> None:
        self.summary = distributed.average(self.report.summary())
        if self.run_log is not None:
            self.summary["report/diversity"] = measure_diversity(self.trainer.sample_average(self.fixed), self.real)
            self.summary["images_per_second"] = speed
            self.run_log.write(self.trainer, self.summary)

    def _evaluate(self, evaluate_fn: EvaluateFn, run_log: RunLog) -> None:
        trainer = self.trainer
        try:
            with torch.random.fork_rng(devices=[]):  # else a resumed training would see other random numbers
                metrics = evaluate_fn(trainer.averaged_gan())
        except BaseException:  # also a GPU without memory, and a second Ctrl-C
            self._save_checkpoint()
            raise
        self.log(f"{trainer.kimg:g} kimg, held out: {', '.join(map(_format_metric, metrics.items()))}")
        values = {f"held_out/{name}": value for name, (value, _) in metrics.items()}
        if (first := next(iter(values.values()))) < trainer.best:
            trainer.best = first
            if self.settings.keep == "best":
                self.writer.save_best(self._state())
        run_log.write(trainer, values)

    def _save_checkpoint(self) -> None:
        self.writer.save(self._state(), self.trainer.num_steps)

    def _state(self) -> dict[str, Any]:
        return {**self.trainer.state_dict(), "data": describe_store(self.trainer.store)}


def _is_due(before_kimg: float, kimg: float, interval_kimg: float) -> bool:
    """Tell whether a multiple of the interval lies in (before, now]."""
    return math.floor(kimg / interval_kimg + 1e-9) > math.floor(before_kimg / interval_kimg + 1e-9)


def _are_samples_due(before_kimg: float, kimg: float, interval_kimg: float) -> bool:
    """Tell whether samples are due: at 0.1, 0.2, 0.5, 1, 2 ... kimg, and then at each interval."""
    early = (digit * 10.0**power for power in range(-1, 4) for digit in (1, 2, 5))
    return _is_due(before_kimg, kimg, interval_kimg) or any(
        before_kimg < place <= kimg + 1e-9 for place in early if place < interval_kimg
    )


def format_time(seconds: float) -> str:
    """Format seconds for people: "40 s", "25 min", "3 h 20 min", "2 days 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    if hours < 10:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours} h" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def _format_metric(metric: tuple[str, tuple[float, float | None]]) -> str:
    name, (value, real_vs_real) = metric
    return f"{name} {value:.4g}" + (f" (real against real {real_vs_real:.4g})" if real_vs_real is not None else "")


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; the second SIGINT interrupts as usual."""
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = True

    try:
        before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: its owner handles signals
        before = {}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
