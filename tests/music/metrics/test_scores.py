from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.chorales import chorale_store

from zoo.data import Store
from zoo.errors import InvalidValueError
from zoo.music.architectures.musegan import MuseGAN, MuseGANConfig
from zoo.music.data.midi import HELD, STRUCK, add_note
from zoo.music.data.scores import decode
from zoo.music.metrics import counterpoint, statistics
from zoo.music.metrics.scores import evaluate, held_out
from zoo.music.modality import SCORES
from zoo.music.samples.scores import Scores
from zoo.recipe import EvaluateConfig

LOW = 36


def at_random(seed: int) -> np.ndarray:
    """uint8 [3, 64, 48]: four bars in which each voice has a note of any pitch and length in most beats."""
    rng = np.random.default_rng([7, seed])
    grid = np.zeros((3, 64, 48), dtype=np.uint8)
    for voice in grid:
        for start in range(0, 64, 4):
            if rng.random() < 0.8:
                add_note(voice, int(rng.integers(48)), start + int(rng.integers(2)), start + int(rng.integers(2, 5)))
    return grid


@pytest.fixture
def grids() -> np.ndarray:
    """Four scores at random, of which the third ends before its last bar does."""
    grids = np.stack([at_random(i) for i in range(4)])
    grids[2, :, 60:] = 0
    return grids


def voices(*lines: list[int], steps: int = 4) -> np.ndarray:
    """uint8 [1, V, T, 48]: each voice sings its pitches, `steps` each; -1 is a rest."""
    grid = np.zeros((1, len(lines), len(lines[0]) * steps, 48), dtype=np.uint8)
    for voice, line in zip(grid[0], lines, strict=True):
        for i, pitch in enumerate(line):
            if pitch >= 0:
                add_note(voice, pitch, i * steps, (i + 1) * steps)
    return grid


MUSPY = {  # muspy 0.5.0 on the same four scores
    "pitch_class_entropy": [3.254353, 3.430876, 3.352477, 3.500153],
    "scale_consistency": [0.72973, 0.682927, 0.769231, 0.685714],
    "groove_consistency": [0.8125, 0.8125, 0.770833, 0.765625],
    "polyphony": [1.55102, 2.0, 2.039216, 1.698113],
    "n_pitches_used": [26.0, 28.0, 25.0, 26.0],
}


def test_statistics_are_muspy_s(grids: np.ndarray):
    """Entropy, scale consistency, polyphony and used pitches; and groove consistency, where it is asked to miscount."""
    found = {
        "pitch_class_entropy": statistics.pitch_class_entropy(grids, LOW),
        "scale_consistency": statistics.scale_consistency(grids, LOW),
        "groove_consistency": statistics.groove_consistency(grids, 16, muspy_compat=True),
        "polyphony": statistics.polyphony(grids),
        "n_pitches_used": statistics.used_pitches(grids),
    }

    for name, values in MUSPY.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def test_equal_bars_have_the_same_groove():
    """1 for them, and not for muspy, which compares the last with an empty bar that it adds; no bars, no groove."""
    equal = np.tile(voices([1, 2, 3, 4]), (1, 1, 4, 1))

    assert statistics.groove_consistency(equal, 16)[0] == 1
    assert statistics.groove_consistency(equal, 16, muspy_compat=True)[0] == 1 - 4 / (4 * 16)
    assert np.isnan(statistics.groove_consistency(np.zeros_like(equal), 16)[0])


def test_a_scale_has_its_entropy_and_lies_in_itself():
    """Seven notes of C major, each once: log2 7 bits; with one foreign note among eight, 7/8 in the scale."""
    major = voices([0, 2, 4, 5, 7, 9, 11])
    foreign = voices([0, 2, 4, 5, 7, 9, 11, 1])

    assert statistics.pitch_class_entropy(major, LOW)[0] == pytest.approx(np.log2(7))
    assert statistics.scale_consistency(major, LOW)[0] == 1
    assert statistics.scale_consistency(foreign, LOW)[0] == 7 / 8


