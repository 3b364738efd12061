"""Repositories that somebody changed, by accident or on purpose: each ends in an error of zoo or in a correct load.

Never in another exception, a hang, gigabytes of memory, or a file read that lies outside of the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hanging import must_end
from helpers.loopback_hub import LoopbackHub, Request, answer_with
from helpers.memory import limited_memory
from helpers.properties import examples
from helpers.releases import SMALL, write_model
from huggingface_hub import constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo.errors import InvalidValueError, ZooError
from zoo.evaluation import read_released_recipe
from zoo.gan import GAN
from zoo.io.weights import SUMS, write_sums
from zoo.recipe import build, load_recipe
from zoo.registry import registry
from zoo.releases.loading import Release

Mutation = Callable[[Path], None]

WEIGHTS = ("generator.safetensors", "discriminator.safetensors")
TEXTS = ("config.json", "recipe.toml", SUMS)

mutated = settings(
    max_examples=examples(110), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a small DCGAN."""
    recipe = load_recipe("faces-dcgan", SMALL)
    torch.manual_seed(0)
    folder = write_model(recipe, tmp_path_factory.mktemp("whole") / "small")
    table = recipe.to_table()
    del table["weights"]
    (folder / "recipe.toml").write_text(recipe.to_toml())
    write_sums(folder)
    return folder


@pytest.fixture(scope="module")
def expected(whole: Path) -> GAN:
    return zoo.load(whole)


@pytest.fixture(scope="module")
def check(whole: Path, expected: GAN, tmp_path_factory: pytest.TempPathFactory):
    """A function that applies a mutation to a copy of the release, loads it, and checks the outcome."""
    copy = tmp_path_factory.mktemp("mutated") / "small"
    read_released_recipe(Release.open(whole))  # imports at first use must not count as the mutation's memory

    def check(mutate: Mutation, *, signed: bool) -> str:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        mutate(copy)
        if signed:  # as somebody who changed it on purpose would
            write_sums(copy)
        try:
            with must_end(), limited_memory():
                model = zoo.load(copy)
                read_released_recipe(Release.open(copy))
            outcome = "loaded"
        except ZooError as error:
            outcome = str(error)
            assert len(outcome) < 1500
        if outcome == "loaded":
            whole_and_usable(model, expected, changed=signed)
        return outcome

    return check


def whole_and_usable(model: GAN, expected: GAN, *, changed: bool) -> None:
    """Check that all networks have finite weights and work; unless the digests were forged, they are the same."""
    assert model.networks.keys() == expected.networks.keys()
    for name, network in model.networks.items():
        state = network.state_dict()
        assert state.keys() == expected.networks[name].state_dict().keys()
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    samples = model.sample(1, seed=0).tensor
    assert samples.shape == (1, *model.sample_shape)
    if not changed:
        assert torch.equal(samples, expected.sample(1, seed=0).tensor)


# --- bytes -------------------------------------------------------------------------------------------------------


