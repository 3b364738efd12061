"""All image architectures on one GPU, beside the CPU's numbers and the tutorials' DCGAN.

    python benchmarks/gpu.py --out OUT [--minutes 9]

It needs a checkout, torch and NumPy. Phases run in this order, and none starts when its time is out:

1. Matrix multiplications: what the device reaches in bf16, TF32 and float32, the unit of shares.
2. Agreement: one step on the device and on the CPU, from the same weights, data and random numbers.
3. Images a second and peak memory of training steps and of sampling; then as CUDA graphs, compiled, and both.

A training step is the `Trainer`'s: data, penalties at their intervals, norms and the average are in it. The textbook
script trains on one batch that is on the device already, which is in its favor. It is timed as PyTorch is by default,
which lets convolutions round to TF32, and in float32 throughout.

After each phase, OUT has all results so far in gpu.json and, as tables, in gpu.md. What fails is a row that says why.
Without a GPU everything runs once in tiny batches, to show that it runs. Those times mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import gc
import json
import math
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import checkout  # noqa: F401 - makes zoo importable
import numpy as np
import torch
from plain_images import make_textbook_networks, make_textbook_step
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import zoo
from zoo.data import Store, build_store
from zoo.data.store import About, Rows
from zoo.device import choose_device
from zoo.errors import ZooError, shorten
from zoo.modality import kind_of
from zoo.nn import compiling
from zoo.nn.fusion import fuse_norms
from zoo.nn.memory_format import channels_last
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.registry import registry
from zoo.samples import Images
from zoo.training.graphs import FIRST_STEPS, Recorder
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer

VARIANTS = {
    "fp32": [],
    "TF32": ["train.tf32=true"],
    "bf16": ["train.tf32=true", "train.precision=bf16"],
}
MODES = {
    "graphed": ["train.cuda_graphs=true"],
    "compiled": ["train.compile=true"],
    "compiled, graphed": ["train.compile=true", "train.cuda_graphs=true"],
}
LIMITS = {"fp32": 0.05, "TF32": 0.1, "bf16": 0.5}
"""The largest relative difference of images and gradients that counts as rounding. A wrong gradient is off by about 1.

In float32, images differ by less than 1e-5 and gradients by up to 0.03: where rounding takes a unit past the kink of a
ReLU, and where a weight's first update has the other sign.
"""

AUTO = (
    *("model.latent_dim=512", "model.style_dim=512", "model.channel_base=16384", "model.channel_max=512"),
    *("model.noise=true", "train.style_mixing=0.9", "train.path_length_weight=2"),
)
SIZES = {
    "stylegan2": {
        "auto, 256 px": (*AUTO, "model.resolution=256"),
        "auto, 128 px": (*AUTO, "model.resolution=128"),
        "auto, 256 px, ADA": (*AUTO, "model.resolution=256", "train.augment=ada"),
    }
}
"""Other sizes of an architecture: here those of which others published speeds, with noise, mixing and path lengths."""
ANCHORS = (
    "StyleGAN2-ADA `auto` on one A100, TF32 off: 147 images/s at 128 px, 80 at 256 (NVlabs/stylegan3, docs/configs.md)"
)
GOAL_RATIO = 3.0  # of DCGAN's training, times the textbook's
GOAL_RATE = 150.0  # of StyleGAN2's training at 256 px, in images a second on one H100

PICTURES = 256  # of the data set, which is random
AGREEMENT_BATCH = 8
SECONDS = 1.0  # that a speed is measured for
EAGER_SECONDS, COMPILED_SECONDS = 15.0, 90.0  # that must be left on a GPU to start a phase


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is measured: an entry, perhaps in another size."""

    entry: str
    architecture: str
    overrides: tuple[str, ...] = ()
    size: str = ""  # what the overrides are called

    @property
    def name(self) -> str:
        return f"{self.entry}, {self.size}" if self.size else self.entry

    def load(self, *overrides: str) -> Recipe:
        return load_recipe(self.entry, [*self.overrides, *overrides])


