"""Starting a training from trained weights, as far as they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.recipe import Recipe
from zoo.training.trainer import Trainer


def check_warm_start(recipe: Recipe, start: GAN) -> None:
    """Refuse weights that fit less than half of the generator, naming what differs.

    A network for larger pictures, other classes or more discriminators starts with the layers that it shares. One of
    another width shares next to nothing.

    Raises InvalidValueError.
    """
    where, wanted = f"train.start = {recipe.train.start!r}: those weights are of", recipe.architecture_class
    if type(start) is not wanted:
        raise InvalidValueError(f"{where} {type(start).__name__}, and not of {wanted.__name__}")
    generator = wanted.state_shapes(recipe.model)["generator"]
    fits = sum(tensor.numel() for tensor in matching_tensors(start.generator.state_dict(), generator).values())
    if fits < (whole := sum(tensor.numel() for tensor in generator.values())) / 2:
        pairs = zip(_format_fields(recipe.model), _format_fields(start.config), strict=True)
        differing = ", ".join(f"{theirs} instead of {ours}" for ours, theirs in pairs if ours != theirs)
        raise InvalidValueError(f"{where} {differing}: {fits / whole:.0%} of the generator fit, and half should")


def load_warm_start(trainer: Trainer, start: GAN) -> list[str]:
    """Load the weights of `start` into a trainer as far as they fit; returns the names of tensors that stay random.

    Raises as `check_warm_start`.
    """
    check_warm_start(trainer.recipe, start)
    own = trainer.gan.state_dict()
    fitting = matching_tensors(start.state_dict(), own)
    random = [name for name in own if name not in fitting]
    trainer.gan.load_state_dict(fitting, strict=not random)
    trainer.average.module.load_state_dict(trainer.gan.generator.state_dict())
    return random


def matching_tensors(start: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors of the state `start` that the state `own` has by the same name in the same shape."""
    return {name: tensor for name, tensor in start.items() if name in own and own[name].shape == tensor.shape}


def list_layers(names: list[str]) -> str:
    """List the layers of tensors, the first few of them."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")


def _format_fields(config: Any) -> list[str]:
    return [f"{field.name} = {getattr(config, field.name)}" for field in dataclasses.fields(config)]
