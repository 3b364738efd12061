"""What a teacher of counterpoint would mark in a chorale, and the distributions that make its style.

Grids are uint8 [N, V, T, P], the highest voice first. A voice that has several pitches at once is read by its highest,
as muspy and the ear do.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from zoo.music.data.midi import SILENT
from zoo.music.metrics.statistics import BEATS, chroma_of, notes

SILENCE = -1
WIDEST = 12  # semitones; wider steps of a voice count as this
QUALITIES = {  # the pitch classes of a chord over its root
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
    "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
    "dominant seventh without fifth": (0, 4, 10),
    "suspended": (0, 5, 7),
}
OTHER, INCOMPLETE = len(QUALITIES), len(QUALITIES) + 1
_QUALITY_OF = {
    frozenset((root + interval) % 12 for interval in intervals): quality
    for quality, intervals in reversed(list(enumerate(QUALITIES.values())))
    for root in range(12)
}


def lines(grids: np.ndarray) -> np.ndarray:
    """The pitch of each voice at each step [N, V, T], SILENCE where it has none."""
    sounding = np.not_equal(grids, SILENT)
    highest = grids.shape[3] - 1 - sounding[..., ::-1].argmax(axis=3)
    return np.where(sounding.any(axis=3), highest, SILENCE)


def in_range(grids: np.ndarray, ranges: np.ndarray, steps: int) -> np.ndarray:
    """bool [N, bars]: whether in a bar all voices sound, and no pitch outside of the voice's `ranges`, bool [V, P]."""
    num, voices, length, pitches = grids.shape
    sounding = (grids != SILENT).reshape(num, voices, length // steps, steps, pitches).any(axis=3)
    outside = (sounding & ~ranges[None, :, None]).any(axis=3)
    return (sounding.any(axis=3) & ~outside).all(axis=1)


def crossings(grids: np.ndarray) -> np.ndarray:
    """[N]: the share of steps at which some voice is below the next lower one."""
    found = lines(grids)
    upper, lower = found[:, :-1], found[:, 1:]
    return ((upper < lower) & (upper != SILENCE)).any(axis=1).mean(axis=1)


def parallels(grids: np.ndarray, interval: int, steps: int) -> np.ndarray:
    """[N]: how often in a bar two voices move the same way and stay `interval` apart, 7 for fifths, 0 for octaves.

    Octaves may lie between, and unisons are parallel octaves. Only moves between one step and the next count.
    """
    found = lines(grids)
    before, after = found[:, :, :-1], found[:, :, 1:]
    total = np.zeros(len(grids))
    for upper, lower in combinations(range(found.shape[1]), 2):
        up, low = (after[:, voice] - before[:, voice] for voice in (upper, lower))
        whole = (found[:, [upper, lower]] != SILENCE).all(axis=1)
        moved = (up * low > 0) & whole[:, :-1] & whole[:, 1:]
        kept = [abs(side[:, upper] - side[:, lower]) % 12 == interval for side in (before, after)]
        total += (moved & kept[0] & kept[1]).sum(axis=1)
    return total / (grids.shape[2] / steps)


def interval_histogram(grids: np.ndarray) -> np.ndarray:
    """[2 WIDEST + 1]: how many notes of all scores follow the one before in their voice by -WIDEST..WIDEST semitones.

    Of notes that begin together in a voice the highest counts.
    """
    found = notes(grids)
    order = np.lexsort((found.pitch, found.step, found.voice, found.score))
    score, voice, step, pitch = (values[order] for values in (found.score, found.voice, found.step, found.pitch))
    last = np.ones(len(score), dtype=bool)  # of those that begin together
    last[:-1] = (score[1:] != score[:-1]) | (voice[1:] != voice[:-1]) | (step[1:] != step[:-1])
    score, voice, pitch = score[last], voice[last], pitch[last].astype(int)
    same = (score[1:] == score[:-1]) & (voice[1:] == voice[:-1])
    moves = np.diff(pitch)[same].clip(-WIDEST, WIDEST)
    return np.bincount(moves + WIDEST, minlength=2 * WIDEST + 1)


def quality_histogram(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """[QUALITIES, other chords, fewer than three pitch classes]: the chords of all scores at their beats."""
    chroma = chroma_of(grids, lowest).max(axis=1)[:, :: steps // BEATS]  # [N, beats, 12]
    found = np.zeros(len(QUALITIES) + 2, dtype=np.int64)
    for chord in chroma.reshape(-1, 12):
        classes = frozenset(np.flatnonzero(chord).tolist())
        found[_QUALITY_OF.get(classes, OTHER) if len(classes) > 2 else INCOMPLETE] += 1
    return found


def length_histogram(grids: np.ndarray, steps: int) -> np.ndarray:
    """[steps + 1]: how many notes of all scores are so many steps long; longer than a bar counts as a bar."""
    return np.bincount(notes(grids).length.clip(0, steps), minlength=steps + 1)


def distance(counts: np.ndarray, others: np.ndarray) -> float:
    """The Jensen-Shannon distance of two histograms: 0 the same, 1 nothing in common; NaN where one is empty.

    The root of the divergence in bits (Endres & Schindelin 2003), which is a metric.
    """
    if not counts.sum() or not others.sum():
        return float("nan")
    p, q = counts / counts.sum(), others / others.sum()
    middle = (p + q) / 2

    def divergence(a: np.ndarray) -> float:
        return float((a * np.log2(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1))).sum())

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))


def passages(grids: np.ndarray, steps: int, bars: int) -> list[set[bytes]]:
    """The passages of `bars` neighboring bars in each score, in no key: moved so that the lowest pitch is the first.

    A passage in which nothing sounds is none.
    """
    results = []
    for grid in grids:
        found = set()
        for start in range(0, grid.shape[1] - bars * steps + 1, steps):
            passage = grid[:, start : start + bars * steps]
            sounding = np.flatnonzero((passage != SILENT).any(axis=(0, 1)))
            if len(sounding):
                found.add(np.packbits(np.roll(passage, -sounding[0], axis=2) != SILENT).tobytes())
        results.append(found)
    return results


def copied(found: list[set[bytes]], known: set[bytes]) -> float:
    """The share of scores of which any passage is among the `known` ones."""
    return float(np.mean([not passages.isdisjoint(known) for passages in found]))
