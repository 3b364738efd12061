from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.chorales import chorale_store, progression
from torch import nn

from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.architectures.musegan import (
    MuseGAN,
    MuseGANConfig,
    MuseGANTrainConfig,
    count_changes,
    mark_starts,
    measure_intervals,
    read_tune,
    select_track,
    sum_octaves,
    truncate,
)
from zoo.music.data.midi import FAMILIES, FAMILY_PROGRAMS, write_midi
from zoo.music.data.scores import decode, fit_pitches, read_ranges
from zoo.music.metrics.counterpoint import count_faults
from zoo.music.samples.scores import Scores
from zoo.nn.binary_neurons import binarize, binarize_largest
from zoo.nn.blocks import BlockConv2d, BlockConvTranspose2d
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.training.phases import Step, trainable

SMALL = MuseGANConfig(
    tracks=2, bars=2, steps=16, pitches=24, lowest=48, latent_dim=8, generator_width=4, private_width=2, critic_width=2
)


def parameters(gan: MuseGAN) -> tuple[int, ...]:
    return tuple(sum(p.numel() for p in network.parameters()) for network in gan.networks.values())


def test_default_sizes_are_those_of_the_second_version():
    """Four voices and the onsets are the five tracks of the authors' code: 2,578,127 and 1,365,841 parameters."""
    with torch.device("meta"):
        gan = MuseGAN(MuseGANConfig())

    assert parameters(gan) == (2_578_127, 1_365_841)


@pytest.mark.parametrize(("steps", "pitches"), [(16, 24), (48, 84), (16, 72), (32, 36), (16, 60)])
def test_bars_may_be_finer_and_pitches_any_whole_octaves(steps: int, pitches: int):
    """Samples have the shape of the config, and the critic gives each one score."""
    config = replace(SMALL, steps=steps, pitches=pitches, lowest=24)
    gan = MuseGAN(config).eval()
    rolls = gan.sample(2, seed=0).tensor

    assert rolls.shape == (2, 3, 2 * steps, pitches)
    assert set(rolls.unique().tolist()) <= {-1.0, 1.0}
    assert gan.discriminator(rolls).shape == (2,)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"steps": 24}, "16"), ({"pitches": 30}, "octaves"), ({"given": 2}, "0 to 1"), ({"bars": 1}, "pairs of bars")],
)
def test_sizes_that_no_layer_fits_are_refused(values: dict[str, int], message: str):
    with pytest.raises(InvalidValueError, match=message):
        replace(SMALL, **values)


@pytest.mark.parametrize("groups", [1, 2])
def test_block_convolutions_are_convolutions(groups: int):
    """They compute what PyTorch's layers compute with the same weights."""
    torch.manual_seed(0)
    images = torch.randn(2, 6, 8, 24)
    narrow, wide = BlockConv2d(6, 4, (4, 12), groups=groups), BlockConvTranspose2d(6, 4, (4, 12), groups=groups)

    torch.testing.assert_close(narrow(images), nn.Conv2d.forward(narrow, images))
    torch.testing.assert_close(wide(images), nn.ConvTranspose2d.forward(wide, images))


def test_deterministic_neurons_round_and_pass_the_gradient_of_the_sigmoid():
    """They say -1 or 1; their gradient is that of 2 sigmoid(slope x) - 1."""
    logits = torch.tensor([-0.3, 0.1, 2.0], requires_grad=True)
    slope = torch.tensor(3.0)
    said = binarize(logits, slope)
    said.sum().backward()

    torch.testing.assert_close(said.detach(), torch.tensor([-1.0, 1.0, 1.0]))
    share = torch.sigmoid(slope * logits.detach())
    torch.testing.assert_close(logits.grad, 2 * slope * share * (1 - share))


def test_stochastic_neurons_sound_as_often_as_their_probability():
    logits, slope = torch.full((20_000,), 0.4), torch.tensor(2.0)
    thresholds = Noise(0).uniform(20_000)

    assert binarize(logits, slope, thresholds).gt(0).float().mean() == pytest.approx(
        1 / (1 + 2.718281828**-0.8), abs=0.01
    )


