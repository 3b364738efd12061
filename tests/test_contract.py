"""The contract that every entry of the registry keeps. New entries are tested without a change here.

What a test must know of an entry is in the table `[test]` of its recipe.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.chorales import chorale_store
from helpers.hits import Hits
from helpers.host_graphs import HostRecorder
from helpers.lines import Lines
from helpers.moves import Moves

import zoo
from zoo.data import Store, build_store
from zoo.errors import InvalidValueError
from zoo.gan import GAN
from zoo.modality import kind_of
from zoo.noise import Noise
from zoo.recipe import Recipe, ScheduleConfig, TestConfig, TrainConfig, load_recipe
from zoo.registry import registry
from zoo.releases.exporting import save_networks, write_config
from zoo.releases.loading import load_folder
from zoo.training.graphs import FIRST_STEPS, GraphedSteps
from zoo.training.loop import Progress, run_training
from zoo.training.phases import Step, trainable
from zoo.training.report import TrainingReport
from zoo.training.run import Run
from zoo.training.session import fit_to_data
from zoo.training.trainer import Trainer

CLIP_SIZE = 32  # px of clips, a fourth of the work
SMALL: dict[str, dict[str, Any]] = {  # by architecture: the same parts in other sizes, where those of recipes take long
    "faces-r3gan": {"widths": (32, 16), "blocks": (2, 1)},
    "faces-stylegan2": {"resolution": 32, "channel_base": 256},
    "music-bigvgan": {
        "length": 4096, "width": 16, "ups": (16, 16), "up_kernels": (32, 32), "kernels": (3,), "dilations": ((1, 3),),
    },
    "music-hifigan": {"length": 4096},
    "music-specgan": {"iterations": 2},
    "music-vocos": {"length": 4096, "width": 32, "inner_width": 64, "layers": 2},
    "text-ebm": {"candidates": 4, "embedding_dim": 32, "hidden_dim": 32, "energy_dim": 16},
    "text-gail": {"num_layers": 1, "width": 32, "discriminator_layers": 1, "discriminator_width": 32},
    "video-styleganv": {"channel_base": 256},
}  # fmt: skip
FEW = 4  # samples to look at in a training, which take most of its time here


@pytest.fixture(params=registry.names())
def whole_recipe(request: pytest.FixtureRequest) -> Recipe:
    return load_recipe(request.param, ["train.batch=4", "train.samples_kimg=100", "train.checkpoint_kimg=100"])


@pytest.fixture
def small_recipe(whole_recipe: Recipe) -> Recipe:
    """The recipe in sizes that are computed quickly."""
    sizes = SMALL.get(f"{whole_recipe.modality}-{whole_recipe.architecture}", {})
    if whole_recipe.modality == "video":
        sizes = {**sizes, "resolution": CLIP_SIZE}
    return replace(whole_recipe, model=replace(whole_recipe.model, **sizes))


@pytest.fixture
def fitting_store(small_recipe: Recipe, make_store: Callable[[int], Store], tmp_path: Path) -> Store:
    """A small data set for the recipe's architecture."""
    if small_recipe.modality == "text":
        return build_store(Lines(length=small_recipe.model.length), tmp_path / "lines")
    if small_recipe.modality == "video":
        return build_store(Moves(size=CLIP_SIZE, frames=small_recipe.model.frames), tmp_path / "moves")
    if hasattr(small_recipe.model, "rate"):  # of sounds
        return build_store(Hits(length=small_recipe.model.length, rate=small_recipe.model.rate), tmp_path / "hits")
    if hasattr(small_recipe.model, "bars"):  # of scores
        return chorale_store(small_recipe.model, tmp_path / "progressions")
    return make_store(small_recipe.model.resolution)


