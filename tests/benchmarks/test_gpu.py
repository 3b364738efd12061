"""The benchmark for a GPU: it runs everywhere, loses nothing, and finds wrong gradients."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gpu
import pytest
import torch
from helpers.releases import SMALL
from plain_images import make_textbook_step
from torch.utils.flop_counter import FlopCounterMode

import zoo.recipe
from zoo.recipe import load_recipe
from zoo.registry import Registry, registry
from zoo.training.graphs import FIRST_STEPS

SCRIPT = Path(gpu.__file__)
# All dependencies but torch, NumPy, and filelock, which torch needs.
# fmt: off
DEPENDENCIES = [
    "PIL", "huggingface_hub", "matplotlib", "rich", "safetensors", "scipy", "soundfile", "symusic", "tensorboard",
    "timm", "tokenizers", "tomlkit", "torchaudio", "torchvision", "transformers", "typer",
]
# fmt: on
BARE = f"""
import runpy, sys
sys.modules |= dict.fromkeys({DEPENDENCIES})
sys.path[0] = {str(SCRIPT.parent)!r}
sys.argv = ["gpu.py", "--device", "cpu", "--out", "out", "--only", "faces-dcgan", "faces-gan"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
CPU = torch.device("cpu")


def make_bench(folder: Path, seconds: float = 60.0) -> gpu.Bench:
    bench = gpu.Bench(device=CPU, out=folder, deadline=time.monotonic() + seconds)
    bench.results["machine"] = {"device": "a machine"}
    return bench


def read_rows(folder: Path) -> list[dict]:
    return json.loads((folder / "gpu.json").read_text())["speed"]


def test_the_whole_benchmark_runs_without_a_gpu_and_without_other_packages(tmp_path: Path):
    """With torch and NumPy alone, two entries are compared with the CPU, trained, sampled and compiled."""
    done = subprocess.run([sys.executable, "-c", BARE], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "out" / "gpu.json").read_text())
    names = {"faces-dcgan", "faces-gan"}
    assert {row["model"] for row in results["agreement"] if row["variant"] == "fp32" and row["agrees"]} >= names
    for task in ("training", "sampling"):
        rows = [row for row in results["speed"] if row["task"] == task and "failed" not in row]
        assert {row["model"] for row in rows if (row["variant"], row["mode"]) == ("fp32", "")} >= names
        assert "textbook" in {row["variant"] for row in rows}
        assert "compiled" in {row["mode"] for row in rows}
        assert all(row["images_per_second"] > 0 for row in rows)
        assert all(row.get("agrees", True) for row in rows)
    rows = [*results["matmul"], *results["agreement"], *results["speed"]]
    assert [row["failed"] for row in rows if "failed" in row] == []
    tables = (tmp_path / "out" / "gpu.md").read_text()
    assert "| faces-dcgan | fp32 | 2 |" in tables
    assert tables.count("Not measured.") == 2  # the goals, which are for a GPU


def test_new_entries_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each architecture is measured once for each of its sizes; an entry that is broken is not left out."""
    dcgan = registry.entries["faces-dcgan"].recipe.read_text()
    (tmp_path / "faces").mkdir()
    for name, text in {
        "dcgan": dcgan,
        "dcgan-again": dcgan,
        "dcgan-narrow": dcgan.replace("width = 64", "width = 4"),
        "unknown": dcgan.replace('"dcgan"', '"unknown"'),
    }.items():
        (tmp_path / "faces" / f"{name}.toml").write_text(text)
    folder = Registry([tmp_path])
    monkeypatch.setattr(gpu, "registry", folder)
    monkeypatch.setattr(zoo.recipe, "registry", folder)

    found = gpu.list_targets(sizes={"dcgan": {"32 px": ("model.resolution=32",), "7 px": ("model.resolution=7",)}})

    assert [target.name for target in found] == [
        "faces-dcgan, 32 px",
        "faces-dcgan-narrow, 32 px",
        "faces-dcgan",
        "faces-dcgan-narrow",
        "faces-unknown",
    ]


def test_what_fails_is_a_row_and_the_next_phase_runs(tmp_path: Path):
    """Results are on the disk after each phase, so that nothing is lost where the next one ends the process."""
    bench = make_bench(tmp_path)

    def fail() -> dict:
        raise RuntimeError("no memory\nis left")

    row = {"task": "training", "model": "a", "variant": "fp32", "mode": ""}
    bench.run("speed", {**row}, fail)
    assert [row["failed"] for row in read_rows(tmp_path)] == ["RuntimeError: no memory is left"]
    bench.run("speed", {**row}, lambda: {"batch": 2, "images_per_second": 5.0})
    assert read_rows(tmp_path)[1]["images_per_second"] == 5.0
    assert "RuntimeError: no memory is left" in (tmp_path / "gpu.md").read_text()


def test_no_phase_starts_or_goes_on_when_the_time_is_out(tmp_path: Path):
    """A phase that never ends is stopped, and no other starts after it."""
    bench = make_bench(tmp_path, seconds=0.2)

    def hang() -> dict:
        while True:
            time.sleep(0.01)

    row = {"task": "training", "model": "a", "variant": "fp32", "mode": ""}
    bench.run("speed", {**row}, hang)
    bench.run("speed", {**row}, lambda: {"batch": 2, "images_per_second": 5.0})

    assert [row["failed"] for row in read_rows(tmp_path)] == [
        "TimeoutError: the time was out",
        "not started: no time was left",
    ]


def test_a_wrong_gradient_is_told_from_rounding(tmp_path: Path):
    """Gradients of another loss disagree in every precision; float32 in another memory format agrees."""
    target = gpu.Target(entry="faces-dcgan", architecture="dcgan", overrides=(*SMALL, "train.batch=4"))
    store = gpu.make_store(target.load(), tmp_path)
    expected = gpu.record_step(gpu.make_trainer(target.load(), store, CPU))

    trainer = gpu.make_trainer(target.load(), store, CPU)
    trainer.gan.to(memory_format=torch.contiguous_format)
    same = gpu.compare(gpu.record_step(trainer), expected, gpu.LIMITS["fp32"])
    half = dict(expected.gradients) | {"D-R1": expected.gradients["D-R1"] / 3}
    wrong = gpu.compare(replace(expected, gradients=half), expected, gpu.LIMITS["bf16"])

    assert same["agrees"]
    assert set(same["gradients"]) == {"D", "D-R1", "G"}
    assert min(expected.gradients["G"].norm(), expected.update.norm()) > 0
    assert not wrong["agrees"]
    assert wrong["gradients"]["D-R1"] == pytest.approx(2 / 3)


def test_dropout_is_off_only_while_a_step_is_compared(tmp_path: Path):
    """Two devices cannot draw the same dropout; a training that is timed has it."""
    target = gpu.Target(
        entry="faces-gan",
        architecture="gan",
        overrides=("model.maxout_units=8", "train.batch=4", "model.hidden_dropout=0.5"),
    )
    trainer = gpu.make_trainer(target.load(), gpu.make_store(target.load(), tmp_path), CPU)
    shares = [layer.p for layer in trainer.gan.modules() if isinstance(layer, torch.nn.Dropout)]

    torch.manual_seed(1)
    first = gpu.record_step(trainer)
    again = gpu.make_trainer(target.load(), trainer.store, CPU)
    torch.manual_seed(2)

    assert torch.equal(gpu.record_step(again).update, first.update)
    assert [layer.p for layer in trainer.gan.modules() if isinstance(layer, torch.nn.Dropout)] == shares
    assert max(shares) > 0


def test_operations_are_counted_as_torch_counts_them():
    """The counter that also works with penalties agrees with torch's on a step without any."""
    step = make_textbook_step(load_recipe("faces-dcgan", SMALL), torch.rand(2, 3, 64, 64))

    with gpu.FlopCounter() as ours:
        step()
    with FlopCounterMode(display=False) as torchs:
        step()

    assert ours.flops == torchs.get_total_flops() > 0