def test_stochastic_samples_repeat_by_seed_at_any_batch_size():
    """The neurons' random numbers are part of the latents."""
    torch.manual_seed(0)
    gan = MuseGAN(replace(SMALL, neurons="stochastic")).eval()
    samples = gan.sample(5, seed=1)

    assert torch.equal(gan.sample(5, seed=1, batch_size=2).tensor, samples.tensor)
    assert torch.equal(gan.sample(2, seed=1).tensor, samples.tensor[:2])
    thresholds = torch.special.ndtr(samples.latents[:, SMALL.latent_dim :])
    assert thresholds.mean() == pytest.approx(0.5, abs=0.02)


def test_the_slope_grows_with_the_training():
    """From 1 at a fifth of the training to 5 at its end, and the generator has it in each step."""
    train = MuseGANTrainConfig(total_kimg=100)

    assert [train.slope(kimg) for kimg in (0, 20, 60, 100)] == [1, 1, 3, 5]
    gan = MuseGAN(SMALL).requires_grad_(False)
    step = Step(gan, torch.ones(2, *SMALL.roll), Noise(0), train_generator=True, kimg=60)
    gan.phases(train)[0].loss(step)
    assert gan.generator.slope == 3
    with pytest.raises(InvalidValueError, match=r"slope_from_share = 1.0 should be from 0 to 0\.99"):
        load_recipe("music-musegan", ["train.slope_from_share=1"])


def test_policies_for_pictures_are_refused():
    with pytest.raises(InvalidValueError, match=r"train\.augment: the training of MuseGAN does not use it"):
        MuseGANTrainConfig(augment=("translation",))


def test_latents_are_normal_within_two_deviations():
    latents = truncate(torch.linspace(-6, 6, 1001))

    assert latents.abs().max() <= 2
    assert (latents.diff() >= 0).all()
    assert latents[500] == pytest.approx(0, abs=1e-6)


def test_chroma_adds_up_octaves_and_counts_steps():
    """A pitch and its octave are one note; a beat of four steps counts four of each."""
    bars = torch.zeros(1, 1, 16, 24)
    bars[0, 0, 4:8, 2] = 1
    bars[0, 0, 4:6, 14] = 1

    found = sum_octaves(bars)
    assert found.shape == (1, 1, 4, 12)
    assert found[0, 0, 1, 2] == 6
    assert found.sum() == 6


def test_changes_are_onsets_and_offsets():
    """1 where a note more sounds than a step before, -1 where one less; a bar's first step has none before."""
    bars = torch.zeros(1, 1, 16, 24)
    bars[0, 0, 4:8, [2, 9]] = 1

    found = count_changes(bars)[0, 0, :, 0]
    assert found.tolist() == [0, 0, 0, 0, 2, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, 0]
    assert count_changes(bars, single=True)[0, 0, :, 0].tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.fixture
def accompanist(tmp_path: Path) -> MuseGAN:
    """A model that accompanies track 0, and has seen a small data set."""
    torch.manual_seed(0)
    gan = MuseGAN(replace(SMALL, given=0)).eval()
    gan.init_from_data(chorale_store(SMALL, tmp_path / "store"))
    with torch.no_grad():
        gan.generator.private.merge[1].bias.zero_()  # half full, so that the accompaniment depends on the track
    return gan


def test_a_given_track_is_kept_and_accompanied(accompanist: MuseGAN, tmp_path: Path):
    """Samples hold the given track note for note, and others beside it that depend on it."""
    rolls = decode(chorale_store(SMALL, tmp_path / "store").samples[:3])
    given = Scores(tensor=rolls, lowest=48)
    samples = accompanist.sample(3, seed=0, given=given)

    assert torch.equal(select_track(samples.tensor, 0), select_track(rolls, 0))
    other = accompanist.sample(3, seed=0, given=Scores(tensor=rolls.roll(1, 0), lowest=48))
    assert not torch.equal(samples.tensor[:, 1], other.tensor[:, 1])


