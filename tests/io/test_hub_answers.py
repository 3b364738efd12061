"""Whatever a Hub answers is a right result or one clear error, in bounded time and memory."""

from __future__ import annotations

import copy
import gzip
import json
import random
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from helpers.hanging import must_end
from helpers.loopback_hub import Answer, Fault, LoopbackHub, redirect
from helpers.properties import examples
from helpers.releases import SMALL, write_model
from huggingface_hub import constants

import zoo
from zoo.errors import UnreachableError, ZooError
from zoo.io import hub as hub_client
from zoo.recipe import load_recipe

T = TypeVar("T")

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # from the client's transport

LOADING = ["GET /api/models/me/small$", "GET /api/models/me/small/tree"]
PUBLISHING = [
    *LOADING, "POST /api/repos/create", "POST /api/validate-yaml", "POST .*/preupload/", "POST .*/objects/batch",
    "PUT /upload/", "POST .*/objects/verify", "POST .*/commit/", "GET .*/refs", "POST .*/tag/",
]  # fmt: skip
ODD: list[Any] = [None, 0, -1, 2**70, 1.5, True, "", "x", "../x", "\x1b[2J", "2020-13-45", [], {}, [None], {"a": []}]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DCGAN's weights folder."""
    torch.manual_seed(0)
    return write_model(load_recipe("faces-dcgan", SMALL), tmp_path_factory.mktemp("small") / "small")


@pytest.fixture
def repo(hub: LoopbackHub, small: Path) -> str:
    hub.repo("me/small", {path.name: path.read_bytes() for path in small.iterdir()})
    return "me/small"


def list_places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths of all values within a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from list_places(child, (*at, key))


def replace_one(rng: random.Random) -> Fault:
    """Answer as asked, with one value, a list or the whole of the JSON replaced by an odd one, or left out."""

    def fault(answer: Callable[[], Answer]) -> Answer:
        right = answer()
        try:
            content = json.loads(right.body or b"null")
        except ValueError:
            content = None
        *path, last = ("whole", *rng.choice(list(list_places(content))))
        root = place = {"whole": copy.deepcopy(content)}
        for key in path:
            place = place[key]
        if isinstance(last, str) and last != "whole" and rng.random() < 0.3:
            del place[last]
        else:
            place[last] = rng.choice(ODD)
        body = json.dumps(root["whole"]).encode()
        return replace(right, body=body, headers={**right.headers, "Content-Type": "application/json"})

    return fault


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """Return what a call returns and an empty text, or None and its error; nothing but an error of this library."""
    with must_end():
        try:
            return call(), ""
        except ZooError as error:
            return None, str(error)


def is_one_clear_line(text: str) -> bool:
    return len(text.splitlines()) <= 1 and "\x1b" not in text and len(text) < 1000


@pytest.mark.parametrize("step", LOADING)
def test_odd_json_never_loads_wrong_weights(hub: LoopbackHub, repo: str, small: Path, step: str):
    """A load from a Hub whose JSON has an odd value gives the right model, or one clear error."""
    expected = zoo.load(small).sample(1, seed=0).tensor
    for seed in range(examples(40)):
        shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
        hub.fault(step, replace_one(random.Random(seed)))
        model, error = attempt(lambda: zoo.load(repo))

        assert is_one_clear_line(error), (seed, error)
        assert model is None or torch.equal(model.sample(1, seed=0).tensor, expected), seed
        hub.heal()


@pytest.mark.parametrize("step", PUBLISHING)
def test_odd_json_while_publishing_is_one_clear_error(hub: LoopbackHub, small: Path, step: str):
    """A publication to a Hub whose JSON has an odd value works, or ends in one clear error."""
    for seed in range(examples(8)):
        shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
        hub.repos.clear()
        hub.repo("me/small")
        hub.fault(step, replace_one(random.Random(seed)))
        _, error = attempt(lambda: zoo.publish(small, repo="me/small", tag="v1"))

        assert is_one_clear_line(error), (seed, error)
        hub.heal()


def test_odd_json_in_a_search_is_one_clear_line(hub: LoopbackHub, repo: str, command):
    """`zoo list --hub` lists what it can read, or says in one line that it cannot."""
    for seed in range(examples(40)):
        hub.fault("GET /api/models", replace_one(random.Random(seed)))

        code, output, errors = command("list", "--hub")

        assert code == 0 or (code == 2 and len(errors.splitlines()) == 1), (seed, errors)
        assert "\x1b" not in output + errors
        hub.heal()


@pytest.mark.parametrize("step", [LOADING[1], "POST .*/preupload/"])
def test_an_answer_that_unpacks_to_a_lot_is_refused(
    hub: LoopbackHub, repo: str, small: Path, step: str, monkeypatch: pytest.MonkeyPatch
):
    """An answer is read up to a bound, however small it was sent."""
    monkeypatch.setattr(hub_client, "MAX_ANSWER_BYTES", 1 << 20)
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    hub.fault(step, lambda answer: Answer(200, headers, bomb))
    hub.repo("me/small", {"config.json": b"{}"})

    tracemalloc.start()
    with must_end(), pytest.raises(UnreachableError, match=r"me/small.*more than 1 MB"):
        (zoo.load if step in LOADING else lambda repo: zoo.publish(small, repo=repo))(repo)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 32 << 20


@pytest.mark.parametrize("location", ["/nowhere", "http://127.0.0.1:9/away", "file:///etc/passwd", "//", "\x1b[2J"])
@pytest.mark.parametrize("step", PUBLISHING)
def test_a_redirected_publication_is_one_clear_error(hub: LoopbackHub, small: Path, step: str, location: str):
    """A Hub that redirects a request of a publication ends it in one clear error, or it works after all."""
    hub.repo("me/small")
    hub.fault(step, redirect(location))

    _, error = attempt(lambda: zoo.publish(small, repo="me/small", tag="v1"))

    assert is_one_clear_line(error), error
