"""Vocos of its authors' library: a file of tensors, and a config.yaml beside it.

It reads vocoders of spectrograms (`charactr/vocos-mel-24khz`, `BSC-LT/vocos-mel-22khz`) and of EnCodec's codes
(`charactr/vocos-encodec-24khz`). The names of the tensors are ours. The config names classes, of which none is
imported: their arguments are values of ours. Where there is no config, the mel filters in the file tell which of the
published vocoders it is. They are compared with ours in any case, because bands of another scale have the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.convert.published import Converted, Family, Published
from zoo.errors import InvalidFileError, shorten, shorten_repr
from zoo.music.architectures.vocos import ENTRIES, VocosConfig
from zoo.music.mel import hann_window, make_mel_filters
from zoo.music.vocoder import make_spectrograms
from zoo.recipe import build

MAX_CONFIG_BYTES = 1 << 16

_CPU = torch.device("cpu")
_CODEBOOKS = "feature_extractor.codebook_weights"
_FILTERS = "feature_extractor.mel_spec.mel_scale.fb"
_WINDOWS = ("feature_extractor.mel_spec.spectrogram.window", "head.istft.window")
_LEFT_OUT = (_FILTERS, *_WINDOWS)
_NOT_OURS = "feature_extractor.encodec."  # EnCodec itself, in files of a training

_KEYS = {  # the arguments of the config's classes, and our keys
    "feature_extractor": {
        "sample_rate": "rate",
        "n_fft": "fft",
        "hop_length": "hop",
        "n_mels": "mels",
        "f_min": "low",
        "f_max": "high",
        "mel_scale": "mel_scale",
        "padding": "padding",
    },
    "backbone": {"input_channels": "mels", "dim": "width", "intermediate_dim": "inner_width", "num_layers": "layers"},
    "head": {"n_fft": "fft", "hop_length": "hop", "padding": "padding"},
}
_DEFAULTS = {"feature_extractor": {"padding": "center"}, "backbone": {}, "head": {"padding": "same"}}  # of the classes
_ENCODEC = "encodec_24khz"  # whose codes are known here

_PUBLISHED: tuple[dict[str, Any], ...] = (
    {},  # of 24 kHz, with the defaults of `VocosConfig`
    {"rate": 22050, "high": 8000.0, "mel_scale": "slaney", "equal_area": True, "padding": "same"},
)
_PUBLISHED_CODES = {"hop": 320, "padding": "same"}


def recognize(published: Published) -> bool:
    """Tell whether the tensors have the first and the last layer of Vocos."""
    return {"backbone.embed.weight", "head.out.weight"} <= published.generator.keys()


def convert(published: Published) -> Converted:
    """Take the tensors as they are, with the sizes that they and the config.yaml beside them show."""
    state = published.generator
    config = _find_config(state, published.path)
    _check_constants(state, config, published.path)
    kept = {name: value for name, value in state.items() if name not in _LEFT_OUT and not name.startswith(_NOT_OURS)}
    return Converted(
        modality="music",
        architecture="vocos",
        config=asdict(config),
        states={"generator": {**make_spectrograms(config), **kept}},
    )


def _find_config(state: Mapping[str, Tensor], path: Path) -> VocosConfig:
    """Find the config: the sizes of the tensors, with the rest from config.yaml, or from the published vocoders."""
    sizes = _read_sizes(state)
    file = path.with_name("config.yaml")
    if file.is_file():
        about = _read_config(file)
        differing = [key for key in sizes if about.get(key, sizes[key]) != sizes[key]]
        wrong = [f"{key} = {shorten_repr(about[key])} and not {sizes[key]}" for key in differing]
        if wrong:
            raise InvalidFileError(f"{file}: says {shorten(', '.join(wrong))}, which the tensors of {path.name} have")
        return _build({**about, **sizes}, file)
    if sizes["codebooks"]:
        return _build({**_PUBLISHED_CODES, **sizes}, path)
    for known in _PUBLISHED:
        config = _build({**known, **sizes}, path)
        if config.fft == VocosConfig.fft and _has_filters(state, config):
            return config
    raise InvalidFileError(
        f"{path}: Vocos, of spectrograms that the file does not tell: put the config.yaml of the release beside it"
    )


def _build(values: Mapping[str, Any], where: Path) -> VocosConfig:
    values = {**values, "held": 0, "periods": [], "resolutions": []}
    hop, fft = values.get("hop", VocosConfig.hop), values["fft"]
    if type(hop) is int and hop > 0:  # any length of training sounds will do, but it should fit
        values["length"] = hop * (max(VocosConfig.length, fft) // hop + 1)
    return build(VocosConfig, values, where=str(where))


def _read_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the sizes that the tensors show."""
    width, mels, _ = state["backbone.embed.weight"].shape
    return {
        "mels": mels,
        "width": width,
        "inner_width": state["backbone.convnext.0.pwconv1.weight"].shape[0],
        "layers": len({name.split(".")[2] for name in state if name.startswith("backbone.convnext.")}),
        "fft": state["head.out.weight"].shape[0] - 2,
        "codebooks": len(state[_CODEBOOKS]) // ENTRIES if _CODEBOOKS in state else 0,
    }


