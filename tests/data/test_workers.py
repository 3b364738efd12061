from __future__ import annotations

import signal

import pytest

from zoo.data.workers import WorkerPool


def read_blocked() -> list[int]:
    return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
def test_workers_do_not_hear_ctrl_c():
    """Not even while they start, when they would print a traceback each. Who started them does."""
    with WorkerPool(2) as pool:
        blocked = [future.result() for future in [pool.submit(read_blocked) for _ in range(2)]]

    assert all(signal.SIGINT in numbers for numbers in blocked)
    assert signal.SIGINT not in read_blocked()
