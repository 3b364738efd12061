"""Computed drums: strokes are functions of their numbers, and each class has what its name promises."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.music.data.drums import INSTRUMENTS, RATE, SECONDS, strike

NUMBERS = range(6)


def measure_centroid(wave: np.ndarray) -> float:
    """Measure the mean frequency in Hz, weighted by magnitude."""
    spectrum = np.abs(np.fft.rfft(wave))
    return float((spectrum * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / spectrum.sum())


def measure_length(wave: np.ndarray) -> float:
    """Measure the seconds until 95% of the energy have sounded."""
    energy = np.cumsum(wave.astype(np.float64) ** 2)
    return float(np.searchsorted(energy, 0.95 * energy[-1]) / RATE)


@pytest.mark.parametrize("kind", INSTRUMENTS)
def test_strokes_are_sounds_of_one_length(kind: str):
    """Finite, with a peak of 1, and at once: the loudest moment is not late."""
    for number in NUMBERS:
        wave = strike(kind, number, 1.0)
        assert wave.dtype == np.float32
        assert wave.shape == (round(SECONDS * RATE),)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() == pytest.approx(1, abs=1e-4)
        assert np.abs(wave).argmax() < 0.2 * RATE


def test_a_stroke_depends_on_its_numbers_alone():
    """The same numbers give the same wave; another instrument, class or strength another."""
    first = strike("tom", 3, 0.7)
    assert np.array_equal(first, strike("tom", 3, 0.7))
    for other in (strike("tom", 4, 0.7), strike("kick", 3, 0.7), strike("tom", 3, 1.0)):
        assert not np.allclose(first, other, atol=0.01)


def test_classes_differ_in_brightness_and_length():
    """Kicks are dull and hats bright; rims are short and cymbals long."""
    waves = {kind: [strike(kind, number, 1.0) for number in NUMBERS] for kind in INSTRUMENTS}
    brightness = {kind: np.median([measure_centroid(wave) for wave in some]) for kind, some in waves.items()}
    length = {kind: np.median([measure_length(wave) for wave in some]) for kind, some in waves.items()}

    assert brightness["kick"] < brightness["tom"] < brightness["snare"] < brightness["hat"]
    assert length["rim"] == min(length.values())
    assert length["cymbal"] == max(length.values())


def test_soft_strokes_are_duller():
    """Of most instruments; a computed drum is struck, not turned down."""
    duller = [
        measure_centroid(strike(kind, number, 0.4)) < measure_centroid(strike(kind, number, 1.0))
        for kind in INSTRUMENTS
        for number in NUMBERS
    ]
    assert np.mean(duller) > 0.9


def test_a_clap_has_bursts():
    """The envelope of the first clap of two hands rises more than once."""
    wave = strike("clap", 0, 1.0)[: round(0.08 * RATE)]
    envelope = np.abs(wave[: len(wave) // 64 * 64]).reshape(-1, 64).max(axis=1)
    rises = (envelope[1:] > 1.5 * envelope[:-1]) & (envelope[1:] > 0.2)
    assert rises.sum() >= 2
