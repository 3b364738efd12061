"""A recipe of somebody else may say how to train. It may not decide what is read from this disk or the network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.loopback_hub import LoopbackHub
from helpers.releases import METRICS, SMALL, write_model

import zoo
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, NoWeightsError, ZooError
from zoo.evaluation import evaluate
from zoo.io.weights import write_sums
from zoo.recipe import load_recipe
from zoo.releases.exporting import release

RECIPE = """
modality = "faces"
architecture = "dcgan"
[model]
width = 4
[train]
batch = 4
total_kimg = 0.004
{train}
[data]
{data}
[evaluate]
{evaluate}
"""


@pytest.fixture
def write_recipe(tmp_path: Path):
    def write(*, data: str = 'name = "synthetic-faces"', train: str = "", evaluate: str = "") -> Path:
        path = tmp_path / "downloaded.toml"
        path.write_text(RECIPE.format(data=data, train=train, evaluate=evaluate))
        return path

    return write


@pytest.mark.parametrize(
    ("stated", "option"),
    [
        ({"data": 'folder = "/etc"'}, "--data /etc"),
        ({"data": 'folder = "~/photos"'}, "--data ~/photos"),
        ({"data": 'hub = "somebody/images"'}, "--data hf:somebody/images"),
        ({"train": 'start = "somebody/weights"'}, "--from somebody/weights"),
        ({"train": 'start = "./weights"'}, "--from ./weights"),
        ({"train": 'start = "transformers:gpt2"'}, "--from transformers:gpt2"),
        ({"evaluate": 'features = "timm:resnet18"'}, "evaluate.features=timm:resnet18"),
        ({"evaluate": 'control = "somebody/weights"'}, "evaluate.control=somebody/weights"),
    ],
)
def test_a_recipe_file_cannot_choose_what_is_read(
    hub: LoopbackHub, write_recipe, tmp_path: Path, stated: dict[str, str], option: str
):
    """Training a recipe file that names a folder, a data set or weights stops, and says how to allow it."""
    with pytest.raises(InvalidValueError) as refusal:
        zoo.train(write_recipe(**stated), out=tmp_path / "run")

    assert option in str(refusal.value)
    assert not (tmp_path / "run").exists()
    assert hub.requests == []


def test_whoever_runs_a_recipe_says_on_what(write_recipe, photos: Path, tmp_path: Path, command):
    """Data that the user names with `--data` is read; resuming that run needs no new permission."""
    recipe = write_recipe(data='folder = "/etc"')

    code, _, errors = command("train", recipe, "--out", tmp_path / "run", "--data", photos)
    assert code == 0, errors
    assert command("train", "--resume", tmp_path / "run", "train.total_kimg=0.008")[0] == 0


def test_a_recipe_file_cannot_name_code_or_itself(write_recipe, tmp_path: Path):
    """Only installed architectures are imported, and a name cannot be a path."""
    path = write_recipe()
    path.write_text(path.read_text().replace("dcgan", "system"))
    with pytest.raises(NotFoundError, match='no architecture "system"'):
        zoo.train(path, out=tmp_path / "run")
    path.write_text(path.read_text().replace("system", "os:system"))
    with pytest.raises(InvalidFileError, match="short name"):
        zoo.train(path, out=tmp_path / "run")

    path = write_recipe()
    path.write_text('name = "../../evil"\n' + path.read_text())
    with pytest.raises(NotFoundError, match='"name"'):
        load_recipe(path)


def test_a_run_cannot_choose_where_it_is_released(run: Path, tmp_path: Path):
    """A run whose name is a path, or no entry, needs a folder for its weights."""
    (run / "entry").write_text("../../evil")

    with pytest.raises(InvalidValueError, match="--out"):
        release(run, metrics=METRICS)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A release that a stranger could have made."""
    return write_model(load_recipe("faces-dcgan", SMALL), tmp_path / "released")


@pytest.mark.parametrize(
    ("overrides", "data", "message"),
    [
        ([], "/etc", r"trained on a folder.*--data"),
        ([], "hf:somebody/images", r"trained on hf:somebody/images.*--data"),
        (["evaluate.features=timm:resnet18"], "", r"features timm:resnet18.*--features"),
        (["evaluate.features=zoo:../../evil"], "", "no features"),
        (["model.resolution=512"], "", "another network than config.json"),
    ],
)
def test_evaluating_somebody_s_weights_reads_only_what_is_asked(
    hub: LoopbackHub, released: Path, overrides: list[str], data: str, message: str, store, monkeypatch
):
    """The recipe beside released weights decides neither which files nor which models are fetched to evaluate them."""
    monkeypatch.setattr("zoo.evaluation.open_data", lambda recipe, **options: store)
    recipe = load_recipe("faces-dcgan", [*SMALL, *overrides], data=data)
    (released / "recipe.toml").write_text(recipe.to_toml())
    write_sums(released)
    hub.repo("me/small", {path.name: path.read_bytes() for path in released.iterdir()})

    for name in (str(released), "me/small"):
        with pytest.raises(ZooError, match=message):
            evaluate(name)


def test_a_folder_with_only_a_pickle_is_refused(tmp_path: Path, run: Path):
    """A folder of pickles is refused, with the reason; so is a run without its checkpoints."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "netG.pth").write_bytes(b"\x80\x04")
    with pytest.raises(InvalidFileError, match=r"pickles only \(netG\.pth\).*run any program"):
        zoo.load(tmp_path / "model")

    shutil.rmtree(run / "checkpoints")
    with pytest.raises(NoWeightsError):
        zoo.load(run)


def test_a_recipe_file_cannot_choose_a_tokenizer(tmp_path: Path):
    """A recipe of texts does not decide which tokenizer is read or fetched."""
    text = Path(zoo.info("text-mle").recipe).read_text().partition("[weights]")[0]
    path = tmp_path / "downloaded.toml"
    path.write_text(text.replace("[data]", '[data]\ntokenizer = "somebody/tokenizer"'))

    with pytest.raises(InvalidValueError, match=r"data\.tokenizer=somebody/tokenizer"):
        zoo.train(path, out=tmp_path / "run")

    assert load_recipe("text-mle", ["data.tokenizer=mine.json"]).data.tokenizer == "mine.json"
