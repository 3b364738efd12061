"""class GAN: the networks, their config, and how to sample. An architecture's file subclasses it and reads alone."""

from __future__ import annotations

import math
import operator
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, cast

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar  # that of `typing` takes no default before Python 3.13

from zoo.animation import Walk
from zoo.device import device_of
from zoo.errors import InvalidFileError, InvalidValueError, shorten, shorten_repr
from zoo.nn.fusion import fuse_norms
from zoo.nn.memory_format import channels_last
from zoo.nn.no_init import no_init
from zoo.noise import Noise
from zoo.options import SampleOptions as NoOptions
from zoo.recipe import DataConfig as BaseDataConfig
from zoo.recipe import TrainConfig as BaseTrainConfig
from zoo.samples import Images, Samples

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.releases.publishing import Commit
    from zoo.training.phases import Phase

MAX_COUNT = 2**31  # samples of one call; their latents alone are more than most memories hold
MAX_SEED = 2**63 - 1

S_co = TypeVar("S_co", bound=Samples, covariant=True, default=Samples)
"""The class of a GAN's samples, for type checkers: `class DCGAN(GAN[Images])`."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What one exported file computes: a module, and tensors that show how it is called."""

    module: nn.Module
    """It takes the inputs by position, draws no random numbers, and returns a tensor or a tuple of tensors."""
    inputs: Mapping[str, Tensor]
    """Examples by name, a row for each sample."""
    outputs: tuple[str, ...] = ("samples",)
    """The names of what the module returns."""
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Dimensions of inputs, by number, that may have any size besides the batch, and what they are called."""
    tolerance: float = 1e-4
    """The most that an output may differ from PyTorch's, in units of its largest number where that is above 1."""
    usage: str = ""
    """What the caller has to do, where it is more than to give latents and take samples."""


