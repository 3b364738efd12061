"""Published Vocos: copied tensor by tensor, with the mel filters of the file compared, and nothing of it imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.convert.published import convert
from zoo.errors import InvalidFileError
from zoo.exporting import export
from zoo.music.architectures.vocos import Vocos, VocosConfig
from zoo.music.mel import make_mel_filters
from zoo.releases.loading import load_folder

GOLDEN = Path(__file__).parents[1] / "golden" / "vocos"
MEL_24 = {"mels": 100, "width": 12, "inner_width": 20, "layers": 2}
MEL_22 = {
    **MEL_24, "mels": 80, "rate": 22050, "high": 8000.0, "mel_scale": "slaney", "equal_area": True, "padding": "same",
}  # fmt: skip
CODES = {
    "mels": 16, "width": 12, "inner_width": 20, "layers": 2, "codebooks": 16, "fft": 1280, "hop": 320,
    "padding": "same", "length": 16640,
}  # fmt: skip


def make_file(folder: Path, sizes: dict[str, Any], *, constants: bool = True) -> Vocos:
    """Write a file as the authors' library has it, of random weights; returns what it should become."""
    torch.manual_seed(0)
    gan = Vocos(VocosConfig(**sizes, held=0, periods=(), resolutions=())).eval()
    for parameter in gan.generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {k: v for k, v in gan.generator.state_dict().items() if k not in ("held", "mean", "scale")}
    if constants:
        window = torch.hann_window(gan.config.fft)
        state["head.istft.window"] = window
        if not gan.config.codebooks:
            filters = make_mel_filters(gan.config.mel, torch.device("cpu"))
            state["feature_extractor.mel_spec.mel_scale.fb"] = filters.T.contiguous()
            state["feature_extractor.mel_spec.spectrogram.window"] = window
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    return gan


def write_config(folder: Path, gan: Vocos, change: Callable[[dict[str, Any]], None] = lambda table: None) -> None:
    c = gan.config
    features = {"sample_rate": c.rate, "n_fft": c.fft, "hop_length": c.hop, "n_mels": c.mels, "padding": c.padding}
    if c.mel_scale == "slaney":
        features |= {"f_min": 0, "f_max": 8000, "norm": "slaney", "mel_scale": "slaney"}
    if c.codebooks:
        features = {"encodec_model": "encodec_24khz", "bandwidths": [1.5, 3.0, 6.0, 12.0]}
    backbone = {
        "input_channels": c.mels, "dim": c.width, "intermediate_dim": c.inner_width, "num_layers": c.layers,
    }  # fmt: skip
    head = {"dim": c.width, "n_fft": c.fft, "hop_length": c.hop, "padding": c.padding}
    parts = {"feature_extractor": features, "backbone": backbone, "head": head}
    table = {name: {"class_path": "no_such_package.Class", "init_args": arguments} for name, arguments in parts.items()}
    change(table)
    (folder / "config.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")


def make_input(gan: Vocos) -> Tensor:
    if gan.config.codebooks:
        return torch.randint(1024, (1, 4, 20), generator=torch.Generator().manual_seed(0))
    return torch.randn(1, gan.config.mels, 20, generator=torch.Generator().manual_seed(0)) - 4


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("sizes", [MEL_24, MEL_22, CODES], ids=["24 kHz", "22 kHz", "codes"])
def test_published_vocoders_become_folders_that_sound_the_same(
    sizes: dict[str, Any], with_config: bool, tmp_path: Path
):
    """Sizes, spectrograms and wave are those of the file, whether a config.yaml is beside it or not."""
    made = make_file(tmp_path / "theirs", sizes)
    if with_config:
        write_config(tmp_path / "theirs", made)

    ours = load_folder(convert(tmp_path / "theirs", tmp_path / "ours"))

    assert isinstance(ours, Vocos)
    assert ours.config.mel.list_differences(made.config.mel) == []
    assert list(ours.networks) == ["generator"]
    given = make_input(made)
    assert torch.equal(ours.vocode(given), made.vocode(given))
    card = (tmp_path / "ours" / "README.md").read_text()
    assert ("16 codebooks, 75 a second" if made.config.codebooks else made.config.mel.describe()) in card
    assert ("zoo sample" in card) == (not made.config.codebooks)  # no command has codes


def test_the_golden_file_converts(tmp_path: Path):
    """Of the published code's own state, with other sizes than any release: its config.yaml says the rest."""
    about, made = json.loads((GOLDEN / "config.json").read_text()), load_file(GOLDEN / "io.safetensors")
    features = {"sample_rate": 8000, "n_fft": 64, "hop_length": 16, "n_mels": 20, "padding": "same"}
    head = {**about["head"], "padding": "same"}
    parts = {"feature_extractor": features, "backbone": about["backbone"], "head": head}
    save_file(load_file(GOLDEN / "generator.safetensors"), tmp_path / "model.safetensors")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({k: {"init_args": v} for k, v in parts.items()}))

    ours = load_folder(convert(tmp_path / "model.safetensors", tmp_path / "ours"))

    torch.testing.assert_close(ours.vocode(made["mel"])[:, 0], made["wave_same"], rtol=0, atol=1e-6)


