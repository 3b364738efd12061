"""BigVGAN of its authors' releases, version 1 and 2: `bigvgan_generator.pt` with the config.json beside it.

The names of the tensors are ours, but for those of weight norm. Weights do not tell a rate, or whether a wave ends in a
tanh, so the config is needed. The filters of the activations are compared with ours, and left out.
"""

from __future__ import annotations

from dataclasses import asdict

import torch

from zoo.convert.hifigan import parametrize, read_object, rename, take_sizes
from zoo.convert.published import Converted, Family, Published
from zoo.errors import InvalidFileError, shorten, shorten_repr
from zoo.music.architectures.bigvgan import BigVGANConfig, make_filter
from zoo.music.vocoder import make_spectrograms
from zoo.recipe import build

_FILTERS = (".upsample.filter", ".downsample.lowpass.filter")
_SWITCHES = {  # the authors' keys, ours, and what the authors' code takes where a config has none
    "activation": ("activation", "snakebeta"),
    "snake_logscale": ("log_scale", True),
    "use_tanh_at_final": ("tanh", True),
    "use_bias_at_final": ("last_bias", True),
}
_BLOCKS = {"1": 1, "2": 2}


def recognize(published: Published) -> bool:
    """Tell whether the tensors have the last activation of BigVGAN; the other layers are named as HiFi-GAN's."""
    return "activation_post.act.alpha" in map(rename, published.generator)


def convert(published: Published) -> Converted:
    """Take the tensors under our names, with the sizes and switches of config.json."""
    path = published.path.with_name("config.json")
    if not path.is_file():
        raise InvalidFileError(
            f"{published.path}: BigVGAN, whose weights do not tell its spectrograms: put its config.json beside it"
        )
    content = read_object(path)
    block = content.get("resblock", "1")
    if str(block) not in _BLOCKS:
        raise InvalidFileError(f'{path}: resblock = {shorten_repr(block)} should be "1" or "2"')
    if content.get("win_size", content.get("n_fft")) != content.get("n_fft"):
        raise InvalidFileError(
            f"{path}: win_size = {shorten_repr(content['win_size'])} should be n_fft = "
            f"{shorten_repr(content.get('n_fft'))}: frames are as long as their windows here"
        )
    values = take_sizes(content, path)
    for theirs, (ours, otherwise) in _SWITCHES.items():
        values[ours] = content.get(theirs, otherwise)
    values |= {"block": _BLOCKS[str(block)], "held": 0, "periods": [], "resolutions": []}
    config = build(BigVGANConfig, values, where=str(path))
    state = {}
    for name, value in published.generator.items():
        if not name.endswith(_FILTERS):
            state[rename(name)] = value
        elif value.shape != (wanted := make_filter()).shape or not torch.allclose(value.float(), wanted, atol=1e-5):
            raise InvalidFileError(f"{published.path}: {shorten(name)} is another filter than BigVGAN's")
    return Converted(
        modality="music",
        architecture="bigvgan",
        config=asdict(config),
        states={"generator": {**make_spectrograms(config), **parametrize(state)}},
    )


FAMILY = Family(
    name="BigVGAN of its authors' release",
    recognizes=recognize,
    convert=convert,
    signs="activation_post.act, conv_pre, ups, resblocks",
)
