"""Starting a training from trained weights, as far as they fit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from itertools import groupby

import torch
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.training.trainer import Trainer

LEAST = 0.1
"""The share of the generator that must fit: less than that is as good as random weights, and most likely a mistake."""

State = Mapping[str, Tensor]


def load_warm_start(trainer: Trainer, start: GAN) -> list[str]:
    """Load the weights of `start` into a trainer as far as they fit; returns the names of tensors that stay random.

    A network for larger or smaller pictures, other classes or more discriminators starts with the layers that it
    shares. One of another width shares next to nothing, and is refused.

    Raises InvalidValueError, naming what differs, where less than a tenth of the generator fits.
    """
    recipe, gan = trainer.recipe, trainer.gan
    where = f"train.start = {recipe.train.start!r}: those weights are of"
    try:
        share, fitting = find_fitting(gan, start)
    except InvalidValueError as error:
        raise InvalidValueError(f"{where} {error}") from error
    if share < LEAST:
        theirs = dataclasses.asdict(start.config)
        differing = ", ".join(
            f"{name} = {theirs[name]} instead of {name} = {value}"
            for name, value in dataclasses.asdict(recipe.model).items()
            if name in theirs and theirs[name] != value
        )
        raise InvalidValueError(f"{where} {differing}: {share:.0%} of the generator fits, and {LEAST:.0%} should")
    for name, network in gan.networks.items():
        network.load_state_dict(fitting[name], strict=False)
    trainer.average.module.load_state_dict(gan.generator.state_dict())
    own = {name: network.state_dict() for name, network in gan.networks.items()}
    return [f"{name}.{key}" for name, state in own.items() for key in state if key not in fitting[name]]


def find_fitting(gan: GAN, start: GAN) -> tuple[float, dict[str, dict[str, Tensor]]]:
    """Find the tensors of `start` that fit the networks of `gan`, and their share of the generator's numbers.

    Raises InvalidValueError where `start` is something else altogether.
    """
    states = gan.align_start(start, gan.states_to_start(start))
    own = {name: network.state_dict() for name, network in gan.networks.items()}
    fitting = {name: match_tensors(states.get(name, {}), state) for name, state in own.items()}
    return _count(fitting["generator"]) / _count(own["generator"]), fitting


def match_tensors(start: State, own: State) -> dict[str, Tensor]:
    """Return those tensors of a network's state `start` that fit its state `own`, under the names that they have there.

    They fit by name and shape. A network for larger pictures may have more layers in front, so that the numbers in its
    names are others. Then layers fit by their order, where that gives more numbers.
    """
    by_name = {name: tensor for name, tensor in start.items() if name in own and own[name].shape == tensor.shape}
    by_order = _match_in_order(start, own)
    return max(by_name, by_order, key=_count)


def _match_in_order(start: State, own: State) -> dict[str, Tensor]:
    theirs, ours = _list_layers(start), _list_layers(own)
    matcher = SequenceMatcher(None, [kind for _, kind in theirs], [kind for _, kind in ours], autojunk=False)
    matched: dict[str, Tensor] = {}
    for block in matcher.get_matching_blocks():
        for i in range(block.size):
            (their_layer, kind), (our_layer, _) = theirs[block.a + i], ours[block.b + i]
            matched |= {f"{our_layer}{leaf}": start[f"{their_layer}{leaf}"] for leaf, _ in kind[1]}
    return matched


Layer = tuple[str, tuple[str, tuple[tuple[str, torch.Size], ...]]]


def _list_layers(state: State) -> list[Layer]:
    """List layers as the prefix of their names, and their kind: the prefix without numbers, and names and shapes."""
    layers = []
    for prefix, names in groupby(state, key=lambda name: name[: name.rfind(".") + 1]):
        leaves = tuple((name.removeprefix(prefix), state[name].shape) for name in names)
        layers.append((prefix, (re.sub(r"\d+", "", prefix), leaves)))
    return layers


def _count(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values())


def list_layers(names: list[str]) -> str:
    """List the layers of tensors, the first few of them."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")
