"""Building modules without computing their initial weights."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class no_init(TorchFunctionMode):
    """A context in which modules are built without random initial weights, which would be overwritten anyway.

    Initializers that consist of others may still draw numbers. On exit the state of torch's generator is restored.
    """

    def __enter__(self) -> Self:
        self._state = torch.get_rng_state()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_rng_state(self._state)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func in (Tensor.normal_, Tensor.uniform_) and args[0].device.type != "cpu":
            return args[0]
        return func(*args, **kwargs)
