"""The training loop and its runs: logs, resumption, interruptions, schedules, held-out metrics."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.blobs import Blobs

import zoo
from zoo.data import Batches, Store, batches, build_store
from zoo.data.images import decode_images as decode
from zoo.data.rows import DeviceRows
from zoo.errors import AlreadyExistsError, DivergenceError, InUseError, InvalidFileError, InvalidValueError
from zoo.gan import GAN
from zoo.io.atomic import replace_atomically
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.training import trainer as trainer_module
from zoo.training.callbacks import Callback
from zoo.training.checkpoint import list_checkpoints, load_checkpoint
from zoo.training.loop import run_training
from zoo.training.report import TrainingReport
from zoo.training.run import Run
from zoo.training.trainer import Trainer
from zoo.training.warm_start import load_warm_start

SMALL = ["model.width=4", "train.batch=4", "train.total_kimg=0.04", "train.samples_kimg=0.02", "train.log_kimg=0.02",
         "train.lr_decay_share=0"]  # fmt: skip


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("faces-dcgan", [*SMALL, "train.checkpoint_kimg=0.02"])


def run_it(recipe: Recipe, folder: Path, store: Store, **options: object) -> bool:
    run = Run(folder, recipe) if (folder / "recipe.toml").exists() else Run.create(recipe, folder)
    trainer = Trainer(recipe, store, decode, torch.device("cpu"))
    return run_training(run, trainer, **{"log": lambda line: None, **options})


def resume(recipe: Recipe, folder: Path) -> Run:
    run = Run.open(folder)
    run.check_same_training(recipe)
    return run.resume_as(recipe)


def test_a_run_leaves_what_a_user_looks_for(recipe: Recipe, store: Store, tmp_path: Path):
    """A finished run has its recipe, a log line for each interval, samples, TensorBoard events and checkpoints."""
    logged: list[str] = []

    assert run_it(recipe, tmp_path / "run", store, log=logged.append)

    run = tmp_path / "run"
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in log] == [0.02, 0.04]
    assert {"loss/D", "loss/G", "output/real", "output/fake", "report/advantage", "report/gradient_ratio",
            "report/diversity", "images_per_second"} <= set(log[0])  # fmt: skip
    names = ["kimg000000.000.png", "kimg000000.020.png", "kimg000000.040.png"]
    assert sorted(path.name for path in (run / "samples").iterdir()) == names
    assert (run / "reals.png").exists()
    assert len(list_checkpoints(run / "checkpoints")) == 2
    assert list((run / "tensorboard").iterdir())
    assert load_recipe(run / "recipe.toml").train == recipe.train
    assert "too early" in logged[-1]  # after 10 steps


def test_on_step_is_called_after_every_step(recipe: Recipe, store: Store, tmp_path: Path):
    """`on_step` gets the progress in kimg, and the speed."""
    seen = []
    run_it(recipe, tmp_path / "run", store, on_step=lambda now: seen.append((now.kimg, now.images_per_second > 0)))

    assert seen == [(pytest.approx(0.004 * i), True) for i in range(1, 11)]


def test_a_stop_in_the_last_step_is_the_end(recipe: Recipe, store: Store, tmp_path: Path):
    """There is nothing to resume."""
    assert not run_it(recipe, tmp_path / "early", store, deadline=0.0)
    last = replace(recipe, train=replace(recipe.train, total_kimg=recipe.train.batch / 1000))
    assert run_it(last, tmp_path / "last", store, deadline=0.0)


def test_log_of_a_resumed_run_has_no_line_twice(recipe: Recipe, store: Store, tmp_path: Path):
    """Lines later than the checkpoint, and an incomplete one, are dropped on resumption."""
    run = tmp_path / "run"
    run_it(recipe, run, store)
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kimg": 0.05, "lost": 1}\n{"kimg": 0.0')
    run_it(replace(recipe, train=replace(recipe.train, total_kimg=0.06)), run, store)

    assert [json.loads(line)["kimg"] for line in (run / "log.jsonl").read_text().splitlines()] == [0.02, 0.04, 0.06]


def test_tensorboard_has_no_step_of_a_resumed_run_twice(recipe: Recipe, store: Store, tmp_path: Path):
    """Where a run goes back before what it has logged, TensorBoard shows the new numbers alone."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    run_it(recipe, run, store)
    list_checkpoints(run / "checkpoints")[-1].unlink()
    run_it(recipe, run, store)

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/D")] == [20, 40]


