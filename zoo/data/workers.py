"""Processes that read or render samples."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


class WorkerPool(ProcessPoolExecutor):
    """Processes that Ctrl-C does not reach. It stops the process that waits for them; they end what they are at.

    They are spawned and not forked: a forked copy of torch's or warp's thread pools can deadlock.
    """

    def __init__(self, workers: int, **options: Any) -> None:
        super().__init__(workers, multiprocessing.get_context("spawn"), **options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with _block_interrupts():  # it may start a process, which keeps what is blocked
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
