"""Faults of counterpoint in chorales, and distributions that describe a style.

Grids are uint8 [N, V, T, P], the highest voice first. Of several pitches at once in a voice the highest counts, as in
muspy and to the ear.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from zoo.music.data.midi import SILENT
from zoo.music.metrics.statistics import BEATS, find_notes, find_pitch_classes

SILENCE = -1
WIDEST = 12  # semitones; wider intervals count as this
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
_DOMINANTS = ("major", "dominant seventh", "dominant seventh without fifth")
_TONICS = ("major", "minor")
OTHER, INCOMPLETE = len(QUALITIES), len(QUALITIES) + 1
_QUALITY_OF = {
    frozenset((root + interval) % 12 for interval in intervals): quality
    for quality, intervals in reversed(list(enumerate(QUALITIES.values())))
    for root in range(12)
}


def read_lines(grids: np.ndarray) -> np.ndarray:
    """Read the pitch of each voice at each step [N, V, T], SILENCE where it has none."""
    sounding = np.not_equal(grids, SILENT)
    highest = grids.shape[3] - 1 - sounding[..., ::-1].argmax(axis=3)
    return np.where(sounding.any(axis=3), highest, SILENCE)


def in_range(grids: np.ndarray, ranges: np.ndarray, steps: int) -> np.ndarray:
    """Tell for each bar, bool [N, bars], whether all voices sound, and within their `ranges`, bool [V, P]."""
    num, voices, length, pitches = grids.shape
    sounding = (grids != SILENT).reshape(num, voices, length // steps, steps, pitches).any(axis=3)
    outside = (sounding & ~ranges[None, :, None]).any(axis=3)
    return (sounding.any(axis=3) & ~outside).all(axis=1)


def crossings(grids: np.ndarray) -> np.ndarray:
    """Compute the share of steps at which some voice is below the next lower one [N]."""
    found = read_lines(grids)
    upper, lower = found[:, :-1], found[:, 1:]
    return ((upper < lower) & (upper != SILENCE)).any(axis=1).mean(axis=1)


def parallels(grids: np.ndarray, interval: int, steps: int) -> np.ndarray:
    """Count per bar how often two voices move in one direction at a fixed `interval` [N]: 7 for fifths, 0 for octaves.

    Octaves may be added to the interval, and unisons are parallel octaves. Only moves from one step to the next count.
    """
    found = read_lines(grids)
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
    """Count the intervals between successive notes of a voice in all scores [2 WIDEST + 1], -WIDEST..WIDEST semitones.

    Of notes that start together in a voice the highest counts.
    """
    found = find_notes(grids)
    order = np.lexsort((found.pitch, found.step, found.voice, found.score))
    score, voice, step, pitch = (values[order] for values in (found.score, found.voice, found.step, found.pitch))
    last = np.ones(len(score), dtype=bool)  # of notes that start together
    last[:-1] = (score[1:] != score[:-1]) | (voice[1:] != voice[:-1]) | (step[1:] != step[:-1])
    score, voice, pitch = score[last], voice[last], pitch[last].astype(int)
    same = (score[1:] == score[:-1]) & (voice[1:] == voice[:-1])
    moves = np.diff(pitch)[same].clip(-WIDEST, WIDEST)
    return np.bincount(moves + WIDEST, minlength=2 * WIDEST + 1)


def shared_moves(grids: np.ndarray, steps: int) -> np.ndarray:
    """Compute how alike each score is to another one, half of all scores further on [N].

    It is the share of the beats of all voices at which both move by the same interval from the beat before; a note that
    goes on moves by 0. It is high where a model makes one score in many keys. NaN for a single score.
    """
    if len(grids) < 2:
        return np.full(len(grids), np.nan)
    sounding = grids[:, :, :: steps // BEATS] != SILENT  # [N, V, beats, P]
    highest = np.where(sounding.any(axis=3), sounding.shape[3] - sounding[..., ::-1].argmax(axis=3), 0)
    moves = np.diff(highest, axis=2)
    return (moves == np.roll(moves, len(moves) // 2, axis=0)).mean(axis=(1, 2))


def _read_chords(grids: np.ndarray, steps: int, lowest: int) -> list[list[frozenset[int]]]:
    """Read the pitch classes that sound at each beat of each score."""
    chroma = find_pitch_classes(grids, lowest).max(axis=1)[:, :: steps // BEATS]  # [N, beats, 12]
    return [[frozenset(np.flatnonzero(beat).tolist()) for beat in score] for score in chroma]


def _find_quality(chord: frozenset[int]) -> int:
    return _QUALITY_OF.get(chord, OTHER) if len(chord) > 2 else INCOMPLETE


def quality_histogram(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Count the chords at the beats of all scores: QUALITIES, other chords, and fewer than three pitch classes."""
    found = np.zeros(len(QUALITIES) + 2, dtype=np.int64)
    for score in _read_chords(grids, steps, lowest):
        for chord in score:
            found[_find_quality(chord)] += 1
    return found


