"""Vocos: the published numbers, exact streaming, codes, and the losses of the paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.hits import Hits
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.data import build_store
from zoo.errors import InvalidValueError
from zoo.music.architectures.hifigan import HiFiGANConfig
from zoo.music.architectures.vocos import (
    BOOKS,
    ConvolutionalInverseSTFT,
    InverseSTFT,
    Vocos,
    VocosConfig,
    VocosTrainConfig,
)
from zoo.music.discriminators import ResolutionDiscriminator, compute_spectrum, feature_distance
from zoo.music.mel import MelConfig, log_mel
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.releases.card import format_card
from zoo.training.phases import Step

GOLDEN = Path(__file__).parents[2] / "golden" / "vocos"
SMALL = VocosConfig(
    rate=8000, mels=20, fft=64, hop=16, length=512, width=16, inner_width=32, layers=2, periods=(2, 3), period_width=1,
    resolutions=(64,), resolution_width=2, held=3,
)  # fmt: skip
CODES = VocosConfig(
    mels=8, fft=80, hop=20, padding="same", length=400, width=16, inner_width=32, layers=2, codebooks=16, held=0,
    periods=(), resolutions=(),
)  # fmt: skip


def make_vocoder(config: VocosConfig = SMALL) -> Vocos:
    torch.manual_seed(0)
    gan = Vocos(config).eval()
    with torch.no_grad():  # far from the start, where blocks do next to nothing
        for parameter in gan.generator.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return gan


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("padding", ["center", "same"])
def test_the_published_numbers_come_out(padding: str):
    """Of the published code's weights and spectrograms, its waves to 1e-6, for both paddings."""
    about, made = (json.loads((GOLDEN / "config.json").read_text()), load_file(GOLDEN / "io.safetensors"))
    state = load_file(GOLDEN / "generator.safetensors")
    backbone, head = about["backbone"], about["head"]
    gan = Vocos(
        VocosConfig(
            mels=backbone["input_channels"], width=backbone["dim"], inner_width=backbone["intermediate_dim"],
            layers=backbone["num_layers"], fft=head["n_fft"], hop=head["hop_length"], padding=padding, held=0,
            periods=(), resolutions=(),
        )
    ).eval()  # fmt: skip
    window = state.pop("head.istft.window")
    missing, unexpected = gan.generator.load_state_dict(state, strict=False)

    assert (set(missing), unexpected) == ({"held", "mean", "scale"}, [])
    assert torch.equal(window, torch.hann_window(64))
    torch.testing.assert_close(gan.vocode(made["mel"])[:, 0], made[f"wave_{padding}"], rtol=0, atol=1e-6)


def test_vocos_has_the_published_sizes():
    """13.5 M parameters of 24 kHz and 8.0 M of codes; discriminators of 41.1 M and 1.4 M."""
    codes = {"mels": 128, "width": 384, "inner_width": 1152, "fft": 1280, "hop": 320, "codebooks": 16, "held": 0}
    with torch.device("meta"):
        mel, coded = Vocos(VocosConfig()), Vocos(VocosConfig(**codes, length=16640, padding="same"))
    assert count(mel.generator) + 1024 + 513 * 100 + 1024 == 13_584_998  # the published file, with its constants
    assert count(coded.generator) == 7_984_258
    assert round(count(mel.discriminator.periods) / 1e6, 1) == 41.1
    assert count(mel.discriminator.resolutions) == 1_413_990


