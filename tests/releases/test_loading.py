from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.releases import METRICS, SMALL, write_model
from safetensors.torch import load_file, save_file

import zoo
from zoo.errors import AlreadyExistsError, InvalidFileError, InvalidValueError, NotFoundError, NoWeightsError
from zoo.faces.architectures.dcgan import DCGAN
from zoo.faces.architectures.gan import VanillaGAN
from zoo.io import weights
from zoo.io.weights import SUMS, digest, read_sums, verify, write_sums
from zoo.nn.no_init import no_init
from zoo.recipe import load_recipe
from zoo.registry import registry
from zoo.releases import loading
from zoo.releases.card import card_suffixes
from zoo.releases.exporting import copy_recipe, release
from zoo.releases.loading import load_folder
from zoo.releases.verifying import verify_weights
from zoo.styled import DIRECTIONS


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released weights of a small DCGAN."""
    folder = tmp_path_factory.mktemp("released")
    recipe = load_recipe("faces-dcgan", SMALL)
    torch.manual_seed(0)
    write_model(recipe, folder)
    return folder


@pytest.fixture
def folder(released: Path, tmp_path: Path) -> Path:
    return shutil.copytree(released, tmp_path / "weights")


def resign(folder: Path) -> None:
    """Write the digests again, as somebody who changed the files on purpose would."""
    write_sums(folder)


def test_a_released_folder_loads_by_path(folder: Path):
    """A folder of released weights is loaded by its path, generator and discriminator."""
    model = zoo.load(folder)

    assert model.sample(2, seed=0).tensor.shape == (2, 3, 64, 64)
    assert not model.training


# --- one architecture, one network, no weights -------------------------------------------------------------------


def test_an_architecture_loads_its_own_weights_only(folder: Path, run: Path):
    """`DCGAN.from_pretrained` takes those of a DCGAN, `GAN.from_pretrained` any; others are an error in one line."""
    assert type(DCGAN.from_pretrained(folder)) is DCGAN
    assert type(zoo.GAN.from_pretrained(run)) is DCGAN
    assert DCGAN.from_pretrained(folder).name == str(folder)
    for name in (folder, run):
        with pytest.raises(InvalidFileError, match="weights of DCGAN, not of VanillaGAN") as refusal:
            VanillaGAN.from_pretrained(name)
        assert "\n" not in str(refusal.value)


def test_another_architecture_is_refused_before_its_weights_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """What is refused is not read first."""
    monkeypatch.setattr(loading, "load_weights", lambda *_: pytest.fail("weights were read"))

    with pytest.raises(InvalidFileError, match="not of VanillaGAN"):
        VanillaGAN.from_pretrained(folder)


def test_the_generator_loads_alone(folder: Path, run: Path):
    """Without a discriminator in memory, and without a look at its file."""
    expected = zoo.load(folder).sample(2, seed=0).tensor
    (folder / "discriminator.safetensors").write_bytes(b"damaged")

    model = zoo.load(folder, discriminator=False)

    assert list(model.networks) == ["generator"]
    assert torch.equal(model.sample(2, seed=0).tensor, expected)
    assert list(zoo.load(run, discriminator=False).networks) == ["generator"]
    with pytest.raises(InvalidFileError, match="discriminator"):
        zoo.load(folder)
    (folder / "generator.safetensors").write_bytes(b"damaged")
    with pytest.raises(InvalidFileError, match="generator"):
        zoo.load(folder, discriminator=False)


@pytest.mark.parametrize("name", registry.names())
def test_every_entry_can_be_made_without_weights(name: str, monkeypatch: pytest.MonkeyPatch):
    """`zoo.create` makes the networks of the recipe."""
    monkeypatch.setattr(loading, "choose_device", torch.device)
    with torch.device("meta"), no_init():
        model = zoo.create(name, device="meta")

    assert type(model) is load_recipe(name).architecture_class
    assert not model.training
    assert model.name == ""


def test_new_networks_have_the_values_that_were_asked_for(tmp_path: Path):
    """Values of `[model]`, checked as in a recipe; a recipe of one's own has no name but its path."""
    torch.manual_seed(0)
    first = zoo.create("faces-dcgan", width=4, latent_dim=10)
    torch.manual_seed(0)
    again = zoo.create("faces-dcgan", width=4, latent_dim=10)

    assert (first.config.width, first.config.latent_dim) == (4, 10)
    assert torch.equal(first.sample(2, seed=0).tensor, again.sample(2, seed=0).tensor)
    path = copy_recipe("faces-dcgan", tmp_path / "mine.toml")
    assert zoo.create(path, width=4).config.width == 4


