"""FVD's network: its size, its files, and the metrics that come of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from helpers.moves import Moves
from safetensors.torch import save_file
from torch import Tensor

from zoo.data import Store, build_store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.metrics.frechet import frechet_distance
from zoo.recipe import EvaluateConfig
from zoo.video.architectures.mocogan import MoCoGAN, MoCoGANConfig
from zoo.video.data.datasets import decode
from zoo.video.metrics.evaluate import evaluate
from zoo.video.metrics.i3d import I3D, load_i3d


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return I3D().state_dict()


@pytest.fixture(scope="module")
def weights(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.save(state, path)
    return path


def test_it_has_the_papers_parameters():
    """12.70 million, as the published network with its 400 classes."""
    assert sum(p.numel() for p in I3D().parameters()) == 12_697_264


def test_time_shrinks_by_eight():
    """Nine frames are the fewest it can see: a frame later the pooling over time has two of its last layer."""
    network = I3D().eval()

    assert network(torch.zeros(1, 3, 9, 16, 16)).shape == (1, 400)
    with pytest.raises(InvalidValueError, match="at least 9 frames; these have 8"):
        network(torch.zeros(1, 3, 8, 16, 16))


@pytest.mark.parametrize("kind", ["torch.save", "safetensors", "of a parallel training", "without counters"])
def test_weights_are_read_in_the_layouts_they_come_in(kind: str, state: dict[str, Tensor], tmp_path: Path):
    path = tmp_path / "i3d.pt"
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    elif kind == "of a parallel training":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    elif kind == "without counters":
        torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, path)
    else:
        torch.save(state, path)

    loaded = load_i3d(path)[0].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/evil",)


def test_other_files_are_refused(state: dict[str, Tensor], tmp_path: Path):
    """None there; other classes; a tensor too few or too many; a program."""
    path = tmp_path / "a.pt"
    with pytest.raises(InvalidFileError, match="no such file"):
        load_i3d(path)
    for changed, message in (
        ({"logits.conv3d.bias": torch.zeros(157)}, r"logits\.conv3d\.bias is \[400\]; it has \[157\]"),
        ({"extra.weight": torch.zeros(1)}, "has extra.weight, too"),
    ):
        torch.save({**state, **changed}, path)
        with pytest.raises(InvalidFileError, match=message):
            load_i3d(path)
    torch.save({name: tensor for name, tensor in state.items() if name != "Mixed_4c.b1a.bn.bias"}, path)
    with pytest.raises(InvalidFileError, match=r"Mixed_4c\.b1a\.bn\.bias is \[112\]; it lacks it"):
        load_i3d(path)
    torch.save({"weight": Evil()}, path)
    with pytest.raises(InvalidFileError, match="refused"):
        load_i3d(path)


def test_fvd_is_the_distance_of_the_logits_and_says_how_it_was_measured(weights: Path, tmp_path: Path):
    """The value and that of real clips are the distances of the logits, and the protocol is named with both."""
    store = build_store(Moves(size=16, frames=9, count=64), tmp_path / "moves")
    gan = MoCoGAN(MoCoGANConfig(resolution=16, frames=9, width=2, labels=2)).eval()
    gan.load_assets(store.folder)
    settings = EvaluateConfig(samples=3, features=f"i3d:{weights}")

    metrics = {metric.name: metric for metric in evaluate(gan, store, settings)}

    network, stamp = load_i3d(weights)
    test, train = store.sample_splits(3, 0, of="clips")
    with torch.no_grad():
        real, other = (network(decode(store.samples[rows])) for rows in (test, train))
        fake = network(gan.sample(3, seed=0).tensor)
    assert metrics["fvd"].value == pytest.approx(frechet_distance(real, fake), rel=1e-4)
    assert metrics["fvd"].real_vs_real == pytest.approx(frechet_distance(real, other), rel=1e-4)
    assert set(metrics) == {"fvd", "kvd"}
    assert metrics["fvd"].extractor == (
        f"I3D {stamp[:16]}, logits, 3 clips of each, 9 frames of 16 px at 12.5 a second, resized to 224, test split"
    )


def test_too_few_frames_are_an_error(weights: Path, tmp_path: Path):
    store: Store = build_store(Moves(size=16, frames=8, count=64), tmp_path / "moves")
    gan = MoCoGAN(MoCoGANConfig(resolution=16, frames=8, width=2, labels=2)).eval()
    gan.load_assets(store.folder)

    with pytest.raises(InvalidValueError, match="at least 9 frames"):
        evaluate(gan, store, EvaluateConfig(samples=3, features=f"i3d:{weights}"))