def list_targets(*, sizes: Mapping[str, Mapping[str, tuple[str, ...]]] = SIZES) -> list[Target]:
    """List what is measured: one entry of images for each architecture and its sizes; those with goals come first.

    An entry that cannot be loaded is listed, too, so that its phases say why.
    """
    found: dict[Any, Target] = {}
    for name in registry.names("faces"):
        plain = Target(entry=name, architecture=registry.entries[name].architecture)
        try:
            recipe = plain.load()
            if not issubclass(recipe.architecture_class.Output, Images):
                continue
        except Exception:
            found[name] = plain
            continue
        found.setdefault((recipe.architecture, repr(recipe.model), ""), plain)
        for size, overrides in sizes.get(recipe.architecture, {}).items():
            other = replace(plain, overrides=overrides, size=size)
            with contextlib.suppress(ZooError):  # not every architecture has all sizes
                found.setdefault((recipe.architecture, repr(other.load().model), size), other)
    ranks = {"dcgan": 0, "stylegan2": 1}
    return sorted(found.values(), key=lambda target: (ranks.get(target.architecture, 2), not target.overrides))


# --- phases: guarded, timed, and written at once ------------------------------------------------------------------


@dataclass(kw_only=True)
class Bench:
    """The results so far, and the clock."""

    device: torch.device
    out: Path
    deadline: float  # on time.monotonic
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def run(self, table: str, row: dict[str, Any], measure: Callable[[], Mapping[str, Any]]) -> None:
        """Run a phase, if there is time for it, and add its row: what it measured, or why it failed."""
        left = self.deadline - time.monotonic()
        needed = (COMPILED_SECONDS if "compiled" in row.get("mode", "") else EAGER_SECONDS) if self.on_gpu else 0.0
        start = time.monotonic()
        if left <= needed:
            row["failed"] = "not started: no time was left"
        else:
            try:
                with _limit_time(left):
                    row |= measure()
            except Exception as error:
                row["failed"] = shorten(f"{type(error).__name__}: {error}", 200)
        row["phase_seconds"] = round(time.monotonic() - start, 1)
        self.results.setdefault(table, []).append(row)
        print(json.dumps(row), flush=True)
        self.write()
        self._free()

    def has_trained(self, target: Target, variant: str) -> bool:
        """Tell whether a training was measured: not every architecture can be trained in every precision."""
        key = {"task": "training", "model": target.name, "variant": variant}
        return any(key.items() <= row.items() and "failed" not in row for row in self.results.get("speed", []))

    def write(self) -> None:
        """Write gpu.json and gpu.md."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "gpu.json").write_text(json.dumps(self.results, indent=2) + "\n", encoding="utf-8")
        (self.out / "gpu.md").write_text(format_tables(self.results), encoding="utf-8")

    def _free(self) -> None:
        """Free what the phase left: a compiled network lives on in caches."""
        torch.compiler.reset()
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _limit_time(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside the block after so many seconds: compiling may take any time."""

    def stop(*_: object) -> None:
        raise TimeoutError("the time was out")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def time_calls(run: Callable[[], object], device: torch.device, *, calls: int = 1) -> float:
    """Measure the seconds of a call, over whole rounds of `calls` calls: some to warm up, then SECONDS of them.

    On the CPU, three calls warm up and one is measured.
    """
    if device.type != "cuda":
        _time(run, device, 3)
        return _time(run, device, 1)
    _time(run, device, FIRST_STEPS + calls)  # graphs are recorded after the first steps
    once = _time(run, device, calls)
    num = calls * max(1, math.ceil(SECONDS / once))
    return _time(run, device, num) / num


def _time(run: Callable[[], object], device: torch.device, num: int) -> float:
    """Measure the seconds of `num` calls."""
    if device.type != "cuda":
        start = time.perf_counter()
        for _ in range(num):
            run()
        return time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(num):
        run()
    last.record()
    torch.cuda.synchronize(device)
    return first.elapsed_time(last) / 1000


def measure_speed(run: Callable[[], object], device: torch.device, *, images: int, calls: int = 1) -> dict[str, Any]:
    """Measure the images a second of a call that makes or trains on `images`, and its peak memory on a GPU."""
    if device.type != "cuda":
        return {"images_per_second": images / time_calls(run, device, calls=calls)}
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    rate = images / time_calls(run, device, calls=calls)
    return {"images_per_second": rate, "peak_mb": torch.cuda.max_memory_allocated(device) / 1e6}


def set_tf32(*, matmul: bool, convolutions: bool) -> None:
    """Let float32 products round to TF32. Each phase sets it, because the setting belongs to the whole process."""
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions


# --- 1. matrix multiplications -----------------------------------------------------------------------------------


def measure_matmul(device: torch.device, variant: str) -> dict[str, Any]:
    """Measure the TFLOP/s of a square matrix multiplication."""
    n = 8192 if device.type == "cuda" else 512
    set_tf32(matmul=variant == "TF32", convolutions=False)
    dtype = torch.bfloat16 if variant == "bf16" else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    return {"size": n, "tflops": 2 * n**3 / time_calls(lambda: a @ b, device) / 1e12}


