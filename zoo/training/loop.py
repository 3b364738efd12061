"""The one training loop. It plays any GAN's phases and knows nothing of any modality.

A run is a folder:

    recipe.toml            the resolved recipe
    log.jsonl              one line an interval: losses, outputs, gradient norms, the game, the rate
    tensorboard/           the same numbers for TensorBoard
    samples/               kimg000010.000.png and so on: the averaged generator from fixed latents
    checkpoints/           the newest whole states, all of them resumable, and the best by held-out figures
    entry                  the name of the entry
    figures.json           what `zoo evaluate` measured
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shutil
import signal
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data import Batches, Store
from zoo.disk import replacing
from zoo.errors import BadFile, BadValue, CannotWrite, Diverged, ZooError
from zoo.gan import GAN
from zoo.nn.layout import channels_last
from zoo.noise import Noise
from zoo.recipe import Recipe, Train, difference, parse_recipe
from zoo.training import distributed
from zoo.training.checkpoint import checkpoints, load_checkpoint, save_best, save_checkpoint, turn_of
from zoo.training.ema import update_ema
from zoo.training.game import Game, diversity, sentences
from zoo.training.phases import Phase, Turn, only

_RHYTHM = tuple(
    f"train.{key}:"
    for key in ("total_kimg", "log_kimg", "samples_kimg", "checkpoint_kimg", "evaluate_kimg", "keep_checkpoints")
)
MAX_RECIPE_BYTES = 1 << 20
NUM_FIXED = 64  # latents of the sample grid, and the fixed-size batch that diversity is measured on

Decode = Callable[[np.ndarray, Noise | None], Tensor]
Judge = Callable[[GAN], Mapping[str, tuple[float, float | None]]]
"""Held-out figures by name: value, and that of real against real. Of the first, lower is better: `keep` goes by it."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a watcher of the training is told after every turn."""

    kimg: float
    total_kimg: float
    images_per_second: float
    summary: dict[str, float]  # of the last log line; empty before the first


