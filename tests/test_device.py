"""Devices: their names, reduced precision, and the same samples everywhere."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.device import choose_device
from zoo.errors import InvalidValueError
from zoo.registry import registry

RELEASED = [name for name in registry.names() if registry.entries[name].has_weights]


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch):
    """`auto` is CUDA, else MPS, else the CPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize(
    ("name", "hint"), [("cuda:7", "has cuda:0, cuda:1, cpu"), ("gpu", "cuda:N"), ("mps", "no MPS"), ("xla", "cuda:N")]
)
def test_a_device_that_is_not_there_is_one_clear_line(name: str, hint: str, monkeypatch: pytest.MonkeyPatch):
    """The error names the devices that this machine has, or the names that a device can have."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    with pytest.raises(InvalidValueError, match=hint):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "faces-dcgan"],
        ["evaluate", "faces-dcgan"],
        ["train", "faces-dcgan", "--out", "run"],
        ["info", "faces-dcgan", "--cost"],
    ],
    ids=lambda words: words[0],
)
def test_commands_say_that_the_device_is_not_there(command, arguments: list[str], tmp_path, monkeypatch):
    """Each command that takes a device refuses one that this machine lacks, before any work."""
    monkeypatch.chdir(tmp_path)

    code, output, errors = command(*arguments, "--device", "cuda")

    assert (code, output) == (2, "")
    assert "no such CUDA device" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", RELEASED)
def test_a_model_samples_in_reduced_precision(name: str, dtype: torch.dtype):
    """`model.half()` and `model.bfloat16()` sample; pictures, waves and rolls stay near those of float32."""
    model = zoo.load(name, device="cpu")
    exact = model.sample(2, seed=0).tensor

    reduced = model.to(dtype).sample(2, seed=0).tensor

    assert reduced.dtype == exact.dtype
    if exact.is_floating_point() and name != "music-specgan":  # whose phases are found by a search
        assert float((reduced - exact).abs().mean()) < 0.05 * float(exact.abs().mean())


@pytest.mark.gpu
@pytest.mark.parametrize("name", RELEASED)
def test_a_seed_gives_the_same_samples_on_a_gpu(name: str):
    """Latents come from the CPU's stream, so samples differ by rounding alone, and come back on the CPU."""
    on_cpu = zoo.load(name, device="cpu").sample(4, seed=0)
    on_gpu = zoo.load(name, device="cuda").sample(4, seed=0)

    assert on_gpu.tensor.device.type == "cpu"
    if on_cpu.tensor.is_floating_point():
        torch.testing.assert_close(on_gpu.tensor, on_cpu.tensor, rtol=0, atol=1e-2)
