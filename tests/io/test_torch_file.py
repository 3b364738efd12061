"""Files of `torch.save` are read, and their pickles never run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import InvalidFileError
from zoo.io import torch_file
from zoo.io.torch_file import read_torch_file


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("old", [False, True])
def test_pickles_that_ask_for_more_than_tensors_run_nothing(tmp_path: Path, old: bool):
    """A program in place of a tensor is refused before it runs."""
    evil = {"generator": {"conv_pre.weight": Evil(tmp_path / "ran")}}
    torch.save(evil, tmp_path / "evil.pth", _use_new_zipfile_serialization=not old)

    with pytest.raises(InvalidFileError, match="no tensor needs"):
        read_torch_file(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("damage", ["not a zip", "bare pickle", "cut", "no storage"])
def test_files_that_are_none_are_refused(tmp_path: Path, damage: str, old: bool):
    """Any other file than one of tensors, of either format of torch, is one clear error."""
    path = tmp_path / "g.pth"
    torch.save({"a": torch.arange(5.0)}, path, _use_new_zipfile_serialization=not old)
    if damage == "not a zip":
        path.write_bytes(b"hello")
    elif damage == "bare pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif damage == "cut" or old:
        path.write_bytes(path.read_bytes()[: -8 if old else -200])
    else:
        with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "cut.pth", "w") as cut:
            for name in whole.namelist():
                data = whole.read(name)
                cut.writestr(name, data[:8] if "/data/" in name else data)
        path = tmp_path / "cut.pth"

    with pytest.raises(InvalidFileError):
        read_torch_file(path)


@pytest.mark.parametrize("old", [False, True])
def test_tensors_come_as_they_were_saved(tmp_path: Path, old: bool):
    """Views, parameters, numbers of several kinds and nested dictionaries are read as torch reads them."""
    base = torch.arange(24.0).reshape(4, 6)
    saved = {
        "whole": base, "view": base.T[1:3], "one": base[2, 3], "half": base.half(), "long": base.long(),
        "inner": {"parameter": nn.Parameter(base[:, 2])}, "steps": 7, "rate": 0.5, "name": "v1",
    }  # fmt: skip
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)

    found = read_torch_file(tmp_path / "a.pth")

    for name in ("whole", "view", "one", "half", "long"):
        torch.testing.assert_close(found[name], saved[name])
    torch.testing.assert_close(found["inner"]["parameter"], base[:, 2])
    assert (found["steps"], found["rate"], found["name"]) == (7, 0.5, "v1")


class View:
    """A tensor with this view of a storage of six numbers, whether the storage is large enough or not."""

    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        storage = torch.arange(6.0).untyped_storage()
        typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
        self.arguments = (typed, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[object, tuple[Any, ...]]:
        return torch._utils._rebuild_tensor_v2, self.arguments


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "view",
    [(0, (1000,), (1,)), (100, (2,), (1,)), (0, (1 << 34,), (1,)), (0, (1 << 34,), (0,)), (0, (3,), (-1,))],
    ids=["too many", "too far", "huge", "huge by repetition", "backwards"],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, old: bool, view: tuple[int, tuple[int, ...], tuple[int, ...]]
):
    """No number outside of the file is read, and a small file cannot take much memory."""
    torch.save({"a": View(*view)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)

    with pytest.raises(InvalidFileError, match="not a file of tensors"):
        read_torch_file(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.empty(3, device="meta"), torch.Size, {1}, b"bytes"],
    ids=["sparse", "without numbers", "type", "set", "bytes"],
)
def test_other_things_than_plain_tensors_are_refused(tmp_path: Path, tensor: object):
    torch.save({"a": tensor}, tmp_path / "a.pth")

    with pytest.raises(InvalidFileError, match="not a file of tensors"):
        read_torch_file(tmp_path / "a.pth")


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file is refused for its size, and an archive for its unpacked size, its pickle or its number of members."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(100_000)}, path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    path, small = tmp_path / "b.pth", (tmp_path / "b.pth").stat().st_size
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("the file was read"))

    for limit, value, message in (
        ("MAX_BYTES", small - 1, "larger than any file"),
        ("MAX_BYTES", 200_000, "unpacks to more"),
        ("MAX_MEMBERS", 2, "unpacks to more"),
        ("MAX_PICKLE_BYTES", 10, "its data.pkl is larger"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(torch_file, limit, value)
            with pytest.raises(InvalidFileError, match=message):
                read_torch_file(path)
