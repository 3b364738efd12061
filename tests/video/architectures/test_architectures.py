"""The architectures of video: the sizes of their papers, and what each of them promises of motion."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.moves import Moves
from helpers.releases import write_model
from torch import nn

from benchmarks.video import plain_step
from zoo.data import build_store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.gan import GAN
from zoo.noise import Noise
from zoo.recipe import TrainConfig, load_recipe
from zoo.releases.loading import load_folder
from zoo.training.augment import diff_augment
from zoo.training.losses import r1_penalty
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
from zoo.video.architectures.styleganv import ModulatedConvolution, StyleGANV, StyleGANVConfig, StyleGANVTrainConfig
from zoo.video.architectures.tgan import TGAN, TGANConfig, TGANTrainConfig
from zoo.video.architectures.vgan import VGAN, VGANConfig, VGANTrainConfig, compose
from zoo.video.data.datasets import decode

TINY_STYLE = {
    "resolution": 32, "latent_dim": 8, "style_dim": 8, "motion_dim": 8, "channel_base": 128, "channel_max": 8,
    "time_dim": 4, "time_layers": 1,
}  # fmt: skip


def moco(labels: int = 2, **changes: object) -> MoCoGAN:
    torch.manual_seed(0)
    gan = MoCoGAN(MoCoGANConfig(resolution=16, frames=8, width=2, labels=labels, **changes)).eval()
    gan.labels = ("right", "down")[:labels]
    return gan


def style(**changes: object) -> StyleGANV:
    torch.manual_seed(0)
    return StyleGANV(StyleGANVConfig(**{**TINY_STYLE, **changes})).eval()


@pytest.mark.parametrize(
    ("gan", "config", "counts"),
    [
        (MoCoGAN, MoCoGANConfig(), (3_249_684, 11_056_896, 663_296)),
        (MoCoGAN, MoCoGANConfig(labels=6), (3_249_864, 11_253_504, 663_296)),
        (MoCoGAN, MoCoGANConfig(labels=6, labels_to="image"), (3_298_836, 11_253_504, 663_296)),
        (VGAN, VGANConfig(), (16_245_383, 11_057_858)),
        (TGAN, TGANConfig(), (4_448_135, 11_031_489)),
        (StyleGANV, StyleGANVConfig(resolution=64), (31_158_031, 26_315_776)),
        (StyleGANV, StyleGANVConfig(), (32_105_941, 26_909_504)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_papers_sizes(gan: Callable[..., GAN], config: object, counts: tuple[int, ...]):
    """The defaults are the papers': 3.30 M with the class told to G_I, 16.25 M, 0.83 + 3.62 M, 31.2 M, ..."""
    with torch.device("meta"):
        networks = gan(config).networks

    assert tuple(sum(p.numel() for p in network.parameters()) for network in networks.values()) == counts


@pytest.mark.parametrize("make", [moco, style], ids=["mocogan", "styleganv"])
def test_longer_clips_begin_as_shorter_ones(make: Callable[[], MoCoGAN | StyleGANV]):
    """A seed's clip of more frames, or of less, is the same clip continued, or cut; whatever their number."""
    gan = make()
    usual = gan.sample(3, seed=4).tensor
    trained = usual.shape[2]
    longer, shorter = (gan.sample(3, seed=4, frames=frames).tensor for frames in (2 * trained + 3, 3))

    assert longer.shape[2] == 2 * trained + 3
    torch.testing.assert_close(longer[:, :, :trained], usual, rtol=0, atol=2e-5)
    torch.testing.assert_close(shorter, usual[:, :, :3], rtol=0, atol=2e-5)
    longest = gan.sample(3, seed=4, frames=4 * trained).tensor
    torch.testing.assert_close(longest[:, :, : longer.shape[2]], longer, rtol=0, atol=2e-5)
    fewer = gan.sample(2, seed=4, frames=2 * trained + 3, batch_size=1).tensor
    torch.testing.assert_close(fewer, longer[:2], rtol=0, atol=2e-5)
    assert bool((longer[:, :, -1] != longer[:, :, -2]).any())  # and it still moves
    with pytest.raises(InvalidValueError, match="frames = 0"):
        gan.sample(1, seed=0, frames=0)


@pytest.mark.parametrize("make", [moco, style], ids=["mocogan", "styleganv"])
def test_frames_are_generated_in_pieces(make: Callable[[], MoCoGAN | StyleGANV], monkeypatch: pytest.MonkeyPatch):
    """However many clips are asked for at once, and however long: at most 128 frames lie in memory as maps together."""
    sizes: list[int] = []
    for module in (nn.ConvTranspose2d, ModulatedConvolution):
        forward = module.forward

        def counted(self: nn.Module, x: torch.Tensor, *args: Any, _forward: Any = forward) -> torch.Tensor:
            sizes.append(len(x))
            return _forward(self, x, *args)

        monkeypatch.setattr(module, "forward", counted)
    gan = make()
    gan.sample(64, seed=0, batch_size=64)
    gan.sample(4, seed=0, frames=100)
    gan.sample(2, seed=0, frames=300)

    assert max(sizes) == 128


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


