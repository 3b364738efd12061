"""Telling paths from names, on every system."""

from __future__ import annotations

from pathlib import PureWindowsPath


def means_path(text: str) -> bool:
    r"""Tell whether a text can only be a path: ./a, ~/a, /a, and on Windows C:\a, C:/a and a\b."""
    return text.startswith((".", "~", "/")) or "\\" in text or bool(PureWindowsPath(text).drive)
