"""StyleGAN2 in the layout of the most used other trainer in PyTorch (rosinality), both ways.

The networks are the same, and so are their numbers: only names and leading dimensions of size 1 differ. Its files hold
`g_ema`, `d` and the mean style `latent_avg`, and the fixed filters under names that end in `kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from zoo.convert import stylegan2
from zoo.convert.published import Converted, Family, Published
from zoo.errors import InvalidValueError
from zoo.faces.architectures.stylegan2 import StyleGAN2
from zoo.io.atomic import replace_atomically
from zoo.nn.stylegan2 import make_filter

Pair = tuple[str, str]
"""Our name and theirs."""


def recognize(published: Published) -> bool:
    """Tell whether the tensors are those of such a generator."""
    return {"input.input", "style.1.weight", "conv1.conv.modulation.weight"} <= published.generator.keys()


def convert(published: Published) -> Converted:
    """Rename the tensors, with the sizes that they show."""
    theirs = published.generator
    count = sum(re.fullmatch(r"to_rgbs\.\d+\.bias", name) is not None for name in theirs)
    resolution, layers = 4 << count, sum(re.fullmatch(r"style\.\d+\.weight", name) is not None for name in theirs)
    width = theirs["style.1.weight"].shape[0]
    generator = {ours: theirs[name] for ours, name in _name_generator(resolution, layers) if name in theirs}
    generator["mapping.w_avg"] = published.extra.get("latent_avg", torch.zeros(width)).flatten()
    discriminator = {
        ours: published.discriminator[name]
        for ours, name in (_name_discriminator(resolution) if published.discriminator else ())
    }
    config = stylegan2.read_sizes(_reshape(generator, None), discriminator)
    shapes = StyleGAN2.state_shapes(StyleGAN2.Config(**config))
    states = {"generator": _reshape(generator, shapes["generator"])}
    if discriminator:
        states["discriminator"] = _reshape(discriminator, shapes["discriminator"])
    return Converted(modality="faces", architecture="stylegan2", config=config, states=states)


def export(gan: StyleGAN2, out: Path) -> Path:
    """Write a model as a file of that trainer. Raises InvalidValueError where it has no such layout, WriteError."""
    config = gan.config
    if config.labels or config.generator_architecture != "skip" or config.discriminator_architecture != "resnet":
        raise InvalidValueError(f"{out}: that layout has no classes, and no networks without skips")
    own = gan.generator.state_dict()
    generator = {
        theirs: _add_dimensions(theirs, own[ours])
        for ours, theirs in _name_generator(config.resolution, config.mapping_layers)
        if ours in own
    }
    kernel = make_filter()
    for i in range(len(config.resolutions) - 1):
        generator[f"convs.{2 * i}.conv.blur.kernel"] = generator[f"to_rgbs.{i}.upsample.kernel"] = 4 * kernel
    content: dict[str, object] = {"g_ema": generator, "latent_avg": own["mapping.w_avg"]}
    if "discriminator" in gan.networks:
        state = gan.discriminator.state_dict()
        discriminator = {theirs: state[ours] for ours, theirs in _name_discriminator(config.resolution)}
        for i in range(1, len(config.resolutions)):
            discriminator[f"convs.{i}.conv2.0.kernel"] = discriminator[f"convs.{i}.skip.0.kernel"] = kernel
        content["d"] = discriminator
    with replace_atomically(out) as temporary:
        torch.save(content, temporary)
    return out


def _name_generator(resolution: int, layers: int) -> Iterator[Pair]:
    for i in range(layers):
        yield from ((f"mapping.fc{i}.{kind}", f"style.{i + 1}.{kind}") for kind in ("weight", "bias"))
    yield "synthesis.b4.const", "input.input"
    yield from _name_layer("synthesis.b4.conv1", "conv1", "noises.noise_0")
    yield from _name_image("synthesis.b4.torgb", "to_rgb1")
    for i in range(resolution.bit_length() - 3):
        block = f"synthesis.b{8 << i}"
        yield from _name_layer(f"{block}.conv0", f"convs.{2 * i}", f"noises.noise_{2 * i + 1}")
        yield from _name_layer(f"{block}.conv1", f"convs.{2 * i + 1}", f"noises.noise_{2 * i + 2}")
        yield from _name_image(f"{block}.torgb", f"to_rgbs.{i}")


def _name_layer(ours: str, theirs: str, noise: str) -> Iterator[Pair]:
    yield f"{ours}.weight", f"{theirs}.conv.weight"
    yield from ((f"{ours}.affine.{kind}", f"{theirs}.conv.modulation.{kind}") for kind in ("weight", "bias"))
    yield f"{ours}.noise_strength", f"{theirs}.noise.weight"
    yield f"{ours}.bias", f"{theirs}.activate.bias"
    yield f"{ours}.noise_const", noise


def _name_image(ours: str, theirs: str) -> Iterator[Pair]:
    yield f"{ours}.weight", f"{theirs}.conv.weight"
    yield from ((f"{ours}.affine.{kind}", f"{theirs}.conv.modulation.{kind}") for kind in ("weight", "bias"))
    yield f"{ours}.bias", f"{theirs}.bias"


def _name_discriminator(resolution: int) -> Iterator[Pair]:
    yield f"b{resolution}.fromrgb.weight", "convs.0.0.weight"
    yield f"b{resolution}.fromrgb.bias", "convs.0.1.bias"
    for i in range(1, resolution.bit_length() - 2):
        ours, theirs = f"b{resolution >> (i - 1)}", f"convs.{i}"
        yield f"{ours}.conv0.weight", f"{theirs}.conv1.0.weight"
        yield f"{ours}.conv0.bias", f"{theirs}.conv1.1.bias"
        yield f"{ours}.conv1.weight", f"{theirs}.conv2.1.weight"
        yield f"{ours}.conv1.bias", f"{theirs}.conv2.2.bias"
        yield f"{ours}.skip.weight", f"{theirs}.skip.1.weight"
    yield "b4.conv.weight", "final_conv.0.weight"
    yield "b4.conv.bias", "final_conv.1.bias"
    for i, ours in enumerate(("fc", "out")):
        yield from ((f"b4.{ours}.{kind}", f"final_linear.{i}.{kind}") for kind in ("weight", "bias"))


def _reshape(state: Mapping[str, Tensor], shapes: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Drop leading dimensions of size 1, or take our shapes, with the filters that have one value."""
    if shapes is None:
        return {name: value[0] if value.dim() == 5 else value for name, value in state.items()}
    filters = {name: make_filter() for name in shapes if name.endswith("resample_filter")}
    fitting = {
        name: value.reshape(shapes[name].shape) if name in shapes and value.numel() == shapes[name].numel() else value
        for name, value in state.items()
    }
    return {**filters, **fitting}


def _add_dimensions(theirs: str, value: Tensor) -> Tensor:
    if theirs.endswith("conv.weight") or theirs == "input.input":
        return value[None]
    if theirs.startswith("noises."):
        return value[None, None]
    if theirs.endswith("noise.weight"):
        return value.reshape(1)
    is_bias = re.fullmatch(r"to_rgb(?:1|s\.\d+)\.bias", theirs) is not None
    return value.reshape(1, -1, 1, 1) if is_bias else value


FAMILY = Family(
    name="StyleGAN2 of rosinality's trainer",
    recognizes=recognize,
    convert=convert,
    signs="input.input and conv1.conv.modulation",
)
