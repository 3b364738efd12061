"""MoCoGAN: content and motion, classes, and three discriminators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.clip_gans import gradients_of, moco
from helpers.moves import Moves
from plain_video import plain_step
from torch import nn

from zoo.data import build_store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.training.losses import Penalties
from zoo.training.phases import Step, trainable
from zoo.training.trainer import Trainer
from zoo.training.warm_start import load_warm_start
from zoo.video.architectures.mocogan import (
    ContentDiscriminator,
    DiscriminatorNoise,
    MoCoGAN,
    MoCoGANConfig,
    MoCoGANTrainConfig,
)
from zoo.video.data.datasets import decode


def test_a_generator_wider_than_its_discriminators():
    """`generator_width` is the image generator's alone."""
    usual, wide = moco(), moco(generator_width=4)

    first = [gan.generator.image[0].weight.shape for gan in (usual, wide)]
    assert [shape[1] for shape in first] == [first[0][1], 2 * first[0][1]]
    for name in ("discriminator", "image_discriminator"):
        of_usual, of_wide = (dict(gan.networks)[name].state_dict() for gan in (usual, wide))
        assert {key: x.shape for key, x in of_usual.items()} == {key: x.shape for key, x in of_wide.items()}


def test_noise_before_a_discriminators_layers():
    """It is added while training only, whatever order of memory an input has."""
    noise = DiscriminatorNoise(0.1)
    clips = torch.zeros(4, 3, 5, 16, 16).to(memory_format=torch.channels_last_3d)
    for x in (clips, clips[:, :, 2], clips[::2]):
        noise.train()
        assert noise(x).shape == x.shape
        assert 0.09 < float(noise(x).std()) < 0.11
        noise.eval()
        assert noise(x) is x


def test_content_stays_and_motion_differs():
    """Two clips of one content code and of two noises begin with one state and then differ."""
    gan = moco(labels=0)
    latents = gan.latents(2, Noise(0))
    latents[1, :60] = latents[0, :60]
    latents[1, 60:70] = latents[0, 60:70]  # the first step's noise
    clips = gan.generator(latents)

    torch.testing.assert_close(clips[0, :, 0], clips[1, :, 0])
    assert not torch.allclose(clips[0, :, 4], clips[1, :, 4])


def test_an_action_can_be_asked_for():
    """With a class all clips are of it, without they alternate; an unknown one is answered with the nearest."""
    gan = moco()

    assert gan.sample(3, seed=0).labels == ("right", "down", "right")
    assert gan.sample(3, seed=0, label="down", frames=11).labels == ("down",) * 3
    with pytest.raises(NotFoundError, match='Did you mean "right"'):
        gan.sample(1, label="rihgt")


@pytest.mark.parametrize("labels_to", ["motion", "image"])
def test_the_class_reaches_the_network_that_gets_it(labels_to: str):
    """Another class gives another clip from the same content and noise, whether R_M or G_I gets it."""
    gan = moco(labels_to=labels_to)
    right, down = (gan.sample(2, seed=0, label=label).tensor for label in gan.labels)

    assert not torch.allclose(right, down)


def test_the_clip_discriminator_learns_classes_and_teaches_them(tmp_path: Path):
    """With classes D's loss has their cross-entropy on real clips, and G's that of the classes it was asked for."""
    store = build_store(Moves(size=16, frames=8), tmp_path / "moves")
    gan = moco().train().requires_grad_(False)
    labels = torch.from_numpy(store.labels[:4])
    step = Step(gan, decode(store.samples[:4]), Noise(0), train_generator=True, labels=labels)
    terms = {phase.name: phase.loss(step) for phase in gan.phases(MoCoGANTrainConfig())}

    assert bool(terms["D"]["category"] > 0)
    assert bool(terms["G"]["category_asked"] > 0)
    torch.testing.assert_close(step.fake.shape, step.real.shape)
    plain = {phase.name: phase.loss(step) for phase in gan.phases(MoCoGANTrainConfig(category_weight=0.0))}
    assert float(plain["D"]["category"]) == 0


def test_the_recurrent_network_learns_from_the_classes_alone():
    """The part of the loss for the class that was asked for has a gradient at the network that gets it."""
    gradients = gradients_of(moco(), MoCoGANTrainConfig(), "G", loss="category_asked")

    assert float(gradients["recurrent.weight_ih"].abs().sum()) > 0


