"""HiFi-GAN: the sizes and losses of the paper, and sounds of any length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.hits import Hits
from torch import Tensor, nn

from zoo.data import build_store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.architectures.hifigan import (
    V2,
    V3,
    Discriminator,
    Generator,
    HiFiGAN,
    HiFiGANConfig,
    HiFiGANTrainConfig,
)
from zoo.music.data.sounds import decode
from zoo.music.discriminators import PeriodDiscriminator, feature_distance
from zoo.music.mel import log_mel
from zoo.nn.fusion import fuse_norms
from zoo.noise import Noise
from zoo.training.phases import Step, trainable

SMALL = HiFiGANConfig(
    rate=8000, high=0.0, mels=20, fft=64, hop=16, length=512, ups=(4, 4), up_kernels=(8, 8), width=16, block=2,
    kernels=(3, 5), dilations=((1, 2), (2, 6)), periods=(2, 3), period_width=2, scales=2, scale_width=16, held=3,
)  # fmt: skip


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("variant", "weights"), [({}, 13_926_017), (V2, 925_985), (V3, 1_462_273)], ids=["V1", "V2", "V3"]
)
def test_hifigan_generators_have_the_papers_sizes(variant: dict, weights: int):
    """V1, V2 and V3 have 13.92 M, 0.92 M and 1.46 M weights, as table 1 states, without weight norm."""
    plain = fuse_norms(Generator(HiFiGANConfig(**variant)))
    buffers = {name for name, _ in Generator(HiFiGANConfig(**variant)).named_buffers()}
    assert sum(v.numel() for name, v in plain.state_dict().items() if name not in buffers) == weights


def test_hifigan_discriminators_have_the_papers_sizes():
    """Five periods of 41.1 M parameters and three scales of 29.6 M."""
    with torch.device("meta"):
        network = Discriminator(HiFiGANConfig())
    assert round(count(network.periods) / 1e6, 2) == 41.11
    assert round(count(network.scales) / 1e6, 2) == 29.62


def test_period_discriminators_see_columns():
    """A score of one column depends on every p-th sample alone: columns never mix."""
    torch.manual_seed(0)
    discriminator, wave = PeriodDiscriminator(3, 2), torch.randn(1, 1, 300, requires_grad=True)
    scores = discriminator(wave)[-1]  # [1, 1, T', 3]
    scores[..., 1].sum().backward()
    reached = wave.grad[0, 0].nonzero()[:, 0] % 3
    assert set(reached.tolist()) == {1}


def test_feature_distance_is_a_sum_of_means():
    """Equation 5: by layer a mean absolute difference, summed."""
    real = [[torch.zeros(2, 3), torch.zeros(2, 1)], [torch.zeros(4)]]
    fake = [[torch.ones(2, 3), torch.full((2, 1), -2.0)], [torch.full((4,), 0.5)]]
    assert float(feature_distance(real, fake)) == 1 + 2 + 0.5


def test_hifigan_losses_are_the_papers_equations():
    """Least squares over all discriminators, twice the feature distance, 45 times the log-mel distance."""
    torch.manual_seed(0)
    gan, train = HiFiGAN(SMALL).eval(), HiFiGANTrainConfig()
    step = Step(gan, 0.3 * torch.randn(2, 1, 512), Noise(0), train_generator=True)
    discriminator_phase, generator_phase = gan.phases(train)
    with torch.no_grad():
        d, g = discriminator_phase.loss(step), generator_phase.loss(step)
        fake = gan.generator(log_mel(step.real[:, 0], SMALL.mel))
        scores = [(r[-1], f[-1]) for r, f in zip(*map(gan.discriminator.features, (step.real, fake)), strict=True)]
        adversarial = sum(((f - 1) ** 2).mean() for _, f in scores)
        features = feature_distance(gan.discriminator.features(step.real), gan.discriminator.features(fake))
        whole = replace(SMALL.mel, high=0.0)
        mel = (log_mel(fake[:, 0], whole) - log_mel(step.real[:, 0], whole)).abs().mean()

    torch.testing.assert_close(d["loss"], sum(((r - 1) ** 2).mean() + (f**2).mean() for r, f in scores))
    torch.testing.assert_close(g["loss"], adversarial + 2 * features + 45 * mel)


def test_real_features_are_computed_without_gradient():
    """In the generator's step no graph of the discriminators on real sounds is kept."""
    gan = HiFiGAN(SMALL).train().requires_grad_(False)
    step = Step(gan, 0.3 * torch.randn(2, 1, 512), Noise(0), train_generator=True)
    features, calls = gan.discriminator.features, []

    def watched(wave: Tensor) -> list[list[Tensor]]:
        calls.append((wave is step.real, torch.is_grad_enabled()))
        return features(wave)

    gan.discriminator.features = watched  # type: ignore[method-assign]
    with trainable(gan.generator):
        gan.phases(HiFiGANTrainConfig())[1].loss(step)
    assert sorted(calls) == [(False, True), (True, False)]


