"""A guard against code that never ends. It tests no speed: its limit is far above what anything needs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

LIMIT_SECONDS = 120


@contextmanager
def must_end() -> Iterator[None]:
    """Fail where the block does not end in two minutes."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"did not end in {LIMIT_SECONDS} seconds")  # no Exception, which the code might catch

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
