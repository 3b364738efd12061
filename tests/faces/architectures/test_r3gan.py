"""R3GAN: the numbers of published networks, and the training of its paper."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from zoo.errors import InvalidValueError
from zoo.faces.architectures.r3gan import R3GAN, R3GANConfig, R3GANTrainConfig
from zoo.noise import Noise
from zoo.recipe import ScheduleConfig, load_recipe
from zoo.training.phases import Phase, Step, trainable

GOLDEN = Path(__file__).parents[2] / "golden" / "r3gan-16-cond4"
SMALL = R3GANConfig(latent_dim=4, widths=(16, 8), blocks=(1, 1))


def read_golden() -> tuple[R3GANConfig, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Read a config, the states of both networks under the names of published files, and what came out of them."""
    sizes = json.loads((GOLDEN / "config.json").read_text())["generator"]
    config = R3GANConfig(
        latent_dim=sizes["NoiseDimension"],
        labels=sizes["ConditionDimension"],
        widths=tuple(sizes["WidthPerStage"]),
        blocks=tuple(sizes["BlocksPerStage"]),
    )
    states = [
        {f"Model.{name}": value for name, value in load_file(GOLDEN / f"{network}.safetensors").items()}
        for network in ("generator", "discriminator")
    ]
    return config, *states, load_file(GOLDEN / "io.safetensors")


def check_close(value: Tensor, expected: Tensor) -> None:
    """Check that numbers are within 1e-4 of the largest that is expected."""
    assert value.shape == expected.shape
    value = value.detach()
    assert float((value - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def check_discriminator(gan: R3GAN, io: dict[str, Tensor], labels: Tensor | None, rows: Tensor) -> None:
    images = io["image"][rows].requires_grad_()
    logits = gan.discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    check_close(logits, io["logits"][rows])
    check_close(gradient, io["d_image_gradient"][rows])
    check_close(gradient.square().sum((1, 2, 3)), io["r1_sum_of_squares"][rows])


def test_networks_with_classes_compute_what_published_ones_do():
    """All tensors load under their published names; images, logits and the gradient of R1 are the published ones."""
    config, generator, discriminator, io = read_golden()
    gan = R3GAN(config)
    gan.generator.load_state_dict(generator)
    gan.discriminator.load_state_dict(discriminator)

    images = gan.generator(torch.cat([io["z"], io["c"]], dim=1))
    check_close(images, io["image"])
    check_discriminator(gan, io, io["c"].argmax(1), torch.arange(len(images)))
    assert torch.equal(gan.eval().generator(torch.cat([io["z"], io["c"]], dim=1)), images.clamp(-1, 1))


def test_networks_without_classes_compute_what_published_ones_do():
    """A class is an embedding beside the latent, and a last layer of its own. So networks without it know one."""
    config, generator, discriminator, io = read_golden()
    embedding = generator.pop("Model.EmbeddingLayer.weight")  # [Z, K]
    classes = discriminator.pop("Model.EmbeddingLayer.weight")  # [C, K]
    last = "Model.MainLayers.2.Layers.2.LinearLayer.weight"
    every, labels = discriminator[last], io["c"].argmax(1)
    gan = R3GAN(replace(config, labels=0, latent_dim=2 * config.latent_dim))

    gan.generator.load_state_dict(generator)
    check_close(gan.generator(torch.cat([io["z"], embedding.T[labels]], dim=1)), io["image"])
    for label in labels.unique():
        gan.discriminator.load_state_dict({**discriminator, last: classes.T[label][None] @ every})
        check_discriminator(gan, io, None, (labels == label).nonzero()[:, 0])


def test_new_weights_have_the_spread_of_published_ones():
    """Layers start from the deviations of the authors' initialization, as far as the published test weights have it."""
    config, generator, discriminator, _ = read_golden()
    torch.manual_seed(0)
    gan = R3GAN(config)
    for network, state in ((gan.generator, generator), (gan.discriminator, discriminator)):
        for name, weight in network.state_dict().items():
            # The last layers of blocks, and biases, start from zero; the published test weights have numbers there.
            if weight.numel() >= 100 and "LinearLayer3" not in name:
                assert float(weight.std()) == pytest.approx(float(state[name].std()), rel=0.25), name


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (R3GANConfig(), (22_429_824, 22_381_440)),  # FFHQ at 64 px
        (R3GANConfig(latent_dim=16, widths=(32, 32, 24, 16), blocks=(2, 2, 2, 2)), (86_000, 85_520)),
    ],
    ids=["FFHQ-64", "toy"],
)
def test_parameter_counts_are_the_published_ones(config: R3GANConfig, counts: tuple[int, int]):
    """The defaults have the authors' sizes."""
    with torch.device("meta"):
        networks = R3GAN(config).networks.values()
    assert tuple(sum(p.numel() for p in network.parameters()) for network in networks) == counts


def test_residual_blocks_start_as_the_identity():
    """The last convolution of each block starts from zero, so a new generator only resizes and mixes its basis."""
    torch.manual_seed(0)
    network = R3GAN(SMALL).generator.Model
    basis, first = network.MainLayers[0].Layers
    z = torch.randn(3, 4)
    assert torch.equal(first(basis(z)), basis(z))
    torch.testing.assert_close(network(2 * z), 2 * network(z))


