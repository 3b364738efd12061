"""I3D, the feature network of the Fréchet video distance (FVD): Inception-v1 with filters inflated in time.

Carreira & Zisserman 2017, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", arXiv:1705.07750,
figure 3; the widths of the Inception modules are those of Szegedy et al. 2014, arXiv:1409.4842, table 1. FVD is the
Fréchet distance of its 400 logits (Unterthiner et al. 2018, arXiv:1812.01717).

Its weights, trained on Kinetics-400, are not part of this library. `load_i3d` reads a file of yours, in the layout of
the PyTorch port that FVD programs offer (`Conv3d_1a_7x7.conv3d.weight`, `Mixed_3b.b1a.bn.weight`, ...).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidFileError, InvalidValueError, shorten
from zoo.io.torch_file import read_tensors
from zoo.io.weights import digest

CLASSES = 400
SIZE = 224  # pixels that frames are resized to
LEAST_FRAMES = 9  # the pooling over time needs them

# Channels of a module's four branches: 1 x 1; 1 x 1 and 3 x 3; another such pair; pooling and 1 x 1.
_MODULES = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


def _pad(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Pad [N, C, T, H, W] with zeros, so that each side becomes ceil(side / stride); an odd zero is at the end."""
    padding: list[int] = []
    for side, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max(0, (-(-side // s) - 1) * s + k - side)
        padding = [total // 2, total - total // 2, *padding]  # the last side comes first
    return F.pad(x, padding)


class Unit(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(before, after, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv3d(_pad(x, self.conv3d.kernel_size, self.conv3d.stride))).relu_()


class Pool(nn.Module):
    """Maximum pooling with padding."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Inception(nn.Module):
    """An Inception module: four branches, concatenated."""

    def __init__(self, before: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int) -> None:
        super().__init__()
        self.b0 = Unit(before, b0)
        self.b1a, self.b1b = Unit(before, b1a), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(before, b2a), Unit(b2a, b2b, 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit(before, b3b)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class Logits(nn.Module):
    """The last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1024, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3d(x)


class I3D(nn.Module):
    """Clips [N, 3, T, H, W] in [-1, 1] -> logits [N, 400]; 12,697,264 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        for name, sizes in _MODULES.items():
            self.add_module(name, Pool(*sizes) if name.startswith("Max") else Inception(*sizes))  # type: ignore[arg-type]
        self.logits = Logits()

    def forward(self, clips: Tensor) -> Tensor:
        """Compute the logits. Raises InvalidValueError for fewer than 9 frames."""
        n, _, length = clips.shape[:3]
        if length < LEAST_FRAMES:
            raise InvalidValueError(f"I3D sees clips of at least {LEAST_FRAMES} frames; these have {length}")
        frames = F.interpolate(clips.transpose(1, 2).flatten(0, 1), (SIZE, SIZE), mode="bilinear", align_corners=False)
        x = frames.unflatten(0, (n, length)).transpose(1, 2)  # [N, 3, T, 224, 224]
        for layer in list(self.children())[:-1]:
            x = layer(x)
        x = F.avg_pool3d(x, (2, 7, 7), 1)  # [N, 1024, T / 8 - 1, 1, 1]
        return self.logits(x).mean((2, 3, 4))


def load_i3d(path: Path) -> tuple[I3D, str]:
    """Load the network from a file of yours, .safetensors or of `torch.save`; returns also the file's sha256.

    Raises InvalidFileError where there is no such file, or it has other tensors than I3D's.
    """
    if not path.is_file():
        raise InvalidFileError(f"{path}: no such file of I3D's weights")
    network = I3D().eval().requires_grad_(False)
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = {name.removeprefix("module."): tensor for name, tensor in read_tensors(path).items()}
    state = {name: tensor for name, tensor in found.items() if not name.endswith("num_batches_tracked")}
    for name, tensor in own.items():
        if name not in state or state[name].shape != tensor.shape:
            has = f"has {list(state[name].shape)} for it" if name in state else "lacks it"
            raise InvalidFileError(
                f"{path}: not I3D's weights of {CLASSES} classes: {name} is {list(tensor.shape)}; it {has}"
            )
    if other := sorted(state.keys() - own.keys()):
        raise InvalidFileError(f"{path}: not I3D's weights: it has {shorten(other[0])}, too")
    network.load_state_dict(
        state, strict=False
    )  # not strict: the counters of batches may be missing, and nothing reads them
    return network, digest(path)