def test_unisons_are_one_pitch_and_silence_does_not_count():
    """Polyphony counts different pitches, over the steps where any sounds."""
    assert statistics.polyphony(voices([5, 7, -1], [5, 3, -1]))[0] == 1.5


def test_empty_bars_are_counted_by_voice():
    """One of two voices rests in one of two bars."""
    grid = voices([5, 5, 5, 5, 5, 5, 5, 5], [3, 3, 3, 3, -1, -1, -1, -1])

    assert statistics.empty_bars(grid, 16)[0] == 0.25
    assert statistics.note_density(grid, 16)[0] == 6
    assert statistics.used_pitch_classes(grid, 16, LOW)[0] == 1
    assert np.isnan(statistics.used_pitch_classes(voices([-1] * 8, [-1] * 8), 16, LOW)[0])  # nothing to count


def test_notes_that_are_held_into_a_window_begin_with_it():
    grid = voices([5, 7])[:, :, 2:]

    found = statistics.find_notes(grid)
    assert (found.step.tolist(), found.length.tolist(), found.pitch.tolist()) == ([0, 2], [2, 4], [5, 7])


@pytest.mark.parametrize(("interval", "expected"), [(0, 0.0), (7, 1.737), (6, 2.828), (12, 0.0)])
def test_tonal_distance_is_that_of_harte(interval: int, expected: float):
    """A fifth is near and a tritone far: two sines a pitch apart, by hand from equation 3; octaves are no distance."""
    angles = interval * np.pi * np.array([7 / 6, 3 / 2, 2 / 3])
    by_hand = np.sqrt((np.array([1, 1, 0.25]) * (2 - 2 * np.cos(angles))).sum())
    found = statistics.tonal_distance(voices([20 + interval] * 4, [20] * 4), 16, LOW)[0]

    assert found == pytest.approx(by_hand)
    assert found == pytest.approx(expected, abs=1e-3)


def test_parallels_are_found():
    """Fifths and octaves that move the same way; not those that stay, leap against each other, or rest between."""

    def rate(upper: list[int], lower: list[int], interval: int) -> float:
        return float(counterpoint.parallels(voices(upper, lower), interval, 16)[0])

    assert rate([17, 19, 21, 21], [10, 12, 14, 14], 7) == 2
    assert rate([29, 31, 29, 29], [10, 12, 10, 10], 7) == 2  # over an octave
    assert rate([22, 24, 24, 24], [10, 12, 12, 12], 0) == 1
    assert rate([22, 24, 24, 24], [10, 12, 12, 12], 7) == 0
    assert rate([17, -1, 19, 19], [10, -1, 12, 12], 7) == 0
    assert rate([17, 22, 22, 22], [10, 3, 3, 3], 7) == 0  # contrary motion


def test_crossings_and_ranges():
    """A tenor above its alto; a bar in which a voice rests or leaves its range."""
    crossing = voices([20, 20, 20, 20], [10, 10, 25, 10])
    assert counterpoint.crossings(crossing)[0] == 0.25

    ranges = np.zeros((2, 48), dtype=bool)
    ranges[0, 15:30], ranges[1, 5:20] = True, True
    assert counterpoint.in_range(crossing, ranges, 16).tolist() == [[False]]
    assert counterpoint.in_range(crossing, ranges, 8).tolist() == [[True, False]]
    assert counterpoint.in_range(voices([20] * 4, [-1] * 4), ranges, 16).tolist() == [[False]]


def test_chords_have_their_quality_in_any_key_and_inversion():
    """C major, its inversion, D minor, and G7 without its fifth; then two notes alone."""
    chords = voices([28, 31, 33, 35, 31], [24, 28, 29, 29, 24], [19, 24, 26, 19, 24])
    found = counterpoint.quality_histogram(chords, 16, LOW)
    names = [*counterpoint.QUALITIES, "other", "incomplete"]

    assert {names[i]: int(n) for i, n in enumerate(found) if n} == {
        "major": 2, "minor": 1, "dominant seventh without fifth": 1, "incomplete": 1,
    }  # fmt: skip


