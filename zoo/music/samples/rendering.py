"""A small additive synthesizer: a score becomes sound without any soundfont or system package.

Each note is a sum of harmonics with a soft attack and release; higher harmonics are weaker and fade sooner. It sounds
like a small organ with a little of a piano. The same score gives the same sound.
"""

from __future__ import annotations

import io
import math
import wave

import numpy as np
import torch
from torch import Tensor

from zoo.music.data.midi import list_notes

RATE = 22_050  # Hz
PEAK = 0.9
HARMONICS = 10
ATTACK, RELEASE = 0.02, 0.12  # seconds


def render(grid: np.ndarray, *, steps: int, lowest: int, bpm: float) -> np.ndarray:
    """Render a grid [V, T, P] as float32 [samples] at RATE, with the loudest sample at PEAK; silence is all zeros.

    Each voice has its own timbre: lower ones are richer in harmonics.
    """
    step = 4 * 60 / bpm / steps  # seconds
    sounds = torch.zeros(math.ceil((grid.shape[1] * step + RELEASE) * RATE))
    rendered: dict[tuple[int, int, int], Tensor] = {}
    for voice, track in enumerate(grid):
        for start, length, pitch in list_notes(track):
            if (voice, length, pitch) not in rendered:
                rendered[voice, length, pitch] = render_note(
                    pitch + lowest, length * step, brightness=voice / len(grid)
                )
            first = round(start * step * RATE)
            sound = rendered[voice, length, pitch][: len(sounds) - first]
            sounds[first : first + len(sound)] += sound
    loudest = sounds.abs().max()
    return (sounds * (PEAK / loudest) if loudest > 0 else sounds).numpy()


def render_note(pitch: int, seconds: float, *, brightness: float) -> Tensor:
    """Render one note of MIDI number `pitch` as float32 [samples] at RATE; `brightness` is from 0 to 1."""
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
    """Convert float [samples] in [-1, 1] to int16."""
    return np.round(sound.clip(-1, 1) * 32767).astype("<i2")


def encode_wav(sound: np.ndarray) -> bytes:
    """Encode float [samples] in [-1, 1] as a WAV file of 16-bit mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(to_pcm(sound).tobytes())
    return buffer.getvalue()
