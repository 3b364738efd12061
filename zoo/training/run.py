"""A run: the folder of one training.

recipe.toml            the resolved recipe
entry                  the name of the entry
log.jsonl              one line an interval: losses, outputs, gradient norms, the training report, the speed
tensorboard/           the same numbers for TensorBoard
samples/               kimg000010.000.png and so on: the averaged generator at fixed latents
reals.png              real samples, as the networks see them
checkpoints/           the newest states, all of them resumable, and the best by held-out metrics
metrics.json           what `zoo evaluate` measured, and curve.png, for text
directions.json        what `zoo directions --learn` learned
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.data.identity import MAX_LEVELS, compare_store
from zoo.errors import (
    AlreadyExistsError,
    InvalidFileError,
    InvalidValueError,
    NotFoundError,
    WriteError,
    is_out_of_memory,
)
from zoo.gan import GAN
from zoo.io.atomic import replace_atomically
from zoo.io.lock import hold_lock
from zoo.recipe import Recipe, difference, parse_recipe
from zoo.training.checkpoint import BEST, list_checkpoints, load_checkpoint, read_checkpoint, read_step
from zoo.training.trainer import Trainer

MAX_RECIPE_BYTES = 1 << 20
_TRAIN_KEYS = (
    *("total_kimg", "log_kimg", "samples_kimg", "checkpoint_kimg", "evaluate_kimg", "keep_checkpoints"),
    *("compile", "cuda_graphs"),
)
_MAY_CHANGE = (*(f"train.{key}:" for key in _TRAIN_KEYS), "data.placement:")
"""What may differ when a run is resumed: its length and intervals, and how and where a machine runs it."""


_ELSEWHERE = ("weights.", "evaluate.", "summary:", "model.", "data.folder:")
"""What does not change a training, or is compared by other means than the recipe."""


@dataclass(frozen=True)
class Run:
    """A run folder and its recipe, opened once and passed on."""

    folder: Path
    recipe: Recipe
    checkpoint: Path | None = None
    """The state to load, where one was asked for; None: the newest, or the best where the recipe keeps it."""

    @classmethod
    def create(cls, recipe: Recipe, folder: Path, data: Path | None = None) -> Run:
        """Make the folder of a new run, with the model's assets from the folder of its data, if it has any.

        Raises AlreadyExistsError where a run exists already, WriteError.
        """
        check_no_run(folder)
        try:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (folder / "samples").mkdir(exist_ok=True)
            (folder / "entry").write_text(recipe.name + "\n", encoding="utf-8")
            if data is not None:
                for asset in recipe.architecture_class.ASSETS:
                    shutil.copyfile(data / asset, folder / asset)
            (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        except OSError as error:
            raise WriteError(f"{folder}: cannot write a run here: {error.strerror or error}") from error
        return cls(folder, recipe)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open an existing run. Raises NotFoundError where there is no folder, InvalidFileError where it is none."""
        path = folder / "recipe.toml"
        if folder.is_file() and is_run(folder.absolute().parent.parent):
            raise InvalidFileError(f"{folder}: a checkpoint; name its run, {folder.absolute().parent.parent}")
        if not folder.exists():
            raise NotFoundError(f"{folder}: no such folder; `zoo train ENTRY --out {folder}` starts a run")
        if (folder / "config.json").is_file():
            raise InvalidFileError(
                f"{folder}: released weights, and not a run; `zoo train ENTRY train.start={folder}` trains them on"
            )
        if not path.is_file():
            raise InvalidFileError(
                f"{folder}: not a run folder: it has no recipe.toml. `zoo train ENTRY --out {folder}` starts a run."
            )
        return cls(folder, read_resolved_recipe(path))

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a state to resume from; a run that was stopped early may have none."""
        return bool(list_checkpoints(self.checkpoints))

    @property
    def kimg(self) -> float:
        """The progress at the newest checkpoint, or at the one that was asked for, by its name; 0 without one."""
        if self.checkpoint is not None and self.checkpoint.name != BEST:
            found = [self.checkpoint]
        else:
            found = list_checkpoints(self.checkpoints)
        return read_step(found[-1]) * self.recipe.train.batch / 1000 if found else 0.0

    def load(self) -> tuple[GAN, float]:
        """Load the networks of a checkpoint, as they are sampled, and its kimg.

        Raises InvalidFileError for damaged ones, and NoWeightsError where there is none.
        """
        recipe = self.recipe
        if self.checkpoint is not None:
            state = read_checkpoint(self.checkpoint)
        else:
            best = recipe.train.keep == "best" and (self.checkpoints / BEST).is_file()
            state = load_checkpoint(self.checkpoints, best=best)
        gan = recipe.build()
        gan.load_assets(self.folder)
        gan.load_extras(self.folder)
        try:
            gan.load_state_dict(state["gan"])
            gan.generator.load_state_dict(state["average"])
            return gan.eval(), state["step"] * recipe.train.batch / 1000
        except (RuntimeError, KeyError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            raise InvalidFileError(f"{self.folder}: {_MISMATCH}") from error

    def restore(self, trainer: Trainer, log: Callable[[str], None]) -> None:
        """Restore a trainer from the newest checkpoint that is whole. `log` is told of damaged ones.

        Raises InvalidFileError where the checkpoint, the recipe and the data do not belong together.
        """
        state = load_checkpoint(self.checkpoints, log=log)
        if not isinstance(state, dict) or "data" not in state:
            raise InvalidFileError(f"{self.folder}: {_MISMATCH}")
        try:
            found = compare_store(state["data"], trainer.store, is_rendered=bool(self.recipe.data.name))
            if found == "other":
                raise InvalidFileError(
                    f"{trainer.store.folder}: the data is not what {self.folder} was trained on; build it again"
                )
            if found == "alike":
                log(f"the data was built on another kind of processor; pixels differ by {MAX_LEVELS} levels at most")
            trainer.load_state_dict(state)
        except InvalidFileError:
            raise
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            raise InvalidFileError(f"{self.folder}: {_MISMATCH}") from error

    def check_same_training(self, recipe: Recipe) -> None:
        """Refuse to resume as another training: only intervals, the length and the folder of the data may change.

        The model is compared by `resume_as`, since it may depend on data that are not open yet, and the bytes of the
        data by `restore`. A run whose learning rates have started to fall cannot be made longer: they would have to
        rise again.

        Raises InvalidValueError, naming the keys.
        """
        self._check_unchanged(recipe, ignored=(*_MAY_CHANGE, *_ELSEWHERE))
        old, new = self.recipe.train, recipe.train
        if self.has_schedule_begun(new.total_kimg):
            start = min(old.schedule_start_kimg, new.schedule_start_kimg)
            raise InvalidValueError(
                f"train.total_kimg: {old.total_kimg} -> {new.total_kimg}: a schedule of {self.folder} that depends on "
                f"its length, such as the learning rates', started at {start:g} kimg. Start a new run from its "
                f"weights: {self.describe_continuation()}"
            )

    def describe_continuation(self) -> str:
        """Return the command that trains the same recipe in a new run, from the weights of this one."""
        data = self.recipe.data
        source = f" --data hf:{data.hub}" if data.hub else f" --data {data.folder}" if data.folder else ""
        return f"zoo train {self.folder / 'recipe.toml'} --out NEW_FOLDER --from {self.folder}{source}"

    def has_schedule_begun(self, total_kimg: float) -> bool:
        """Tell whether a schedule of this run has begun that another length would have begun elsewhere."""
        train = self.recipe.train
        if total_kimg == train.total_kimg:
            return False
        other = replace(train, total_kimg=total_kimg)
        return self.kimg > min(train.schedule_start_kimg, other.schedule_start_kimg)

    def resume_as(self, recipe: Recipe) -> Run:
        """Make `recipe`, whose other keys `check_same_training` passed, the run's recipe.

        Raises InvalidValueError where its model is another, InUseError where another process trains in this folder.
        """
        old, new = self.recipe.to_table(), recipe.to_table()
        self._refuse([f"model.{line}" for line in difference(old["model"], new["model"])])
        with self.lock(), replace_atomically(self.folder / "recipe.toml") as temporary:
            temporary.write_text(recipe.to_toml(), encoding="utf-8")
        return replace(self, recipe=recipe)

    def lock(self) -> AbstractContextManager[None]:
        """Return the lock that a training holds on its folder. Entering it raises InUseError where another has it."""
        return hold_lock(self.folder / ".lock", what=f"{self.folder}: a training runs")

    def _check_unchanged(self, recipe: Recipe, *, ignored: tuple[str, ...]) -> None:
        lines = difference(self.recipe.to_table(), recipe.to_table())
        self._refuse([line for line in lines if not line.startswith(ignored)])

    def _refuse(self, changed: Iterable[str]) -> None:
        if lines := list(changed):
            raise InvalidValueError(
                f"{self.folder} was started with another recipe: {'; '.join(lines)}. "
                "Start a new run for these, or resume without them."
            )


_MISMATCH = "its checkpoint and its recipe.toml do not fit: was the recipe edited?"


def find_run(path: Path) -> Run | None:
    """Open the run of a run folder, or of one of its checkpoints, `runs/a/checkpoints/step-000001000.pt`, with that.

    None where the path is neither. Raises InvalidFileError for a run that is broken.
    """
    if is_run(path):
        return Run.open(path)
    if path.suffix == ".pt" and path.is_file() and is_run(folder := path.absolute().parent.parent):
        return replace(Run.open(folder), checkpoint=path)
    return None


def is_run(folder: Path) -> bool:
    """Tell whether a folder is a run: it has a recipe, and no released weights beside it."""
    return (folder / "recipe.toml").is_file() and not (folder / "config.json").is_file()


def check_no_run(folder: Path) -> None:
    """Raise AlreadyExistsError where a run exists already."""
    if (folder / "recipe.toml").exists():
        raise AlreadyExistsError(
            f"{folder}: a run is here already; resume it with `zoo train --resume {folder}` or choose another folder"
        )
    checkpoints = folder / "checkpoints"
    if (checkpoints / BEST).exists() or list_checkpoints(checkpoints):
        raise AlreadyExistsError(f"{checkpoints}: checkpoints of another training are here; choose another folder")


def read_resolved_recipe(path: Path) -> Recipe:
    """Read the recipe.toml of a run or a release. Raises InvalidFileError where it is none."""
    try:
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise InvalidFileError(f"{path}: larger than any recipe; refused")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not a TOML file: {error}") from error
    return parse_recipe(table, name=_entry_name(path.parent, table), where=str(path))


def _entry_name(folder: Path, table: dict[str, Any]) -> str:
    path = folder / "entry"
    named = path.is_file() and path.stat().st_size < 1000
    try:
        return path.read_text(encoding="utf-8").strip() if named else f"{table.get('modality')}-{folder.name}"
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{path}: should be the name of an entry: {error}") from error
