"""Spectrograms: filters, frames and Griffin-Lim."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from zoo.errors import MissingDependencyError
from zoo.music.mel import MelConfig, invert_mel, log_mel, make_mel_filters, resample


def test_without_torchaudio_the_message_says_what_fits(monkeypatch: pytest.MonkeyPatch):
    """Where the package is missing or was built for another torch, sounds say so; the modules can be imported."""
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(MissingDependencyError, match="pip install --upgrade torch torchaudio"):
        resample(torch.zeros(10), 8000, 16000)
    assert torch.equal(resample(torch.zeros(10), 8000, 8000), torch.zeros(10))


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