# --- 2. agreement ------------------------------------------------------------------------------------------------


def make_store(recipe: Recipe, folder: Path) -> Store:
    """Build a data set of random pictures of a recipe's size."""
    channels, height, width = recipe.build().sample_shape
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, height, width, channels), dtype=np.uint8)
    test = np.zeros(PICTURES, dtype=np.uint8)
    return build_store(Rows(About(name="random"), pixels, test, {}), folder / f"{height}x{width}x{channels}")


def make_trainer(recipe: Recipe, store: Store, device: torch.device) -> Trainer:
    return Trainer(recipe, store, kind_of(recipe).decode, device)


@dataclass(frozen=True, kw_only=True)
class StepNumbers:
    """What one training step computed, on the CPU in float64."""

    images: Tensor  # of the generator before the step
    gradients: dict[str, Tensor]  # by phase, one vector each
    update: Tensor  # weights after the step minus those before it


def record_step(trainer: Trainer) -> StepNumbers:
    """Run the first step of a training, without dropout, whose random numbers belong to each device."""
    gan, gradients = trainer.gan, []

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        gradients.append(_flatten(p.grad if p.grad is not None else torch.zeros_like(p) for p in weights))

    hooks = [optimizer.register_step_pre_hook(keep) for optimizer in trainer.optimizers]
    latents = gan.latents(trainer.recipe.train.batch, Noise(1)).to(trainer.device)
    with _no_dropout(gan):
        with torch.no_grad(), trainer.precision.autocast():
            images = _flatten([gan.generator(latents)])
        before = _flatten(gan.parameters())
        due = [phase.name for phase in trainer.phases if phase.is_due(trainer.num_steps, trainer.kimg)]
        trainer.step(TrainingReport(trainer.recipe.train.loss))
        update = _flatten(gan.parameters()) - before
    for hook in hooks:
        hook.remove()
    return StepNumbers(images=images, gradients=dict(zip(due, gradients, strict=True)), update=update)


def _flatten(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().cpu().double().flatten() for tensor in tensors])


@contextlib.contextmanager
def _no_dropout(gan: nn.Module) -> Iterator[None]:
    layers = {m: m.p for m in list_dropouts(gan)}
    for layer in layers:
        layer.p = 0.0
    yield
    for layer, p in layers.items():
        layer.p = p


def list_dropouts(gan: nn.Module) -> list[nn.modules.dropout._DropoutNd]:
    return [module for module in gan.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]


def bring_to_graphs(trainer: Trainer, plain: Trainer) -> None:
    """Train both until the next step of `trainer` has all phases, as graphs, and give both the same state."""
    first = math.lcm(*(phase.interval for phase in trainer.phases))
    for each in (trainer, plain):
        report = TrainingReport(each.recipe.train.loss)
        for _ in range(first * math.ceil(FIRST_STEPS / first)):
            each.step(report)
    trainer.load_state_dict(copy.deepcopy(plain.state_dict()))  # optimizers would share it


def compare(found: StepNumbers, expected: StepNumbers, limit: float) -> dict[str, Any]:
    """Compute relative differences: of the images, of the gradient that differs most, and of the update.

    Adam's first update is almost the sign of the gradient, so the update differs more than the gradient, and has no
    limit.
    """

    def relate(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm() / b.norm().clamp_min(1e-30))

    gradients = {name: relate(found.gradients[name], value) for name, value in expected.gradients.items()}
    row = {
        "images": relate(found.images, expected.images),
        "gradients": gradients,
        "update": relate(found.update, expected.update),
    }
    return {**row, "agrees": row["images"] < limit and all(value < limit for value in gradients.values())}


# --- 3. speed ----------------------------------------------------------------------------------------------------


