"""The cost of a training between processes: what `zoo info --cost` counts is what a training sends."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from helpers.releases import SMALL

from zoo import cost
from zoo.cost import count_flops, count_gradient_bytes
from zoo.data import Store
from zoo.modality import kind_of
from zoo.recipe import load_recipe
from zoo.training import distributed
from zoo.training.report import TrainingReport
from zoo.training.trainer import Trainer


def test_gradient_bytes_are_those_counted_by_hand(command):
    """DCGAN: each step has the gradients of D and of G, every eighth step those of D's penalty, 4 bytes each."""
    recipe = load_recipe("faces-dcgan")
    by_hand = 4 * (2_765_568 + 2_765_568 / 8 + 3_576_704)

    assert count_gradient_bytes(recipe.build().phases(recipe.train)) == by_hand == 26_751_872
    assert "26.75 MB of float32 gradients a training step" in command("info", "faces-dcgan", "--cost")[1]


@pytest.mark.parametrize("entry", ["faces-stylegan2", "video-styleganv"])
def test_the_cost_of_models_with_styles_is_measured(entry: str, monkeypatch: pytest.MonkeyPatch):
    """A generator that starts from a learned constant is counted as any other is."""
    monkeypatch.setattr(cost, "SECONDS", 0)
    monkeypatch.setattr(cost, "BATCH", 1)

    assert cost.measure_cost(entry, device="cpu")["generator"].endswith("MFLOPs a sample")


def test_operations_are_those_counted_by_hand():
    """Two to each multiplication: of an LSTM's four gates and of attention too, which torch's counter leaves out."""
    lstm = torch.nn.LSTM(8, 16, num_layers=2, batch_first=True)
    gates = 2 * 5 * 4 * 16 * (8 + 16 + 16 + 16)  # sequences, steps, gates of 16, inputs and states of both layers
    assert count_flops(lstm, torch.zeros(2, 5, 8))[0] == 2 * gates

    heads = torch.zeros(3, 2, 16, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    assert count_flops(attend, heads, heads, heads)[0] == 2 * 3 * 2 * 16 * 16 * (8 + 8)

    linear = torch.nn.Linear(7, 11)
    assert count_flops(linear, torch.zeros(3, 7))[0] == 2 * 3 * 7 * 11


def test_phases_that_never_meet_are_not_added():
    """A text model is pre-trained first; the step that counts is the largest, not the sum of both parts."""
    recipe = load_recipe("text-seqgan")
    pretraining, discriminator, generator = recipe.build().phases(recipe.train)
    sizes = [sum(p.numel() for p in phase.module.parameters()) for phase in (pretraining, discriminator, generator)]

    counted = count_gradient_bytes([pretraining, discriminator, generator])
    assert counted == 4 * max(sizes[0], sizes[1] + sizes[2] / recipe.train.generator_interval)


def test_a_training_sends_what_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Over the interval of the penalty, two processes reduce the bytes that are counted."""
    recipe = load_recipe("faces-dcgan", [*SMALL, "train.batch=4"])
    trainer = Trainer(recipe, store, kind_of(recipe).decode, torch.device("cpu"))
    sent: list[int] = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda flat, *args, **kwargs: sent.append(flat.nbytes))

    for _ in range(recipe.train.r1_interval):
        trainer.step(TrainingReport(recipe.train.loss))

    assert sum(sent) == count_gradient_bytes(trainer.phases) * recipe.train.r1_interval
