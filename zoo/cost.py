"""The cost of a model: parameters, FLOPs, memory, samples a second, and what a training sends between processes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from zoo.device import choose_device
from zoo.errors import count
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.registry import Entry
from zoo.training.phases import Phase

T = TypeVar("T")

SECONDS = 3.0
BATCH = 64


def measure_cost(entry: Entry, *, device: str = "auto") -> dict[str, str]:
    """Measure the rows of `zoo info NAME --cost`. The cost does not depend on the weights, so none are loaded."""
    place = choose_device(device)
    recipe = load_recipe(entry)
    gan: GAN = recipe.build().eval().requires_grad_(False)  # else the FLOP counter asks for a graph
    rows = {
        f"{name} parameters": f"{sum(p.numel() for p in network.parameters()):,}"
        for name, network in gan.networks.items()
    }
    gradients = count_gradient_bytes(gan.phases(recipe.train)) / 1e6
    rows["network"] = (
        f"{gradients:,.2f} MB of float32 gradients a training step; each of n processes sends 2 (n - 1) / n times that"
    )
    flops, sample = count_flops(gan.generator, gan.latents(1, Noise(0)))
    rows["generator"] = f"{flops / 1e6:,.1f} MFLOPs a sample"
    if "discriminator" in gan.networks:
        flops, _ = count_flops(gan.discriminator, sample)
        rows["discriminator"] = f"{flops / 1e6:,.1f} MFLOPs a sample"
    gan.to(place)
    gan.sample(BATCH, seed=0)  # to warm up
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        gan.sample(BATCH, seed=0, batch_size=BATCH)
        done += BATCH
    rows["speed"] = f"{done / elapsed:,.0f} samples/s at batch {BATCH}, {_describe_device(place)}"
    if place.type == "cuda":
        rows["device memory"] = f"{torch.cuda.max_memory_allocated(place) / 1e6:,.0f} MB at most"
    if sys.platform != "win32":  # where Python cannot tell
        import resource

        bytes_per_unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 1e6
        rows["peak memory"] = f"{peak:,.0f} MB of the whole process, with Python and torch"
    return rows


def count_flops(function: Callable[..., T], *inputs: Any) -> tuple[int, T]:
    """Call a function, and count its FLOPs on the CPU: two to each multiplication in products and convolutions.

    Returns their number, and what the function returned.
    """
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_UNCOUNTED) as counter:
        result = function(*inputs)
    return counter.get_total_flops(), result


def _count_lstm(frames: Sequence[int], *weights: Any, **_: Any) -> int:
    steps, sequences = frames[:2]
    return 2 * steps * sequences * sum(math.prod(weight) for weight in weights[:2])  # of inputs, and of states


def _count_attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


_UNCOUNTED = {  # by torch's own counter, of the operations of a CPU
    torch.ops.aten.mkldnn_rnn_layer: _count_lstm,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _count_attention,
}


def count_gradient_bytes(phases: Sequence[Phase]) -> float:
    """Count the bytes of float32 gradients that the processes of a training average in a step.

    A phase of every eighth step counts an eighth. Where phases start or end during a training, the largest sum counts.
    """
    return max(
        sum(
            4 * sum(p.numel() for p in phase.module.parameters()) / phase.interval
            for phase in phases
            if phase.is_due(0, kimg)
        )
        for kimg in {phase.start_kimg for phase in phases}
    )


def _describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return count(torch.get_num_threads(), "CPU thread") if device.type == "cpu" else str(device)
