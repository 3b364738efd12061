import pytest
import torch

from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.metrics.features import Features, load_timm_features

safetensors_torch = pytest.importorskip("safetensors.torch")
timm = pytest.importorskip("timm")

SMALL = "resnet10t"


@pytest.fixture(scope="module")
def features() -> Features:
    return load_timm_features(SMALL, pretrained=False, seed=1)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_pooled_and_do_not_depend_on_the_batch(features):
    """One row of the network's penultimate width for each image, the same however the images are batched."""
    whole = features(images(5))
    assert whole.shape == (5, 512)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(features(images(5), batch=2), whole, rtol=1e-4, atol=1e-5)


def test_features_equal_the_network_with_its_head_removed():
    """Preprocessing and pooling are those of timm's own pipeline, for images that need no resizing."""
    features = load_timm_features(SMALL, pretrained=False, seed=1)
    network = timm.create_model(SMALL, num_classes=10).eval()
    network.load_state_dict(features.network.state_dict(), strict=False)
    config = timm.data.resolve_model_data_config(network)
    inputs = torch.rand(2, *config["input_size"], generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = network.forward_head(network.forward_features((inputs - mean) / std), pre_logits=True)
    torch.testing.assert_close(features(inputs * 2 - 1), expected, rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_seed_s_and_say_so(features):
    """Random weights carry "random" and their seed in the name, repeat by it, and leave the global generator alone."""
    state = torch.get_rng_state()
    again, other = (load_timm_features(f"{SMALL}", pretrained=False, seed=seed) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (features.name, other.name) == (f"timm:{SMALL}+random:1", f"timm:{SMALL}+random:2")
    assert torch.equal(again(images(2)), features(images(2)))
    assert not torch.equal(other(images(2)), features(images(2)))


def test_a_local_file_gives_its_weights_and_its_digest(tmp_path, features):
    """Weights from a safetensors file are named by the file's sha256, and give the features they gave."""
    network = timm.create_model(SMALL)
    network.load_state_dict(features.network.state_dict(), strict=False)
    path = tmp_path / "weights.safetensors"
    safetensors_torch.save_file(network.state_dict(), path)
    loaded = load_timm_features(SMALL, file=path)
    assert loaded.name.startswith(f"timm:{SMALL}+file:")
    torch.testing.assert_close(loaded(images(2)), features(images(2)))


def test_weights_out_of_reach_say_what_would_work(monkeypatch, tmp_path):
    """No Hub and no cache: InvalidFileError names the model, the cache and the local file; never random weights."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InvalidFileError, match=r"could not be fetched(.|\n)*HF_HOME(.|\n)*safetensors"):
        load_timm_features("resnet10t.c3_in1k")


@pytest.mark.parametrize(
    ("name", "message"), [("resnt18", 'Did you mean "resnet18"'), ("resnet18.a9_in1k", "resnet18.a1_in1k")]
)
def test_unknown_names_are_answered_with_near_ones(name, message):
    """A model, or weights of a model, that timm does not have: NotFoundError, with those it has."""
    with pytest.raises(NotFoundError, match=message):
        load_timm_features(name)


def test_files_that_are_no_weights_are_refused(tmp_path):
    """A missing file, a file of another kind, and weights of more or less than the model raise InvalidFileError."""
    state = timm.create_model(SMALL).state_dict()
    safetensors_torch.save_file(state | {"more": torch.zeros(2)}, tmp_path / "more.safetensors")
    del state["conv1.0.weight"]
    safetensors_torch.save_file(state, tmp_path / "less.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no safetensors")
    for file in ("missing.safetensors", "weights.pth", "broken.safetensors", "more.safetensors", "less.safetensors"):
        with pytest.raises(InvalidFileError, match=file):
            load_timm_features(SMALL, file=tmp_path / file)
    with pytest.raises(InvalidValueError, match="exclude"):
        load_timm_features(SMALL, pretrained=False, file=tmp_path / "more.safetensors")


@pytest.mark.parametrize(
    "unusable",
    [
        torch.zeros(2, 1, 64, 64),
        torch.zeros(0, 3, 64, 64),
        torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
        torch.full((2, 3, 64, 64), 2.0),
        torch.full((2, 3, 64, 64), torch.nan),
    ],
)
def test_unusable_images_are_refused(features, unusable):
    """Another shape, no image, another type, values outside [-1, 1], NaN: InvalidValueError."""
    with pytest.raises(InvalidValueError):
        features(unusable)
