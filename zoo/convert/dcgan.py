"""DCGAN in its usual dressings: a sequence of layers `main`, as PyTorch's tutorial and those after it save it.

The file may hold the state alone, or under `netG`, `netG_state_dict` and the like. Layers without weights, such as a
dropout, shift the numbers of the others. They are left out, since they do nothing when a model is sampled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from zoo.convert.published import Converted, Family, Published
from zoo.errors import InvalidFileError

_LAYER = re.compile(r"(?:[a-zA-Z_]\w*\.)?(\d+)\.(\w+)")


def recognize(published: Published) -> bool:
    """Tell whether the tensors are a sequence of transposed convolutions that begins with a latent."""
    layers = _list_layers(published.generator)
    kernels = [layer["weight"] for layer in layers if layer.get("weight") is not None and layer["weight"].dim() == 4]
    return (
        len(kernels) >= 3
        and all(tuple(kernel.shape[2:]) == (4, 4) for kernel in kernels)
        and all(before.shape[1] == after.shape[0] for before, after in pairwise(kernels))
    )


def convert(published: Published) -> Converted:
    """Number the layers as ours are, with the sizes that they show. Raises InvalidFileError."""
    layers = _list_layers(published.generator)
    kernels = [layer["weight"] for layer in layers if layer["weight"].dim() == 4]
    if kernels[-1].shape[1] != 3:
        raise InvalidFileError(f"{published.path}: a DCGAN of {kernels[-1].shape[1]} channels; ours has 3")
    config: dict[str, Any] = {
        "latent_dim": kernels[0].shape[0],
        "width": kernels[-1].shape[0],
        "resolution": 4 << (len(kernels) - 1),
    }
    states = {"generator": _number(layers, published)}
    if published.discriminator:
        states["discriminator"] = _number(_list_layers(published.discriminator), published)
    return Converted(modality="faces", architecture="dcgan", config=config, states=states)


def _list_layers(state: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """List the layers that have tensors, in the order of their numbers; nothing where the names are others."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = _LAYER.fullmatch(name)
        if match is None:
            return []
        layers.setdefault(int(match[1]), {})[match[2]] = value
    return [layers[number] for number in sorted(layers)]


def _number(layers: list[dict[str, Tensor]], published: Published) -> dict[str, Tensor]:
    """Number layers as PyTorch's tutorial does: a convolution, its norm, and an activation, which has no tensors.

    Raises InvalidFileError where a convolution has a bias, which ours has not.
    """
    state: dict[str, Tensor] = {}
    number = 0
    for i, layer in enumerate(layers):
        is_kernel = layer["weight"].dim() == 4
        if is_kernel and "bias" in layer:
            if layer["bias"].any():
                raise InvalidFileError(f"{published.path}: a DCGAN whose convolutions have biases; ours have none")
            layer = {"weight": layer["weight"]}
        if not is_kernel and "num_batches_tracked" not in layer:  # of torch before 0.4.1
            layer = {**layer, "num_batches_tracked": torch.zeros((), dtype=torch.int64)}
        state |= {f"main.{number}.{kind}": value for kind, value in layer.items()}
        followed = i + 1 < len(layers) and layers[i + 1]["weight"].dim() == 1
        number += 1 if is_kernel and followed else 2
    return state


FAMILY = Family(
    name="DCGAN of PyTorch's tutorial",
    recognizes=recognize,
    convert=convert,
    signs="main.0.weight [Z, C, 4, 4], and a transposed convolution in each later layer",
)
