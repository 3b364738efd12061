"""Waves and what is seen of them: resampling, log-mel spectrograms, and the way back by Griffin-Lim.

All of it is torchaudio's. The package is imported at first use only, because it needs a torch of its own build.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import InvalidValueError, MissingDependencyError
from zoo.recipe import within

FLOOR = 1e-5  # magnitudes below it are silence to a log-mel spectrogram


def torchaudio() -> ModuleType:
    """The package. Raises MissingDependencyError where it is not there, or does not fit the torch beside it."""
    try:
        import torchaudio as package
    except (ImportError, OSError) as error:  # the latter where it looks for the libraries of a CUDA build
        raise MissingDependencyError(
            f"sounds need torchaudio, which cannot be imported here ({error}). Where it is installed, it was built for "
            "another torch: pip install --upgrade torch torchaudio, both from one index"
        ) from error
    return package


def resampled(wave: Tensor, rate: int, new_rate: int) -> Tensor:
    """A wave [..., T] at `rate` Hz -> [..., T'] at `new_rate` Hz."""
    return torchaudio().functional.resample(wave, rate, new_rate) if rate != new_rate else wave


@dataclass(frozen=True, kw_only=True)
class MelConfig:
    """How a wave becomes a log-mel spectrogram. The defaults are HiFi-GAN's (arXiv:2010.05646, section 3.2)."""

    rate: int = field(default=22050, metadata=within(4000, 192000))
    """Hz."""
    mels: int = field(default=80, metadata=within(1, 512))
    fft: int = field(default=1024, metadata=within(16, 16384))
    """Samples of a frame, under a Hann window."""
    hop: int = field(default=256, metadata=within(1, 8192))
    """Samples from one frame to the next."""
    low: float = field(default=0.0, metadata=within(0))
    """Hz of the lowest band's edge."""
    high: float = field(default=8000.0, metadata=within(0))
    """Hz of the highest band's edge; 0: half of the rate."""

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


def magnitudes(wave: Tensor, fft: int, hop: int) -> Tensor:
    """A wave [..., T] -> the magnitudes of its short-time Fourier transform [..., fft // 2 + 1, T // hop].

    The edges are reflected, so that frame i stands in the middle of samples i * hop to (i + 1) * hop.
    """
    padding = (fft - hop) // 2
    edged = F.pad(wave.reshape(-1, 1, wave.shape[-1]), (padding, fft - hop - padding), mode="reflect")[:, 0]
    spectrum = torch.stft(edged, fft, hop, window=hann_window(fft, wave.device), center=False, return_complex=True)
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()  # the root has no gradient at 0
    return magnitude.reshape(*wave.shape[:-1], *magnitude.shape[-2:])


def log_mel(wave: Tensor, config: MelConfig) -> Tensor:
    """A wave [..., T] in [-1, 1] -> natural logarithms of mel magnitudes [..., mels, T // hop]."""
    mel = mel_filters(config, wave.device) @ magnitudes(wave, config.fft, config.hop)
    return mel.clamp_min(FLOOR).log()


@cache
def mel_filters(config: MelConfig, device: torch.device) -> Tensor:
    """Slaney's triangles of equal area [mels, fft // 2 + 1], made once for each config."""
    filters = torchaudio().functional.melscale_fbanks(
        config.fft // 2 + 1, config.low, config.top, config.mels, config.rate, norm="slaney", mel_scale="slaney"
    )
    return filters.T.contiguous().to(device)


@cache
def hann_window(length: int, device: torch.device) -> Tensor:
    return torch.hann_window(length, device=device)


def griffin_lim(magnitude: Tensor, fft: int, hop: int, *, iterations: int, length: int) -> Tensor:
    """Waves [N, length] whose magnitudes come near [N, fft // 2 + 1, frames] of centerd frames.

    Griffin & Lim 1984, with the momentum of Perraudin et al. 2013. The first phases are drawn from a seed of its own,
    so the same magnitudes always give the same waves.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchaudio().functional.griffinlim(
            magnitude,
            window=hann_window(fft, magnitude.device),
            n_fft=fft,
            hop_length=hop,
            win_length=fft,
            power=1.0,
            n_iter=iterations,
            momentum=0.99,
            length=length,
            rand_init=True,
        )


def wave_from_mel(mel: Tensor, config: MelConfig, *, iterations: int = 32) -> Tensor:
    """Log-mel spectrograms [N, mels, F] -> waves [N, F * hop] without a network: a vocoder's control.

    Magnitudes by the pseudo-inverse of the filters, cut at zero; phases by Griffin-Lim.
    """
    inverse = torch.linalg.pinv(mel_filters(config, mel.device))
    magnitude = (inverse @ mel.exp()).clamp_min(0)
    # Our frames stand hop / 2 later than centerd ones; a frame more and the shift bring them under one another.
    padded = F.pad(magnitude, (0, 1), mode="replicate")
    length = mel.shape[-1] * config.hop
    wave = griffin_lim(padded, config.fft, config.hop, iterations=iterations, length=length)
    return F.pad(wave, (config.hop // 2, 0))[..., :length]
