"""How sounds are evaluated: scores whose right values are known, and metrics beside those of real sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hits import Hits
from torch import Tensor

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError, NotFoundError
from zoo.music.architectures.hifigan import HiFiGAN, HiFiGANConfig
from zoo.music.architectures.wavegan import WaveGAN, WaveGANConfig
from zoo.music.data.sounds import decode
from zoo.music.metrics import sounds as module
from zoo.music.metrics.evaluator import Evaluator
from zoo.music.metrics.sounds import evaluate, held_out, inception_score, read_held_out_sounds, stft_distance
from zoo.recipe import EvaluateConfig

VOCODER = HiFiGANConfig(
    rate=8000, high=0.0, mels=20, fft=256, hop=64, length=4096, ups=(8, 8), up_kernels=(16, 16), width=8, block=2,
    kernels=(3,), dilations=((1, 2),), periods=(2,), period_width=1, scales=0, held=2,
)  # fmt: skip
SETTINGS = EvaluateConfig(samples=20, features="zoo:music-evaluator-drum-hits")


def test_inception_score_is_one_of_sameness_and_k_of_certainty():
    """1 where all samples look alike or no class is certain; the number of classes where all are sure and frequent."""
    assert inception_score(torch.full((8, 4), 0.25)) == pytest.approx(1)
    assert inception_score(torch.eye(4)[[1] * 8]) == pytest.approx(1)
    assert inception_score(torch.eye(4).repeat(2, 1)) == pytest.approx(4)


def test_stft_distance_of_a_sound_to_itself_is_zero():
    """And of half the loudness: a convergence of one half, and log 2 in every bin that is not silent."""
    wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    assert stft_distance(wave, wave) == (0, 0)
    convergence, magnitude = stft_distance(wave / 2, wave)
    assert convergence == pytest.approx(0.5, abs=1e-4)
    assert magnitude == pytest.approx(np.log(2), abs=1e-3)
    assert stft_distance(wave[:, :100] / 2, wave[:, :100])[0] == pytest.approx(0.5, abs=1e-3)


class Echo(WaveGAN):
    """A perfect generator: it repeats the held-out sounds of the class that is asked for."""

    sounds: Tensor

    def _generate(self, latents: Tensor, batch_size: int, progress: object, **options: object) -> Tensor:
        return torch.stack([self.sounds[i % 4, label] for i, label in enumerate(latents[:, 100:].argmax(1))])


def test_a_perfect_generator_is_as_good_as_real_sounds_and_has_all_classes(
    hits: Store, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    """Every metric has its value for real sounds; a generator that repeats real sounds is recognized as asked."""
    monkeypatch.setattr(module, "load_evaluator", lambda: evaluator)
    gan = Echo(WaveGANConfig(width=2, labels=3)).eval()
    gan.load_assets(hits.folder)
    rows = hits.indices("test")
    by_class = [decode(hits.samples[rows[hits.labels[rows] == label][:4]]) for label in range(3)]
    gan.sounds = torch.stack(by_class, dim=1)  # [4, 3, 1, T]

    metrics = {metric.name: metric for metric in evaluate(gan, hits, SETTINGS)}
    held_out_names = [metric.name for metric in held_out(hits, SETTINGS)(gan)]

    assert metrics["class_accuracy"].value > 0.9
    assert metrics["class_accuracy"].real_vs_real > 0.9
    assert metrics["frechet_distance"].value < 20 * metrics["frechet_distance"].real_vs_real
    assert 2 < metrics["inception_score"].value <= 3
    assert all(metric.real_vs_real is not None for metric in metrics.values())
    assert held_out_names[0] == "frechet_distance"
    untrained = WaveGAN(WaveGANConfig(width=2, labels=3)).eval()
    untrained.load_assets(hits.folder)
    worse = {metric.name: metric.value for metric in evaluate(untrained, hits, SETTINGS)}
    assert worse["frechet_distance"] > 3 * metrics["frechet_distance"].value
    assert worse["class_accuracy"] < 0.7


def test_more_samples_than_held_out_sounds_are_refused(
    hits: Store, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
):
    """And so are features that are not of sounds."""
    monkeypatch.setattr(module, "load_evaluator", lambda: evaluator)
    gan = WaveGAN(WaveGANConfig(width=2, labels=3)).eval()
    with pytest.raises(InvalidValueError, match="held-out sounds"):
        evaluate(gan, hits, EvaluateConfig(samples=50, features=SETTINGS.features))
    with pytest.raises(NotFoundError, match="music-evaluator-drum-hits"):
        evaluate(gan, hits, EvaluateConfig(samples=10, features="zoo:faces-evaluator"))


def test_held_out_sounds_are_whole(tmp_path: Path):
    """Rows of one sound are put together again, in their order; no more sounds than asked for, and at least one."""
    store = build_store(Hits(length=4096, rate=8000), tmp_path / "hits")
    sounds = read_held_out_sounds(store, 5)
    rows = store.indices("test")
    assert [len(sound) for sound in sounds] == [2 * 4096] * 3
    assert torch.equal(sounds[1], decode(store.samples[rows[2:4]]).flatten())


def test_vocoders_are_compared_with_griffin_lim(tmp_path: Path):
    """Each error of a vocoder and of Griffin-Lim from the same spectrograms; an untrained one is far worse."""
    store = build_store(Hits(length=4096, rate=8000), tmp_path / "hits")
    torch.manual_seed(0)
    gan = HiFiGAN(VOCODER).eval()
    metrics = {metric.name: metric for metric in evaluate(gan, store, EvaluateConfig(samples=6))}

    names = ("log_mel_error", "log_mel_error_all_frequencies", "stft_distance", "spectral_convergence")
    assert set(metrics) == {*names, *(f"griffin_lim_{name}" for name in names)}
    assert all(metrics[name].value > metrics[f"griffin_lim_{name}"].value for name in names)
    assert all(metric.real_vs_real == 0 and metric.better == "lower" for metric in metrics.values())
    assert held_out(store, EvaluateConfig(samples=6))(gan)[0].name == "log_mel_error"
