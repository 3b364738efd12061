"""Devices: which one a name means, and whether this machine has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import InvalidValueError

DEVICES = "auto, cpu, cuda, cuda:N or mps"


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name. `auto` is CUDA where this machine has it, else MPS, else the CPU.

    Raises InvalidValueError for another name, and for a device that is not there.
    """
    if isinstance(name, torch.device) and name.type == "meta":  # of tests: shapes without numbers
        return name
    text = str(name)
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InvalidValueError(f'device = "{text}" should be {DEVICES}') from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise InvalidValueError(f'device = "{text}" should be {DEVICES}')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InvalidValueError(f'device = "{text}": this machine has no MPS device; {_list_devices()}')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidValueError(f'device = "{text}": this machine has no such CUDA device; {_list_devices()}')
    return device


def _list_devices() -> str:
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    return f"it has {', '.join([*names, 'cpu'])}"


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Send a tensor of the CPU to a device, without waiting for the device if it is CUDA."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # an ordinary copy waits until the device has it
