"""Published BigVGAN: copied tensor by tensor, with the switches of its config.json and its filters compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zoo.convert.hifigan import take_sizes
from zoo.convert.published import convert
from zoo.errors import InvalidFileError
from zoo.exporting import export
from zoo.music.architectures.bigvgan import BigVGAN
from zoo.releases.loading import load_folder

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = ["bigvgan-v1", "bigvgan-v2-amp2"]


def write_release(folder: Path, version: str, **change: Any) -> Path:
    """Write the golden weights as a release has them: a pickle of the generator, beside other files and the config."""
    h = json.loads((GOLDEN / version / "config.json").read_text())["h"]
    sound = {"sampling_rate": 8000, "n_fft": 128, "hop_size": 32, "win_size": 128, "fmin": 0, "fmax": None}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**h, **sound, **change}), encoding="utf-8")
    state = load_file(GOLDEN / version / "generator.safetensors")
    torch.save({"generator": state}, folder / "bigvgan_generator.pt")
    torch.save({"mpd": {"a": torch.zeros(1)}, "steps": 3}, folder / "bigvgan_discriminator_optimizer.pt")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_releases_become_folders_that_sound_the_same(version: str, tmp_path: Path):
    """Both versions give the published waves, and know their spectrograms."""
    made = load_file(GOLDEN / version / "io.safetensors")

    ours = load_folder(convert(write_release(tmp_path / "theirs", version), tmp_path / "ours"))

    assert isinstance(ours, BigVGAN)
    torch.testing.assert_close(ours.vocode(made["mel"]), made["wave"], rtol=0, atol=1e-6)
    assert list(ours.networks) == ["generator"]
    assert (ours.config.rate, ours.config.high, ours.config.tanh) == (8000, 0, version == "bigvgan-v1")
    card = (tmp_path / "ours" / "README.md").read_text()
    assert ours.config.mel.describe() in card
    assert "zoo sample ./ours --input song.wav --out again.wav" in card


def test_a_hop_that_does_not_divide_the_usual_length_converts(tmp_path: Path):
    """The length of training sounds is not in the file, so that none is refused for it."""
    path = tmp_path / "config.json"
    path.write_text("{}")

    assert take_sizes({"hop_size": 480, "upsample_rates": [10, 6, 4, 2]}, path)["length"] % 480 == 0


@pytest.mark.parametrize("version", VERSIONS[1:])  # the first differs in what the contract covers
def test_converted_vocoders_are_exported(version: str, tmp_path: Path):
    """As ONNX, for any number of frames, with the numbers of the published code."""
    onnxruntime = pytest.importorskip("onnxruntime")
    made = load_file(GOLDEN / version / "io.safetensors")
    export(convert(write_release(tmp_path / "theirs", version), tmp_path / "ours"), tmp_path / "vocoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "vocoder.onnx")
    (wave,) = session.run(None, {"mel": made["mel"].numpy()})
    torch.testing.assert_close(torch.from_numpy(wave), made["wave"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"win_size": 64}, "win_size = 64 should be n_fft = 128"),
        ({"resblock": "3"}, 'resblock = .3. should be "1" or "2"'),
        ({"activation": "relu"}, "activation"),
        ({"hop_size": 16}, "raise the rate by 32, not by hop = 16"),
        ({"upsample_initial_channel": 64}, "do not fit"),
        ({"use_bias_at_final": False}, "conv_post.bias"),
        ({"snake_logscale": "yes"}, "log_scale"),
    ],
)
def test_a_config_of_another_network_is_refused_in_a_line(change: dict[str, Any], message: str, tmp_path: Path):
    """What is wrong is named, and nothing is written."""
    with pytest.raises(InvalidFileError, match=message) as error:
        convert(write_release(tmp_path / "theirs", "bigvgan-v1", **change), tmp_path / "ours")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()


def test_without_a_config_the_spectrograms_are_not_guessed(tmp_path: Path):
    """Releases of 22, 24 and 44 kHz have the same shapes."""
    (write_release(tmp_path / "theirs", "bigvgan-v1") / "config.json").unlink()
    with pytest.raises(InvalidFileError, match=r"put its config\.json beside it"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_other_filters_are_refused(tmp_path: Path):
    """The network would be another one."""
    folder = write_release(tmp_path / "theirs", "bigvgan-v1")
    state = load_file(GOLDEN / "bigvgan-v1" / "generator.safetensors")
    state["activation_post.upsample.filter"] = torch.ones(1, 1, 12) / 12
    torch.save({"generator": state}, folder / "bigvgan_generator.pt")
    with pytest.raises(InvalidFileError, match=r"activation_post\.upsample\.filter is another filter"):
        convert(folder, tmp_path / "ours")
