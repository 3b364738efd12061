"""WaveGAN, SpecGAN and HiFi-GAN: the papers' sizes and layers, and what each does that others do not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from helpers.hits import LABELS, Hits
from torch import Tensor, nn

from zoo.conditional import LabelledGAN
from zoo.data import About, Batches, Rows, build_store
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError
from zoo.music.architectures.hifigan import (
    V2,
    V3,
    Discriminator,
    Generator,
    HiFiGAN,
    HiFiGANConfig,
    HiFiGANTrainConfig,
    PeriodDiscriminator,
    feature_distance,
)
from zoo.music.architectures.specgan import SpecGAN, SpecGANConfig, SpecGANTrainConfig, Spectra
from zoo.music.architectures.wavegan import PhaseShuffle, PostFilter, WaveGAN, WaveGANConfig
from zoo.music.data.rendered import RenderedMusic
from zoo.music.data.sounds import decode
from zoo.music.mel import MelConfig, log_mel, mel_filters, resample, wave_from_mel
from zoo.music.sound_gan import CriticTrainConfig
from zoo.nn.fusion import fuse_norms
from zoo.noise import Noise
from zoo.training.phases import Step, trainable

SMALL = HiFiGANConfig(
    rate=8000, high=0.0, mels=20, fft=64, hop=16, length=512, ups=(4, 4), up_kernels=(8, 8), width=16, block=2,
    kernels=(3, 5), dilations=((1, 2), (2, 6)), periods=(2, 3), period_width=2, scales=2, scale_width=16, held=3,
)  # fmt: skip


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- WaveGAN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "millions"), [(64, (19.07, 17.43)), (32, (5.18, 4.36)), (16, (1.50, 1.09))])
def test_wavegan_has_the_papers_sizes(width: int, millions: tuple[float, float]):
    """Generator and critic of 16384 samples have the parameters that table 3's layers make."""
    with torch.device("meta"):
        gan = WaveGAN(WaveGANConfig(width=width))
    assert tuple(round(count(network) / 1e6, 2) for network in gan.networks.values()) == millions


@pytest.mark.parametrize("length", [16384, 32768, 65536])
def test_wavegan_makes_longer_sounds(length: int):
    """Twice and four times as long, by one more layer in each network."""
    gan = WaveGAN(WaveGANConfig(width=2, length=length)).eval()
    samples = gan.sample(2, seed=0)
    assert samples.tensor.shape == (2, 1, length)
    assert gan.discriminator(samples.tensor).shape == (2,)
    with pytest.raises(InvalidValueError, match="16384, 32768, 65536"):
        WaveGANConfig(length=20000)


def test_phase_shuffle_shifts_a_batch_by_one_step():
    """All features of a layer move by the same random step in [-2, 2], the edge mirrored; in evaluation none does."""
    torch.manual_seed(0)
    shuffle, features = PhaseShuffle(2).train(), torch.arange(24.0).reshape(2, 1, 12)

    seen = set()
    for _ in range(60):
        moved = shuffle(features)
        shift = int(moved[0, 0, 5] - features[0, 0, 5])
        seen.add(shift)
        assert torch.equal(moved[..., 2:-2], features[..., 2:-2] + shift)
        if shift == 2:
            assert moved[0, 0].tolist() == [*range(2, 12), 10, 9]
        if shift == -2:
            assert moved[0, 0].tolist() == [2, 1, *range(10)]
    assert seen == {-2, -1, 0, 1, 2}
    assert torch.equal(shuffle.eval()(features), features)


