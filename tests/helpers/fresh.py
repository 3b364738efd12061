"""Python code that runs in a process of its own, which has torch already: its import takes most of a short run."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

MODULES = ["torch", "torch._dynamo", "numpy", "matplotlib.pyplot", "zoo.training.session", "zoo.evaluation"]
OUTPUT, ERRORS = "output.txt", "errors.txt"


def run_code(code: str, folder: Path, out: Path) -> tuple[int, str, str]:
    """Run code as `python -c` in `folder`; returns its exit code, and what it printed, which files in `out` keep."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    process = context.Process(target=_execute, args=(code, folder, out, dict(os.environ)))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, (out / OUTPUT).read_text("utf-8"), (out / ERRORS).read_text("utf-8")


def _execute(code: str, folder: Path, out: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, OUTPUT), (2, ERRORS)):
        os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT), number)
    sys.modules["__main__"] = module = ModuleType("__main__")
    try:
        exec(compile(code, "<string>", "exec"), vars(module))
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
