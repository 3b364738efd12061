"""The names of classes, in the file labels.json beside a store or released weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import InvalidFileError, shorten_repr

LABELS = "labels.json"


def read_labels(folder: Path) -> tuple[str, ...]:
    """Read the names of the classes from a folder of weights or data.

    Raises InvalidFileError where labels.json is not a list of names.
    """
    path = folder / LABELS
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: cannot read the names of the classes: {error}") from error
    if not isinstance(labels, list):
        raise InvalidFileError(f"{path}: should be a list of names")
    check_labels(labels, path)
    return tuple(labels)


def check_labels(labels: Iterable[object], where: Path) -> None:
    """Raise InvalidFileError where a label cannot be part of a file name: samples are saved under these names."""
    for label in labels:
        if not isinstance(label, str) or not label.isprintable() or label in ("", ".", "..") or set(label) & set("/\\"):
            raise InvalidFileError(f"{where}: the name of a class cannot be {shorten_repr(label)}")
