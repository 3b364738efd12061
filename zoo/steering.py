"""Steering by what samples show: named directions of styles, and the styles of a picture of your own."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from zoo.data.images import convert_to_rgb, crop_square, decode_images, open_image
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.gan import GAN
from zoo.modality import KindSteering, load_modality
from zoo.noise import Noise
from zoo.samples import Images
from zoo.styled import Direction, StyledGAN

if TYPE_CHECKING:
    from collections.abc import Mapping

Progress = Callable[[int, int], None]

NUM_MEASURED = 512  # samples on which a direction is measured
RIDGE = 1e-2  # added to the variances of the attributes, which are 1
LEAST = 0.1  # deviations that a direction must move its attribute by, or it is left out


def steering_of(model: GAN, modality: str) -> tuple[StyledGAN, KindSteering]:
    """Return a model with styles, and what steering needs to know of its samples.

    Raises InvalidValueError for a model that has no styles, or whose samples have no known attributes.
    """
    if not isinstance(model, StyledGAN):
        raise InvalidValueError(f"{type(model).__name__} has no styles; models with styles are StyleGAN2 and its kind")
    for kind in load_modality(modality).kinds:
        if kind.load_steering is not None and model.Output is Images:
            return model, kind.load_steering()
    raise InvalidValueError(f"samples of {modality} have no attributes that a network of this library knows")


@torch.no_grad()
def learn_directions(
    model: StyledGAN,
    steering: KindSteering,
    *,
    count: int = 8000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Direction]:
    """Learn named directions from what a network sees in samples.

    Styles are regressed on all attributes together. So a direction is the mean change of a style where one attribute
    changes and all others stay. It is scaled so that a move of 1 moves its attribute by one standard deviation, and
    measured on other samples than it was learned from. A direction that moves its attribute by less than LEAST is left
    out.

    Args:
        count: samples that are learned from.
        seed: of these samples; those that are measured have the next one.
    """
    report = progress or (lambda done, total: None)
    total = count + NUM_MEASURED * 4 * len(steering.named)
    done = 0

    def see(images: Tensor) -> dict[str, Tensor]:
        nonlocal done
        done += len(images)
        seen = steering.predict_attributes(images)
        report(min(done, total), total)
        return seen

    samples = [model.sample(min(500, count - i), seed=seed + i) for i in range(0, count, 500)]
    seen = [see(part.tensor) for part in samples]
    names = list(seen[0])
    raw = torch.stack([torch.cat([part[name] for part in seen]) for name in names], dim=1).double()
    deviations = raw.std(0).clamp_min(1e-6)
    attributes = (raw - raw.mean(0)) / deviations  # [N, K]
    styles = torch.cat([model.styles_of(part)[:, 0] for part in samples]).double()
    covariance = attributes.T @ attributes / count + RIDGE * torch.eye(len(names), dtype=torch.float64)
    slopes = torch.linalg.solve(covariance, attributes.T @ (styles - styles.mean(0)) / count).float()  # [K, W]

    fresh = model.sample(NUM_MEASURED, seed=seed + count)

    def measure(vector: Tensor) -> Tensor:
        """Measure by how many deviations each attribute changes for a move of 1, [K]."""
        ends = [see(model.move(fresh, vector, amount).tensor) for amount in (-1, 1)]
        change = torch.stack([(ends[1][name] - ends[0][name]).double().mean() / 2 for name in names])
        return change / deviations

    found = {}
    for label, attribute in steering.named.items():
        index = names.index(attribute)
        moved = float(measure(slopes[index])[index])
        if moved < LEAST:
            continue
        vector = slopes[index] / moved
        changes = measure(vector)
        others = torch.cat([changes[:index], changes[index + 1 :]])
        found[label] = Direction(vector=vector, moves=float(changes[index]), leaves=float(others.abs().mean()))
    report(total, total)  # those that were left out, too
    return found


@dataclass(frozen=True, kw_only=True)
class Projection:
    """The styles that a picture was found to have, and what they look like."""

    target: Images
    """The picture, as the model sees it."""
    samples: Images
    """What the generator makes of its styles, `samples.styles`. `model.edit(samples, ...)` changes it."""
    distances: list[float] = field(repr=False)
    """The distance before each step, of what the generator makes of the styles with that step's noise."""


