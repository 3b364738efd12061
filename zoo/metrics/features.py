"""Image features for metrics: the pooled penultimate features of any timm model, with a name for reports."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, suggest
from zoo.noise import seed_torch


class Features:
    """A frozen network that maps images to features, with the preprocessing of its training.

    Reports state its `name`, which identifies the network and its weights.
    """

    def __init__(
        self, name: str, network: nn.Module, *, size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self.size = size
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, images: Tensor, *, batch: int = 64) -> Tensor:
        """Compute features [N, D], float32 on the CPU, of floating images [N, 3, H, W] in [-1, 1], `batch` at a time.

        Images are resized to the network's input (bicubic, antialiased, clipped to [-1, 1]), and not cropped.

        Raises InvalidValueError for another shape or type, values out of range, or no image.
        """
        if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0 or not images.is_floating_point():
            raise InvalidValueError(f"floating images [N, 3, H, W] are needed; got {images.dtype} {list(images.shape)}")
        if not bool((images.abs() <= 1).all()):
            raise InvalidValueError("images must lie in [-1, 1]")
        with torch.inference_mode():
            return torch.cat([self.network(self.prepare(some)).float().cpu() for some in images.split(batch)]).clone()

    def to(self, device: torch.device | str) -> Features:
        """Move the network to a device, where features are then computed; returns self."""
        self.network.to(device)
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def prepare(self, images: Tensor) -> Tensor:
        """Resize images [N, 3, H, W] in [-1, 1] to the network's input, and scale them as its training did."""
        images = images.to(self.mean.device, torch.float32)
        images = F.interpolate(images, size=self.size, mode="bicubic", antialias=True).clamp(-1, 1)
        return ((images + 1) / 2 - self.mean) / self.std


def load_timm_features(
    name: str, *, pretrained: bool = True, file: str | Path | None = None, seed: int = 0
) -> Features:
    """Load the pooled penultimate features of a timm model, e.g. "resnet18" or "resnet18.a1_in1k".

    The weights are timm's own, from the Hub or a local cache; or those in `file`, a safetensors file of the model's
    state; or, with `pretrained=False`, random ones of `seed`. The name of the features tells which:
    "timm:resnet18.a1_in1k", "timm:resnet18+file:<first 12 digits of its sha256>", or "timm:resnet18+random:<seed>".
    Preprocessing is that of the tag in `name`, or of timm's default tag.

    Raises:
        NotFoundError: timm does not know the name.
        InvalidFileError: weights cannot be fetched or read.
        InvalidValueError: a `file` together with `pretrained=False`.
    """
    import timm
    from timm.data.config import resolve_model_data_config

    if file is not None and not pretrained:
        raise InvalidValueError("a file of weights and pretrained=False exclude each other")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise NotFoundError(f'timm has no model "{architecture}".{suggest(architecture, timm.list_models())}')
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise NotFoundError(
            f'timm has no weights "{name}".{suggest(name, tagged)} Known: {", ".join(tagged) or "none"}.'
        )
    default = timm.get_pretrained_cfg(name)
    assert default is not None  # every model of timm's registry has one

    if not pretrained:
        with seed_torch(seed):
            network = timm.create_model(architecture, num_classes=0)
        source = f"{architecture}+random:{seed}"
    elif file is not None:
        file = Path(file)
        network = timm.create_model(name, num_classes=0)
        _load_all(network, file, without=default.classifier or ())
        source = f"{name}+file:{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    else:
        from zoo.io.hub import offline_without_network

        try:
            with offline_without_network():
                network = timm.create_model(name, pretrained=True, num_classes=0)
        except (OSError, RuntimeError) as error:
            raise InvalidFileError(
                f'the weights of timm\'s "{name}" could not be fetched from the Hub: {error} '
                "Where the Hub is out of reach, bring a cache that has them (set HF_HOME to its folder and "
                'HF_HUB_OFFLINE=1), or pass file="model.safetensors". Random weights (pretrained=False) are for tests.'
            ) from error
        source = f"{architecture}.{default.tag}"

    config = resolve_model_data_config(network)
    return Features(f"timm:{source}", network, size=config["input_size"][1:], mean=config["mean"], std=config["std"])


def _load_all(network: nn.Module, file: Path, *, without: str | tuple[str, ...]) -> None:
    """Load a file that must contain the whole network, and no other tensors than the classifier layers `without`.

    timm's own loading ignores missing tensors and leaves them random.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file.suffix != ".safetensors":
        raise InvalidFileError(f"{file}: weights are read from .safetensors files only")
    try:
        missing, unexpected = network.load_state_dict(load_file(file), strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InvalidFileError(f"{file}: not the weights of this network: {error}") from error
    unexpected = [key for key in unexpected if not key.startswith(without)]
    if missing or unexpected:
        raise InvalidFileError(f"{file}: not the weights of this network: missing {missing}, unexpected {unexpected}")
