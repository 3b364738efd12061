"""The log of a run: log.jsonl, TensorBoard, and pictures of samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import WriteError
from zoo.io.atomic import replace_atomically
from zoo.training.callbacks import Callback
from zoo.training.trainer import Trainer


class RunLog:
    """Writes what a training measures into its run folder.

    Opening it drops lines of log.jsonl that are later than `kimg`, the progress that the run is resumed from.

    Args:
        callbacks: are told all that is written.
    """

    def __init__(self, folder: Path, *, kimg: float, callbacks: Sequence[Callback] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._callbacks = folder, callbacks
        _truncate(folder / "log.jsonl", kimg)
        # TensorBoard drops what is later, as log.jsonl does.
        purge = round(kimg * 1000) + 1 if (folder / "tensorboard").exists() else None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def write(self, trainer: Trainer, values: Mapping[str, float]) -> None:
        """Write a line of log.jsonl, and the same numbers for TensorBoard. Raises WriteError."""
        path, line = self._folder / "log.jsonl", {"kimg": trainer.kimg, "step": trainer.num_steps, **values}
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WriteError(f"{path}: cannot write: {error.strerror or error}") from error
        for name, value in values.items():
            self._writer.add_scalar(name, value, round(trainer.kimg * 1000))
        for callback in self._callbacks:
            callback.on_log(trainer.kimg, values)

    def save_samples(self, trainer: Trainer, latents: Tensor) -> None:
        """Save what the averaged generator makes of `latents`. Raises WriteError."""
        samples = trainer.gan.output(trainer.sample_average(latents), latents)
        samples.save(self._folder / "samples" / f"kimg{trainer.kimg:010.3f}{samples.SUFFIXES[0]}")
        samples.show_on(self._writer, "samples", round(trainer.kimg * 1000))
        for callback in self._callbacks:
            callback.on_samples(trainer.kimg, samples)

    def save_reals(self, trainer: Trainer, real: Tensor) -> None:
        """Save real samples, as the networks see them, to compare others with. Raises WriteError."""
        samples = trainer.gan.output(real)
        samples.save(self._folder / f"reals{samples.SUFFIXES[0]}")
        samples.show_on(self._writer, "reals", 0)

    def close(self) -> None:
        self._writer.close()


def _truncate(path: Path, kimg: float) -> None:
    """Drop lines later than `kimg`, and a half-written last one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["kimg"] <= kimg:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError, TypeError):
            break
    with replace_atomically(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