@pytest.mark.parametrize(
    ("name", "values", "error", "told"),
    [
        ("faces-dcgan", {"widht": 4}, NotFoundError, 'faces-dcgan: no .*"widht".*Did you mean "width"'),
        ("faces-dcgan", {"width": "4"}, InvalidValueError, "width = '4' should be a whole number"),
        ("faces-dcgan", {"width": -1}, InvalidValueError, "width = -1 should be from 1"),
        ("faces-dcgann", {}, NotFoundError, 'Did you mean "faces-dcgan"'),
        ("faces-dcgan", {"pretrained": True, "width": 4}, InvalidValueError, r"weights have width = \d+, not 4; leave"),
        ("faces-dcgan", {"pretrained": True, "widht": 4}, NotFoundError, 'Did you mean "width"'),
    ],
)
def test_networks_that_cannot_be_made_are_refused(name: str, values: dict, error: type[Exception], told: str):
    """By name, with the nearest, and with a value that would have worked."""
    with pytest.raises(error, match=told) as refusal:
        zoo.create(name, **values)
    assert "\n" not in str(refusal.value)


def test_networks_without_weights_are_not_pretrained(unreleased: str):
    """It says how weights are made."""
    with pytest.raises(NoWeightsError, match=f"no released weights yet; `zoo train {unreleased}"):
        zoo.create(unreleased, pretrained=True)


def test_pretrained_networks_are_those_that_are_loaded():
    """`pretrained=True` loads; a value that the weights have anyway may be said."""
    model = zoo.load("faces-gan")
    created = zoo.create("faces-gan", pretrained=True, latent_dim=model.config.latent_dim)

    assert torch.equal(created.sample(2, seed=0).tensor, model.sample(2, seed=0).tensor)
    assert created.name == "faces-gan"


@pytest.mark.parametrize("entry", ["", "video-styleganv"])  # the second initializes constants with noise
def test_loading_and_sampling_leave_torch_s_random_numbers_alone(folder: Path, entry: str):
    """A program's own random numbers do not depend on whether it loaded or sampled a model."""
    before = torch.get_rng_state()

    zoo.sample(entry or folder, 2, seed=0)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bounds", [(0.0, 1.0, -2.0, 2.0), (3.0, 1.0, 2.9, 9.0), (0.0, 1.0, 1.5, 2.0)])
def test_building_without_drawing_ends(bounds: tuple[float, float, float, float]):
    """An initializer that draws until all values are within bounds ends, and torch's generator is restored."""
    before = torch.get_rng_state()

    with no_init():
        tensor = torch.nn.init.trunc_normal_(torch.full((1000,), 100.0), *bounds)

    assert tensor.min() >= bounds[2]
    assert tensor.max() <= bounds[3]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("change", ["flip", "cut", "grow", "empty"])
@pytest.mark.parametrize("signed", [False, True])
def test_damaged_weights_are_refused(folder: Path, change: str, signed: bool):
    """Flipped, cut, longer and empty files are refused, by digest, or by format where the digest was forged."""
    path = folder / "generator.safetensors"
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[9] ^= 0xFF
    path.write_bytes({"cut": content[:-10], "grow": content + b"\0" * 10, "empty": b""}.get(change, content))
    if signed:
        resign(folder)

    with pytest.raises(InvalidFileError, match=r"generator\.safetensors"):
        zoo.load(folder)


def test_missing_and_renamed_files_are_named(folder: Path):
    """A missing file is named, whether its digest is listed or not."""
    (folder / "discriminator.safetensors").rename(folder / "critic.safetensors")
    with pytest.raises(InvalidFileError, match=r"discriminator\.safetensors: missing"):
        zoo.load(folder)

    (folder / SUMS).unlink()
    with pytest.raises(InvalidFileError, match=r"discriminator\.safetensors: missing"):
        zoo.load(folder)


