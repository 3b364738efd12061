from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.chorales import progression

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError
from zoo.music.architectures.midinet import (
    CHORD,
    PITCHES,
    STEPS,
    MidiNet,
    MidiNetConfig,
    MidiNetTrainConfig,
    make_lead_sheet,
    shift_bars,
    split_bars,
)
from zoo.music.data.midi import add_note
from zoo.music.data.scores import CHORD_BASE, Windows, augment, decode, to_lead_sheet
from zoo.noise import Noise
from zoo.training.phases import Step

CONFIG = MidiNetConfig(bars=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Lead sheets of a small data set."""
    grids = {f"{i}": to_lead_sheet(progression(i, tracks=4, bars=4, steps=STEPS), STEPS) for i in range(24)}
    return build_store(Windows("sheets", "CC0-1.0", grids, CONFIG, anywhere=(1,)), tmp_path / "sheets")


@pytest.fixture
def gan(store: Store) -> MidiNet:
    torch.manual_seed(0)
    gan = MidiNet(CONFIG).eval()
    gan.init_from_data(store)
    return gan


def test_a_score_becomes_its_highest_voice_and_a_triad_a_bar():
    """F major, then D minor, whatever other notes sound briefly; a bar of silence keeps the chord."""
    grid = np.zeros((2, 3 * STEPS, 128), dtype=np.uint8)
    add_note(grid[1], 41, 0, 16)
    add_note(grid[0], 72, 0, 12)
    add_note(grid[0], 81, 12, 15)
    add_note(grid[0], 80, 15, 16)
    add_note(grid[1], 50, 16, 32)
    add_note(grid[0], 69, 16, 24)
    add_note(grid[0], 65, 24, 32)
    melody, chords = to_lead_sheet(grid[::-1], STEPS)

    assert (melody == grid[0]).all()
    found = [(np.flatnonzero(chords[start]) - CHORD_BASE).tolist() for start in (0, 16, 32)]
    assert found == [[5, 9, 12], [2, 5, 9], [2, 5, 9]]


def test_chords_and_melodies_go_through_rolls_and_back(store: Store):
    """The network's inputs and the rolls of samples are the same thing."""
    rolls = decode(store.samples[:4])
    melody, chords = split_bars(rolls)

    assert melody.shape == (12, 1, STEPS, PITCHES)
    assert (chords[:, :12].sum(1) == 1).all()
    again = make_lead_sheet(melody.view(4, 3 * STEPS, PITCHES), chords.view(4, 3, CHORD))
    assert torch.equal(again[:, 0], rolls[:, 0])
    assert torch.equal(split_bars(again)[1], chords)


def test_transposed_sheets_keep_their_chords(store: Store):
    """A root that leaves its octave stays the same chord, moved with the melody."""
    rows = np.array(store.samples[:8])
    before, after = split_bars(decode(rows)), split_bars(decode(augment(torch.from_numpy(rows), Noise(1))))

    for i in range(8):
        bars = slice(3 * i, 3 * i + 3)
        shift = int(after[0][bars].nonzero()[0, 3] - before[0][bars].nonzero()[0, 3])
        assert torch.equal(before[1][bars, :12].roll(shift, 1), after[1][bars, :12])
        assert torch.equal(before[1][bars, 12], after[1][bars, 12])


def test_the_bar_before_the_first_is_empty():
    bars = torch.arange(1.0, 7)[:, None, None, None].expand(6, 1, STEPS, PITCHES)

    assert shift_bars(bars, 3)[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 4, 5]


def test_a_bar_depends_on_the_one_before_and_on_its_chord(gan: MidiNet):
    """And on its own noise."""
    noise = Noise(0)
    latents, chord = noise.normal(1, 100), torch.eye(CHORD)[:1]
    before, other = torch.zeros(2, 1, 1, STEPS, PITCHES).unbind()
    other = other.index_fill(3, torch.tensor([60]), 1.0)
    with torch.no_grad():
        plain = gan.generator.generate_bar(latents, chord, before)
        changed = [
            gan.generator.generate_bar(latents, chord, other),
            gan.generator.generate_bar(latents, chord.roll(5, 1), before),
            gan.generator.generate_bar(noise.normal(1, 100), chord, before),
        ]

    assert all(not torch.equal(plain, bar) for bar in changed)


def test_a_bar_does_not_depend_on_those_after(gan: MidiNet):
    latents = gan.latents(1, Noise(0))
    other = latents.clone()
    other[:, 100:200] *= -3
    other[:, 300 + CHORD : 300 + 2 * CHORD] = other[:, 300 + CHORD : 300 + 2 * CHORD].roll(5, 1)
    with torch.no_grad():
        bars, others = (split_bars(gan.generator(each))[0] for each in (latents, other))

    assert torch.equal(bars[0], others[0])


def test_a_step_has_one_pitch(gan: MidiNet):
    samples = gan.sample(3, seed=0)

    assert (samples.tensor[:, 0].gt(0).sum(2) == 1).all()
    assert (samples.tensor[:, 1].gt(0).sum(2) == 3).all()


def test_chords_are_those_of_training_windows(gan: MidiNet, store: Store):
    """They are part of the weights."""
    known = {
        tuple(chords.flatten().tolist())
        for chords in split_bars(decode(store.samples[store.indices("train")]))[1].split(3)
    }
    found = split_bars(gan.sample(5, seed=0).tensor)[1].split(3)

    assert all(tuple(chords.flatten().tolist()) in known for chords in found)


def test_a_row_between_two_samples_is_over_one_progression(gan: MidiNet):
    """Chords stay the same in a row, as a class does; only the random numbers move from one sample to the next."""
    samples, rows = gan.sample(4, seed=0), gan.interpolate(2, steps=3, seed=0)

    prior, chords = rows.latents.split([300, 3 * CHORD], dim=1)
    torch.testing.assert_close(prior[[0, 2, 3, 5]], samples.latents[:, :300])
    assert torch.equal(chords, samples.latents[:2, 300:].repeat_interleave(3, dim=0))


def test_the_generator_takes_two_steps_and_matches_features(gan: MidiNet, store: Store):
    """With both weights 0 its loss is the adversarial one alone."""
    step = Step(gan, decode(store.samples[:4]), Noise(0), train_generator=True)
    phases = gan.phases(MidiNetTrainConfig())

    assert [phase.name for phase in phases] == ["D", "G", "G-again"]
    assert phases[1].optimizer is phases[2].optimizer
    assert phases[1].loss(step)["matching"] > 0
    assert gan.phases(MidiNetTrainConfig(match_features=0, match_bars=0))[1].loss(step)["matching"] == 0


def test_losses_without_labels_are_refused():
    with pytest.raises(InvalidValueError, match="non_saturating"):
        MidiNetTrainConfig(loss="wasserstein")


def test_a_discriminator_may_read_the_bar_before():
    """Then its scores, and nothing else, depend on what precedes a bar; the paper's does not see it."""
    torch.manual_seed(0)
    for reads_before in (False, True):
        gan = MidiNet(MidiNetConfig(bars=3, reads_before=reads_before)).eval()
        rolls = gan.sample(2, seed=0).tensor
        bars, chords = split_bars(rolls)
        silence = torch.zeros_like(bars)
        one, other = (gan.discriminator.bar_logits(bars, chords, before)[0] for before in (silence, bars))
        assert torch.equal(one, other) != reads_before
        before = shift_bars(bars, 3)
        mean = gan.discriminator.bar_logits(bars, chords, before)[0].view(2, 3).mean(1)
        torch.testing.assert_close(gan.discriminator(rolls), mean)
