"""Plain torch.distributed under torchrun: no wrapper modules, so one process and many run the same code.

DistributedDataParallel does not fit a GAN: a lazy penalty leaves parameters without a gradient, and second-order
gradients are not supported. Averaging one flat vector of gradients per phase works in every case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from zoo.device import choose_device
from zoo.errors import InvalidValueError, LostProcessError

TIMEOUT_SECONDS = 300.0  # without an answer, after which another process counts as lost
_PATIENCE = timedelta(days=7)  # for what one process does alone: building data, evaluating


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: str | torch.device = "auto", timeout: float = TIMEOUT_SECONDS) -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did; yield the device of this one.

    Args:
        device: as `zoo.device.choose_device` takes it. Without a number, "cuda" and "auto" take one for each process
            of a machine.
        timeout: seconds that a step may wait for another process.
    """
    global _control, _patient
    place = choose_device(device)
    if place.type == "cuda" and place.index is None:
        place = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
    if place.type == "cuda":
        torch.cuda.set_device(place)
    started = _is_started_by_torchrun() and not dist.is_initialized()
    if started:
        backend = "nccl" if place.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    if dist.is_initialized():  # by whoever: its own group may have no CPUs, and no patience
        _control = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        _patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
    try:
        yield place
        wait_for_all()  # no process leaves while another may still need it
    finally:
        if started:
            dist.destroy_process_group()


def _is_started_by_torchrun() -> bool:
    """Tell whether torchrun started this process. Raises InvalidValueError where half of what it sets is there."""
    size, missing = os.environ.get("WORLD_SIZE", "1"), [name for name in _FROM_TORCHRUN if name not in os.environ]
    if missing and size != "1":
        raise InvalidValueError(
            f"WORLD_SIZE = {size} is set and {', '.join(missing)} not: start all processes by torchrun, or unset it"
        )
    return not missing


_FROM_TORCHRUN = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
_control: Any = None  # all processes by their CPUs, so that no device is waited for
_patient: Any = None  # the same, for long waits


def wait_for_all() -> None:
    """Wait until all processes are here, however long one of them works alone. Raises LostProcessError."""
    if world_size() > 1:
        with _translate_errors():
            dist.barrier(group=_patient)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise LostProcessError where a collective operation fails, whose errors describe sockets."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        what = "does not answer" if "imed out" in text or "imeout" in text else "ended or was killed"
        raise LostProcessError(
            f"process {rank()} of {world_size()}: another process of this training {what}. The last checkpoint is "
            "kept: start all processes again, with --resume"
        ) from error


@contextmanager
def first_process_first() -> Iterator[None]:
    """Run the block in the first process, then in all others, which find what the first one built."""
    if rank() > 0:
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


@torch.no_grad()
def broadcast(modules: Iterable[nn.Module]) -> None:
    """Give every process the weights of the first."""
    if world_size() > 1:
        with _translate_errors():
            for module in modules:
                for value in module.state_dict().values():
                    dist.broadcast(value, src=0)


@torch.no_grad()
def average_gradients(module: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
    """Replace each gradient by its mean over all processes, in one flat all-reduce of numbers of this type.

    A parameter without a gradient, as in a lazy penalty, has none in any process. It stays so: an optimizer leaves it
    alone, where a gradient of zero would move it by its momentum.
    """
    if world_size() == 1:
        return
    gradients = {p: p.grad for p in module.parameters() if p.grad is not None}
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients.values()]).to(dtype)
    with _translate_errors():
        dist.all_reduce(flat)
    flat = flat.float() / world_size()
    for p, mean in zip(gradients, flat.split([p.numel() for p in gradients]), strict=True):
        # Fused optimizers read a weight and its gradient in memory order, so the gradient needs the weight's strides.
        p.grad = torch.empty_like(p).copy_(mean.view_as(p))


def add_up(values: torch.Tensor) -> None:
    """Replace a tensor by its sum over all processes, in place."""
    if world_size() > 1:
        with _translate_errors():
            dist.all_reduce(values)


@torch.no_grad()
def average(values: dict[str, float]) -> dict[str, float]:
    """Average each value over all processes."""
    if world_size() == 1 or not values:
        return values
    flat = torch.tensor(list(values.values()), dtype=torch.float64)
    with _translate_errors():
        dist.all_reduce(flat, group=_control)
    return dict(zip(values, (flat / world_size()).tolist(), strict=True))


def any_process(flag: bool) -> bool:
    """Tell whether `flag` is set in any process. All processes must ask together."""
    return average({"flag": float(flag)})["flag"] > 0