def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(recipe: Recipe, store: Store, tmp_path: Path):
    """A run whose newest checkpoint has a flipped bit says so, goes on from the one before, and ends with the same."""
    for name in ("whole", "damaged"):
        run_it(recipe, tmp_path / name, store)
    newest = list_checkpoints(tmp_path / "damaged" / "checkpoints")[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0x10
    newest.write_bytes(data)

    lines: list[str] = []
    longer = replace(recipe, train=replace(recipe.train, total_kimg=0.06))
    run_it(longer, tmp_path / "whole", store)
    run_it(longer, tmp_path / "damaged", store, log=lines.append)

    assert f"{newest.name}: this checkpoint is damaged" in lines[0]
    assert lines[1] == "resuming from 0.020 kimg"
    whole, damaged = (Run.open(tmp_path / name).load()[0].state_dict() for name in ("whole", "damaged"))
    assert all(torch.equal(whole[key], damaged[key]) for key in whole)


def test_a_run_ends_with_the_same_weights_wherever_its_data_lie(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Read at each step, ahead in a thread, or on the device, and moved between them where the run is resumed."""
    longer = replace(recipe, train=replace(recipe.train, total_kimg=0.06))
    run_it(recipe, tmp_path / "plain", store)
    run_it(longer, tmp_path / "plain", store)

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "Batches", partial(Batches, prefetch=True))
        run_it(recipe, tmp_path / "moved", store)
    monkeypatch.setattr(batches, "place_rows", lambda store, device, placement, read: DeviceRows(store, device))
    moved = replace(longer, data=replace(longer.data, placement="device"))
    resume(moved, tmp_path / "moved")
    run_it(moved, tmp_path / "moved", store)

    plain, other = (load_checkpoint(tmp_path / name / "checkpoints") for name in ("plain", "moved"))
    assert plain["step"] == other["step"] == 15
    assert plain["noise"] == other["noise"]
    for network in ("gan", "average"):
        assert all(torch.equal(plain[network][key], other[network][key]) for key in plain[network])


def test_a_training_changes_samples_where_its_data_say_so(recipe: Recipe, store: Store):
    """Half of the images are mirrored, and with `data.flip=false` none."""
    first = {}
    for flip in (True, False):
        data = replace(recipe.data, flip=flip)  # type: ignore[call-arg]
        trainer = Trainer(replace(recipe, data=data), store, decode, torch.device("cpu"))
        first[flip] = torch.cat([trainer.batches.at(step, Noise(step))[0] for step in range(4)])

    mirrored = [not torch.equal(*pair) for pair in zip(first[True], first[False], strict=True)]
    assert 0 < sum(mirrored) < len(mirrored)
    back = torch.where(torch.tensor(mirrored)[:, None, None, None], first[True].flip(-1), first[True])
    assert torch.equal(back, first[False])


def test_divergence_stops_with_advice_and_keeps_the_last_good_state(recipe: Recipe, store: Store, tmp_path: Path):
    """A NaN is caught before the step is taken; the last checkpoint is finite and stays."""
    run = tmp_path / "run"
    run_it(recipe, run, store)
    bad = replace(recipe, train=replace(recipe.train, total_kimg=0.08, r1_gamma=float("inf"), r1_interval=1))

    ends: list[bool] = []

    class Watch(Callback):
        def on_end(self, kimg: float, *, finished: bool) -> None:
            ends.append(finished)

    with pytest.raises(DivergenceError, match="learning rates"):
        run_it(bad, run, store, callbacks=[Watch()])

    assert ends == [False]
    gan, kimg = Run.open(run).load()
    assert kimg == 0.04
    assert all(bool(torch.isfinite(value).all()) for value in gan.state_dict().values())


def test_resuming_with_another_recipe_names_the_keys(recipe: Recipe, store: Store, tmp_path: Path):
    """A changed recipe is refused with the keys that differ. A longer run is the same training."""
    run_it(recipe, tmp_path / "run", store)

    with pytest.raises(InvalidValueError, match=r"train\.batch: 4 -> 8"):
        resume(replace(recipe, train=replace(recipe.train, batch=8)), tmp_path / "run")
    resume(replace(recipe, train=replace(recipe.train, total_kimg=9.0)), tmp_path / "run")

    assert Run.open(tmp_path / "run").recipe.train.total_kimg == 9.0


def test_rates_that_have_fallen_do_not_rise_again(recipe: Recipe, store: Store, tmp_path: Path):
    """A run whose learning rates have started to fall cannot be made longer; before that, it can."""
    falling = replace(recipe, train=replace(recipe.train, lr_decay_share=0.5))
    run_it(falling, tmp_path / "run", store)
    with pytest.raises(InvalidValueError, match=r"started at 0\.02 kimg"):
        resume(replace(falling, train=replace(falling.train, total_kimg=0.08)), tmp_path / "run")

    Run.create(falling, tmp_path / "new")
    resume(replace(falling, train=replace(falling.train, total_kimg=0.08)), tmp_path / "new")


@pytest.mark.parametrize(
    ("entry", "settings", "start"),
    [
        ("faces-dcgan", ["train.lr_decay_share=0"], math.inf),
        ("faces-dcgan", ["train.lr_decay_share=0.25"], 75),
        ("music-musegan", ["train.lr_decay_share=0.1", "train.slope_from_share=0.2"], 20),
        ("music-musegan", ["train.lr_decay_share=0.1", "train.last_slope=1"], 90),
        ("text-relgan", ["train.lr_decay_share=0", "train.pretrain_kimg=30"], 30),
        ("text-gail", ["train.lr_decay_share=0", "train.pretrain_kimg=30", "train.discriminator_kimg=5"], 35),
    ],
)
def test_a_run_knows_when_its_first_schedule_starts(entry: str, settings: list[str], start: float):
    """A run knows when the first schedule that depends on its length starts: of rates, slopes or temperatures."""
    assert load_recipe(entry, ["train.total_kimg=100", *settings]).train.schedule_start_kimg == pytest.approx(start)


def test_learning_rates_fall_to_zero_at_the_end(recipe: Recipe, store: Store):
    """Over the last `lr_decay_share` of a training the rates fall in a straight line."""
    train_settings = replace(recipe.train, lr_decay_share=0.5)
    trainer = Trainer(replace(recipe, train=train_settings), store, decode, torch.device("cpu"))
    rates = []
    for _ in range(10):
        trainer.step(TrainingReport("non_saturating"))
        rates.append(trainer.optimizers[0].param_groups[0]["lr"] / 2e-4)

    assert rates == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


@dataclass
class Rounded(Blobs):
    """The same blobs as another processor renders them: some numbers are off by `levels`."""

    levels: int = 0

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        pixels, attributes = super().render(indices)
        rounded = pixels.astype(np.int16)
        rounded[..., ::3, ::5, :] += self.levels
        return rounded.clip(0, 255).astype(np.uint8), attributes


OTHER_DATA = [
    {"levels": 3},
    {"levels": 1, "version": "2"},
    {"levels": 1, "name": "others"},
    {"levels": 1, "count": 100},
]


@pytest.mark.parametrize("other", OTHER_DATA, ids=str)
def test_other_data_is_refused(recipe: Recipe, store: Store, tmp_path: Path, other: dict[str, object]):
    """A run is resumed only with the data it was trained on: its name, version, size and looks."""
    run_it(recipe, tmp_path / "run", store)
    longer = replace(recipe, train=replace(recipe.train, total_kimg=0.08))

    with pytest.raises(InvalidFileError, match="not what"):
        run_it(longer, tmp_path / "run", build_store(Rounded(**other), tmp_path / "other"))


def test_data_rendered_on_another_processor_is_the_same(recipe: Recipe, store: Store, tmp_path: Path):
    """A run folder moves to another machine: rendered data may differ there by two levels, and a line says so.

    A user's own pictures must have the same bytes.
    """
    logged: list[str] = []
    own = replace(recipe, data=replace(recipe.data, name="", folder="/photos"))
    rendered = build_store(Rounded(levels=2), tmp_path / "rendered")
    for name, kind in (("run", recipe), ("own", own)):
        run_it(kind, tmp_path / name, store)

    run_it(replace(recipe, train=replace(recipe.train, total_kimg=0.08)), tmp_path / "run", rendered, log=logged.append)

    assert any("another kind of processor" in line for line in logged)
    assert Run.open(tmp_path / "run").load()[1] == pytest.approx(0.08)
    with pytest.raises(InvalidFileError, match="not what"):
        run_it(replace(own, train=replace(own.train, total_kimg=0.08)), tmp_path / "own", rendered)


def test_a_second_start_does_not_overwrite_a_run(recipe: Recipe, tmp_path: Path):
    """A run cannot be created where one exists."""
    Run.create(recipe, tmp_path / "run")

    with pytest.raises(AlreadyExistsError, match="--resume"):
        Run.create(recipe, tmp_path / "run")


def test_a_new_run_does_not_go_on_from_checkpoints_of_another(recipe: Recipe, store: Store, tmp_path: Path):
    """A folder that has lost its recipe still has states, which belong to that recipe."""
    run_it(recipe, tmp_path / "run", store)
    (tmp_path / "run" / "recipe.toml").unlink()

    with pytest.raises(AlreadyExistsError, match="checkpoints of another training are here; choose another folder"):
        Run.create(recipe, tmp_path / "run")


def test_an_edited_recipe_that_does_not_fit_is_refused(recipe: Recipe, store: Store, tmp_path: Path):
    """A run whose recipe was edited to another width is an error, and is not loaded in part."""
    run_it(recipe, tmp_path / "run", store)
    path = tmp_path / "run" / "recipe.toml"
    path.write_text(path.read_text().replace("width = 4", "width = 8"))

    with pytest.raises(InvalidFileError, match="do not fit"):
        Run.open(tmp_path / "run").load()
    with pytest.raises(InvalidFileError, match="do not fit"):
        run_it(Run.open(tmp_path / "run").recipe, tmp_path / "run", store)


@pytest.mark.parametrize("damage", [{"optimizers": []}, {"step": "x"}, {"data": None}, {"data": {}}, None])
def test_a_checkpoint_that_is_something_else_is_refused(
    recipe: Recipe, store: Store, tmp_path: Path, damage: dict[str, object] | None
):
    """Resuming from such a checkpoint is one clear error."""
    run_it(recipe, tmp_path / "run", store)
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    state = torch.load(newest, weights_only=True)
    torch.save([1, 2] if damage is None else {**state, **damage}, newest)

    with pytest.raises(InvalidFileError):
        run_it(recipe, tmp_path / "run", store)


def test_damaged_text_files_of_a_run_are_handled(recipe: Recipe, store: Store, tmp_path: Path):
    """A log is cut where it cannot be read; an entry's name that cannot be read is an error."""
    run = tmp_path / "run"
    run_it(recipe, run, store)
    whole = (run / "log.jsonl").read_bytes()
    (run / "log.jsonl").write_bytes(whole + b"[1, 2]\n\xff\xfe\n")
    run_it(replace(recipe, train=replace(recipe.train, total_kimg=0.06)), run, store)
    assert (run / "log.jsonl").read_bytes().startswith(whole)

    (run / "entry").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidFileError, match="the name of an entry"):
        Run.open(run)


def test_another_recipe_is_refused_before_its_data_is_built(recipe: Recipe, tmp_path: Path, monkeypatch):
    """`zoo train ENTRY --resume RUN` renders no data where the run was trained on a user's own folder."""
    Run.create(replace(recipe, data=replace(recipe.data, name="", folder="/photos")), tmp_path / "run")
    monkeypatch.setattr("zoo.training.session.open_data", lambda *args, **options: pytest.fail("data was opened"))

    with pytest.raises(InvalidValueError, match="started with another recipe"):
        zoo.train("faces-dcgan", resume=tmp_path / "run")


def test_folders_that_are_no_runs_are_refused(tmp_path: Path):
    """A folder without a recipe is no run."""
    with pytest.raises(InvalidFileError, match="not a run folder"):
        zoo.train(resume=tmp_path)


SCRIPT = """
import sys, torch
from pathlib import Path
from zoo.data import Store
from zoo.data.images import decode_images
from zoo.recipe import load_recipe
from zoo.training.loop import run_training
from zoo.training.run import Run
from zoo.training.trainer import Trainer
torch.set_num_threads(1)
folder, store = Path(sys.argv[1]), Store.open(Path(sys.argv[2]))
if (folder / "recipe.toml").exists():
    run = Run.open(folder)
else:
    run = Run.create(load_recipe("faces-dcgan", sys.argv[3:]), folder)
print("ready", flush=True)
print("finished", run_training(run, Trainer(run.recipe, store, decode_images, torch.device("cpu"))), flush=True)
"""


def start_process(run: Path, store: Store) -> subprocess.Popen:
    long = ["train.total_kimg=1000", "train.checkpoint_kimg=0.02"]
    command = [sys.executable, "-c", SCRIPT, str(run), str(store.folder), *SMALL, *long]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(run: Path, *, newer_than: str = "") -> None:
    for _ in range(6000):
        found = list_checkpoints(run / "checkpoints")
        if found and found[-1].name > newer_than:
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint in five minutes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_checkpoint_and_exit_cleanly(number: signal.Signals, store: Store, tmp_path: Path):
    """Ctrl-C and SIGTERM finish the step, write a checkpoint of it and return."""
    process = start_process(tmp_path / "run", store)
    wait_for_checkpoint(tmp_path / "run")
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)

    assert process.returncode == 0, output
    assert "finished False" in output
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert Run.open(tmp_path / "run").load()[1] == json.loads(log[-1])["kimg"]


