"""`torch.compile`, as this library uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

BACKEND = "inductor"  # tests take one that needs no compiler

P = ParamSpec("P")
R = TypeVar("R")


def compile_network(network: nn.Module) -> None:
    """Compile the forward pass of a network, in place, at its first use. Its state keeps its names."""
    network.compile(backend=BACKEND, dynamic=False)


def compile_function(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first use."""
    return torch.compile(function, backend=BACKEND, dynamic=False)
