"""A training session opens and parses each thing once, takes overrides in any form, and says what it does."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

import zoo
from zoo import recipe as recipe_module
from zoo.errors import InvalidValueError, NotFoundError, WriteError
from zoo.gan import GAN
from zoo.recipe import load_recipe
from zoo.training.run import Run
from zoo.training.session import advise_on_few_samples, list_overrides, open_data


def test_resuming_parses_the_recipe_once_and_opens_the_run_once(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run is opened once, and its recipe is parsed once and compared once."""
    small = ["model.width=4", "train.batch=4", "train.total_kimg=0.008", "train.lr_decay_share=0"]
    zoo.train("faces-dcgan", out=tmp_path / "run", data=str(photos), overrides=small, log=lambda line: None)
    calls: Counter[str] = Counter()

    def count_calls(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def count(*args: object, **options: object) -> object:
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, staticmethod(count) if name == "open" else count)

    count_calls(Run, "open")
    count_calls(Run, "check_same_training")
    count_calls(Run, "resume_as")
    for module in (recipe_module, __import__("zoo.training.run", fromlist=["run"])):
        count_calls(module, "parse_recipe")
    zoo.train(resume=tmp_path / "run", log=lambda line: None)

    assert calls == {"open": 1, "check_same_training": 1, "resume_as": 1, "parse_recipe": 1}


SMALL = {"model.width": 4, "train.batch": 4, "train.total_kimg": 0.008, "train.lr_decay_share": 0.0}


def test_overrides_are_a_mapping_a_text_or_texts():
    """All three ways give the same texts; a value that no recipe can have is refused by name."""
    assert list_overrides({"train.batch": 8, "train.loss": "hinge", "train.augment": ["color"]}) == [
        "train.batch=8",
        'train.loss="hinge"',
        'train.augment=["color"]',
    ]
    assert list_overrides("train.batch=8") == ["train.batch=8"]
    assert list_overrides(("a=1", "b=2")) == ["a=1", "b=2"]
    with pytest.raises(InvalidValueError, match="numbers, texts"):
        list_overrides({"train.batch": object()})


