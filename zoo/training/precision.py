"""The precision of a training: float32, bfloat16, or float16 with a scaled loss."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.nn.precision import keep_float32
from zoo.recipe import TrainConfig

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How the networks of a training compute.

    Weights, gradients and averages are float32 always. In bf16 and fp16, matrix products and convolutions take their
    inputs in half precision. What `GAN.float32_modules` returns stays in float32, and so do exact penalties. In fp16,
    the loss is scaled up, because its gradients would vanish.

    Raises InvalidValueError where the architecture cannot be trained in this precision.
    """

    def __init__(self, gan: GAN, train: TrainConfig, device: torch.device) -> None:
        self._device, self._dtype = device.type, _DTYPES.get(train.precision)
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = train.tf32
        if self._dtype is not None:
            exact = gan.float32_modules()
            if exact is None:
                raise InvalidValueError(
                    f'train.precision = "{train.precision}": {type(gan).__name__} is trained in fp32 only'
                )
            for module in exact:
                keep_float32(module)
        self._scaler = torch.amp.GradScaler(device.type) if self._dtype is torch.float16 else None

    @property
    def scales(self) -> bool:
        """Whether losses are scaled, so that a gradient that is not finite is no fault."""
        return self._scaler is not None

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that losses are computed in."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, dtype=self._dtype)

    def scale(self, loss: Tensor) -> Tensor:
        return loss if self._scaler is None else self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer, is_finite: Tensor) -> None:
        """Take the step of an optimizer; leave it out where the numbers were not finite."""
        if self._scaler is not None:
            self._scaler.step(optimizer)
            self._scaler.update()
            return
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]  # the fused kernels read it
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._scaler is not None:
            self._scaler.load_state_dict(state)
