"""A small additive synthesizer: a score becomes sound without any soundfont or system package.

Every note is a sum of harmonics, of which the higher ones are weaker and die sooner, under a soft attack and release:
a small organ with a little of a piano. The same score gives the same sound.
"""

from __future__ import annotations

import io
import math
import wave

import numpy as np
import torch
from torch import Tensor

from zoo.music.data.midi import notes_of

RATE = 22_050  # Hz
PEAK = 0.9
HARMONICS = 10
ATTACK, RELEASE = 0.02, 0.12  # seconds


def render(grid: np.ndarray, *, steps: int, lowest: int, bpm: float) -> np.ndarray:
    """float32 [samples] at RATE of a grid [V, T, P], its loudest sample at PEAK; all zeros where nothing sounds.

    Each voice has a color of its own: the lower ones are richer in harmonics.
    """
    step = 4 * 60 / bpm / steps  # seconds
    sounds = torch.zeros(math.ceil((grid.shape[1] * step + RELEASE) * RATE))
    made: dict[tuple[int, int, int], Tensor] = {}
    for voice, track in enumerate(grid):
        for start, length, pitch in notes_of(track):
            if (voice, length, pitch) not in made:
                made[voice, length, pitch] = note(pitch + lowest, length * step, brightness=voice / len(grid))
            first = round(start * step * RATE)
            sound = made[voice, length, pitch][: len(sounds) - first]
            sounds[first : first + len(sound)] += sound
    loudest = sounds.abs().max()
    return (sounds * (PEAK / loudest) if loudest > 0 else sounds).numpy()


def note(pitch: int, seconds: float, *, brightness: float) -> Tensor:
    """float32 [samples] at RATE of one note of MIDI number `pitch`; `brightness` from 0 to 1."""
    times = torch.arange(round((seconds + RELEASE) * RATE), dtype=torch.float64) / RATE
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    harmonics = torch.arange(1, HARMONICS + 1, dtype=torch.float64)
    harmonics = harmonics[harmonics * frequency < RATE / 2][:, None]
    strengths = harmonics ** -(2.2 - brightness)
    fading = torch.exp(-0.35 * harmonics * times)
    sound = (strengths * fading * torch.sin(2 * torch.pi * frequency * harmonics * times)).sum(0)
    attack = (times / ATTACK).clamp(max=1)
    release = ((seconds + RELEASE - times) / RELEASE).clamp(0, 1)
    return (sound * attack * release**2).float()


def to_pcm(sound: np.ndarray) -> np.ndarray:
    """float [samples] in [-1, 1] -> int16."""
    return np.round(sound.clip(-1, 1) * 32767).astype("<i2")


def wav_bytes(sound: np.ndarray) -> bytes:
    """float [samples] in [-1, 1] as a WAV file of 16-bit mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(to_pcm(sound).tobytes())
    return buffer.getvalue()
