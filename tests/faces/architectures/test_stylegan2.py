"""StyleGAN2 against numbers of the published implementation, and what the contract tests cannot know of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.blobs import Blobs
from safetensors.torch import load_file
from torch import Tensor

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.faces.architectures.stylegan2 import (
    PathLength,
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2TrainConfig,
    measure_path_lengths,
)
from zoo.modality import kind_of
from zoo.nn.counter_noise import counter_noise
from zoo.noise import Noise
from zoo.recipe import Recipe, load_recipe
from zoo.training.losses import Penalties
from zoo.training.phases import Step, trainable
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"
TINY = {"resolution": 16, "latent_dim": 8, "style_dim": 8, "channel_base": 64, "channel_max": 8}
EVERYTHING = [  # noise, mixing and path lengths, which the recipe leaves out
    *(f"model.{key}={value}" for key, value in TINY.items()),
    *("model.noise=true", "train.batch=4", "train.style_mixing=0.9", "train.path_length_weight=2"),
]  # fmt: skip


def tiny(**changes: object) -> StyleGAN2:
    """A small GAN whose noise is visible."""
    torch.manual_seed(0)
    gan = StyleGAN2(StyleGAN2Config(**{**TINY, **changes})).eval().requires_grad_(False)
    for name, parameter in gan.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    return gan


def count_parameters(gan: StyleGAN2) -> list[int]:
    return [sum(p.numel() for p in network.parameters()) for network in gan.networks.values()]


def read_golden(name: str) -> tuple[StyleGAN2, dict[str, Tensor]]:
    """Build the networks of a folder, with all its state under the names there, and read its inputs and outputs."""
    folder = GOLDEN / name
    arguments = json.loads((folder / "config.json").read_text())
    generator, discriminator = arguments["generator"], arguments["discriminator"]
    gan = StyleGAN2(
        StyleGAN2Config(
            resolution=generator["img_resolution"],
            latent_dim=generator["z_dim"],
            style_dim=generator["w_dim"],
            labels=generator["c_dim"],
            mapping_layers=generator["mapping_kwargs"]["num_layers"],
            channel_base=generator["synthesis_kwargs"]["channel_base"],
            channel_max=generator["synthesis_kwargs"]["channel_max"],
            generator_architecture=generator["synthesis_kwargs"].get("architecture", "skip"),
            discriminator_architecture=discriminator["architecture"],
            deviation_group=discriminator["epilogue_kwargs"]["mbstd_group_size"],
        )
    ).eval()
    assert [sum(p.numel() for p in network.parameters()) for network in gan.networks.values()] == arguments[
        "parameters"
    ]
    for network in ("generator", "discriminator"):
        if (folder / f"{network}.safetensors").exists():
            gan.networks[network].load_state_dict(load_file(folder / f"{network}.safetensors"))
    return gan, load_file(folder / "io.safetensors")


def assert_equal_up_to_rounding(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", ["stylegan2-32-uncond", "stylegan2-64-cond8"])
def test_styles_and_images_are_those_of_the_published_implementation(name: str):
    """Styles, truncated ones, and images with each layer's constant noise or none; with classes too."""
    gan, golden = read_golden(name)
    generator = gan.generator
    latents = torch.cat([golden["z"], golden["c"]], dim=1) if "c" in golden else golden["z"]
    with torch.no_grad():
        styles = generator.make_styles(latents)
        images = {
            "image_noise_const": generator.synthesis(styles),
            "image_noise_none": generator.synthesis(styles, "none"),
            "image_psi_0.5_noise_const": generator.synthesis(gan.truncate(styles, 0.5)),
        }
        whole = gan.generate(latents, truncation=0.5).tensor

    assert_equal_up_to_rounding(styles, golden["ws"])
    assert_equal_up_to_rounding(gan.truncate(styles, 0.5), golden["ws_psi_0.5"])
    assert_equal_up_to_rounding(gan.truncate(styles, 0.5, cutoff=4), golden["ws_psi_0.5_cutoff_4"])
    for key in images.keys() & golden.keys():
        assert_equal_up_to_rounding(images[key][: len(golden[key])], golden[key])
    torch.testing.assert_close(whole, images["image_psi_0.5_noise_const"].clamp(-1, 1))


