"""Weights as files, and what makes it safe to open those of others: digests, headers read before tensors, strictness.

Nothing here unpickles: weights are safetensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import BadFile

Network = TypeVar("Network", bound=nn.Module)

SUMS = "SHA256SUMS"
MAX_SUMS_BYTES = 1 << 20

_DTYPES = {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "BOOL": torch.bool}


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path, sha256: Mapping[str, str], *, names: Collection[str] | None = None) -> int:
    """Check `folder` against its SHA256SUMS and the trusted digests `sha256`; returns the number of files checked.

    Args:
        names: the files to check; all that have a digest if None.

    Raises BadFile naming the first file that is missing or has other bytes.
    """
    stated = {name: (value, SUMS) for name, value in read_sums(folder).items()}
    trusted = {name: (value, "the recipe's digest") for name, value in sha256.items()}
    checked = set()
    for name, (value, source) in [*stated.items(), *trusted.items()]:
        if names is not None and name not in names:
            continue
        path = inside(folder, name)
        if not path.is_file():
            raise BadFile(f"{path}: missing, but {source} lists it")
        if digest(path) != value:
            raise BadFile(f"{path}: sha256 differs from {source}: the file is corrupt or was changed; get it again")
        checked.add(name)
    return len(checked)


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, if that is in the folder, links followed. Raises BadFile where it leads out.

    A snapshot of the Hub's cache is made of links to its repository's blobs, or by those to blobs that repositories
    share; they count as inside.
    """
    path, homes = folder / name, [folder]
    if folder.parent.name == "snapshots":
        homes += [folder.parents[1] / "blobs", folder.parents[2] / "blobs"]
    try:
        target = path.resolve()
        within = path.is_relative_to(folder) and any(target.is_relative_to(home.resolve()) for home in homes)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name no file can have
        within = False
    if not within or ".." in Path(name).parts:
        raise BadFile(f"{folder}: {name!r} leads out of the folder; refused")
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """The digests that the folder's SHA256SUMS states, by file name; none where it has no such file."""
    path = inside(folder, SUMS)
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_SUMS_BYTES:
        raise BadFile(f"{path}: larger than any list of digests; refused")
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        value, separator, name = line.partition("  ")
        if not separator or not re.fullmatch("[0-9a-f]{64}", value) or not name.isprintable():
            raise BadFile(f"{path}: not a list of sha256 digests: {line[:80]!r}")
        inside(folder, name)
        sums[name] = value
    return sums


def max_bytes(expected: Mapping[str, Tensor]) -> int:
    """The most bytes that a weight file of this state can have: its tensors, and a generous header."""
    return 8 + _max_header(expected) + sum(tensor.numel() * tensor.element_size() for tensor in expected.values())


def _max_header(expected: Mapping[str, Tensor]) -> int:
    return 65_536 + 1024 * len(expected)


def check_weights(path: Path, expected: Mapping[str, Tensor], architecture: str) -> None:
    """Compare a file's header with a player's state, reading no tensor. Raises BadFile, naming what differs."""
    if not path.is_file():
        raise BadFile(f"{path}: missing; {architecture} has this player")
    if path.stat().st_size > max_bytes(expected):
        raise BadFile(f"{path}: larger than the tensors of {architecture}; refused")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _max_header(expected):
        raise BadFile(f"{path}: not a whole safetensors file: its header claims {header:,} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            shapes = {key: tuple(part.get_shape()) for key, part in found.items()}
            dtypes = {key: _DTYPES.get(part.get_dtype()) for key, part in found.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadFile(f"{path}: not a whole safetensors file: {error}") from error
    if missing := expected.keys() - shapes.keys():
        raise BadFile(f"{path}: not weights of {architecture}: lacks {_some(missing)}")
    if unknown := shapes.keys() - expected.keys():
        raise BadFile(f"{path}: not weights of {architecture}: has unknown {_some(unknown)}")
    for key, tensor in expected.items():
        if shapes[key] != tuple(tensor.shape):
            raise BadFile(
                f"{path}: not weights of this {architecture}: {key} has shape {list(shapes[key])}, "
                f"config.json asks for {list(tensor.shape)}"
            )
        halved = tensor.dtype == torch.float32 and dtypes[key] == torch.float16
        if dtypes[key] != tensor.dtype and not halved:
            raise BadFile(f"{path}: {key} has dtype {dtypes[key]}, not {tensor.dtype}")


def load_weights(path: Path, player: nn.Module) -> None:
    """Load a file that `check_weights` passed into `player`, all of it.

    Raises BadFile where a number is not finite; `player` is not to be used then.
    """
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    player.load_state_dict(state, strict=True)
    for key, tensor in player.state_dict().items():
        if not math.isfinite(tensor.sum()):  # a NaN or infinity anywhere shows in the sum, at a tenth of the time
            raise BadFile(f"{path}: {key} is not finite; refused")


class Undrawn(TorchFunctionMode):
    """Builds modules without drawing their first random weights, for those that will be loaded over them anyway.

    The initialisers that build on others still draw, as some draw until all values are within bounds. When it ends,
    torch's generator is as it was.
    """

    def __enter__(self) -> Self:
        self._drawn_so_far = torch.get_rng_state()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_rng_state(self._drawn_so_far)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func in (Tensor.normal_, Tensor.uniform_) and args[0].device.type != "cpu":
            return args[0]
        return func(*args, **kwargs)


def write_sums(folder: Path) -> None:
    """Write the SHA256SUMS of all files in `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    sums = "".join(f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    (folder / SUMS).write_text(sums, encoding="utf-8")


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def halved(player: nn.Module) -> dict[str, Tensor]:
    """The player's state with matrices and kernels in float16."""
    return {
        key: value.half() if value.is_floating_point() and value.dim() > 1 else value
        for key, value in player.state_dict().items()
    }


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a state as safetensors, readable by whoever may read its folder."""
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the package writes for the owner alone


def write_network(model: nn.Module, folder: Path, config: Mapping[str, Any], card: str) -> None:
    """Write a network that judges, such as an evaluator of faces, into `folder`.

    evaluator.safetensors (float16 matrices), config.json, the card, and the digests of all files there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(halved(model), folder / "evaluator.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_sums(folder)


def read_network(folder: Path, build: Callable[[dict[str, Any]], Network], *, kind: str, absent: str) -> Network:
    """The network in `folder`, which `build` makes from its config.json, in evaluation mode.

    Raises BadFile where it is missing, for which `absent` says what to do, or damaged.
    """
    if not (folder / "config.json").is_file():
        raise BadFile(f"{folder}: {absent}")
    verify(folder, {})
    try:
        with Undrawn():
            model = build(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadFile(f"{folder}: its config.json is not a {kind}'s: {error}") from error
    check_weights(folder / "evaluator.safetensors", model.state_dict(), f"the {kind}")
    load_weights(folder / "evaluator.safetensors", model)
    return model.eval()