def test_bands_of_another_scale_are_refused(tmp_path: Path):
    """They have the same shape, and would sound as noise: the filters in the file tell."""
    made = make_file(tmp_path / "theirs", MEL_24)

    def claim_slaney(table: dict[str, Any]) -> None:
        table["feature_extractor"]["init_args"] |= {"norm": "slaney", "mel_scale": "slaney"}

    write_config(tmp_path / "theirs", made, claim_slaney)
    with pytest.raises(InvalidFileError, match="its mel filters are not those of its config: 100 slaney bands"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_without_filters_and_config_the_spectrograms_are_not_guessed(tmp_path: Path):
    """Tensors alone do not tell a rate, so the error asks for the config."""
    make_file(tmp_path / "theirs", MEL_24, constants=False)
    with pytest.raises(InvalidFileError, match=r"put the config\.yaml of the release beside it"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def change_width(table: dict[str, Any]) -> None:
    table["backbone"]["init_args"]["dim"] = 13


def change_hop(table: dict[str, Any]) -> None:
    table["head"]["init_args"]["hop_length"] = 128


def change_norm(table: dict[str, Any]) -> None:
    table["feature_extractor"]["init_args"]["norm"] = "other"


def change_rate(table: dict[str, Any]) -> None:
    table["feature_extractor"]["init_args"]["sample_rate"] = "fast"


def change_codec(table: dict[str, Any]) -> None:
    table["feature_extractor"]["init_args"] = {"encodec_model": "encodec_48khz"}


def change_list(table: dict[str, Any]) -> None:
    value: list[Any] = [0] * 9
    for _ in range(40):  # more numbers than anybody can print, in a few lines of YAML
        value = [value] * 9
    table["backbone"]["init_args"]["dim"] = value


def drop_paddings(table: dict[str, Any]) -> None:
    del table["feature_extractor"]["init_args"]["padding"], table["head"]["init_args"]["padding"]


def change_part(table: dict[str, Any]) -> None:
    table["head"] = [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_width, "width = 13 and not 12"),
        (change_hop, "two values of hop_length: 256 and 128"),
        (change_norm, 'norm should be "slaney" or null'),
        (change_codec, "encodec_model should be encodec_24khz"),
        (change_list, "dim of backbone should be a number or a text"),
        (drop_paddings, "two values of padding: 'center' and 'same'"),
        (change_rate, "rate"),
        (change_part, "head should have a table init_args"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_a_line(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
):
    """What is wrong, and in which file."""
    write_config(tmp_path / "theirs", make_file(tmp_path / "theirs", MEL_24), change)
    with pytest.raises(InvalidFileError, match=message) as error:
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['exit 1']", "a: [", "[" * 5000, "7", "#" * 70000])
def test_no_config_runs_code_or_ends_in_a_traceback(text: str, tmp_path: Path):
    """Tags of Python, broken and endless nesting, and files without end are errors of one line."""
    make_file(tmp_path / "theirs", MEL_24)
    (tmp_path / "theirs" / "config.yaml").write_text(text)
    with pytest.raises(InvalidFileError, match=r"config\.yaml") as error:
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert "\n" not in str(error.value)


def test_another_window_is_refused(tmp_path: Path):
    """The wave would be modulated."""
    make_file(tmp_path, MEL_24)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    torch.save({**state, "head.istft.window": torch.ones(1024)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidFileError, match=r"head\.istft\.window should be a Hann window"):
        convert(tmp_path, tmp_path / "ours")


@pytest.mark.parametrize("name", ["backbone.convnext.1.gamma", "head.out.bias"])
def test_a_missing_tensor_is_named(name: str, tmp_path: Path):
    """The file begins as Vocos does, and is none."""
    make_file(tmp_path, MEL_24)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    del state[name]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidFileError, match=f"begins as Vocos of its authors' library does, but {name}"):
        convert(tmp_path, tmp_path / "ours")


@pytest.mark.parametrize("sizes", [MEL_24, MEL_22, CODES], ids=["24 kHz", "22 kHz", "codes"])
def test_converted_vocoders_are_exported(sizes: dict[str, Any], tmp_path: Path):
    """As ONNX without an inverse Fourier transform, for any number of frames; the metadata say of what spectrograms."""
    onnxruntime = pytest.importorskip("onnxruntime")
    made = make_file(tmp_path / "theirs", sizes)
    folder = convert(tmp_path / "theirs", tmp_path / "ours")

    export(folder, tmp_path / "vocoder.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "vocoder.onnx")
    given = make_input(made).repeat(1, 2, 1) if made.config.codebooks else make_input(made)
    (wave,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    assert made.vocode(given).abs().max() > 0.01
    torch.testing.assert_close(torch.from_numpy(wave), made.vocode(given), rtol=0, atol=1e-4)
    usage = session.get_modelmeta().custom_metadata_map["usage"]
    assert ("codes of EnCodec" if made.config.codebooks else made.config.mel.describe()) in usage
