"""Snapshots of other trainers: read as data, never run, and no more of them than is wanted."""

from __future__ import annotations

import collections
import io
import pickle
import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hanging import must_end
from helpers.memory import limited_memory
from helpers.properties import examples
from torch import nn

from zoo.errors import InvalidFileError
from zoo.io import snapshot as module
from zoo.io.snapshot import is_snapshot, read_snapshot

GOLDEN = Path(__file__).parents[1] / "golden" / "stylegan2-32-uncond" / "network-snapshot.pkl"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, nn.Module, dict[str, Any]], object]:
    """A function that makes what a trainer pickles of a network, with its source; the trainer exists here alone."""

    class EasyDict(dict):
        pass

    def reconstruct(meta: dict[str, Any]) -> None:
        pytest.fail("the snapshot was run")

    class Persistent:
        def __init__(self, class_name: str, network: nn.Module, arguments: dict[str, Any]) -> None:
            self.class_name, self.network, self.arguments = class_name, network, arguments

        def __reduce__(self) -> tuple[object, ...]:
            state = {**self.network.__dict__, "_init_args": (), "_init_kwargs": EasyDict(self.arguments)}
            state["_modules"] = {name: Persistent("Layer", inner, {}) for name, inner in state["_modules"].items()}
            source = "raise SystemExit\n" * 1000
            facts = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name}
            return reconstruct, (EasyDict({**facts, "state": state}),)

    reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
    reconstruct.__name__ = "_reconstruct_persistent_obj"
    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    for name, content in (
        ("torch_utils", {}),
        ("torch_utils.persistence", {"_reconstruct_persistent_obj": reconstruct}),
        ("dnnlib", {}),
        ("dnnlib.util", {"EasyDict": EasyDict}),
    ):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules[name].__dict__.update(content)
    return Persistent


class Net(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(size, size), nn.Linear(size, 1, bias=False)
        self.register_buffer("w_avg", torch.zeros(size))
        self.register_buffer("hidden", torch.ones(3), persistent=False)


@pytest.mark.parametrize("size", [4, 300], ids=["small", "large"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_networks_come_back_as_they_were(trainer, tmp_path: Path, protocol: int, size: int):
    """Every persistent tensor, by its name, with the arguments of the class; of the wanted networks alone."""
    networks = {name: Net(size) for name in ("G", "D", "G_ema")}
    content: dict[str, object] = {
        name: trainer(name, network, {"z_dim": size, "kwargs": {"lr": np.float64(0.5), "up": [1, 2]}})
        for name, network in networks.items()
    }
    content["training_set_kwargs"] = {"path": "/data", "max_size": np.int64(7)}
    path = tmp_path / "network-snapshot-000100.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))

    found = read_snapshot(path)

    assert is_snapshot(path)
    assert set(found) == {"G_ema", "D"}
    for name, network in found.items():
        assert (network.class_name, network.module) == (name, "")
        assert network.arguments["z_dim"] == size
        assert network.arguments["kwargs"]["up"] == [1, 2]
        expected = networks[name].state_dict()
        assert network.state.keys() == expected.keys()
        assert all(torch.equal(network.state[key], value) for key, value in expected.items())


def test_a_published_snapshot_is_read():
    """A file as the trainer writes it: the averaged generator, the discriminator, and their sizes."""
    found = read_snapshot(GOLDEN)

    assert sum(value.numel() for key, value in found["G_ema"].state.items() if "filter" not in key) > 66_000
    assert found["G_ema"].arguments["synthesis_kwargs"] == {"channel_base": 512, "channel_max": 32}
    assert found["D"].class_name == "Discriminator"
    assert read_snapshot(GOLDEN, ["G"])["G"].state["mapping.fc0.bias"].shape == (32,)
    assert read_snapshot(GOLDEN, ["augment_pipe", "nothing"]) == {}


def test_unwanted_networks_are_not_read(trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Large arrays are skipped where they lie: reading D costs neither the time nor the memory of G."""
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G": trainer("G", Net(1500), {}), "D": trainer("D", Net(4), {})}, protocol=4))
    read: list[int] = []
    opened = Path.open

    def count(self: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(self, *arguments, **options)
        if self == path:
            inner = file.read
            file = types.SimpleNamespace(
                read=lambda n=-1: read.append(n) or inner(n), readline=file.readline, seek=file.seek, tell=file.tell,
                __enter__=lambda: file, __exit__=lambda *_: None,
            )  # fmt: skip
            return _Context(file)
        return file

    monkeypatch.setattr(Path, "open", count)

    found = read_snapshot(path, ["D"])

    assert found["D"].state["first.weight"].shape == (4, 4)
    assert sum(read) < 200_000 < path.stat().st_size


class _Context:
    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: object) -> None:
        pass


class Evil:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


HOSTILE: dict[str, Callable[[], bytes]] = {
    "runs code": lambda: pickle.dumps({"G_ema": Evil(print, ("run",))}),
    "opens a file": lambda: pickle.dumps({"G_ema": Evil(open, ("/etc/passwd",))}),
    "a class of ours": lambda: pickle.dumps({"G_ema": collections.Counter("abc")}),
    "a list": lambda: pickle.dumps([1, 2]),
    "claims 4 GB of text": lambda: b"\x80\x04}X\xff\xff\xff\xff",
    "claims 4 GB of numbers": lambda: b"\x80\x03}B\xff\xff\xff\xff",
    "half a file": lambda: GOLDEN.read_bytes()[:400_000],
    "an old torch file": lambda: _save_old({"a": torch.zeros(3)}),
}


def _save_old(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_snapshot_is_refused(make: Callable[[], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Whatever a file asks for or claims, it ends in one line, and nothing of it runs."""
    path = tmp_path / "a.pkl"
    path.write_bytes(make())

    with must_end(), limited_memory(), pytest.raises(InvalidFileError, match=r"a\.pkl: not a snapshot") as caught:
        read_snapshot(path)

    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_layers_at_two_places_are_refused(trainer, tmp_path: Path):
    """Forty layers that each hold the next one twice would be a million million tensors."""

    class Twice:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __reduce__(self) -> Any:
            facts = {"class_name": "L", "state": {"_modules": {"a": self.inner, "b": self.inner}}}
            return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (facts,)

    deep: object = trainer("L", Net(2), {})
    for _ in range(40):
        deep = Twice(deep)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G_ema": deep}))

    with must_end(), pytest.raises(InvalidFileError, match="one at two places"):
        read_snapshot(path)


def test_changed_snapshots_are_read_or_refused(tmp_path: Path):
    """Bytes changed at random, cut and doubled: networks of the right kind, or one error of this library."""
    whole, path = GOLDEN.read_bytes(), tmp_path / "a.pkl"
    for seed in range(examples(60)):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(bytes(data))
        with must_end(), limited_memory():
            try:
                found = read_snapshot(path)
            except InvalidFileError:
                continue
        assert all(isinstance(value, torch.Tensor) for network in found.values() for value in network.state.values())


def test_a_file_of_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its size is looked at before anything is read."""
    monkeypatch.setattr(module, "MAX_BYTES", 1000)

    with pytest.raises(InvalidFileError, match="larger than"):
        read_snapshot(GOLDEN)
