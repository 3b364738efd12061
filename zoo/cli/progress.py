"""Progress bars on standard error; nothing, or one line a percent, where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.cli.app import verbosity
from zoo.errors import escape_controls

if TYPE_CHECKING:
    from zoo.training.loop import Progress as TrainingState


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show bars with the time left.

    Yields a function from a bar's name to a function that moves it to (done, total). A bar appears when it first moves.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.3g}/s")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = verbosity.quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        tasks: dict[str, Any] = {}

        def move(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield lambda name: lambda done, total: move(name, done, total)


@contextmanager
def training_progress() -> Iterator[
    tuple[Callable[[str], None], Callable[[int, int], None], Callable[[TrainingState], None]]
]:
    """Show a bar for the data and one for the training: kimg, speed, time left and the discriminator's advantage.

    Without a terminal it prints a line at each percent, so that a log file shows the progress, too.

    Yields `log`, `build_progress` and `on_step` of `zoo.train`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=console, disable=verbosity.quiet or not terminal) as progress:
        tasks: dict[str, Any] = {}
        percent = -1

        def update(name: str, done: float, total: float, state: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, state="")
            progress.update(tasks[name], completed=done, total=total, state=state)

        def build_progress(done: int, total: int) -> None:
            update("data", done, total, f"{done}/{total}")

        def on_step(now: TrainingState) -> None:
            nonlocal percent
            digits = 1 if now.total_kimg >= 10 else 3
            kimg = min(now.kimg, now.total_kimg)  # the last step may go beyond
            state = f"{kimg:.{digits}f}/{now.total_kimg:g} kimg  {now.images_per_second:.0f}/s"
            if "report/advantage" in now.summary:
                state += f"  advantage {now.summary['report/advantage']:.2f}"
            update("training", kimg, now.total_kimg, state)
            if not terminal and not verbosity.quiet and (reached := int(100 * kimg / now.total_kimg)) != percent:
                percent = reached
                print(f"{percent:3} %  {state}", file=sys.stderr, flush=True)

        def log(line: str) -> None:
            if verbosity.quiet:
                return
            console.print(escape_controls(line), highlight=False, markup=False, soft_wrap=True)

        yield log, build_progress, on_step
