"""Atomic writes: a file or folder is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import WriteError

_PARTIAL = ".partial-"  # begins the names of files that are not complete yet


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It replaces `path` when the block ends without an error.

    Its bytes are flushed to the disk first, so an incomplete file is never seen at `path`. Raises WriteError.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_PARTIAL}{path.stem[:40]}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_read_umask())
        temporary.replace(path)
    except OSError as error:
        raise WriteError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`. It replaces `folder` when the block ends without an error.

    What was there before is deleted only afterwards. Raises WriteError.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_PARTIAL}{folder.name[:40]}-"))
        try:
            yield new
            new.chmod(0o777 & ~_read_umask())
            old = new.with_name(f"{new.name}-old")
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot write: {error.strerror or error}") from error


def check_writable(folder: Path) -> None:
    """Raise WriteError where `folder` cannot be made or written to. Nothing is left behind."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(f"{folder}: cannot write here: {error.strerror or error}") from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def sweep_partial_files(folder: Path) -> None:
    """Delete what killed processes left incomplete in `folder` and below. No other process may write there."""
    for path in [*folder.rglob(f"{_PARTIAL}*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


_UMASK = threading.Lock()


def _read_umask() -> int:
    with _UMASK:  # it can only be read by setting it
        mask = os.umask(0)
        os.umask(mask)
    return mask