def choose_batch(recipe: Recipe, device: torch.device) -> int:
    """Choose a batch: 128 up to 64 px, 64 at 128 px, 32 at 256 px: there, twice that of StyleGAN2-ADA's `auto`."""
    side = recipe.build().sample_shape[-1]
    return max(16, min(128, 128 * 64 // side)) if device.type == "cuda" else 2


class FlopCounter(TorchDispatchMode):
    """Count the floating-point operations of the block by torch's formulas.

    Torch's own `FlopCounterMode` also follows modules by hooks, which fail where a penalty calls `torch.autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def measure_training(
    target: Target, store: Store, device: torch.device, *, overrides: list[str], eager: list[str] | None = None
) -> dict[str, Any]:
    """Measure a training's speed.

    Without `eager`, also its work: floating-point operations an image, and the time of a batch of data. With it, also
    how much the first step differs from that of the training with those overrides: compilers have returned wrong
    gradients.
    """
    batch = choose_batch(target.load(), device)
    recipe = target.load(f"train.batch={batch}", *overrides)
    trainer = make_trainer(recipe, store, device)
    gan = trainer.gan
    period = math.lcm(*(phase.interval for phase in trainer.phases))
    row: dict[str, Any] = {"batch": batch, "pixels": gan.sample_shape[-1]}
    if eager is not None:
        other = make_trainer(target.load(f"train.batch={batch}", *eager), store, device)
        if recipe.train.cuda_graphs:
            bring_to_graphs(trainer, other)
        found, expected = record_step(trainer), record_step(other)
        row |= compare(found, expected, LIMITS["bf16" if recipe.train.precision == "bf16" else "TF32"])
        if recipe.train.cuda_graphs and list_dropouts(gan):  # which the graphs of the recorded step left out
            trainer = make_trainer(recipe, store, device)
        del other

    report = TrainingReport(recipe.train.loss)
    steps_per_line = max(1, round(1000 * recipe.train.log_kimg / batch))  # of the log, for which numbers are waited for

    def step() -> None:
        trainer.step(report)
        if trainer.num_steps % steps_per_line == 0:
            report.summary()

    row |= measure_speed(step, device, images=batch, calls=period)
    if eager is None:
        with FlopCounter() as counter:
            for _ in range(period):
                step()
        row["gflop_per_image"] = counter.flops / 1e9 / period / batch
        row["data_ms"] = 1e3 * time_calls(lambda: trainer.batches.at(0, Noise(0)), device)
        row["parameters"] = {
            name: sum(p.numel() for p in network.parameters()) for name, network in gan.networks.items()
        }
    return row


def measure_textbook_training(target: Target, device: torch.device, *, tf32: bool) -> dict[str, Any]:
    recipe = target.load()
    batch = choose_batch(recipe, device)
    set_tf32(matmul=False, convolutions=tf32)
    real = torch.rand(batch, *recipe.build().sample_shape, device=device) * 2 - 1
    return {"batch": batch, **measure_speed(make_textbook_step(recipe, real), device, images=batch)}


@torch.no_grad()
def measure_sampling(target: Target, device: torch.device, *, variant: str, mode: str = "") -> dict[str, Any]:
    """Measure `gan.sample`, whose samples end on the CPU; with a mode, a loop of compiled calls in its place."""
    recipe = target.load()
    batch = choose_batch(recipe, device)
    set_tf32(matmul=variant != "fp32", convolutions=variant != "fp32")
    gan = recipe.build().eval().to(device, torch.bfloat16 if variant == "bf16" else torch.float32)
    if not mode:
        images = 8 * batch if device.type == "cuda" else batch
        run: Callable[[], object] = lambda: gan.sample(images, seed=0, batch_size=batch)  # noqa: E731
        speed = measure_speed(run, device, images=images)
        with FlopCounter() as counter:
            gan.sample(batch, seed=0, batch_size=batch)
        return {"batch": batch, **speed, "gflop_per_image": counter.flops / 1e9 / batch}
    generator = channels_last(fuse_norms(gan.generator))
    if "compiled" in mode:
        compiling.compile_network(generator)
    if "graphed" in mode:
        generator = record_sampling(generator, gan.latents(batch, Noise(0)).to(next(generator.parameters())))

    def sample() -> None:
        generator(gan.latents(batch, Noise(0)).to(next(gan.generator.parameters()))).cpu()

    return {"batch": batch, **measure_speed(sample, device, images=batch)}


def record_sampling(generator: Callable[[Tensor], Tensor], latents: Tensor) -> Callable[[Tensor], Tensor]:
    """Record a generator as a CUDA graph for latents of this shape."""
    recorder = Recorder(latents.device)
    graph = recorder.make_graph()
    with recorder.stream():
        for _ in range(FIRST_STEPS):
            generator(latents)
        images = graph.record(lambda: {"images": generator(latents)})["images"]

    def replay(values: Tensor) -> Tensor:
        latents.copy_(values)
        graph.replay()
        return images

    return replay


@torch.no_grad()
def measure_textbook_sampling(target: Target, device: torch.device) -> dict[str, Any]:
    recipe = target.load()
    batch = choose_batch(recipe, device)
    set_tf32(matmul=False, convolutions=True)
    generator = make_textbook_networks(recipe)[0].eval().to(device)

    def sample() -> None:
        generator(torch.randn(batch, recipe.model.latent_dim, 1, 1, device=device)).cpu()

    return {"batch": batch, **measure_speed(sample, device, images=batch)}


# --- the whole ---------------------------------------------------------------------------------------------------


def run_all(bench: Bench, targets: list[Target], folder: Path) -> None:
    """Run all phases, the most valuable ones first."""
    device = bench.device
    variants = list(VARIANTS) if bench.on_gpu else ["fp32", "bf16"]
    quick = [mode for mode in MODES if "compiled" not in mode and bench.on_gpu]
    slow = [mode for mode in MODES if mode not in quick and (bench.on_gpu or mode == "compiled")]  # to start
    stores = {target: functools.cache(lambda target=target: make_store(target.load(), folder)) for target in targets}
    for variant in variants:
        bench.run("matmul", {"variant": variant}, lambda variant=variant: measure_matmul(device, variant))

    for target in (target for target in targets if not target.size):  # larger ones would take the CPU too long
        overrides = [f"train.batch={AGREEMENT_BATCH if bench.on_gpu else 2}"]
        cpu = functools.cache(
            lambda target=target, overrides=overrides: record_step(
                make_trainer(target.load(*overrides), stores[target](), torch.device("cpu"))
            )
        )
        for variant in variants:

            def agree(
                target=target, variant=variant, overrides=(*overrides, *VARIANTS[variant]), cpu=cpu
            ) -> dict[str, Any]:
                found = record_step(make_trainer(target.load(*overrides), stores[target](), device))
                return compare(found, cpu(), LIMITS[variant])

            bench.run("agreement", {"model": target.name, "variant": variant}, agree)

    def list_variants(target: Target) -> list[str]:
        return variants[-1:] if target.size else variants  # large ones take long where they are slow

    def train(target: Target, mode: str = "", variant: str = "") -> None:
        variant = variant or ("bf16" if bench.has_trained(target, "bf16") else "TF32")
        overrides, eager = VARIANTS[variant] + MODES.get(mode, []), VARIANTS[variant] if mode else None
        bench.run(
            "speed",
            {"task": "training", "model": target.name, "variant": variant, "mode": mode},
            lambda: measure_training(target, stores[target](), device, overrides=overrides, eager=eager),
        )

    def sample(target: Target, mode: str = "", variant: str = "bf16") -> None:
        bench.run(
            "speed",
            {"task": "sampling", "model": target.name, "variant": variant, "mode": mode},
            lambda: measure_sampling(target, device, variant=variant, mode=mode),
        )

    for target in targets:
        if target.architecture == "dcgan":
            row = {"task": "training", "model": target.name, "variant": "textbook", "mode": ""}
            bench.run("speed", row, lambda target=target: measure_textbook_training(target, device, tf32=True))
            bench.run(
                "speed",
                {**row, "variant": "textbook, fp32"},
                lambda target=target: measure_textbook_training(target, device, tf32=False),
            )
            bench.run(
                "speed",
                {**row, "task": "sampling"},
                lambda target=target: measure_textbook_sampling(target, device),
            )
        for variant in list_variants(target):
            train(target, variant=variant)
        for mode in quick:
            train(target, mode)
    for target in targets:
        for variant in list_variants(target):
            sample(target, variant=variant)
        for mode in quick:
            sample(target, mode)
    for run in (train, sample):
        for target in targets:
            for mode in slow:
                run(target, mode)


def describe_machine(device: torch.device) -> dict[str, Any]:
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "torch": torch.__version__,
        "zoo": zoo.__version__,
        "device": f"CPU, {torch.get_num_threads()} threads",
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about |= {
            "device": card.name,
            "memory_gb": round(card.total_memory / 1e9),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return about


# --- tables ------------------------------------------------------------------------------------------------------


def format_tables(results: Mapping[str, Any]) -> str:
    """Format all results as Markdown."""
    machine = results["machine"]
    parts = [", ".join(f"{key} {value}" if key != "device" else value for key, value in machine.items()) + "."]
    matmul = {row["variant"]: row["tflops"] for row in results.get("matmul", []) if "tflops" in row}
    if matmul:
        parts.append(f"Matrix multiplication: {', '.join(f'{v} {t:.3g} TFLOP/s' for v, t in matmul.items())}.")
    if rows := results.get("agreement"):
        lines = [
            [row["model"], row["variant"], row["failed"], "", "", ""]
            if "failed" in row
            else [
                row["model"],
                row["variant"],
                f"{row['images']:.1e}",
                ", ".join(f"{name} {value:.1e}" for name, value in row["gradients"].items()),
                f"{row['update']:.1e}",
                "yes" if row["agrees"] else "**NO**",
            ]
            for row in rows
        ]
        head = ["model", "variant", "images", "gradients", "update", "agrees"]
        parts += ["Relative differences from the CPU's float32, in one step:", _format_table(head, lines)]
    speed = results.get("speed", [])
    for task in ("training", "sampling"):
        if rows := [row for row in speed if row["task"] == task]:
            head = [
                "model",
                "variant",
                "batch",
                "images/s",
                "of textbook",
                "peak MB",
                "TFLOP/s",
                "of bf16",
                "of fp32",
                "",
            ]
            parts += [f"{task.capitalize()}:", _format_table(head, [_format_speed(row, rows, matmul) for row in rows])]
    parts.append("\n".join(f"- {line}" for line in [*_format_goals(speed), f"Published: {ANCHORS}."]))
    return "\n\n".join(parts) + "\n"


def _format_speed(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], matmul: Mapping[str, float]) -> list[str]:
    names = [row["model"], " ".join([row["variant"], row["mode"]]).strip()]
    if "failed" in row:
        return [*names, *[""] * 7, row["failed"]]
    ratio = compute_ratio(row, rows)
    gflop = next((r["gflop_per_image"] for r in rows if r["model"] == row["model"] and "gflop_per_image" in r), None)
    tflops = None if gflop is None or row["variant"].startswith("textbook") else gflop * row["images_per_second"] / 1e3
    shares = [
        f"{tflops / matmul[variant]:.0%}" if tflops is not None and variant in matmul else ""
        for variant in ("bf16", "fp32")
    ]
    notes = [f"data {row['data_ms']:.1f} ms a batch"] if "data_ms" in row else []
    notes += ["**gradients differ from eager**"] if row.get("agrees") is False else []
    return [
        *names,
        str(row["batch"]),
        f"{row['images_per_second']:,.0f}",
        f"{ratio:.2f}x" if ratio is not None else "",
        f"{row['peak_mb']:,.0f}" if "peak_mb" in row else "",
        f"{tflops:.3g}" if tflops is not None else "",
        *shares,
        ", ".join(notes),
    ]


def compute_ratio(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Compute the speed of a row over that of the textbook script of the same model; None where there is none."""
    for other in rows:
        if (other["model"], other["task"], other["variant"]) == (row["model"], row["task"], "textbook"):
            return row["images_per_second"] / other["images_per_second"] if "images_per_second" in other else None
    return None


def _format_goals(speed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    trained = [row for row in speed if row["task"] == "training" and "peak_mb" in row]  # on a GPU
    ratios = [compute_ratio(row, trained) for row in trained if row["model"] == "faces-dcgan"]
    best = max((ratio for ratio in ratios if ratio is not None), default=None)
    yield f"Goal: DCGAN trains at {GOAL_RATIO:.0f} times the textbook's speed. {_format_best(best, 'times')}"
    rates = [row["images_per_second"] for row in trained if "stylegan2" in row["model"] and row.get("pixels") == 256]
    found = _format_best(max(rates, default=None), "images/s")
    yield f"Goal: StyleGAN2 at 256 px trains at {GOAL_RATE:.0f} images/s on one H100. {found}"


def _format_best(best: float | None, unit: str) -> str:
    return "Not measured." if best is None else f"The best was {best:,.1f} {unit}."


def _format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder for gpu.json and gpu.md")
    parser.add_argument("--only", nargs="*", metavar="ENTRY", default=[], help="entries to measure; all if absent")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no phase goes on")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    options = parser.parse_args()
    device = choose_device(options.device)
    bench = Bench(device=device, out=options.out, deadline=time.monotonic() + 60 * options.minutes)
    bench.results["machine"] = describe_machine(device)
    if bench.on_gpu:
        torch.cuda.set_device(device.index or 0)
    else:
        compiling.BACKEND = "aot_eager"  # which needs no compiler
    with tempfile.TemporaryDirectory() as folder:
        targets = list_targets(sizes=SIZES if bench.on_gpu else {})
        run_all(bench, [each for each in targets if each.entry in (options.only or [each.entry])], Path(folder))
    print((options.out / "gpu.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
