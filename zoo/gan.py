"""class GAN: the players, their config, how to sample. An architecture file subclasses it and reads alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BadFile, BadValue, NotFound, suggest
from zoo.nn.fold import folded
from zoo.nn.layout import channels_last
from zoo.noise import Noise
from zoo.recipe import Data as DataTable
from zoo.recipe import Train as TrainTable
from zoo.samples import Images, Samples

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.training.phases import Phase


class GAN(nn.Module):
    """A generator and its discriminator(s), in one module.

    A subclass sets `Config` (a frozen dataclass), builds its players in `__init__`, and says by `phases` how the game
    is played. `Data` and `Train` are extended where an architecture has settings of its own. Every attribute that is a
    module is a player, and is saved as a weight file of its own.
    """

    Config: ClassVar[type]
    Data: ClassVar[type[DataTable]] = DataTable
    Train: ClassVar[type[TrainTable]] = TrainTable
    Output: ClassVar[type[Samples]] = Images
    FEATURES: ClassVar[bool] = True
    """Whether figures of its samples are of features, which `evaluate.features` may choose."""
    ASSETS: ClassVar[tuple[str, ...]] = ()
    """Files that travel with the weights because samples cannot be read without them, e.g. a tokenizer."""

    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def players(self) -> dict[str, nn.Module]:
        return dict(self.named_children())

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one real or generated sample, e.g. (3, 64, 64)."""
        raise NotImplementedError

    def latents(self, n: int, noise: Noise) -> Tensor:
        """[n, latent_dim] from the prior; N(0, I) unless the architecture says otherwise."""
        return noise.normal(n, self.config.latent_dim)

    def latents_like(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """The latents of a turn's fakes, as many as its real samples, whose classes are `labels` if they have any."""
        return self.latents(len(real), noise)

    def phases(self, train: Any) -> list[Phase]:
        """The optimiser steps of one turn of the game, in order. `train` is this architecture's `Train`."""
        raise NotImplementedError

    @classmethod
    def fitted(cls, config: Any, data: Store) -> Any:
        """The config with those values that it leaves to the data, e.g. the size of a vocabulary."""
        return config

    @classmethod
    def begun(cls, config: Any, start: str, data: Store, *, seed: int) -> Self:
        """The players with weights of another library, which `start` names as "library:name".

        The config of what is returned has the sizes of those weights; `seed` is of what they leave random.

        Raises BadValue where the architecture has no use for such weights.
        """
        raise BadValue(f'train.start = "{start}": {cls.__name__} cannot begin with weights of another library')

    def prepare(self, data: Store) -> None:
        """Initialise from the data, where the paper does; called once, before a training starts."""

    def attach(self, folder: Path) -> None:
        """Read the ASSETS that lie in `folder`, beside the weights or the data. Raises BadFile."""

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> Samples:
        """What the generator made, as the typed thing that `sample` returns."""
        return self.Output(tensor=tensor, latents=latents, seed=seed)

    @torch.no_grad()
    def sample(
        self,
        n: int = 16,
        *,
        seed: int | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> Samples:
        """Draw n samples.

        The same seed gives the same samples whatever the batch size, and sample(4) the first four of sample(16), to
        the rounding of float32.

        Args:
            seed: drawn at random and kept in the result's `seed` if None.
            batch_size: samples generated at once; bounds the memory.
            progress: called with the number of samples done after each batch.

        Raises:
            BadValue: n, seed or batch_size out of range.
        """
        return self._draw(n, seed, batch_size, progress)

    def _draw(
        self, n: int, seed: int | None, batch_size: int, progress: Callable[[int], None] | None, **options: Any
    ) -> Samples:
        """`sample`, with what else an architecture's generator takes."""
        seed = self._checked(n, seed)
        latents = self.latents(n, Noise(seed))
        return self.output(self._generate(latents, batch_size, progress, **options), latents, seed)

    def _checked(self, n: int, seed: int | None) -> int:
        """The seed of n samples, drawn where there is none. Raises BadValue for n below 1 or a seed below 0."""
        if n < 1:
            raise BadValue(f"n = {n} should be at least 1")
        return _chosen(seed)

    @torch.no_grad()
    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> Samples:
        """n rows of `steps` samples each, from one latent to another along the great circle between them.

        Spherical interpolation, because almost all of a Gaussian's mass lies near a sphere: the middle of a straight
        line would be a latent the generator never saw (White 2016, arXiv:1609.04468).

        Returns:
            n * steps samples, row by row; `.save(path, columns=steps)` shows a row a line.
        """
        if n < 1 or steps < 2:
            raise BadValue(f"n = {n} should be at least 1 and steps = {steps} at least 2")
        seed = _chosen(seed)
        latents = self.between(n, steps, Noise(seed))
        return self.output(self._generate(latents, batch_size, None), latents, seed)

    def between(self, n: int, steps: int, noise: Noise) -> Tensor:
        """The latents of `interpolate` [n * steps, Z]."""
        return great_circles(self.latents(2 * n, noise), steps)

    def _generate(
        self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **options: Any
    ) -> Tensor:
        if batch_size < 1:
            raise BadValue(f"batch_size = {batch_size} should be at least 1")
        generator = channels_last(folded(self.generator))
        device = next(generator.parameters()).device
        parts = []
        for start in range(0, len(latents), batch_size):
            samples = generator(latents[start : start + batch_size].to(device), **options).cpu()
            parts.append(samples.float() if samples.is_floating_point() else samples)
            if progress is not None:
                progress(min(start + batch_size, len(latents)))
        return torch.cat(parts)


LABELS = "labels.json"


def read_labels(folder: Path) -> tuple[str, ...]:
    """The names of the classes in a folder of weights or data. Raises BadFile where labels.json is no list of names."""
    path = folder / LABELS
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path}: cannot read the names of the classes: {error}") from error
    if not isinstance(labels, list):
        raise BadFile(f"{path}: should be a list of names")
    refuse_labels(labels, path)
    return tuple(labels)


def refuse_labels(labels: Iterable[object], where: Path) -> None:
    """Raise BadFile where one of them is no name of a class: samples are saved in files called by their class."""
    for label in labels:
        if not isinstance(label, str) or not label.isprintable() or label in ("", ".", "..") or set(label) & set("/\\"):
            raise BadFile(f"{where}: the name of a class cannot be {label!r}")


class ConditionalGAN(GAN):
    """A GAN whose latents [N, Z + C] are drawn in part, by `prior`; the rest is what is asked for, by `conditioned`."""

    def prior(self, n: int, noise: Noise) -> Tensor:
        """What is drawn of the latents [n, Z]."""
        return noise.normal(n, self.config.latent_dim)

    def conditioned(self, prior: Tensor, turns: Tensor) -> Tensor:
        """[N, Z] with the conditions whose turn it is: number `turns` [N], from 0, over and over."""
        raise NotImplementedError

    def latents(self, n: int, noise: Noise) -> Tensor:
        """[n, Z + C]: the prior's, and the conditions in turn."""
        return self.conditioned(self.prior(n, noise), torch.arange(n))

    def between(self, n: int, steps: int, noise: Noise) -> Tensor:
        """A row is of one condition: half of one and half of another was never asked for."""
        circles = great_circles(self.prior(2 * n, noise), steps)
        return self.conditioned(circles, torch.arange(n).repeat_interleave(steps))


class LabelledGAN(ConditionalGAN):
    """A GAN that can be asked for samples of a class, where its data has classes: `config.labels` of them.

    The last columns of its latents [N, Z + K] are the class, one-hot; the classes take turns, in their order.
    """

    ASSETS: ClassVar[tuple[str, ...]] = (LABELS,)

    labels: tuple[str, ...] = ()
    """The names of the classes, in the order of the columns."""

    @classmethod
    def fitted(cls, config: Any, data: Store) -> Any:
        return replace(config, labels=len(read_labels(data.folder)))

    def attach(self, folder: Path) -> None:
        labels = read_labels(folder)
        if len(labels) != self.config.labels:
            raise BadFile(f"{folder}: {LABELS} names {len(labels)} classes, and the model has {self.config.labels}")
        self.labels = labels

    def conditioned(self, prior: Tensor, turns: Tensor) -> Tensor:
        return self.labelled(prior, turns % max(1, self.config.labels))

    def latents_like(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            return self.latents(len(real), noise)
        return self.labelled(self.prior(len(real), noise), labels.cpu())

    def labelled(self, prior: Tensor, labels: Tensor) -> Tensor:
        """[N, Z] and classes [N] -> [N, Z + K]; as it is where there are no classes."""
        if not self.config.labels:
            return prior
        return torch.cat([prior, F.one_hot(labels, self.config.labels).to(prior)], dim=1)

    @torch.no_grad()
    def sample(
        self,
        n: int = 16,
        *,
        seed: int | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        label: str | None = None,
    ) -> Samples:
        """As `GAN.sample`. With the name of a class all samples are asked to be of it; else the classes take turns.

        Raises:
            BadValue: n, seed or batch_size out of range.
            NotFound: no such class, with the nearest.
        """
        seed = self._checked(n, seed)
        latents = self.latents_of(n, Noise(seed), label)
        return self.output(self._generate(latents, batch_size, progress), latents, seed)

    def latents_of(self, n: int, noise: Noise, label: str | None) -> Tensor:
        """As `latents`, all of the class called `label` where one is named. Raises NotFound with the nearest."""
        if label is None:
            return self.latents(n, noise)
        return self.labelled(self.prior(n, noise), torch.full((n,), self.class_of(label)))

    def class_of(self, label: str) -> int:
        """The number of the class called `label`. Raises NotFound with the nearest."""
        if not self.labels:
            raise NotFound(f'no class "{label}": this model was trained on data without classes')
        if label not in self.labels:
            raise NotFound(f'no class "{label}"; there are {", ".join(self.labels)}.{suggest(label, self.labels)}')
        return self.labels.index(label)


def _chosen(seed: int | None) -> int:
    """The seed, or one drawn where there is none. Raises BadValue below 0."""
    if seed is None:
        return secrets.randbelow(2**32)
    if seed < 0:
        raise BadValue(f"seed = {seed} should be 0 or above")
    return seed


def great_circles(ends: Tensor, steps: int) -> Tensor:
    """Rows [2n, D] -> [n * steps, D]: from each even one to the next odd one."""
    shares = torch.linspace(0, 1, steps)
    return torch.stack([slerp(ends[0::2], ends[1::2], share) for share in shares], dim=1).flatten(0, 1)


def slerp(start: Tensor, end: Tensor, share: Tensor | float) -> Tensor:
    """Spherical interpolation of rows [N, D] -> [N, D]: `start` at share 0, `end` at share 1 (Shoemake 1985)."""
    cosine = nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)[:, None]
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = torch.lerp(start, end, torch.as_tensor(share, dtype=start.dtype))
    arc = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / sine.clamp_min(1e-12)
    return torch.where(sine > 1e-6, arc, straight)
