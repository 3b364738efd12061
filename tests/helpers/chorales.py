"""A small data set of scores that a GAN can learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.data import Store, build_store
from zoo.music.data.midi import add_note
from zoo.music.data.scores import ScoreConfig, Windows, fit_pitches


def progression(seed: int, *, tracks: int, bars: int, steps: int) -> np.ndarray:
    """Make a grid uint8 [tracks, T, 128] of random chords of a scale, a beat or two each, the highest voice first."""
    rng = np.random.default_rng([1, seed])
    grid = np.zeros((tracks, bars * steps, 128), dtype=np.uint8)
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    step = 0
    while step < bars * steps:
        length = int(rng.integers(1, 3)) * steps // 4
        root = int(rng.integers(7))
        for voice in range(tracks):
            degree = root + 2 * (tracks - 1 - voice)
            pitch = 48 + 12 * (degree // 7) + scale[degree % 7]
            add_note(grid[voice], int(pitch), step, min(step + length, bars * steps))
        step += length
    return grid


def chorale_store(config: ScoreConfig, folder: Path, *, pieces: int = 24) -> Store:
    """Build a store of pieces with one bar more than the model's scores, so that each has two windows."""
    grids = {
        f"piece{i}": fit_pitches(progression(i, tracks=config.tracks, bars=config.bars + 1, steps=config.steps), config)
        for i in range(pieces)
    }
    return build_store(Windows("progressions", "CC0-1.0", grids, config), folder)
