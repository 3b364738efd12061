"""What the tests share: a cache of their own, no network, and a small data set of blobs that a GAN can learn from."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import properties  # noqa: F401 - registers the profiles
from helpers.blobs import Blobs
from helpers.loopback_hub import LoopbackHub
from hypothesis import settings

if TYPE_CHECKING:
    from zoo.data import Store

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # two processes share the cores; `pytest -n 0` runs all in one
settings.load_profile("suite")  # `pytest -m hypothesis --hypothesis-profile fuzz` tries many fresh examples


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of a GPU where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GAN_ZOO_CACHE", str(cache))
    return cache


@pytest.fixture
def unreleased(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an entry, whose weights cannot be seen: as those of every new entry."""
    from zoo.registry import Entry

    released = Entry.has_weights.fget
    assert released is not None
    monkeypatch.setattr(Entry, "has_weights", property(lambda entry: entry.name != "faces-gan" and released(entry)))
    return "faces-gan"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A Hub that this process is logged in to as `me`, with an empty cache and no long waits."""
    import huggingface_hub
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    from zoo.io import hub as hub_client

    with LoopbackHub() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # another protocol, to another server
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        monkeypatch.setattr(hub_client, "FIRST_WAIT", 0.002)
        hurried = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(seconds / 1000)})
        for module in (file_download, _http):  # where the client itself waits
            monkeypatch.setattr(module, "time", hurried)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the command line in this process and returns its exit code, output and errors."""
    from zoo.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[int], Store]:
    """A function that builds 72 training and 24 test images of any size."""
    from zoo.data import build_store

    return lambda size: build_store(Blobs(size=size), tmp_path / f"blobs-{size}")


@pytest.fixture
def store(make_store: Callable[[int], Store]) -> Store:
    """72 training and 24 test images of 64 x 64."""
    return make_store(64)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 pictures of many sizes and kinds, and some files that are no pictures."""
    from PIL import Image

    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(24):
        height, width = rng.integers(20, 90, 2)
        pixels = rng.integers(0, 255, (height, width, 4), dtype=np.uint8)
        mode = ("RGB", "RGBA", "L")[i % 3]
        image = Image.fromarray(pixels).convert(mode)
        suffix = "png" if mode == "RGBA" else ("jpg", "webp", "bmp")[i % 3]
        image.save(folder / ("more" if i % 5 == 0 else ".") / f"{i}.{suffix}")
    (folder / "broken.png").write_bytes(b"\x89PNG not really")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    whole = (folder / "1.png").read_bytes() if (folder / "1.png").exists() else b"\x89PNG\r\n"
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def run(tmp_path: Path, store: Store) -> Path:
    """A run of two steps: a small DCGAN that has seen eight blobs."""
    import torch
    from helpers.releases import SMALL

    from zoo.modality import kind_of
    from zoo.recipe import load_recipe
    from zoo.training.loop import run_training
    from zoo.training.run import Run
    from zoo.training.trainer import Trainer

    recipe = load_recipe("faces-dcgan", [*SMALL, "train.batch=4", "train.total_kimg=0.008"])
    run = Run.create(recipe, tmp_path / "run")
    run_training(run, Trainer(recipe, store, kind_of(recipe).decode, torch.device("cpu")), log=lambda line: None)
    return run.folder
