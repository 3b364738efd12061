"""Pickles and files of `torch.save` that somebody changed: each is read, or refused by an error of this library.

Never another exception, a hang, or more memory than the file is worth.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hanging import must_end
from helpers.memory import limited_memory
from helpers.properties import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from zoo.errors import ZooError
from zoo.io import pickle_reader
from zoo.io.torch_file import read_tensors
from zoo.text.oracle import official
from zoo.text.oracle.official import read_official

fuzzed = settings(
    max_examples=examples(60), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

NETWORK = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
STATES: list[Any] = [
    {"generator": NETWORK.state_dict(), "steps": 7, "optim": torch.optim.Adam(NETWORK.parameters()).state_dict()},
    {"a": torch.arange(24.0).reshape(4, 6).T[1:], "b": torch.ones(3).half(), "c": nn.Parameter(torch.ones(2, 2))},
]
SHAPES = [(5, 2), *((2, 2), (2, 2), (2,)) * 4, (2, 5), (5,)]  # of a small oracle
ARRAYS = [np.ones(shape, np.float32) for shape in SHAPES]
NAMES = [
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n",
    b"ctorch\nSize\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n",
    b"c_codecs\nencode\n",
]  # fmt: skip


def save(state: Any, *, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def zip_again(whole: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with a changed data.pkl, as somebody who changed it on purpose would write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return file.getvalue()


def read_pickle(whole: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


ZIPPED = [save(state) for state in STATES]
OLD = [save(state, old=True) for state in STATES]
ORACLES = [pickle.dumps(ARRAYS, protocol=protocol) for protocol in (0, 2, 4)]
PICKLES = [*map(read_pickle, ZIPPED), *ORACLES]


@st.composite
def instructions(draw: st.DrawFn) -> bytes:
    """Draw an instruction of the reader with an argument of its length, most often one that fits."""
    code = draw(st.sampled_from(sorted(pickle_reader.Reader._known)))
    small = st.integers(0, 3).map(lambda number: bytes([number]))
    argument = draw(st.sampled_from([b"", b"\x00" * 4, b"\x03\x00\x00\x00abc", b"3\n", b"'a'\n"]) | small)
    return bytes([code]) + argument


PROGRAMS = st.lists(instructions() | st.sampled_from(NAMES), max_size=40).map(lambda parts: b"".join([*parts, b"."]))


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw one to three flips, cuts, insertions, repetitions and parts of other pickles."""
    steps = draw(st.lists(
        st.tuples(
            st.sampled_from(["flip", "cut", "insert", "repeat", "splice", "end"]), st.floats(0, 1), st.integers(1, 64),
            st.binary(min_size=1, max_size=9) | instructions() | PROGRAMS, st.sampled_from(PICKLES),
        ), min_size=1, max_size=3,
    ))  # fmt: skip

    def change(whole: bytes) -> bytes:
        for kind, where, size, value, other in steps:
            at = int(where * len(whole))
            before, part, after = whole[:at], whole[at : at + size], whole[at + size :]
            whole = {
                "flip": before + bytes(a ^ b for a, b in zip(part, value * 64, strict=False)) + after,
                "cut": before + after,
                "insert": before + value + part + after,
                "repeat": before + part * (1 + value[0]) + after,
                "splice": before + other[int(where * len(other)) :][: 4 * size] + after,
                "end": before,
            }[kind]
        return whole

    return change


def check_file(read: Callable[[Path], dict[str, torch.Tensor]], path: Path, content: bytes) -> None:
    """Check that the file is a state no larger than it, or refused in a line, in time and memory of its size."""
    path.write_bytes(content)
    found, refusal = {}, ""
    try:
        with must_end(), limited_memory():
            found = read(path)
    except ZooError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert "MemoryError" not in refusal
    assert len(refusal) < 1000
    assert len(found) <= len(content)
    for value in found.values():
        assert value.nbytes <= 2 * len(content)  # the oracle's float64 become float32, its gates are put together
        assert value.clone().shape == value.shape  # its numbers are there


@fuzzed
@given(st.sampled_from(OLD), changes())
def test_any_change_of_an_old_file_of_tensors(tmp_path: Path, whole: bytes, change: Callable[[bytes], bytes]):
    check_file(read_tensors, tmp_path / "a.pth", change(whole))


@fuzzed
@given(st.sampled_from(ZIPPED), changes(), st.booleans())
def test_any_change_of_an_archive_of_tensors(
    tmp_path: Path, whole: bytes, change: Callable[[bytes], bytes], inside: bool
):
    check_file(read_tensors, tmp_path / "a.pth", zip_again(whole, change) if inside else change(whole))


@fuzzed
@given(st.sampled_from(ORACLES), changes())
def test_any_change_of_a_pickle_of_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes, change: Callable[[bytes], bytes]
):
    monkeypatch.setattr(official, "_SHAPES", SHAPES)
    check_file(read_official, tmp_path / "a.pkl", change(whole))


@fuzzed
@given(PROGRAMS)
def test_any_program_of_known_instructions(tmp_path: Path, program: bytes):
    check_file(read_official, tmp_path / "a.pkl", program)
    check_file(read_tensors, tmp_path / "a.pth", zip_again(ZIPPED[0], lambda _: program))


def test_the_unchanged_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The changes begin with files that work, or they would find nothing."""
    monkeypatch.setattr(official, "_SHAPES", SHAPES)
    for content in (*OLD, *ZIPPED, *(zip_again(whole, lambda program: program) for whole in ZIPPED)):
        (tmp_path / "a.pth").write_bytes(content)
        assert read_tensors(tmp_path / "a.pth")
    for content in ORACLES:
        (tmp_path / "a.pkl").write_bytes(content)
        assert read_official(tmp_path / "a.pkl")