def test_post_filter_is_a_convolution():
    """By Fourier transform or by definition: the same filter, for even and odd numbers of taps."""
    torch.manual_seed(0)
    wave = torch.randn(3, 1, 1000)
    for taps in (512, 7):
        layer = PostFilter(taps)
        plain = F.conv1d(F.pad(wave, ((taps - 1) // 2, taps // 2)), layer.weight)
        torch.testing.assert_close(layer(wave), plain, rtol=0, atol=1e-5)


# --- classes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> WaveGAN:
    store = build_store(Hits(), tmp_path / "hits")
    torch.manual_seed(0)
    gan = WaveGAN(WaveGAN.config_for(WaveGANConfig(width=2), store)).eval()
    gan.load_assets(store.folder)
    return gan


def test_classes_alternate_or_one_is_asked_for(labelled: WaveGAN):
    """Without a label the classes alternate; with one all samples are asked to be of it, from the same prior."""
    mixed, same = labelled.sample(6, seed=1), labelled.sample(6, seed=1, label="high")

    assert labelled.labels == tuple(LABELS)
    assert mixed.labels == ("low", "high", "noise", "low", "high", "noise")
    assert same.labels == ("high",) * 6
    assert torch.equal(mixed.latents[:, :100], same.latents[:, :100])
    assert same.latents[:, 100:].tolist() == [[0, 1, 0]] * 6
    torch.testing.assert_close(same.tensor[[1, 4]], mixed.tensor[[1, 4]], rtol=0, atol=2e-5)
    assert not torch.allclose(same.tensor[0], mixed.tensor[0])


def test_unknown_classes_suggest(labelled: WaveGAN):
    """A misspelt class meets the nearest; a model without classes says that it has none."""
    with pytest.raises(NotFoundError, match=r'there are low, high, noise. Did you mean "noise"'):
        labelled.sample(1, label="noize")
    with pytest.raises(NotFoundError, match="without classes"):
        WaveGAN(WaveGANConfig(width=2)).sample(1, label="kick")


def test_labels_of_another_model_are_refused(labelled: WaveGAN, tmp_path: Path):
    """labels.json has to name as many classes as the model has."""
    for content, message in (
        ('["a"]', "names 1 classes"),
        ("{}", "list of names"),
        ('["a", "b\\u0000"]', "the name of a class cannot be"),
        ('["a", "../../b"]', "cannot be '../../b'"),
        ('["a", "x\\\\y"]', "the name of a class cannot be"),
        ("[", "cannot read"),
    ):
        (tmp_path / "labels.json").write_text(content)
        with pytest.raises(InvalidFileError, match=message):
            labelled.load_assets(tmp_path)


def test_labels_are_those_of_the_batch(tmp_path: Path):
    """The classes of a step belong to its real sounds, row by row; data without classes has none."""
    store = build_store(Hits(), tmp_path / "hits")
    batches = Batches(store, decode, batch=8, seed=0)
    known = {store.samples[i].tobytes(): store.labels[i] for i in range(len(store.samples))}
    for step in (0, 5):
        real = (batches.at(step, Noise(0))[:, 0] * 32768).round().to(torch.int16).numpy()
        assert batches.labels_at(step).tolist() == [known[row.tobytes()] for row in real]
    unlabelled = build_store(RenderedMusic(length=1024, pieces=1), tmp_path / "music")
    assert Batches(unlabelled, decode, batch=2, seed=0).labels_at(0) is None


def test_balanced_batches_show_each_class_as_often(tmp_path: Path):
    """However rare it is: the classes alternate, and each shows all its sounds before it shows one again."""
    waves = np.arange(20 * 8, dtype=np.int16).reshape(20, 8)
    table = np.array([(i in (4, 11, 12),) for i in range(20)], dtype=[("label", np.int16)])
    store = build_store(
        Rows(About(name="rare"), waves, (np.arange(20) > 16).astype(np.uint8), {}, table), tmp_path / "rare"
    )
    batches = Batches(store, decode, batch=6, seed=0, balanced=True)

    for step in range(4):
        assert batches.labels_at(step).tolist() == [0, 1] * 3
        assert len({tuple(row) for row in batches.at(step, Noise(0))[1::2, 0].tolist()}) == 3
    unlabelled = build_store(RenderedMusic(length=1024, pieces=1), tmp_path / "music")
    plain, balanced = (Batches(unlabelled, decode, batch=2, seed=0, balanced=state) for state in (False, True))
    assert torch.equal(plain.at(3, Noise(0)), balanced.at(3, Noise(0)))


def test_fakes_of_a_step_are_of_the_real_sounds_classes(labelled: WaveGAN):
    """The generator is asked for what the critic is shown, so that classes by themselves tell nothing apart."""
    assert isinstance(labelled, LabelledGAN)
    step = Step(labelled, torch.zeros(3, 1, 16384), Noise(0), train_generator=False, labels=torch.tensor([2, 0, 2]))
    assert step.latents()[:, 100:].argmax(1).tolist() == [2, 0, 2]


def test_critics_score_a_sound_by_its_class(labelled: WaveGAN):
    """The class of a sound changes its score, by a projection of its features."""
    waves = torch.randn(2, 1, 16384)
    with torch.no_grad():
        scores = [labelled.discriminator(waves, torch.tensor([label] * 2)) for label in range(3)]
        plain = labelled.discriminator(waves)
        features = labelled.discriminator.main(waves).flatten(1)
        direction = labelled.discriminator.score.direction.weight[1]
    torch.testing.assert_close(scores[1], plain + features @ direction)
    assert not torch.allclose(scores[0], scores[1])


# --- SpecGAN -----------------------------------------------------------------------------------------------------


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


# --- HiFi-GAN ----------------------------------------------------------------------------------------------------


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
    filters = mel_filters(config, torch.device("cpu"))
    assert mel_filters(MelConfig(), torch.device("cpu")) is filters
    areas = filters.sum(1) * 22050 / 1024
    torch.testing.assert_close(areas[20:], torch.ones(60), rtol=0.06, atol=0)


def test_frames_stand_where_they_should():
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
    made = wave_from_mel(mel, MelConfig())

    assert torch.equal(made, wave_from_mel(mel, MelConfig()))
    assert float((log_mel(made, MelConfig()) - mel).abs().mean()) < 0.5
    assert float(made[0, 9000:].std() / wave[0, 9000:].std()) == pytest.approx(1, abs=0.1)
    assert float(made[0, :5000].abs().max()) < 0.05


@pytest.fixture
def vocoder(tmp_path: Path) -> HiFiGAN:
    torch.manual_seed(0)
    gan = HiFiGAN(SMALL).eval()
    for name, value in gan.generator.named_parameters():
        if name.endswith("original0"):
            nn.init.ones_(value)
    gan.init_from_data(build_store(Hits(length=512, rate=8000), tmp_path / "hits"))
    return gan


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


def test_long_sounds_are_made_by_pieces(vocoder: HiFiGAN):
    """Pieces that overlap give the same wave as all at once."""
    mel: Tensor = torch.randn(1, 20, 1300)
    with torch.no_grad():
        whole = vocoder.generator(mel)
    torch.testing.assert_close(vocoder.vocode(mel), whole, rtol=0, atol=1e-5)


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


@pytest.mark.parametrize("train", [CriticTrainConfig, SpecGANTrainConfig])
def test_policies_for_pictures_are_refused_for_sounds(train: type[CriticTrainConfig]):
    with pytest.raises(InvalidValueError, match=r"train\.augment: the training of .* does not use it"):
        train(augment=("cutout",))