def test_a_recipe_object_takes_overrides_data_and_weights(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As an entry does; the weights to start from stay on the CPU until they are copied."""
    devices: list[str] = []
    load_weights = zoo.load

    def load(name: str, device: str = "auto") -> GAN:
        devices.append(device)
        return load_weights(name, device=device)

    monkeypatch.setattr("zoo.releases.loading.load", load)
    given = {"train.batch": 4, "train.total_kimg": 0.004, "train.lr_decay_share": 0.0}
    said: list[str] = []
    recipe = load_recipe("faces-dcgan")
    zoo.train(recipe, out=tmp_path / "run", data=str(photos), start="faces-dcgan", overrides=given, log=said.append)
    zoo.train(
        recipe,
        resume=tmp_path / "run",
        data=str(photos),
        overrides={**given, "train.start": "faces-dcgan"},
        log=said.append,
    )

    done = Run.open(tmp_path / "run").recipe
    assert (done.train.batch, done.data.folder, done.train.start) == (4, str(photos), "faces-dcgan")
    assert devices == ["cpu"]


def test_a_training_says_what_it_trains_on_and_what_helps_few_samples(photos: Path, tmp_path: Path):
    """The counts, the size and the device come before the first step; advice names arguments that are accepted."""
    lines: list[str] = []
    longer = {**SMALL, "train.total_kimg": 0.04}
    zoo.train("faces-dcgan", out=tmp_path / "run", data=str(photos), overrides=longer, log=lines.append)

    said = next(line for line in lines if "to train on" in line)
    assert re.search(r"\d+ samples to train on, \d+ held out, 64 x 64 x 3 each; on cpu", said)
    advice = next(line for line in lines if "are few" in line)
    assert "train.augment=ada" in advice

    lines.clear()
    options = {"data": str(photos), "start": "faces-dcgan", "log": lines.append}
    overrides = {"train.batch": 4, "train.total_kimg": 0.004, "train.augment": "ada"}
    zoo.train("faces-dcgan", out=tmp_path / "started", overrides=overrides, **options)
    assert Run.open(tmp_path / "started").recipe.train.start == "faces-dcgan"
    assert not any("are few" in line for line in lines)


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        ([], "--from faces-dcgan train.augment=ada"),
        (["model.width=4"], "train.augment=ada"),
        (["train.total_kimg=0.004"], ""),
    ],
)
def test_advice_on_few_samples_is_advice_that_works(photos: Path, overrides: list[str], advice: str):
    """Weights of another width do not fit; and what a training sees once is not learned by heart."""
    recipe = load_recipe("faces-dcgan", overrides, data=str(photos))

    assert advise_on_few_samples(recipe, open_data(recipe)).partition("These help: ")[2] == advice


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_read(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/run: cannot write here: Not a directory"):
        zoo.train("faces-dcgan", out=tmp_path / "file" / "run", data=tmp_path / "no", overrides=SMALL)


def test_only_a_new_training_starts_from_weights(tmp_path: Path):
    """`start` beside `resume` is refused."""
    with pytest.raises(InvalidValueError, match="start is for a new one"):
        zoo.train(resume=tmp_path, start="faces-dcgan")


def test_resuming_a_finished_training_says_so_and_how_to_train_longer(photos: Path, tmp_path: Path):
    """The line has the command, and the command works."""
    lines: list[str] = []
    run = tmp_path / "run"
    zoo.train("faces-dcgan", out=run, data=str(photos), overrides=SMALL, log=lambda line: None)
    zoo.train(resume=run, log=lines.append)
    (said,) = [line for line in lines if "training is finished" in line]

    assert said == (
        f"{run}: this training is finished, at 0.008 kimg. To train longer: zoo train --resume {run} "
        "train.total_kimg=0.016"
    )
    zoo.train(resume=run, overrides=said.split()[-1], log=lines.append)
    assert Run.open(run).kimg == pytest.approx(0.016)


def test_a_finished_training_whose_rates_have_fallen_is_trained_on_in_a_new_run(photos: Path, tmp_path: Path):
    """Resuming it is refused, so the line has another command, which the refusal has as well, and which works."""
    lines: list[str] = []
    run = tmp_path / "run"
    zoo.train("faces-dcgan", out=run, data=photos, overrides={**SMALL, "train.lr_decay_share": 0.5}, log=lines.append)
    zoo.train(resume=run, log=lines.append)
    command = f"zoo train {run / 'recipe.toml'} --out NEW_FOLDER --from {run} --data {photos}"

    assert lines[-1].endswith(f"To train longer: {command}")
    with pytest.raises(InvalidValueError, match=re.escape(f"Start a new run from its weights: {command}")):
        zoo.train(resume=run, overrides="train.total_kimg=0.016", log=lines.append)
    again = zoo.train(run / "recipe.toml", out=tmp_path / "again", start=run, data=photos, log=lines.append)
    assert Run.open(again).kimg == pytest.approx(0.008)


def test_a_resumed_run_keeps_its_own_weights(photos: Path, tmp_path: Path):
    """Only a new run starts from the named weights; one that is refused leaves no folder behind."""
    overrides = {**SMALL, "train.generator.lr": 1e-5, "train.discriminator.lr": 1e-5}
    options = {"data": str(photos), "log": lambda line: None}
    zoo.train("faces-dcgan", out=tmp_path / "first", overrides=SMALL, **options)
    zoo.train("faces-dcgan", out=tmp_path / "second", overrides=overrides, start=tmp_path / "first", **options)
    first, second = (Run.open(tmp_path / name).load()[0] for name in ("first", "second"))
    zoo.train(resume=tmp_path / "second", overrides="train.total_kimg=0.012", log=lambda line: None)
    third = Run.open(tmp_path / "second").load()[0]

    moved = [
        float(sum((a - b).detach().abs().sum() for a, b in zip(third.parameters(), other.parameters(), strict=True)))
        for other in (second, first)
    ]
    assert 0 < moved[0] < moved[1]
    wider = {**SMALL, "model.width": 6}
    with pytest.raises(InvalidValueError, match="width = 4 instead of width = 6"):
        zoo.train("faces-dcgan", out=tmp_path / "third", overrides=wider, start=tmp_path / "first", **options)
    assert not (tmp_path / "third").exists()


def test_data_may_be_a_path(photos: Path, tmp_path: Path):
    """As the run folder and the weights may."""
    zoo.train("faces-dcgan", out=tmp_path / "run", data=photos, overrides=SMALL, log=lambda line: None)

    assert Run.open(tmp_path / "run").recipe.data.folder == str(photos)


def test_what_cannot_be_evaluated_is_refused_before_the_first_step(photos: Path, tmp_path: Path):
    """And before there is a folder: too few held-out samples, and features that nobody knows."""
    options = {"out": tmp_path / "run", "overrides": {**SMALL, "train.evaluate_kimg": 1}}
    with pytest.raises(InvalidValueError, match="at least 6 samples are needed"):
        zoo.train("faces-dcgan", data=photos, **options, log=lambda line: None)

    many = tmp_path / "many"
    many.mkdir()
    for level in range(120):
        Image.new("RGB", (64, 64), (level, 0, 0)).save(many / f"{level}.png")
    options["overrides"]["evaluate.features"] = "zoo:x"
    with pytest.raises(NotFoundError, match='no features "zoo:x"'):
        zoo.train("faces-dcgan", data=many, **options, log=lambda line: None)

    assert not (tmp_path / "run").exists()
