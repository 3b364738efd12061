"""The small parts of the engine: augmentation, the average, the game report, checkpoints, batches, the data store."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zoo.data import Batches, Store
from zoo.errors import InvalidFileError, WriteError
from zoo.noise import Noise
from zoo.recipe import OptimizerConfig
from zoo.training.augment import diff_augment
from zoo.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from zoo.training.ema import update_ema
from zoo.training.phases import Phase, make_optimizer
from zoo.training.report import TrainingReport, diversity, sentences


@pytest.mark.parametrize("policy", ["color", "translation", "cutout"])
def test_augmentation_changes_images_and_passes_gradients(policy: str):
    """Each policy changes each image in its own way, by the seed, and lets gradients through."""
    images = torch.rand(8, 3, 32, 32, requires_grad=True)

    changed = diff_augment(images, [policy], Noise(0))
    changed.sum().backward()

    assert changed.shape == images.shape
    assert all(not torch.equal(a, b) for a, b in zip(images, changed, strict=True))
    assert torch.equal(changed, diff_augment(images, [policy], Noise(0)))
    assert images.grad.abs().sum() > 0


def test_no_policy_is_no_change():
    """Without policies the images are the same object, and no random numbers are used."""
    images = torch.rand(2, 3, 8, 8)

    assert diff_augment(images, (), Noise(0)) is images


def test_translation_moves_by_at_most_an_eighth():
    """A dot moves by up to 1/8 of the size, or not at all, and nothing else appears."""
    images = torch.zeros(200, 1, 32, 32)
    images[:, :, 16, 16] = 1

    places = diff_augment(images, ["translation"], Noise(0)).nonzero()

    assert len(places) == 200
    shifts = places[:, 2:] - 16
    assert shifts.abs().max() == 4
    assert len(shifts.unique(dim=0)) > 50


def test_cutout_blanks_a_square_of_half_the_size():
    """At most a quarter of the area is blanked, in one rectangle."""
    holes = diff_augment(torch.ones(50, 1, 32, 32), ["cutout"], Noise(0)).eq(0).sum((1, 2, 3))

    assert holes.max() == 16 * 16
    assert holes.min() > 0


def test_ema_has_the_half_life_it_states():
    """After one half-life a weight has moved half of the way; buffers follow, counters are copied."""
    live, average = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        live.weight.fill_(3.0)
        live.running_mean.fill_(2.0)
        live.num_batches_tracked.fill_(7)
    for _ in range(100):
        update_ema(average, live, batch=10, kimg=1000, halflife_kimg=1.0, rampup=0.05)

    assert average.weight.item() == pytest.approx(2.0, abs=1e-4)
    assert average.running_mean.item() == pytest.approx(1.0, abs=1e-4)
    assert average.num_batches_tracked.item() == 7


def test_ema_ramps_up():
    """Early on the half-life is a share of the progress, so the average does not remember the start."""
    live, average = nn.Linear(1, 1), nn.Linear(1, 1)
    update_ema(average, live, batch=10, kimg=0.01, halflife_kimg=100.0, rampup=0.05)

    torch.testing.assert_close(average.weight, live.weight, atol=1e-5, rtol=0)


def summary_of(loss: str, real: torch.Tensor, fake: torch.Tensor, norms: tuple[float, float]) -> dict[str, float]:
    game = TrainingReport(loss)
    game.watch("D", {"loss": torch.tensor(0.0), "real": real, "fake": fake}, norms[0])
    game.watch("G", {"loss": torch.tensor(0.0)}, norms[1])
    return game.summary()


def test_advantage_is_zero_at_equilibrium_and_one_for_a_perfect_discriminator():
    """D = 1/2 everywhere is 0; sure and right everywhere is 1; sure and wrong is below 0."""
    zeros, sure = torch.zeros(8), torch.full((8,), 30.0)

    assert summary_of("non_saturating", zeros, zeros, (1, 1))["report/advantage"] == pytest.approx(0, abs=1e-6)
    assert summary_of("minimax", sure, -sure, (1, 1))["report/advantage"] == pytest.approx(1)
    assert summary_of("hinge", -sure, sure, (1, 1))["report/advantage"] < 0
    assert summary_of("least_squares", zeros + 0.5, zeros + 0.5, (1, 1))["report/advantage"] == pytest.approx(0)


def test_wasserstein_gap_is_in_spreads():
    """A critic's advantage is its gap over the outputs' spread, whatever their scale."""
    real, fake = torch.randn(1000) + 2, torch.randn(1000)

    gaps = [summary_of("wasserstein", s * real, s * fake, (1, 1))["report/advantage"] for s in (1, 100)]

    assert gaps[0] == pytest.approx(2, abs=0.2)
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)


def test_report_says_what_the_numbers_mean():
    """Starvation, collapse and dominance are said in words, and so is their absence."""
    bad = " ".join(
        sentences({"report/advantage": 0.99, "report/gradient_ratio": 1e-4, "report/diversity": 0.1}, "minimax")
    )
    good = " ".join(
        sentences({"report/advantage": 0.05, "report/gradient_ratio": 1.0, "report/diversity": 0.97}, "minimax")
    )

    assert all(word in bad for word in ("too strong", "starves", "modes are missing"))
    assert all(word in good for word in ("near equilibrium", "is fed", "no collapse"))


def test_diversity_compares_with_the_data():
    """The data itself is as varied as the data; one sample repeated is not varied at all."""
    real = torch.randn(32, 3, 8, 8)

    assert diversity(torch.randn(32, 3, 8, 8), real) == pytest.approx(1, abs=0.05)
    assert diversity(real[:1].expand(32, 3, 8, 8), real) == pytest.approx(0, abs=1e-6)


def test_diversity_of_tokens_counts_the_places_that_differ():
    """Between tokens there is no distance but equal or not: 9 is not further from 1 than 2 is."""
    texts = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])

    assert diversity(texts, torch.tensor([[1, 2, 3, 4], [5, 6, 3, 4]])) == pytest.approx(0.5)


def test_phases_are_due_by_their_interval_and_their_time():
    """A phase with every=4 is due on turns 0, 4, 8, and only from where it begins until where it ends."""
    player = nn.Linear(1, 1)
    phase = Phase(
        name="x", module=player, loss=lambda step: {}, optimizer=torch.optim.SGD(player.parameters()), interval=4
    )

    assert [step for step in range(9) if phase.due(step, kimg=step)] == [0, 4, 8]
    later = replace(phase, interval=1, start_kimg=3, end_kimg=6)
    assert [step for step in range(9) if later.due(step, kimg=step)] == [3, 4, 5]


@pytest.mark.parametrize("kind", ["adam", "rmsprop", "sgd"])
def test_weight_decay_shortens_weights_that_nothing_else_moves(kind: str):
    """Each kind of optimizer takes the decay, and without it leaves a weight without a gradient where it is."""
    lengths = {}
    for decay in (0.0, 0.5):
        player = nn.Linear(1, 1, bias=False)
        nn.init.ones_(player.weight)
        player.weight.grad = torch.zeros_like(player.weight)
        make_optimizer(player, OptimizerConfig(kind=kind, lr=0.1, weight_decay=decay)).step()  # type: ignore[arg-type]
        lengths[decay] = player.weight.item()

    assert lengths[0.0] == 1
    assert lengths[0.5] < 1


def test_checkpoints_are_kept_by_count_and_the_newest_is_read(tmp_path: Path):
    """Older checkpoints go, the newest stays readable."""
    for step in (1, 2, 3):
        save_checkpoint({"step": step}, tmp_path, step=step, keep=2)

    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000002.pt", "step-000000003.pt"]
    assert load_checkpoint(tmp_path) == {"step": 3}


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path):
    """When a checkpoint cannot be written whole, the one before it stands, and no scrap is left."""
    save_checkpoint({"step": 1}, tmp_path, step=1, keep=2)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may become larger
    try:
        with pytest.raises(WriteError, match="step-000000002"):
            save_checkpoint({"step": 2, "weights": torch.zeros(100_000)}, tmp_path, step=2, keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert load_checkpoint(tmp_path) == {"step": 1}


def test_a_damaged_checkpoint_is_named_with_a_way_out(tmp_path: Path):
    """A damaged newest checkpoint says which one to go on from."""
    for step in (1, 2):
        path = save_checkpoint({"step": step}, tmp_path, step=step, keep=2)
    path.write_bytes(path.read_bytes()[:50])

    with pytest.raises(InvalidFileError, match="delete it to go on from step-000000001"):
        load_checkpoint(tmp_path)


def test_checkpoints_hold_no_code(tmp_path: Path):
    """A pickle that would run code is refused as damaged."""
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    (tmp_path / "step-000000001.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InvalidFileError):
        load_checkpoint(tmp_path)

    assert not (tmp_path / "pwned").exists()


def decode_rows(rows: np.ndarray, noise: Noise) -> torch.Tensor:
    return torch.from_numpy(rows.reshape(len(rows), -1).astype(np.int64))


def test_each_epoch_shows_every_training_sample_once(store: Store):
    """Batches cover the training split once an epoch, in another order each time, and no test sample."""
    batches = Batches(store, decode_rows, batch=8, seed=0)
    epochs = [torch.cat([batches.at(step, Noise(0)) for step in range(9 * e, 9 * e + 9)]) for e in (0, 1)]
    train = decode_rows(store.samples[store.indices("train")], Noise(0))

    assert not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, train.tolist()))


def test_processes_share_a_batch(store: Store):
    """Two processes' batches side by side are one process's batch."""
    make: Callable[..., Batches] = lambda **kw: Batches(store, decode_rows, batch=10, seed=3, **kw)  # noqa: E731
    halves = [make(rank=rank, world_size=2).at(5, Noise(0)) for rank in (0, 1)]

    assert torch.equal(torch.cat(halves), make().at(5, Noise(0)))