@st.composite
def byte_mutations(draw: st.DrawFn) -> Mutation:
    """Draw flips, cuts, insertions and zeros anywhere in any file, most of them in the header of a weight file."""
    name = draw(st.sampled_from([*WEIGHTS, *TEXTS]))
    kind = draw(st.sampled_from(["flip", "cut", "insert", "zero", "swap", "repeat"]))
    where = draw(st.one_of(st.floats(0, 1), st.integers(0, 4000)))
    size, value = draw(st.integers(1, 64)), draw(st.binary(min_size=1, max_size=16))

    def mutate(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        at = min(int(where * len(content)) if isinstance(where, float) else where, len(content) - 1)
        if kind == "flip":
            for i, byte in enumerate(value[: len(content) - at]):
                content[at + i] ^= byte
        elif kind == "cut":
            del content[at : at + size]
        elif kind == "insert":
            content[at:at] = value
        elif kind == "zero":
            content[at : at + size] = bytes(len(content[at : at + size]))
        elif kind == "swap":
            content = content[at:] + content[:at]
        else:
            content += content[at : at + size]
        (folder / name).write_bytes(content)

    return mutate


@mutated
@given(mutate=byte_mutations(), signed=st.booleans())
def test_bytes_that_changed(check, mutate: Mutation, signed: bool):
    """Any file may be flipped, cut, longer, empty or reversed."""
    check(mutate, signed=signed)


# --- contents of JSON documents -----------------------------------------------------------------------------------

HUGE = [10**9, 2**31, 2**63, 2**64, 10**18, 10**30, 10**400, -1, -(2**63), 0]
ODD_NUMBERS = st.one_of(st.sampled_from(HUGE), st.integers(), st.floats(allow_nan=True, allow_infinity=True))
ODD_TEXTS = st.one_of(
    st.sampled_from([
        "os:system", "zoo.cli:main", "dcgan", "gan", "../../etc/passwd",
        "/etc/passwd", "F64", "BF16", "U8", "nan", "", "x" * 100_000, "__class__", "\x00", "dcgan",
    ]),
    st.text(max_size=20),
)  # fmt: skip
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), ODD_NUMBERS, ODD_TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to all values of a JSON document, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, item in inner for path in paths(item, (*prefix, key)))]


def operated(document: Any, path: tuple[Any, ...], kind: str, value: Any) -> Any:
    """Return the document with the value at `path` replaced, removed, joined by another, or repeated."""
    if not path:
        return value
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    if kind == "remove":
        del holder[path[-1]]
    elif kind == "add" and isinstance(holder, dict):
        holder[str(value)[:50]] = holder[path[-1]]
    elif kind == "add":
        holder.append(value)
    else:
        holder[path[-1]] = value
    return document


@st.composite
def surgeries(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document after one to three operations."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(document)[1:] or [()]))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        document = operated(document, path, kind, draw(ODD))
        if not isinstance(document, dict | list):
            break
    return document


@mutated
@given(data=st.data())
def test_a_changed_config(check, whole: Path, data: st.DataObject):
    """config.json may name anything, claim any size, lack and add any key."""
    config = data.draw(surgeries(json.loads((whole / "config.json").read_text())))

    check(lambda folder: (folder / "config.json").write_text(json.dumps(config)), signed=True)


BOUNDS = st.sampled_from([0, 1, 2, 3, 8, 16, 64, 256, 512, 1024, 4096, 16384, 65536])


@settings(mutated, max_examples=examples(60))
@given(data=st.data(), name=st.sampled_from(registry.names()))
def test_a_config_of_another_architecture(check, data: st.DataObject, name: str):
    """Sizes that another architecture's config claims, within its ranges or not, cost neither memory nor time."""
    recipe = load_recipe(name)
    table = recipe.to_table()["model"]
    numbers = [key for key, value in table.items() if type(value) in (int, float)]
    claimed = data.draw(st.dictionaries(st.sampled_from(numbers), BOUNDS))
    config = {"format": 1, "architecture": recipe.architecture, "config": {**table, **claimed}}

    outcome = check(lambda folder: (folder / "config.json").write_text(json.dumps(config)), signed=True)
    assert recipe.architecture == "dcgan" or outcome != "loaded"


DEEP = 100_000


@pytest.mark.parametrize(
    "content",
    [
        "[" * DEEP, '{"format": 1, "config": ' + "[" * DEEP, "[" * 500 + "]" * 500, "9" * DEEP, "1e999", "NaN", "",
        '{"a":' * DEEP, "\ufeff{}", '"' + "x" * (1 << 20) + '"',
        '{"format": 1, "architecture": "dcgan", "config": ' + "[" * 400 + "]" * 400 + "}",
        '{"format": 1, "architecture": ' + "[" * 400 + "]" * 400 + "}",
        '{"format": 1, "architecture": "dcgan", "config": {"width": ' + "9" * 4000 + "}}",
        '{"format": 1, "architecture": "dcgan", "config": {"width": 512, "resolution": 512}}',
    ],
    ids=range(14),
)  # fmt: skip
def test_configs_made_to_exhaust(check, content: str):
    """Depth, digits and sizes may be too much for a parser or a builder."""
    assert check(lambda folder: (folder / "config.json").write_text(content), signed=True) != "loaded"


# --- headers of weight files ---------------------------------------------------------------------------------------


def with_header(content: bytes, header: Any, *, claims: int | None = None) -> bytes:
    """Return a safetensors file with another header and `claims` as the header's length."""
    (size,) = struct.unpack("<Q", content[:8])
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", errors="surrogatepass")
    return struct.pack("<Q", len(text) if claims is None else claims) + text + content[8 + size :]


def header_of(content: bytes) -> dict[str, Any]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size])