def project(
    picture: str | os.PathLike[str] | Image.Image,
    model: StyledGAN,
    steering: KindSteering,
    *,
    plus: bool = False,
    steps: int = 500,
    seed: int = 0,
    features: str = "",
    align: bool = True,
    progress: Progress | None = None,
) -> Projection:
    """Find the styles of a picture: those whose sample is most like it.

    Karras et al. 2020, arXiv:1912.04958, appendix D: Adam from the mean style, with noise on the style that fades. The
    distance is that of pixels at three sizes, and of a network's maps, each with its length taken out at every place
    (Zhang et al. 2018, arXiv:1801.03924).

    Args:
        plus: find a style for each layer (w+). It comes closer, and edits less well.
        steps: of Adam.
        seed: of the noise on the style.
        features: the network of the distance: the modality's own if empty, `timm:MODEL`, or `pixels` for none.
        align: cut the picture so that its face is where those of the model are; needs a face detector.

    Raises:
        InvalidFileError: no picture.
        InvalidValueError: steps out of range, or no face was found.
        NotFoundError, MissingDependencyError: as `features` and `align` need it.
    """
    if steps < 1:
        raise InvalidValueError(f"steps = {steps} should be at least 1")
    maps = None if features == "pixels" else steering.load_maps(features or steering.default_maps)
    photo = _open(picture)
    if align:
        photo = steering.align(photo, model.sample(32, seed=0).tensor)
    target = decode_images(crop_square(photo, model.sample_shape[-1])[None])
    measure = _make_distance(target, maps)

    drawn = model.draw_styles()
    spread = float((drawn - drawn.mean(0)).square().sum(1).mean().sqrt())  # as the paper's sigma_w
    # In training mode, images are not cut at the ends of their range, where gradients would end, too.
    generator = copy.deepcopy(model.generator).cpu().float().train().requires_grad_(False)
    layers = generator.num_styles if plus else 1
    styles = model.mean_style.detach().float().cpu().expand(1, layers, -1).clone().requires_grad_(True)
    latents, noise = model.latents(1, Noise(0)), Noise(seed)
    optimizer = torch.optim.Adam([styles], lr=0.1, betas=(0.9, 0.999))
    distances = []
    for step in range(steps):
        share = step / steps
        falling = (1 - math.cos(math.pi * min(1.0, (1 - share) / 0.25))) / 2
        optimizer.param_groups[0]["lr"] = 0.1 * falling * min(1.0, (share + 1 / steps) / 0.05)
        fading = 0.05 * spread / math.sqrt(styles.shape[2]) * max(0.0, 1 - share / 0.75) ** 2
        distance = measure(generator(latents, styles=styles + fading * noise.normal(*styles.shape)))
        optimizer.zero_grad()
        distance.backward()
        optimizer.step()
        distances.append(distance.item())
        if progress is not None:
            progress(step + 1, steps)
    samples = model.synthesize(styles.detach())
    assert isinstance(samples, Images)
    return Projection(target=Images(tensor=target), samples=samples, distances=distances)


def _open(picture: str | os.PathLike[str] | Image.Image) -> Image.Image:
    if isinstance(picture, Image.Image):
        return convert_to_rgb(picture)
    path = Path(picture).expanduser()
    try:
        with open_image(path) as opened:
            return convert_to_rgb(opened)
    except InvalidFileError as error:
        raise InvalidFileError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InvalidFileError(f"{path}: not a picture that can be read: {error}") from None


def _make_distance(target: Tensor, maps: Callable[[Tensor], list[Tensor]] | None) -> Callable[[Tensor], Tensor]:
    """Return a function that measures how far images [1, 3, R, R] are from `target`."""

    def sizes(images: Tensor) -> list[Tensor]:
        return [images, F.avg_pool2d(images, 2), F.avg_pool2d(images, 4)]

    def normalized(images: Tensor) -> list[Tensor]:
        return [] if maps is None else [F.normalize(each, dim=1, eps=1e-6) for each in maps(images)]

    with torch.no_grad():
        pixels, seen = sizes(target), normalized(target)

    def measure(images: Tensor) -> Tensor:
        differences = [(a - b).abs().mean() for a, b in zip(sizes(images), pixels, strict=True)]
        differences += [(a - b).square().sum(1).mean() for a, b in zip(normalized(images), seen, strict=True)]
        return torch.stack(differences).mean()

    return measure


def describe_directions(directions: Mapping[str, Direction]) -> str:
    """Format directions with their figures, as aligned text."""
    rows: list[tuple[Any, ...]] = [("direction", "moves", "moves others")]
    rows += [(name, f"{each.moves:.2f}", f"{each.leaves:.2f}") for name, each in directions.items()]
    widths = np.array([[len(cell) for cell in row] for row in rows]).max(0)
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