def test_kill_at_any_moment_leaves_a_checkpoint_that_loads(store: Store, tmp_path: Path):
    """After kill -9, again and again, the newest checkpoint loads and the run is resumed from it."""
    run, kimg = tmp_path / "run", 0.0
    for pause in (0.0, 0.07, 0.013):
        newest = list_checkpoints(run / "checkpoints")[-1].name if kimg else ""
        process = start_process(run, store)
        wait_for_checkpoint(run, newer_than=newest)
        time.sleep(pause)
        process.kill()
        process.wait()
        reached = Run.open(run).load()[1]

        assert reached > kimg
        kimg = reached


WORKERS = """
import sys, torch
from pathlib import Path
from zoo.data import Store
from zoo.data.images import decode_images
from zoo.recipe import load_recipe
from zoo.training import distributed
from zoo.training.loop import run_training
from zoo.training.run import Run
from zoo.training.trainer import Trainer
torch.set_num_threads(1)
store = Store.open(Path(sys.argv[1]))
with distributed.process_group() as device:
    for arguments in sys.argv[2:]:
        path, *settings = arguments.split("; ")
        recipe, folder = load_recipe("faces-gan", settings), Path(path)
        with distributed.first_process_first():
            if distributed.rank() == 0 and not (folder / "recipe.toml").exists():
                Run.create(recipe, folder)
        run_training(Run(folder, recipe), Trainer(recipe, store, decode_images, device))
"""


