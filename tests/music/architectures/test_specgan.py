"""SpecGAN: the sizes of the paper, and spectrograms as pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.hits import Hits
from torch import nn

from zoo.data import build_store
from zoo.errors import InvalidValueError
from zoo.music.architectures.specgan import SpecGAN, SpecGANConfig, Spectra
from zoo.music.data.sounds import decode


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_specgan_has_the_papers_sizes():
    """Table 5's layers make as many parameters as WaveGAN's, but for the filter."""
    with torch.device("meta"):
        gan = SpecGAN(SpecGANConfig())
    assert tuple(map(count, gan.networks.values())) == (19_065_345, 17_427_969)
    with pytest.raises(InvalidValueError, match="16384"):
        SpecGANConfig(length=32768)


def test_spectra_are_standardized_and_come_back(tmp_path: Path):
    """Each frequency has a mean of 0 and a third of a spread; Griffin-Lim gives back what a picture shows."""
    waves = decode(build_store(Hits(count=24), tmp_path / "hits").samples)
    spectra = Spectra()
    spectra.fit(waves)
    pictures = spectra.to_picture(waves)

    assert pictures.shape == (24, 1, 128, 128)
    assert float(pictures.mean()) == pytest.approx(0, abs=0.02)
    assert float(pictures.std()) == pytest.approx(1 / 3, abs=0.03)
    magnitudes = spectra.to_magnitudes(pictures)
    window = torch.hann_window(256)
    real = torch.stft(waves[:, 0], 256, 128, window=window, return_complex=True).abs()
    within = (pictures.abs() < 1).all(dim=(1, 2, 3))
    assert within.any()
    torch.testing.assert_close(magnitudes[within][:, :128, :128], real[within][:, :128, :128], rtol=1e-3, atol=1e-4)
