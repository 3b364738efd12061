"""Locks between processes: the operating system's, so that they end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from zoo.errors import InUseError, WriteError


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock inside the block. Its file is `path`, whose folder must exist.

    A file beside the lock names its holder, for the message of those who come second.

    Args:
        what: what is being done, and where, e.g. "runs/a: a training runs".
        wait: if given, wait for the lock, after one call with a line that says for whom.

    Raises:
        InUseError: another process holds the lock, and `wait` is None. It names the process.
        WriteError: the folder cannot be written.
    """
    holder = path.with_name(f"{path.name}-holder")
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            line = f"{what} here already, by {_read_holder(holder)}"
            if wait is None:
                raise InUseError(f"{line}; wait for it, stop it, or choose another folder") from None
            wait(f"{line}; waiting for it")
            lock.acquire()
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except OSError as error:
        if isinstance(error, InUseError):
            raise
        raise WriteError(f"{path}: cannot write: {error.strerror or error}") from error
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read_holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:200] or "another process"
    except OSError:
        return "another process"