@pytest.mark.parametrize("name", ["stylegan2-32-uncond", "stylegan2-64-cond8", "stylegan2-32-origD"])
def test_logits_and_their_gradients_are_those_of_the_published_implementation(name: str):
    """Of all images in groups; residual or plain, with classes or without."""
    gan, golden = read_golden(name)
    labels = golden["c"].argmax(1) if "c" in golden else None
    images = golden.get("image_noise_const")
    if "z" in golden:
        latents = torch.cat([golden["z"], golden["c"]], dim=1) if "c" in golden else golden["z"]
        images = gan.generator.synthesis(gan.generator.make_styles(latents)).detach()
    assert images is not None
    logits = gan.discriminator(images.requires_grad_(), labels)
    gradient = torch.autograd.grad(logits.sum(), images)[0]
    penalty = Penalties().r1(lambda real: gan.discriminator(real, labels), images, Noise(0))

    assert_equal_up_to_rounding(logits[:, None].detach(), golden["logits"])
    torch.testing.assert_close(penalty.detach(), golden["r1_sum_of_squares"].mean())
    if "d_image_gradient" in golden:
        assert_equal_up_to_rounding(gradient[: len(golden["d_image_gradient"])], golden["d_image_gradient"])


def test_path_lengths_are_those_of_the_published_implementation():
    """For directions that are given."""
    gan, golden = read_golden("stylegan2-32-uncond")
    directions = golden["pl_noise"]
    styles = golden["ws"][: len(directions)].requires_grad_()
    lengths = measure_path_lengths(gan.generator.synthesis(styles), styles, directions)

    assert_equal_up_to_rounding(lengths.detach(), golden["pl_lengths"])


def test_the_defaults_have_the_parameters_of_the_automatic_configuration():
    """At 64 px: as many as in the published networks."""
    with torch.device("meta"):
        gan = StyleGAN2(StyleGAN2Config())

    assert count_parameters(gan) == [22_243_608, 23_407_361]


def test_a_plain_generator_is_one_whose_earlier_images_are_black():
    """`orig` computes what `skip` does where only the last layer to RGB has weights, and has no others."""
    plain, skip = (tiny(generator_architecture=kind).generator for kind in ("orig", "skip"))
    missing, unexpected = skip.load_state_dict(plain.state_dict(), strict=False)
    for name in missing:
        skip.get_parameter(name).zero_()

    assert not unexpected
    assert {name.partition(".torgb")[0] for name in missing} == {"synthesis.b4", "synthesis.b8"}
    latents = torch.randn(2, 8)
    torch.testing.assert_close(skip(latents), plain(latents))


def test_random_noise_belongs_to_its_sample():
    """It depends on neither batch size nor number of samples, and differs from sample to sample."""
    gan = tiny()
    samples = gan.sample(6, seed=1, noise="random").tensor

    torch.testing.assert_close(gan.sample(6, seed=1, noise="random", batch_size=4).tensor, samples, rtol=0, atol=1e-5)
    torch.testing.assert_close(gan.sample(2, seed=1, noise="random").tensor, samples[:2], rtol=0, atol=1e-5)
    kinds = {kind: gan.sample(6, seed=1, noise=kind).tensor for kind in ("const", "none")}
    torch.testing.assert_close(gan.sample(6, seed=1).tensor, kinds["const"])
    assert not torch.allclose(kinds["const"], kinds["none"], atol=1e-2)
    noise = samples - kinds["none"]
    assert not torch.allclose(noise, kinds["const"] - kinds["none"], atol=1e-2)
    assert not torch.allclose(noise[0], noise[1], atol=1e-2)


def test_random_noise_differs_from_layer_to_layer_and_seed_to_seed(monkeypatch: pytest.MonkeyPatch):
    """Each layer has a stream of its own, and each seed has its own keys."""
    gan, streams = tiny(), []

    def record(keys: Tensor, *shape: int, stream: int) -> Tensor:
        streams.append(stream)
        return counter_noise(keys, *shape, stream=stream)

    monkeypatch.setattr("zoo.faces.architectures.stylegan2.counter_noise", record)
    options = StyleGAN2.SampleOptions(noise="random")
    keys = [gan.prepare_sampling(4, seed, options)[1]["noise"] for seed in (1, 2)]
    gan.sample(1, noise="random")

    assert len(set(streams)) == len(streams) == 5
    assert len(torch.cat(keys).unique()) == 8


