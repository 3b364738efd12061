"""BigVGAN: the published numbers, its filters and streams, and the discriminators and losses of both versions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo.convert.hifigan import parametrize
from zoo.errors import InvalidValueError
from zoo.music.architectures.bigvgan import (
    V2,
    V2_TRAIN,
    Activation,
    BigVGAN,
    BigVGANConfig,
    BigVGANTrainConfig,
    compare_scales,
    make_filter,
)
from zoo.music.discriminators import ConstantQ, ConstantQDiscriminator, MagnitudeDiscriminator, feature_distance
from zoo.music.mel import log_mel
from zoo.noise import Noise
from zoo.training.phases import Step

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL = BigVGANConfig(
    rate=8000, mels=10, fft=64, hop=16, length=512, ups=(4, 4), up_kernels=(8, 8), width=8, kernels=(3, 5),
    dilations=((1, 2), (1, 3)), periods=(2, 3), period_width=1, resolutions=((64, 16, 32),), resolution_width=2, held=3,
)  # fmt: skip


def make_vocoder(config: BigVGANConfig = SMALL) -> BigVGAN:
    torch.manual_seed(0)
    gan = BigVGAN(config).eval()
    for name, value in gan.generator.named_parameters():  # loud enough that a mistake would show
        if name.endswith("original0"):
            nn.init.uniform_(value, 0.5, 1)
    return gan


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("version", ["v1", "v2-amp2"])
def test_the_published_numbers_come_out(version: str):
    """Of the published code's weights and spectrograms, its waves to 1e-6: both blocks, Snakes, scales and ends."""
    h = json.loads((GOLDEN / f"bigvgan-{version}" / "config.json").read_text())["h"]
    made = load_file(GOLDEN / f"bigvgan-{version}" / "io.safetensors")
    state = load_file(GOLDEN / f"bigvgan-{version}" / "generator.safetensors")
    config = BigVGANConfig(
        mels=h["num_mels"], width=h["upsample_initial_channel"], ups=tuple(h["upsample_rates"]),
        up_kernels=tuple(h["upsample_kernel_sizes"]), hop=math.prod(h["upsample_rates"]), fft=128,
        block=int(h["resblock"]), kernels=tuple(h["resblock_kernel_sizes"]),
        dilations=tuple(map(tuple, h["resblock_dilation_sizes"])), activation=h["activation"],
        log_scale=h["snake_logscale"], tanh=h["use_tanh_at_final"], last_bias=h["use_bias_at_final"], held=0,
        periods=(), resolutions=(),
    )  # fmt: skip
    gan = BigVGAN(config).eval()
    filters = [state.pop(name) for name in list(state) if name.endswith(".filter")]
    missing, unexpected = gan.generator.load_state_dict(parametrize(state), strict=False)

    assert (set(missing), unexpected) == ({"held", "mean", "scale"}, [])
    assert all(torch.allclose(value, make_filter(), atol=1e-7) for value in filters)
    torch.testing.assert_close(gan.vocode(made["mel"]), made["wave"], rtol=0, atol=1e-6)


def test_bigvgan_has_the_papers_sizes():
    """112.4 M and 14.0 M parameters; discriminators of 41.1 M for periods and 1.5 M a constant-Q transform."""
    base = {"width": 512, "ups": (8, 8, 2, 2), "up_kernels": (16, 16, 4, 4)}
    with torch.device("meta"):
        large, small = BigVGAN(BigVGANConfig(**V2)), BigVGAN(BigVGANConfig(**base))
    assert (round(count(large.generator) / 1e6, 1), round(count(small.generator) / 1e6, 2)) == (112.4, 14.03)
    assert round(count(small.discriminator.periods) / 1e6, 1) == 41.1
    assert [round(count(network) / 1e6, 1) for network in large.discriminator.octaves] == [1.5, 1.5, 1.5]