@mutated
@given(data=st.data(), name=st.sampled_from(WEIGHTS), signed=st.booleans())
def test_a_changed_header(check, whole: Path, data: st.DataObject, name: str, signed: bool):
    """Tensors may be renamed, removed, added, overlapping, outside of the file, and of any shape and type."""
    content = (whole / name).read_bytes()
    header = data.draw(surgeries(header_of(content)))

    check(lambda folder: (folder / name).write_bytes(with_header(content, header)), signed=signed)


@pytest.mark.parametrize("claims", [0, 1, 2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_lies_about_its_length(check, whole: Path, claims: int):
    """A header may claim terabytes, or nothing."""
    content = (whole / WEIGHTS[0]).read_bytes()
    forged = with_header(content, header_of(content), claims=claims)

    assert check(lambda folder: (folder / WEIGHTS[0]).write_bytes(forged), signed=True) != "loaded"


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}, {"shape": [float("nan"), 1]}, {"shape": []},
        {"shape": [2**63, 2**63]}, {"shape": [-1, 4]}, {"shape": [0]}, {"shape": [1] * 10_000}, {"shape": "4"},
        {"dtype": "F64"}, {"dtype": "I8"}, {"dtype": None}, {"data_offsets": [0, 0]}, {"data_offsets": [10, 2]},
        {"data_offsets": [2**64, 2**64]}, {"data_offsets": [-4, 4]},
    ],
    ids=str,
)  # fmt: skip
def test_a_tensor_that_is_not_what_it_should_be(check, whole: Path, change: dict[str, Any]):
    """One tensor's entry in the header is wrong."""
    content = (whole / WEIGHTS[0]).read_bytes()
    header = header_of(content)
    header["main.0.weight"] |= change
    forged = with_header(content, header)

    assert check(lambda folder: (folder / WEIGHTS[0]).write_bytes(forged), signed=True) != "loaded"


# --- paths, links and sizes --------------------------------------------------------------------------------------

SECRET = "zoo-secret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "secret.txt"


LINES = st.one_of(
    st.sampled_from([
        f"{'0' * 64}  ../../etc/passwd", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  a/../../b", f"{'0' * 64}  ",
        f"{'0' * 64}  generator.safetensors/x", f"{'0' * 64}  .", f"{'0' * 64}  {'x' * 5000}", f"{'0' * 63}  a",
        f"{'0' * 64} *config.json", f"{'0' * 64}  a\x00b", f"{'0' * 64}  ~/x", f"{'0' * 64}  C:\\x", "", "\ufffd",
        f"{'0' * 64}  \u202egnp.exe", f"{'0' * 64}  missing.bin",
    ]),
    st.text(max_size=90),
)  # fmt: skip


@mutated
@given(lines=st.lists(LINES, max_size=5), keep=st.booleans())
def test_a_list_of_digests_that_says_something_else(check, lines: list[str], keep: bool):
    """SHA256SUMS may list any path; one that leads out of the folder is not read."""

    def mutate(folder: Path) -> None:
        before = (folder / SUMS).read_text() if keep else ""
        (folder / SUMS).write_bytes((before + "\n".join(lines)).encode("utf-8", errors="surrogatepass"))

    check(mutate, signed=False)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", [*WEIGHTS, *TEXTS])