class GAN(nn.Module, Generic[S_co]):
    """A generator and its discriminator(s), in one module.

    A subclass sets `Config` (a frozen dataclass), builds its networks in `__init__`, and returns the phases of its
    training from `phases`. It extends `DataConfig`, `TrainConfig` and `SampleOptions` where it has settings of its own.
    Every attribute that is a module is a network with a weight file of its own.
    """

    Config: ClassVar[type]
    DataConfig: ClassVar[type[BaseDataConfig]] = BaseDataConfig
    TrainConfig: ClassVar[type[BaseTrainConfig]] = BaseTrainConfig
    SampleOptions: ClassVar[type[NoOptions]] = NoOptions
    Output: ClassVar[type[Samples]] = Images
    FEATURES: ClassVar[bool] = True
    """Whether its metrics are computed on features, which `evaluate.features` may choose."""
    USES_LABELS: ClassVar[bool] = False
    """Whether its latents and discriminator take the classes of the real samples."""
    COPIED_BUFFERS: ClassVar[tuple[str, ...]] = ()
    """Last parts of the names of buffers that the averaged generator copies, because they are averages already."""
    ASSETS: ClassVar[tuple[str, ...]] = ()
    """Files that belong to the weights because samples cannot be read without them, e.g. a tokenizer."""

    generator: nn.Module
    discriminator: nn.Module

    name: str = ""
    """The name that it was loaded by."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    if not TYPE_CHECKING:  # to type checkers, a name that is unknown stays unknown

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name != "discriminator":
                    raise
                raise AttributeError("this model was loaded, or converted, without a discriminator") from None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by name, the generator first."""
        return dict(self.named_children())

    @property
    def device(self) -> torch.device:
        """Where the generator is, and so where samples are made."""
        return device_of(self.generator)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one real or generated sample, e.g. (3, 64, 64)."""
        raise NotImplementedError

    def latents(self, n: int, noise: Noise) -> Tensor:
        """Draw latents [n, latent_dim] from the prior: N(0, I) unless the architecture says otherwise."""
        return noise.normal(n, self.config.latent_dim)

    def latents_for_batch(self, real: Tensor, noise: Noise, labels: Tensor | None = None) -> Tensor:
        """Draw the latents of a training step: as many as real samples, of the classes `labels` if there are any."""
        return self.latents(len(real), noise)

    def phases(self, train: Any) -> list[Phase]:
        """Return the optimizer steps of one training step, in order. `train` is this architecture's `TrainConfig`."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, device: str | torch.device = "auto", discriminator: bool = True
    ) -> Self:
        """Load trained weights as `zoo.load` does, of this architecture alone: `DCGAN.from_pretrained("faces-dcgan")`.

        `GAN.from_pretrained` loads those of any architecture. Arguments as in `zoo.load`.

        Raises as `zoo.load`, and InvalidFileError for weights of another architecture.
        """
        from zoo.releases.loading import load_as

        return load_as(cls, name, device=device, discriminator=discriminator)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        message: str = "",
        tag: str = "",
        unmeasured: bool = False,
        dry_run: bool = False,
    ) -> Commit:
        """Publish the weights that this model was loaded from, as `zoo.publish` does, with their card.

        Arguments as in `zoo.publish`.

        Raises as `zoo.publish`, and InvalidValueError where this model was not loaded, or changed since then: what is
        published has a recipe and metrics, which networks in memory do not have.
        """
        from zoo.releases.publishing import publish_model

        return publish_model(
            self, repo=repo, private=private, message=message, tag=tag, unmeasured=unmeasured, dry_run=dry_run
        )

    def float32_modules(self) -> Sequence[nn.Module] | None:
        """Return the modules that stay in float32 where `train.precision` asks for less, e.g. the last layers.

        None: the architecture is trained in float32 only.
        """
        return None

    @classmethod
    def state_shapes(cls, config: Any) -> dict[str, dict[str, Tensor]]:
        """Lay out each network's state on the meta device: shapes without memory, whatever sizes the config claims.

        Raises InvalidFileError where the values are each in range and yet make no network.
        """
        try:
            with torch.device("meta"), no_init():
                return {name: network.state_dict() for name, network in cls(config).networks.items()}
        except Exception as error:
            why = shorten(str(error), 300)
            raise InvalidFileError(f"config.json: no {cls.__name__} can be built of this: {why}") from error

    @classmethod
    def config_for(cls, config: Any, data: Store) -> Any:
        """Return the config with the values that depend on the data, e.g. the size of a vocabulary."""
        return config

    @classmethod
    def from_language_model(cls, config: Any, start: str, data: Store, *, seed: int) -> Self:
        """Build the networks with weights of another library, which `start` names as "library:name".

        The config of the result has the sizes of those weights. `seed` is for weights that stay random.

        Raises InvalidValueError where the architecture cannot use such weights.
        """
        raise InvalidValueError(f'train.start = "{start}": {cls.__name__} cannot start from weights of another library')

    @classmethod
    def states_to_start(cls, start: GAN) -> Mapping[str, Mapping[str, Tensor]]:
        """Return the state of each network that weights of this library give to start from, under this one's names.

        Raises InvalidValueError for weights of an architecture that this one cannot start from.
        """
        if type(start) is not cls:
            raise InvalidValueError(f"{type(start).__name__}, and not of {cls.__name__}")
        return {name: network.state_dict() for name, network in start.networks.items()}

    def align_start(self, start: GAN, states: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Mapping[str, Tensor]]:
        """Return these states to start from in this one's terms, e.g. with rows in the order of its vocabulary."""
        return states

    def init_from_data(self, data: Store) -> None:
        """Initialize from the data, where the paper does. Called once, before a training starts."""

    def load_assets(self, folder: Path) -> None:
        """Read the ASSETS from the folder of the weights or the data. Raises InvalidFileError."""

    def load_extras(self, folder: Path) -> None:
        """Read what a folder of weights may hold besides, e.g. named directions. Raises InvalidFileError."""

    def output(self, tensor: Tensor, latents: Tensor | None = None, seed: int | None = None) -> S_co:
        """Wrap what the generator made in the type that `sample` returns."""
        return cast(S_co, self.Output(tensor=tensor, latents=latents, seed=seed))

    @torch.no_grad()
    def sample(
        self,
        n: int = 16,
        *,
        seed: int | None = None,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> S_co:
        """Draw n samples.

        The same seed gives the same samples at any batch size, and sample(4) gives the first four of sample(16), up to
        the rounding of float32.

        Args:
            seed: if None, a random one; the result's `seed` tells which.
            batch_size: samples generated at once. It limits the memory.
            progress: called with the number of samples done after each batch.
            options: the fields of this architecture's `SampleOptions`, e.g. `label`, `temperature` or `frames`.

        Raises:
            InvalidValueError: n, seed, batch_size or an option out of range, or an option that this model lacks.
            NotFoundError: an unknown label, with the nearest.
        """
        chosen = self._read_request(n, options)
        return replace(self._sample(n, choose_seed(seed), batch_size, progress, chosen), source=self.name)

    def _read_request(self, n: int, options: dict[str, Any]) -> NoOptions:
        """Return the options of n samples. Raises InvalidValueError for what cannot be asked for."""
        chosen = self.SampleOptions.read(options, type(self).__name__)
        if not 1 <= n <= MAX_COUNT:
            raise InvalidValueError(f"n = {n} should be 1 to 2^31")
        return chosen

    def _sample(self, n: int, seed: int, batch_size: int, progress: Callable[[int], None] | None, options: Any) -> S_co:
        latents, arguments = self.prepare_sampling(n, seed, options)
        return replace(self._make(latents, batch_size, progress, **arguments), seed=seed)

    def stream(self, n: int, *, seed: int | None = None, batch_size: int = 64, **options: Any) -> Iterator[S_co]:
        """Generate the samples of `sample`, `batch_size` at a time, so that the memory does not grow with n.

        Only the latents of all n samples are held. `zoo.samples.save_stream` saves what comes.

        Raises as `sample`.
        """
        chosen = self._read_request(n, options)
        return self._stream(n, choose_seed(seed), batch_size, chosen)

    @torch.no_grad()
    def _stream(self, n: int, seed: int, batch_size: int, options: Any) -> Iterator[S_co]:
        latents, arguments = self.prepare_sampling(n, seed, options)
        for part, given in split_batches(latents, arguments, batch_size):
            yield replace(self._make(part, batch_size, None, **given), seed=seed, source=self.name)

    def _make(self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **arguments: Any) -> S_co:
        """Make the samples of latents, with the arguments of `prepare_sampling`."""
        return self.output(self._generate(latents, batch_size, progress, **arguments), latents.cpu())

    @torch.no_grad()
    def generate(self, latents: Tensor, *, batch_size: int = 64, **arguments: Any) -> S_co:
        """Generate samples of latents of your own, e.g. of the `latents` of other samples.

        Args:
            latents: [N, ...] as `sample(...).latents`, on any device.
            batch_size: samples generated at once. It limits the memory.
            arguments: further arguments of the generator.

        Raises InvalidValueError for latents of another shape.
        """
        self.check_latents(latents)
        return replace(self._make(latents, batch_size, None, **arguments), source=self.name)

    def check_latents(self, latents: Tensor) -> None:
        """Raise InvalidValueError for latents of another shape than the model's."""
        known = self.latents(1, Noise(0))
        if latents.dim() != known.dim() or (latents.dim() > 1 and latents.shape[1:] != known.shape[1:]):
            asked, given = ["N", *known.shape[1:]], list(latents.shape)
            raise InvalidValueError(f"latents {given} should be [{', '.join(map(str, asked))}]")

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the latents of n samples with these options, and further arguments of the generator.

        An argument that is a tensor has a row for each sample.
        """
        return self.latents(n, Noise(seed)), {}

    def resolve_arguments(self, latents: Tensor, arguments: dict[str, Any]) -> dict[str, Any]:
        """Turn the arguments of `prepare_sampling` into those of the generator."""
        return arguments

    def shows_rounding(self, rounded: Self) -> bool:
        """Tell whether samples show that the weights of `rounded` are this model's, rounded to float16.

        They do where the mean change of 16 samples exceeds half a step of 8-bit color.
        """
        change = (self.sample(16, seed=0).tensor - rounded.sample(16, seed=0).tensor).float().abs().mean()
        return not float(change) <= 0.5 / 127.5  # nor where it is no number

    @property
    def sample_options(self) -> tuple[str, ...]:
        """The names of the `SampleOptions` that this model takes; without classes, for example, no `label`."""
        return tuple(field.name for field in fields(self.SampleOptions))

    def describe_samples(self) -> dict[str, Any]:
        """Describe samples for a program that only has an exported file: their kind, range and, in Hz, their rate."""
        rate = {"rate": self.config.rate} if hasattr(self.config, "rate") else {}
        return {"samples": self.Output.__name__.lower(), "range": [-1, 1], **rate}

    @classmethod
    def list_arguments(cls, config: Any) -> str:
        """List arguments of `zoo sample` for the card of a converted model; empty where no command has its input."""
        return "-n 16 --seed 0"

    @classmethod
    def describe_input(cls, config: Any) -> str:
        """Describe in a sentence what the generator takes, where that is more than latents; else empty; for cards."""
        return ""

    def prepare_export(self, n: int, seed: int) -> Graph:
        """Return what the generator's exported file computes, with inputs of n samples of a seed."""
        return Graph(module=self.generator, inputs={"latents": self.latents(n, Noise(seed))})

    def prepare_discriminator_export(self, n: int, seed: int) -> Graph:
        """Return what the discriminator's exported file computes, with the generator's n samples of a seed."""
        return Graph(
            module=self.discriminator, inputs={"samples": self.sample(n, seed=seed).tensor}, outputs=("logits",)
        )

    @torch.no_grad()
    def interpolate(self, n: int = 8, *, steps: int = 8, seed: int | None = None, batch_size: int = 64) -> S_co:
        """Generate n rows of `steps` samples, each from one latent to another along the great circle between them.

        The interpolation is spherical, because almost all of a Gaussian's mass lies near a sphere. The middle of a
        straight line would be a latent that the generator never saw (White 2016, arXiv:1609.04468).

        Returns:
            n * steps samples, row by row; `.save(path, columns=steps)` shows a row a line.
        """
        if n < 1 or steps < 2:
            raise InvalidValueError(f"n = {n} should be at least 1 and steps = {steps} at least 2")
        seed = choose_seed(seed)
        latents = self.interpolate_latents(n, steps, Noise(seed))
        return replace(self.output(self._generate(latents, batch_size, None), latents.cpu(), seed), source=self.name)

    def interpolate_latents(self, n: int, steps: int, noise: Noise) -> Tensor:
        """Draw the latents of `interpolate` [n * steps, Z]."""
        return great_circles(self.latents(2 * n, noise), steps)

    @torch.no_grad()
    def walk(
        self,
        frames: int = 120,
        *,
        seed: int | None = None,
        seeds: Sequence[int] = (),
        stops: int = 0,
        rate: float = 25.0,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Walk:
        """Walk from image to image in a closed loop, one frame a step; `.save("walk.mp4")` makes a clip of it.

        Between two stops the latents follow the great circle between them, slowly at both ends.

        Args:
            seed: of the stops; random if None.
            seeds: instead, the walk goes through the first sample of each of these seeds.
            stops: how many there are, without `seeds`; 0 is one for every 20 frames.
            rate: frames a second.
            options: as in `sample`, the same for all frames.

        Raises InvalidValueError for a model of other samples than images, and for values out of range.
        """
        chosen = {"seed": seed, "seeds": seeds, "stops": stops, "rate": rate, "batch_size": batch_size, **options}
        parts: list[Walk] = []
        for part in self.stream_walk(frames, **chosen):
            parts.append(part)
            if progress is not None:
                progress(sum(map(len, parts)))
        images, latents = torch.cat([part.tensor for part in parts]), torch.cat([part.latents for part in parts])  # type: ignore[misc]
        return replace(parts[0], tensor=images, latents=latents)

    def stream_walk(
        self,
        frames: int = 120,
        *,
        seed: int | None = None,
        seeds: Sequence[int] = (),
        stops: int = 0,
        rate: float = 25.0,
        batch_size: int = 64,
        **options: Any,
    ) -> Iterator[Walk]:
        """Generate the frames of `walk`, `batch_size` at a time, so that the memory does not grow with their number.

        Raises as `walk`.
        """
        if self.Output is not Images:
            made = self.Output.__name__.lower()
            raise InvalidValueError(f"a walk is a clip of images, and {type(self).__name__} makes {made}")
        count = len(seeds) or stops or max(2, frames // 20)
        if count < 2 or frames < count or not 0 < rate < math.inf:
            raise InvalidValueError(
                f"frames = {frames}, stops = {count}, rate = {rate:g}: a walk has at least two stops, no fewer frames, "
                "and a rate above 0"
            )
        chosen = self.SampleOptions.read(options, type(self).__name__)
        seed = choose_seed(seed) if not seeds else None
        draws = [(count, seed)] if seed is not None else [(1, choose_seed(each)) for each in seeds]
        drawn = [self.prepare_sampling(n, each, chosen) for n, each in draws]
        # What an option draws for single samples, e.g. noise, is that of the first stop: it should not flicker.
        arguments = {
            name: value[:1].expand(frames, *value.shape[1:]) if isinstance(value, Tensor) else value
            for name, value in drawn[0][1].items()
        }
        latents = self.route(torch.cat([latents for latents, _ in drawn]), frames)
        check_batch_size(batch_size)

        @torch.no_grad()
        def generate() -> Iterator[Walk]:
            for rows, given in split_batches(latents, arguments, batch_size):
                images = self._generate(rows, batch_size, None, **given)
                yield Walk(tensor=images, latents=rows, seed=seed, rate=rate, source=self.name)

        return generate()

    def route(self, stops: Tensor, frames: int) -> Tensor:
        """Return the latents [frames, ...] of a closed walk through the latents of its stops [M, ...]."""
        places = torch.arange(frames, dtype=torch.float64) * len(stops) / frames
        first = places.long()
        shares = ((1 - torch.cos(math.pi * (places - first))) / 2).to(stops.dtype)[:, None]
        return slerp(stops[first], stops[(first + 1) % len(stops)], shares)

    def _generate(
        self, latents: Tensor, batch_size: int, progress: Callable[[int], None] | None, **arguments: Any
    ) -> Tensor:
        arguments = self.resolve_arguments(latents, arguments)
        generator = channels_last(fuse_norms(self.generator))
        weight = next(generator.parameters())
        if latents.is_floating_point():
            latents = latents.to(weight.dtype)
        parts, done = [], 0
        for rows, given in split_batches(latents, arguments, batch_size):
            given = {k: v.to(weight.device) if isinstance(v, Tensor) else v for k, v in given.items()}
            samples = generator(rows.to(weight.device), **given).cpu()
            parts.append(samples.float() if samples.is_floating_point() else samples)
            done += len(rows)
            if progress is not None:
                progress(done)
        return torch.cat(parts)


def check_batch_size(batch_size: int) -> None:
    """Raise InvalidValueError below 1."""
    if batch_size < 1:
        raise InvalidValueError(f"batch_size = {batch_size} should be at least 1")


def split_batches(
    latents: Tensor, arguments: Mapping[str, Any], batch_size: int
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Split latents, and those arguments that have a row for each, into batches. Raises InvalidValueError below 1."""
    check_batch_size(batch_size)
    for start in range(0, len(latents), batch_size):
        rows = slice(start, start + batch_size)
        yield latents[rows], {k: v[rows] if isinstance(v, Tensor) else v for k, v in arguments.items()}


def choose_seed(seed: int | None) -> int:
    """Return the seed, or a random one for None. Raises InvalidValueError for what is no seed."""
    if seed is None:
        return secrets.randbelow(2**32)
    try:
        seed = operator.index(seed)
    except TypeError:
        wrong = f"seed = {shorten_repr(seed)} should be one whole number; for several seeds, call again"
        raise InvalidValueError(wrong) from None
    if not 0 <= seed <= MAX_SEED:
        raise InvalidValueError(f"seed = {seed} should be 0 to 2^63 - 1")
    return seed


def great_circles(ends: Tensor, steps: int) -> Tensor:
    """Interpolate rows [2n, D] -> [n * steps, D]: from each even row to the next odd one."""
    shares = torch.linspace(0, 1, steps)
    return torch.stack([slerp(ends[0::2], ends[1::2], share) for share in shares], dim=1).flatten(0, 1)


def slerp(start: Tensor, end: Tensor, share: Tensor | float) -> Tensor:
    """Interpolate rows [N, D] on the sphere: `start` at share 0, `end` at share 1 (Shoemake 1985)."""
    cosine = nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)[:, None]
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = torch.lerp(start, end, torch.as_tensor(share, dtype=start.dtype))
    arc = (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / sine.clamp_min(1e-12)
    return torch.where(sine > 1e-6, arc, straight)
