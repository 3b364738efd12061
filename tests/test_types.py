"""What a type checker knows of the public face: a user's script is checked by `mypy --strict`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[1]

SCRIPT = '''
"""A user's script with all of the public face."""

import io
from collections.abc import Mapping

import torch

import zoo
from zoo.errors import ZooError
from zoo.faces.architectures.dcgan import DCGAN
from zoo.modality import load_modality
from zoo.samples import Images, Samples
from zoo.steering import learn_directions, project, steering_of
from zoo.styled import StyledGAN
from zoo.training.callbacks import Callback, CSVLog


class Printer(Callback):
    def on_log(self, kimg: float, values: Mapping[str, float]) -> None:
        print(kimg, values["loss"])


def use_images() -> None:
    model = zoo.load("faces-dcgan", device="cpu")
    reveal_type(model)  # zoo.faces.architectures.dcgan.DCGAN
    samples = model.sample(16, seed=0, batch_size=8)
    reveal_type(samples)  # zoo.samples.Images
    reveal_type(samples[0])  # zoo.samples.Images
    reveal_type(samples[:4].to_pil())  # list[PIL.Image.Image]
    reveal_type(samples.tensor)  # torch._tensor.Tensor
    reveal_type(samples.latents)  # torch._tensor.Tensor | None
    reveal_type(samples.save("faces.png", scale=2))  # pathlib.Path
    reveal_type(samples.to_bytes(".png"))  # bytes
    samples.save(io.BytesIO(), format=".png")
    for each in samples:
        reveal_type(each)  # zoo.samples.Images
        each.grid(columns=1).show()
    with torch.no_grad():
        print(model.discriminator(samples.tensor).mean())
    reveal_type(model.interpolate(2, steps=3))  # zoo.samples.Images
    reveal_type(model.generate(samples.tensor))  # zoo.samples.Images
    reveal_type(model.walk(8))  # zoo.animation.Walk
    reveal_type(DCGAN.from_pretrained("me/my-faces", discriminator=False))  # zoo.faces.architectures.dcgan.DCGAN
    reveal_type(model.push_to_hub("me/my-faces", dry_run=True).revision)  # str


def use_other_kinds() -> None:
    reveal_type(zoo.sample("faces-gan", 4))  # zoo.samples.Images
    reveal_type(zoo.sample("text-mle", 2, temperature=0.8).texts)  # list[str]
    reveal_type(zoo.sample("music-wavegan", 2, label="kick"))  # zoo.music.samples.sounds.Sounds
    reveal_type(zoo.sample("music-musegan", 2)[0].to_midi())  # bytes
    reveal_type(zoo.sample("video-mocogan", 2, label="smile", frames=32))  # zoo.video.samples.Clips
    reveal_type(zoo.load("text-mle-letters").sample())  # zoo.text.samples.Texts
    reveal_type(zoo.load("music-hifigan").sample())  # zoo.music.samples.sounds.Sounds
    reveal_type(zoo.load("music-midinet").sample())  # zoo.music.samples.scores.Scores
    reveal_type(zoo.load("video-styleganv").sample())  # zoo.video.samples.Clips


def use_names() -> None:
    for name in zoo.list_models("faces", pretrained=True):
        model = zoo.load(name, discriminator=False)
        reveal_type(model)  # zoo.gan.GAN[zoo.samples.Samples]
        samples = model.sample(2)
        reveal_type(samples)  # zoo.samples.Samples
        if isinstance(samples, Images):
            samples.to_pil()
        print(zoo.info(name).summary, zoo.registry["faces"]["dcgan"].recipes)
    try:
        reveal_type(zoo.sample("me/my-faces"))  # zoo.samples.Samples
    except ZooError as error:
        print(error)


def use_networks() -> None:
    reveal_type(zoo.create("faces-dcgan", width=4))  # zoo.faces.architectures.dcgan.DCGAN
    reveal_type(zoo.create("text-mle", pretrained=True))  # zoo.text.architectures.mle.MLE
    reveal_type(zoo.create("mine.toml"))  # zoo.gan.GAN[zoo.samples.Samples]


def use_trainings() -> None:
    folder = zoo.train(
        "faces-dcgan", out="runs/a", overrides={"train.batch": 16}, callbacks=[Printer(), CSVLog("log.csv")]
    )
    reveal_type(folder)  # pathlib.Path
    for metric in zoo.evaluate(folder, samples=1000).metrics:
        reveal_type(metric.value)  # float
    reveal_type(zoo.release(folder))  # pathlib.Path
    reveal_type(zoo.publish(folder, repo="me/my-faces").url)  # str


def use_steering() -> None:
    model = zoo.load("faces-stylegan2")
    people = model.sample(8, truncation=0.7, cutoff=4, edit={"smile": 2})
    reveal_type(model.edit(people, smile=2))  # zoo.samples.Images
    reveal_type(model.mix(people, people, layers="fine"))  # zoo.samples.Images
    reveal_type(model.move(people, model.directions(4)[0], 2.0)[0])  # zoo.samples.Images
    styled, steering = steering_of(model, "faces")
    reveal_type(learn_directions(styled, steering)["smile"].moves)  # float
    reveal_type(project("me.jpg", styled, steering).samples)  # zoo.samples.Images


def count(samples: Samples, model: zoo.GAN) -> int:
    return len(samples) + len(model.networks)


count(zoo.sample("text-mle"), zoo.load("text-mle"))
print(load_modality("faces").name, zoo.__version__, isinstance(zoo.load("me/x"), StyledGAN))
'''


def run_mypy(script: Path) -> str:
    home = Path(zoo.__file__).parents[1]
    environment = {**os.environ, "MYPYPATH": "" if home.name == "site-packages" else str(home)}
    # Reading torch takes half a minute, so what is known of it is kept between runs, and shared with the linter's.
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "--config-file=",
    ]
    done = subprocess.run(
        [*command, "--cache-dir", str(ROOT / ".mypy_cache"), script.name],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_a_users_script_is_typed(tmp_path: Path):
    """`mypy --strict` finds nothing to say, and knows the class of each model and of its samples."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    expected = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(SCRIPT.splitlines(), 1)
        if "reveal_type(" in line
    }

    output = run_mypy(script)

    found = {int(line): kind for line, kind in re.findall(r':(\d+): note: Revealed type is "(.*)"', output)}
    assert {line: kind.replace("builtins.", "") for line, kind in found.items()} == expected
    assert "error:" not in output, output
    assert len(expected) > 30


def test_the_types_say_what_there_is():
    """`zoo/__init__.pyi`, which type checkers read in place of `zoo/__init__.py`, has each public name and no other."""
    stub = ast.parse(Path(zoo.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {
        alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname
    }
    defined = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}

    assert {name for name in imported | defined if not name.startswith("_")} == set(zoo.__all__)
    assert all(hasattr(zoo, name) for name in zoo.__all__)
    assert (Path(zoo.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("function", ["load", "create", "sample"])
def test_every_entry_has_a_type(function: str):
    """Each name of the registry is one that the overloads know."""
    stub = Path(zoo.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    lines = "".join(line for line in stub.splitlines() if line.startswith(f"def {function}(name: Literal["))

    assert set(re.findall(r"'([a-z0-9-]+-[a-z0-9-]+)'", lines)) == set(zoo.list_models())
