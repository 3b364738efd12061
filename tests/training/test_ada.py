"""ADA: published numbers, mirrors, gradients, the rule of the probability, and what recipes may say."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import InvalidValueError
from zoo.noise import Noise
from zoo.recipe import ADAConfig, load_recipe
from zoo.training import ada
from zoo.training.ada import ADA, NUM_DRAWS
from zoo.training.augment import Augmentation
from zoo.training.phases import Step
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer

GOLDEN = Path(__file__).parents[1] / "golden" / "ada-augment-32"
ALL = ADAConfig(probability=1, filter=1, noise=1, cutout=1)
# The changes in the order of their numbers: u(niform) and n(ormal) ones, and the one that decides (?).
COLUMNS = (
    "xflip:u? rotate90:u? xint:uu? scale:n? rotate:u? aniso:n? later_rotate:u? xfrac:nn? "
    "brightness:n? contrast:n? lumaflip:u? hue:u? saturation:n? "
    "imgfilter:n? imgfilter:n? imgfilter:n? imgfilter:n? noise:n?uu cutout:uu?"
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def make_numbers(changes: dict[str, int], percentile: float) -> list[float]:
    """Make the numbers of a sample to which these changes are applied, at a percentile of their distributions.

    The published numbers take the inverse error function of 2 p - 1 for a normal variable, without the root of 2.
    """
    normal = (1 + math.erf(torch.erfinv(torch.tensor(2 * percentile - 1)).item() / math.sqrt(2))) / 2
    numbers = []
    for column in COLUMNS.split():
        change, _, kinds = column.partition(":")
        values = {"u": percentile, "n": normal, "?": 0.0 if change in changes else 1.0}
        numbers += [values[kind] for kind in kinds]
    return numbers


@pytest.mark.parametrize("percentile", [0.3, 0.95])
@pytest.mark.parametrize("group", ["blit", "rotate", "geom", "color", "filter", "cutout", "bgc"])
def test_published_numbers(group: str, percentile: float):
    """Images change as in the published implementation."""
    changes = json.loads((GOLDEN / "config.json").read_text())["specs"][group]
    io = load_file(GOLDEN / "io.safetensors")
    numbers = torch.tensor(make_numbers(changes, percentile)).expand(2, -1)

    changed, expected = ADA(ALL)(io["images"], numbers), io[f"{group}_percentile_{percentile}"]

    assert numbers.shape[1] == NUM_DRAWS
    assert (changed - expected).abs().max() < 1e-5 * expected.abs().max()


def test_devices_that_are_not_waited_for_give_the_same(monkeypatch: pytest.MonkeyPatch):
    """Mirrors as long as the images make no difference; only the CPU takes shorter ones."""
    images, numbers = torch.randn(6, 3, 16, 24), torch.rand(6, NUM_DRAWS)
    pipeline = ADA(ADAConfig(probability=0.8))
    exact = pipeline(images, numbers)

    monkeypatch.setattr(ada, "_measure_reach", lambda images, matrices: (23, 15))

    torch.testing.assert_close(pipeline(images, numbers), exact, rtol=0, atol=1e-4)


def test_probability_zero_changes_nothing_but_by_the_filter():
    """At probability 0 an image is filtered up and down again, and so stays itself to a few hundredths."""
    smooth = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32).contiguous()

    changed = ADA(replace(ALL, probability=0))(smooth, torch.rand(2, NUM_DRAWS))

    torch.testing.assert_close(changed, smooth, rtol=0, atol=0.03)


def test_each_change_is_as_frequent_as_asked():
    """With probability .4 and strength .5 every fifth sample changes in one color setting."""
    pipeline = ADA(ADAConfig(probability=0.4, blit=0, geometry=0, color=0, cutout=0.5))
    changed = pipeline(
        torch.ones(4000, 3, 8, 8), torch.rand(4000, NUM_DRAWS, generator=torch.Generator().manual_seed(0))
    )

    share = (changed != 1).flatten(1).any(1).float().mean()
    assert share == pytest.approx(0.2, abs=0.02)


def test_frames_of_a_clip_change_alike():
    """A clip of one frame, repeated, is one changed frame, repeated."""
    frame, numbers = torch.randn(3, 3, 16, 16), torch.rand(3, NUM_DRAWS)
    pipeline = ADA(ADAConfig(probability=0.9, filter=1, cutout=1))

    clips = pipeline(frame[:, :, None].expand(-1, -1, 4, -1, -1), numbers)

    torch.testing.assert_close(clips, pipeline(frame, numbers)[:, :, None].expand_as(clips), rtol=0, atol=1e-5)


def test_it_can_be_differentiated_twice():
    """R1 differentiates the gradient through the pipeline once more."""
    numbers = torch.rand(2, NUM_DRAWS, dtype=torch.float64)
    config = ADAConfig(probability=0.9, filter=1)
    matrices = ada.draw_geometry(ada._Draws(numbers, torch.tensor(0.9)), config, 6, 6)
    taps = ADA(config)._taps.double()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradgradcheck(lambda x: ada.warp(x.sin(), matrices, taps).square(), images, nondet_tol=1e-9)


def test_other_than_rgb_is_refused():
    """Colors are mixed as red, green and blue."""
    with pytest.raises(InvalidValueError, match="have 1 channels"):
        ADA(ALL)(torch.zeros(2, 1, 8, 8), torch.rand(2, NUM_DRAWS))


def make_augmentation(*overrides: str) -> Augmentation:
    recipe = load_recipe("faces-dcgan", ["train.batch=10", "train.augment=ada", *overrides])
    return Augmentation(recipe.train, torch.device("cpu"))


def make_step(number: int) -> Step:
    recipe = load_recipe("faces-gan", ["model.generator_units=8", "model.maxout_units=4"])
    return Step(
        recipe.build(), torch.zeros(10, 3, 8, 8), Noise(0), train_generator=False, number=number, kimg=number / 100
    )


def test_the_probability_follows_the_signs_of_real_logits():
    """Every fourth step it moves by what those steps have shown: up where they were believed, down where not."""
    augment = make_augmentation("train.ada.kimg=1", "train.ada.probability=0.5")
    seen: list[float] = []
    for number in range(12):
        real = torch.ones(10) if number < 8 else -torch.ones(10)
        shown = augment.observe(real)["augment_probability"]
        augment.adapt(make_step(number))
        seen.append(shown.item())

    assert seen == pytest.approx([0.5] * 4 + [0.54] * 4 + [0.58] * 4)  # of each step, before it moves
    assert augment.ada.probability.item() == pytest.approx(0.54)


@pytest.mark.parametrize(("start", "sign", "end"), [(1.0, 1.0, 1.0), (0.0, -1.0, 0.0)])
def test_the_probability_stays_one(start: float, sign: float, end: float):
    """It neither rises above 1 nor falls below 0."""
    augment = make_augmentation("train.ada.kimg=0.001", f"train.ada.probability={start}")
    for number in range(8):
        augment.observe(sign * torch.ones(10))
        augment.adapt(make_step(number))

    assert augment.ada.probability.item() == end


def test_a_probability_may_follow_a_schedule():
    """Without a target it moves along half a cosine, or stays."""
    scheduled = make_augmentation("train.ada.target=0", "train.schedule.ada_probability=0.3", "train.schedule.kimg=0.1")
    fixed = make_augmentation("train.ada.target=0", "train.ada.probability=0.2")
    for number, expected in ((0, 0.0), (5, 0.15), (10, 0.3), (90, 0.3)):
        scheduled.adapt(make_step(number))
        fixed.adapt(make_step(number))
        assert scheduled.ada.probability == pytest.approx(expected)
        assert fixed.ada.probability == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.ada.probability=0.2"], 'set train.augment = "ada"'),
        (["train.schedule.ada_probability=0.2"], 'set train.augment = "ada"'),
        (["train.augment=ada", "train.ada.target=0"], "set train.ada.probability"),
        (["train.augment=ada", "train.schedule.ada_probability=0.2"], "set train.ada.target = 0"),
        (["train.augment=ada", "train.loss=wasserstein"], "no sign"),
        (["train.augment=adda"], 'Did you mean "ada"'),
    ],
)
def test_what_would_do_nothing_is_refused(overrides: list[str], told: str):
    """Settings without effect, or against each other, are refused in one line."""
    with pytest.raises(InvalidValueError, match=told):
        load_recipe("faces-dcgan", overrides)


SMALL = {
    "faces-gan": ["model.generator_units=8", "model.maxout_units=4"],
    "faces-dcgan": ["model.resolution=16", "model.width=4"],
    "faces-stylegan2": ["model.resolution=16", "model.channel_base=64"],
    "faces-r3gan": ["model.widths=[16, 16]", "model.blocks=[1, 1]"],
}


def make_trainer(name: str, make_store: Callable[[int], Store], *overrides: str, device: str = "cpu") -> Trainer:
    settings = ["batch=4", "augment=ada", "ada.probability=0.9", "ada.target=0", "r1_gamma=1", "r1_interval=1"]
    recipe = load_recipe(name, [*(f"train.{setting}" for setting in settings), *SMALL[name], *overrides])
    return Trainer(recipe, make_store(recipe.model.resolution), decode_images, torch.device(device))


def compute_gradients(trainer: Trainer) -> list[Tensor]:
    """Compute all gradients of a first step."""
    report = TrainingReport(trainer.recipe.train.loss)
    trainer.step(report)
    return [p.grad for p in trainer.gan.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", SMALL)
def test_compiled_gradients_equal_eager_ones(
    name: str, make_store: Callable[[int], Store], monkeypatch: pytest.MonkeyPatch
):
    """Penalties are compiled with the pipeline inside, and give the same gradients."""
    monkeypatch.setattr("zoo.nn.compiling.BACKEND", "aot_eager")
    torch._dynamo.reset()
    eager, compiled = (
        compute_gradients(make_trainer(name, make_store, f"train.compile={compiled}")) for compiled in ("false", "true")
    )

    assert len(eager) == len(compiled) > 0
    for a, b in zip(eager, compiled, strict=True):
        assert float((a - b).norm()) <= 2e-3 * float(a.norm()) + 1e-6


@pytest.mark.parametrize("name", SMALL)
def test_a_step_waits_for_no_device(name: str, make_store: Callable[[int], Store]):
    """With ADA, steps run on a device whose numbers nobody can read."""
    trainer = make_trainer(name, make_store, device="meta")
    for _ in range(2):
        trainer.step(TrainingReport(trainer.recipe.train.loss))


def test_the_probability_is_part_of_a_checkpoint(make_store: Callable[[int], Store]):
    """A resumed training goes on with the probability, and with the signs that were counted."""
    adaptive = ["train.ada.target=0.6", "train.ada.kimg=0.01", "train.ada.probability=0.5"]
    whole, resumed = (make_trainer("faces-dcgan", make_store, *adaptive) for _ in range(2))
    report = TrainingReport(whole.recipe.train.loss)
    for _ in range(6):
        whole.step(report)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for trainer in (whole, resumed):
        for _ in range(3):
            trainer.step(report)

    (state,), (copied,) = whole._extra_states, resumed._extra_states
    assert state.probability.item() != 0.5
    assert all(torch.equal(value, copied.state_dict()[key]) for key, value in state.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(whole.gan.parameters(), resumed.gan.parameters(), strict=True))
