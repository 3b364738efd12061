"""Files of `torch.save` are read, and their pickles never run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hanging import must_end
from torch import nn

from zoo.errors import InvalidFileError
from zoo.io import pickle_reader, torch_file
from zoo.io.torch_file import read_tensors


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
        read_tensors(tmp_path / "evil.pth")
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
        read_tensors(path)


@pytest.mark.parametrize("old", [False, True])
def test_tensors_come_as_they_were_saved(tmp_path: Path, old: bool):
    """Views, parameters, empty tensors and all usual kinds of numbers are read as torch reads them."""
    base = torch.arange(24.0).reshape(4, 6)
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool]
    saved = {
        "whole": base, "view": base.T[1:3], "one": base[2, 3], "none": torch.empty(0, 3),
        "parameter": nn.Parameter(base[:, 2]), **{str(kind): base.to(kind) for kind in kinds},
    }  # fmt: skip
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)

    found = read_tensors(tmp_path / "a.pth")

    assert list(found) == list(saved)
    for name, value in saved.items():
        torch.testing.assert_close(found[name], value.data, rtol=0, atol=0)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("path", [(), ("generator",), ("state_dict",), ("model", "generator")], ids=str)
def test_a_state_is_found_by_its_usual_names(tmp_path: Path, path: tuple[str, ...], old: bool):
    """A state may be some levels down, beside steps, rates and the state of an optimizer, which are not read."""
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = network.state_dict()
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 1, 2])
    saved: dict[str, Any] = state
    for key in reversed(path):
        saved = {
            key: saved, "optim": optimizer.state_dict(), "schedule": schedule.state_dict(), "steps": 7, "rate": 0.5,
            "name": "v1", "shape": torch.Size([1]),
        }  # fmt: skip
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)

    found = read_tensors(tmp_path / "a.pth")

    assert list(found) == list(state)
    for name, value in state.items():
        torch.testing.assert_close(found[name], value)


def test_only_the_wanted_state_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a checkpoint with discriminators and optimizers, the numbers of the generator alone are read."""
    torch.save({"mpd": {"a": torch.zeros(99)}, "generator": {"b": torch.ones(3)}}, tmp_path / "a.pth")
    read: list[str] = []
    whole = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, member, *args: read.append(member) or whole(self, member, *args)
    )

    assert list(read_tensors(tmp_path / "a.pth")) == ["b"]
    names = [getattr(member, "filename", member) for member in read]
    assert [name for name in names if "/data/" in name] == ["a/data/1"]


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
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.empty(3, device="meta"), torch.Size, {1}, b"bytes"],
    ids=["sparse", "without numbers", "type", "set", "bytes"],
)
def test_other_things_than_plain_tensors_are_refused(tmp_path: Path, tensor: object):
    torch.save({"a": tensor}, tmp_path / "a.pth")

    with pytest.raises(InvalidFileError, match="not a file of tensors"):
        read_tensors(tmp_path / "a.pth")


def test_sizes_are_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file is refused for its size, and an archive for its list of members or its pickle."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(100_000)}, path)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *args: pytest.fail("a member was read"))
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("the file was read"))

    for limit, value, message in (
        ("MAX_BYTES", path.stat().st_size - 1, "the most that is read"),
        ("MAX_DIRECTORY_BYTES", 10, "too long a one"),
        ("MAX_PICKLE_BYTES", 10, r"its data\.pkl is larger"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(torch_file, limit, value)
            with pytest.raises(InvalidFileError, match=message):
                read_tensors(path)


def test_a_compressed_archive_is_refused(tmp_path: Path):
    """Zeros take a thousandth of their bytes when they are compressed. So a small file could fill the memory."""
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w") as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name), zipfile.ZIP_DEFLATED if "/data/" in name else zipfile.ZIP_STORED)

    with pytest.raises(InvalidFileError, match="it is compressed"):
        read_tensors(tmp_path / "b.pth")


@pytest.mark.parametrize("old", [False, True])
def test_many_views_of_few_numbers_are_refused(tmp_path: Path, old: bool):
    """A copy of each view would take far more memory than the file has bytes."""
    numbers = torch.zeros(10_000)
    state = {str(i): numbers[i : 9_000 + i] for i in range(100)}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)

    with pytest.raises(InvalidFileError, match="larger together than the file"):
        read_tensors(tmp_path / "a.pth")


def test_tied_weights_are_read_once(tmp_path: Path):
    """Many names of one tensor, and many equal views, take the memory of one."""
    numbers = torch.arange(10_000.0)
    torch.save({str(i): numbers.view(100, 100) for i in range(100)}, tmp_path / "a.pth")

    found = read_tensors(tmp_path / "a.pth")

    assert len({value.data_ptr() for value in found.values()}) == 1
    assert torch.equal(found["99"].flatten(), numbers)


def old_file(program: bytes) -> bytes:
    """A file of torch before version 1.6 with this program as its third pickle."""
    start = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*start, program, pickle.dumps([], protocol=2)])


