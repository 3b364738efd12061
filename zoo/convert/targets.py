"""The other way: a model of this library as a file of another one."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.convert import rosinality, stylegan2
from zoo.errors import InvalidValueError
from zoo.faces.architectures.stylegan2 import StyleGAN2
from zoo.releases.loading import load

TARGETS = {"rosinality": rosinality.export, "nvidia-state-dict": stylegan2.export}


def export(name: str | os.PathLike[str], to: str, out: Path) -> Path:
    """Write what `zoo.load` loads by a name as the file `out` of another library; returns it.

    Args:
        to: one of TARGETS, the library whose layout the file gets.

    Raises as `zoo.load`, InvalidValueError where the architecture has no such layout, and WriteError.
    """
    model = load(name, device="cpu")
    if not isinstance(model, StyleGAN2):
        raise InvalidValueError(f"{name}: {type(model).__name__} has no such layout; --to writes StyleGAN2")
    return TARGETS[to](model, out)