class Training:
    """A training in memory: everything that changes from turn to turn, as one state dictionary."""

    def __init__(self, recipe: Recipe, store: Store, decode: Decode, device: torch.device) -> None:
        train = recipe.train
        rank, world_size = distributed.rank(), distributed.world_size()
        if train.batch % world_size:
            raise BadValue(f"train.batch = {train.batch} should divide by the {world_size} processes")
        torch.manual_seed(train.seed + rank)  # dropout; each process its own
        self.gan: GAN = recipe.gan(recipe.model)
        self.gan.attach(store.folder)
        self.gan.prepare(store)
        distributed.broadcast([self.gan.to(device)])
        channels_last(self.gan).requires_grad_(False)
        self.average = copy.deepcopy(self.gan.generator).eval()
        self.phases: list[Phase] = self.gan.phases(train)
        self.noise = Noise(train.seed, rank=rank, world_size=world_size)
        self.batches = Batches(
            store,
            lambda rows, noise: decode(rows, noise if recipe.data.augments else None),
            batch=train.batch,
            seed=train.seed,
            rank=rank,
            world_size=world_size,
            balanced=recipe.data.balanced,
        )
        self.device, self.recipe, self.turn = device, recipe, 0
        self.best = math.inf  # of the first held-out figure
        self.optimisers = list(dict.fromkeys(phase.optimiser for phase in self.phases))
        self._base_lr = [[group["lr"] for group in optimiser.param_groups] for optimiser in self.optimisers]

    @property
    def _memories(self) -> list[nn.Module]:
        return [phase.memory for phase in self.phases if phase.memory is not None]

    @property
    def kimg(self) -> float:
        return self.turn * self.recipe.train.batch / 1000

    def play(self, game: Game) -> None:
        """One turn: every phase that is due, then the average. Raises Diverged before a broken step is taken."""
        self._set_learning_rates()
        real = self.batches.at(self.turn, self.noise).to(self.device)
        labels = self.batches.labels_at(self.turn)
        due = [phase for phase in self.phases if phase.due(self.turn, self.kimg)]
        generator_plays = any(phase.player is self.gan.generator for phase in due)
        turn = Turn(
            self.gan,
            real,
            self.noise,
            generator_plays=generator_plays,
            kimg=self.kimg,
            labels=None if labels is None else labels.to(self.device),
        )
        for phase in due:
            with only(phase.player):
                terms = phase.loss(turn)
                phase.optimiser.zero_grad(set_to_none=True)
                terms["loss"].backward()
                distributed.average_gradients(phase.player)
            norm = _gradient_norm(phase)
            if not math.isfinite(norm):
                raise Diverged(
                    f"phase {phase.name} has no finite gradient at {self.kimg:.3f} kimg (loss {terms['loss'].item()})."
                    " Try lower learning rates, train.r1_gamma above 0, or a larger batch."
                )
            if norm > phase.clip_norm:
                torch._foreach_mul_(
                    [p.grad for p in phase.player.parameters() if p.grad is not None], phase.clip_norm / norm
                )
            phase.optimiser.step()
            game.watch(phase.name, {name: value.detach() for name, value in terms.items()}, norm)
        self.turn += 1
        train = self.recipe.train
        update_ema(
            self.average,
            self.gan.generator,
            batch=train.batch,
            kimg=self.kimg,
            halflife_kimg=train.ema_halflife_kimg,
            rampup=train.ema_rampup,
        )

    def _set_learning_rates(self) -> None:
        train = self.recipe.train
        if not train.lr_decay_share:
            return
        share = min(1.0, max(0.0, (1 - self.kimg / train.total_kimg) / train.lr_decay_share))
        for optimiser, rates in zip(self.optimisers, self._base_lr, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * share

    def start_from(self, start: GAN) -> list[str]:
        """Begin with the weights of `start`, as far as they fit; returns the names of those that begin anew.

        Raises:
            BadValue: another architecture, or one too different, naming what differs.
        """
        refuse_start(self.recipe, start)
        own = self.gan.state_dict()
        fitting = _fitting(start.state_dict(), own)
        anew = [name for name in own if name not in fitting]
        self.gan.load_state_dict(fitting, strict=not anew)
        self.average.load_state_dict(self.gan.generator.state_dict())
        return anew

    def state_dict(self) -> dict[str, Any]:
        return {
            "gan": self.gan.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "memories": [memory.state_dict() for memory in self._memories],
            "noise": self.noise.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "turn": self.turn,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.gan.load_state_dict(state["gan"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        for memory, saved in zip(self._memories, state["memories"], strict=True):
            memory.load_state_dict(saved)
        self.noise.load_state_dict(state["noise"])
        if distributed.rank() == 0:
            torch.set_rng_state(state["torch_rng"])
        else:  # the saved dropout stream is the first process's; the others go on with one of their own
            torch.manual_seed(self.recipe.train.seed + distributed.rank() + state["turn"])
        self.turn, self.best = int(state["turn"]), state["best"]

    def released(self) -> GAN:
        """The GAN as it is sampled, evaluated and released: the averaged generator and the live discriminator."""
        gan = copy.deepcopy(self.gan)
        gan.generator.load_state_dict(self.average.state_dict())
        return gan.eval()


def _shortly(names: list[str]) -> str:
    """Names of tensors by their layers, the first few of them."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")


def _fields(config: Any) -> list[str]:
    return [f"{field.name} = {getattr(config, field.name)}" for field in dataclasses.fields(config)]


def _gradient_norm(phase: Phase) -> float:
    gradients = [p.grad for p in phase.player.parameters() if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) if gradients else 0.0


_UNFIT = "its checkpoint and its recipe.toml do not fit: was the recipe edited?"


def open_run(run: Path) -> Recipe:
    """The recipe of the run folder `run`. Raises BadFile where it is none."""
    path = run / "recipe.toml"
    if not path.is_file():
        raise BadFile(f"{run}: no run folder: it has no recipe.toml. `zoo train ENTRY --out {run}` would start one.")
    try:
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise BadFile(f"{path}: larger than any recipe; refused")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: cannot read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{path}: not a TOML file: {error}") from error
    return parse_recipe(table, name=_entry_name(run, table), where=str(path))


def _entry_name(run: Path, table: dict[str, Any]) -> str:
    path = run / "entry"
    named = path.is_file() and path.stat().st_size < 1000
    try:
        return path.read_text(encoding="utf-8").strip() if named else f"{table.get('modality')}-{run.name}"
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: should be the name of an entry: {error}") from error


def load_run(run: Path) -> tuple[Recipe, GAN, float]:
    """The recipe, the released players and the kimg of a run's newest or best checkpoint. Raises BadFile."""
    recipe = open_run(run)
    state = load_checkpoint(run / "checkpoints", best=recipe.train.keep == "best")
    gan: GAN = recipe.gan(recipe.model)
    gan.attach(run)
    try:
        gan.load_state_dict(state["gan"])
        gan.generator.load_state_dict(state["average"])
        return recipe, gan.eval(), state["turn"] * recipe.train.batch / 1000
    except (RuntimeError, KeyError, TypeError) as error:
        raise BadFile(f"{run}: {_UNFIT}") from error


def refuse_run(run: Path) -> None:
    """Raise BadFile where a run is there already."""
    if (run / "recipe.toml").exists():
        raise BadFile(f"{run}: a run is here already; go on with `zoo train --resume {run}` or choose another folder")


def refuse_start(recipe: Recipe, start: GAN) -> None:
    """Raise BadValue, naming what differs, where less than half of the generator would begin with what `start` has.

    A player of a larger picture, of other classes or of more judges begins with the layers that it shares; one of
    another width shares next to nothing.
    """
    from zoo.hub import expected_states

    where, wanted = f"train.start = {recipe.train.start!r}: those weights are of", recipe.gan
    if type(start) is not wanted:
        raise BadValue(f"{where} {type(start).__name__}, and not of {wanted.__name__}")
    generator = expected_states(wanted, recipe.model)["generator"]
    fits = sum(tensor.numel() for tensor in _fitting(start.generator.state_dict(), generator).values())
    if fits < (whole := sum(tensor.numel() for tensor in generator.values())) / 2:
        pairs = zip(_fields(recipe.model), _fields(start.config), strict=True)
        differing = ", ".join(f"{theirs} instead of {ours}" for ours, theirs in pairs if ours != theirs)
        raise BadValue(f"{where} {differing}: {fits / whole:.0%} of the generator fit, and half should")


def _fitting(start: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the state `start` that the state `own` has by the same name in the same shape."""
    return {name: there for name, there in start.items() if name in own and own[name].shape == there.shape}


def start_run(recipe: Recipe, run: Path, data: Path | None = None) -> None:
    """Make the run folder, with the model's assets from the folder of its data, if it has any.

    Raises BadFile where a run is there already, CannotWrite.
    """
    refuse_run(run)
    try:
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        (run / "samples").mkdir(exist_ok=True)
        (run / "entry").write_text(recipe.name + "\n", encoding="utf-8")
        if data is not None:
            for asset in recipe.gan.ASSETS:
                shutil.copyfile(data / asset, run / asset)
        (run / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{run}: cannot write a run here: {error.strerror or error}") from error


def continue_run(recipe: Recipe, run: Path) -> None:
    """Make `recipe` the run's, where it is the same game: another rhythm of logs, samples and checkpoints, or longer.

    Raises BadValue, naming the keys, where it is another game. A run whose rates have begun to fall cannot be made
    longer: they would have to rise again. Nor can one in which something else runs towards its end.
    """
    refuse_other_game(recipe, run)
    with replacing(run / "recipe.toml") as temporary:
        temporary.write_text(recipe.to_toml(), encoding="utf-8")


def refuse_other_game(recipe: Recipe, run: Path, *, fitted: bool = True) -> None:
    """Raise BadValue, naming the keys, where the run cannot go on as `recipe`, whose model need not be fitted yet."""
    started = open_run(run)
    passed_over = (*_RHYTHM, "weights.", "evaluate.", "summary:", *(() if fitted else ("model.",)))
    lines = difference(started.to_table(), recipe.to_table())
    if changed := [line for line in lines if not line.startswith(passed_over)]:
        raise BadValue(
            f"{run} was started with another recipe: {'; '.join(changed)}. "
            "Start a new run for these, or resume without them."
        )
    old, new = started.train, recipe.train
    if old.total_kimg != new.total_kimg:
        runs_from = min(old.runs_from_kimg, new.runs_from_kimg)
        if _progress(run, old.batch) > runs_from:
            raise BadValue(
                f"train.total_kimg: {old.total_kimg} -> {new.total_kimg}: what changes towards the end of {run}, as "
                f"learning rates may, does so from {runs_from:g} kimg on, which is past; start a new run"
            )


def _progress(run: Path, batch: int) -> float:
    """The kimg of the newest checkpoint, by its name."""
    found = checkpoints(run / "checkpoints")
    return turn_of(found[-1]) * batch / 1000 if found else 0.0


def train(
    recipe: Recipe,
    run: Path,
    store: Store,
    decode: Decode,
    *,
    device: torch.device,
    start: GAN | None = None,
    judge: Judge | None = None,
    watch: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> bool:
    """Play `recipe` in the run folder `run`, from its newest checkpoint if it has one.

    Ctrl-C and SIGTERM end the turn, write a checkpoint and return; a second Ctrl-C ends at once.

    Args:
        decode: stored rows to the players' form; given random numbers, with the data's augmentation.
        start: whose weights a new run begins with; random ones if None.
        judge: scores the averaged generator every `evaluate_kimg`.
        watch: called after each turn on the first process.
        say: called with lines for the user.

    Returns:
        Whether the training reached its end.

    Raises:
        Diverged: a loss or gradient left the finite numbers; the last checkpoint is kept.
        CannotWrite: the disk is full or the folder read-only; the last checkpoint is whole.
    """
    with _stop_signals() as stop:
        training = Training(recipe, store, decode, device)
        if checkpoints(run / "checkpoints"):
            state = load_checkpoint(run / "checkpoints")
            if not isinstance(state, dict) or "fingerprint" not in state:
                raise BadFile(f"{run}: {_UNFIT}")
            if state["fingerprint"] != store.fingerprint:
                raise BadFile(f"{store.folder}: the data is not what {run} was trained on; build it again")
            try:
                training.load_state_dict(state)
            except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadFile(f"{run}: {_UNFIT}") from error
            say(f"going on from {training.kimg:.3f} kimg")
        elif start is not None and (anew := training.start_from(start)):
            count = len(training.gan.state_dict())
            say(f"begins with {recipe.train.start} but for {len(anew)} of {count} tensors: {_shortly(anew)}")
        if distributed.rank() == 0:
            _truncate_log(run / "log.jsonl", training.kimg)
        return _play_to_the_end(training, run, store, decode, stop=stop, judge=judge, watch=watch, say=say)


def _play_to_the_end(
    training: Training,
    run: Path,
    store: Store,
    decode: Decode,
    *,
    stop: Callable[[], bool],
    judge: Judge | None,
    watch: Callable[[Progress], None] | None,
    say: Callable[[str], None],
) -> bool:
    settings = training.recipe.train
    main = distributed.rank() == 0
    game, summary = Game(settings.loss), dict[str, float]()
    fixed = training.gan.latents(NUM_FIXED, Noise(settings.seed + 1))
    real = decode(store.samples[store.indices("train")[: 2 * NUM_FIXED : 2]], None)
    writer = _tensorboard(run) if main else None
    started, started_at = time.perf_counter(), training.turn
    stopped = False

    def state() -> dict[str, Any]:
        return {**training.state_dict(), "fingerprint": store.fingerprint}

    def keep_state() -> None:
        save_checkpoint(state(), run / "checkpoints", turn=training.turn, keep=settings.keep_checkpoints)

    while training.kimg < settings.total_kimg and not stopped:
        before = training.kimg
        training.play(game)
        stopped = distributed.any_process(stop())
        over = training.kimg >= settings.total_kimg
        rate = (training.turn - started_at) * settings.batch / (time.perf_counter() - started)
        if main and (over or _passes(before, training.kimg, settings.samples_kimg)):
            samples = training.gan.output(_sample(training, fixed), fixed)
            samples.save(run / "samples" / f"kimg{training.kimg:010.3f}{samples.SUFFIXES[0]}")
        if over or stopped or _passes(before, training.kimg, settings.log_kimg):
            summary = distributed.average(game.summary())
            if writer is not None:
                summary["game/diversity"] = diversity(_sample(training, fixed), real)
                summary["images_per_second"] = rate
                _log(run, writer, training, summary)
        if judge is not None and writer is not None and _judged(before, training.kimg, settings):
            try:
                with torch.random.fork_rng(devices=[]):  # what the judge draws is not the players' to miss on resuming
                    figures = judge(training.released())
            except ZooError:
                keep_state()
                raise
            say(f"{training.kimg:g} kimg, held out: {', '.join(map(_told, figures.items()))}")
            scores = {f"held_out/{name}": value for name, (value, _) in figures.items()}
            if (first := next(iter(scores.values()))) < training.best:
                training.best = first
                if settings.keep == "best":
                    save_best(state(), run / "checkpoints")
            _log(run, writer, training, scores)
        if main and (over or stopped or _passes(before, training.kimg, settings.checkpoint_kimg)):
            keep_state()
        if main and watch is not None:
            watch(Progress(kimg=training.kimg, total_kimg=settings.total_kimg, images_per_second=rate, summary=summary))
    if writer is not None:
        writer.close()
    if main:
        for sentence in sentences(summary, settings.loss):
            say(sentence)
    return not stopped


def _passes(before_kimg: float, kimg: float, interval_kimg: float) -> bool:
    """Whether a multiple of the interval lies in (before, now]."""
    return math.floor(kimg / interval_kimg + 1e-9) > math.floor(before_kimg / interval_kimg + 1e-9)


def _judged(before_kimg: float, kimg: float, settings: Train) -> bool:
    if not settings.evaluate_kimg:
        return False
    return kimg >= settings.total_kimg or _passes(before_kimg, kimg, settings.evaluate_kimg)


def _told(figure: tuple[str, tuple[float, float | None]]) -> str:
    name, (value, floor) = figure
    return f"{name} {value:.4g}" + (f" (real against real {floor:.4g})" if floor is not None else "")


@torch.no_grad()
def _sample(training: Training, latents: Tensor) -> Tensor:
    """Samples of the averaged generator, on the CPU, by chunks that fit where a training batch does."""
    chunks = latents.to(training.device).split(max(16, training.recipe.train.batch))
    return torch.cat([training.average(chunk).float().cpu() for chunk in chunks])


def _tensorboard(run: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run / "tensorboard"))


def _log(run: Path, writer: Any, training: Training, values: Mapping[str, float]) -> None:
    """Write a line of log.jsonl, and the same numbers for TensorBoard. Raises CannotWrite."""
    path, line = run / "log.jsonl", {"kimg": training.kimg, "turn": training.turn, **values}
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise CannotWrite(f"{path}: cannot write: {error.strerror or error}") from error
    for name, value in values.items():
        writer.add_scalar(name, value, round(training.kimg * 1000))


def _truncate_log(path: Path, kimg: float) -> None:
    """Drop lines later than the checkpoint that a run goes on from, and a half-written last one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["kimg"] <= kimg:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError, TypeError):
            break
    with replacing(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; the second SIGINT interrupts as usual."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        before = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