def test_pretraining_is_a_phase_that_ends():
    """Until `pretrain_kimg` the generator learns from spectrograms alone; then D joins, and the optimizer stays."""
    phases = HiFiGAN(SMALL).phases(HiFiGANTrainConfig(pretrain_kimg=2))
    names = [[phase.name for phase in phases if phase.is_due(0, kimg)] for kimg in (0.0, 1.9, 2.0)]
    assert names == [["Mel"], ["Mel"], ["D", "G"]]
    assert phases[0].optimizer is phases[2].optimizer
    assert [phase.name for phase in HiFiGAN(SMALL).phases(HiFiGANTrainConfig())] == ["D", "G"]


@pytest.fixture
def vocoder(tmp_path: Path) -> HiFiGAN:
    torch.manual_seed(0)
    gan = HiFiGAN(SMALL).eval()
    for name, value in gan.generator.named_parameters():
        if name.endswith("original0"):
            nn.init.ones_(value)
    gan.init_from_data(build_store(Hits(length=512, rate=8000), tmp_path / "hits"))
    return gan


def test_a_training_without_spectrograms_to_show_is_refused(tmp_path: Path):
    """Converted vocoders have none; a training saves samples of some."""
    with pytest.raises(InvalidValueError, match=r"model\.held = 0: a training shows samples"):
        HiFiGAN(replace(SMALL, held=0)).init_from_data(build_store(Hits(length=512, rate=8000), tmp_path / "hits"))


def test_vocoder_weights_have_spectrograms_of_held_out_sounds(vocoder: HiFiGAN, tmp_path: Path):
    """What is sampled without a sound given are sounds of the test split, as the vocoder has them."""
    test = build_store(Hits(length=512, rate=8000), tmp_path / "hits")
    held = log_mel(decode(test.samples[test.indices("test")])[:, 0], SMALL.mel)
    for mel in vocoder.sample(4, seed=0).latents:
        assert any(torch.allclose(mel, one) for one in held)


def test_standardized_spectrograms_have_mean_zero_and_deviation_one(tmp_path: Path):
    """Over the training split, band by band; without that, a generator sees them as they are, as the paper's."""
    store = build_store(Hits(length=512, rate=8000), tmp_path / "hits")
    seen = log_mel(decode(store.samples[store.indices("train")])[:, 0], SMALL.mel)
    for standardized in (True, False):
        gan = HiFiGAN(replace(SMALL, standardized=standardized))
        gan.init_from_data(store)
        standardized_mel = (seen - gan.generator.mean) / gan.generator.scale
        means, deviations = standardized_mel.mean((0, 2)), standardized_mel.std((0, 2))
        if standardized:
            torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-3, rtol=0)
            torch.testing.assert_close(deviations, torch.ones_like(deviations), atol=1e-3, rtol=0)
        else:
            assert torch.equal(standardized_mel, seen)


