"""Layers that stay in float32 while the others run in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

# Asked once, for `torch.compile` of some releases cannot trace the question, and would split the network there.
_CAST = frozenset(name for name in ("cpu", "cuda", "mps") if torch.amp.is_autocast_available(name))


def keep_float32(module: nn.Module) -> None:
    """Make `module` compute in float32 inside `torch.autocast`, in place. Its parameters and their names stay."""
    cls = type(module)
    if cls not in _CLASSES:
        _CLASSES[cls] = _make_float32_class(cls)
    module.__class__ = _CLASSES[cls]


def use_float32(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which `torch.autocast` is off."""
    return torch.autocast(device.type, enabled=False) if device.type in _CAST else nullcontext()


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}


def _make_float32_class(cls: type[nn.Module]) -> type[nn.Module]:
    """Make a subclass. Unlike a wrapped `forward`, a copy of its modules computes with its own weights."""

    def forward(self: nn.Module, *inputs: Any) -> Any:
        floats = [x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs]
        with use_float32(inputs[0].device):
            return cls.forward(self, *floats)

    return type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
