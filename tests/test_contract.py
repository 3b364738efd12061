"""What every architecture of the registry must keep; the parametrisation finds new entries by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo.data import Store
from zoo.gan import GAN
from zoo.hub import load_folder
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.registry import registry
from zoo.releasing import save_players, write_config
from zoo.training.loop import load_run, start_run, train
from zoo.training.session import wing_data

PARAMETERS = {  # generator, discriminator; from the papers' sizes (faces.md of the field gives DCGAN's)
    "faces-dcgan": (3_576_704, 2_765_568),
    "faces-gan": (5_251_872, 3_977_041),
}


@pytest.fixture(params=registry.names())
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return load_recipe(request.param, ["train.batch=4", "train.samples_kimg=100", "train.checkpoint_kimg=100"])


@pytest.fixture
def gan(recipe: Recipe) -> GAN:
    torch.manual_seed(0)
    return recipe.gan(recipe.model).eval()


@pytest.fixture
def fitting_store(recipe: Recipe, make_store: Callable[[int], Store]) -> Store:
    return make_store(recipe.model.resolution)


def play(recipe: Recipe, run: Path, store: Store, *, kimg: float) -> None:
    longer = replace(recipe, train=replace(recipe.train, total_kimg=kimg))
    if not (run / "recipe.toml").exists():
        start_run(longer, run)
    train(longer, run, store, wing_data(recipe.modality).decode, device=torch.device("cpu"), say=lambda line: None)


def test_parameter_counts(recipe: Recipe, gan: GAN):
    """The recipe's players have the parameter counts of their papers."""
    counts = tuple(sum(p.numel() for p in player.parameters()) for player in gan.players.values())

    assert counts == PARAMETERS[recipe.name]


def test_samples_have_the_shape_and_range_they_state(gan: GAN):
    """Samples are [n, *sample_shape] in [-1, 1], and the discriminator gives one logit for each."""
    samples = gan.sample(3, seed=0)

    assert samples.tensor.shape == (3, *gan.sample_shape)
    assert samples.tensor.abs().max() <= 1
    assert gan.discriminator(samples.tensor).shape == (3,)


def test_same_seed_same_samples_at_any_batch_size(gan: GAN):
    """A seed decides the samples; the batch size and the number asked for do not."""
    samples = gan.sample(7, seed=5)

    torch.testing.assert_close(gan.sample(7, seed=5, batch_size=2).tensor, samples.tensor, rtol=0, atol=2e-5)
    torch.testing.assert_close(gan.sample(3, seed=5).tensor, samples.tensor[:3], rtol=0, atol=2e-5)
    assert not torch.allclose(gan.sample(7, seed=6).tensor, samples.tensor)


def test_sampling_is_the_generator_in_evaluation_mode(gan: GAN):
    """What `sample` computes, batch norm folded, is what the generator says."""
    samples = gan.sample(4, seed=1)
    with torch.no_grad():
        plain = gan.generator(samples.latents)

    torch.testing.assert_close(samples.tensor, plain, rtol=0, atol=2e-5)


def test_gradients_reach_every_parameter(recipe: Recipe, gan: GAN):
    """Each phase's loss sends a gradient that is not zero to its player; together they reach every parameter."""
    from zoo.training.phases import Turn, only

    gan.train().requires_grad_(False)
    turn = Turn(gan, torch.rand(4, *gan.sample_shape) * 2 - 1, Noise(0), generator_plays=True)
    reached: set[str] = set()
    for phase in gan.phases(recipe.train):
        with only(phase.player):
            phase.loss(turn)["loss"].backward()
        reached |= {name for name, p in gan.named_parameters() if p.grad is not None and bool(p.grad.any())}

    assert reached == {name for name, _ in gan.named_parameters()}


def test_players_move_only_in_their_own_phase(recipe: Recipe, gan: GAN):
    """A phase leaves the other player's gradients alone."""
    from zoo.training.phases import Turn, only

    gan.train().requires_grad_(False)
    turn = Turn(gan, torch.rand(4, *gan.sample_shape) * 2 - 1, Noise(0), generator_plays=True)
    for phase in gan.phases(recipe.train):
        gan.zero_grad(set_to_none=True)
        with only(phase.player):
            phase.loss(turn)["loss"].backward()
        touched = {id(p) for p in gan.parameters() if p.grad is not None}

        assert touched <= {id(p) for p in phase.player.parameters()}


def test_weights_round_trip_strictly(recipe: Recipe, gan: GAN, tmp_path: Path):
    """Saved players load again, every tensor, and give the same samples to half a step of 8-bit colour."""
    save_players(gan, tmp_path)
    write_config(recipe, tmp_path)
    loaded = load_folder(tmp_path)

    assert type(loaded) is type(gan)
    assert loaded.config == gan.config
    for key, value in gan.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    change = (loaded.sample(4, seed=0).tensor - gan.sample(4, seed=0).tensor).abs().mean()
    assert change < 0.5 / 127.5


def test_two_training_steps_change_both_players(recipe: Recipe, fitting_store: Store, tmp_path: Path):
    """Two turns of the recipe's game run and move every player."""
    torch.manual_seed(recipe.train.seed)
    before = recipe.gan(recipe.model).state_dict()

    play(recipe, tmp_path / "run", fitting_store, kimg=0.008)

    after = load_run(tmp_path / "run")[1]
    for player in after.players:
        changed = [not torch.equal(before[k], v) for k, v in after.state_dict().items() if k.startswith(player)]
        assert any(changed)


def test_resumed_training_equals_uninterrupted(recipe: Recipe, fitting_store: Store, tmp_path: Path):
    """Stopping and going on gives bit for bit the weights of never stopping."""
    play(recipe, tmp_path / "whole", fitting_store, kimg=0.024)
    play(recipe, tmp_path / "parts", fitting_store, kimg=0.012)
    play(recipe, tmp_path / "parts", fitting_store, kimg=0.024)

    whole, parts = (load_run(tmp_path / name)[1].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_interpolation_is_spherical_and_ends_at_its_latents(gan: GAN):
    """A row starts and ends at two samples of the seed, and keeps the length of the latents between."""
    samples, row = gan.sample(2, seed=3), gan.interpolate(1, steps=5, seed=3)

    torch.testing.assert_close(row.latents[[0, -1]], samples.latents)
    lengths = row.latents.norm(dim=1)
    assert lengths.min() > 0.9 * samples.latents.norm(dim=1).min()
    torch.testing.assert_close(row.tensor[[0, -1]], samples.tensor, rtol=0, atol=2e-5)
