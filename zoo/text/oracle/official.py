"""The SeqGAN paper's oracle parameters, read from a pickle of NumPy arrays without running its code.

The pickle may use only the names that NumPy's arrays need. The arrays are then made here, from bytes that must fill
their shape.

The file is a list of 15 float32 arrays, in the row-vector convention x @ W:

    embedding [5000, 32]; input gate W, U [32, 32], b [32]; forget gate; output gate; cell; output [32, 5000], [5000]
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import InvalidFileError, shorten_repr
from zoo.io.atomic import replace_atomically
from zoo.io.pickle_reader import Name, Reader, Record
from zoo.io.weights import write_weights
from zoo.text.oracle.model import DIM, VOCABULARY

MAX_BYTES = 32 << 20  # the official files have 1.3 MB (protocol 2) and 3.7 MB (protocol 0)

_GATE = ((DIM, DIM), (DIM, DIM), (DIM,))
_SHAPES = [(VOCABULARY, DIM), *_GATE, *_GATE, *_GATE, *_GATE, (DIM, VOCABULARY), (VOCABULARY,)]

_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",  # NumPy 2
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",  # how Python 3 writes bytes in protocol 2
}


def convert(source: Path, out: Path) -> None:
    """Convert the oracle parameters in the official file `source` to safetensors in `out`, for `load_oracle`.

    Raises InvalidFileError where `source` is anything else, WriteError.
    """
    state = read_official(source)
    with replace_atomically(out) as temporary:
        write_weights(state, temporary)


def is_official(path: Path) -> bool:
    """Tell whether a file begins as the official one does: a pickle of a list, which no file of a network is."""
    with path.open("rb") as file:
        start = file.read(12)
    if start[:1] != b"\x80":  # which begins all protocols but the first
        return start.startswith(b"(l")
    return (start[11:] if start[2:3] == b"\x95" else start[2:3]) == b"]"  # after a frame's length, if there is one


def read_official(path: Path) -> dict[str, Tensor]:
    """Read the state of an `Oracle` from the official file. Raises InvalidFileError where it is anything else."""
    arrays = _read_arrays(path)
    if not all(np.isfinite(array).all() for array in arrays):
        raise InvalidFileError(f"{path}: not the oracle's parameters: a number is not finite")
    embedding, *gates, output_weight, output_bias = arrays
    order = [gates[0:3], gates[3:6], gates[9:12], gates[6:9]]  # the file has input, forget, output, cell
    return {
        "embedding": torch.from_numpy(embedding),
        "input_weight": torch.from_numpy(np.concatenate([weight for weight, _, _ in order], axis=1)),
        "hidden_weight": torch.from_numpy(np.concatenate([weight for _, weight, _ in order], axis=1)),
        "bias": torch.from_numpy(np.concatenate([bias for _, _, bias in order])),
        "output_weight": torch.from_numpy(output_weight),
        "output_bias": torch.from_numpy(output_bias),
    }


def _read_arrays(path: Path) -> list[np.ndarray]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidFileError(f"{path}: larger than the oracle's parameters; refused")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    try:
        found = Reader(io.BytesIO(data), _NAMES, _make, what="array", encoding="latin1").load()
        if not isinstance(found, list) or not all(isinstance(part, _Array) for part in found):
            raise InvalidFileError("it holds something other than a list of arrays")
        shapes = [part.shape for part in found[: len(_SHAPES) + 1]]
        if shapes != _SHAPES:  # before any array is made: many may share their bytes
            raise InvalidFileError(f"15 arrays of {_SHAPES} were expected; got {shorten_repr(shapes)}")
        return [part.to_numpy() for part in found]
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: not the oracle's parameters: {error}; refused") from error
    except Exception as error:  # a broken program can fail in any way
        raise InvalidFileError(
            f"{path}: not the oracle's parameters, or damaged ({type(error).__name__}); refused"
        ) from error


def _make(name: str, args: tuple[Any, ...]) -> Any:
    match name, args:
        case "reconstruct", (Name(name="ndarray"), *_):
            return _Array()
        case "dtype", (str(kind), *_):
            return _DType(kind)
        case "encode", (str(text), "latin1"):
            return text  # `_Array.to_numpy` encodes it: a short program could ask for the same long text many times
    raise InvalidFileError(f"it calls {name} as no array does")


class _DType(Record):
    """The kind of an array's numbers."""

    __slots__ = ("code",)

    def __init__(self, kind: str) -> None:
        if kind not in ("f4", "f8"):
            raise InvalidFileError(f"it has an array of {shorten_repr(kind)}, not of floats")
        self.code = f"<{kind}"

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), "<" | ">" | "=" as byte_order, None, None, None, *_):
                self.code = self.code.replace("<", byte_order)
            case _:
                raise InvalidFileError("it has an array of another kind than floats")


class _Array(Record):
    """An array: its shape, kind and bytes."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def shape(self) -> Any:
        """The second part of the state, or None where it has none."""
        match self.state:
            case (_, shape, *_):
                return shape
        return None

    def to_numpy(self) -> np.ndarray:
        """Convert to float32. Raises InvalidFileError unless the bytes fill the shape exactly."""
        match self.state:
            case (int(), tuple(shape), _DType(code=code), bool() | int() as column_major, bytes() | str() as raw):
                data = raw.encode("latin1") if isinstance(raw, str) else raw
                array = np.frombuffer(data, dtype=code)
                if not all(isinstance(side, int) and side > 0 for side in shape):
                    raise InvalidFileError("it has an array whose shape is not of whole numbers")
                array = array.reshape(shape, order="F" if column_major else "C")
                return np.array(array, dtype=np.float32, order="C")
        raise InvalidFileError("it has an array without its contents")
