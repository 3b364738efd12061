"""What steering needs to know of faces: what a picture shows, how alike two pictures are, and where the face is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zoo.errors import InvalidValueError, NotFoundError
from zoo.faces.metrics.detectors import Detector, detect_boxes, load_detectors
from zoo.faces.metrics.evaluator import NAME, load_evaluator
from zoo.metrics.features import load_timm_features

Maps = Callable[[Tensor], list[Tensor]]

NAMED = {
    "age": "age_years",
    "beard": "beard",
    "glasses": "glasses",
    "hair": "hair_lightness",
    "light": "light_azimuth",
    "mouth": "mouth_open",
    "pitch": "pitch",
    "smile": "smile",
    "yaw": "yaw",
}
"""Directions that are learned, and the attributes that they move."""

PHOTO_SIDE = 512  # pixels of the longest side in which a face is looked for
NUM_REFERENCE = 32  # samples that show where a model's faces are


@torch.no_grad()
def predict_attributes(images: Tensor) -> dict[str, Tensor]:
    """Predict what images [N, 3, H, W] in [-1, 1] show: a number [N] for each attribute, by the faces evaluator.

    Numbers are those of `synthetic-faces`, standardized; of glasses and beards, the probability that there are any.
    Colors are summed up as lightness.
    """
    evaluator = load_evaluator()
    parts = [evaluator.predict(chunk) for chunk in images.split(250)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    scores = {name: values for name, values in found.items() if values.dim() == 1 and "_rgb_" not in name}
    for color in ("skin", "hair"):
        scores[f"{color}_lightness"] = torch.stack([found[f"{color}_rgb_{i}"] for i in range(3)]).mean(0)
    for what in ("glasses", "beard", "headwear"):
        scores[what] = 1 - found[what].softmax(1)[:, 0]
    return scores


def load_maps(name: str) -> Maps:
    """Load a network whose maps tell how alike images are: the faces evaluator, or `timm:MODEL`.

    Raises NotFoundError for another name, and as `load_timm_features`.
    """
    kind, _, model = name.partition(":")
    if kind == "timm":
        features = load_timm_features(model)
        network, prepare = features.network, features.prepare
        if not hasattr(network, "forward_intermediates"):
            raise InvalidValueError(f"timm's {model} does not give the maps between its layers; choose another model")
    elif name == f"zoo:{NAME}":
        evaluator = load_evaluator()
        network, prepare = evaluator.backbone, evaluator.resize
    else:
        raise NotFoundError(f'no features "{name}"; there are zoo:{NAME} and timm:MODEL, e.g. timm:resnet18.a1_in1k')
    network.requires_grad_(False)
    return lambda images: read_maps(network, prepare(images))


def read_maps(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the maps [N, C, h, w] between the stages of a timm network."""
    forward: Callable[..., list[Tensor]] = network.forward_intermediates  # type: ignore[assignment]
    return forward(images, intermediates_only=True)


def align(photo: Image.Image, images: Tensor) -> Image.Image:
    """Cut the square out of a photo in which its face is where those of a model's images [N, 3, R, R] are.

    What lies outside of the photo repeats its edge.

    Raises MissingDependencyError without any detector, InvalidValueError where none finds a face.
    """
    detectors = load_detectors()
    for detector in detectors:
        reference = _typical_box(detector, images)
        box = _find_box(detector, photo)
        if reference is None or box is None:
            continue
        side = (box[2] - box[0] + box[3] - box[1]) / (reference[2] - reference[0] + reference[3] - reference[1])
        center = [(box[i] + box[i + 2]) / 2 - (reference[i] + reference[i + 2]) / 2 * side for i in (0, 1)]
        return _cut(photo, center[0], center[1], side)
    names = ", ".join(detector.name for detector in detectors)
    raise InvalidValueError(f"no face was found in the photo ({names}); crop it yourself, and use --no-align")


def _typical_box(detector: Detector, images: Tensor) -> tuple[float, ...] | None:
    """Return the mean box of faces in images, in shares of their size; None where none has one."""
    found = [box for box in detect_boxes(images[:NUM_REFERENCE], detector) if box is not None]
    return tuple(np.mean(found, axis=0)) if found else None


def _find_box(detector: Detector, photo: Image.Image) -> tuple[float, ...] | None:
    """Return the box of the largest face in a photo, in its pixels; None without one."""
    scale = min(1.0, PHOTO_SIDE / max(photo.size))
    small = photo.resize([max(1, round(side * scale)) for side in photo.size], Image.Resampling.LANCZOS)
    box = detector.find_face(np.ascontiguousarray(np.asarray(small)))
    return None if box is None else tuple(edge / scale for edge in box)


def _cut(photo: Image.Image, left: float, top: float, side: float) -> Image.Image:
    left, top, side = round(left), round(top), max(1, round(side))
    margins = [(max(0, -top), max(0, top + side - photo.height)), (max(0, -left), max(0, left + side - photo.width))]
    pixels = np.pad(np.asarray(photo), [*margins, (0, 0)], mode="edge")
    y, x = max(0, top), max(0, left)
    return Image.fromarray(pixels[y : y + side, x : x + side])