def test_weights_of_another_size_or_architecture_are_refused(folder: Path, tmp_path: Path):
    """The error of weights that do not fit config.json names the tensor; that of a foreign network says so."""
    config = json.loads((folder / "config.json").read_text())
    config["config"]["width"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    resign(folder)
    with pytest.raises(InvalidFileError, match=r"config\.json asks for"):
        zoo.load(folder)

    small = load_recipe("faces-gan", ["model.generator_units=4", "model.maxout_units=4"])
    other = write_model(small, tmp_path / "other")
    shutil.copy(folder / "generator.safetensors", other / "generator.safetensors")
    resign(other)
    with pytest.raises(InvalidFileError, match="not weights of VanillaGAN"):
        zoo.load(other)


def test_a_config_cannot_name_code_or_claim_memory(folder: Path):
    """config.json names registered architectures only, and a huge network is refused before it is allocated."""
    config = json.loads((folder / "config.json").read_text())
    for content in (
        {**config, "architecture": "os:system"},
        {**config, "format": 2},
        {**config, "config": {**config["config"], "width": 10**9}},
        {**config, "config": {**config["config"], "width": 512, "resolution": 512}},
        {**config, "config": {**config["config"], "color": 1}},
        [],
    ):
        (folder / "config.json").write_text(json.dumps(content))
        resign(folder)
        with pytest.raises(InvalidFileError):
            zoo.load(folder)


def test_a_header_that_claims_terabytes_is_refused(folder: Path):
    """A safetensors header larger than its file is refused at once."""
    header = json.dumps({"main.0.weight": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})
    (folder / "generator.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    resign(folder)

    with pytest.raises(InvalidFileError, match="not a whole safetensors file"):
        zoo.load(folder)


def test_numbers_that_are_not_finite_are_refused(folder: Path):
    """A NaN among the weights is found before anything is sampled."""
    state = load_file(folder / "generator.safetensors")
    state["main.0.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, folder / "generator.safetensors")
    resign(folder)

    with pytest.raises(InvalidFileError, match="not finite"):
        zoo.load(folder)


def test_the_recipe_s_digest_is_trusted_over_the_folder_s(folder: Path):
    """A folder whose files match its own digests, but not the recipe's, is refused."""
    with pytest.raises(InvalidFileError, match="the recipe's digest"):
        load_folder(folder, sha256={"generator.safetensors": "0" * 64})


def test_digests_cannot_lead_out_of_the_folder(folder: Path):
    """A path in SHA256SUMS that leads out of the folder is refused and not read."""
    (folder / SUMS).write_text(f"{'0' * 64}  ../../etc/passwd\n")

    with pytest.raises(InvalidFileError, match="leads out"):
        verify(folder, {})


@pytest.mark.parametrize(
    "text",
    [
        f"{'0' * 64}  {'a/' * 490_000}b\n",
        f"{'0' * 64}  {'a/' * 127}bc\n",
        "".join(f"{'0' * 64}  {i}\n" for i in range(4097)),
        "a" * 1_000_000,
    ],
    ids=["a path of many parts", "a path of 256 characters", "many lines", "a long line"],
)
def test_a_list_of_digests_is_bounded_before_a_path_is_looked_up(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
):
    """Each part of a path is looked up on the disk, so long paths and many lines are refused before."""
    (folder / SUMS).write_text(text)
    resolve = weights.resolve_inside
    monkeypatch.setattr(
        weights, "resolve_inside", lambda here, name: resolve(here, name) if name == SUMS else pytest.fail(name[:80])
    )

    with pytest.raises(InvalidFileError, match=SUMS) as refused:
        read_sums(folder)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "",
        lambda text: "".join(line for line in text.splitlines(keepends=True) if "generator" not in line),
        lambda text: text.replace("  generator", "  ./generator"),
        lambda text: text.replace("  config", "  ./config"),
    ],
    ids=["empty", "a line lost", "a weight by another name", "the config by another name"],
)
def test_where_there_is_a_list_every_opened_file_is_on_it(folder: Path, edit: Callable[[str], str]):
    """A changed weight is not accepted because its line in SHA256SUMS is gone; `zoo verify` says so, too."""
    (folder / SUMS).write_text(edit((folder / SUMS).read_text()))

    with pytest.raises(InvalidFileError, match=f"not in {SUMS}"):
        zoo.load(folder)
    (result,) = verify_weights(str(folder))
    assert f"not in {SUMS}" in result.problem


def test_names_that_are_nothing_say_what_they_could_be(tmp_path: Path):
    """The error of an unknown name suggests entries; that of an empty folder says what it lacks."""
    with pytest.raises(NotFoundError, match="faces-dcgan"):
        zoo.load("faces-dcgn")
    with pytest.raises(InvalidFileError, match="neither released weights"):
        zoo.load(tmp_path)


def test_a_model_without_a_discriminator_says_so(folder: Path):
    """Where it is asked for; other names are as unknown as ever. A seed that is none is an error in words, too."""
    model = zoo.load(folder, discriminator=False)
    with pytest.raises(AttributeError, match="without a discriminator"):
        model.discriminator  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'critic'"):
        model.critic  # noqa: B018
    with pytest.raises(InvalidValueError, match=r"seed = \[1, 2\] should be one whole number"):
        model.sample(2, seed=[1, 2])


def test_a_checkpoint_of_a_run_is_loaded_by_its_path(run: Path):
    """Snapshots are compared so. The folder of all of them is no weights, and the error says what is."""
    trained = zoo.load(run)
    checkpoints = run / "checkpoints"
    (newest,) = checkpoints.glob("step-*.pt")
    state = torch.load(newest, weights_only=True)
    state["average"] = {name: value + 1 for name, value in state["average"].items()}
    torch.save(state, checkpoints / "step-000000001.pt")

    other = zoo.load(checkpoints / "step-000000001.pt")

    weight = next(iter(trained.generator.state_dict()))
    torch.testing.assert_close(other.generator.state_dict()[weight], trained.generator.state_dict()[weight] + 1)
    with pytest.raises(NoWeightsError, match=r"name the run, .*/run, or one of the files"):
        zoo.load(checkpoints)
    (checkpoints / "step-000000001.pt").write_bytes(b"")
    with pytest.raises(InvalidFileError, match="damaged"):
        zoo.load(checkpoints / "step-000000001.pt")


def test_a_run_without_metrics_is_released_where_that_is_asked_for(run: Path, tmp_path: Path):
    """The card says so; else the error names the way."""
    with pytest.raises(NoWeightsError, match="--unmeasured"):
        release(run, out=tmp_path / "out")

    folder = release(run, out=tmp_path / "out", unmeasured=True)

    assert zoo.load(folder).generator is not None
    assert json.loads((folder / "metrics.json").read_text()) == {}


def bundled() -> list[str]:
    return [name for name, entry in registry.entries.items() if entry.bundled.is_dir()]


OF_MODELS = {"nll_held_out", "nll_lower_bound", "nll_policy", "energy_accuracy", "effective_candidates"}
"""Metrics of what a model says about data, which real data cannot have."""


@pytest.mark.parametrize("name", bundled())
def test_bundled_weights_are_what_their_recipe_states(name: str):
    """Each bundled entry has every file of a release, the digests of its recipe, and a card with its samples.

    Each metric has its real-against-real value, except those of a likelihood: real data has none.
    """
    entry = registry.entries[name]
    model = zoo.load(name)

    assert set(entry.weights.sha256) == {f"{network}.safetensors" for network in model.networks}
    metrics = json.loads((entry.bundled / "metrics.json").read_text())
    grids = {f"samples/grid{suffix}" for suffix in card_suffixes(model.Output)}
    files = {"config.json", "recipe.toml", "README.md", "metrics.json", *grids, *model.ASSETS, *entry.weights.sha256}
    files |= {DIRECTIONS} if getattr(model, "named_directions", None) else set()
    files |= {"samples/curve.png"} if "curve" in metrics else set()
    assert files == set(read_sums(entry.bundled))
    assert verify(entry.bundled, entry.weights.sha256) == len(files)
    card = (entry.bundled / "README.md").read_text()
    assert all(grid in card for grid in grids)
    assert model.config == load_recipe(entry).model
    assert {metric["name"] for metric in metrics["metrics"] if metric["real_vs_real"] is None} <= OF_MODELS


def test_bundled_weights_fit_into_the_package():
    """All weights together stay below 95 MB."""
    folder = Path(zoo.__file__).parent / "weights"

    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 95e6


def test_release_writes_a_whole_folder(run: Path, tmp_path: Path):
    """A release holds networks, config, recipe, card, metrics, samples and digests, and loads again."""
    place = release(run, out=tmp_path / "released", metrics=METRICS)

    assert zoo.load(place).sample(1, seed=0).tensor.shape == (1, 3, 64, 64)
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()} == {
        "generator.safetensors", "discriminator.safetensors", "config.json", "recipe.toml", "README.md",
        "metrics.json", "samples/grid.png", SUMS,
    }  # fmt: skip
    card = (place / "README.md").read_text()
    assert card.startswith("---\n")
    assert "\nlibrary_name: gan-zoo\nlicense: apache-2.0\n" in card
    assert "| frechet_distance | 1.5 | 0.25 |" in card
    assert load_recipe(place / "recipe.toml").train.batch == 4