def test_unclassified_chords_are_a_share_of_the_beats():
    """A cluster is none of the known chords; two pitch classes are no chord."""
    chords = voices([28, 26, 31, 31], [31, 25, 31, 31], [24, 24, 24, 24])

    assert counterpoint.unclassified(chords, 16, LOW)[0] == 0.25


@pytest.mark.parametrize(
    ("chords", "found"),
    [
        ([[31, 35, 38, 41], [24, 28, 31, 36]], True),  # G7, C
        ([[31, 35, 38, 38], [24, 27, 31, 36]], True),  # G, C minor
        ([[24, 28, 31, 36], [31, 35, 38, 38]], False),  # C, G: a half cadence
        ([[31, 34, 38, 38], [24, 28, 31, 36]], False),  # G minor, C
    ],
)
def test_a_cadence_is_a_dominant_that_goes_to_its_tonic(chords: list[list[int]], found: bool):
    """It counts in the last bar, and from the beat before that bar into it; not a bar earlier."""
    before, after = chords
    for place, is_near in ((6, True), (3, True), (0, False)):
        beats = [[20, 20, 20, 20]] * 8
        beats[place : place + 2] = [before, after]
        lines = [list(line) for line in zip(*beats, strict=True)]
        assert counterpoint.cadences(voices(*lines), 16, LOW).tolist() == [found and is_near]


def test_faults_are_added_up():
    """Two parallel fifths in a bar; a quarter of a bar that is crossed; one cluster in four beats."""
    fifths, crossing = voices([17, 19, 21, 21], [10, 12, 14, 14]), voices([20, 20, 20, 20], [10, 10, 25, 10])
    cluster = voices([31, 26, 31, 31], [28, 25, 31, 31], [24, 24, 24, 24])

    assert counterpoint.count_faults(fifths, 16, LOW)[0] == 2
    assert counterpoint.count_faults(crossing, 16, LOW)[0] == 2.5
    assert counterpoint.count_faults(cluster, 16, LOW)[0] == 0.5


def test_intervals_are_those_of_each_voice():
    """Up two, down two; rests do not break a line; the wide ones are taken together."""
    found = counterpoint.interval_histogram(voices([20, 22, -1, 20], [0, 30, 30, 30]))

    assert {int(i) - 12: int(found[i]) for i in np.flatnonzero(found)} == {2: 1, -2: 1, 12: 1, 0: 2}


def test_distance_of_histograms():
    """0 for the same shares, 1 for nothing in common, and the same both ways."""
    a, b = np.array([2, 2, 0]), np.array([5, 5, 0])

    assert counterpoint.distance(a, b) == 0
    assert counterpoint.distance(a, np.array([0, 0, 3])) == 1
    assert counterpoint.distance(a, np.array([1, 0, 1])) == counterpoint.distance(np.array([1, 0, 1]), a) > 0
    assert np.isnan(counterpoint.distance(a, np.zeros(3)))


def test_copies_are_found_in_any_key(grids: np.ndarray):
    """Two bars that are moved to another key are the same passage; with a note less they are none."""
    known = set().union(*counterpoint.list_passages(grids[:2], 16, 2))
    moved = np.roll(np.where(np.arange(48) < 40, grids[0], 0), 3, axis=2)
    moved_known = set().union(*counterpoint.list_passages(np.where(np.arange(48) < 40, grids[:1], 0), 16, 2))

    assert counterpoint.copied_share(counterpoint.list_passages(grids, 16, 2), known) == 0.5
    assert counterpoint.copied_share(counterpoint.list_passages(moved[None], 16, 2), moved_known) == 1
    assert counterpoint.list_passages(np.zeros_like(grids[:1]), 16, 2) == [set()]


