"""HiFi-GAN vocoders.

It reads the layouts of the authors' release (a pickle with `generator`), of torchaudio (a pickled state), and of
`transformers.SpeechT5HifiGan` and its source (a folder with config.json and model.safetensors). Weight norm may be
there in any of its forms, or already removed. The state may be some levels down, have the prefixes of modules around
the generator (`module.`, `model.generator.`), and stand beside discriminators, which are left out. Pickles are read by
`zoo.io.torch_file`, which runs no code.

A converted vocoder has no discriminators, and no spectrograms to sample from. A vocoder of SpeechT5 takes that model's
spectrograms, with logarithms to base 10, by `vocode`. `--input` would give it others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.convert.published import Converted, Family, Published
from zoo.errors import InvalidFileError, shorten, shorten_repr
from zoo.io.torch_file import read_tensors
from zoo.music.architectures.hifigan import HiFiGAN, HiFiGANConfig
from zoo.recipe import MAX_ITEMS, build

MAX_CONFIG_BYTES = 1 << 20

_AROUND = re.compile(r"^(?:(?:module|model|state_dict|generator|model_g)\.)+")  # modules that a generator was a part of
_OTHERS = re.compile(r"(?:\w*discriminator\w*|model_d|mpd|msd|mrd)\.")

_RENAMES = (  # patterns of names in other layouts, and their names here
    (r"^upsampler\.", "ups."),
    (r"^input_conv\.", "conv_pre."),
    (r"^upsamples\.(\d+)\.1\.", r"ups.\1."),
    (r"^blocks\.", "resblocks."),
    (r"^(resblocks\.\d+\.convs\d?\.\d+)\.1\.", r"\1."),
    (r"^output_conv\.1\.", "conv_post."),
    (r"parametrizations\.weight\.original0$", "weight_g"),
    (r"parametrizations\.weight\.original1$", "weight_v"),
)

_KEYS = {  # our keys, and those of the config.json of a release: the authors' and those of transformers
    "rate": ("sampling_rate",),
    "mels": ("num_mels", "model_in_dim"),
    "fft": ("n_fft",),
    "hop": ("hop_size",),
    "low": ("fmin",),
    "high": ("fmax",),
    "ups": ("upsample_rates",),
    "up_kernels": ("upsample_kernel_sizes",),
    "width": ("upsample_initial_channel",),
    "kernels": ("resblock_kernel_sizes",),
    "dilations": ("resblock_dilation_sizes",),
}


def recognize(published: Published) -> bool:
    """Tell whether the tensors have the first convolution of a vocoder, in any of its layouts."""
    return any(rename(name).startswith("conv_pre.") for name in published.generator)


def convert(published: Published) -> Converted:
    """Read the vocoder, with the config.json beside its file."""
    gan = read_vocoder(published)
    states = {name: network.state_dict() for name, network in gan.networks.items()}
    return Converted(modality="music", architecture="hifigan", config=asdict(gan.config), states=states)


def read_vocoder(published: Published) -> HiFiGAN:
    """Read the vocoder of a file, without discriminators.

    The sizes are those of a config.json in the same folder. Without one they are those of the weights, and the paper's
    where weights do not show them.

    Raises InvalidFileError where there is no vocoder, or a tensor is missing, unknown, or of another shape.
    """
    path = published.path
    return build_vocoder(read_tensors(path), read_config(path), where=str(path))  # all tensors: there may be two


def build_vocoder(state: Mapping[str, Tensor], about: Mapping[str, Any], *, where: str) -> HiFiGAN:
    """Build the vocoder of a state in any of the layouts. `about` has the known values of its config.

    Raises InvalidFileError.
    """
    names = [name for name in state if not _OTHERS.match(_AROUND.sub("", name))]
    state = {rename(name): state[name] for name in names}
    if len(state) < len(names):
        raise InvalidFileError(
            f"{where}: no HiFi-GAN generator: two of its tensors have the same name without prefixes"
        )
    try:
        sizes = {**_read_sizes(state), **about, "held": 0, "periods": [], "scales": 0}
        config = build(HiFiGANConfig, sizes, where=where)
    except (ValueError, KeyError, IndexError) as error:  # a tensor that is missing, or of other dimensions
        raise InvalidFileError(f"{where}: no HiFi-GAN generator: {shorten(str(error), 300)}") from error
    for name in ("mean", "scale"):
        if name in state and state[name].numel() == config.mels:
            state[name] = state[name].reshape(config.mels, 1)
    wanted = HiFiGAN.state_shapes(config)["generator"]
    optional = ("held", "mean", "scale")
    laid_out = parametrize({name: value.to("meta") for name, value in state.items()})  # no memory until all fits
    found = {**{name: wanted[name] for name in optional}, **laid_out}
    wrong = [
        name
        for name in {**wanted, **found}
        if name not in wanted or name not in found or wanted[name].shape != found[name].shape
    ]
    if wrong:
        some = ", ".join(shorten(name) for name in sorted(wrong)[:4])
        raise InvalidFileError(f"{where}: no HiFi-GAN generator of {config.width} channels: {some} do not fit")
    gan = HiFiGAN(config).eval()
    own = gan.generator.state_dict()
    found = {name: value.float() for name, value in parametrize(state).items()}
    gan.generator.load_state_dict({**{name: own[name] for name in optional}, **found})
    return gan


def rename(name: str) -> str:
    """Return the name of a tensor in the authors' layout."""
    name = _AROUND.sub("", name)
    for pattern, here in _RENAMES:
        name = re.sub(pattern, here, name)
    return name


