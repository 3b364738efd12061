"""Statistics of scores: one value for each score, [N], NaN where a score has nothing to count.

Grids are uint8 [N, V, T, P] of SILENT, STRUCK and HELD. `lowest` is the MIDI number of the first pitch. The definitions
are muspy's (Dong et al. 2020, arXiv:2008.01951), which takes them from Wu & Yang 2020, arXiv:2008.01307, and Mogren
2016, arXiv:1611.09904. Where muspy's code differs from its definition, `muspy_compat` follows the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.music.data.midi import HELD, SILENT, STRUCK

MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=bool)
MINOR = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0], dtype=bool)
SCALES = np.stack([np.roll(scale, root) for scale in (MAJOR, MINOR) for root in range(12)])  # [24, 12]
BEATS = 4


@dataclass(frozen=True)
class Notes:
    """All notes of N scores: arrays of one length, sorted by score, voice, step and pitch."""

    score: np.ndarray
    voice: np.ndarray
    step: np.ndarray
    pitch: np.ndarray  # from the first one of the grid
    length: np.ndarray  # steps


def find_notes(grids: np.ndarray) -> Notes:
    """Find the notes of grids [N, V, T, P]. A note that is held from before the grid starts with the grid."""
    before = np.pad(grids, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    starts = (grids == STRUCK) | ((grids == HELD) & (before == SILENT))
    held = np.zeros(grids.shape[:2] + grids.shape[3:], dtype=np.int64)
    lengths = np.zeros(grids.shape, dtype=np.uint16)
    for t in reversed(range(grids.shape[2])):
        lengths[:, :, t] = held + 1
        held = np.where(grids[:, :, t] == HELD, held + 1, 0)
    score, voice, step, pitch = np.argwhere(starts).T
    return Notes(score, voice, step, pitch, lengths[starts])


def count_notes(found: Notes, values: np.ndarray, num_scores: int, num_values: int) -> np.ndarray:
    """Count the notes of each score that have each value in 0..num_values - 1: [N, num_values]."""
    flat = np.bincount(found.score * num_values + values, minlength=num_scores * num_values)
    return flat.reshape(num_scores, num_values)


def count_pitch_classes(grids: np.ndarray, lowest: int) -> np.ndarray:
    """Count the notes of each score that are a C, a C sharp and so on: [N, 12]."""
    found = find_notes(grids)
    return count_notes(found, (found.pitch + lowest) % 12, len(grids), 12)


def pitch_class_entropy(grids: np.ndarray, lowest: int) -> np.ndarray:
    """Compute the entropy of the notes' pitch classes in bits, from 0 to 3.58."""
    classes = count_pitch_classes(grids, lowest)
    totals = classes.sum(1, keepdims=True)
    shares = classes / np.maximum(totals, 1)
    entropies = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1)
    return np.where(totals[:, 0] > 0, entropies, np.nan)


def scale_consistency(grids: np.ndarray, lowest: int) -> np.ndarray:
    """Compute the largest share of notes that one of the 24 major and natural minor scales contains."""
    classes = count_pitch_classes(grids, lowest)
    totals = classes.sum(1)
    within = (classes @ SCALES.T).max(1) / np.maximum(totals, 1)
    return np.where(totals > 0, within, np.nan)


