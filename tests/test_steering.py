"""Directions learned from attributes, and the styles of a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.releases import write_model
from PIL import Image
from torch import Tensor

from zoo.data.images import decode_images
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.faces.steering import NAMED, load_maps, predict_attributes
from zoo.io.weights import digest, read_sums
from zoo.modality import KindSteering, load_modality
from zoo.recipe import load_recipe
from zoo.releases.loading import load_folder
from zoo.samples import Images
from zoo.steering import learn_directions, project, steering_of
from zoo.styled import DIRECTIONS

SIZES = [
    *("model.resolution=16", "model.style_dim=8", "model.latent_dim=8", "model.channel_base=64"),
    *("model.channel_max=8", "model.noise=false"),
]


def predict(images: Tensor) -> dict[str, Tensor]:
    """See how bright an image is, how much brighter at the right, and how red."""
    half = images.shape[-1] // 2
    return {
        "brightness": images.mean((1, 2, 3)),
        "side": (images[..., half:] - images[..., :half]).mean((1, 2, 3)),
        "redness": images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2)),
        "nothing": torch.zeros(len(images)),
    }


STEERING = KindSteering(
    predict_attributes=predict,
    named={"bright": "brightness", "red": "redness", "absent": "nothing"},
    load_maps=lambda name: lambda images: [images],
    default_maps="pixels again",
    align=lambda photo, images: photo.crop((8, 0, 24, 16)),
)


@pytest.fixture
def model() -> Any:
    torch.manual_seed(3)
    model: Any = load_recipe("faces-stylegan2", SIZES).build().eval().requires_grad_(False)
    for block in model.generator.synthesis.blocks:
        block.torgb.weight.mul_(0.3)  # so that images stay within their range
    model.generator.mapping.w_avg.copy_(model.draw_styles().mean(0))
    return model


def test_directions_move_what_they_are_named_after(model: Any):
    """By a deviation, and other attributes by less; an attribute that never changes has no direction."""
    seen: list[tuple[int, int]] = []
    found = learn_directions(model, STEERING, count=2000, progress=lambda done, total: seen.append((done, total)))

    assert set(found) == {"bright", "red"}
    assert seen == sorted(seen)
    for direction in found.values():
        assert direction.moves == pytest.approx(1, abs=0.2)
        assert direction.leaves < 0.3
    samples = model.sample(200, seed=9)
    before, after = (predict(each.tensor) for each in (samples, model.move(samples, found["bright"].vector)))
    change = {name: float((after[name] - before[name]).mean() / before[name].std()) for name in before}
    assert change["brightness"] == pytest.approx(1, abs=0.25)
    assert abs(change["redness"]) < 0.3


def test_the_same_seed_learns_the_same_directions(model: Any):
    """Another seed learns nearly the same ones."""
    first, again, other = (learn_directions(model, STEERING, count=1000, seed=seed) for seed in (0, 0, 50_000))

    assert torch.equal(first["bright"].vector, again["bright"].vector)
    assert torch.cosine_similarity(first["bright"].vector, other["bright"].vector, dim=0) > 0.8


def test_attributes_of_faces_are_numbers():
    """One number of each sample for each attribute, and all named directions have one; glasses are a probability."""
    seen = predict_attributes(torch.rand(3, 3, 64, 64) * 2 - 1)

    assert all(values.shape == (3,) and values.isfinite().all() for values in seen.values())
    assert set(NAMED.values()) <= set(seen)
    assert 0 <= seen["glasses"].min() <= seen["glasses"].max() <= 1


def save_picture(images: Images, path: Path) -> Path:
    Image.fromarray(images.to_uint8()[0]).save(path)
    return path


@pytest.mark.parametrize("plus", [False, True])
def test_a_sample_is_found_again(model: Any, tmp_path: Path, plus: bool):
    """The distance falls to a fraction, and what is found looks like the picture."""
    sample = model.sample(1, seed=4)
    found = project(save_picture(sample, tmp_path / "a.png"), model, STEERING, plus=plus, steps=200, align=False)

    assert found.distances[-1] < 0.15 * found.distances[0]
    assert found.samples.styles.shape == (1, model.generator.num_styles if plus else 1, 8)
    torch.testing.assert_close(found.target.tensor, sample.tensor, rtol=0, atol=1 / 127)
    assert (found.samples.tensor - sample.tensor).abs().mean() < 0.05


def test_a_projection_repeats_and_leaves_the_model_alone(model: Any, tmp_path: Path):
    """The seed is that of the noise on the style; weights and mode of the model stay."""
    path = save_picture(model.sample(1, seed=4), tmp_path / "a.png")
    before = {key: value.clone() for key, value in model.state_dict().items()}

    first, again, other = (
        project(path, model, STEERING, steps=20, align=False, seed=seed, features="pixels").samples.tensor
        for seed in (0, 0, 1)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training


def test_a_picture_is_cut_before_it_is_projected(model: Any):
    """By what the modality knows; without it the central square counts."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8))

    cut, whole = (project(photo, model, STEERING, steps=1, align=align).target.tensor for align in (True, False))

    torch.testing.assert_close(cut, decode_images(np.asarray(photo)[None, :, 8:24]), rtol=0, atol=1e-6)
    assert torch.equal(whole, cut)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"picture": "nothing.png"}, NotFoundError, "no such file"),
        ({"steps": 0}, InvalidValueError, "steps = 0 should be at least 1"),
        ({"features": "zoo:nothing"}, NotFoundError, 'no features "zoo:nothing"'),
    ],
)
def test_what_cannot_be_projected_is_refused(
    model: Any, tmp_path: Path, arguments: dict[str, Any], error: type[Exception], told: str
):
    """In one line, before any work."""
    path = save_picture(model.sample(1, seed=4), tmp_path / "a.png")
    steering = load_modality("faces").kinds[0].load_steering()

    with pytest.raises(error, match=told):
        project(**{"picture": path, "model": model, "steering": steering, "align": False, **arguments})


