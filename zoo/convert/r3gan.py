"""R3GAN of its authors' trainer. The names of its tensors are ours, and the sizes are those of the tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from zoo.convert.published import Converted, Family, Published

_BASIS = "Model.MainLayers.0.Layers.0.Basis"
_BLOCK = re.compile(r"Model\.MainLayers\.(\d+)\.Layers\.\d+\.LinearLayer2\.Layer\.weight")


def recognize(published: Published) -> bool:
    """Tell whether the tensors are those of an R3GAN generator, with or without the module around them."""
    return _BASIS in _wrap(published.generator)


def convert(published: Published) -> Converted:
    """Take the states as they are, with the sizes that they show."""
    states = {"generator": _wrap(published.generator)}
    if published.discriminator:
        states["discriminator"] = _wrap(published.discriminator)
    generator = states["generator"]
    blocks: dict[int, int] = {}
    widths: dict[int, int] = {}
    for name in generator:
        if match := _BLOCK.fullmatch(name):
            stage = int(match[1])
            blocks[stage] = blocks.get(stage, 0) + 1
            widths[stage] = generator[name.replace("LinearLayer2", "LinearLayer3")].shape[0]
    stages = sorted(blocks)
    embedding = generator.get("Model.EmbeddingLayer.weight")
    inputs = generator[_BASIS.replace("Basis", "LinearLayer.weight")].shape[1]
    config = {
        "latent_dim": inputs if embedding is None else inputs - embedding.shape[0],
        "labels": 0 if embedding is None else embedding.shape[1],
        "widths": [widths[stage] for stage in stages],
        "blocks": [blocks[stage] for stage in stages],
    }
    return Converted(modality="faces", architecture="r3gan", config=config, states=states)


def _wrap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name if name.startswith("Model.") else f"Model.{name}": value for name, value in state.items()}


FAMILY = Family(
    name="R3GAN of its authors' trainer",
    recognizes=recognize,
    convert=convert,
    signs="Model.MainLayers.0.Layers.0.Basis",
)
