"""A limit on the memory that a block of code may ask for."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = 256 << 20  # bytes that a block may allocate beyond those of this process; the files of the tests are small


@contextmanager
def limited_memory(most: int = MEMORY) -> Iterator[None]:
    """Let larger allocations raise MemoryError, which is no error of zoo, if the system can set such a limit."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