def test_releasing_twice_gives_the_same_bytes(run: Path, tmp_path: Path):
    """The same run gives the same bytes again, and a release replaces an older one completely."""
    first = {path.name: digest(path) for path in release(run, out=tmp_path / "r", metrics=METRICS).glob("*.*")}
    second = {path.name: digest(path) for path in release(run, out=tmp_path / "r", metrics=METRICS).glob("*.*")}

    assert first == second
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".r")] == []


def test_a_release_destroys_nothing_else(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that holds something other than released weights, such as the run itself, is not replaced."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"a picture")
    monkeypatch.chdir(run)
    for place in (tmp_path / "photos", tmp_path / "photos" / "holiday.jpg", run, Path(), Path("..")):
        with pytest.raises(AlreadyExistsError, match="would be lost"):
            release(run, out=place, metrics=METRICS)
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"a picture"
    assert list((run / "checkpoints").iterdir())

    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / SUMS).write_text("")
    with pytest.raises(AlreadyExistsError, match="would be lost"):
        release(run, out=tmp_path / "sums", metrics=METRICS)

    (tmp_path / "empty").mkdir()
    released = release(run, out=tmp_path / "empty", metrics=METRICS)
    assert (released / SUMS).is_file()

    (released / ".git").mkdir()
    (released / ".git" / "HEAD").write_text("ref: refs/heads/main")
    with pytest.raises(AlreadyExistsError, match=r"HEAD: .* would be lost"):
        release(run, out=released, metrics=METRICS)
    assert (released / ".git" / "HEAD").is_file()