def test_truncation_moves_samples_to_the_mean():
    """At 0 all samples are equal; a cutoff of 0 truncates nothing, and one of all styles everything."""
    gan = tiny()
    gan.generator.mapping.w_avg.normal_(generator=torch.Generator().manual_seed(0))
    plain = gan.sample(3, seed=1).tensor
    mean = gan.sample(3, seed=1, truncation=0.0).tensor

    torch.testing.assert_close(mean, mean[:1].expand_as(mean), rtol=0, atol=1e-5)
    torch.testing.assert_close(gan.sample(3, seed=1, truncation=0.0, cutoff=0).tensor, plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(gan.sample(3, seed=1, truncation=0.0, cutoff=6).tensor, mean, rtol=0, atol=1e-5)
    assert not torch.allclose(gan.sample(3, seed=1, truncation=0.0, cutoff=5).tensor, mean, atol=1e-3)
    assert not torch.allclose(gan.sample(3, seed=1, truncation=0.5).tensor, plain, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "loud"}, "noise = 'loud' should be const, random or none"),
        ({"cutoff": -1}, "cutoff = -1 should be at least 0"),
        ({"truncation": float("nan")}, "truncation = nan should be finite"),
    ],
)
def test_sample_options_out_of_range_are_refused(options: dict[str, object], message: str):
    """In one line that says what would have worked."""
    with pytest.raises(InvalidValueError, match=message):
        tiny().sample(1, **options)


def test_a_model_without_noise_says_so():
    """It has no constants and no strengths, and random noise is refused."""
    gan = tiny(noise=False)

    assert not [name for name in gan.state_dict() if "noise" in name]
    with pytest.raises(InvalidValueError, match="has no noise"):
        gan.sample(1, noise="random")


def test_a_resolution_is_a_power_of_two():
    """Others make no network."""
    with pytest.raises(InvalidValueError, match="should be a power of two"):
        StyleGAN2Config(resolution=48)


def test_mixed_samples_take_later_styles_from_another_latent():
    """From their own crossover on; one of L leaves a sample as it is."""
    generator = tiny().generator
    first, second = torch.randn(2, 3, 8)
    styles, others = generator.make_styles(first), generator.make_styles(second)
    mixed = generator.make_styles(first, second, torch.tensor([1, 4, 6]))

    torch.testing.assert_close(mixed[0], torch.cat([styles[0, :1], others[0, 1:]]))
    torch.testing.assert_close(mixed[1], torch.cat([styles[1, :4], others[1, 4:]]))
    torch.testing.assert_close(mixed[2], styles[2])


def test_the_share_of_mixed_samples_is_that_of_the_recipe():
    """Each mixed sample keeps its first style and takes its last from the other latent."""
    gan = tiny()
    step = Step(gan, torch.zeros(400, 3, 16, 16), Noise(0), train_generator=False)
    crossover = gan.draw_training_noise(step.latents(), step, 0.7)["crossover"]

    assert set(crossover.tolist()) == {1, 2, 3, 4, 5, 6}
    assert float((crossover < 6).float().mean()) == pytest.approx(0.7, abs=0.06)
    assert "others" not in gan.draw_training_noise(step.latents(), step, 0.0)


def test_training_learns_the_mean_style():
    """A training pass moves the mean by a two-hundredth of the way, of the first latents alone; sampling does not."""
    gan = tiny()
    mapping, latents = gan.generator.mapping, torch.randn(5, 8)
    gan.generator(latents)
    assert not mapping.w_avg.any()

    gan.generator.train()(latents, others=torch.randn(5, 8), crossover=torch.full((5,), 2))
    torch.testing.assert_close(mapping.w_avg, 0.005 * mapping(latents).mean(0))


def test_path_length_penalty_is_the_distance_from_the_running_mean():
    """The mean moves by a hundredth of the way, and the batch counts before it is penalized."""
    path_length = PathLength()
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty = path_length.penalize(lengths)
    penalty.backward()

    assert path_length.mean.item() == pytest.approx(0.02)
    assert penalty.item() == pytest.approx((0.98**2 + 2.98**2) / 2)
    torch.testing.assert_close(lengths.grad, torch.tensor([0.98, 2.98]))


def test_path_lengths_are_penalized_lazily():
    """Their phase is every few steps of the generator, its strength times the interval; a weight of 0 leaves it out."""
    gan = tiny().train()
    step = Step(gan, torch.zeros(4, 3, 16, 16), Noise(0), train_generator=True)
    train = StyleGAN2TrainConfig(path_length_weight=3.0, path_length_interval=5, generator_interval=2)
    phases = {phase.name: phase for phase in gan.phases(train)}
    phase = phases["G-path"]
    with trainable(gan.generator):
        terms = phase.loss(step)

    assert phase.interval == 10
    assert phase.optimizer is phases["G"].optimizer
    torch.testing.assert_close(terms["loss"], 15 * terms["path_length_penalty"])
    assert terms["loss"].item() > 0
    assert "G-path" not in [phase.name for phase in gan.phases(replace(train, path_length_weight=0.0))]