def test_a_midi_file_is_accompanied_window_by_window(accompanist: MuseGAN, tmp_path: Path):
    """One of a single track gives that one; three bars are two windows, of which the second ends in silence."""
    grid = progression(0, tracks=1, bars=3, steps=16)
    write_midi(grid, tmp_path / "tune.mid", steps=16, lowest=0, names=["tune"], programs=[0], bpm=90)
    samples = accompanist.sample(2, seed=0, input=tmp_path / "tune.mid")

    tune = samples.grids[:, 0].reshape(4 * 16, 24)
    assert ((tune[:48] > 0) == (fit_pitches(grid, SMALL)[0] > 0)).all()
    assert not tune[48:].any()
    with pytest.raises(InvalidFileError, match=r"no-such\.mid"):
        accompanist.sample(2, input=tmp_path / "no-such.mid")


def test_a_model_of_families_accompanies_the_family_of_its_data(tmp_path: Path):
    """Its tracks are those that `data.mapping` gathers, and not those of the file from high to low."""
    grid = progression(0, tracks=2, bars=2, steps=16)
    options = {"steps": 16, "lowest": 0, "bpm": 90}
    write_midi(grid, tmp_path / "a.mid", names=["high", "low"], programs=[80, 33], **options)
    sizes = {"tracks": 5, "names": FAMILIES, "programs": FAMILY_PROGRAMS}
    bass = replace(SMALL, **sizes, given=FAMILIES.index("bass"))

    tune = read_tune(tmp_path / "a.mid", bass)

    assert torch.equal(select_track(tune, bass.given)[0, 0] > 0, torch.from_numpy(fit_pitches(grid, SMALL)[1] > 0))
    with pytest.raises(InvalidFileError, match=r"a\.mid: no guitar"):
        read_tune(tmp_path / "a.mid", replace(bass, given=FAMILIES.index("guitar")))


def test_drums_beyond_the_pitches_of_a_model_are_left_out_as_in_its_data(tmp_path: Path):
    """An octave away is another instrument."""
    grid = np.zeros((2, 32, 128), dtype=np.uint8)
    grid[0, :4, [35, 42]] = 1
    grid[1, :4, 40] = 1
    options = {"steps": 16, "lowest": 0, "bpm": 90}
    write_midi(grid, tmp_path / "a.mid", names=["drums", "bass"], programs=[0, 33], **options)
    sizes = {"tracks": 5, "names": FAMILIES, "programs": FAMILY_PROGRAMS, "lowest": 36}
    tune = read_tune(tmp_path / "a.mid", replace(SMALL, **sizes, given=FAMILIES.index("bass")))

    assert tune[0, FAMILIES.index("drums")].gt(0).any(0).nonzero().flatten().tolist() == [6]


def test_a_midi_file_without_the_given_track_is_refused(tmp_path: Path):
    """Two tracks fill the first two places, and a third is to be accompanied; one alone is always that."""
    grid = progression(0, tracks=2, bars=2, steps=16)
    write_midi(grid, tmp_path / "two.mid", steps=16, lowest=0, names=["a", "b"], programs=[0, 0], bpm=90)
    third = MuseGAN(replace(SMALL, tracks=4, given=2)).eval()

    with pytest.raises(
        InvalidFileError, match=r"two\.mid: 2 tracks with notes, and .* accompanies track 3, from high to low"
    ):
        third.sample(1, input=tmp_path / "two.mid")
    write_midi(grid[:1], tmp_path / "one.mid", steps=16, lowest=0, names=["a"], programs=[0], bpm=90)
    assert third.sample(1, seed=0, input=tmp_path / "one.mid").grids[:, 2].any()


def test_without_one_a_tune_of_the_training_split_is_accompanied(accompanist: MuseGAN, tmp_path: Path):
    """They are part of the weights, and alternate."""
    store = chorale_store(SMALL, tmp_path / "store")
    known = select_track(decode(store.samples[store.indices("train")]), 0)
    found = select_track(accompanist.sample(2, seed=0).tensor, 0)

    assert all(any(torch.equal(tune, other) for other in known) for tune in found)


def test_a_row_between_two_samples_accompanies_one_tune(accompanist: MuseGAN):
    """Only the random numbers move, from one sample to the next."""
    samples, rows = accompanist.sample(4, seed=0), accompanist.interpolate(2, steps=3, seed=0)

    prior = SMALL.latent_dim
    torch.testing.assert_close(rows.latents[[0, 2, 3, 5], :prior], samples.latents[:, :prior])
    assert torch.equal(rows.latents[:, prior:], samples.latents[:2, prior:].repeat_interleave(3, dim=0))


