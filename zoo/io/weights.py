"""Weight files, and the checks that make it safe to open those of others: digests, headers, a strict load.

Nothing here unpickles: weights are safetensors.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.errors import InvalidFileError, shorten_repr
from zoo.io.atomic import replace_atomically

SUMS = "SHA256SUMS"
BUNDLED = Path(__file__).parents[1] / "weights"
_DIGESTED = (".safetensors", ".json", ".toml")
MAX_SUMS_BYTES = 1 << 20
MAX_SUMS_LINES = 4096  # a release has some dozens of files
MAX_NAME = 255  # characters of a path in a release; each of its parts is looked up on the disk

_DTYPES = {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "BOOL": torch.bool}


def digest(path: Path) -> str:
    """Compute the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path, sha256: Mapping[str, str], *, names: Collection[str] | None = None) -> int:
    """Check `folder` against its SHA256SUMS and the trusted digests `sha256`; return the number of files checked.

    Args:
        names: the files to check; if None, all that have a digest.

    Raises InvalidFileError, naming the first file that is missing, has other bytes, or has no digest: where there is a
    list, a weight file or what describes it must be on it.
    """
    listed = read_sums(folder)
    if (folder / SUMS).is_file():
        there = {path.name for path in folder.iterdir() if path.suffix in _DIGESTED}
        if unlisted := (there if names is None else there.intersection(names)) - listed.keys():
            raise InvalidFileError(f"{folder / min(unlisted)}: not in {SUMS}, which was cut or changed; get it again")
    stated = {name: (value, SUMS) for name, value in listed.items()}
    trusted = {name: (value, "the recipe's digest") for name, value in sha256.items()}
    checked = set()
    for name, (value, source) in [*stated.items(), *trusted.items()]:
        if names is not None and name not in names:
            continue
        path = resolve_inside(folder, name)
        if not path.is_file():
            raise InvalidFileError(f"{path}: missing, but {source} lists it")
        if digest(path) != value:
            raise InvalidFileError(
                f"{path}: sha256 differs from {source}: the file is corrupt or was changed; get it again"
            )
        checked.add(name)
    return len(checked)


def resolve_inside(folder: Path, name: str) -> Path:
    """Return `folder / name` if it is in the folder, links followed. Raises InvalidFileError where it leads out.

    The files of a snapshot in the Hub's cache are links to the blobs of its repository, or through these to blobs that
    repositories share. Both count as inside.
    """
    path, homes = folder / name, [folder]
    if is_in_hub_cache(folder):
        parents = folder.absolute().parents
        homes += [parents[1] / "blobs", parents[2] / "blobs"]
    try:
        target = path.resolve()
        within = path.is_relative_to(folder) and any(target.is_relative_to(home.resolve()) for home in homes)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        within = False
    if not within or ".." in Path(name).parts:
        raise InvalidFileError(f"{folder}: {shorten_repr(name)} leads out of the folder; refused")
    return path


def is_in_hub_cache(folder: Path) -> bool:
    """Tell whether a folder is in the Hub's cache: models--OWNER--NAME/snapshots/COMMIT."""
    place = folder.absolute()
    return place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--")


def read_sums(folder: Path) -> dict[str, str]:
    """Read the digests in the folder's SHA256SUMS, by file name; an empty dictionary where it has no such file.

    Raises InvalidFileError for anything else than at most 4096 lines of a digest, two spaces, and a path of at most 255
    characters that leads to a place in the folder.
    """
    path = resolve_inside(folder, SUMS)
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SUMS_BYTES + 1)
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    lines = content.decode(errors="replace").splitlines()
    if len(content) > MAX_SUMS_BYTES or len(lines) > MAX_SUMS_LINES:
        raise InvalidFileError(f"{path}: larger than any list of digests; refused")
    sums = {}
    for line in lines:
        value, separator, name = line.partition("  ")
        is_name = name.isprintable() and len(name) <= MAX_NAME
        if not separator or not re.fullmatch("[0-9a-f]{64}", value) or not is_name:
            raise InvalidFileError(f"{path}: not a list of sha256 digests: {shorten_repr(line)}")
        resolve_inside(folder, name)
        sums[name] = value
    return sums


