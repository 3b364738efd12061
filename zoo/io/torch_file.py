"""Files of tensors that others published: of safetensors, or of `torch.save`.

`torch.load` reads the latter with `weights_only=True`, so no file can run code. Sizes are checked before anything is
read, since a file can claim to be far larger than it is.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import InvalidFileError

MAX_BYTES = 2 << 30
MAX_PICKLE_BYTES = 16 << 20
MAX_MEMBERS = 100_000  # of an archive: one a tensor and a few more

STATES = ("generator", "model_g", "model", "state_dict")  # the usual names of a state in a file that holds more
_DAMAGED = ", or damaged ({})"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state of a network from a file. A file of `torch.save` may hold it one level down, by a usual name.

    Raises InvalidFileError where the file is anything else.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise InvalidFileError(f"{path}: not a whole safetensors file: {error}") from error
    found = read_torch_file(path)
    found = next((found[key] for key in STATES if isinstance(found.get(key), dict)), found)
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InvalidFileError(
            f"{path}: no state of a network: it holds {', '.join(map(str, list(found)[:4])) or 'nothing'}"
        )
    return found


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read the dictionary in a file of `torch.save`. Its values are tensors, numbers, texts, or such dictionaries.

    Raises InvalidFileError where the file is anything else.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError("it is larger than any file that is read here")
        if zipfile.is_zipfile(path):
            _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of files that it then refuses
            found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise InvalidFileError("it holds something other than a dictionary")
        return _check_values(found)
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: not a file of tensors: {error}; refused") from error
    except Exception as error:  # a broken program can fail in any way
        asked = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        why = f": it asks for {asked[1]:.80}, which no tensor needs" if asked else _DAMAGED.format(type(error).__name__)
        raise InvalidFileError(f"{path}: not a file of tensors{why}; refused") from error


def _check_archive(path: Path) -> None:
    """Check the sizes that a zip archive claims. Raises InvalidFileError."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
        raise InvalidFileError("it unpacks to more than any file that is read here")
    if any(member.file_size > MAX_PICKLE_BYTES for member in members if member.filename.endswith(".pkl")):
        raise InvalidFileError("its data.pkl is larger than any description of tensors")


def _check_values(found: Any) -> Any:
    """Copy tensors, numbers, texts, and lists and dictionaries of these. Raises InvalidFileError for anything else."""
    if isinstance(found, Tensor):
        if found.layout is not torch.strided or found.device.type != "cpu" or found.is_quantized:
            raise InvalidFileError("it has a tensor of another kind than networks have")
        if found.numel() * found.element_size() > found.untyped_storage().nbytes():  # a copy would take that memory
            raise InvalidFileError("it has a tensor that reaches beyond its storage")
        return found.detach().clone()
    if isinstance(found, dict):
        return {key: _check_values(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_check_values(value) for value in found]
    if found is None or isinstance(found, str | int | float):
        return found
    raise InvalidFileError("it holds something other than tensors, numbers and texts")