def train_processes(count: int, store: Store, folder: Path, runs: dict[str, list[str]]) -> None:
    """Train, or resume, each run of the folder with this number of processes, one run after the other."""
    script = folder / "worker.py"
    script.write_text(WORKERS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    arguments = ["; ".join([str(folder / name), *settings]) for name, settings in runs.items()]
    command = [*(launcher if count > 1 else [sys.executable]), script, store.folder, *arguments]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_equal_one_on_the_joined_batch(make_store, tmp_path: Path):
    """Two gloo processes with half a batch each reach the weights of one process with the full batch, to 1e-6.

    So does a run that is resumed with another number of processes. Gradients sent in bfloat16 come near.

    The optimizer is SGD, because Adam's first steps turn the rounding of tiny gradients into full steps. Maxout units
    have one piece, because rounding would choose between two pieces that are nearly equal.
    """
    store = make_store(32)
    settings = [
        *("train.batch=8", "train.total_kimg=0.04", "train.augment=['color', 'translation']"),
        *("train.r1_gamma=0.1", "train.r1_interval=2", "train.lr_decay_share=0"),
        *("model.input_dropout=0", "model.hidden_dropout=0"),
        *("model.generator_units=64", "model.maxout_units=16", "model.maxout_pieces=1"),
    ]
    for network in ("generator", "discriminator"):
        settings += [f"train.{network}.{key}" for key in ("kind=sgd", "lr=0.05", "momentum=0.5")]
    half, coarse = [*settings, "train.total_kimg=0.024"], [*settings, "train.all_reduce=bf16"]
    train_processes(2, store, tmp_path, {"two": settings, "both": half, "near": coarse})
    train_processes(1, store, tmp_path, {"one": settings, "both": settings})
    one, two, both, near = (Run.open(tmp_path / n).load()[0].state_dict() for n in ("one", "two", "both", "near"))
    start = load_recipe("faces-gan", settings)
    torch.manual_seed(start.train.seed)
    fresh = start.build().state_dict()
    assert max(float((one[key] - fresh[key]).abs().max()) for key in one) > 1e-4  # it did train
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-6)
        torch.testing.assert_close(both[key], one[key], rtol=0, atol=1e-6)
        torch.testing.assert_close(near[key], one[key], rtol=0, atol=2e-3)
    assert any(not torch.equal(near[key], two[key]) for key in one)