def test_the_generator_is_trained_against_all_discriminators():
    """Without the output of one of them its gradient differs; the third is one more, if there is one."""
    for name in ("discriminator", "image_discriminator", "content_discriminator"):
        gan, without = moco(content_width=4), moco(content_width=4)
        last = [m for m in getattr(without, name).modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)][-1]
        nn.init.zeros_(last.weight)
        both, others = (
            gradients_of(one, MoCoGANTrainConfig(category_weight=0.0), "G")["image.0.weight"] for one in (gan, without)
        )
        assert not torch.allclose(both, others)
        assert float(others.abs().sum()) > 0  # the other discriminators'


def squares(n: int, *, drift: float = 0.0, weave: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Squares of one color each, on black, that jump about for eight frames.

    Their colors change by `drift` from the first frame to the last; their pixels differ by `weave`.
    """
    draw = torch.Generator().manual_seed(seed)
    clips = -torch.ones(n, 3, 8, 16, 16)
    for clip in clips:
        color, change = torch.rand(3, generator=draw), torch.randn(3, generator=draw).sign() * drift
        for t in range(8):
            row, column = torch.randint(1, 12, (2,), generator=draw).tolist()
            grain = weave * torch.randn(1, 4, 4, generator=draw)
            clip[:, t, row : row + 4, column : column + 4] = (color + change * (t / 7 - 0.5))[:, None, None] + grain
    return clips


def make_content_discriminator() -> ContentDiscriminator:
    torch.manual_seed(0)
    config = MoCoGANConfig(resolution=16, frames=8, width=2, content_width=8, time_stride=2)
    return ContentDiscriminator(config).eval()  # without noise


def test_the_content_discriminator_sees_neither_place_nor_color():
    """However a thing of one color moves, in whatever order, and of whatever color: the logits are the same."""
    discriminator, clip = make_content_discriminator(), squares(1)
    elsewhere = torch.full_like(clip, -1)
    for t in range(8):
        elsewhere[:, :, t, t + 1 : t + 5, 11:15] = clip[0, :, 0].amax((1, 2))[:, None, None]

    torch.testing.assert_close(discriminator(elsewhere), discriminator(clip), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(clip.flip(2)), discriminator(clip), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(clip.flip(1)), discriminator(clip), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(discriminator(squares(1, drift=0.2)), discriminator(clip), atol=1e-2)


@pytest.mark.parametrize(("fault", "whose"), [({"weave": 0.05}, 0), ({"drift": 0.1}, 1)])
def test_the_content_discriminator_finds_small_faults_soon(fault: dict[str, float], whose: int):
    """One output finds uneven squares, another a change of color by a twentieth of the range, after 300 steps."""
    discriminator = make_content_discriminator().train()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    for step in range(300):
        real, fake = squares(8, seed=2 * step), squares(8, **fault, seed=2 * step + 1)
        loss = nn.functional.softplus(-discriminator(real)).mean() + nn.functional.softplus(discriminator(fake)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    discriminator.eval()
    real, fake = (discriminator(squares(64, **changed, seed=1000))[:, whose] for changed in ({}, fault))
    assert float((real[:, None] > fake[None]).float().mean()) > 0.95


def test_each_content_logit_depends_on_one_variance():
    """Of squares that differ only in how much their color changes, the second logit differs and the first does not."""
    discriminator = make_content_discriminator()
    same, changing = discriminator(squares(1)), discriminator(squares(1, drift=0.2))

    torch.testing.assert_close(changing[:, 0], same[:, 0], rtol=1e-3, atol=1e-3)  # within a frame they are even
    assert not torch.allclose(changing[:, 1], same[:, 1], atol=1e-2)


def test_to_the_content_discriminator_a_change_is_a_share_of_the_contrast():
    """Half the contrast with half the change is as far from staying: it does not pay to be gray."""
    discriminator, clip = make_content_discriminator(), squares(1, drift=0.2) + 1

    torch.testing.assert_close(discriminator(0.5 * clip), discriminator(clip), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(discriminator(squares(1, drift=0.1) + 1), discriminator(clip), atol=1e-2)


def test_a_larger_picture_begins_with_the_layers_of_a_smaller_one(tmp_path: Path):
    """At twice the resolution and half the width the layers up to the last are kept; the others are named."""
    small = [
        "model.frames=8",
        "model.time_stride=2",
        "train.batch=4",
        "train.total_kimg=0.008",
        "model.content_width=0",
    ]
    sizes = ["model.resolution=32", "model.width=4", "model.generator_width=4"]
    recipe = load_recipe("video-mocogan-shapes", [*small, *sizes])
    store = build_store(Moves(size=32, frames=8, count=32), tmp_path / "moves")
    torch.manual_seed(5)
    start = MoCoGAN(MoCoGANConfig(resolution=16, frames=8, time_stride=2, width=8, labels=2))
    trainer = Trainer(recipe, store, decode, torch.device("cpu"))

    random = load_warm_start(trainer, start)

    state = trainer.gan.state_dict()
    assert {name for name in random if name.startswith("generator")} >= {"generator.image.6.weight"}
    for layer in ("generator.recurrent.weight_ih", "generator.image.0.weight", "generator.image.1.weight"):
        assert layer not in random
        torch.testing.assert_close(state[layer], start.state_dict()[layer])
    torch.testing.assert_close(trainer.average.module.state_dict(), trainer.gan.generator.state_dict())
    other = load_recipe("video-mocogan-shapes", [*small, "model.resolution=32", "model.width=5"])
    with pytest.raises(InvalidValueError, match="width = 8 instead of width = 5"):
        load_warm_start(Trainer(other, store, decode, torch.device("cpu")), start)


def test_r1_of_the_image_discriminator_is_of_a_patch():
    """A discriminator of 64 px has sixteen patches beside one another: the penalty is their mean."""
    gan = MoCoGAN(MoCoGANConfig(resolution=32, frames=8, width=2, time_stride=2)).train().requires_grad_(False)
    clips = torch.rand(2, *gan.sample_shape)
    clips = clips[:, :, :1].expand(-1, -1, 8, -1, -1)  # any frame is the same
    step = Step(gan, clips, Noise(0), train_generator=False)
    phase = next(one for one in gan.phases(MoCoGANTrainConfig(r1_gamma=2.0, r1_interval=1)) if one.name == "D-image-R1")
    with trainable(phase.module):
        penalty = phase.loss(step)["r1_penalty_of_images"]
        whole = Penalties().r1(gan.image_discriminator, clips[:, :, 0], Noise(0))

    assert gan.config.num_patches == 4
    torch.testing.assert_close(4 * penalty, whole)


def test_r1_is_a_phase_of_its_own_where_it_is_asked_for():
    """As in other architectures: `r1_gamma` adds it, 0 leaves it out."""
    assert [phase.name for phase in moco().phases(MoCoGANTrainConfig())] == ["D", "D-image", "G"]
    with_r1 = [phase.name for phase in moco().phases(MoCoGANTrainConfig(r1_gamma=1.0))]
    assert with_r1 == ["D", "D-R1", "D-image", "D-image-R1", "G"]
    third = [phase.name for phase in moco(content_width=4).phases(MoCoGANTrainConfig(r1_gamma=1.0))]
    assert third == [*with_r1[:-1], "D-content", "G"]  # its noise makes R1 needless


def test_the_plain_script_that_is_timed_trains_the_same_way():
    """After a step of both from the same weights and noise the clip discriminators agree; all networks have changed."""
    ours, plain, start = (moco().train() for _ in range(3))
    real, labels = torch.rand(4, *ours.sample_shape), torch.tensor([0, 1, 1, 0])
    plain_step(plain, real, labels)()
    ours.requires_grad_(False)
    step = Step(ours, real, Noise(0), train_generator=True, labels=labels)
    for phase in ours.phases(MoCoGANTrainConfig()):
        with trainable(phase.module):
            phase.loss(step)["loss"].backward()
        phase.optimizer.step()

    for key, value in ours.discriminator.state_dict().items():
        torch.testing.assert_close(plain.discriminator.state_dict()[key], value, rtol=1e-3, atol=1e-5)
    for name, network in plain.networks.items():
        before = start.networks[name].state_dict()
        assert any(not torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_too_few_frames_for_the_clip_discriminator_are_refused():
    """Each layer of stride 1 takes three frames away; the message says how many are needed."""
    with pytest.raises(InvalidValueError, match="at least 13 are needed"):
        MoCoGANConfig(frames=12)
    assert MoCoGANConfig(frames=13).time_left == 1
    with pytest.raises(InvalidValueError, match="power of two"):
        MoCoGANConfig(resolution=48)


def test_a_row_between_two_latents_is_of_one_class():
    gan = moco()
    clips = gan.interpolate(2, steps=3, seed=0)

    assert clips.labels == ("right",) * 3 + ("down",) * 3
    assert clips.latents is not None
    assert set(clips.latents[:, -2:].unique().tolist()) == {0.0, 1.0}