def make_step(gan: R3GAN, kimg: float = 0.0, labels: Tensor | None = None) -> Step:
    """Make a step whose residual blocks are no longer the identity."""
    torch.manual_seed(0)
    for name, parameter in gan.named_parameters():
        if name.endswith("LinearLayer3.Layer.weight"):
            torch.nn.init.normal_(parameter, std=0.3)
    gan.train().requires_grad_(False)
    real = torch.rand(6, 3, 8, 8) * 2 - 1
    return Step(gan, real, Noise(0), train_generator=True, kimg=kimg, labels=labels)


def make_phases(gan: R3GAN, **settings: object) -> dict[str, Phase]:
    return {phase.name: phase for phase in gan.phases(replace(R3GANTrainConfig(), **settings))}


def compute_penalties(gan: R3GAN, step: Step) -> Tensor:
    """Compute R1 + R2 with plain autograd."""
    total = torch.zeros(())
    for images in (step.real, step.fake.detach()):
        images = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(gan.discriminator(images, step.labels).sum(), images)
        total = total + gradient.square().sum((1, 2, 3)).mean()
    return total


@pytest.mark.parametrize("labels", [None, torch.arange(6) % 3], ids=["plain", "classes"])
def test_each_step_of_the_discriminator_has_both_penalties(labels: Tensor | None):
    """D minimizes softplus(D(fake) - D(real)) + gamma / 2 (R1 + R2); at the end of the schedule gamma is a tenth."""
    gan = R3GAN(replace(SMALL, labels=0 if labels is None else 3))
    for kimg, gamma in ((0.0, 2.0), (20_000.0, 0.2)):
        step = make_step(gan, kimg, labels)
        phases = make_phases(gan)
        assert list(phases) == ["D", "G"]
        with trainable(gan.discriminator):
            loss = phases["D"].loss(step)["loss"]
        real, fake = gan.discriminator(step.real, labels), gan.discriminator(step.fake, labels)
        expected = F.softplus(fake - real).mean() + gamma / 2 * compute_penalties(gan, step)
        torch.testing.assert_close(loss, expected)


def test_lazy_penalties_are_a_phase_of_their_own():
    """Every eighth step has eight times the penalty; the phase D has none. Without gamma there is no such phase."""
    gan = R3GAN(SMALL)
    step, phases = make_step(gan), make_phases(gan, r1_interval=8)
    assert list(phases) == ["D", "D-R1", "G"]
    assert phases["D-R1"].interval == 8
    assert phases["D-R1"].optimizer is phases["D"].optimizer
    with trainable(gan.discriminator):
        loss, penalty = phases["D"].loss(step)["loss"], phases["D-R1"].loss(step)["loss"]
    torch.testing.assert_close(penalty, 8 * compute_penalties(gan, step))
    torch.testing.assert_close(loss, F.softplus(gan.discriminator(step.fake) - gan.discriminator(step.real)).mean())
    assert list(make_phases(gan, r1_interval=8, r1_gamma=0.0)) == ["D", "G"]


def test_the_generator_is_compared_with_real_images():
    """G minimizes softplus(D(real) - D(fake)), pair by pair."""
    gan = R3GAN(SMALL)
    step = make_step(gan)
    loss = make_phases(gan)["G"].loss(step)["loss"]
    expected = F.softplus(gan.discriminator(step.real) - gan.discriminator(step.fake)).mean()
    torch.testing.assert_close(loss, expected)


def test_the_schedule_is_that_of_the_authors():
    """Over 20 million images: rates to a quarter, beta2 from 0.9 to 0.99, gamma to a tenth, the half-life to 500."""
    train = R3GANTrainConfig()
    assert (train.generator, train.r1_gamma, train.ema_halflife_kimg) == (train.discriminator, 2.0, 0.0)
    assert train.generator.betas == (0.0, 0.9)
    assert train.schedule == ScheduleConfig(
        kimg=20_000, lr_factor=0.25, beta2=0.99, r1_gamma_factor=0.1, ema_halflife_kimg=500, ada_probability=0.3
    )
    assert math.isinf(train.schedule_start_kimg)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("model.widths=[16, 8]", "model.widths has 2 values and model.blocks 5: give each one for"),
        ("model.widths=[16, 16, 16, 16, 12]", "model.widths = 12 should be a multiple of 8"),
        ("train.gradient_penalty=1.0", "the training of R3GAN does not use it"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(override: str, text: str):
    """The message says what would have worked."""
    with pytest.raises(InvalidValueError, match=text.replace("[", r"\[")):
        load_recipe("faces-r3gan", [override])


def test_samples_of_a_class():
    """Classes have numbers. A discriminator that knows classes asks for them."""
    torch.manual_seed(0)
    gan = R3GAN(replace(SMALL, labels=3))
    assert gan.sample(6, seed=0).latents[:, 4:].argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    chosen = gan.sample(2, seed=0, label="1")
    assert chosen.latents[:, 4:].tolist() == [[0, 1, 0]] * 2
    with pytest.raises(InvalidValueError, match="knows 3 classes"):
        gan.discriminator(chosen.tensor)
