"""CUDA graphs on the CPU: operations are noted as they run, and run again on the same memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

UNCOUNTED = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)
"""What counts changes in place for autograd. A GPU replays behind its back."""


class HostRecorder:
    """Stands for `zoo.training.graphs.Recorder`."""

    def __init__(self) -> None:
        self.graphs: list[HostGraph] = []

    @contextmanager
    def stream(self) -> Iterator[None]:
        yield

    def make_graph(self) -> HostGraph:
        self.graphs.append(HostGraph())
        return self.graphs[-1]


class HostGraph:
    """Stands for `zoo.training.graphs.CUDAGraph`: recording changes nothing that was there before."""

    def __init__(self) -> None:
        self.num_replays = 0

    def record(self, compute: Callable[[], Any]) -> Any:
        self._tape, state = Tape(), torch.get_rng_state()
        with self._tape:
            result = compute()
        self._tape.undo()
        torch.set_rng_state(state)
        return result

    def replay(self) -> None:
        self.num_replays += 1
        with torch._C._ExcludeDispatchKeyGuard(UNCOUNTED):
            for function, args, kwargs, outputs in self._tape.calls:
                args, kwargs = alias((args, kwargs))  # operations such as `transpose_` change the tensor itself
                for old, new in zip(outputs, tree_leaves(function(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Tape(TorchDispatchMode):
    """Notes all operations, and the memory that they found: some change it without saying so, such as batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Any]]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in _list_tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._own | self._before.keys():
                self._before[storage.data_ptr()] = (storage, storage.clone())
        found = alias((args, kwargs))
        out = func(*args, **kwargs)
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in _list_tensors(out)} - self._before.keys()
        self.calls.append((func, *found, tree_leaves(alias(out))))
        return out

    def undo(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)


def alias(values: Any) -> Any:
    """Return the same memory in tensors of their own, of which autograd knows nothing."""
    return tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, values)


def _list_tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
