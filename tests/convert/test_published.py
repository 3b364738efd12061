"""Weights that others published: told by names and shapes, converted, loaded, and written the other way."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.convert.published import convert, list_families, read_published
from zoo.errors import AlreadyExistsError, InvalidFileError, ZooError
from zoo.io.weights import write_sums
from zoo.recipe import load_recipe

SNAPSHOT = Path(__file__).parents[1] / "golden" / "stylegan2-32-uncond" / "network-snapshot.pkl"


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """The published StyleGAN2 as a folder of weights."""
    return convert(SNAPSHOT, tmp_path / "faces")


def test_a_snapshot_becomes_a_folder_that_loads(converted: Path):
    """The averaged generator and the discriminator, with the sizes of the snapshot and the terms of its family."""
    model = zoo.load(converted, device="cpu")

    assert (model.config.resolution, model.config.latent_dim, model.config.channel_max) == (32, 32, 32)
    assert list(model.networks) == ["generator", "discriminator"]
    samples = model.sample(4, seed=0, truncation=0.7).tensor
    assert samples.shape == (4, 3, 32, 32)
    assert model.discriminator(samples).shape == (4,)
    assert "NVIDIA Source Code License" in (converted / "README.md").read_text()


@pytest.mark.parametrize("target", ["rosinality", "nvidia-state-dict"])
def test_there_and_back_changes_no_bit(command, converted: Path, target: str, tmp_path: Path):
    """A model written for another library and converted again has the same weights and sizes."""
    code, output, errors = command("convert", converted, "--to", target, "--out", tmp_path / "other.pt")
    assert (code, output.strip()) == (0, str(tmp_path / "other.pt")), errors

    code, output, errors = command("convert", tmp_path / "other.pt", "--out", tmp_path / "again", "--license", "mine")

    assert (code, output.strip()) == (0, str(tmp_path / "again")), errors
    first, again = (zoo.load(folder, device="cpu") for folder in (converted, tmp_path / "again"))
    assert again.config == first.config
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_file_without_a_discriminator_gives_a_generator_alone(converted: Path, tmp_path: Path):
    """Better no discriminator than one with random weights; a training's other contents do no harm."""
    model = zoo.load(converted, device="cpu")
    from zoo.convert.rosinality import export

    state = torch.load(export(model, tmp_path / "whole.pt"), weights_only=True)
    extra = {"g_optim": {"state": {}, "param_groups": [{"lr": 0.1}]}, "args": argparse.Namespace(size=32)}
    torch.save({"g": state["g_ema"], "latent_avg": state["latent_avg"], **extra}, tmp_path / "550000.pt")

    alone = zoo.load(convert(tmp_path / "550000.pt", tmp_path / "alone"), device="cpu")

    assert list(alone.networks) == ["generator"]
    assert torch.equal(alone.sample(2, seed=3).tensor, model.sample(2, seed=3).tensor)


@pytest.mark.parametrize("networks", [["discriminator"], ["generator", "other"], "generator", [3]], ids=str)
def test_a_list_of_networks_that_makes_no_model_is_refused(converted: Path, networks: object):
    """A release names its generator, and no network that its architecture lacks."""
    facts = json.loads((converted / "config.json").read_text())
    (converted / "config.json").write_text(json.dumps({**facts, "networks": networks}))
    write_sums(converted)

    with pytest.raises(InvalidFileError, match="networks"):
        zoo.load(converted)


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot's names", "without the module around"])
def test_r3gan_converts_with_its_classes(tmp_path: Path, whole: bool):
    """Published numbers of R3GAN with classes, under either form of their names, keep their sizes and samples."""
    folder = SNAPSHOT.parents[1] / "r3gan-16-cond4"
    prefix = "Model." if whole else ""
    networks = {
        theirs: {prefix + name: value for name, value in load_file(folder / f"{ours}.safetensors").items()}
        for theirs, ours in (("G_ema", "generator"), ("D", "discriminator"))
    }
    torch.save(networks, tmp_path / "r3gan.pt")

    model = zoo.load(convert(tmp_path / "r3gan.pt", tmp_path / "out"), device="cpu")

    assert (model.config.resolution, model.config.labels, model.config.blocks) == (16, 4, (2, 2, 1))
    assert model.sample(4, seed=0, label="2").tensor.shape == (4, 3, 16, 16)
    assert list(model.networks) == ["generator", "discriminator"]


