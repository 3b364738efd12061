"""Published HiFi-GAN vocoders, converted to folders that this library loads.

    python -m zoo.music.sounds.vocoders generator_v1 --out my-vocoder
    zoo sample ./my-vocoder --input a.wav --out b.wav

It reads the layouts of the authors' release (a pickle with `generator`), of torchaudio (a pickled state), of
`transformers.SpeechT5HifiGan` (a folder with config.json and model.safetensors), and of what that was made from. Weight
norm may be there in any of its forms, or fuse_norms. Pickles are read by `zoo.torch_file`, which knows tensors
and nothing else.

Such a vocoder comes without discriminators and without spectrograms to sample from. One of SpeechT5 takes the
spectrograms of that model (logarithms to base 10) by `vocode`; with `--input` it would be given others.
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

from zoo.errors import InvalidFileError, ZooError
from zoo.io.torch_file import read_tensors
from zoo.io.weights import write_sums, write_weights
from zoo.music.architectures.hifigan import HiFiGAN, HiFiGANConfig
from zoo.recipe import build

_RENAMED = (  # patterns of names of other layouts, and what they are here
    (r"^generator\.", ""),
    (r"^upsampler\.", "ups."),
    (r"^input_conv\.", "conv_pre."),
    (r"^upsamples\.(\d+)\.1\.", r"ups.\1."),
    (r"^blocks\.", "resblocks."),
    (r"^(resblocks\.\d+\.convs\d?\.\d+)\.1\.", r"\1."),
    (r"^output_conv\.1\.", "conv_post."),
    (r"parametrizations\.weight\.original0$", "weight_g"),
    (r"parametrizations\.weight\.original1$", "weight_v"),
)

_KEYS = {  # of the config.json of a release: the authors' names and those of transformers
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


def convert(source: Path, out: Path) -> Path:
    """Write the vocoder in the file or folder `source` as a folder of weights `out`; returns it.

    Raises InvalidFileError where it is none, WriteError.
    """
    gan = read_vocoder(source)
    out.mkdir(parents=True, exist_ok=True)
    for player, module in gan.networks.items():
        write_weights(module.state_dict(), out / f"{player}.safetensors")
    content = {
        "format": 1,
        "library": "gan-zoo",
        "modality": "music",
        "architecture": "hifigan",
        "config": asdict(gan.config),
    }
    (out / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_sums(out)
    return out


def read_vocoder(source: Path) -> HiFiGAN:
    """The vocoder in a file or folder, generator only.

    The sizes come from config.json where one lies beside the weights; else from the weights, and by the paper's rules.

    Raises InvalidFileError where there is none, or a tensor is missing, unknown, or of another shape.
    """
    path = weights_in(source)
    return converted(read_tensors(path), _config_beside(path), where=str(path))


def converted(state: Mapping[str, Tensor], about: Mapping[str, Any], *, where: str) -> HiFiGAN:
    """The vocoder of a state in any of the layouts; `about` are values of its config that are known. Raises InvalidFileError."""
    state = {_renamed(name): value for name, value in state.items()}
    try:
        sizes = {**_sizes(state), **about, "held": 0, "periods": [], "scales": 0}
        config = build(HiFiGANConfig, sizes, where=where)
    except (ValueError, KeyError, IndexError) as error:  # a tensor that is missing, or of other dimensions
        raise InvalidFileError(f"{where}: no HiFi-GAN generator: {error}") from error
    gan = HiFiGAN(config).eval()
    wanted = gan.generator.state_dict()
    found = {name: value.float() for name, value in normed(state).items()}
    found = {"held": wanted["held"], "mean": wanted["mean"], "scale": wanted["scale"], **found}
    for name in ("mean", "scale"):
        found[name] = found[name].reshape(wanted[name].shape) if found[name].numel() == config.mels else found[name]
    wrong = [
        name
        for name in {**wanted, **found}
        if name not in wanted or name not in found or wanted[name].shape != found[name].shape
    ]
    if wrong:
        some = ", ".join(sorted(wrong)[:4])
        raise InvalidFileError(f"{where}: no HiFi-GAN generator of {config.width} channels: {some} do not fit")
    gan.generator.load_state_dict(found)
    return gan


def weights_in(source: Path) -> Path:
    """The file of weights that `source` is or holds. Raises InvalidFileError."""
    if source.is_file():
        return source
    for name in ("model.safetensors", "pytorch_model.bin", "generator"):
        if (source / name).is_file():
            return source / name
    raise InvalidFileError(
        f"{source}: no file of weights, nor a folder with model.safetensors, pytorch_model.bin or generator"
    )


def _renamed(name: str) -> str:
    for pattern, here in _RENAMED:
        name = re.sub(pattern, here, name)
    return name


def normed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with every weight as the length and direction that weight norm has here, fuse_norms before or not."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        inner = f"{layer}.parametrizations.weight"
        if kind == "weight":
            # A length of its own for each first index, and a direction that may be any where that is nought.
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


def _config_beside(path: Path) -> dict[str, Any]:
    """What the config.json of the release says of the sizes; nothing where there is none."""
    beside = path.with_name("config.json")
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{beside}: cannot read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidFileError(f"{beside}: should be an object")
    about = {key: content[name] for key, names in _KEYS.items() for name in names if content.get(name) is not None}
    if "ups" in about and "hop" not in about:
        if not isinstance(about["ups"], list) or not all(type(up) is int for up in about["ups"]):
            raise InvalidFileError(
                f"{beside}: its upsample_rates = {about['ups']!r:.80} should be a list of whole numbers"
            )
        about["hop"] = math.prod(about["ups"])
        about["length"] = 32 * about["hop"]
    if "high" not in about and "fmax" in content:
        about["high"] = 0.0  # null in the authors' files: up to half of the rate
    return about


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the weights themselves say: all but the strides and dilations, which are the paper's."""

    def shape(layer: str) -> tuple[int, ...]:
        for kind in ("weight", "weight_v"):
            if f"{layer}.{kind}" in state:
                return tuple(state[f"{layer}.{kind}"].shape)
        raise KeyError(f"it has no {layer}")

    width, mels, _ = shape("conv_pre")
    num_ups = len({name.split(".")[1] for name in state if name.startswith("ups.")})
    num_blocks = len({name.split(".")[1] for name in state if name.startswith("resblocks.")})
    up_kernels = [shape(f"ups.{i}")[2] for i in range(num_ups)]
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
        "kernels": [shape(f"resblocks.{i}.{step}.0")[2] for i in range(num_kernels)],
        "dilations": [[1, 2], [2, 6], [3, 12]] if single else [[1, 3, 5]] * num_kernels,
    }


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Convert a published HiFi-GAN vocoder.")
    parser.add_argument("source", type=Path, help="its file of weights, or the folder of its release")
    parser.add_argument("--out", type=Path, required=True, help="the folder of weights to make")
    options = parser.parse_args()
    try:
        print(convert(options.source, options.out))
    except ZooError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