def test_a_run_starts_from_the_weights_that_its_recipe_names(recipe: Recipe, store: Store, tmp_path: Path):
    """`train.start` gives both networks and the average their first weights; those of another size are refused."""
    run_it(recipe, tmp_path / "first", store)
    trained = Run.open(tmp_path / "first").load()[0]
    trainer = Trainer(recipe, store, decode, torch.device("cpu"))

    load_warm_start(trainer, trained)

    started = trainer.averaged_gan().state_dict()
    assert all(torch.equal(value, started[name]) for name, value in trained.state_dict().items())
    wider = load_recipe("faces-dcgan", [*SMALL, "model.width=8"])
    with pytest.raises(InvalidValueError, match="width = 4 instead of width = 8"):
        load_warm_start(Trainer(wider, store, decode, torch.device("cpu")), trained)


def test_the_best_state_is_kept_where_the_recipe_asks(recipe: Recipe, store: Store, tmp_path: Path):
    """With keep = "best" a run is loaded from its lowest first held-out metric, also after resumption."""
    scores = iter([3.0, 1.0, 2.0, 1.5])
    kept = replace(recipe, train=replace(recipe.train, evaluate_kimg=0.012, keep="best", total_kimg=0.024))
    evaluate_fn = lambda gan: {"distance": (next(scores), None), "other": (0.0, None)}  # noqa: E731
    run_it(kept, tmp_path / "run", store, evaluate_fn=evaluate_fn)
    best = Run.open(tmp_path / "run").load()

    longer = replace(kept, train=replace(kept.train, total_kimg=0.048))
    resume(longer, tmp_path / "run")
    run_it(longer, tmp_path / "run", store, evaluate_fn=evaluate_fn)
    again = Run.open(tmp_path / "run").load()

    assert best[1] == again[1] == pytest.approx(0.024)
    assert all(torch.equal(value, again[0].state_dict()[key]) for key, value in best[0].state_dict().items())


