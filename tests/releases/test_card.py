"""The card of released weights, byte for byte."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from helpers.releases import METRICS, SMALL
from huggingface_hub import ModelCard

import zoo
from zoo.modality import load_modality
from zoo.recipe import Recipe, load_recipe
from zoo.registry import MODALITIES, registry
from zoo.releases.card import evaluate_command, format_card, without_place
from zoo.releases.exporting import format_released_recipe, release

GOLDEN = Path(__file__).parent / "golden"

# Of the Hub's list.
KNOWN_LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "bsd-3-clause", "other"}
KNOWN_TASKS = {"unconditional-image-generation", "text-generation"}


def card(recipe: Recipe, *, metrics: dict = METRICS, load_name: str = "faces-dcgan") -> str:
    torch.manual_seed(0)
    gan = recipe.build().eval()
    return format_card(recipe, gan, gan.sample(64, seed=0), kimg=115, metrics=metrics, load_name=load_name)


def cards() -> dict[str, str]:
    """Write the golden cards: of an entry, and of a run on a user's own folder without metrics."""
    entry = load_recipe("faces-dcgan", SMALL)
    own = load_recipe("faces-dcgan", SMALL, data="/home/somebody/photos")
    return {"card.md": card(entry), "card-unmeasured.md": card(own, metrics={}, load_name="me/my-faces")}


@pytest.mark.parametrize("name", ["card.md", "card-unmeasured.md"])
def test_cards_are_the_golden_ones(name: str):
    """A card is the same bytes on every machine; `python tests/releases/test_card.py` rewrites the golden ones."""
    assert cards()[name] == (GOLDEN / name).read_text(encoding="utf-8")


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter_is_what_the_hub_reads():
    """The client reads back license, library, task, tags and data, and what is needed to compute each metric again."""
    text = cards()["card.md"]
    read = ModelCard(text).data

    assert read.license in KNOWN_LICENSES
    assert read.library_name == "gan-zoo"
    assert read.pipeline_tag in KNOWN_TASKS
    assert read.tags == ["gan", "faces"]
    assert read.datasets == ["synthetic-faces"]
    (result,) = read.eval_results
    assert (result.metric_type, result.metric_value) == ("frechet_distance", 1.5)
    assert result.metric_name == (
        "frechet_distance: 100 samples, zoo:faces-evaluator-v1, test split, seed 0; real against real 0.25"
    )
    assert result.source_name == "zoo evaluate faces-dcgan"
    assert front_matter(text).keys() == {
        "license", "library_name", "pipeline_tag", "tags", "datasets", "model-index",
    }  # fmt: skip


def test_a_card_without_metrics_claims_nothing():
    """Without metrics there is no model index, and a user's own folder is not named."""
    text = cards()["card-unmeasured.md"]

    assert "model-index" not in front_matter(text)
    assert front_matter(text)["license"] == "other"
    assert "Not measured." in text
    assert "/home/somebody" not in text


