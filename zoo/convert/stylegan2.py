"""StyleGAN2 and StyleGAN2-ADA of NVIDIA's PyTorch trainer, and of those built on it.

The names of its tensors are ours. The sizes are those that the snapshot was built with, or those of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.convert.published import Converted, Family, Published
from zoo.faces.architectures.stylegan2 import StyleGAN2
from zoo.io.atomic import replace_atomically

LICENSE = "NVIDIA Source Code License (non-commercial), which holds for derived weights, too"


def recognize(published: Published) -> bool:
    """Tell whether the tensors are those of a StyleGAN2 generator."""
    return {"synthesis.b4.const", "synthesis.b4.conv1.weight", "mapping.fc0.weight"} <= published.generator.keys()


def convert(published: Published) -> Converted:
    """Take the states as they are, with the sizes of the networks."""
    states = {"generator": published.generator}
    config = read_sizes(published.generator, published.discriminator)
    if published.discriminator:
        states["discriminator"] = published.discriminator
        kwargs = published.arguments[1].get("epilogue_kwargs")
        group = kwargs.get("mbstd_group_size") if isinstance(kwargs, dict) else None
        config |= {"deviation_group": group} if group else {}
    return Converted(modality="faces", architecture="stylegan2", config=config, states=states, license=LICENSE)


def read_sizes(generator: Mapping[str, Tensor], discriminator: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the config from the shapes of the tensors. Raises KeyError where one is missing."""
    resolutions = sorted(int(name.split(".")[1][1:]) for name in generator if name.endswith(".conv1.weight"))
    channels = {r: generator[f"synthesis.b{r}.conv1.weight"].shape[0] for r in resolutions}
    most, style_dim = max(channels.values()), generator["mapping.w_avg"].shape[0]
    labels = generator["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in generator else 0
    layers = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in generator)
    return {
        "resolution": resolutions[-1],
        "latent_dim": generator["mapping.fc0.weight"].shape[1] - (style_dim if labels else 0),
        "style_dim": style_dim,
        "labels": labels,
        "mapping_layers": layers,
        "channel_base": max(r * c for r, c in channels.items()),
        "channel_max": most,
        "generator_architecture": "skip" if "synthesis.b8.torgb.weight" in generator else "orig",
        "discriminator_architecture": "resnet" if _has_skips(discriminator) or not discriminator else "orig",
        "noise": "synthesis.b4.conv1.noise_const" in generator,
    }


def _has_skips(discriminator: Mapping[str, Tensor]) -> bool:
    return any(".skip.weight" in name for name in discriminator)


def export(gan: StyleGAN2, out: Path) -> Path:
    """Write a model as states under NVIDIA's names, `G_ema` and `D`, in a file of `torch.save`. Raises WriteError."""
    names = {"generator": "G_ema", "discriminator": "D"}
    with replace_atomically(out) as temporary:
        torch.save({names[name]: network.state_dict() for name, network in gan.networks.items()}, temporary)
    return out


FAMILY = Family(
    name="StyleGAN2 of NVIDIA's PyTorch trainer",
    recognizes=recognize,
    convert=convert,
    signs="synthesis.b4.const and mapping.fc0",
)
