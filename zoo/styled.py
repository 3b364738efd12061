"""StyledGAN: a GAN whose generator maps latents to styles. Its samples can be mixed, moved and edited by them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, shorten_repr, suggest
from zoo.gan import GAN, S_co, check_batch_size
from zoo.io.atomic import replace_atomically
from zoo.noise import Noise
from zoo.options import StyleOptions, check_amounts
from zoo.samples import Samples

DIRECTIONS = "directions.json"
"""The file beside weights that holds their named directions."""
NUM_DRAWN = 4096
"""Styles that are drawn to measure their mean and deviations."""
MOST_DIRECTIONS = 64

Layers = int | slice | str
"""Some of the styles of a sample, which its layers take in turn from the coarsest to the finest: a number, a slice, a
range such as "4-7", or `coarse` (maps of 4 and 8 px), `middle` (16 and 32 px), `fine` (from 64 px on)."""

_NAMED_LAYERS = {"coarse": slice(0, 4), "middle": slice(4, 8), "fine": slice(8, None), "all": slice(None)}


@dataclass(frozen=True, kw_only=True)
class Direction:
    """A named direction in the space of styles, and how well it moves what it is named after."""

    vector: Tensor
    """[W]. Moving along it by 1 should move what it names by one standard deviation."""
    moves: float = math.nan
    """By how many standard deviations that moved, on average, for a move of 1."""
    leaves: float = math.nan
    """By how many all other attributes changed at the same time, on average."""

    def to_json(self) -> dict[str, Any]:
        vector = [round(number, 6) for number in self.vector.tolist()]
        return {"vector": vector, "moves": round(self.moves, 4), "leaves": round(self.leaves, 4)}


class StyledGAN(GAN[S_co]):
    """A GAN whose generator maps latents to a style for each of its layers, and makes samples of these.

    Its generator has `num_styles`, L, and `style_dim`, W; `make_styles(latents)` returns [N, L, W]; and it takes
    `styles=` [N, L, W] or [N, 1, W] beside the latents, in place of those that it would make.
    """

    SampleOptions = StyleOptions
    generator: Any

    named_directions: Mapping[str, Direction] = {}
    """Directions that were released with the weights."""

    def draw_styles(self) -> Tensor:
        """Make styles [4096, W] of latents of seed 0, on the CPU: what means and deviations are measured on."""
        return self.map_latents(self.latents(NUM_DRAWN, Noise(0)))[:, 0]

    @property
    def mean_style(self) -> Tensor:
        """The mean of styles [W], which truncation moves towards."""
        return self.draw_styles().mean(0)

    def style_matrices(self) -> list[tuple[int, Tensor]]:
        """List the matrices [C, W] that read styles, each with the number of the style that it reads."""
        raise NotImplementedError

    @torch.no_grad()
    def map_latents(self, latents: Tensor, *, batch_size: int = 64) -> Tensor:
        """Map latents [N, ...] to styles [N, 1, W], on the CPU."""
        weight = next(self.generator.parameters())
        parts = [self.generator.make_styles(part.to(weight))[:, :1].float().cpu() for part in latents.split(batch_size)]
        return torch.cat(parts)

    def truncate(self, styles: Tensor, truncation: float, cutoff: int | None = None) -> Tensor:
        """Move styles [N, 1 or L, W], or the first `cutoff`, towards their mean. 1 leaves them, 0 is the mean."""
        if truncation == 1:
            return styles
        if cutoff is not None:
            styles = self._expand(styles)
        moved = torch.lerp(self.mean_style.float().cpu(), styles[:, :cutoff], truncation)
        return moved if cutoff is None else torch.cat([moved, styles[:, cutoff:]], dim=1)

    def _choose_styles(
        self, styles: Tensor, truncation: float, cutoff: int | None, edit: Mapping[str, float] | None
    ) -> Tensor:
        moved = self.truncate(styles, truncation, cutoff)
        return moved + self.sum_directions(edit) if edit else moved

    def prepare_sampling(self, n: int, seed: int, options: Any) -> tuple[Tensor, dict[str, Any]]:
        latents, arguments = super().prepare_sampling(n, seed, options)
        chosen = {"truncation": options.truncation, "cutoff": options.cutoff, "edit": options.edit}
        return latents, arguments | chosen

    def resolve_arguments(self, latents: Tensor, arguments: dict[str, Any]) -> dict[str, Any]:
        """Turn the options of styles into `styles`."""
        given = dict(arguments)
        truncation, cutoff, edit = given.pop("truncation", 1.0), given.pop("cutoff", None), given.pop("edit", None)
        if given.get("styles") is None:
            given["styles"] = self._choose_styles(self.map_latents(latents), truncation, cutoff, edit)
        return given

    def _make(
        self,
        latents: Tensor,
        batch_size: int,
        progress: Callable[[int], None] | None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
        edit: Mapping[str, float] | None = None,
        **arguments: Any,
    ) -> S_co:
        """Make samples that know their styles."""
        check_batch_size(batch_size)
        styles = arguments.pop("styles", None)
        if styles is None:
            styles = self._choose_styles(self.map_latents(latents, batch_size=batch_size), truncation, cutoff, edit)
        tensor = self._generate(latents, batch_size, progress, styles=styles, **arguments)
        return replace(self.output(tensor, latents.cpu()), styles=styles)

    @torch.no_grad()
    def synthesize(
        self, styles: Tensor, *, latents: Tensor | None = None, batch_size: int = 64, **arguments: Any
    ) -> S_co:
        """Make samples of styles [N, 1, W], or [N, L, W] where layers differ.

        Args:
            latents: for what else than styles the generator takes from them, as the motion of a clip; those of seed 0
                if None.
            arguments: further arguments of the generator.

        Raises InvalidValueError for styles of another shape.
        """
        sizes, width = (1, self.generator.num_styles), self.generator.style_dim
        if styles.dim() != 3 or styles.shape[1] not in sizes or styles.shape[2] != width:
            raise InvalidValueError(
                f"styles {list(styles.shape)} should be [N, 1, {width}] or [N, {sizes[1]}, {width}]"
            )
        if latents is None:
            latents = self.latents(len(styles), Noise(0))
        styles = styles.float().cpu()
        tensor = self._generate(latents, batch_size, None, styles=styles, **arguments)
        return replace(self.output(tensor, latents.cpu()), styles=styles)

    def styles_of(self, samples: Samples) -> Tensor:
        """Return the styles [N, 1 or L, W] of samples. Raises InvalidValueError for samples without latents."""
        if samples.styles is not None:
            return samples.styles
        if samples.latents is None:
            raise InvalidValueError("these samples have neither styles nor latents: nothing says how to change them")
        return self.map_latents(samples.latents)

    def _remake(self, samples: Samples, styles: Tensor, latents: Tensor | None) -> S_co:
        """Make samples like `samples`, of their size, with other styles and latents."""
        made = self.synthesize(styles, latents=latents, **self.arguments_for(samples))
        return replace(made, latents=latents)

    def arguments_for(self, samples: Samples) -> dict[str, Any]:
        """Return what the generator needs to make samples of this size, e.g. the number of frames of clips."""
        return {}

    def _expand(self, styles: Tensor) -> Tensor:
        return styles.expand(-1, self.generator.num_styles, -1)

    def mix(self, rows: Samples, columns: Samples, *, layers: Layers = "coarse") -> S_co:
        """Give each sample of `rows` the styles of `layers` of each of `columns` (Karras et al. 2019, figure 3).

        Returns:
            as many samples as rows times columns, row by row; `.save(path, columns=len(columns))` shows the grid.

        Raises InvalidValueError for no such layers, and for samples without latents.
        """
        first, second = self._expand(self.styles_of(rows)), self._expand(self.styles_of(columns))
        chosen = read_layers(layers, self.generator.num_styles)
        mixed = first.repeat_interleave(len(columns), dim=0).clone()
        mixed[:, chosen] = second.repeat(len(rows), 1, 1)[:, chosen]
        latents = None if rows.latents is None else rows.latents.repeat_interleave(len(columns), dim=0)
        return self._remake(rows, mixed, latents)

    def directions(
        self, k: int = 8, *, method: Literal["weights", "samples"] = "weights", layers: Layers = "all"
    ) -> Tensor:
        """Find k directions [k, W] of large changes, without any labels. A step of 1 is one deviation of styles.

        Args:
            method: `weights` takes what the layers that read styles amplify most: the eigenvectors of the sum of A^T A
                over their matrices A (SeFa: Shen & Zhou 2021, arXiv:2007.06600). `samples` takes the principal
                components of styles (GANSpace: Härkönen et al. 2020, arXiv:2004.02546).
            layers: with `weights`, those whose matrices count.

        Raises InvalidValueError for another method, and for more directions than a style has numbers.
        """
        if method not in ("weights", "samples"):
            raise InvalidValueError(f"method = {shorten_repr(method)} should be weights or samples")
        width = self.generator.style_dim
        if not 1 <= k <= width:
            raise InvalidValueError(f"k = {k} should be from 1 to {width}, the numbers of a style")
        styles = self.draw_styles().double()
        if method == "weights":
            chosen = range(self.generator.num_styles)[read_layers(layers, self.generator.num_styles)]
            matrices = [matrix for style, matrix in self.style_matrices() if style in chosen]
            matrix = torch.cat([matrix.detach().double().cpu() for matrix in matrices])  # [C, W]
        else:
            matrix = styles - styles.mean(0)
        vectors = torch.linalg.eigh(matrix.T @ matrix).eigenvectors.flip(1).T[:k]  # the largest first
        largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
        vectors = vectors * largest.sign()  # an eigenvector has no sign of its own
        return (vectors * (styles @ vectors.T).std(0)[:, None]).float()

    def move(self, samples: Samples, direction: Tensor, amount: float = 1.0, *, layers: Layers = "all") -> S_co:
        """Move samples along a direction [W], in the styles of some or all layers.

        Raises InvalidValueError for a direction of another shape, for no such layers, and for samples without latents.
        """
        if direction.shape != (width := self.generator.style_dim,):
            raise InvalidValueError(f"direction {list(direction.shape)} should be [{width}], a style's numbers")
        styles, chosen = self._expand(self.styles_of(samples)).clone(), read_layers(layers, self.generator.num_styles)
        styles[:, chosen] += amount * direction.to(styles)
        return replace(self._remake(samples, styles, samples.latents), seed=samples.seed)

    def edit(
        self,
        samples: Samples,
        amounts: Mapping[str, float] | None = None,
        *,
        layers: Layers = "all",
        **named: float,
    ) -> S_co:
        """Move samples along named directions: `model.edit(samples, smile=2, age=-1)`, in standard deviations.

        Args:
            amounts: the same as a dictionary.

        Raises NotFoundError for a direction that these weights do not have, with the nearest, and InvalidValueError for
        an amount that is no number.
        """
        amounts = {**(amounts or {}), **named}
        if not amounts:
            raise InvalidValueError("nothing to edit: name directions and amounts, e.g. smile=2")
        return self.move(samples, self.sum_directions(amounts), layers=layers)

    def sum_directions(self, amounts: Mapping[str, float]) -> Tensor:
        """Add named directions, each times its amount: [W]. Raises as `edit`."""
        check_amounts(amounts)
        total = torch.zeros(self.generator.style_dim)
        for name, amount in amounts.items():
            if not self.named_directions:
                raise NotFoundError("these weights have no named directions; `model.directions(k)` finds nameless ones")
            if name not in self.named_directions:
                there = ", ".join(self.named_directions)
                raise NotFoundError(f'no direction "{name}"; there are {there}.{suggest(name, self.named_directions)}')
            total += amount * self.named_directions[name].vector
        return total

    def load_extras(self, folder: Path) -> None:
        from zoo.io.weights import resolve_inside  # networks alone need no safetensors, as on a rented GPU

        path = resolve_inside(folder, DIRECTIONS)
        if path.is_file():
            self.named_directions = read_directions(path, self.generator.style_dim)


def join(samples: Sequence[Samples]) -> Samples:
    """Join samples of one model, which are of one size."""

    def cat(rows: Sequence[Tensor | None]) -> Tensor | None:
        there = [row for row in rows if row is not None]
        return torch.cat(there) if len(there) == len(rows) else None

    return replace(
        samples[0],
        tensor=torch.cat([each.tensor for each in samples]),
        latents=cat([each.latents for each in samples]),
        styles=cat([each.styles for each in samples]),
        seed=None,
    )


def read_layers(layers: Layers, count: int) -> slice:
    """Return the slice of `count` styles that `layers` means: a name, a range "4-7", a number, or a slice.

    Raises InvalidValueError where there is no such style.
    """
    asked = layers if isinstance(layers, int) else shorten_repr(layers)
    if isinstance(layers, str):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", layers)
        if match is None and layers not in _NAMED_LAYERS:
            raise InvalidValueError(
                f"layers = {shorten_repr(layers)} should be {', '.join(_NAMED_LAYERS)}, or numbers such as 0-3"
            )
        layers = _NAMED_LAYERS[layers] if match is None else slice(int(match[1]), int(match[2] or match[1]) + 1)
    elif isinstance(layers, int):
        layers = slice(layers, layers + 1)
    if not range(count)[layers] or (layers.step or 1) < 0:
        raise InvalidValueError(f"layers = {asked}: no style is there; this model has styles 0 to {count - 1}")
    return layers


def read_directions(path: Path, width: int) -> dict[str, Direction]:
    """Read named directions [width]. Raises InvalidFileError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["directions"]
        if not isinstance(content, dict) or len(content) > MOST_DIRECTIONS:
            raise ValueError(f"it should name at most {MOST_DIRECTIONS} directions")
        found = {}
        for name, entry in content.items():
            vector = torch.tensor(entry["vector"], dtype=torch.float32)
            if not re.fullmatch(r"[a-z][a-z_]{0,31}", name) or vector.shape != (width,) or not vector.isfinite().all():
                raise ValueError(f"{shorten_repr(name)} should be a name of small letters, with {width} finite numbers")
            found[name] = Direction(vector=vector, moves=float(entry["moves"]), leaves=float(entry["leaves"]))
        return found
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise InvalidFileError(f"{path}: no named directions: {error}") from error


def check_learned(path: Path, kimg: float) -> None:
    """Check that directions were learned from the weights at this progress of a run. Raises InvalidFileError."""
    try:
        learned = float(json.loads(path.read_text(encoding="utf-8"))["learned"]["kimg"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidFileError(f"{path}: no named directions of a run; learn them again: {error}") from error
    if abs(learned - kimg) > 1e-9:
        raise InvalidFileError(
            f"{path}: learned at {learned:g} kimg, and the run is at {kimg:g}; `zoo directions {path.parent} --learn`"
        )


def write_directions(directions: Mapping[str, Direction], path: Path, *, learned: Mapping[str, Any]) -> None:
    """Write named directions, which `read_directions` reads, and how they were learned. Raises WriteError."""
    content = {"learned": learned, "directions": {name: each.to_json() for name, each in directions.items()}}
    with replace_atomically(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
