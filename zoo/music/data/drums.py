"""Drums that are computed: strokes of eight classes of instruments, in any number.

- Skins (kick, snare, tom) are modes of a round membrane, whose pitch falls after the stroke, with the noise of a beater
  or of wires.
- Sticks (rim) are a few short resonances, and bells (cowbell) some longer ones.
- Metals (hat, cymbal) are dozens of partials without a common pitch, and noise.
- Claps are some bursts of noise, and a tail.

About half of the kicks, toms, hats and cowbells are those of drum machines instead: one sine that falls, or square
waves through a filter. The frequencies of a membrane are those of an ideal one, zeros of Bessel functions. All other
numbers are choices that sound like the instrument.

A stroke depends on its class, the instrument's number, its strength and the version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

VERSION = 3
RATE = 32000
SECONDS = 1.1
STRENGTHS = (0.4, 0.7, 1.0)  # of an instrument's strokes
MEMBRANE = np.array([1, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6])  # frequencies of its modes
BELL = np.array([1, 1.48, 2.16, 2.93, 3.71, 4.62])  # of two bent plates that ring together
SQUARES = np.array([1, 1.483, 1.8, 2.546, 2.63, 3.897])  # the oscillators of a drum machine's metals


@dataclass(frozen=True)
class Stroke:
    """A stroke of an instrument: `draw` makes the instrument, `noise` what differs from stroke to stroke."""

    draw: np.random.Generator
    noise: np.random.Generator
    strength: float
    times: np.ndarray = field(default_factory=lambda: np.arange(round(SECONDS * RATE)) / RATE)

    def between(self, low: float, high: float) -> float:
        """Draw a positive number whose logarithm is uniform."""
        return float(np.exp(self.draw.uniform(np.log(low), np.log(high))))

    def decide(self, probability: float = 0.5) -> bool:
        return bool(self.draw.random() < probability)

    def ring(
        self,
        frequencies: np.ndarray,
        decays: np.ndarray | float,
        levels: np.ndarray | float = 1.0,
        *,
        glide: float = 0.0,
        glide_time: float = 0.03,
    ) -> np.ndarray:
        """Sum decaying sines; `glide` is how much higher they begin, of their frequency."""
        phase = self.times + glide * glide_time * (1 - np.exp(-self.times / glide_time))
        wave = np.zeros(len(self.times))
        for frequency, decay, level in np.broadcast(frequencies, decays, levels):
            if frequency < 0.45 * RATE:
                wave += level * np.exp(-self.times / decay) * np.sin(2 * np.pi * frequency * phase)
        return wave

    def buzz(self, frequencies: np.ndarray) -> np.ndarray:
        """Sum square waves, without what would fold back."""
        orders = [np.arange(1, int(0.45 * RATE / frequency) + 1, 2) for frequency in frequencies]
        harmonics = [frequency * some for frequency, some in zip(frequencies, orders, strict=True)]
        return self.ring(np.concatenate(harmonics), 1e9, 1 / np.concatenate(orders)) / len(frequencies)

    def hiss(self, low: float, high: float, decay: float, *, start: float = 0.0) -> np.ndarray:
        """Make noise between two frequencies that decays from `start` on, with a deviation of 1 there."""
        wave = keep_band(self.noise.normal(size=len(self.times)), low, high)
        later = self.times - start
        return wave / wave.std() * np.exp(-later.clip(0) / decay) * (later >= 0)


def keep_band(wave: np.ndarray, low: float, high: float) -> np.ndarray:
    """Keep what lies between two frequencies in Hz, by a Butterworth filter of the second order."""
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(2, (low, min(high, 0.45 * RATE)), "bandpass", fs=RATE, output="sos"), wave)


# --- instruments -------------------------------------------------------------------------------------------------


def _play_kick(stroke: Stroke) -> np.ndarray:
    pitch, decay = stroke.between(40, 75), stroke.between(0.06, 0.4)
    click = stroke.between(0.02, 0.4) * stroke.strength * stroke.hiss(1200, stroke.between(3000, 9000), 0.004)
    glide_time = stroke.between(0.008, 0.04)
    if stroke.decide():
        return stroke.ring(np.array([pitch]), decay, glide=stroke.between(0.5, 5), glide_time=glide_time) + click
    levels = 0.5 * MEMBRANE**-3.0
    levels[0] = 1
    return click + stroke.ring(pitch * MEMBRANE, decay / MEMBRANE, levels, glide=0.4, glide_time=glide_time)


def _play_snare(stroke: Stroke) -> np.ndarray:
    pitch, decay = stroke.between(150, 280), stroke.between(0.03, 0.12)
    modes = MEMBRANE[: 2 if stroke.decide() else None]
    skin = stroke.ring(pitch * modes, decay / modes**0.5, modes**-1.0, glide=0.15, glide_time=0.02)
    low, high = stroke.between(700, 2500), stroke.between(6000, 14000)
    wires = stroke.between(0.25, 1.0) * stroke.hiss(low, high, stroke.between(0.04, 0.2))
    return skin + wires + 0.5 * stroke.strength * stroke.hiss(2000, 12000, 0.004)


def _play_rim(stroke: Stroke) -> np.ndarray:
    pitch, decay = stroke.between(380, 1000), stroke.between(0.004, 0.02)
    ratios = np.array([1, stroke.draw.uniform(2.2, 3.9), stroke.draw.uniform(4, 7)])
    levels = np.array([1, stroke.between(0.4, 1.5), stroke.between(0.1, 0.6)])
    stick = stroke.ring(pitch * ratios, decay / ratios**0.3, levels)
    click = stroke.between(0.1, 0.6) * stroke.strength * stroke.hiss(1500, 9000, 0.002)
    rattle = (stroke.between(0.005, 0.06) if stroke.decide() else 0) * stroke.hiss(1500, 8000, 0.05)
    return np.tanh(stroke.between(0.5, 3) * (stick + click)) + rattle


def _play_clap(stroke: Stroke) -> np.ndarray:
    center, width = stroke.between(800, 1800), stroke.between(1.3, 2.5)
    spacing, decay, tail = stroke.between(0.007, 0.014), stroke.between(0.003, 0.008), stroke.between(0.03, 0.15)
    last, tail_level, hands = stroke.draw.integers(2, 5), stroke.between(0.3, 0.9), stroke.between(0.03, 0.5)
    starts = spacing * (np.arange(last + 1) + 0.2 * stroke.noise.uniform(-1, 1, last + 1)).clip(0)
    bursts = [stroke.hiss(center / width, center * width, decay, start=start) for start in starts]
    end = stroke.hiss(center / width, center * width, tail, start=starts[-1])
    return np.sum(bursts, axis=0) + tail_level * end + hands * stroke.hiss(2500, 10000, tail / 2, start=starts[-1])


def _play_tom(stroke: Stroke) -> np.ndarray:
    pitch, decay, glide = stroke.between(75, 260), stroke.between(0.1, 0.45), stroke.between(0.05, 0.6)
    modes = MEMBRANE[: 1 if stroke.decide(0.4) else None]
    levels = modes ** -stroke.draw.uniform(1.5, 3)
    skin = stroke.ring(pitch * modes, decay / modes, levels, glide=glide, glide_time=stroke.between(0.03, 0.1))
    return skin + stroke.between(0.02, 0.2) * stroke.strength * stroke.hiss(400, 5000, stroke.between(0.003, 0.03))


def _play_hat(stroke: Stroke) -> np.ndarray:
    decay = stroke.between(0.12, 0.4) if stroke.decide(0.4) else stroke.between(0.012, 0.06)
    low, high = stroke.between(3000, 5500), stroke.between(9000, 14000)
    if stroke.decide():
        metal = keep_band(stroke.buzz(stroke.between(160, 300) * SQUARES), low, high)
    else:
        metal = _ring_metal(stroke, 60, low / 2, decay=10.0, slope=0.0)
    metal = metal / metal.std() * np.exp(-stroke.times / decay)
    sharp = 0.7 * stroke.strength * stroke.hiss(low, high, 0.004)
    return metal + stroke.between(0.1, 1.5) * stroke.hiss(low, high, decay) + sharp


def _play_cymbal(stroke: Stroke) -> np.ndarray:
    is_ride, is_splash = stroke.decide(0.35), stroke.decide(0.3)
    decay = stroke.between(0.12, 0.3) if is_splash else stroke.between(0.4, 1.5)
    metal = _ring_metal(stroke, 240, stroke.between(250, 700), decay=decay, slope=0.3)
    wash = stroke.between(0.2, 1.0) * stroke.hiss(2000, 14000, decay * 0.6)
    bloom = 1 - stroke.between(0.2, 0.8) * np.exp(-stroke.times / 0.02)  # energy reaches the higher modes later
    crash = bloom * (metal / metal.std() / 2 + wash)
    if not is_ride:
        return crash + 0.5 * stroke.strength * stroke.hiss(1500, 12000, 0.005)
    bell = stroke.ring(stroke.between(500, 1200) * BELL, decay, BELL**-0.5)
    return 0.4 * crash + stroke.between(0.1, 0.6) * bell + stroke.strength * stroke.hiss(3000, 12000, 0.006)


def _play_cowbell(stroke: Stroke) -> np.ndarray:
    pitch, decay = stroke.between(480, 1100), stroke.between(0.04, 0.3)
    click = stroke.between(0.05, 0.4) * stroke.strength * stroke.hiss(1500, 9000, 0.003)
    if stroke.decide(0.4):
        squares = stroke.buzz(pitch * np.array([1, stroke.draw.uniform(1.42, 1.55)]))
        envelope = 0.6 * np.exp(-stroke.times / 0.012) + 0.4 * np.exp(-stroke.times / decay)
        return 2 * keep_band(squares, 0.7 * pitch, 5 * pitch) * envelope + click
    ratios = BELL * (1 + 0.04 * stroke.draw.normal(size=len(BELL)))
    levels = BELL ** -stroke.draw.uniform(0.3, 1.5)
    return stroke.ring(pitch * ratios, decay / BELL**0.5, levels) + click


def _ring_metal(stroke: Stroke, partials: int, low: float, *, decay: float, slope: float) -> np.ndarray:
    """Sum partials from `low` on without a common pitch; `slope` is how much sooner the higher ones end."""
    frequencies = low + (14000 - low) * stroke.draw.uniform(size=partials) ** 1.3
    levels = stroke.draw.exponential(size=partials) / (1 + 2500 / frequencies)
    return stroke.ring(frequencies, decay * (frequencies / low) ** -slope, levels)


INSTRUMENTS: dict[str, Callable[[Stroke], np.ndarray]] = {
    "kick": _play_kick,
    "rim": _play_rim,
    "snare": _play_snare,
    "clap": _play_clap,
    "tom": _play_tom,
    "hat": _play_hat,
    "cymbal": _play_cymbal,
    "cowbell": _play_cowbell,
}


def strike(kind: str, instrument: int, strength: float) -> np.ndarray:
    """Strike an instrument of a class of INSTRUMENTS: float32 [35200] at RATE, with a peak of 1.

    Soft strokes are duller. A third of the instruments stands in a small room, a third is driven into distortion.
    """
    from scipy.signal import butter, fftconvolve, sosfilt

    seed: Sequence[int] = (VERSION, list(INSTRUMENTS).index(kind), instrument)
    stroke = Stroke(np.random.default_rng(seed), np.random.default_rng((*seed, round(100 * strength))), strength)
    wave = INSTRUMENTS[kind](stroke)
    wave = sosfilt(butter(1, 600 + 12000 * strength**2, fs=RATE, output="sos"), wave)
    room, reflections = stroke.between(0.02, 0.12), stroke.between(0.05, 0.4)
    if stroke.decide(1 / 3):
        echo = stroke.draw.normal(size=len(wave)) * np.exp(-stroke.times / room)
        echo = fftconvolve(wave, echo)[: len(wave)]
        wave = wave + reflections * echo / np.abs(echo).max() * np.abs(wave).max()
    wave = wave / np.abs(wave).max()
    drive = stroke.between(0.5, 4)
    if stroke.decide(1 / 3):
        wave = np.tanh(drive * wave) / np.tanh(drive)
    return wave.astype(np.float32)