def unclassified(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Compute the share of beats whose chord has three pitch classes or more, and is none of QUALITIES [N]."""
    chords = _read_chords(grids, steps, lowest)
    return np.array([np.mean([_find_quality(chord) == OTHER for chord in score]) for score in chords])


def cadences(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Tell whether a dominant goes to its tonic at two successive beats, of which the second is in the last bar [N]."""
    last = [score[-BEATS - 1 :] for score in _read_chords(grids, steps, lowest)]
    return np.array([any(map(_is_cadence, score[:-1], score[1:])) for score in last])


def _is_cadence(before: frozenset[int], after: frozenset[int]) -> bool:
    return any((root + 7) % 12 in _list_roots(before, _DOMINANTS) for root in _list_roots(after, _TONICS))


def _list_roots(chord: frozenset[int], names: tuple[str, ...]) -> list[int]:
    """List the roots over which a chord has one of these qualities."""
    kinds = [QUALITIES[name] for name in names]
    return [root for root in range(12) if any(chord == {(root + i) % 12 for i in kind} for kind in kinds)]


def count_faults(grids: np.ndarray, steps: int, lowest: int) -> np.ndarray:
    """Add up what a teacher of counterpoint would mark [N]; the weights bring the four to about the same size.

    Parallel fifths and octaves per bar, ten times the share of steps with crossed voices, and twice the share of beats
    with an unclassified chord.
    """
    parallel = parallels(grids, 7, steps) + parallels(grids, 0, steps)
    return parallel + 10 * crossings(grids) + 2 * unclassified(grids, steps, lowest)


def length_histogram(grids: np.ndarray, steps: int) -> np.ndarray:
    """Count the lengths of the notes of all scores in steps [steps + 1]; longer than a bar counts as a bar."""
    return np.bincount(find_notes(grids).length.clip(0, steps), minlength=steps + 1)


def contour_histogram(grids: np.ndarray, steps: int) -> np.ndarray:
    """Count in which bar the highest voice is lowest, and in which it is highest, by its mean pitch: [2 bars].

    Scores with a bar in which it is silent do not count.
    """
    found = read_lines(grids)[:, 0].astype(float)
    bars = found.reshape(len(found), -1, steps)
    sounding = bars != SILENCE
    bars = np.where(sounding, bars, 0).sum(axis=2) / sounding.sum(axis=2).clip(1)
    whole = bars[sounding.any(axis=2).all(axis=1)]
    size = bars.shape[1]
    return np.concatenate([np.bincount(find(axis=1), minlength=size) for find in (whole.argmin, whole.argmax)])


def distance(counts: np.ndarray, others: np.ndarray) -> float:
    """Compute the Jensen-Shannon distance of two histograms, from 0 (equal) to 1 (disjoint); NaN where one is empty.

    It is the root of the divergence in bits (Endres & Schindelin 2003), which is a metric.
    """
    if not counts.sum() or not others.sum():
        return float("nan")
    p, q = counts / counts.sum(), others / others.sum()
    middle = (p + q) / 2

    def divergence(a: np.ndarray) -> float:
        return float((a * np.log2(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1))).sum())

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))


def list_passages(grids: np.ndarray, steps: int, bars: int) -> list[set[bytes]]:
    """List the passages of `bars` successive bars in each score, transposed so that the lowest pitch is the first.

    Silent passages are left out.
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


def copied_share(found: list[set[bytes]], known: set[bytes]) -> float:
    """Compute the share of scores with any passage that is among the `known` ones."""
    return float(np.mean([not passages.isdisjoint(known) for passages in found]))