def test_one_score_in_many_keys_shares_all_moves():
    """Two keys of one score move alike; with another score, only where both hold a note."""
    one, other = np.zeros((2, 1, 16, 24), dtype=np.uint8)
    for beat, (first, second) in enumerate([(3, 9), (5, 8), (5, 8), (4, 11)]):
        one[0, 4 * beat : 4 * beat + 4, first] = other[0, 4 * beat : 4 * beat + 4, second] = HELD

    assert counterpoint.shared_moves(np.stack([one, np.roll(one, 5, axis=2)]), 16).tolist() == [1, 1]
    assert counterpoint.shared_moves(np.stack([one, other]), 16).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert np.isnan(counterpoint.shared_moves(one[None], 16)).all()


def test_contours_count_the_lowest_and_the_highest_bar():
    """By the mean pitch of the highest voice; a score with a silent bar does not count."""
    grids = np.zeros((3, 2, 3 * 4, 24), dtype=np.uint8)
    for score, bars in enumerate([(5, 9, 7), (6, 4, 4), (1, 2, None)]):
        for bar, pitch in enumerate(bars):
            if pitch is not None:
                grids[score, 0, 4 * bar, pitch] = STRUCK
                grids[score, 0, 4 * bar + 2, pitch + 1] = STRUCK
        grids[score, 1, :, 0] = HELD
    grids[1, 0, 10, 5], grids[1, 0, 10, 3] = 0, STRUCK  # the third bar is a little lower than the second

    assert counterpoint.contour_histogram(grids, 4).tolist() == [1, 0, 1, 1, 1, 0]


CONFIG = MuseGANConfig(
    tracks=3, bars=2, steps=16, pitches=48, lowest=36, latent_dim=8, generator_width=4, private_width=2, critic_width=2
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return chorale_store(CONFIG, tmp_path / "store", pieces=60)


class Parrot(MuseGAN):
    """A generator that repeats given rolls."""

    rolls: torch.Tensor

    def sample(self, n: int = 16, **options: object) -> Scores:
        return Scores(tensor=self.rolls[torch.arange(n) % len(self.rolls)])


def parrot(rolls: torch.Tensor) -> Parrot:
    gan = Parrot(CONFIG)
    gan.rolls = rolls
    return gan


def test_real_scores_are_as_good_as_real_ones(store: Store):
    """A generator that repeats the test split has every statistic of real scores and no distance."""
    rows = store.samples[store.indices("test")]
    metrics = {f.name: f for f in evaluate(parrot(decode(rows)), store, EvaluateConfig(samples=len(rows)))}

    for name in ("pitch_class_entropy", "polyphony", "note_density", "voices_in_range", "crossings", "copied"):
        assert metrics[name].value == pytest.approx(metrics[name].real_vs_real, abs=1e-9), name
    for name in ("style_distance", "interval_distance", "chord_distance", "length_distance", "contour_distance"):
        assert metrics[name].value == pytest.approx(0, abs=1e-6), name
        assert metrics[name].real_vs_real > 0, name


def test_a_copyist_is_found(store: Store):
    """Training scores in another key: all copied."""
    rows = store.samples[store.indices("train")[:6]]
    metrics = {f.name: f.value for f in evaluate(parrot(decode(rows).roll(1, 3)), store, EvaluateConfig(samples=6))}

    assert metrics["copied"] == 1


def test_silence_is_evaluated_without_an_error(store: Store):
    """It has no voice in range and the largest distances."""
    metrics = {
        f.name: f.value for f in held_out(store, EvaluateConfig(samples=6))(parrot(-torch.ones(1, *CONFIG.roll)))
    }

    assert next(iter(metrics)) == "style_distance"
    assert (metrics["style_distance"], metrics["voices_in_range"], metrics["note_density"]) == (1, 0, 0)


def test_more_samples_than_held_out_scores_are_refused(store: Store):
    """Through the contract of the modality, as the command line evaluates."""
    metrics = SCORES.load_metrics()
    with pytest.raises(InvalidValueError, match="held-out scores"):
        metrics.evaluate(parrot(-torch.ones(1, *CONFIG.roll)), store, EvaluateConfig(samples=1000))
    first = metrics.held_out(store, replace(EvaluateConfig(), samples=6))(MuseGAN(CONFIG).eval())[0]
    assert first.real_vs_real is not None
