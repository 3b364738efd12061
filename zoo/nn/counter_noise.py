"""Normal noise that is computed from counters: the same on every device, in any batch, in any number of processes.

Each number is a hash of a key of its sample and of its own place, made normal by Box and Muller's transform. So no
state is kept, and no noise is sent to the device that needs it. Counter-based generators: Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3". The hash is the 32-bit mixer "lowbias32" (Wellons 2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.noise import Noise

_MASK = 0xFFFFFFFF


def counter_noise(keys: Tensor, *shape: int, stream: int = 0) -> Tensor:
    """Compute numbers [N, *shape] from N(0, 1), float32, on the device of the keys.

    Args:
        keys: a number of each sample, int64 [N]; equal keys give equal rows.
        stream: tells apart draws with the same keys, e.g. the layers of a network.
    """
    rows = _mix(_mix(keys & _MASK) ^ _mix(torch.full_like(keys, stream & _MASK) + 0x9E3779B9))
    places = torch.arange(math.prod(shape), device=keys.device)
    first = _mix(rows[:, None] ^ _mix(2 * places))
    second = _mix(rows[:, None] ^ _mix(2 * places + 1))
    uniform, angle = ((bits >> 8).float().add(0.5).mul(2.0**-24) for bits in (first, second))
    return ((-2 * uniform.log()).sqrt() * (2 * math.pi * angle).cos()).view(len(keys), *shape)


def draw_keys(n: int, noise: Noise) -> Tensor:
    """Draw keys of n samples, int64 [n] of 32 random bits."""
    halves = (noise.uniform(n, 2) * (1 << 16)).long()
    return halves[:, 0] << 16 | halves[:, 1]


def _mix(bits: Tensor) -> Tensor:
    """Map 32-bit numbers, held in int64, to others: each bit of a result depends on all bits."""
    bits = bits & _MASK
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & _MASK
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & _MASK
    return bits ^ (bits >> 16)