@pytest.mark.parametrize("key", ["", "netG", "netG_state_dict", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_dcgan_in_its_usual_dressings(key: str, prefix: str, tmp_path: Path):
    """Whatever holds the state, and whatever stands before its names, the samples are the same."""
    gan = load_recipe("faces-dcgan", ["model.width=8", "model.resolution=32"]).build().eval()
    state = {prefix + name: value for name, value in gan.generator.state_dict().items()}
    whole = {key: state, "netD": gan.discriminator.state_dict(), "epoch": 7} if key else state
    torch.save(whole, tmp_path / "g.pth")

    model = zoo.load(convert(tmp_path / "g.pth", tmp_path / "out"), device="cpu")

    assert (model.config.resolution, model.config.width) == (32, 8)
    assert list(model.networks) == (["generator", "discriminator"] if key else ["generator"])
    assert torch.equal(model.sample(3, seed=0).tensor, gan.sample(3, seed=0).tensor)


def test_a_dropout_that_shifts_the_numbers_is_left_out(tmp_path: Path):
    """Layers are taken in their order, not by their numbers; statistics of old torch versions may lack a count."""
    gan = load_recipe("faces-dcgan", ["model.width=8", "model.resolution=32"]).build().eval()
    state = {}
    for name, value in gan.generator.state_dict().items():
        _, number, kind = name.split(".")
        if kind != "num_batches_tracked":
            state[f"main.{int(number) + (int(number) > 2)}.{kind}"] = value
    torch.save(state, tmp_path / "g.pth")

    model = zoo.load(convert(tmp_path / "g.pth", tmp_path / "out"), device="cpu")

    assert torch.equal(model.sample(3, seed=0).tensor, gan.sample(3, seed=0).tensor)


def test_an_unknown_file_says_what_was_seen_and_what_is_known(command, tmp_path: Path):
    """One line with some tensors of the file, and the signs of each family."""
    torch.save({"blocks.0.attention.weight": torch.zeros(3, 4)}, tmp_path / "a.pt")

    code, _, errors = command("convert", tmp_path / "a.pt", "--out", tmp_path / "out")

    assert code == 2
    assert len(errors.splitlines()) == 1
    assert "blocks.0.attention.weight [3, 4]" in errors
    assert all(family.name in errors for family in list_families())
    assert not (tmp_path / "out").exists()


def test_a_file_that_only_begins_as_its_family_is_refused(tmp_path: Path):
    """A tensor that is missing, of another shape or not finite is named, and nothing is written."""
    found = read_published(SNAPSHOT)
    states = {
        "missing": {name: value for name, value in found.generator.items() if name != "synthesis.b8.conv0.weight"},
        "shape": {**found.generator, "synthesis.b8.conv0.bias": torch.zeros(7)},
        "finite": {**found.generator, "synthesis.b8.conv0.bias": found.generator["synthesis.b8.conv0.bias"] / 0},
    }
    for name, state in states.items():
        torch.save({"G_ema": dict(state)}, tmp_path / f"{name}.pt")
        with pytest.raises(ZooError, match=r"synthesis\.b8\.conv0"):
            convert(tmp_path / f"{name}.pt", tmp_path / name)
        assert not (tmp_path / name).exists()


def test_nothing_is_overwritten(converted: Path, command):
    """A folder with something in it stays as it is."""
    before = (converted / "SHA256SUMS").read_bytes()

    with pytest.raises(AlreadyExistsError, match="choose another folder"):
        convert(SNAPSHOT, converted)

    assert (converted / "SHA256SUMS").read_bytes() == before
    code, _, errors = command("convert", "faces-dcgan", "--to", "rosinality", "--out", converted / "x.pt")
    assert code == 2
    assert "--to writes StyleGAN2" in errors