def test_a_folder_beside_snapshots_is_no_snapshot(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user's own folder may be called so; it is checked as any other, and a relative path is no traceback."""
    released = release(run, out=tmp_path / "snapshots" / "mine", metrics=METRICS)
    monkeypatch.chdir(tmp_path)
    assert [result.problem for result in verify_weights("snapshots/mine")] == [""]

    (released / "discriminator.safetensors").unlink()
    assert "discriminator.safetensors: missing" in verify_weights(str(released))[0].problem


def test_a_run_on_other_data_is_not_released_as_the_entry(run: Path):
    """A training on a user's own photos does not replace the package's weights."""
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace('name = "synthetic-faces"', 'folder = "/photos"\nname = ""', 1))

    with pytest.raises(InvalidValueError, match=r"other data.*--out"):
        release(run, metrics=METRICS)


def test_release_needs_metrics_of_this_state(run: Path, tmp_path: Path):
    """A run that was not evaluated, or was trained on since, is not released."""
    with pytest.raises(NoWeightsError, match="zoo evaluate"):
        release(run, out=tmp_path / "released")
    for damaged in (
        '{"kimg": 0.0',
        "[]",
        "{}",
        '{"kimg": 0.0, "metrics": [{"name": "x"}]}',
        '{"kimg": 0, "metrics": 3}',
    ):
        (run / "metrics.json").write_text(damaged)
        with pytest.raises(InvalidFileError, match="damaged"):
            release(run, out=tmp_path / "released")
    (run / "metrics.json").write_text(json.dumps({**METRICS, "kimg": 0.004}))
    with pytest.raises(InvalidFileError, match=r"measured at 0\.004"):
        release(run, out=tmp_path / "released")

    assert not (tmp_path / "released").exists()


def test_recipe_copy_keeps_comments_and_drops_weights(tmp_path: Path):
    """A copied recipe has the comments of the original and no digests of released weights."""
    path = copy_recipe("faces-dcgan", tmp_path / "mine.toml")

    assert "# The deep convolutional GAN" in path.read_text()
    assert "sha256" not in path.read_text()
    assert load_recipe(path).train == load_recipe("faces-dcgan").train
    with pytest.raises(AlreadyExistsError, match="exists already"):
        copy_recipe("faces-dcgan", tmp_path / "mine.toml")


@pytest.mark.skipif(not registry.entries["faces-dcgan"].has_weights, reason="no released weights yet")
def test_loading_reads_the_config_once_and_lays_the_networks_out_once(monkeypatch: pytest.MonkeyPatch):
    """A bundled entry's config.json is parsed once; its networks are laid out once, and built once."""
    calls: dict[str, int] = {"read": 0, "built": 0}
    read, init = loading._read_config, DCGAN.__init__

    def count_reads(folder: Path):
        calls["read"] += 1
        return read(folder)

    def count_builds(self: DCGAN, config: object) -> None:
        calls["built"] += 1
        init(self, config)

    monkeypatch.setattr(loading, "_read_config", count_reads)
    monkeypatch.setattr(DCGAN, "__init__", count_builds)
    zoo.load("faces-dcgan")

    assert calls == {"read": 1, "built": 2}  # once on the meta device, for the shapes