def max_bytes(expected: Mapping[str, Tensor]) -> int:
    """Compute the most bytes that a weight file of this state can have: its tensors and a generous header."""
    return 8 + _max_header(expected) + sum(tensor.numel() * tensor.element_size() for tensor in expected.values())


def _max_header(expected: Mapping[str, Tensor]) -> int:
    return 65_536 + 1024 * len(expected)


def check_weights(path: Path, expected: Mapping[str, Tensor], architecture: str) -> None:
    """Compare a file's header with a network's state. No tensor is read.

    Raises InvalidFileError, naming what differs.
    """
    if not path.is_file():
        raise InvalidFileError(f"{path}: missing; {architecture} has this network")
    if path.stat().st_size > max_bytes(expected):
        raise InvalidFileError(f"{path}: larger than the tensors of {architecture}; refused")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _max_header(expected):
        raise InvalidFileError(f"{path}: not a whole safetensors file: its header claims {header:,} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            shapes = {key: tuple(part.get_shape()) for key, part in found.items()}
            dtypes = {key: _DTYPES.get(part.get_dtype()) for key, part in found.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise InvalidFileError(f"{path}: not a whole safetensors file: {error}") from error
    if missing := expected.keys() - shapes.keys():
        raise InvalidFileError(f"{path}: not weights of {architecture}: lacks {_list_some(missing)}")
    if unknown := shapes.keys() - expected.keys():
        raise InvalidFileError(f"{path}: not weights of {architecture}: has unknown {_list_some(unknown)}")
    for key, tensor in expected.items():
        if shapes[key] != tuple(tensor.shape):
            raise InvalidFileError(
                f"{path}: not weights of this {architecture}: {key} has shape {list(shapes[key])}, "
                f"config.json asks for {list(tensor.shape)}"
            )
        is_float16 = tensor.dtype == torch.float32 and dtypes[key] == torch.float16  # as `to_float16` stores it
        if dtypes[key] != tensor.dtype and not is_float16:
            raise InvalidFileError(f"{path}: {key} has dtype {dtypes[key]}, not {tensor.dtype}")


def load_weights(path: Path, network: nn.Module) -> None:
    """Load every tensor of a file that `check_weights` accepted into `network`.

    Raises InvalidFileError where a number is not finite. `network` must not be used then.
    """
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    network.load_state_dict(state, strict=True)
    for key, tensor in network.state_dict().items():
        if not math.isfinite(tensor.sum()):  # any NaN or infinity shows in the sum, in a tenth of the time
            raise InvalidFileError(f"{path}: {key} is not finite; refused")


def write_sums(folder: Path) -> None:
    """Write the SHA256SUMS of all files in `folder`. What is listed is published, so the folder holds nothing else."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    _write_sums(folder, {path.relative_to(folder).as_posix(): digest(path) for path in files})


def add_sum(folder: Path, name: str) -> None:
    """Write the digest of one file, new or changed, into the SHA256SUMS of `folder`, where other files may be, too.

    Raises InvalidFileError.
    """
    _write_sums(folder, read_sums(folder) | {name: digest(folder / name)})


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    lines = (f"{sums[name]}  {name}\n" for name in sorted(sums))
    with replace_atomically(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _list_some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def to_float16(network: nn.Module) -> dict[str, Tensor]:
    """Return the network's state with matrices and kernels in float16."""
    return {
        key: value.half() if value.is_floating_point() and value.dim() > 1 else value
        for key, value in network.state_dict().items()
    }


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state as safetensors, readable by everybody who may read its folder."""
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes it readable by its owner alone