@pytest.fixture
def recipe(small_recipe: Recipe, fitting_store: Store) -> Recipe:
    """The small recipe fitted to the small data set, with adversarial training from the first step."""
    train = small_recipe.train
    at_once = {key: 0.0 for key in ("pretrain_kimg", "discriminator_kimg") if hasattr(train, key)}
    return fit_to_data(replace(small_recipe, train=replace(train, generator_interval=1, **at_once)), fitting_store)


@pytest.fixture
def gan(recipe: Recipe, fitting_store: Store) -> GAN:
    torch.manual_seed(0)
    gan = recipe.build().eval()
    gan.load_assets(fitting_store.folder)
    return gan


def skip_another_entry(recipe: Recipe) -> None:
    """Skip what depends on the architecture alone, and takes long, where an entry before has the same one."""
    of_architecture = [
        name
        for name, entry in registry.entries.items()
        if (entry.modality, entry.architecture) == (recipe.modality, recipe.architecture)
    ]
    if recipe.name in of_architecture[1:]:
        pytest.skip(f"{of_architecture[0]} has this architecture")


class PowerCut(Exception):
    """A training that ends without warning."""


def train(recipe: Recipe, folder: Path, store: Store, *, kimg: float, end_kimg: float = math.inf) -> None:
    """Train for `kimg`. At `end_kimg`, a step after the last checkpoint, the power fails."""
    longer = replace(recipe, train=replace(recipe.train, total_kimg=kimg, checkpoint_kimg=0.012))
    exists = (folder / "recipe.toml").exists()
    run = Run(folder, longer) if exists else Run.create(longer, folder, store.folder)

    def on_step(now: Progress) -> None:
        if now.kimg >= end_kimg:
            raise PowerCut

    trainer = Trainer(longer, store, kind_of(recipe).decode, torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.training.loop.NUM_FIXED", FEW)
        run_training(run, trainer, on_step=on_step, log=lambda line: None)


def make_step(gan: GAN, recipe: Recipe, store: Store) -> Step:
    real = kind_of(recipe).decode(store.samples[:4])
    labels = None if store.labels is None else torch.from_numpy(store.labels[:4])
    return Step(gan, real, Noise(0), train_generator=True, labels=labels)


def test_parameter_counts(whole_recipe: Recipe):
    """The recipe's networks have the parameter counts that its `[test]` states, those of the paper's sizes."""
    with torch.device("meta"):
        networks = whole_recipe.build().networks

    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == whole_recipe.test.parameters


def test_samples_have_the_shape_and_range_they_state(gan: GAN, recipe: Recipe, fitting_store: Store):
    """Samples are [n, *sample_shape], of the kind and range of the data; a discriminator gives one logit for each."""
    samples = gan.sample(3, seed=0)
    real = kind_of(recipe).decode(fitting_store.samples)

    assert samples.tensor.shape == (3, *gan.sample_shape) == (3, *real.shape[1:])
    assert samples.tensor.dtype == real.dtype
    low, high = (-1, 1) if real.is_floating_point() else (0, gan.config.vocabulary - 1)
    assert low <= samples.tensor.min() <= samples.tensor.max() <= high
    if "discriminator" in gan.networks:
        assert gan.discriminator(samples.tensor).shape == (3,)


def test_same_seed_same_samples_at_any_batch_size(gan: GAN, recipe: Recipe):
    """The seed determines the samples; the batch size and the number of samples do not."""
    samples, tolerance = gan.sample(7, seed=5), recipe.test.tolerance

    torch.testing.assert_close(gan.sample(7, seed=5, batch_size=2).tensor, samples.tensor, rtol=0, atol=tolerance)
    torch.testing.assert_close(gan.sample(3, seed=5).tensor, samples.tensor[:3], rtol=0, atol=tolerance)
    assert not torch.allclose(gan.sample(7, seed=6).tensor, samples.tensor)


def test_sampling_is_the_generator_in_evaluation_mode(gan: GAN):
    """What `sample` computes, with batch norms fused, is what the generator returns."""
    samples = gan.sample(4, seed=1)
    with torch.no_grad():
        plain = gan.generator(samples.latents)

    torch.testing.assert_close(samples.tensor, plain, rtol=0, atol=TestConfig().tolerance)


def test_latents_of_ones_own_are_generated(gan: GAN):
    """`generate` makes the same samples of the latents of samples, in batches of any size, and refuses other shapes."""
    samples = gan.sample(4, seed=1)

    again = gan.generate(samples.latents, batch_size=3)

    assert type(again) is type(samples)
    torch.testing.assert_close(again.tensor, samples.tensor, rtol=0, atol=TestConfig().tolerance)
    with pytest.raises(InvalidValueError, match="should be"):
        gan.generate(samples.latents[..., None])


def test_gradients_reach_every_parameter(recipe: Recipe, gan: GAN, fitting_store: Store):
    """The phases' gradients together reach every parameter, but those that the recipe lists."""
    gan.train().requires_grad_(False)
    for name, p in gan.named_parameters():
        if name.endswith(recipe.test.zero_initialized):
            torch.nn.init.normal_(p, std=0.1)
    step = make_step(gan, recipe, fitting_store)
    reached: set[str] = set()
    for phase in gan.phases(recipe.train):
        with trainable(phase.module):
            phase.loss(step)["loss"].backward()
        reached |= {name for name, p in gan.named_parameters() if p.grad is not None and bool(p.grad.any())}

    assert reached | set(recipe.test.zero_gradients) == {name for name, _ in gan.named_parameters()}


class Watched:
    """The settings of a training, and which of them were read."""

    def __init__(self, train: TrainConfig) -> None:
        self._train, self.read = train, set[str]()

    def __getattr__(self, setting: str) -> object:
        self.read.add(setting)
        return getattr(self._train, setting)


@pytest.mark.parametrize("setting", ["r1_gamma=1.5", "gradient_penalty=1.5", "augment=['color']", "loss='hinge'"])
def test_settings_without_effect_are_refused(recipe: Recipe, gan: GAN, fitting_store: Store, setting: str):
    """A setting is either read in a step, or refused with the recipe."""
    try:
        load_recipe(recipe.name, [f"train.{setting}"])
    except InvalidValueError:
        return
    watched = Watched(recipe.train)
    gan.train().requires_grad_(False)
    step = make_step(gan, recipe, fitting_store)
    for phase in gan.phases(watched):
        with trainable(phase.module):
            phase.loss(step)

    assert setting.partition("=")[0] in watched.read


def test_the_strength_of_r1_follows_its_schedule(recipe: Recipe, gan: GAN, fitting_store: Store):
    """At the end of a schedule to zero, phases of R1 have no loss; at its start they have one."""
    if not recipe.train.r1_gamma:
        return
    schedule = ScheduleConfig(kimg=1, r1_gamma_factor=0)
    phases = gan.train().phases(replace(recipe.train, r1_interval=2, schedule=schedule))
    penalties = [phase for phase in phases if "R1" in phase.name]
    gan.requires_grad_(False)
    step = make_step(gan, recipe, fitting_store)
    assert penalties
    for phase in penalties:
        step.kimg = 0
        assert phase.loss(step)["loss"].item() > 0
        step.kimg = 1
        assert phase.loss(step)["loss"].item() == 0


def test_networks_change_only_in_their_own_phase(recipe: Recipe, gan: GAN, fitting_store: Store):
    """A phase leaves the other networks' gradients alone."""
    gan.train().requires_grad_(False)
    step = make_step(gan, recipe, fitting_store)
    for phase in gan.phases(recipe.train):
        gan.zero_grad(set_to_none=True)
        with trainable(phase.module):
            phase.loss(step)["loss"].backward()
        touched = {id(p) for p in gan.parameters() if p.grad is not None}

        assert touched <= {id(p) for p in phase.module.parameters()}


def test_weights_round_trip_strictly(recipe: Recipe, gan: GAN, fitting_store: Store, tmp_path: Path):
    """Saved networks load again, every tensor, and give the same samples to half a step of 8-bit color.

    The generator loads alone, too, without a look at the other files.
    """
    folder = tmp_path / "weights"
    folder.mkdir()
    save_networks(gan, folder)
    write_config(recipe, folder)
    for asset in gan.ASSETS:
        shutil.copyfile(fitting_store.folder / asset, folder / asset)
    loaded = load_folder(folder)

    assert type(loaded) is type(gan)
    assert loaded.config == gan.config
    for key, value in gan.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    samples = loaded.sample(4, seed=0).tensor
    assert (samples - gan.sample(4, seed=0).tensor).float().abs().mean() < 0.5 / 127.5
    for path in folder.glob("*.safetensors"):
        if path.stem != "generator":
            path.write_bytes(b"")
    alone = zoo.load(folder, device="cpu", discriminator=False)
    assert list(alone.networks) == ["generator"]
    assert torch.equal(alone.sample(4, seed=0).tensor, samples)


def test_two_training_steps_change_all_networks(recipe: Recipe, fitting_store: Store, tmp_path: Path):
    """Two steps of the recipe's training run and change every network."""
    torch.manual_seed(recipe.train.seed)
    before = recipe.build().state_dict()

    train(recipe, tmp_path / "run", fitting_store, kimg=0.008)

    after = Run.open(tmp_path / "run").load()[0]
    for network in after.networks:
        changed = [not torch.equal(before[k], v) for k, v in after.state_dict().items() if k.startswith(network)]
        assert any(changed)


def test_a_step_waits_for_no_device(recipe: Recipe, fitting_store: Store):
    """Steps run on a device whose numbers nobody can read: no `.item()`, `.cpu()` or `float()` hides in them."""
    trainer = Trainer(recipe, fitting_store, kind_of(recipe).decode, torch.device("meta"))
    report = TrainingReport(recipe.train.loss)

    if recipe.test.waits:
        with pytest.raises((RuntimeError, NotImplementedError)):
            trainer.step(report)
        return
    for _ in range(2):
        trainer.step(report)


def compute_gradients(recipe: Recipe, store: Store, **settings: object) -> dict[str, torch.Tensor]:
    """Compute the gradients of each phase of the first step, flat."""
    changed = replace(recipe, train=replace(recipe.train, **settings))
    trainer = Trainer(changed, store, kind_of(recipe).decode, torch.device("cpu"))
    step = trainer._next_step(trainer.phases)
    found = {}
    for phase in trainer.phases:
        torch.manual_seed(0)  # for dropout
        with trainable(phase.module):
            with trainer.precision.autocast():
                terms = phase.loss(step)
            assert all(value.dtype == torch.float32 for value in terms.values())
            phase.optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()
        found[phase.name] = torch.cat([p.grad.flatten() for p in phase.module.parameters() if p.grad is not None])
    return found


def test_compiled_gradients_equal_eager_ones(recipe: Recipe, fitting_store: Store, monkeypatch: pytest.MonkeyPatch):
    """Compiled networks give the gradients of eager ones, penalties included; equal losses alone would not show it."""
    skip_another_entry(recipe)
    monkeypatch.setattr("zoo.nn.compiling.BACKEND", "aot_eager")  # traces and differentiates, without a C++ compiler
    torch._dynamo.reset()

    compiled = compute_gradients(recipe, fitting_store, compile=True)

    for name, eager in compute_gradients(recipe, fitting_store).items():
        assert float((compiled[name] - eager).norm()) <= 1e-4 * float(eager.norm()) + 1e-12, name


def test_bfloat16_gradients_point_the_same_way(recipe: Recipe, fitting_store: Store):
    """In bfloat16 losses stay float32, and gradients are those of float32 but for rounding; or it is refused."""
    if recipe.build().float32_modules() is None:
        with pytest.raises(InvalidValueError, match="trained in fp32 only"):
            compute_gradients(recipe, fitting_store, precision="bf16")
        return
    reduced = compute_gradients(recipe, fitting_store, precision="bf16")

    for name, exact in compute_gradients(recipe, fitting_store).items():
        assert float(torch.cosine_similarity(reduced[name].double(), exact.double(), dim=0)) > 0.95, name


def test_resumed_training_equals_uninterrupted(recipe: Recipe, fitting_store: Store, tmp_path: Path):
    """A training that was stopped and resumed has the weights of one that was not, bit for bit."""
    skip_another_entry(recipe)
    train(recipe, tmp_path / "whole", fitting_store, kimg=0.024)
    with pytest.raises(PowerCut):
        train(recipe, tmp_path / "parts", fitting_store, kimg=0.024, end_kimg=0.016)
    train(recipe, tmp_path / "parts", fitting_store, kimg=0.024)

    whole, parts = (Run.open(tmp_path / name).load()[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_interpolation_is_spherical_and_ends_at_its_latents(gan: GAN, recipe: Recipe):
    """A row starts and ends at two samples of the seed, of one class, and keeps the length of the latents in between.

    Where there is nothing in between, as with tokens, or no latents at all, the error says so.
    """
    if type(gan).interpolate is not GAN.interpolate:
        with pytest.raises(InvalidValueError, match=r"between|no latents"):
            gan.interpolate(1, steps=5, seed=3)
        return
    options = {"label": gan.labels[0]} if getattr(gan, "labels", ()) else {}
    samples, row = gan.sample(2, seed=3, **options), gan.interpolate(1, steps=5, seed=3)

    torch.testing.assert_close(row.latents[[0, -1]], samples.latents)
    lengths = row.latents.norm(dim=1)
    assert lengths.min() > 0.9 * samples.latents.norm(dim=1).min()
    tolerance = recipe.test.tolerance
    torch.testing.assert_close(row.tensor[[0, -1]], samples.tensor, rtol=0, atol=tolerance)


def test_the_average_is_sampled_as_the_model_is(small_recipe: Recipe, fitting_store: Store):
    """Tokens stay whole numbers: the variety of texts is that of the places that differ."""
    skip_another_entry(small_recipe)
    recipe = fit_to_data(small_recipe, fitting_store)
    trainer = Trainer(recipe, fitting_store, kind_of(recipe).decode, torch.device("cpu"))

    samples = trainer.sample_average(trainer.gan.latents(2, Noise(0)))

    assert samples.dtype == trainer.averaged_gan().sample(2, seed=0).tensor.dtype


# Which draw random numbers on the CPU, so that a GPU refuses to record them; as it does where a step waits for it.
NOT_RECORDED = ("music-wavegan",)


def test_replayed_steps_are_the_same(small_recipe: Recipe, fitting_store: Store):
    """Where steps become CUDA graphs, weights go the same way; here graphs are those of a stand-in."""
    skip_another_entry(small_recipe)
    if small_recipe.test.waits or f"{small_recipe.modality}-{small_recipe.architecture}" in NOT_RECORDED:
        pytest.skip("its steps cannot be recorded")
    recipe = fit_to_data(small_recipe, fitting_store)
    states = []
    for graphed in (None, GraphedSteps(HostRecorder())):  # type: ignore[arg-type]
        trainer = Trainer(recipe, fitting_store, kind_of(recipe).decode, torch.device("cpu"))
        trainer._graphed = graphed
        last_start = max(phase.start_kimg for phase in trainer.phases)  # after which pre-training is over
        trainer.num_steps = math.ceil(1000 * last_start / recipe.train.batch)
        for _ in range(FIRST_STEPS + 3):
            trainer.step(TrainingReport(recipe.train.loss))
        states.append(trainer.gan.state_dict())

    torch.testing.assert_close(states[1], states[0], rtol=1e-5, atol=1e-7)  # the progress is in float32 in a graph