TUPLES = b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60  # each holds the one before twice: 2^60 in all
LISTS = b"\x80\x02]q\x00" + b"](h\x00h\x00eq\x00" * 60
MODEL = b"}X\x05\x00\x00\x00model"
HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x0f\x85R."  # a call with 16 trillion as its argument

PROGRAMS = {
    "a list that holds itself twice": (b"\x80\x02]q\x00(h\x00h\x00e.", "something other than a dictionary"),
    "lists in lists": (LISTS + b".", "something other than a dictionary"),
    "lists in lists for a state": (LISTS + MODEL + b"h\x00s.", "no state of a network"),
    "tuples in tuples for a state": (TUPLES + MODEL + b"h\x00s.", "no state of a network"),
    "a dictionary that holds itself": (b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.", "no state of a network"),
    "a key of tuples": (TUPLES + b"}h\x00K\x01s.", "other keys"),
    "keys of tuples": (TUPLES + b"}(h\x00K\x01u.", "other keys"),
    "a shape of tuples": (TUPLES + b"ctorch\nSize\nh\x00\x85R.", "something other than a dictionary"),
    "memory by a call": (b"\x80\x02c__builtin__\nbytearray\n" + HUGE, "no tensor needs"),
    "memory by a tensor": (b"\x80\x02ctorch\nFloatTensor\n" + HUGE, "no tensor needs"),
    "a call of many arguments": (b"\x80\x02ctorch\nSize\n(" + b"N" * 1000 + b"tR.", "1,000 arguments"),
    "a storage of many parts": (
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01"
        + b"N" * 1000
        + b"tQ.",
        "describes a storage",
    ),
    "memory by a length": (b"\x80\x02X\xff\xff\xff\x7fabc", "EOFError"),
    "memory by a memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "it holds nothing"),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_small_programs_take_little_time_and_memory(tmp_path: Path, kind: str, old: bool):
    """A few hundred bytes that share their parts many times over, or ask for terabytes, are refused at once."""
    path = tmp_path / "a.pth"
    program, message = PROGRAMS[kind]
    if old:
        path.write_bytes(old_file(program))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", program)
    if old and message == "EOFError":
        message = ""  # the next pickle in the file is read as the rest of this one

    with must_end(), pytest.raises(InvalidFileError, match=f"not a file of tensors.*{message}"):
        read_tensors(path)


def test_an_old_file_that_claims_more_numbers_than_it_has_is_refused(tmp_path: Path):
    """Eighty gigabytes that a file of a few hundred bytes claims are not reserved."""
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pth").read_bytes()
    many = (20 << 30).to_bytes(8, "little")
    claim = content.replace(b"K\x03N", b"\x8a\x08" + many + b"N").replace((3).to_bytes(8, "little"), many)
    assert claim.count(many) == 2
    (tmp_path / "a.pth").write_bytes(claim)

    with pytest.raises(InvalidFileError, match="ends before its numbers"):
        read_tensors(tmp_path / "a.pth")


def test_a_program_of_too_many_instructions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A byte of a pickle makes a dictionary of 64, so their number is bounded."""
    monkeypatch.setattr(pickle_reader._Instructions, "left", 1000)
    (tmp_path / "a.pth").write_bytes(old_file(b"\x80\x02" + b"}" * 1001 + b"."))

    with pytest.raises(InvalidFileError, match="instructions"):
        read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("order", [b"big", b"little" * 1000])
def test_other_orders_of_bytes_are_refused(tmp_path: Path, order: bytes):
    """Numbers of a big-endian machine would be read wrong."""
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, order if name.endswith("byteorder") else whole.read(name))

    with pytest.raises(InvalidFileError, match="little-endian"):
        read_tensors(tmp_path / "b.pth")


def test_overlapping_members_are_refused(tmp_path: Path):
    """An archive whose list says that its members are larger than the file is refused before one is read."""
    torch.save({"a": torch.ones(1000)}, tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    size, large = (4000).to_bytes(4, "little"), (400_000).to_bytes(4, "little")
    at = content.index(b"PK\x01\x02")
    (tmp_path / "a.pth").write_bytes(content[:at] + content[at:].replace(size, large))

    with pytest.raises(InvalidFileError, match="unpacks to more"):
        read_tensors(tmp_path / "a.pth")