def test_what_cannot_be_accompanied_is_refused(accompanist: MuseGAN):
    """Scores of other sizes, and any for a model that generates all tracks."""
    wrong = Scores(tensor=torch.ones(1, 3, 16, 24))
    with pytest.raises(InvalidValueError, match=r"\(3, 16, 24\), not \(3, 32, 24\)"):
        accompanist.sample(1, given=wrong)
    with pytest.raises(InvalidValueError, match="accompanies none"):
        MuseGAN(SMALL).eval().sample(1, given=Scores(tensor=torch.ones(1, *SMALL.roll)))


def test_an_accompanist_learns_from_the_tracks_of_the_step(accompanist: MuseGAN, tmp_path: Path):
    """Both phases run on real rolls, and reach all parameters but the critic's last constant."""
    rolls = decode(chorale_store(SMALL, tmp_path / "store").samples[:4])
    gan = accompanist.train().requires_grad_(False)
    for phase in gan.phases(MuseGANTrainConfig()):
        with trainable(phase.module):
            phase.loss(Step(gan, rolls, Noise(0), train_generator=True))["loss"].backward()

    reached = {name for name, p in gan.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert {name for name, _ in gan.named_parameters()} - reached == {"discriminator.score.bias"}


def test_the_candidate_with_the_fewest_faults_is_taken():
    """Each score is the best of its candidates, and fewer scores are the first of more; at one nothing is chosen."""
    torch.manual_seed(0)
    gan = MuseGAN(SMALL).eval()
    plain = gan.sample(12, seed=5)

    def count(scores: Scores) -> np.ndarray:
        return count_faults(scores.grids, SMALL.steps, SMALL.lowest).reshape(len(scores), -1)

    best = gan.sample(3, seed=5, candidates=4)

    every = count(plain).reshape(3, 4)
    assert count(best)[:, 0].tolist() == every.min(1).tolist()
    assert (every.min(1) < every[:, 0]).any()
    assert best.latents is not None
    assert torch.equal(gan.generate(best.latents).tensor, best.tensor)
    assert torch.equal(gan.sample(2, seed=5, candidates=4, batch_size=1).tensor, best.tensor[:2])
    assert torch.equal(gan.sample(12, seed=5, candidates=1).tensor, plain.tensor)
    done: list[int] = []
    gan.sample(3, seed=5, candidates=4, batch_size=4, progress=done.append)
    assert done == [1, 2, 3]


def test_candidates_accompany_the_same_track(accompanist: MuseGAN):
    """All candidates for a score have its given track."""
    rolls = torch.where(torch.rand(2, *SMALL.roll, generator=torch.Generator().manual_seed(1)) > 0.9, 1.0, -1.0)
    given = Scores(tensor=rolls, lowest=48)

    samples = accompanist.sample(2, seed=0, given=given, candidates=3)

    plain = accompanist.sample(2, seed=0, given=given)
    assert torch.equal(samples.tensor[:, 0], plain.tensor[:, 0])


def test_neurons_of_single_voices_compete():
    """The largest of a step says 1 if it is above 0, and all learn by the softmax."""
    logits = torch.tensor([[0.5, 2.0, -1.0], [-0.1, -2.0, -3.0]], requires_grad=True)
    said = binarize_largest(logits, torch.tensor(1.0))
    said[:, 0].sum().backward()

    torch.testing.assert_close(said.detach(), torch.tensor([[-1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]]))
    silent = torch.cat([logits.detach(), torch.zeros(2, 1)], dim=1).softmax(1)
    torch.testing.assert_close(logits.grad[:, 0], 2 * silent[:, 0] * (1 - silent[:, 0]))
    torch.testing.assert_close(logits.grad[:, 1], -2 * silent[:, 0] * silent[:, 1])


def test_single_voices_sound_one_pitch_at_a_time():
    """Onsets have neurons of their own, which do not compete."""
    torch.manual_seed(0)
    rolls = MuseGAN(replace(SMALL, single=True)).eval().sample(4, seed=0).tensor

    assert rolls[:, :2].gt(0).sum(3).max() == 1
    assert rolls[:, 2].gt(0).sum(2).max() > 1
    with pytest.raises(InvalidValueError, match="deterministic"):
        replace(SMALL, single=True, neurons="stochastic")


@pytest.mark.parametrize("single", [True, False])
def test_voices_in_range_have_the_pitches_of_the_data_only(single: bool, tmp_path: Path):
    """However the neurons lean, a voice that is held to its range never leaves it; a free one does."""
    store = chorale_store(SMALL, tmp_path / "store")
    reach = torch.from_numpy(read_ranges(store.samples[store.indices("train")[:1]]))
    outside = {}
    for in_range in (True, False):
        torch.manual_seed(0)
        gan = MuseGAN(replace(SMALL, single=single, in_range=in_range)).eval()
        gan.init_from_data(store)
        with torch.no_grad():
            gan.generator.private.merge[1].bias.fill_(3)
        voices = gan.sample(8, seed=0).tensor[:, :-1] > 0
        assert (voices & reach[:, None]).any()
        outside[in_range] = (voices & ~reach[:, None]).any()

    assert outside == {True: False, False: True}


def test_onsets_are_where_a_voice_begins_and_where_a_sounding_note_is_repeated():
    """Neurons that repeat what is silent, or what begins anyway, change nothing."""
    voices, again = torch.full((1, 2, 6, 3), -1.0), torch.full((1, 1, 6, 3), -1.0)
    voices[0, 0, 0:4, 0] = 1  # four steps, repeated at the third
    voices[0, 1, 3:6, 1] = 1
    again[0, 0, [2, 3], [0, 1]] = 1
    again[0, 0, :, 2] = 1

    assert mark_starts(voices, again)[0, 0].gt(0).nonzero().tolist() == [[0, 0], [2, 0], [3, 1]]


def test_intervals_are_those_between_voices_and_within_each():
    """Of two voices: a fifth kept in motion, then a third, then the voices crossed."""
    voices = torch.zeros(1, 2, 4, 36)
    for step, (upper, lower) in enumerate([(31, 12), (33, 14), (18, 14), (13, 14)]):
        voices[0, 0, step, upper] = voices[0, 1, step, lower] = 1

    measured = measure_intervals(voices)[0]

    assert measured.shape == (12 + 12 + 2 * 12 + 1, 4)
    between, parallels, steps, crossed = measured.split([12, 12, 24, 1])
    assert between.argmax(0).tolist() == [7, 7, 4, 11]
    assert between.sum(0).tolist() == [1, 1, 1, 1]
    assert parallels.nonzero().tolist() == [[7, 1]]
    assert steps[:12].argmax(0)[1:].tolist() == [2, 9, 7]
    assert steps[12:].argmax(0)[1:].tolist() == [2, 0, 0]
    assert steps[:, 0].eq(0).all()
    assert crossed[0].tolist() == [0, 0, 0, 1]


def test_transposed_scores_have_the_same_intervals():
    """Another key changes nothing that the stream of intervals reads."""
    torch.manual_seed(0)
    voices = torch.zeros(3, 4, 8, 36).scatter(3, torch.randint(0, 31, (3, 4, 8, 1)), 1.0)
    torch.testing.assert_close(measure_intervals(voices), measure_intervals(voices.roll(5, dims=3)))


def test_weights_without_harmony_fit_a_critic_with_it():
    """The stream of intervals has layers of its own, and adds to the score."""
    torch.manual_seed(0)
    plain, wider = MuseGAN(SMALL), MuseGAN(replace(SMALL, harmony=True))
    missing = wider.discriminator.load_state_dict(plain.discriminator.state_dict(), strict=False).missing_keys
    assert missing
    assert all(key.startswith("harmony.") for key in missing)
    rolls = plain.eval().sample(3, seed=0).tensor
    added = wider.discriminator(rolls) - plain.discriminator(rolls)
    torch.testing.assert_close(added, wider.discriminator.harmony(rolls))
    assert added.abs().max() > 0