def parametrize(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split every weight into length and direction, as weight norm does, if the state does not have them already."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        inner = f"{layer}.parametrizations.weight"
        if kind == "weight":
            # Each first index has its own length. Where that is 0, the direction may be any.
            length = torch.linalg.vector_norm(value.float(), dim=tuple(range(1, value.dim())), keepdim=True)
            found[f"{inner}.original0"] = length
            found[f"{inner}.original1"] = torch.where(length > 0, value.float(), torch.ones_like(value.float()))
        elif kind == "weight_g":
            found[f"{inner}.original0"] = value
        elif kind == "weight_v":
            found[f"{inner}.original1"] = value
        else:
            found[name] = value
    return found


def read_config(weights: Path) -> dict[str, Any]:
    """Read sizes from the config.json next to the weights; nothing where there is none. Raises InvalidFileError."""
    path = weights.with_name("config.json")
    return take_sizes(read_object(path), path) if path.is_file() else {}


def read_object(path: Path) -> dict[str, Any]:
    """Read the object that a config.json holds. Raises InvalidFileError."""
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise InvalidFileError(f"{path}: larger than any config of a vocoder; refused")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: cannot read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidFileError(f"{path}: should be an object")
    return content


def take_sizes(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Take our values of those of a config.json at `path`. Raises InvalidFileError."""
    about = {key: content[name] for key, names in _KEYS.items() for name in names if content.get(name) is not None}
    if "ups" in about and "hop" not in about:
        ups = about["ups"]
        if not isinstance(ups, list) or len(ups) > MAX_ITEMS or not all(type(up) is int for up in ups):
            raise InvalidFileError(
                f"{path}: upsample_rates = {shorten_repr(ups)} should be a list of at most {MAX_ITEMS} whole numbers"
            )
        about["hop"] = math.prod(about["ups"])
    if type(hop := about.get("hop")) is int:
        about["length"] = 32 * hop  # of the sounds of a training, which the file does not say
    if "high" not in about and "fmax" in content:
        about["high"] = 0.0  # null in the authors' files means half of the rate
    return about


def _read_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the sizes from the weights, except for strides and dilations, which are the paper's."""

    def shape_of(layer: str) -> tuple[int, ...]:
        for kind in ("weight", "weight_v"):
            if f"{layer}.{kind}" in state:
                return tuple(state[f"{layer}.{kind}"].shape)
        raise KeyError(f"it has no {layer}")

    width, mels, _ = shape_of("conv_pre")
    num_ups = len({name.split(".")[1] for name in state if name.startswith("ups.")})
    num_blocks = len({name.split(".")[1] for name in state if name.startswith("resblocks.")})
    up_kernels = [shape_of(f"ups.{i}")[2] for i in range(num_ups)]
    single = any(name.startswith("resblocks.0.convs.") for name in state)
    step = "convs" if single else "convs1"
    num_kernels = num_blocks // max(1, num_ups)
    ups = [kernel // 2 for kernel in up_kernels]
    hop = math.prod(ups)
    return {
        "mels": mels,
        "width": width,
        "ups": ups,
        "up_kernels": up_kernels,
        "hop": hop,
        "fft": 4 * hop,
        "length": 32 * hop,
        "block": 2 if single else 1,
        "kernels": [shape_of(f"resblocks.{i}.{step}.0")[2] for i in range(num_kernels)],
        "dilations": [[1, 2], [2, 6], [3, 12]] if single else [[1, 3, 5]] * num_kernels,
    }


FAMILY = Family(
    name="HiFi-GAN vocoder", recognizes=recognize, convert=convert, signs="conv_pre or input_conv, ups, resblocks"
)
