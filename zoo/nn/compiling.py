"""`torch.compile`, as this library uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

BACKEND = "inductor"  # tests take one that needs no compiler

P = ParamSpec("P")
R = TypeVar("R")


def compile_network(network: nn.Module, *, cuda_graphs: bool = False) -> None:
    """Compile the forward pass of a network, in place, at its first use. Its state keeps its names.

    Args:
        cuda_graphs: replay each compiled pass as one CUDA graph.
    """
    network.compile(backend=BACKEND, dynamic=False, mode="reduce-overhead" if cuda_graphs else None)


def compile_function(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first use."""
    return torch.compile(function, backend=BACKEND, dynamic=False)
