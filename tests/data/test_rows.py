"""Where the rows of a training lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data import About, Batches, Rows, Store, build_store, rows
from zoo.data.images import decode_images, flip_images
from zoo.data.rows import DeviceRows, MemoryRows, place_rows
from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.recipe import Placement


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_rows_on_a_device_are_those_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type):
    """Rows of the training split, of every type that a store has, sent in blocks; in any order, and more than once."""
    samples = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (40, 3, 2), dtype)
    test = (np.arange(40) % 3 == 1).astype(np.uint8)
    store = build_store(Rows(About(name="few"), samples, test, {}), tmp_path / "few")
    monkeypatch.setattr(rows, "BLOCK_BYTES", 5 * samples[0].nbytes)
    asked = np.random.default_rng(1).permutation(np.repeat(store.indices("train"), 2))

    found = DeviceRows(store, torch.device("cpu"))(asked)

    assert found.numpy().dtype == dtype
    assert np.array_equal(found.numpy(), samples[asked])
    assert np.array_equal(MemoryRows(store)(asked).numpy(), samples[asked])


@pytest.mark.parametrize(
    ("placement", "free", "expected"),
    [("auto", 4, DeviceRows), ("auto", 3.9, MemoryRows), ("device", 1, DeviceRows), ("memory", 100, MemoryRows)],
)
def test_a_quarter_of_the_free_memory_is_for_the_data(
    store: Store, monkeypatch: pytest.MonkeyPatch, placement: Placement, free: float, expected: type
):
    """`auto` leaves three quarters for the networks; `device` and `memory` do as they say."""
    split = store.samples[store.indices("train")].nbytes
    monkeypatch.setattr(rows, "measure_free_memory", lambda device: int(free * split))
    monkeypatch.setattr(rows, "DeviceRows", lambda store, device, read: DeviceRows(store, torch.device("meta")))

    assert type(place_rows(store, torch.device("cuda"), placement)) is expected


def test_data_that_do_not_fit_on_the_device_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Before the training, in one line that says what would work."""
    monkeypatch.setattr(rows, "measure_free_memory", lambda device: 1000)
    with pytest.raises(InvalidValueError, match=r"cuda:1 has 0\.0 GB free; use data\.placement=memory$"):
        place_rows(store, torch.device("cuda:1"), "device")


@pytest.mark.parametrize("placement", ["auto", "device", "memory"])
def test_the_cpu_reads_rows_from_the_store(store: Store, placement: Placement):
    """A memory map is in the CPU's memory already."""
    assert type(place_rows(store, torch.device("cpu"), placement)) is MemoryRows


@pytest.mark.gpu
@pytest.mark.parametrize("placement", ["device", "memory"])
def test_a_gpu_gets_the_same_batches(store: Store, placement: Placement):
    """From its own memory or from the host's: decoded there, they are the CPU's to rounding."""
    device = torch.device("cuda")
    make = {"augment": flip_images, "batch": 10, "seed": 3, "placement": placement}
    cpu, gpu = Batches(store, decode_images, **make), Batches(store, decode_images, device=device, **make)
    for step in range(12):
        found = gpu.at(step, Noise(step))[0]
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), cpu.at(step, Noise(step))[0])