def gradients_of(gan: GAN, train: TrainConfig, phase: str, loss: str = "loss") -> dict[str, torch.Tensor]:
    """The gradient of each parameter of a phase's network, of the named part of its loss, in the first step."""
    gan.train().requires_grad_(False)
    found = next(one for one in gan.phases(train) if one.name == phase)
    step = Step(
        gan,
        torch.rand(4, *gan.sample_shape, generator=torch.Generator().manual_seed(0)),
        Noise(0),
        train_generator=True,
        labels=torch.tensor([0, 1, 1, 0]),
    )
    with trainable(found.module):
        found.loss(step)[loss].backward()
    return {name: p.grad for name, p in found.module.named_parameters()}


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


def test_the_make_content_discriminator_sees_neither_where_things_are_nor_their_color():
    """However a thing of one color moves, in whatever order, and of whatever color: it says the same."""
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


def test_what_one_make_content_discriminator_sees_is_nothing_to_another():
    """Each goes by one variance: of squares that differ only in how much they change it is one that says another."""
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
    torch.testing.assert_close(trainer.average.state_dict(), trainer.gan.generator.state_dict())
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
        whole = r1_penalty(gan.image_discriminator, clips[:, :, 0])

    assert gan.config.num_patches == 4
    torch.testing.assert_close(4 * penalty, whole)


def test_vgan_pays_for_its_mask():
    """The mask's mean costs what `train.mask_weight` says: the gradient at its head differs by just that."""
    gan = VGAN(VGANConfig(resolution=16, frames=16, width=2))
    state = copy.deepcopy(gan.state_dict())
    gradients = []
    for weight in (0.0, 0.1, 0.2):
        gan.zero_grad()
        gan.load_state_dict(state)
        gradients.append({k: v.clone() for k, v in gradients_of(gan, VGANTrainConfig(mask_weight=weight), "G").items()})
    name = next(key for key in gradients[0] if "mask" in key)
    first, second = (later[name] - gradients[0][name] for later in gradients[1:])

    assert float(first.abs().sum()) > 0
    torch.testing.assert_close(second, 2 * first, rtol=1e-3, atol=1e-7)


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


def test_vgan_lays_the_foreground_over_a_still_background():
    """Where the mask is 0 there is the background, in every frame; where it is 1 the foreground."""
    foreground, background = torch.rand(1, 3, 4, 2, 2), torch.rand(1, 3, 1, 2, 2)
    mask = torch.zeros(1, 1, 4, 2, 2)
    mask[..., 0] = 1
    clip = compose(foreground, mask, background)

    torch.testing.assert_close(clip[..., 0], foreground[..., 0])
    torch.testing.assert_close(clip[..., 1], background.expand_as(foreground)[..., 1])


def test_vgan_space_and_time_double_together():
    """Other lengths than multiples of the doublings are refused."""
    with pytest.raises(InvalidValueError, match="a multiple of 16"):
        VGANConfig(frames=24)


def test_tgan_s_critic_never_stretches(tmp_path: Path):
    """After steps that clip no layer has a singular value above 1, nor a batch norm a scale above its deviation."""
    store = build_store(Moves(size=16), tmp_path / "moves")
    torch.manual_seed(0)
    gan = TGAN(TGANConfig(resolution=16, width=4)).requires_grad_(False)
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p.mul_(100)
    largest: list[float] = []
    phase = gan.phases(TGANTrainConfig(clip_interval=2))[0]
    for _ in range(4):
        step = Step(gan, decode(store.samples[:4]), Noise(0), train_generator=False)
        with trainable(phase.module):
            phase.loss(step)["loss"].backward()
        phase.optimizer.step()
        values = [torch.linalg.matrix_norm(p.flatten(1), 2) for p in gan.discriminator.parameters() if p.dim() > 2]
        largest.append(float(torch.stack(values).max()))

    assert largest[0] > 1.01
    assert max(largest[1], largest[3]) < 1 + 1e-4
    for norm in (m for m in gan.discriminator.modules() if isinstance(m, torch.nn.BatchNorm3d)):
        assert norm.bias is None
        assert bool((norm.weight <= norm.running_var.sqrt() + 1e-6).all())


def test_tgan_s_spectral_norm_bounds_every_layer():
    """The newer constraint divides by the largest singular value, and has no batch norm to undo it."""
    torch.manual_seed(0)
    critic = TGAN(TGANConfig(resolution=16, width=4, constraint="spectral")).discriminator.train()
    for _ in range(30):
        critic(torch.rand(2, 3, 16, 16, 16))
    layers = [m for m in critic.modules() if isinstance(m, torch.nn.Conv3d | torch.nn.Conv2d)]

    assert all(bool(torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.1) for layer in layers)
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in critic.modules())


