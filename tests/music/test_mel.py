"""Spectrograms: filters, frames and Griffin-Lim."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from zoo.errors import MissingDependencyError
from zoo.music.mel import MelConfig, invert_mel, log_mel, make_mel_filters, resample


def test_without_torchaudio_the_message_says_what_fits(monkeypatch: pytest.MonkeyPatch):
    """Where the package is missing or was built for another torch, sounds say so; the modules can be imported."""
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(MissingDependencyError, match="pip install --upgrade torch torchaudio"):
        make_mel_filters(MelConfig(mels=3), torch.device("cpu"))


def test_the_same_rate_changes_nothing():
    wave = torch.randn(2, 10)
    assert resample(wave, 8000, 8000).equal(wave)


def make_tone(rate: int, pitch: float) -> torch.Tensor:
    """A second of a tone at full scale."""
    return torch.sin(2 * torch.pi * pitch * torch.arange(rate, dtype=torch.float64) / rate).float()


@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 16000), (48000, 22050), (22254, 16000), (192000, 16000)])
def test_what_is_above_the_new_rate_does_not_fold_back(rate: int, new_rate: int):
    """A tone above the Nyquist frequency is gone by 100 dB, and one up to 0.9 of it loses less than 0.1 dB."""
    for share in (0.01, 0.5, 0.9, 1.005, 1.05, 1.3):
        made = resample(make_tone(rate, share * new_rate / 2), rate, new_rate)
        level = 10 * math.log10(2 * float(made[new_rate // 4 : -new_rate // 4].double().square().mean()))
        assert abs(level) < 0.1 if share < 1 else level < -100


def test_a_higher_rate_adds_no_tones():
    """Upwards there is the tone itself, and nothing else above -100 dB."""
    made = resample(make_tone(8000, 3600), 8000, 48000).double().numpy()[12000:36000]
    window = np.kaiser(len(made), 20)
    spectrum = np.abs(np.fft.rfft(made * window)) / (window.sum() / 2)

    assert spectrum.argmax() == 3600 // 2  # bins are 2 Hz apart
    assert spectrum[1800] == pytest.approx(1, abs=0.01)
    spectrum[1780:1821] = 0
    assert spectrum.max() < 1e-5


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(48001, 16000), (22254, 16000), (44099, 16000), (16000, 15993), (999_983, 4000)]
)
def test_any_rate_takes_bounded_memory_and_keeps_the_pitch(rate: int, new_rate: int, monkeypatch: pytest.MonkeyPatch):
    """Rates without a common divisor are taken at a ratio of small terms, off by less than 0.05 cents."""
    import scipy.signal

    asked: list[tuple[int, int, int]] = []

    def resample_poly(wave: np.ndarray, up: int, down: int, *, axis: int, window: np.ndarray) -> np.ndarray:
        asked.append((up, down, window.nbytes))
        return wave

    monkeypatch.setattr(scipy.signal, "resample_poly", resample_poly)
    resample(torch.zeros(10), rate, new_rate)

    ((up, down, size),) = asked
    assert abs(1200 * math.log2(up / down * rate / new_rate)) < 0.05
    assert size < 12e6


def test_importing_music_imports_no_torchaudio():
    """Only what resamples, or needs mel filters, imports it."""
    modules = "zoo.music.modality, zoo.music.architectures.hifigan, zoo.music.metrics.sounds"
    code = f"import sys, {modules}; sys.exit('torchaudio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mel_filters_are_made_once():
    """The same config gives the very same filters, and they are slaney's: each triangle of the same area."""
    config = MelConfig()
    filters = make_mel_filters(config, torch.device("cpu"))
    assert make_mel_filters(MelConfig(), torch.device("cpu")) is filters
    areas = filters.sum(1) * 22050 / 1024
    torch.testing.assert_close(areas[20:], torch.ones(60), rtol=0.06, atol=0)


def test_frames_are_where_they_should_be():
    """T samples give T / hop frames, and a click is seen in the frame it lies in."""
    wave = torch.zeros(1, 8192)
    wave[0, 256 * 10 + 128] = 1
    mel = log_mel(wave, MelConfig())
    assert mel.shape == (1, 80, 32)
    assert int(mel.mean(1).argmax()) == 10


def test_griffin_lim_gives_back_a_tone():
    """Without a network, from the spectrogram alone: the tone, at its place and loudness; and each time the same."""
    time = torch.arange(16384) / 22050
    wave = (0.5 * torch.sin(2 * torch.pi * 440 * time) * (time > 0.3))[None]
    mel = log_mel(wave, MelConfig())
    made = invert_mel(mel, MelConfig())

    assert torch.equal(made, invert_mel(mel, MelConfig()))
    assert float((log_mel(made, MelConfig()) - mel).abs().mean()) < 0.5
    assert float(made[0, 9000:].std() / wave[0, 9000:].std()) == pytest.approx(1, abs=0.1)
    assert float(made[0, :5000].abs().max()) < 0.05


def test_a_window_made_without_gradients_serves_a_training():
    """What `torch.inference_mode` made first is kept as an ordinary tensor."""
    config = MelConfig(fft=208, hop=52, mels=4)
    with torch.inference_mode():
        log_mel(torch.zeros(1, 520), config)

    wave = torch.randn(1, 520, requires_grad=True)
    log_mel(wave, config).sum().backward()

    assert wave.grad is not None
