"""Locks between processes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from helpers.hanging import must_end

from zoo.errors import InUseError
from zoo.io.lock import hold_lock


def test_the_second_is_refused_or_waits_and_is_told_for_whom(tmp_path: Path):
    """Who comes second is refused with the name of the holder, or waits for it after one line with the same words."""
    lines: list[str] = []
    entered = threading.Event()

    def come_second() -> None:
        with hold_lock(tmp_path / "lock", what="data: is built", wait=lines.append):
            entered.set()

    second = threading.Thread(target=come_second)
    with must_end(), hold_lock(tmp_path / "lock", what="data: is built"):
        with pytest.raises(InUseError, match=f"data: is built here already, by process {os.getpid()} on"):
            hold_lock(tmp_path / "lock", what="data: is built").__enter__()
        second.start()
        while not lines:
            time.sleep(0.01)
        assert not entered.is_set()
    second.join(timeout=60)

    assert entered.is_set()
    assert len(lines) == 1
    assert f"by process {os.getpid()} on" in lines[0]
    assert "waiting" in lines[0]