def test_vocoder_gives_back_a_file_of_any_rate_and_length(
    vocoder: HiFiGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A sound file comes back at the model's rate, as long as it was; `~` is the home of whoever asks."""
    monkeypatch.setenv("HOME", str(tmp_path))
    rate = 44100
    wave = 0.5 * np.sin(np.arange(rate) * 0.05)
    soundfile.write(tmp_path / "a.wav", wave, rate)

    samples = vocoder.sample(input="~/a.wav")

    assert samples.rate == 8000
    assert samples.tensor.shape == (1, 1, 8000)
    soundfile.write(tmp_path / "short.wav", wave[:20], rate)
    assert vocoder.sample(input=tmp_path / "short.wav").tensor.shape == (1, 1, 4)


def test_spectrograms_go_to_where_the_vocoder_is(vocoder: HiFiGAN, tmp_path: Path):
    """On a GPU, or in half precision, a sound file becomes a sound as on the CPU."""
    mel = torch.zeros(1, 20, 8)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sin(np.arange(800, dtype=np.float32)), 8000)

    assert next(iter(vocoder.to(torch.bfloat16).vocode_stream([mel]))).dtype == torch.bfloat16
    assert vocoder.sample(input=path).tensor.dtype == torch.float32
    assert vocoder.to("meta").vocode(mel).device.type == "meta"


def test_long_sounds_are_made_by_pieces(vocoder: HiFiGAN):
    """Pieces that overlap give the same wave as all at once."""
    mel: Tensor = torch.randn(1, 20, 1300)
    with torch.no_grad():
        whole = vocoder.generator(mel)
    torch.testing.assert_close(vocoder.vocode(mel), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ups", [(2, 8), (8, 2), (2, 2, 4)])
def test_pieces_overlap_by_all_that_a_frame_can_change(ups: tuple[int, ...]):
    """Whatever the strides: the further a rate is from the samples, the more frames its layers reach over."""
    torch.manual_seed(0)
    kernels = tuple(2 * up for up in ups)
    gan = HiFiGAN(replace(SMALL, ups=ups, up_kernels=kernels, block=1, kernels=(11,), dilations=((1, 5),))).eval()
    mel = torch.randn(1, 20, 90).double()
    mel.requires_grad_()
    wave = gan.double().generator(mel)
    (gradient,) = torch.autograd.grad(wave[0, 0, 45 * 16 : 46 * 16].sum(), mel)

    reached = gradient[0].abs().sum(0).nonzero().flatten()

    furthest = max(45 - int(reached[0]), int(reached[-1]) - 45)
    assert furthest <= gan.context <= furthest + 3


def test_wrong_rates_and_bands_are_errors(vocoder: HiFiGAN, tmp_path: Path):
    """A spectrogram is of one rate and number of bands."""
    with pytest.raises(InvalidValueError, match="44100 Hz, and this vocoder's spectrograms are of 8000 Hz"):
        vocoder.to_mel(torch.zeros(9000), 44100)
    with pytest.raises(InvalidValueError, match=r"\[N, 20, F\]"):
        vocoder.vocode(torch.zeros(1, 80, 5))
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 8000)
    with pytest.raises(InvalidFileError, match="silent"):
        vocoder.sample(input=tmp_path / "silent.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ups": (8, 8, 2, 4)}, "not by hop"),
        ({"up_kernels": (16, 16, 4)}, "as many up_kernels"),
        ({"up_kernels": (16, 16, 4, 3)}, "even number more"),
        ({"width": 24}, "multiple of 16"),
        ({"high": 12000.0}, "bands from"),
        ({"kernels": (3, 4, 11)}, "should be odd"),
        ({"kernels": (), "dilations": ()}, "at least one of each"),
        ({"length": 768, "fft": 2048}, "above 896"),
    ],
)
def test_sizes_that_make_no_vocoder_are_refused(change: dict, message: str):
    """Each in range, and together no network: said before anything is built."""
    with pytest.raises(InvalidValueError, match=message):
        HiFiGANConfig(**change)


def test_a_vocoder_without_discriminators_cannot_be_trained():
    """As converted ones are: they make sounds only."""
    with pytest.raises(InvalidValueError, match="training needs a discriminator"):
        HiFiGAN(replace(SMALL, periods=(), scales=0)).phases(HiFiGANTrainConfig())
