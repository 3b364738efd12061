"""Waves and spectrograms: resampling, log-mel spectrograms, and the way back by Griffin-Lim.

torchaudio does the spectrograms. It is imported at first use, because it needs the torch that it was built for. SciPy
resamples: its memory grows with a ratio's terms, and torchaudio's with their product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cache, lru_cache, wraps
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.nn.precision import use_float32
from zoo.noise import seed_torch
from zoo.recipe import within

FLOOR = 1e-5  # HiFi-GAN's: magnitudes below it count as silence


def import_torchaudio() -> ModuleType:
    """Import the package. Raises MissingDependencyError where it is missing, or does not fit the installed torch."""
    try:
        import torchaudio as package
    except (ImportError, OSError) as error:  # OSError: a CUDA build does not find its libraries
        raise MissingDependencyError(
            f"sounds need torchaudio, which cannot be imported here ({error}). Where it is installed, it was built for "
            "another torch: pip install --upgrade torch torchaudio, both from one index"
        ) from error
    return package


MOST_TERM = 20_000
"""The largest term of a ratio of rates. Its filter has 2.7 million numbers; the pitch is off by 0.05 cents at most."""
ZERO_CROSSINGS = 64  # of the filter on each side; it weighs 135 samples at the lower rate
CUTOFF = 0.9476  # of the lower rate's Nyquist frequency, where the filter has -6 dB
ATTENUATION = 110.0  # dB of the Kaiser window's design


def resample(wave: Tensor, rate: int, new_rate: int) -> Tensor:
    """Resample a wave float32 [..., T] at `rate` Hz to about [..., T * new_rate / rate] at `new_rate` Hz.

    Up to 0.9 of the lower Nyquist frequency less than 0.1 dB is lost; above it, at least 100 dB are taken away. Rates
    without a common divisor are taken at the nearest ratio of small terms, which changes the pitch by 0.05 cents at
    most.
    """
    if rate == new_rate:
        return wave
    from scipy.signal import resample_poly

    ratio = Fraction(min(rate, new_rate), max(rate, new_rate)).limit_denominator(MOST_TERM)
    terms = (ratio.numerator, ratio.denominator)
    up, down = terms if new_rate < rate else terms[::-1]
    return torch.from_numpy(resample_poly(wave.numpy(), up, down, axis=-1, window=_make_filter(max(terms))))


@lru_cache(maxsize=4)
def _make_filter(term: int) -> np.ndarray:
    """Compute a low-pass filter float32, at `term` times the lower rate of the two."""
    from scipy.signal import firwin, kaiser_beta

    length = 2 * round(ZERO_CROSSINGS / CUTOFF * term) + 1
    return firwin(length, CUTOFF / term, window=("kaiser", kaiser_beta(ATTENUATION))).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """How a wave becomes a log-mel spectrogram. The defaults are HiFi-GAN's (arXiv:2010.05646, section 3.2)."""

    rate: int = field(default=22050, metadata=within(4000, 192000))
    """Samples per second of a sound, in Hz."""
    mels: int = field(default=80, metadata=within(1, 512))
    """Bands of the spectrogram."""
    fft: int = field(default=1024, metadata=within(16, 16384))
    """Samples of a frame, which a Hann window weighs."""
    hop: int = field(default=256, metadata=within(1, 8192))
    """Samples from one frame to the next."""
    low: float = field(default=0.0, metadata=within(0))
    """Lower edge of the lowest band, in Hz."""
    high: float = field(default=8000.0, metadata=within(0))
    """Upper edge of the highest band, in Hz; 0: half of the rate."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """The formula that spaces the bands: Slaney's, or that of HTK."""
    equal_area: bool = True
    """Divide each band by its width, so that noise is as loud in all of them."""
    floor: float = field(default=FLOOR, metadata=within(1e-12, 1))
    """Magnitudes below it count as silence."""
    epsilon: float = field(default=1e-9, metadata=within(0, 1))
    """What is added to squared magnitudes before the root; some published vocoders have 0."""
    padding: Literal["same", "center"] = "same"
    """Where frames lie: `same`, T samples have T / hop frames; `center`, one more, each around a multiple of hop."""

    def __post_init__(self) -> None:
        if self.hop > self.fft:
            raise InvalidValueError(f"hop = {self.hop} should be at most fft = {self.fft}")
        if not self.low < self.top <= self.rate / 2:
            raise InvalidValueError(
                f"the bands from {self.low} to {self.top} Hz should lie within 0 and {self.rate / 2}"
            )

    @property
    def top(self) -> float:
        return self.high or self.rate / 2

    def count_frames(self, length: int) -> int:
        """Return how many frames a wave of `length` samples has, a multiple of `hop`."""
        return length // self.hop + (self.padding == "center")

    def list_differences(self, other: MelConfig) -> list[str]:
        """List what differs from the spectrograms of `other`, as `floor = 1e-07 and not 1e-05`; empty if nothing."""
        ours, theirs = (
            {**{f.name: getattr(each, f.name) for f in fields(MelConfig)}, "high": each.top} for each in (self, other)
        )
        return [f"{name} = {ours[name]} and not {theirs[name]}" for name in ours if ours[name] != theirs[name]]

    def describe(self) -> str:
        """Describe the spectrograms in one line, for cards and errors."""
        area = "of equal area" if self.equal_area else "of equal height"
        return (
            f"{self.mels} {self.mel_scale} bands {area} from {self.low:g} to {self.top:g} Hz at {self.rate} Hz, "
            f"FFT {self.fft}, hop {self.hop}, padding {self.padding}, floor {self.floor:g}, epsilon {self.epsilon:g}"
        )