def groove_consistency(grids: np.ndarray, steps: int, *, muspy_compat: bool = False) -> np.ndarray:
    """Compare the rhythms of neighboring bars: 1 minus the share of steps where only one of two has an onset.

    Args:
        steps: steps of a bar.
        muspy_compat: as muspy 0.5, count an empty bar after a score that ends with a whole bar. Then four equal bars
            of one onset each in 16 steps have 0.98 instead of 1.
    """
    before = np.pad(grids, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    onsets = ((grids == STRUCK) | ((grids == HELD) & (before == SILENT))).any(axis=(1, 3))  # [N, T]
    sounding = (grids != SILENT).any(axis=(1, 3))
    results = []
    for onset, sound in zip(onsets, sounding, strict=True):
        end = int(np.flatnonzero(sound)[-1]) + 1 if sound.any() else 0
        num_bars = end // steps + 1 if muspy_compat else len(onset) // steps
        bars = np.pad(onset, (0, steps))[: num_bars * steps].reshape(num_bars, steps)
        results.append(1 - (bars[1:] != bars[:-1]).mean() if num_bars > 1 and end else np.nan)
    return np.array(results)


def polyphony(grids: np.ndarray) -> np.ndarray:
    """Compute the mean number of different pitches that sound together, over the steps where any does."""
    together = (grids != SILENT).any(axis=1).sum(axis=2)  # [N, T]
    steps = (together > 0).sum(1)
    return np.where(steps > 0, together.sum(1) / np.maximum(steps, 1), np.nan)


def empty_bars(grids: np.ndarray, steps: int) -> np.ndarray:
    """Compute the share of bars in which a voice is silent, over all voices."""
    num, voices, length, _ = grids.shape
    sounding = (grids != SILENT).any(axis=3).reshape(num, voices, length // steps, steps).any(axis=3)
    return 1 - sounding.mean(axis=(1, 2))


def used_pitches(grids: np.ndarray) -> np.ndarray:
    """Count the different pitches in a score."""
    return (grids != SILENT).any(axis=(1, 2)).sum(axis=1).astype(float)


def used_pitch_classes(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Compute the mean number of pitch classes in a bar of a voice, over bars where it sounds (MuseGAN's UPC)."""
    num, voices, length, _ = grids.shape
    chroma = find_pitch_classes(grids, lowest).reshape(num, voices, length // steps, steps, 12).any(axis=3)
    used = chroma.sum(axis=3)  # [N, V, bars]
    bars = (used > 0).sum(axis=(1, 2))
    return np.where(bars > 0, used.sum(axis=(1, 2)) / np.maximum(bars, 1), np.nan)


def note_density(grids: np.ndarray, steps: int) -> np.ndarray:
    """Compute the number of notes that start in a bar, over all voices."""
    starts = np.bincount(find_notes(grids).score, minlength=len(grids))
    return starts / (grids.shape[2] / steps)


def tonal_distance(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Compute the distance of the harmonies of two voices in a beat, 0 to 3, over all pairs that both sound in it.

    It is the Euclidean distance of tonal centroids, which lie on circles of fifths and thirds: Harte, Sandler & Gasser
    2006, "Detecting Harmonic Change in Musical Audio", equations 1 to 3. A pitch class counts by the number of its
    steps.
    """
    num, voices = grids.shape[:2]
    chroma = (
        find_pitch_classes(grids, lowest).reshape(num, voices, -1, steps // BEATS, 12).sum(axis=3)
    )  # [N, V, beats, 12]
    totals = chroma.sum(axis=3, keepdims=True)
    centroids = chroma / np.maximum(totals, 1) @ CENTROIDS  # [N, V, beats, 6]
    sounds = totals[..., 0] > 0
    first, second = np.triu_indices(voices, 1)
    both = np.logical_and(sounds[:, first], sounds[:, second])
    distances = np.linalg.norm(centroids[:, first] - centroids[:, second], axis=3)
    pairs = both.sum(axis=(1, 2))
    return np.where(pairs > 0, (distances * both).sum(axis=(1, 2)) / np.maximum(pairs, 1), np.nan)


_ANGLES = np.arange(12)[:, None] * np.array([7 / 6, 3 / 2, 2 / 3]) * np.pi  # of fifths, minor and major thirds
CENTROIDS = np.concatenate([np.sin(_ANGLES), np.cos(_ANGLES)], axis=1) * np.array([1, 1, 0.5] * 2)  # [12, 6]


def find_pitch_classes(grids: np.ndarray, lowest: int) -> np.ndarray:
    """Tell which pitch classes sound at each step, bool [N, V, T, 12]."""
    above_c = lowest % 12
    octaves = np.pad(np.not_equal(grids, SILENT), ((0, 0), (0, 0), (0, 0), (above_c, -(above_c + grids.shape[3]) % 12)))
    return octaves.reshape(*grids.shape[:3], -1, 12).max(axis=3)
