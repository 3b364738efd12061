"""Starting from weights of another size, and keeping the first layers of a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import InvalidValueError
from zoo.recipe import Recipe, load_recipe
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer, find_frozen
from zoo.training.warm_start import load_warm_start, match_tensors

STYLED = ["model.style_dim=8", "model.latent_dim=8", "model.channel_base=128", "model.channel_max=8", "train.batch=4"]
SIZES: dict[str, tuple[list[str], ...]] = {  # of an entry: small, large
    "faces-dcgan": tuple(["model.width=4", "model.latent_dim=4", f"model.resolution={size}"] for size in (16, 32)),
    "faces-stylegan2": ([*STYLED, "model.resolution=16"], [*STYLED, "model.resolution=32"]),
    "faces-r3gan": (
        ["model.widths=[32, 32, 16]", "model.blocks=[1, 1, 1]"],
        ["model.widths=[32, 32, 16, 16]", "model.blocks=[1, 1, 1, 1]"],
    ),
}
SHARES = {"faces-dcgan": (0.15, 0.5), "faces-stylegan2": (0.8, 0.99), "faces-r3gan": (0.8, 0.99)}
"""The least share of the generator that fits: from small to large, and from large to small."""


def read(name: str, size: int) -> Recipe:
    return load_recipe(name, [*SIZES[name][size], "train.batch=4", "train.start=elsewhere"])


def make_trainer(recipe: Recipe, make_store: Callable[[int], Store]) -> Trainer:
    return Trainer(recipe, make_store(recipe.model.resolution), decode_images, torch.device("cpu"))


@pytest.mark.parametrize("grows", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_another_resolution_begins_with_the_layers_that_fit(name: str, grows: bool, make_store: Callable[[int], Store]):
    """They are found by name or by order, are taken over bit for bit, and the other tensors are listed."""
    torch.manual_seed(1)
    start, recipe = read(name, 0 if grows else 1).build(), read(name, 1 if grows else 0)
    trainer = make_trainer(recipe, make_store)

    random = load_warm_start(trainer, start)

    generator = {f"generator.{key}": value.numel() for key, value in trainer.gan.generator.state_dict().items()}
    left = sum(size for key, size in generator.items() if key in random)
    assert 1 - left / sum(generator.values()) >= SHARES[name][0 if grows else 1]
    state, known = trainer.gan.state_dict(), {id(value): value for value in start.state_dict().values()}
    taken = [value for key, value in state.items() if key not in random]
    assert taken
    for value in taken:
        assert any(value.shape == other.shape and torch.equal(value, other) for other in known.values())
    trainer.step(TrainingReport(recipe.train.loss))


def test_layers_of_a_dcgan_keep_their_distance_from_the_image():
    """What was next to the image still is; the new layer is the first one."""
    small, large = (read("faces-dcgan", size).build().generator.state_dict() for size in (0, 1))

    fitting = match_tensors(small, large)

    last, last_before = max(large, key=_number), max(small, key=_number)
    assert torch.equal(fitting[last], small[last_before])
    assert not any(name.startswith("main.0.") for name in fitting)


def _number(name: str) -> int:
    return int(name.split(".")[1])


def test_layers_of_a_discriminator_keep_their_resolution():
    """R3GAN numbers them from the image on, so those of 8 px have another number in a larger network."""
    small, large = (read("faces-r3gan", size).build().discriminator.state_dict() for size in (0, 1))

    fitting = match_tensors(small, large)

    name = "Model.MainLayers.{}.Layers.0.LinearLayer1.Layer.weight"
    assert torch.equal(fitting[name.format(2)], small[name.format(1)])


def test_weights_of_another_width_are_refused(make_store: Callable[[int], Store]):
    """They share next to nothing, and the message says what differs."""
    start = load_recipe("faces-dcgan", ["model.width=4", "model.resolution=16"]).build()
    recipe = load_recipe("faces-dcgan", ["model.width=6", "model.resolution=16", "train.start=elsewhere"])
    trainer = make_trainer(recipe, make_store)
    before = {key: value.clone() for key, value in trainer.gan.state_dict().items()}

    with pytest.raises(InvalidValueError, match=r"width = 4 instead of width = 6: \d% of the generator fits, and 10%"):
        load_warm_start(trainer, start)
    torch.testing.assert_close(trainer.gan.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("layers", [1, 3])
def test_frozen_layers_keep_their_weights(layers: int, make_store: Callable[[int], Store]):
    """The first layers of the discriminator stay, all others learn."""
    recipe = load_recipe(
        "faces-stylegan2",
        [*SIZES["faces-stylegan2"][0], "train.start=elsewhere", f"train.freeze_discriminator={layers}"],
    )
    trainer = make_trainer(recipe, make_store)
    before = {name: p.clone() for name, p in trainer.gan.named_parameters()}
    for _ in range(2):
        trainer.step(TrainingReport(recipe.train.loss))

    same = {
        name
        for name, p in trainer.gan.discriminator.named_parameters()
        if torch.equal(p, before[f"discriminator.{name}"])
    }
    kept = ["b16.fromrgb", "b16.conv0", "b16.conv1"][:layers]
    assert same == {f"{layer}.{leaf}" for layer in kept for leaf in ("weight", "bias")}


def test_frozen_layers_count_matrices_with_what_follows_them():
    """A batch norm belongs to the convolution before it."""
    gan: Any = load_recipe("faces-dcgan", ["model.width=4", "model.resolution=16"]).build()

    frozen = find_frozen(gan, 2)

    names = [name for name, p in gan.discriminator.named_parameters() if any(p is other for other in frozen)]
    assert names == ["main.0.weight", "main.2.weight", "main.3.weight", "main.3.bias"]


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        (
            "faces-dcgan",
            ["train.start=elsewhere", "train.freeze_discriminator=60"],
            "has 5 layers, and some should learn",
        ),
        ("text-mle", ["train.start=elsewhere", "train.freeze_discriminator=1"], "has no discriminator"),
    ],
)
def test_freezing_what_is_not_there_is_refused(name: str, overrides: list[str], told: str):
    """In one line."""
    recipe = load_recipe(name, overrides)
    with torch.device("meta"):
        gan = recipe.build()

    with pytest.raises(InvalidValueError, match=told):
        find_frozen(gan, recipe.train.freeze_discriminator)


def test_freezing_random_layers_is_refused():
    """They would stay random."""
    with pytest.raises(InvalidValueError, match=r"set train\.start"):
        load_recipe("faces-dcgan", ["train.freeze_discriminator=1"])


@pytest.mark.parametrize(("entry", "layers"), [("video-tgan", 2), ("music-hifigan", 1)])
def test_a_layer_with_a_normalized_weight_is_frozen_as_a_whole(entry: str, layers: int):
    """With spectral or weight norm the weight is a parameter of a submodule. No later layer is frozen."""
    overrides = ["model.constraint=spectral"] if entry == "video-tgan" else []
    gan = load_recipe(entry, overrides).build()

    frozen = set(map(id, find_frozen(gan, layers)))

    networks = [network for name, network in gan.networks.items() if "discriminator" in name]
    for network in networks:
        for module in network.modules():
            if is_parametrized(module):
                shares = [id(p) in frozen for p in module.parameters()]
                assert all(shares) or not any(shares)
    assert frozen