def test_an_evaluation_that_fails_loses_nothing(recipe: Recipe, store: Store, tmp_path: Path):
    """Where an evaluation fails, a checkpoint has what was trained until then."""

    def evaluate_fn(gan: GAN) -> dict[str, tuple[float, float | None]]:
        raise InvalidValueError("too few samples")

    evaluated = replace(recipe, train=replace(recipe.train, evaluate_kimg=0.012, checkpoint_kimg=1))
    with pytest.raises(InvalidValueError, match="too few"):
        run_it(evaluated, tmp_path / "run", store, evaluate_fn=evaluate_fn)

    assert Run.open(tmp_path / "run").load()[1] == pytest.approx(0.012)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), KeyboardInterrupt()])
def test_a_checkpoint_is_kept_before_an_evaluation(recipe: Recipe, store: Store, tmp_path: Path, error: BaseException):
    """Whatever ends an evaluation, also that at the end of a training."""

    def evaluate_fn(gan: GAN) -> dict[str, tuple[float, float | None]]:
        raise error

    evaluated = replace(recipe, train=replace(recipe.train, evaluate_kimg=1, checkpoint_kimg=1))
    with pytest.raises(type(error)):
        run_it(evaluated, tmp_path / "run", store, evaluate_fn=evaluate_fn)

    assert Run.open(tmp_path / "run").load()[1] == pytest.approx(0.04)