def test_cards_need_no_template_engine():
    """A card is written without Jinja2, which the client does not install."""
    code = (
        "import sys; sys.modules['jinja2'] = None; sys.path[:0] = ['tests', 'tests/releases']\n"
        "import test_card; assert test_card.cards()['card.md']"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize("name", [name for name, entry in registry.entries.items() if entry.has_weights])
def test_cards_of_released_entries_are_read_by_the_hub(name: str):
    """Every bundled card has front matter that the client reads, and metrics beside real against real."""
    text = (registry.entries[name].bundled / "README.md").read_text(encoding="utf-8")
    data = ModelCard(text).data

    assert data.library_name == "gan-zoo"
    assert data.license in KNOWN_LICENSES
    assert data.eval_results
    assert f'import zoo\n\nmodel = zoo.load("{name}")' in text
    assert "real against real" in text
    assert "## Limits" in text


def test_only_tasks_that_the_hub_has_are_named():
    """Faces and texts have a task on the Hub; there is none for unconditional music and video."""
    tags = {name: load_modality(name).pipeline_tag for name in MODALITIES}

    assert {tag for tag in tags.values() if tag is not None} <= KNOWN_TASKS
    assert {name for name, tag in tags.items() if tag is not None} == {"faces", "text"}


@pytest.mark.parametrize(
    ("command", "data", "expected"),
    [
        ("zoo evaluate faces-dcgan", "", "zoo evaluate me/x"),
        ("zoo evaluate faces-dcgan --samples 10 --seed 1", "", "zoo evaluate me/x --samples 10 --seed 1"),
        ("zoo evaluate '/home/me/a run' --data '/home/me/my photos'", "", "zoo evaluate me/x --data FOLDER"),
        ("zoo evaluate runs/a --data synthetic-faces", "/me/photos", "zoo evaluate me/x --data synthetic-faces"),
        ("zoo evaluate faces-mine", "/home/me/photos", "zoo evaluate me/x --data FOLDER"),
        ("zoo evaluate faces-mine --seed 3", "hf:org/set", "zoo evaluate me/x --seed 3 --data hf:org/set"),
    ],
)
def test_the_command_prints_the_metrics_again(command: str, data: str, expected: str):
    """The card's command names the published weights, and no path of who trained them."""
    assert evaluate_command(command, load_recipe("faces-dcgan", data=data), "me/x") == expected


def test_no_path_of_who_trained_them_is_published():
    """Files become names, in the card and in the recipe, whatever key names them."""
    paths = {
        "evaluate.features": "i3d:/home/me/i3d.pt",
        "evaluate.control": "/home/me/runs/b",
        "train.start": "/home/me/a",
    }
    recipe = load_recipe("video-mocogan", [f'{key}="{value}"' for key, value in paths.items()])
    command = "zoo evaluate runs/a --features i3d:/home/me/i3d.pt --control /home/me/runs/b"

    assert evaluate_command(command, recipe, "me/x") == "zoo evaluate me/x --features i3d:i3d.pt --control b"
    assert "/home/me" not in format_released_recipe(recipe)
    for value, known in (("~/a", "a"), ("C", "C"), ("hf:org/set", "hf:org/set"), ("me/base", "me/base")):
        assert without_place(value) == known


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (["train.start='me/base'"], "--from me/base"),
        (["train.start='/home/me/a'"], "--from WEIGHTS"),
        (["evaluate.features='resnet50'"], "evaluate.features=resnet50"),
        (["train.start='faces-gan'"], ""),
    ],
)
def test_the_training_command_asks_for_all_that_a_file_may_not_choose(given: list[str], options: str):
    """A recipe that names other weights or networks is refused until one asks for them."""
    text = card(load_recipe("faces-dcgan", [*SMALL, *given]))

    assert f"`zoo train recipe.toml --out run{options and ' '}{options}` trains it again" in text
    assert "--data hf:org/set" in card(load_recipe("faces-dcgan", SMALL, data="hf:org/set"))


def test_every_modality_has_a_card():
    """The card of each modality states its risks."""
    recipe = load_recipe("faces-dcgan", SMALL)
    gan = recipe.build().eval()
    samples = gan.sample(4, seed=0)

    for modality in MODALITIES:
        text = format_card(replace(recipe, modality=modality), gan, samples, kimg=1, metrics=METRICS, load_name="x")
        assert load_modality(modality).risks in text


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file, text in cards().items():
        (GOLDEN / file).write_text(text, encoding="utf-8")


def test_the_card_of_a_fine_tuned_run_is_true(photos: Path, tmp_path: Path):
    """It names what the run started from, tells of no earlier release, and its training command is accepted."""
    small = {"model.width": 4, "train.batch": 4, "train.total_kimg": 0.004, "train.lr_decay_share": 0.0}
    options = {"data": str(photos), "overrides": small, "log": lambda line: None}
    zoo.train("faces-dcgan", out=tmp_path / "first", **options)
    release(tmp_path / "first", out=tmp_path / "weights", metrics={})
    zoo.train("faces-dcgan", out=tmp_path / "second", start=tmp_path / "weights", **options)
    tuned = release(tmp_path / "second", out=tmp_path / "tuned", metrics={})

    text = (tuned / "README.md").read_text(encoding="utf-8")
    assert "The networks started from the weights of `weights`." in text
    assert "earlier release" not in text
    (command,) = re.findall(r"`zoo train (.*)` trains it again", text)
    words = [{"FOLDER": photos, "WEIGHTS": tmp_path / "weights"}.get(word, word) for word in command.split()]
    again = subprocess.run([sys.executable, "-m", "zoo", "train", *words], cwd=tuned, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
