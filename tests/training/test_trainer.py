"""The trainer: precision, steps that are not finite, and norms that stay on their device."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import DivergenceError, InvalidValueError
from zoo.nn.precision import keep_float32
from zoo.recipe import load_recipe
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer, clip_norm, measure_norm

TINY = ["train.batch=4", "model.generator_units=8", "model.maxout_units=4", "model.resolution=16"]


@pytest.fixture
def make_trainer(make_store: Callable[[int], Store]) -> Callable[..., Trainer]:
    store = make_store(16)

    def make(*overrides: str, device: str = "cpu") -> Trainer:
        recipe = load_recipe("faces-gan", [*TINY, *overrides])
        return Trainer(recipe, store, decode_images, torch.device(device))

    return make


def poison(trainer: Trainer) -> None:
    """Let the next gradients of D be NaN."""
    loss = trainer.phases[0].loss
    trainer.phases[0].loss = lambda step: {name: value * math.nan for name, value in loss(step).items()}


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_step_that_is_not_finite_is_never_taken(make_trainer, kind: str):
    """The CPU raises at once, and no weight has changed."""
    trainer = make_trainer(f"train.discriminator.kind={kind}")
    before = {name: value.clone() for name, value in trainer.gan.discriminator.state_dict().items()}
    poison(trainer)

    with pytest.raises(DivergenceError, match="phase D has no finite gradient"):
        trainer.step(TrainingReport("non_saturating"))

    assert all(torch.equal(value, before[name]) for name, value in trainer.gan.discriminator.state_dict().items())


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_without_waiting_no_later_step_is_taken_either(make_trainer, kind: str, monkeypatch: pytest.MonkeyPatch):
    """Where nobody waits for the numbers, weights stay as they are from the first bad gradient until it is read."""
    trainer = make_trainer(f"train.discriminator.kind={kind}", f"train.generator.kind={kind}")
    trainer.step(TrainingReport("non_saturating"))
    before = {name: value.clone() for name, value in trainer.gan.state_dict().items()}
    check = trainer.check_finite
    monkeypatch.setattr(trainer, "check_finite", lambda phase="": None)  # as on a GPU
    poison(trainer)

    for _ in range(3):
        trainer.step(TrainingReport("non_saturating"))

    assert all(torch.equal(value, before[name]) for name, value in trainer.gan.state_dict().items())
    with pytest.raises(DivergenceError):
        check()


def test_float16_leaves_out_steps_that_overflow_and_goes_on(make_trainer):
    """The scale of the loss falls after an overflow; it is part of the state that a resumed training needs."""
    trainer = make_trainer("train.precision=fp16", "train.r1_gamma=0")
    trainer.precision._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = {name: value.clone() for name, value in trainer.gan.discriminator.state_dict().items()}
    trainer.step(TrainingReport("non_saturating"))
    assert all(torch.equal(value, before[name]) for name, value in trainer.gan.discriminator.state_dict().items())

    for _ in range(30):
        trainer.step(TrainingReport("non_saturating"))

    state = trainer.state_dict()
    resumed = make_trainer("train.precision=fp16", "train.r1_gamma=0")
    resumed.load_state_dict(state)
    assert state["precision"]["scale"] < 2.0**40
    assert resumed.state_dict()["precision"] == state["precision"]
    assert not torch.equal(before["main.5.weight"], trainer.gan.discriminator.state_dict()["main.5.weight"])


def test_schedules_move_rates_betas_and_the_average(make_trainer):
    """Each step has the values of its progress: the first those of the recipe, later ones those at the end."""
    schedule = ["train.schedule.lr_factor=0.25", "train.schedule.beta2=0.99", "train.schedule.ema_halflife_kimg=1e9"]
    trainer = make_trainer("train.total_kimg=0.008", "train.lr_decay_share=0", "train.ema_halflife_kimg=0",
                           "train.ema_rampup=0", "train.generator.betas=[0.5, 0.9]", *schedule)  # fmt: skip
    generator = next(phase.optimizer for phase in trainer.phases if phase.name == "G").param_groups[0]
    lr, found = generator["lr"], []
    for _ in range(4):
        before = next(trainer.average.module.parameters()).clone()
        trainer.step(TrainingReport("non_saturating"))
        live, average = next(trainer.gan.generator.parameters()), next(trainer.average.module.parameters())
        stays = torch.equal(average, before)
        found.append((generator["lr"] / lr, generator["betas"], torch.equal(average, live), stays))

    assert [factor for factor, *_ in found] == pytest.approx([1.0, 0.625, 0.25, 0.25])
    assert [betas[1] for _, betas, *_ in found] == pytest.approx([0.9, 0.945, 0.99, 0.99])
    assert {betas[0] for _, betas, *_ in found} == {0.5}
    assert [stays for *_, stays in found] == [False, True, True, True]  # a half-life of 1e9 kimg


def test_without_schedules_rates_and_betas_are_those_of_the_recipe(make_trainer):
    """No bit of them changes, also while the learning rates fall."""
    trainer = make_trainer("train.total_kimg=0.016", "train.lr_decay_share=0.5", "train.generator.betas=[0.5, 0.999]")
    settings = trainer.recipe.train.generator
    group = next(phase.optimizer for phase in trainer.phases if phase.name == "G").param_groups[0]
    for factor in (1.0, 1.0, 1.0, 0.5):
        trainer.step(TrainingReport("non_saturating"))
        assert (group["lr"], group["betas"]) == (settings.lr * factor, settings.betas)


def test_architectures_that_need_float32_say_so(tmp_path: Path):
    """A text model refuses reduced precision by its name."""
    from helpers.lines import Lines

    from zoo.data import build_store
    from zoo.modality import kind_of
    from zoo.training.session import fit_to_data

    store = build_store(Lines(length=20), tmp_path / "lines")
    recipe = fit_to_data(load_recipe("text-mle", ["train.batch=4", "train.precision=bf16"]), store)

    with pytest.raises(InvalidValueError, match="MLE is trained in fp32 only"):
        Trainer(recipe, store, kind_of(recipe).decode, torch.device("cpu"))


def test_named_layers_stay_in_float32():
    """A layer that is kept computes in float32 inside autocast; a copy of it computes with its own weights."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    keep_float32(network[1])
    copied = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    keep_float32(copied[1])
    copied.load_state_dict(network.state_dict())
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network[0](torch.ones(1, 3)).dtype == torch.bfloat16
        outputs, others = network(torch.ones(1, 3)), copied(torch.ones(1, 3))

    assert outputs.dtype == torch.float32
    assert not outputs.any()
    assert others.any()
    assert list(network.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_gradients_are_clipped_only_above_the_norm():
    """A norm above the limit becomes the limit; one below changes no bit."""
    gradients = [torch.randn(5, 3), torch.randn(7)]
    whole = torch.cat([g.flatten() for g in gradients]).norm()
    torch.testing.assert_close(measure_norm(gradients), whole)
    before = [g.clone() for g in gradients]

    clip_norm(gradients, measure_norm(gradients), 1000.0)
    assert all(map(torch.equal, gradients, before))

    clip_norm(gradients, measure_norm(gradients), 0.5)
    torch.testing.assert_close(measure_norm(gradients), torch.tensor(0.5))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_takes_the_steps_of_the_cpu(make_trainer, precision: str):
    """Ten steps on a GPU stay near those of the CPU in float32."""
    trainers = [make_trainer(), make_trainer(f"train.precision={precision}", device="cuda")]
    for trainer in trainers:
        for _ in range(10):
            trainer.step(TrainingReport("non_saturating"))

    for a, b in zip(*(trainer.gan.parameters() for trainer in trainers), strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=0, atol=1e-3 if precision == "fp32" else 2e-2)
