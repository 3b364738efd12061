"""A Chromium of the system, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
WAIT = 120_000  # milliseconds, on a busy machine


@contextmanager
def open_browser() -> Iterator[Any]:
    """Open a browser of playwright, or skip where there is no playwright or no Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])  # it may run as root
        yield browser
        browser.close()