@pytest.mark.parametrize("kind", ["out", "absolute", "loop", "folder", "fifo", "dangling", "zero", "sparse", "empty"])
def test_files_that_are_something_else(check, outside: Path, kind: str, name: str, signed: bool):
    """A file may be a link out or to itself, a folder, a pipe, a device, a terabyte of zeros, or empty."""

    def mutate(folder: Path) -> None:
        path = folder / name
        path.unlink()
        if kind == "out":
            path.symlink_to(os.path.relpath(outside, folder))
        elif kind == "absolute":
            path.symlink_to("/etc/passwd")
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "loop":
            path.symlink_to(name)
        elif kind == "dangling":
            path.symlink_to("nowhere")
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.touch()
            os.truncate(path, 1 << 40 if kind == "sparse" else 0)

    outcome = check(mutate, signed=signed and name != SUMS and kind in ("folder", "fifo", "dangling", "empty", "loop"))

    assert SECRET not in outcome
    assert "root:" not in outcome
    if name in (*WEIGHTS, "config.json"):
        assert outcome != "loaded"


# --- recipes -----------------------------------------------------------------------------------------------------


@mutated
@given(data=st.data())
def test_a_changed_recipe(check, whole: Path, data: st.DataObject):
    """recipe.toml may name anything; loading does not read it, and reading it gives a recipe or an error."""
    import tomlkit

    path = whole.parent / "theirs.toml"

    table = data.draw(surgeries(tomllib.loads((whole / "recipe.toml").read_text())))
    try:
        text = tomlkit.dumps(table)
    except Exception:
        text = str(table)

    check(lambda folder: (folder / "recipe.toml").write_text(text, errors="replace"), signed=True)
    path.write_text(text, errors="replace")
    with suppress(ZooError):
        load_recipe(path)


@pytest.mark.parametrize("content", ["a = " + "[" * 5000, 'a = "' + "x" * 10**6, "\x00", "a.b.c = 1\na = 2", ""])
def test_recipes_made_to_exhaust(whole: Path, content: str):
    """Depth and size may be too much for a parser."""
    (whole.parent / "theirs.toml").write_text(content)

    with pytest.raises(ZooError):
        load_recipe(whole.parent / "theirs.toml")


# --- answers of the Hub ------------------------------------------------------------------------------------------


@settings(mutated, max_examples=examples(40))
@given(data=st.data())
def test_changed_answers_of_the_hub(hub: LoopbackHub, whole: Path, expected: GAN, data: st.DataObject):
    """The listing and the commit of a repository may have any name, size, digest and type."""
    hub.heal()
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    repo = hub.repo("me/small", {path.name: path.read_bytes() for path in sorted(whole.iterdir())})
    asked, path = data.draw(st.sampled_from([("/tree/", f"/tree/{repo.head}"), ("small$", "")]))
    true = json.loads(hub.answer(Request("GET", f"/api/models/me/small{path}", {}, {}, b"")).body)
    hub.fault(asked, answer_with(data.draw(surgeries(true))))

    try:
        with limited_memory(2 << 30):  # each thread of the client and the server reserves memory
            model = zoo.load("me/small")
    except ZooError:
        return
    whole_and_usable(model, expected, changed=False)


@pytest.mark.parametrize("name", registry.names())
def test_no_config_of_an_architecture_is_without_bounds(name: str):
    """10^9 layers, channels or steps are refused by each architecture's own ranges, before anything is built."""
    recipe = load_recipe(name)
    table = recipe.to_table()["model"]

    for field, value in table.items():
        if type(value) in (int, float):
            with pytest.raises(InvalidValueError):
                build(recipe.architecture_class.Config, {**table, field: 10**9}, where="config")
