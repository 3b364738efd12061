"""Published vocoders: they sound the same here, and their pickles are read without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.hanging import must_end
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.convert import hifigan
from zoo.convert.published import convert, read_published
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.music.architectures.hifigan import V3, Generator, HiFiGAN, HiFiGANConfig
from zoo.nn.fusion import fuse_norms
from zoo.releases.loading import load_folder

SMALL = HiFiGANConfig(width=32, held=0, periods=(), scales=0)


@pytest.fixture
def mel() -> Tensor:
    return torch.randn(2, 80, 40, generator=torch.Generator().manual_seed(0)) - 4


def generator(config: HiFiGANConfig = SMALL) -> nn.Module:
    torch.manual_seed(1)
    made = Generator(config).eval()
    for name, value in made.named_parameters():  # loud enough that a mistake would show
        if name.endswith("original0"):
            nn.init.uniform_(value, 0.5, 1.5)
    return made


def read_vocoder(source: Path) -> HiFiGAN:
    return hifigan.read_vocoder(read_published(source))


def original_layout(made: nn.Module, *, weight_norm: bool) -> dict[str, Tensor]:
    """A generator's state as the authors' release has it."""
    state = (made if weight_norm else fuse_norms(made)).state_dict()
    names = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    renamed = {}
    for name, value in state.items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        if name not in ("held", "mean", "scale"):
            renamed[name] = value
    return renamed


def test_speecht5_vocoder_gives_the_same_wave(tmp_path: Path):
    """A `transformers.SpeechT5HifiGan` of random weights, saved and converted, gives its own wave to 1e-5."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(0)
    theirs = SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=64)).eval()
    with torch.no_grad():
        theirs.mean.uniform_(-1, 1)
        theirs.scale.uniform_(0.5, 2)
        for parameter in theirs.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, 0.5)  # loud enough that a mistake would show
    theirs.save_pretrained(tmp_path / "theirs", safe_serialization=True)
    spectrogram = torch.randn(30, 80)

    ours = load_folder(convert(tmp_path / "theirs", tmp_path / "ours"))

    with torch.no_grad():
        wave = theirs(spectrogram)
    assert wave.abs().max() > 0.01
    assert isinstance(ours, HiFiGAN)
    torch.testing.assert_close(ours.vocode(spectrogram.T[None])[0, 0], wave, rtol=0, atol=1e-5)
    assert (ours.config.rate, ours.config.hop) == (16000, 256)


@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("third", [False, True])
def test_pickled_releases_convert(mel: Tensor, tmp_path: Path, weight_norm: bool, third: bool):
    """The authors' pickle and torchaudio's, with weight norm or without, of both kinds of blocks, give one wave."""
    config = HiFiGANConfig(**{**V3, "width": 32}, held=0, periods=(), scales=0) if third else SMALL
    made = generator(config)
    state = original_layout(made, weight_norm=weight_norm)
    torch.save({"generator": state} if weight_norm else state, tmp_path / "generator.pth")

    vocoder = read_vocoder(tmp_path / "generator.pth")

    with torch.no_grad():
        wave = made(mel)
    assert wave.std() > 0.01
    torch.testing.assert_close(vocoder.vocode(mel), wave, rtol=0, atol=1e-5)
    assert vocoder.config.block == (2 if third else 1)


def prefix(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for prefix in prefixes for name, value in state.items()}