def test_an_activation_makes_no_frequencies_that_fold_back():
    """A tone's multiple above half of the rate comes back with less than a third of a plain Snake's strength."""
    time = torch.arange(2048, dtype=torch.float32)
    tone = torch.sin(2 * torch.pi * 0.30078125 * time)[None, None]  # 616 periods; twice that folds back to 816
    activation = Activation(1, replace(SMALL, log_scale=False))

    def measure(wave: Tensor) -> float:
        spectrum = torch.fft.rfft(wave[0, 0]).abs()
        return float(spectrum[816] / spectrum[616])

    with torch.no_grad():
        assert measure(activation.act(tone)) > 3 * measure(activation(tone)) > 0


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, block=2, tanh=False, last_bias=False)], ids=["V1", "V2"])
@pytest.mark.parametrize("sizes", [(1,) * 40, (7, 1, 40, 3, 29)], ids=["frame by frame", "parts"])
def test_a_stream_is_the_whole(config: BigVGANConfig, sizes: tuple[int, ...]):
    """Parts of any lengths give the wave of the whole spectrogram, as far as it goes, to 1e-6."""
    gan = make_vocoder(config)
    mel = torch.randn(1, 10, sum(sizes), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = gan.generator(mel)
    assert whole.std() > 0.01
    parts = list(gan.vocode_stream(mel.split(sizes, dim=-1)))
    assert len(parts) > 2
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-6)
    long = mel.repeat(1, 1, 1 + 520 // mel.shape[-1])
    with torch.no_grad():
        torch.testing.assert_close(gan.vocode(long), gan.generator(long), rtol=0, atol=1e-6)


def test_no_frame_beyond_the_context_changes_a_sample():
    """Counted layer by layer, the context covers what the gradient reaches, and not twice as much."""
    gan = make_vocoder().double()
    mel = torch.randn(1, 10, 81, dtype=torch.float64, requires_grad=True)
    gan.generator(mel)[0, 0, 40 * 16 : 41 * 16].sum().backward()
    reached = mel.grad[0].abs().sum(0).nonzero()[:, 0]
    furthest = max(40 - int(reached[0]), int(reached[-1]) - 40)
    assert furthest <= gan.context <= furthest + 3


def test_constant_q_transforms_find_tones():
    """A tone is strongest at its bin, in every octave; frames are hop samples apart."""
    transform = ConstantQ(48000, 512, 24)
    time = torch.arange(65536) / 48000
    for octave in (1, 4, 7):
        tone = torch.sin(2 * torch.pi * ConstantQ.LOWEST * 2 ** (octave + 5 / 24) * time)[None]
        parts = transform(tone)
        assert len(parts) == 9
        spectrum = torch.cat(parts, dim=-1)
        assert spectrum.shape == (1, 2, 129, 216)
        assert int(spectrum.square().sum(1)[0, 64].argmax()) == 24 * octave + 5


def test_discriminators_of_spectra_have_all_their_maps():
    """Five maps and the scores, for magnitudes and for constant-Q transforms, of short waves too."""
    torch.manual_seed(0)
    wave = torch.randn(2, 1, 8192)
    magnitudes = MagnitudeDiscriminator(512, 50, 240, 2)(wave)
    octaves = ConstantQDiscriminator(22050, 256, 24, 2)(wave)
    assert (len(magnitudes), len(octaves)) == (6, 6)
    assert magnitudes[0].shape == (2, 2, 257, (8192 - 50) // 50 + 1)
    assert octaves[0].shape == (2, 2, 65, 216)
    assert (octaves[-1].shape[:2], magnitudes[-1].shape[:2]) == ((2, 1), (2, 1))


def test_bigvgan_losses_are_the_papers():
    """Least squares over all discriminators, twice the feature distance, 45 times the mel distance, norms of 1000."""
    torch.manual_seed(0)
    gan, train = BigVGAN(SMALL).eval(), BigVGANTrainConfig()
    step = Step(gan, 0.3 * torch.randn(2, 1, 512), Noise(0), train_generator=True)
    discriminator_phase, generator_phase = gan.phases(train)
    assert discriminator_phase.max_grad_norm == generator_phase.max_grad_norm == 1000
    with torch.no_grad():
        d, g = discriminator_phase.loss(step), generator_phase.loss(step)
        fake = gan.generator(log_mel(step.real[:, 0], SMALL.mel))
        real_features, fake_features = gan.discriminator.features(step.real), gan.discriminator.features(fake)
        scores = [(r[-1], f[-1]) for r, f in zip(real_features, fake_features, strict=True)]
        mel = (log_mel(fake[:, 0], SMALL.mel) - log_mel(step.real[:, 0], SMALL.mel)).abs().mean()
    torch.testing.assert_close(d["loss"], sum(((r - 1) ** 2).mean() + (f**2).mean() for r, f in scores))
    wanted = sum(((f - 1) ** 2).mean() for _, f in scores) + 2 * feature_distance(real_features, fake_features)
    torch.testing.assert_close(g["loss"], wanted + 45 * mel)


def test_version_2_has_its_own_mel_loss():
    """Seven resolutions of decimal logarithms, weighed 15; a wave twice as loud is log10(2) away in each."""
    wave = torch.randn(1, 1, 8192, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        compare_scales(2 * wave, wave, 44100), torch.tensor(7 * math.log10(2)), rtol=0.02, atol=0
    )
    gan = make_vocoder(replace(SMALL, rate=44100, length=4096))
    assert float(gan.mel_distance(wave, 2 * wave, BigVGANTrainConfig(**V2_TRAIN))) == float(
        compare_scales(wave, 2 * wave, 44100)
    )
    assert BigVGANTrainConfig(**V2_TRAIN).mel_weight == 15


def test_version_2_is_trained_on_constant_q_transforms():
    """A phase of each network runs, and its gradients are finite."""
    gan = make_vocoder(
        replace(SMALL, rate=22050, length=2048, periods=(2,), resolutions=(), octave_bins=(12,), octave_hops=(256,),
                octave_width=2)
    ).train()  # fmt: skip
    step = Step(gan, 0.3 * torch.randn(1, 1, 2048), Noise(0), train_generator=True)
    for phase in gan.phases(BigVGANTrainConfig(mel_weight=15.0)):
        phase.loss(step)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in gan.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": "center"}, "makes hop samples of each frame"),
        ({"ups": (4, 2)}, "not by hop"),
        ({"width": 6}, "multiple of 4"),
        ({"resolutions": ((64, 16),)}, "an FFT, a hop and a window"),
        ({"resolutions": ((2048, 240, 1200),)}, "below 1024"),
        ({"octave_bins": (24,)}, "one for each of octave_bins"),
        ({"octave_bins": (24,), "octave_hops": (300,)}, "multiple of 256"),
        ({"octave_bins": (24,), "octave_hops": (256,)}, "more than rate = 8000"),
    ],
)
def test_sizes_that_make_no_vocoder_are_refused(change: dict, message: str):
    """Each in range, and together no network: said before anything is built."""
    with pytest.raises(InvalidValueError, match=message):
        replace(SMALL, **change)


def test_what_cannot_be_trained_is_refused():
    """Converted vocoders have no discriminators."""
    with pytest.raises(InvalidValueError, match="training needs a discriminator"):
        BigVGAN(replace(SMALL, periods=(), resolutions=())).phases(BigVGANTrainConfig())
