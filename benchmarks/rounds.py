"""Timing in alternation, so that whatever else the machine does slows all sides alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def time_rounds(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each side in turn, round by round; returns seconds, one a round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times