@pytest.mark.parametrize("padding", ["center", "same"])
@pytest.mark.parametrize(("fft", "hop"), [(64, 16), (80, 20), (64, 32), (48, 10)])
def test_the_inverse_transform_gives_a_wave_back(padding: str, fft: int, hop: int):
    """Of the spectrum of a wave, the wave; by convolutions, too; where torch has the same transform, its numbers."""
    wave = torch.randn(2, 40 * hop, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(fft)
    left = fft // 2 if padding == "center" else (fft - hop) // 2
    right = left if padding == "center" else fft - hop - left
    padded = torch.nn.functional.pad(wave[:, None], (left, right), mode="reflect")[:, 0]
    spectrum = torch.stft(padded, fft, hop, window=window, center=False, return_complex=True)

    again = InverseSTFT(fft, hop, padding)(spectrum.real, spectrum.imag)

    torch.testing.assert_close(again, wave, rtol=0, atol=1e-4)
    convolved = ConvolutionalInverseSTFT(fft, hop, padding)(spectrum.real, spectrum.imag)
    torch.testing.assert_close(convolved, again, rtol=0, atol=1e-5)
    if padding == "center":
        torch.testing.assert_close(again, torch.istft(spectrum, fft, hop, window=window), rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", ["center", "same"])
@pytest.mark.parametrize("sizes", [(1,) * 60, (7, 1, 40, 3, 29), (200,)], ids=["frame by frame", "parts", "whole"])
def test_a_stream_is_the_whole(padding: str, sizes: tuple[int, ...]):
    """Parts of any lengths give the wave of the whole spectrogram to 1e-6, and as long."""
    gan = make_vocoder(replace(SMALL, padding=padding))
    mel = torch.randn(2, 20, sum(sizes), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = gan.generator(mel)

    parts = list(gan.vocode_stream(mel.split(sizes, dim=-1)))

    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(gan.vocode(mel), whole, rtol=0, atol=1e-6)
    if len(sizes) == 60:
        assert len(parts) == 60 - gan.context + 1  # a sample comes as soon as it is certain
    assert list(gan.vocode_stream([])) == []


def test_the_field_of_the_published_sizes_is_27_frames():
    """A frame of features depends on 27 frames on either side and on no more; four more overlap in the wave."""
    sizes = {"mels": 2, "width": 8, "inner_width": 8, "held": 0}
    gan = make_vocoder(VocosConfig(**sizes, periods=(), resolutions=())).double()
    mel = torch.randn(1, 2, 101, dtype=torch.float64, requires_grad=True)
    gan.generator.backbone(mel)[0, 50, 0].backward()
    reached = mel.grad[0].abs().sum(0).nonzero()[:, 0]
    assert (int(reached[0]), int(reached[-1])) == (50 - 27, 50 + 27)
    assert gan.context == 27 + 4


def test_long_sounds_are_made_by_pieces():
    """Pieces that overlap give the same wave as all at once."""
    gan, mel = make_vocoder(), torch.randn(1, 20, 1100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(gan.vocode(mel), gan.generator(mel), rtol=0, atol=1e-6)


def test_the_defaults_are_the_spectrograms_of_torchaudio():
    """HTK's bands, no norm, centered frames, no number below the root, and a floor of 1e-7: as the paper's code."""
    import torchaudio

    wave = torch.randn(1, 24000, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 0.3, 24000)
    theirs = torchaudio.transforms.MelSpectrogram(24000, n_fft=1024, hop_length=256, n_mels=100, power=1)
    mel = log_mel(wave, VocosConfig().mel)
    torch.testing.assert_close(mel, theirs(wave).clamp_min(1e-7).log(), rtol=0, atol=1e-3)
    assert mel.shape == (1, 100, 94) == (1, 100, VocosConfig().count_frames(24000))
    silence = log_mel(torch.zeros(4096), VocosConfig().mel)
    torch.testing.assert_close(silence, torch.full_like(silence, float(np.log(1e-7))))


def test_silence_has_a_gradient():
    """A wave that is zero somewhere gives gradients that are finite, without a number below the root."""
    wave = torch.zeros(1, 2048, requires_grad=True)
    log_mel(wave, SMALL.mel).sum().backward()
    assert wave.grad.isfinite().all()


def test_spectrograms_of_another_kind_are_refused():
    """Shape and range do not tell them apart, so whoever says how they were made learns what differs, in a line."""
    gan, mel = make_vocoder(), torch.zeros(1, 20, 9)
    assert gan.vocode(mel, made_as=SMALL.mel).shape == (1, 1, 128)
    assert gan.vocode(mel, made_as=replace(SMALL.mel, high=4000.0)).shape == (1, 1, 128)  # 0 means the same
    for change in (
        {"mel_scale": "slaney"}, {"equal_area": True}, {"floor": 1e-5}, {"padding": "same"}, {"epsilon": 1e-9},
        {"hop": 32}, {"fft": 128}, {"rate": 16000}, {"low": 20.0}, {"high": 3000.0},
    ):  # fmt: skip
        ((name, value),) = change.items()
        for vocode in (gan.vocode, lambda mel, made_as: list(gan.vocode_stream([mel], made_as))):
            with pytest.raises(InvalidValueError, match=f"{name} = {value} and not") as error:
                vocode(mel, replace(SMALL.mel, **change))
            assert "\n" not in str(error.value)
    with pytest.raises(InvalidValueError, match="mel_scale = slaney and not htk, equal_area = True"):
        Vocos(VocosConfig(width=8, inner_width=8, layers=1)).vocode(
            torch.zeros(1, 100, 5), HiFiGANConfig(rate=24000, mels=100, high=0.0).mel
        )


def test_a_sound_comes_back_at_its_length(tmp_path: Path):
    """Whatever its rate and length, and whichever padding."""
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(np.arange(44100) * 0.05), 44100)
    for padding in ("center", "same"):
        samples = make_vocoder(replace(SMALL, padding=padding)).sample(input=tmp_path / "a.wav")
        assert (samples.rate, samples.tensor.shape) == (8000, (1, 1, 8000))
        assert float(samples.tensor.abs().max()) <= 1


def test_samples_come_from_sounds_of_the_test_split(tmp_path: Path):
    """The weights keep spectrograms of held-out sounds, as the vocoder takes them."""
    store = build_store(Hits(length=512, rate=8000), tmp_path / "hits")
    gan = make_vocoder()
    gan.init_from_data(store)
    assert gan.sample(2, seed=0).latents.shape == (2, 20, 33)
    assert gan.sample(2, seed=0).tensor.shape == (2, 1, 512)


@pytest.fixture
def codes() -> Tensor:
    return torch.randint(1024, (2, 8, 30), generator=torch.Generator().manual_seed(0))


def test_codes_are_sums_of_what_they_stand_for(codes: Tensor):
    """Code c of codebook k is row c + 1024 k; the number of codebooks says which norm."""
    gan = make_vocoder(CODES)
    table = gan.generator.feature_extractor.codebook_weights
    features = gan.generator.feature_extractor(codes)
    by_hand = sum(table[int(codes[1, k, 7]) + 1024 * k] for k in range(8))
    torch.testing.assert_close(features[1, :, 7], by_hand)
    with torch.no_grad():
        wave = gan.generator.head(gan.generator.backbone(features, torch.tensor(2)))
    torch.testing.assert_close(gan.vocode(codes)[:, 0], wave)
    assert gan.vocode(codes).shape == (2, 1, 600)
    assert len({float(gan.vocode(codes.repeat(1, 2, 1)[:, :k]).sum()) for k in BOOKS}) == 4


def test_adaptive_norms_are_those_of_the_paper():
    """The norm of a number is scaled and shifted by the number's rows; the last norm has weights of its own."""
    gan = make_vocoder(CODES)
    state = gan.generator.state_dict()
    assert state["backbone.norm.scale.weight"].shape == state["backbone.convnext.1.norm.shift.weight"].shape == (4, 16)
    assert state["backbone.final_layer_norm.weight"].shape == (16,)
    norm, x = gan.generator.backbone.norm, torch.randn(2, 5, 16)
    plain = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    wanted = plain * norm.scale.weight[3] + norm.shift.weight[3]
    torch.testing.assert_close(norm(x, torch.tensor(3)), wanted, rtol=0, atol=1e-5)


def test_what_a_vocoder_of_codes_cannot_do_is_refused(codes: Tensor, tmp_path: Path):
    """It makes no codes of sounds, takes no spectrograms, and no codes of other numbers of codebooks."""
    gan = make_vocoder(CODES)
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(np.arange(9000) * 0.05), 24000)
    for use in (
        lambda: gan.sample(1),
        lambda: gan.sample(input=tmp_path / "a.wav"),
        lambda: gan.to_mel(torch.zeros(9000), 24000),
    ):
        with pytest.raises(InvalidValueError, match="takes codes of EnCodec"):
            use()
    for wrong in (codes[:, :3], codes.float(), codes[0]):
        with pytest.raises(InvalidValueError, match="2, 4, 8, 16 codebooks"):
            gan.vocode(wrong)
    with pytest.raises(InvalidValueError, match="0 to 1023"):
        gan.vocode(codes.clone().fill_(1024))
    with pytest.raises(InvalidValueError, match="not trained here"):
        Vocos(replace(CODES, periods=(2,), period_width=1)).phases(VocosTrainConfig())


def test_bands_of_spectra_do_not_mix_before_the_last_layer():
    """Each of five bands has layers of its own; the features of the first ones are not compared."""
    torch.manual_seed(0)
    network = ResolutionDiscriminator(512, 4)
    features = network(torch.randn(2, 1, 2048))
    assert sum(network.sizes) == 257
    assert len(features) == 5 * 4 + 1
    assert features[-1].shape[:3] == (2, 1, 17)


def test_spectra_have_no_offset_and_one_peak():
    """A louder wave with an offset gives the same spectrum; its wave has a peak of 0.8."""
    wave = torch.randn(1, 1, 2048, generator=torch.Generator().manual_seed(0))
    spectrum = compute_spectrum(wave, 256, 64, 0.8)
    assert spectrum.shape == (1, 2, 33, 129)
    torch.testing.assert_close(compute_spectrum(3 * wave + 0.5, 256, 64, 0.8), spectrum, rtol=0, atol=1e-3)
    centered = wave - wave.mean()
    theirs = torch.stft(
        0.8 * (centered / centered.abs().max())[0], 256, 64, window=torch.hann_window(256), return_complex=True
    )
    torch.testing.assert_close(spectrum[0, 0], theirs[0].real.T, rtol=0, atol=1e-4)


def test_vocos_losses_are_the_papers():
    """Hinge losses and feature distances, averaged in each group, a tenth for spectra; 45 times the mel distance."""
    torch.manual_seed(0)
    gan, train = Vocos(SMALL).eval(), VocosTrainConfig()
    step = Step(gan, 0.3 * torch.randn(2, 1, 512), Noise(0), train_generator=True)
    discriminator_phase, generator_phase = gan.phases(train)
    with torch.no_grad():
        d, g = discriminator_phase.loss(step), generator_phase.loss(step)
        fake = gan.generator(log_mel(step.real[:, 0], SMALL.mel))
        real_features, fake_features = gan.discriminator.features(step.real), gan.discriminator.features(fake)
        hinges = [
            (1 - r[-1]).clamp_min(0).mean() + (1 + f[-1]).clamp_min(0).mean()
            for r, f in zip(real_features, fake_features, strict=True)
        ]
        scores = [f[-1].mean() for f in fake_features]
        distances = [feature_distance([r], [f]) for r, f in zip(real_features, fake_features, strict=True)]
        mel = (log_mel(fake[:, 0], SMALL.mel) - log_mel(step.real[:, 0], SMALL.mel)).abs().mean()

    def average(values: list[Tensor]) -> Tensor:
        return (values[0] + values[1]) / 2 + 0.1 * values[2]

    torch.testing.assert_close(d["loss"], average(hinges))
    torch.testing.assert_close(g["loss"], -average(scores) + average(distances) + 45 * mel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop": 33, "length": 528}, "at most half"),
        ({"fft": 63}, "should be even"),
        ({"resolutions": (2048,)}, "half of each of the resolutions"),
        ({"codebooks": 8}, "no held spectrograms"),
        ({"length": 520}, "multiple of hop"),
    ],
)
def test_sizes_that_make_no_vocoder_are_refused(change: dict, message: str):
    """Each in range, and together no network: said before anything is built."""
    with pytest.raises(InvalidValueError, match=message):
        replace(SMALL, **change)


def test_a_spectrogram_is_described_in_a_line():
    """What a card says of it: rate, frames, bands, norm, floor and padding."""
    line = MelConfig().describe()
    for part in ("80 slaney bands of equal area", "0 to 8000 Hz", "22050 Hz", "FFT 1024, hop 256", "same", "1e-05"):
        assert part in line


@pytest.mark.parametrize("entry", ["music-hifigan", "music-vocos", "music-bigvgan"])
def test_the_card_of_a_vocoder_says_which_spectrograms_it_takes(entry: str):
    """Whoever has the weights alone can make them: bands, norm, floor and padding."""
    recipe = load_recipe(entry)
    gan = recipe.build().eval()
    card = format_card(recipe, gan, gan.sample(1, seed=0), kimg=1, metrics={}, load_name=entry)
    assert f"make log-mel spectrograms: {gan.config.mel.describe()}." in card
