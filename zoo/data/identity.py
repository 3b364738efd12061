"""Whether a store holds the data that a run was trained on: by its bytes, or for rendered data by how it looks.

A renderer rounds differently on another kind of processor, so a data set of this library that is built there has
another fingerprint. It is the same data all the same: no pixel differs by more than MAX_LEVELS.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from zoo.data.store import Store

NUM_COMPARED = 4  # rows, evenly over the store
MAX_LEVELS = 2  # of 255


def describe_store(store: Store) -> dict[str, Any]:
    """Describe a store for `compare_store`: its fingerprint, its name and version, and a few of its rows."""
    return {
        "fingerprint": store.fingerprint,
        "name": str(store.about["name"]),
        "version": str(store.about["version"]),
        "count": len(store.samples),
        "rows": torch.from_numpy(_read_rows(store)),
    }


def compare_store(described: dict[str, Any], store: Store, *, is_rendered: bool) -> Literal["same", "alike", "other"]:
    """Tell whether a store is the one that was described.

    Args:
        is_rendered: whether the data is made by this library, so that the same version looks alike everywhere.

    Returns:
        "same": the same bytes. "alike": rendered by another processor. "other": other data.
    """
    if described["fingerprint"] == store.fingerprint:
        return "same"
    ours = describe_store(store)
    names = ("name", "version", "count")
    rows, theirs = ours["rows"], described["rows"]
    is_alike = (
        is_rendered
        and [described[name] for name in names] == [ours[name] for name in names]
        and rows.dtype == theirs.dtype == torch.uint8
        and rows.shape == theirs.shape
        and int((rows.int() - theirs.int()).abs().max()) <= MAX_LEVELS
    )
    return "alike" if is_alike else "other"


def _read_rows(store: Store) -> np.ndarray:
    chosen = np.linspace(0, len(store.samples) - 1, NUM_COMPARED).astype(int)
    rows = np.array(store.samples[chosen])
    return rows.astype(np.int32) if rows.dtype == np.uint16 else rows  # which few functions of torch know