def test_motion_codes_are_continuous_and_aligned():
    """At an anchor the code is that anchor's A u, from the left as from the right; between, it takes any time."""
    gan = style()
    noise = torch.randn(2, gan.config.noise_vectors(40), 8)
    times = torch.tensor([[15.999, 16.0, 16.001, 7.5]]).expand(2, -1)
    left, at, right, between = gan.generator.motion(noise, times).unbind(1)
    first, second = gan.generator.motion.convolutions
    codes = second(torch.nn.functional.leaky_relu(first(noise.transpose(1, 2)), 0.2) * 2**0.5).transpose(1, 2)

    torch.testing.assert_close(at, gan.generator.motion.aligners(codes[:, 1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(left, at, rtol=0, atol=1e-2)
    torch.testing.assert_close(right, at, rtol=0, atol=1e-2)
    assert not torch.allclose(between, at, atol=1e-2)


def test_styleganv_sees_frames_in_order_and_when_they_are():
    """Training samples different frames in order; the same frames at other times have another score."""
    gan = style()
    step = Step(gan, torch.rand(6, *gan.sample_shape), Noise(0), train_generator=False)
    times = gan.sample_times(step)

    assert times.shape == (6, 3)
    assert bool((times.diff(dim=1) >= 1).all())
    assert times.unique().numel() > 4
    frames = torch.rand(1, 3, 3, 32, 32)
    near, far = (gan.discriminator(frames, torch.tensor([when])) for when in ([0.0, 1.0, 2.0], [0.0, 7.0, 15.0]))
    assert not torch.allclose(near, far)


def test_augmentation_is_the_same_in_all_frames():
    """A clip whose frames are alike has frames alike when it was changed, whatever the policy."""
    clips = torch.rand(8, 3, 1, 16, 16).expand(-1, -1, 5, -1, -1)
    for policy in ("color", "translation", "cutout"):
        changed = diff_augment(clips, [policy], Noise(0))
        assert not torch.equal(changed, clips)
        torch.testing.assert_close(changed, changed[:, :, :1].expand_as(changed))


# -- on the command line


def test_the_command_line_asks_for_an_action_and_a_length(tmp_path: Path, command: Callable[..., tuple[int, str, str]]):
    """`--label` and `--frames` reach the model; an option that the model lacks is refused."""
    recipe = load_recipe("video-mocogan", ["model.resolution=16", "model.width=2"])
    folder = write_model(recipe, tmp_path / "model")
    assert load_folder(folder).labels == ("right", "down")

    code, out, _ = command("sample", folder, "-n", 2, "--label", "down", "--frames", 20, "--out", tmp_path / "a.webp")
    assert (code, "2 samples" in out) == (0, True)
    code, _, errors = command("sample", folder, "--label", "dwon", "--out", tmp_path / "b.webp")
    assert code == 2
    assert 'Did you mean "down"' in errors
    code, _, errors = command("sample", folder, "--temperature", 0.5, "--out", tmp_path / "b.webp")
    assert code == 2
    assert "it does not write token by token" in errors


def test_a_model_of_one_length_says_so(tmp_path: Path, command: Callable[..., tuple[int, str, str]]):
    """VGAN's length is its architecture's."""
    recipe = load_recipe("video-vgan", ["model.resolution=16", "model.width=2"])
    folder = write_model(recipe, tmp_path / "model")
    code, _, errors = command("sample", folder, "--frames", 64, "--out", tmp_path / "b.webp")

    assert code == 2
    assert "takes no frames: it makes samples of one length" in errors


@pytest.mark.parametrize(
    ("train", "changes", "named"),
    [
        (VGANTrainConfig, {"augment": ("translation",)}, "train.augment: the training of VGAN"),
        (VGANTrainConfig, {"loss": "relativistic"}, 'train.loss = "relativistic"'),
        (MoCoGANTrainConfig, {"gradient_penalty": 10.0}, "train.gradient_penalty: the training of MoCoGAN"),
        (StyleGANVTrainConfig, {"gradient_penalty": 10.0}, "train.gradient_penalty: the training of StyleGAN-V"),
    ],
)
def test_settings_that_a_training_does_not_use_are_refused(train: type, changes: dict[str, Any], named: str):
    with pytest.raises(InvalidValueError, match=named):
        train(**changes)


def test_a_row_between_two_latents_is_of_one_class():
    gan = moco()
    clips = gan.interpolate(2, steps=3, seed=0)

    assert clips.labels == ("right",) * 3 + ("down",) * 3
    assert clips.latents is not None
    assert set(clips.latents[:, -2:].unique().tolist()) == {0.0, 1.0}
