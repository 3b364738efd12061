"""CUDA graphs of steps, recorded and replayed on the CPU by a stand-in."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.host_graphs import HostRecorder
from torch.utils._pytree import tree_leaves

from zoo.data import Store
from zoo.data.images import decode_images
from zoo.errors import InvalidValueError
from zoo.recipe import load_recipe, override_recipe
from zoo.training.graphs import FIRST_STEPS, GraphedSteps
from zoo.training.phases import Step
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")
STYLED = ["model.resolution=16", "model.latent_dim=8", "model.style_dim=8", "model.channel_base=64"]
CASES = {
    "gan": ("faces-gan", ["model.resolution=16", "model.generator_units=8", "model.maxout_units=4"]),
    "dcgan": ("faces-dcgan", ["model.resolution=16", "model.width=4", "train.r1_gamma=1", "train.r1_interval=2"]),
    "penalties": ("faces-dcgan", ["model.resolution=16", "model.width=4", "train.gradient_penalty=10"]),
    "bf16": ("faces-dcgan", ["model.resolution=16", "model.width=4", "train.precision=bf16"]),
    "stylegan2": (
        "faces-stylegan2",
        [*STYLED, "model.noise=true", "train.style_mixing=0.9", "train.path_length_weight=2", "train.r1_interval=3"],
    ),
    "ada": ("faces-stylegan2", [*STYLED, "train.augment=ada", "train.ada.kimg=0.1", "train.ada.interval=2"]),
    "r3gan": (
        "faces-r3gan",
        ["model.widths=[8, 8, 8]", "model.blocks=[1, 1, 1]", "train.r1_interval=2", "train.total_kimg=0.1"],
    ),
}
"""Entries and overrides: lazy penalties, schedules, random numbers of all kinds, and state beside the networks."""


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_replays_what_it_trains(make_store: Callable[[int], Store], case: str):
    """Gradients of replayed steps are those of the same steps as they are, to rounding."""
    entry, overrides = CASES[case]
    if case == "gan":  # each training draws its own dropout
        overrides = [*overrides, "model.input_dropout=0", "model.hidden_dropout=0"]
    recipe = load_recipe(entry, ["train.batch=4", *overrides])
    graphed = override_recipe(recipe, ["train.cuda_graphs=true"])
    device = torch.device("cuda")
    plain, replayed = (Trainer(each, make_store(16), decode_images, device) for each in (recipe, graphed))
    first = math.lcm(*(phase.interval for phase in plain.phases)) * FIRST_STEPS
    for trainer in (plain, replayed):
        for _ in range(first):
            trainer.step(TrainingReport(recipe.train.loss))
    for _ in range(first):
        replayed.load_state_dict(copy.deepcopy(plain.state_dict()))  # optimizers would share it
        norms = []
        for trainer in (plain, replayed):
            report = TrainingReport(recipe.train.loss)
            trainer.step(report)
            norms.append({name: value for name, value in report.summary().items() if "gradient_norm" in name})
        assert norms[1] == pytest.approx(norms[0], rel=0.2 if case == "bf16" else 0.01, abs=1e-5)


@pytest.fixture
def make_trainers(make_store: Callable[[int], Store]) -> Callable[..., tuple[Trainer, Trainer, HostRecorder]]:
    """Return a trainer as it is, and one whose steps become graphs."""

    def make(case: str) -> tuple[Trainer, Trainer, HostRecorder]:
        entry, overrides = CASES[case]
        recipe = load_recipe(entry, ["train.batch=4", *overrides])
        plain, graphed = (Trainer(recipe, make_store(16), decode_images, CPU) for _ in range(2))
        recorder = HostRecorder()
        graphed._graphed = GraphedSteps(recorder)  # type: ignore[arg-type]
        return plain, graphed, recorder

    return make


@pytest.mark.parametrize("case", CASES)
def test_a_replayed_training_is_the_same(make_trainers, case: str):
    """Weights, averages, optimizers, the state of ADA, random numbers and the report are equal bit for bit."""
    plain, graphed, recorder = make_trainers(case)
    summaries = []
    for trainer in (plain, graphed):
        report = TrainingReport(trainer.recipe.train.loss)
        for _ in range(FIRST_STEPS + 7):
            trainer.step(report)
        summaries.append(report.summary())

    scheduled = plain.recipe.train.schedule.r1_gamma_factor != 1  # whose progress is in float32 in a graph
    torch.testing.assert_close(
        flatten(graphed.state_dict()), flatten(plain.state_dict()), rtol=0, atol=1e-4 if scheduled else 0
    )
    assert summaries[1] == pytest.approx(summaries[0], rel=1e-4 if scheduled else 1e-6)
    assert max(graph.num_replays for graph in recorder.graphs) >= 2


def flatten(state: object) -> list[object]:
    """List all tensors and numbers of a state but the random numbers' of other libraries."""
    return [value for value in tree_leaves(state) if isinstance(value, (torch.Tensor, float, int))]


def test_each_set_of_phases_has_graphs_of_its_own(make_trainers):
    """A lazy penalty is due in every second step: three graphs with it, and two without."""
    _, graphed, recorder = make_trainers("dcgan")
    for _ in range(FIRST_STEPS + 6):
        graphed.step(TrainingReport("non_saturating"))

    assert [graph.num_replays for graph in recorder.graphs] == [3, 3, 3, 3, 3]


def test_phases_of_one_name_have_graphs_of_their_own(make_trainers):
    """An architecture may give its parts of a batch one name; each part has its own gradients."""
    plain, graphed, recorder = make_trainers("gan")
    for trainer in (plain, graphed):
        first = trainer.phases[0]

        def weaken(step: Step, loss: Any = first.loss) -> dict[str, torch.Tensor]:
            return {name: value / 8 for name, value in loss(step).items()}

        trainer.phases.insert(1, dataclasses.replace(first, loss=weaken))
        for _ in range(FIRST_STEPS + 3):
            trainer.step(TrainingReport("non_saturating"))

    assert len(recorder.graphs) == 3  # two of D, one of G
    torch.testing.assert_close(flatten(graphed.state_dict()), flatten(plain.state_dict()), rtol=0, atol=0)


def test_what_decides_by_the_progress_is_not_recorded(make_trainers):
    """A graph would repeat the first decision: the phase is named, with a way on."""
    _, graphed, _ = make_trainers("gan")
    loss = graphed.phases[0].loss
    graphed.phases[0].loss = lambda step: {name: round(step.kimg) + value for name, value in loss(step).items()}
    for _ in range(FIRST_STEPS):
        graphed.step(TrainingReport("non_saturating"))

    with pytest.raises(InvalidValueError, match=r"phase D of VanillaGAN cannot be recorded \(.*\); leave it out"):
        graphed.step(TrainingReport("non_saturating"))


def test_what_cannot_be_recorded_is_said(make_trainers):
    """A phase that reads a number of the device is named, with a way on."""
    _, graphed, recorder = make_trainers("gan")

    def fail(compute: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nat ...")

    for _ in range(FIRST_STEPS):
        graphed.step(TrainingReport("non_saturating"))
    make = recorder.make_graph
    recorder.make_graph = lambda: setattr(graph := make(), "record", fail) or graph

    with pytest.raises(
        InvalidValueError, match=r"cuda_graphs = true: phase D of VanillaGAN cannot .*capturing\); leave"
    ):
        graphed.step(TrainingReport("non_saturating"))