def test_tables_show_ratios_shares_and_goals():
    """The ratio is to PyTorch's defaults, the shares are of measured multiplications, the goals stand below."""
    row = {"task": "training", "model": "faces-dcgan", "mode": "", "batch": 128, "peak_mb": 900.0}
    table = gpu.format_tables(
        {
            "machine": {"device": "a card", "torch": "2.11"},
            "matmul": [{"variant": "bf16", "tflops": 600.0}, {"variant": "fp32", "tflops": 50.0}],
            "speed": [
                {**row, "variant": "textbook", "images_per_second": 10_000.0},
                {**row, "variant": "textbook, fp32", "images_per_second": 5_000.0},
                {**row, "variant": "fp32", "images_per_second": 8_000.0, "gflop_per_image": 2.5},
                {**row, "variant": "bf16", "mode": "graphed", "images_per_second": 32_000.0, "agrees": False},
                {**row, "model": "faces-stylegan2", "variant": "bf16", "images_per_second": 170.0, "pixels": 256},
            ],
        }
    )

    assert "| faces-dcgan | textbook, fp32 | 128 | 5,000 | 0.50x | 900 |" in table
    assert "| faces-dcgan | fp32 | 128 | 8,000 | 0.80x | 900 | 20 | 3% | 40% |" in table
    assert "| faces-dcgan | bf16 graphed | 128 | 32,000 | 3.20x | 900 | 80 | 13% | 160% | **gradients differ" in table
    assert "DCGAN trains at 3 times the textbook's speed. The best was 3.2 times." in table
    assert "150 images/s on one H100. The best was 170.0 images/s." in table


def test_times_on_a_gpu_are_whole_rounds_after_a_warm_up(monkeypatch: pytest.MonkeyPatch):
    """Events count milliseconds. Lazy penalties need whole rounds, and graphs are recorded after the first steps."""
    calls: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = len(calls)

        def elapsed_time(self, other: Event) -> float:
            return 250.0 * (other.at - self.at)  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)

    assert gpu.time_calls(lambda: calls.append("step"), torch.device("cuda"), calls=3) == 0.25
    assert len(calls) == FIRST_STEPS + 3 + 3 + 6  # a round to record, one to time, and two that take a second


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu_and_its_memory_is_measured(tmp_path: Path):
    """One step agrees in each precision, and a training's speed and peak memory are positive."""
    target = gpu.Target(entry="faces-dcgan", architecture="dcgan", overrides=("train.batch=8",))
    store, device = gpu.make_store(target.load(), tmp_path), torch.device("cuda")
    expected = gpu.record_step(gpu.make_trainer(target.load(), store, CPU))

    for variant, overrides in gpu.VARIANTS.items():
        found = gpu.record_step(gpu.make_trainer(target.load(*overrides), store, device))
        assert gpu.compare(found, expected, gpu.LIMITS[variant])["agrees"], variant
    row = gpu.measure_training(target, store, device, overrides=gpu.VARIANTS["TF32"])

    assert min(row["images_per_second"], row["peak_mb"], row["gflop_per_image"]) > 0