LAYOUTS = {
    "of a parallel training": lambda state: prefix(state, "module."),
    "of a parallel training, in a checkpoint": lambda state: {"generator": prefix(state, "module."), "steps": 7},
    "two levels down": lambda state: {"model": {"generator": state, "discriminator": {"a": torch.ones(2)}}},
    "beside a discriminator": lambda state: {
        "state_dict": {
            **prefix(state, "generator."),
            "discriminator.0.weight": torch.ones(2),
            "mpd.0.bias": torch.ones(1),
        }
    },
    "a part of a model": lambda state: prefix(state, "model.generator."),
    "a part of a parallel model": lambda state: {
        "model": {**prefix(state, "module.model_g."), "module.model_d.a": torch.ones(2)}
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_is_found_wherever_trainings_put_it(mel: Tensor, tmp_path: Path, layout: str):
    """Prefixes of modules, levels of dictionaries and discriminators do not matter."""
    made = generator()
    torch.save(LAYOUTS[layout](original_layout(made, weight_norm=True)), tmp_path / "g.pth")

    with torch.no_grad():
        torch.testing.assert_close(read_vocoder(tmp_path / "g.pth").vocode(mel), made(mel), rtol=0, atol=1e-5)


def test_safetensors_of_a_whole_model_are_read(mel: Tensor, tmp_path: Path):
    """They have no levels, but prefixes and discriminators."""
    made = generator()
    state = prefix(original_layout(made, weight_norm=True), "module.generator.")
    save_file({**state, "module.discriminator.a": torch.ones(2)}, tmp_path / "g.safetensors")

    with torch.no_grad():
        torch.testing.assert_close(read_vocoder(tmp_path / "g.safetensors").vocode(mel), made(mel), rtol=0, atol=1e-5)


@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_read(mel: Tensor, tmp_path: Path, dtype: torch.dtype, weight_norm: bool):
    """Weights of fewer bits, and of more, sound as they do in float32."""
    state = {name: value.to(dtype) for name, value in original_layout(generator(), weight_norm=weight_norm).items()}
    torch.save({"generator": state}, tmp_path / "half.pth")
    torch.save({name: value.float() for name, value in state.items()}, tmp_path / "float.pth")

    half, whole = (read_vocoder(tmp_path / f"{name}.pth") for name in ("half", "float"))

    torch.testing.assert_close(half.vocode(mel), whole.vocode(mel), rtol=0, atol=1e-6)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path):
    """Where a file has two generators, none is chosen silently."""
    state = original_layout(generator(), weight_norm=False)
    torch.save(prefix(state, "generator.", "module.generator."), tmp_path / "a.pth")

    with pytest.raises(InvalidFileError, match="the same name"):
        read_vocoder(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "config",
    [
        {"upsample_rates": [2] * 20_000},
        {"upsample_rates": [10**4000] * 20},
        {"upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16] * 20_000},
        {"resblock_kernel_sizes": [3] * 20_000},
        {"resblock_dilation_sizes": [[1] * 20_000] * 3},
        {"upsample_initial_channel": 4096},
        {"upsample_rates": "8" * 300},
        {"padding": "a" * (1 << 20), "upsample_rates": [8, 8, 2, 2]},
    ],
    ids=["rates", "huge rates", "kernels", "blocks", "dilations", "width", "a text", "a large file"],
)
def test_a_config_of_another_network_is_refused_before_that_is_made(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """What a config.json asks for is compared with the weights before it takes memory."""
    torch.save(original_layout(generator(), weight_norm=False), tmp_path / "generator")
    (tmp_path / "config.json").write_text(json.dumps(config))
    convolution = nn.Conv1d.__init__

    def make(self: nn.Conv1d, *args: Any, **options: Any) -> None:
        convolution(self, *args, **options)
        assert self.weight.device.type == "meta"

    monkeypatch.setattr(nn.Conv1d, "__init__", make)
    with must_end(), pytest.raises(InvalidFileError) as refused:
        read_vocoder(tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_config_beside_the_weights_decides(tmp_path: Path):
    """Strides, dilations and the spectrogram's values are those of the release's config.json."""
    config = HiFiGANConfig(
        ups=(4, 4), up_kernels=(16, 8), hop=16, fft=64, length=512, width=8, kernels=(3,), dilations=((2, 4),), held=0,
        periods=(), scales=0,
    )  # fmt: skip
    torch.save({"generator": original_layout(generator(config), weight_norm=True)}, tmp_path / "generator")
    about = {
        "upsample_rates": [4, 4], "upsample_kernel_sizes": [16, 8], "upsample_initial_channel": 8,
        "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[2, 4]], "sampling_rate": 24000, "hop_size": 16,
        "n_fft": 64, "num_mels": 80, "fmin": 0, "fmax": None,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(about))

    found = read_vocoder(tmp_path).config

    assert (found.ups, found.dilations, found.rate, found.top) == ((4, 4), ((2, 4),), 24000, 12000)


def test_converted_vocoder_has_no_discriminator_and_no_samples_of_its_own(tmp_path: Path):
    """Asked for what it has not, it says so, and what to give it."""
    torch.save(original_layout(generator(), weight_norm=False), tmp_path / "g.pth")
    vocoder = load_folder(convert(tmp_path / "g.pth", tmp_path / "out"))

    with pytest.raises(InvalidValueError, match="--input"):
        vocoder.sample(1, seed=0)
    with pytest.raises(InvalidValueError, match="without a discriminator"):
        vocoder.discriminator(torch.zeros(1, 1, 8192))


def test_weights_of_something_else_are_refused(tmp_path: Path):
    """A state that is no generator's names what does not fit."""
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    with pytest.raises(InvalidFileError, match="conv_pre"):
        read_vocoder(tmp_path / "a.pth")

    state = original_layout(generator(), weight_norm=False)
    del state["ups.1.bias"]
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(InvalidFileError, match=r"ups\.1\.bias"):
        read_vocoder(tmp_path / "b.pth")


def test_a_first_layer_of_other_dimensions_is_refused(tmp_path: Path):
    torch.save({"conv_pre.weight": torch.zeros(3, 3)}, tmp_path / "a.pth")
    with pytest.raises(InvalidFileError, match="no HiFi-GAN generator"):
        read_vocoder(tmp_path / "a.pth")


def test_the_command_refuses_in_a_line(command, tmp_path: Path):
    """A file that is not there is one line, and nothing is made."""
    code, _, errors = command("convert", tmp_path / "nothere", "--out", tmp_path / "out")

    assert (code, errors.strip()) == (2, f"zoo: {tmp_path / 'nothere'}: no such file or folder")
    assert not (tmp_path / "out").exists()