def test_what_is_not_finite_is_neither_evaluated_nor_kept(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A GPU is asked before an evaluation that is due by itself."""
    take_step = Trainer.step

    def step(trainer: Trainer, report: TrainingReport) -> None:
        take_step(trainer, report)
        trainer._is_finite &= trainer.num_steps < 3  # as a GPU notes it, and goes on

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(Trainer, "_run_phase", lambda *args: None)
    asked: list[GAN] = []
    evaluated = replace(recipe, train=replace(recipe.train, evaluate_kimg=0.012, checkpoint_kimg=1))
    with pytest.raises(DivergenceError):
        run_it(evaluated, tmp_path / "run", store, evaluate_fn=lambda gan: asked.append(gan) or {"x": (0.0, None)})

    assert not asked
    assert not list_checkpoints(tmp_path / "run" / "checkpoints")


def test_held_out_metrics_are_logged_while_training(recipe: Recipe, store: Store, tmp_path: Path):
    """Every `evaluate_kimg` the averaged generator is evaluated, and its metrics are logged."""
    logged: list[str] = []
    evaluated = replace(recipe, train=replace(recipe.train, evaluate_kimg=0.02))
    weights, states = {}, {}

    def evaluate_fn(gan: GAN) -> dict[str, tuple[float, float | None]]:
        torch.nn.Linear(3, 3)  # an evaluation may build another network
        return {"spread": (float(gan.sample(2, seed=0).tensor.std()), 0.5)}

    for name, evaluate_fn_or_none in (("run", evaluate_fn), ("no", None)):
        run_it(evaluated, tmp_path / name, store, evaluate_fn=evaluate_fn_or_none, log=logged.append)
        weights[name] = Run.open(tmp_path / name).load()[0].state_dict()
        states[name] = load_checkpoint(tmp_path / name / "checkpoints")["torch_rng"]

    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in log if "held_out/spread" in line] == [0.02, 0.04]
    assert sum("held out: spread" in line and "(real against real 0.5)" in line for line in logged) == 2
    # evaluating changes nothing
    assert all(torch.equal(value, weights["no"][key]) for key, value in weights["run"].items())
    assert torch.equal(states["run"], states["no"])


def test_two_trainings_of_one_run_folder_are_refused(recipe: Recipe, store: Store, tmp_path: Path):
    """The second training names the process of the first and changes nothing; the lock ends with its process."""
    process = start_process(tmp_path / "run", store)
    wait_for_checkpoint(tmp_path / "run")
    before = (tmp_path / "run" / "recipe.toml").read_bytes()

    for attempt in (lambda: zoo.train(resume=tmp_path / "run"), lambda: run_it(recipe, tmp_path / "run", store)):
        with pytest.raises(InUseError, match=f"process {process.pid} on"):
            attempt()
    process.kill()
    process.wait()

    assert (tmp_path / "run" / "recipe.toml").read_bytes() == before
    assert run_it(replace(recipe, train=replace(recipe.train, total_kimg=0.0)), tmp_path / "run", store)


def test_what_killed_writes_left_is_swept_on_resume(recipe: Recipe, store: Store, tmp_path: Path):
    """Temporary files of a killed run are deleted when it is resumed, and nothing else is."""
    run_it(recipe, tmp_path / "run", store)
    before = {path for path in (tmp_path / "run").rglob("*") if path.is_file()}
    writing = replace_atomically(tmp_path / "run" / "checkpoints" / "step-000000099.pt")
    left = writing.__enter__()  # the process is killed inside
    assert left.exists()

    run_it(replace(recipe, train=replace(recipe.train, total_kimg=0.0)), tmp_path / "run", store)

    assert not left.exists()
    assert before <= set((tmp_path / "run").rglob("*"))