def _read_config(path: Path) -> dict[str, Any]:
    """Read our values from a config.yaml. Classes that it names are not imported. Raises InvalidFileError."""
    import yaml

    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidFileError(f"{path}: larger than any config of a vocoder; refused")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        if isinstance(error, InvalidFileError):
            raise
        raise InvalidFileError(f"{path}: cannot read: {shorten(' '.join(str(error).split()), 200)}") from error
    about: dict[str, Any] = {}
    for part, keys in _KEYS.items():
        arguments = content.get(part, {}).get("init_args", {}) if _is_nested(content, part) else None
        if not isinstance(arguments, dict):
            raise InvalidFileError(f"{path}: {part} should have a table init_args, as the authors' library writes it")
        defaults = {} if "encodec_model" in arguments else _DEFAULTS[part]
        for name, key in keys.items():
            value = arguments.get(name, defaults.get(name))
            if value is None:
                continue
            if not isinstance(value, int | float | str):  # lists of lists of one list would take forever to print
                raise InvalidFileError(f"{path}: {name} of {part} should be a number or a text")
            if key in about and about[key] != value:
                raise InvalidFileError(
                    f"{path}: two values of {name}: {shorten_repr(about[key])} and {shorten_repr(value)}"
                )
            about[key] = value
        if part == "feature_extractor":
            norm = arguments.get("norm")
            if norm not in (None, "slaney"):
                raise InvalidFileError(f'{path}: norm should be "slaney" or null')
            if arguments.get("encodec_model", _ENCODEC) != _ENCODEC:
                raise InvalidFileError(
                    f"{path}: encodec_model should be {_ENCODEC}; codes of others are not known here"
                )
            about["equal_area"] = norm == "slaney"
    return about


def _is_nested(content: Any, part: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(part, {}), dict)


def _check_constants(state: Mapping[str, Tensor], config: VocosConfig, path: Path) -> None:
    """Compare windows and mel filters with ours. Raises InvalidFileError, as other sound would come of them."""
    for name in _WINDOWS:
        if name in state and not _are_close(state[name], hann_window(config.fft, _CPU)):
            raise InvalidFileError(f"{path}: {name} should be a Hann window of {config.fft} samples")
    if _FILTERS in state and not _has_filters(state, config):
        raise InvalidFileError(
            f"{path}: its mel filters are not those of its config: {shorten(config.mel.describe(), 200)}"
        )


def _has_filters(state: Mapping[str, Tensor], config: VocosConfig) -> bool:
    return _FILTERS in state and _are_close(state[_FILTERS], make_mel_filters(config.mel, _CPU).T)


def _are_close(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.shape == ours.shape and torch.allclose(theirs.float(), ours, rtol=0, atol=1e-5)


FAMILY = Family(
    name="Vocos of its authors' library",
    recognizes=recognize,
    convert=convert,
    signs="backbone.embed, backbone.convnext, head.out",
)
