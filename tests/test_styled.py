"""Models with styles: truncation, mixing, directions, edits and walks, of images and of clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.releases import METRICS, write_model

import zoo
from zoo.animation import Walk
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, ZooError
from zoo.gan import GAN
from zoo.io.weights import write_sums
from zoo.modality import kind_of
from zoo.noise import Noise
from zoo.recipe import load_recipe
from zoo.registry import registry
from zoo.releases.exporting import release
from zoo.releases.loading import load_folder
from zoo.samples import Images
from zoo.styled import DIRECTIONS, Direction, Layers, StyledGAN, join, read_directions, read_layers, write_directions
from zoo.training.loop import run_training
from zoo.training.run import Run
from zoo.training.trainer import Trainer

SIZES = ["model.style_dim=8", "model.latent_dim=8", "model.channel_base=64", "model.channel_max=8"]
SMALL = {
    "faces-stylegan2": [*SIZES, "model.resolution=16", "model.noise=true"],
    "video-styleganv": [*SIZES, "model.resolution=32", "model.motion_dim=8", "model.frames=4"],
}
STYLED = {
    f"{entry.modality}-{entry.architecture}"
    for entry in registry.entries.values()
    if issubclass(load_recipe(entry).architecture_class, StyledGAN)
}


@pytest.fixture(params=SMALL)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return load_recipe(request.param, SMALL[request.param]).build().eval().requires_grad_(False)


@pytest.fixture
def faces() -> Any:
    torch.manual_seed(0)
    return load_recipe("faces-stylegan2", SMALL["faces-stylegan2"]).build().eval().requires_grad_(False)


def test_every_architecture_with_styles_is_tested_here():
    """A new one is added to SMALL."""
    assert set(SMALL) == STYLED


def test_samples_know_the_styles_that_they_are_made_of(model: StyledGAN):
    """Styles make the same samples again, whole or layer by layer; a slice of samples has their rows."""
    samples = model.sample(3, seed=1)
    layers = samples.styles.expand(-1, model.generator.num_styles, -1)

    for styles in (samples.styles, layers):
        again = model.synthesize(styles, latents=samples.latents)
        torch.testing.assert_close(again.tensor, samples.tensor, rtol=0, atol=1e-5)
    torch.testing.assert_close(samples[1:].styles, samples.styles[1:])


def test_truncation_moves_styles_to_their_mean(model: StyledGAN):
    """At 0 all samples have the mean style; a cutoff of 0 truncates nothing, and one of all styles everything."""
    plain, mean = model.sample(2, seed=1), model.sample(2, seed=1, truncation=0.0)
    halfway, count = model.sample(2, seed=1, truncation=0.5), model.generator.num_styles

    torch.testing.assert_close(mean.styles[:, 0], model.mean_style.expand(2, -1), rtol=0, atol=1e-6)
    torch.testing.assert_close(halfway.styles, (plain.styles + mean.styles) / 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.sample(2, seed=1, truncation=0.0, cutoff=0).tensor, plain.tensor)
    torch.testing.assert_close(model.sample(2, seed=1, truncation=0.0, cutoff=count).tensor, mean.tensor)
    partial = model.sample(2, seed=1, truncation=0.0, cutoff=2)
    assert torch.equal(partial.styles[:, :2], mean.styles.expand(-1, 2, -1))
    assert torch.equal(partial.styles[:, 2:], plain.styles.expand(-1, count - 2, -1))


def test_the_mean_of_clips_is_that_of_drawn_styles():
    """StyleGAN-V keeps no running mean, so many styles are drawn."""
    torch.manual_seed(0)
    model = load_recipe("video-styleganv", SMALL["video-styleganv"]).build().eval()

    drawn = model.sample(2000, seed=7, frames=1).styles[:, 0]

    assert (model.mean_style - drawn.mean(0)).abs().max() < 0.1 * drawn.std()


def test_mixes_take_some_layers_from_the_columns(model: StyledGAN):
    """All layers give the columns themselves in every row, and the last one leaves the rows nearly alone."""
    rows, columns = model.sample(2, seed=1), model.sample(3, seed=2)

    whole, coarse = model.mix(rows, columns, layers="all"), model.mix(rows, columns)

    assert len(whole) == len(coarse) == 6
    assert torch.equal(coarse.styles[4, :4], columns.styles[1].expand(4, -1))
    assert torch.equal(coarse.styles[4, 4:], rows.styles[1].expand(coarse.styles.shape[1] - 4, -1))
    if model.Output is Images:  # clips keep the motion of the rows
        torch.testing.assert_close(whole.tensor[:3], columns.tensor, rtol=0, atol=1e-5)
        assert whole.tensor.shape == (6, *rows.tensor.shape[1:])


def test_clips_of_any_length_are_edited_as_they_are():
    """The length and the motion of a clip stay."""
    torch.manual_seed(0)
    model = load_recipe("video-styleganv", SMALL["video-styleganv"]).build().eval().requires_grad_(False)
    clips = model.sample(2, seed=0, frames=21)

    torch.testing.assert_close(model.move(clips, torch.zeros(8)).tensor, clips.tensor, rtol=0, atol=1e-5)


def test_directions_from_weights_are_what_layers_amplify_most(model: StyledGAN):
    """They are orthogonal, a deviation of styles long, and the first changes all styles read by layers the most."""
    found, drawn = model.directions(4), model.draw_styles()

    units = found / found.norm(dim=1, keepdim=True)
    torch.testing.assert_close(units @ units.T, torch.eye(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.norm(dim=1), (drawn @ units.T).std(0), rtol=1e-3, atol=1e-6)
    gains = [sum(float((matrix @ unit).square().sum()) for _, matrix in model.style_matrices()) for unit in units]
    assert gains == sorted(gains, reverse=True)
    others = torch.nn.functional.normalize(torch.randn(20, 8), dim=1)
    assert all(
        gains[0] >= sum(float((matrix @ unit).square().sum()) for _, matrix in model.style_matrices())
        for unit in others
    )
    numbers = [number for number, _ in model.style_matrices()]
    assert set(numbers) == set(range(model.generator.num_styles))


def test_directions_of_some_layers_read_those_alone(faces: StyledGAN):
    """The matrices of other layers do not matter."""
    before = faces.directions(2, layers="coarse")
    for number, matrix in faces.style_matrices():
        if number >= 4:
            matrix.mul_(torch.randn(()))

    torch.testing.assert_close(faces.directions(2, layers="coarse"), before)
    assert not torch.allclose(faces.directions(2), before)


def test_directions_from_samples_are_principal_components(model: StyledGAN):
    """Their deviations fall, and are those of the styles along them."""
    found = model.directions(8, method="samples")

    assert found.norm(dim=1).tolist() == sorted(found.norm(dim=1).tolist(), reverse=True)
    total = model.draw_styles().var(0).sum()
    torch.testing.assert_close(found.square().sum(), total, rtol=1e-3, atol=0)


@pytest.mark.parametrize("k", [0, 9])
def test_directions_that_there_are_not_are_refused(faces: StyledGAN, k: int):
    """A style of eight numbers has eight directions."""
    with pytest.raises(InvalidValueError, match="should be from 1 to 8"):
        faces.directions(k)


def test_other_methods_and_shapes_are_refused(faces: StyledGAN):
    """In one line, and not by another method than was asked for."""
    with pytest.raises(InvalidValueError, match="should be weights or samples"):
        faces.directions(2, method="weight")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"direction \[3\] should be \[8\]"):
        faces.move(faces.sample(1, seed=0), torch.zeros(3))


def test_latents_are_generated_with_styles_of_ones_own(model: StyledGAN):
    """`styles` is an argument of the generator, which `generate` passes on."""
    latents, samples = model.latents(2, Noise(1)), model.sample(2, seed=0)

    made = model.generate(latents, styles=samples.styles)

    assert torch.equal(made.styles, samples.styles)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("coarse", slice(0, 4)),
        ("middle", slice(4, 8)),
        ("fine", slice(8, None)),
        ("3", slice(3, 4)),
        ("2-5", slice(2, 6)),
        (0, slice(0, 1)),
        (slice(1, 3), slice(1, 3)),
    ],
)
def test_layers_by_name_and_number(layers: Layers, expected: slice):
    """Names stand for sizes of maps."""
    assert read_layers(layers, 10) == expected


@pytest.mark.parametrize(
    "layers", ["rough", "4-", "-1", "12", "5-3", "coarse-fine", "9" * 30, 12, -11, slice(None, None, -1)]
)
def test_layers_that_there_are_not_are_refused(layers: Layers):
    """In one line."""
    with pytest.raises(InvalidValueError, match="layers = "):
        read_layers(layers, 10)


def test_edits_move_along_named_directions(faces: StyledGAN):
    """By the amounts given, all at once; a name that is not there is answered by the nearest."""
    vectors = torch.randn(2, 8)
    faces.named_directions = {name: Direction(vector=v) for name, v in zip(("smile", "age"), vectors, strict=True)}
    samples = faces.sample(2, seed=0, truncation=0.7)

    edited = faces.edit(samples, {"age": -1}, smile=2)

    expected = samples.styles + 2 * vectors[0] - vectors[1]
    torch.testing.assert_close(edited.styles, expected.expand(-1, faces.generator.num_styles, -1))
    assert edited.seed == 0
    assert not torch.allclose(edited.tensor, samples.tensor, atol=1e-3)
    with pytest.raises(NotFoundError, match=r'no direction "smiles".*Did you mean "smile"'):
        faces.edit(samples, smiles=2)
    with pytest.raises(InvalidValueError, match="nothing to edit"):
        faces.edit(samples)


def test_edit_is_a_sample_option(folder: Path):
    """`sample`, `walk` and `zoo.sample` take what `edit` takes; what else was asked for stays."""
    model: Any = load_folder(folder)
    for name, parameter in model.generator.named_parameters():
        if name.endswith("noise_strength"):  # 0 at the start
            parameter.data.fill_(1.0)
    samples = model.sample(2, seed=0, truncation=0.7, noise="random", edit={"smile": 2})

    plain = model.sample(2, seed=0, truncation=0.7, noise="random")
    moved = model.generate(plain.latents, truncation=0.7, edit={"smile": 2})
    torch.testing.assert_close(samples.styles, plain.styles + 2 * model.named_directions["smile"].vector)
    torch.testing.assert_close(samples.styles, moved.styles)
    torch.testing.assert_close(
        model.sample(2, seed=0, edit={"smile": 2}).tensor, model.edit(model.sample(2, seed=0), smile=2).tensor
    )
    assert not torch.allclose(samples.tensor, moved.tensor, atol=1e-3)  # the noise is another
    walks = [model.walk(4, seed=0, **options).tensor for options in ({}, {"edit": {"smile": 2}})]
    assert not torch.allclose(*walks, atol=1e-3)
    torch.testing.assert_close(zoo.sample(folder, 2, seed=0, truncation=0.7, edit={"smile": 2}).styles, moved.styles)


@pytest.mark.parametrize(
    ("name", "edit", "told"),
    [
        ("", {"smil": 1}, 'no direction "smil".*Did you mean "smile"'),
        ("", {"smile": float("nan")}, "standard deviations"),
        ("", {"smile": "much"}, "standard deviations"),
        ("faces-dcgan", {"smile": 1}, "DCGAN takes no edit: it has no styles"),
    ],
)
def test_edits_are_refused_in_python_as_on_the_command_line(folder: Path, name: str, edit: dict, told: str):
    """In one line."""
    with pytest.raises(ZooError, match=told):
        zoo.sample(name or folder, 1, edit=edit)


def test_what_has_neither_styles_nor_latents_is_not_edited(faces: StyledGAN):
    """A picture from elsewhere has to be projected first; and styles of another shape make nothing."""
    with pytest.raises(InvalidValueError, match="neither styles nor latents"):
        faces.move(Images(tensor=torch.zeros(1, 3, 16, 16)), torch.zeros(8))
    with pytest.raises(InvalidValueError, match=r"styles \[2, 8\] should be"):
        faces.synthesize(torch.zeros(2, 8))


def test_samples_are_joined(faces: StyledGAN):
    """Rows follow each other, styles and latents too."""
    both = join([faces.sample(2, seed=0), faces.sample(1, seed=1)])

    assert len(both) == len(both.styles) == len(both.latents) == 3
    assert both.seed is None


# --- files -------------------------------------------------------------------------------------------------------


def test_named_directions_are_part_of_a_release(tmp_path: Path):
    """They are read with the weights, and their digest is checked."""
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-stylegan2", SMALL["faces-stylegan2"]), tmp_path / "model")
    assert not load_folder(folder).named_directions
    write_directions(
        {"smile": Direction(vector=torch.randn(8), moves=0.9, leaves=0.1)}, folder / DIRECTIONS, learned={}
    )
    with pytest.raises(InvalidFileError, match=r"directions\.json: not in SHA256SUMS"):
        load_folder(folder)
    write_sums(folder)

    model: Any = load_folder(folder)

    assert list(model.named_directions) == ["smile"]
    assert model.named_directions["smile"].moves == 0.9
    model.edit(model.sample(2, seed=0), smile=1)


VECTOR = {"vector": [0.0] * 8, "moves": 1, "leaves": 0}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"directions": []}',
        '{"directions": {"smile": 3}}',
        '{"directions": {"smile": {"vector": [1, 2], "moves": 1, "leaves": 0}}}',
        '{"directions": {"smile": {"vector": "12345678", "moves": 1, "leaves": 0}}}',
        '{"directions": {"smile": {"vector": [1, 2, 3, 4, 5, 6, 7, NaN], "moves": 1, "leaves": 0}}}',
        '{"directions": {"smile": {"vector": [1, 2, 3, 4, 5, 6, 7, 1e999], "moves": 1, "leaves": 0}}}',
        '{"directions": {"smile": {"vector": [[1, 2, 3, 4], [5, 6, 7, 8]], "moves": 1, "leaves": 0}}}',
        json.dumps({"directions": {"../smile": VECTOR}}),
        json.dumps({"directions": {"a" * 40: VECTOR}}),
        json.dumps({"directions": {f"d{'x' * (i % 9)}{'y' * (i // 9)}": VECTOR for i in range(65)}}),
        json.dumps({"directions": {"smile": {**VECTOR, "moves": "much"}}}),
        "[" * 5000,
    ],
)
def test_other_files_are_no_directions(tmp_path: Path, content: str):
    """They are refused in one line, before anything is edited by them."""
    (tmp_path / DIRECTIONS).write_text(content)

    with pytest.raises(InvalidFileError, match="no named directions"):
        read_directions(tmp_path / DIRECTIONS, 8)


def test_directions_of_a_run_are_released_with_the_weights_that_they_belong_to(
    tmp_path: Path, make_store: Callable[[int], Any]
):
    """The card lists them; those of an earlier state are refused."""
    sizes = [*SMALL["faces-stylegan2"], "train.batch=4", "train.total_kimg=0.008", "train.lr_decay_share=0"]
    recipe, store = load_recipe("faces-stylegan2", sizes), make_store(16)
    run = Run.create(recipe, tmp_path / "run", store.folder)
    run_training(run, Trainer(recipe, store, kind_of(recipe).decode, torch.device("cpu")), log=lambda line: None)
    found = {"smile": Direction(vector=torch.randn(8), moves=0.91, leaves=0.08)}

    write_directions(found, run.folder / DIRECTIONS, learned={"kimg": 0.004})
    with pytest.raises(InvalidFileError, match=r"learned at 0.004 kimg, and the run is at 0.008"):
        release(run.folder, out=tmp_path / "out", metrics=METRICS)
    write_directions(found, run.folder / DIRECTIONS, learned={"kimg": 0.008})
    folder = release(run.folder, out=tmp_path / "out", metrics=METRICS)

    assert "| smile | 0.91 | 0.08 |" in (folder / "README.md").read_text()
    assert load_folder(folder).named_directions["smile"].leaves == 0.08  # type: ignore[attr-defined]


# --- walks -------------------------------------------------------------------------------------------------------


def test_a_walk_is_a_loop_through_its_seeds(faces: StyledGAN):
    """It stops at the first sample of each seed, moves slowly there, and ends a step before its start."""
    walk = faces.walk(40, seeds=[3, 5])

    assert type(walk) is Walk
    for place, seed in ((0, 3), (20, 5)):
        torch.testing.assert_close(walk.tensor[place], faces.sample(1, seed=seed).tensor[0], rtol=0, atol=1e-5)
    steps = (walk.latents.roll(-1, 0) - walk.latents).norm(dim=1)
    assert steps.max() > 5 * steps[0]


def test_noise_does_not_flicker_in_a_walk(faces: StyledGAN):
    """Random noise is drawn once, and is the same in all frames."""
    for layer in faces.generator.modules():
        if hasattr(layer, "noise_strength"):
            layer.noise_strength.fill_(1.0)
    walk = faces.walk(200, seeds=[3, 5], noise="random")
    torch.testing.assert_close(walk.tensor[0], walk.tensor[1], rtol=0, atol=0.05)


def test_a_walk_of_a_seed_repeats(faces: StyledGAN):
    """The seed is in the result, and gives the same walk again."""
    walk = faces.walk(24, seed=4, stops=3)

    torch.testing.assert_close(faces.walk(24, seed=walk.seed, stops=3).tensor, walk.tensor)


def test_a_walk_stays_in_the_class_of_its_first_stop():
    """Halfway between two classes nothing was ever trained."""
    torch.manual_seed(0)
    model = load_recipe("faces-stylegan2", [*SMALL["faces-stylegan2"], "model.labels=3"]).build().eval()

    walk = model.walk(12, seed=0, stops=3)

    assert torch.equal(walk.latents[:, 8:], torch.tensor([1.0, 0, 0]).expand(12, -1))


@pytest.mark.parametrize("arguments", [{"frames": 1}, {"seeds": [1]}, {"stops": 50, "frames": 20}, {"rate": 0}])
def test_walks_that_cannot_be_are_refused(faces: GAN, arguments: dict[str, Any]):
    """In one line."""
    with pytest.raises(InvalidValueError, match="a walk has at least two stops"):
        faces.walk(**arguments)


def test_only_images_walk():
    """A walk of clips would have two times."""
    with pytest.raises(InvalidValueError, match="makes clips"):
        load_recipe("video-styleganv", SMALL["video-styleganv"]).build().walk(20)


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png", ""])
def test_walks_are_saved_as_moving_pictures(faces: GAN, tmp_path: Path, suffix: str):
    """All frames, at their rate."""
    from PIL import Image

    path = faces.walk(6, seed=0, rate=10).save(tmp_path / f"walk{suffix}")

    if suffix == "":
        assert len(list(path.iterdir())) == 6
        return
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == (1 if suffix == ".png" else 6)


# --- commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-stylegan2", SMALL["faces-stylegan2"]), tmp_path / "model")
    write_directions(
        {"smile": Direction(vector=torch.randn(8), moves=0.9, leaves=0.1)}, folder / DIRECTIONS, learned={}
    )
    write_sums(folder)
    return folder


def test_commands(folder: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]):
    """Mixes, walks, edits, and the list of directions."""
    grid, clip, edited = tmp_path / "mix.png", tmp_path / "walk.webp", tmp_path / "edited.png"

    assert "2 x 3 mixes" in command("mix", folder, "--rows", "1,2", "--columns", "3,4,5", "--out", grid)[1]
    assert "a walk of 8 frames" in command("sample", folder, "--walk", 8, "--seeds", "1,2", "--out", clip)[1]
    assert "2 samples" in command("sample", folder, "-n", 2, "--seed", 0, "--edit", "smile=2", "--out", edited)[1]
    assert "smile      0.90   0.10" in command("directions", folder)[1]
    assert all(path.exists() for path in (grid, clip, edited))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mix", "{}", "--rows", "a", "--columns", "1"], "write seeds with commas"),
        (["mix", "{}", "--rows", "-1", "--columns", "1"], "a seed is 0 or above"),
        (["mix", "{}", "--rows", "1", "--columns", "1", "--layers", "odd"], "should be coarse"),
        (["mix", "faces-dcgan", "--rows", "1", "--columns", "1"], "has no styles"),
        (["directions", "faces-dcgan"], "has no styles"),
        (["directions", "faces-dcgan", "--learn"], "has no styles"),
        (["sample", "{}", "--edit", "smile"], "write NAME=AMOUNT"),
        (["sample", "{}", "--edit", "smile=nan"], "standard deviations"),
        (["sample", "{}", "--edit", "smil=1"], 'Did you mean "smile"'),
        (["sample", "faces-dcgan", "--edit", "smile=1"], "has no styles"),
        (["sample", "{}", "--seeds", "1,2"], "in place of --seed"),
        (["sample", "{}", "--walk", "8", "--interpolate", "4"], "goes without"),
        (["sample", "{}", "--interpolate", "4", "--edit", "smile=1"], "not with --edit"),
        (["sample", "{}", "--walk", "8", "--seeds", "1"], "at least two stops"),
        (["sample", "text-seqgan", "--walk", "8"], "makes texts"),
        (["project", "nothing.png", "{}"], "no such file"),
        (["project", "{}/config.json", "{}"], "not a picture"),
        (["project", "nothing.png", "faces-dcgan"], "has no styles"),
        (["project", "nothing.png", "video-styleganv"], "makes clips; zoo project needs a model of images"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folder: Path, command: Callable[..., tuple[int, str, str]], arguments: list[str], told: str
):
    """With what would have worked."""
    code, _, errors = command(*(argument.format(folder) for argument in arguments))

    assert code == 2
    assert told in errors
    assert len(errors.strip().splitlines()) == 1