@pytest.fixture
def everything(make_store: Callable[[int], Store]) -> Callable[..., Trainer]:
    """A function that makes a trainer of a small recipe with noise, mixing and path lengths."""
    store = make_store(16)

    def make(device: str = "cpu", **changes: object) -> Trainer:
        recipe: Recipe = load_recipe("faces-stylegan2", EVERYTHING)
        recipe = replace(recipe, train=replace(recipe.train, **changes))
        return Trainer(recipe, store, kind_of(recipe).decode, torch.device(device))

    return make


def run_steps(trainer: Trainer, steps: int) -> dict[str, Tensor]:
    for _ in range(steps):
        trainer.step(TrainingReport("non_saturating"))
    return {**trainer.gan.state_dict(), "average": trainer.average.module.mapping.w_avg}


def test_a_training_with_noise_mixing_and_path_lengths_resumes_bit_for_bit(everything: Callable[..., Trainer]):
    """The mean path length and the mean style are part of the state, and the average copies the mean style."""
    whole, first, second = everything(), everything(), everything()
    expected = run_steps(whole, 6)
    run_steps(first, 3)
    second.load_state_dict(first.state_dict())
    found = run_steps(second, 3)

    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert expected["average"].any()
    assert torch.equal(expected["average"], expected["generator.mapping.w_avg"])


def test_a_step_with_noise_mixing_and_path_lengths_waits_for_no_device(everything: Callable[..., Trainer]):
    """It runs where nobody can read numbers."""
    run_steps(everything("meta"), 1)


@pytest.mark.parametrize(("changes", "least"), [({"compile": True}, 0.99999), ({"precision": "bf16"}, 0.95)])
def test_gradients_with_noise_mixing_and_path_lengths_are_the_same(
    everything: Callable[..., Trainer], changes: dict[str, object], least: float, monkeypatch: pytest.MonkeyPatch
):
    """Compiled or in bfloat16, the gradients of each phase point where plain ones do."""
    monkeypatch.setattr("zoo.nn.compiling.BACKEND", "aot_eager")
    torch._dynamo.reset()

    def compute_gradients(trainer: Trainer) -> dict[str, Tensor]:
        step, found = trainer._next_step(trainer.phases), {}
        for phase in trainer.phases:
            with trainable(phase.module):
                with trainer.precision.autocast():
                    terms = phase.loss(step)
                phase.optimizer.zero_grad(set_to_none=True)
                terms["loss"].backward()
            found[phase.name] = torch.cat([p.grad.flatten() for p in phase.module.parameters() if p.grad is not None])
        return found

    expected, found = compute_gradients(everything()), compute_gradients(everything(**changes))
    assert list(expected) == ["D", "D-R1", "G", "G-path"]
    for name, gradient in expected.items():
        assert float(torch.cosine_similarity(gradient.double(), found[name].double(), dim=0)) > least, name


def test_classes_come_from_the_data_and_can_be_asked_for(tmp_path: Path):
    """By their numbers; the discriminator needs them, and data without classes make a model without."""

    class Labelled(Blobs):
        def render(self, indices):  # type: ignore[no-untyped-def]
            return super().render(indices)[0], np.array([(i % 3,) for i in indices], dtype=self.attributes)

    plain = build_store(Blobs(size=16), tmp_path / "plain")
    labelled = build_store(Labelled(size=16, attributes=np.dtype([("label", "i4")])), tmp_path / "labelled")
    config = StyleGAN2Config(**TINY)
    gan = tiny(labels=StyleGAN2.config_for(config, labelled).labels)

    assert StyleGAN2.config_for(replace(config, labels=3), plain).labels == 0
    assert gan.labels == ("0", "1", "2")
    one, two = (gan.sample(4, seed=0, label=label) for label in ("1", "2"))
    assert torch.equal(one.latents[:, :8], two.latents[:, :8])
    assert not torch.allclose(one.tensor, two.tensor, atol=1e-3)
    scores = [gan.discriminator(one.tensor, torch.full((4,), label)) for label in (1, 2)]
    assert not torch.allclose(*scores)
    with pytest.raises(InvalidValueError, match="knows 3 classes"):
        gan.discriminator(one.tensor)
    with pytest.raises(NotFoundError, match="without classes"):
        tiny().sample(1, label="1")