def compute_magnitudes(
    wave: Tensor, fft: int, hop: int, *, padding: Literal["same", "center"] = "same", epsilon: float = 1e-9
) -> Tensor:
    """Compute magnitudes of the short-time Fourier transform: [..., T] -> [..., fft // 2 + 1, frames].

    The edges are reflected. With `same`, there are T // hop frames, and the center of frame i is that of samples
    i * hop to (i + 1) * hop. With `center`, there is one more, and the center of frame i is sample i * hop.
    """
    left, total = ((fft - hop) // 2, fft - hop) if padding == "same" else (fft // 2, fft)
    padded = F.pad(wave.reshape(-1, 1, wave.shape[-1]), (left, total - left), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, fft, hop, window=hann_window(fft, wave.device), center=False, return_complex=True)
    squares = spectrum.real.square() + spectrum.imag.square() + epsilon
    magnitude = squares.sqrt() if epsilon else spectrum.abs()  # the root has no finite gradient at 0
    return magnitude.reshape(*wave.shape[:-1], *magnitude.shape[-2:])


def log_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """Compute natural logarithms of mel magnitudes: a wave [..., T] in [-1, 1] -> [..., mels, frames].

    T samples have T // hop frames, or one more with `center`.
    """
    with use_float32(wave.device):
        magnitudes = compute_magnitudes(
            wave.float(), config.fft, config.hop, padding=config.padding, epsilon=config.epsilon
        )
        return (make_mel_filters(config, wave.device) @ magnitudes).clamp_min(config.floor).log()


def _cache_tensors(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the tensors that a function makes.

    They are ordinary ones within `torch.inference_mode`, too. While a graph is exported, where they are not, none is
    kept.
    """

    @cache
    def keep(*args: Any) -> Tensor:
        with torch.inference_mode(False):
            return make(*args)

    @wraps(make)
    def get(*args: Any) -> Tensor:
        return make(*args) if torch.compiler.is_exporting() else keep(*args)

    return get


@_cache_tensors
def make_mel_filters(config: MelConfig, device: torch.device) -> Tensor:
    """Compute triangular filters [mels, fft // 2 + 1], once for each config."""
    filters = import_torchaudio().functional.melscale_fbanks(
        config.fft // 2 + 1,
        config.low,
        config.top,
        config.mels,
        config.rate,
        norm="slaney" if config.equal_area else None,
        mel_scale=config.mel_scale,
    )
    return filters.T.contiguous().to(device)


@_cache_tensors
def hann_window(length: int, device: torch.device) -> Tensor:
    """Return the Hann window, once for each length."""
    return torch.hann_window(length, device=device)


def griffin_lim(magnitude: Tensor, fft: int, hop: int, *, iterations: int, length: int) -> Tensor:
    """Estimate waves [N, length] with these magnitudes [N, fft // 2 + 1, frames] of centered frames.

    Griffin & Lim 1984, with the momentum of Perraudin et al. 2013. The first phases have a fixed seed, so the same
    magnitudes always give the same waves. It runs on the CPU, because each device would draw other phases.
    """
    with seed_torch(0):
        waves = import_torchaudio().functional.griffinlim(
            magnitude.cpu(),
            window=hann_window(fft, torch.device("cpu")),
            n_fft=fft,
            hop_length=hop,
            win_length=fft,
            power=1.0,
            n_iter=iterations,
            momentum=0.99,
            length=length,
            rand_init=True,
        )
    return waves.to(magnitude.device)


def invert_mel(mel: Tensor, config: MelConfig, *, iterations: int = 32) -> Tensor:
    """Convert log-mel spectrograms [N, mels, F] to waves without a network: the control of a vocoder.

    The waves are [N, F * hop], or [N, (F - 1) * hop] of centered frames.

    The magnitudes are those of the filters' pseudo-inverse, cut at zero. The phases are Griffin-Lim's.
    """
    inverse = torch.linalg.pinv(make_mel_filters(config, mel.device))
    magnitude = (inverse @ mel.exp()).clamp_min(0)
    if config.padding == "center":
        length = (mel.shape[-1] - 1) * config.hop
        return griffin_lim(magnitude, config.fft, config.hop, iterations=iterations, length=length)
    # Our frames are hop / 2 later than centered ones. One more frame and a shift align them.
    padded = F.pad(magnitude, (0, 1), mode="replicate")
    length = mel.shape[-1] * config.hop
    wave = griffin_lim(padded, config.fft, config.hop, iterations=iterations, length=length)
    return F.pad(wave, (config.hop // 2, 0))[..., :length]