def test_files_that_are_no_pictures_are_refused(model: Any, tmp_path: Path):
    """Cut pictures, too."""
    path = save_picture(model.sample(1, seed=4), tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")

    for name in ("cut.png", "text.png"):
        with pytest.raises(InvalidFileError, match=name):
            project(tmp_path / name, model, STEERING, align=False)


def test_maps_of_the_faces_evaluator_have_gradients():
    """They tell two pictures apart, at several sizes."""
    maps = load_maps("zoo:faces-evaluator")
    images = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()

    found = maps(images)
    sum(each.square().mean() for each in found).backward()

    assert len({each.shape[-1] for each in found}) >= 4
    assert images.grad.abs().sum() > 0


def test_models_without_styles_are_not_steered():
    """And those whose samples no network knows."""
    with pytest.raises(InvalidValueError, match="DCGAN has no styles"):
        steering_of(load_recipe("faces-dcgan", ["model.width=4"]).build(), "faces")
    with pytest.raises(InvalidValueError, match="samples of video have no attributes"):
        steering_of(load_recipe("video-styleganv", ["model.channel_base=64"]).build(), "video")


def test_commands_learn_and_project(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
):
    """`zoo directions --learn` keeps what it finds beside the weights, and `zoo project` edits by it."""
    monkeypatch.setattr("zoo.steering.NUM_MEASURED", 16)
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-stylegan2", SIZES), tmp_path / "model")
    picture = save_picture(load_folder(folder).sample(1, seed=0), tmp_path / "me.png")
    listed = read_sums(folder)
    (folder / "token.txt").write_text("a secret of the user's")

    code, out, errors = command("directions", folder, "--learn", "--count", 1000)
    assert (code, out.splitlines()[0].split()) == (0, ["direction", "moves", "moves", "others"]), errors
    assert read_sums(folder) == listed | {DIRECTIONS: digest(folder / DIRECTIONS)}  # what is listed is published
    name = out.splitlines()[1].split()[0]
    arguments = ["--no-align", "--steps", 3, "--edit", f"{name}=2", "--out", tmp_path / "out.png"]
    code, out, errors = command("project", picture, folder, *arguments)

    assert code == 0, errors
    assert "distance" in out
    with Image.open(tmp_path / "out.png") as opened:
        assert opened.width == 3 * 18 + 2  # the photo, its projection, and an edit
