"""GANs of sounds with classes: what is asked for, what the critic sees, and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hits import LABELS, Hits

from zoo.conditional import LabelledGAN
from zoo.data import About, Batches, Rows, build_store
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.music.architectures.specgan import SpecGANTrainConfig
from zoo.music.architectures.wavegan import WaveGAN, WaveGANConfig
from zoo.music.data.sounds import decode
from zoo.music.sound_gan import CriticTrainConfig
from zoo.noise import Noise
from zoo.training.phases import Step


def make_unlabelled() -> Rows:
    """Eight sounds of no class."""
    waves = np.random.default_rng(0).integers(-9000, 9000, (8, 1024), dtype=np.int16)
    return Rows(About(name="music"), waves, np.zeros(8, dtype=np.uint8), {}, np.empty(8, dtype=[("sound", np.int32)]))


@pytest.fixture
def labelled(tmp_path: Path) -> WaveGAN:
    store = build_store(Hits(), tmp_path / "hits")
    torch.manual_seed(0)
    gan = WaveGAN(WaveGAN.config_for(WaveGANConfig(width=2), store)).eval()
    gan.load_assets(store.folder)
    return gan


def test_classes_alternate_or_one_is_asked_for(labelled: WaveGAN):
    """Without a label the classes alternate; with one all samples are asked to be of it, from the same prior."""
    mixed, same = labelled.sample(6, seed=1), labelled.sample(6, seed=1, label="high")

    assert labelled.labels == tuple(LABELS)
    assert mixed.labels == ("low", "high", "noise", "low", "high", "noise")
    assert same.labels == ("high",) * 6
    assert torch.equal(mixed.latents[:, :100], same.latents[:, :100])
    assert same.latents[:, 100:].tolist() == [[0, 1, 0]] * 6
    torch.testing.assert_close(same.tensor[[1, 4]], mixed.tensor[[1, 4]], rtol=0, atol=2e-5)
    assert not torch.allclose(same.tensor[0], mixed.tensor[0])


def test_unknown_classes_suggest(labelled: WaveGAN):
    """A misspelt class meets the nearest; a model without classes says that it has none."""
    with pytest.raises(NotFoundError, match=r'there are low, high, noise. Did you mean "noise"'):
        labelled.sample(1, label="noize")
    with pytest.raises(NotFoundError, match="without classes"):
        WaveGAN(WaveGANConfig(width=2)).sample(1, label="kick")


def test_labels_of_another_model_are_refused(labelled: WaveGAN, tmp_path: Path):
    """labels.json has to name as many classes as the model has."""
    for content, message in (
        ('["a"]', "names 1 classes"),
        ("{}", "list of names"),
        ('["a", "b\\u0000"]', "the name of a class cannot be"),
        ('["a", "../../b"]', "cannot be '../../b'"),
        ('["a", "x\\\\y"]', "the name of a class cannot be"),
        ("[", "cannot read"),
    ):
        (tmp_path / "labels.json").write_text(content)
        with pytest.raises(InvalidFileError, match=message):
            labelled.load_assets(tmp_path)


def test_labels_are_those_of_the_batch(tmp_path: Path):
    """The classes of a step belong to its real sounds, row by row; data without classes has none."""
    store = build_store(Hits(), tmp_path / "hits")
    batches = Batches(store, decode, batch=8, seed=0)
    known = {store.samples[i].tobytes(): store.labels[i] for i in range(len(store.samples))}
    for step in (0, 5):
        real, labels = batches.at(step, Noise(0))
        real = (real[:, 0] * 32768).round().to(torch.int16).numpy()
        assert labels.tolist() == [known[row.tobytes()] for row in real]
    unlabelled = build_store(make_unlabelled(), tmp_path / "music")
    assert Batches(unlabelled, decode, batch=2, seed=0).at(0, Noise(0))[1] is None


def test_balanced_batches_show_each_class_as_often(tmp_path: Path):
    """However rare it is: the classes alternate, and each shows all its sounds before it shows one again."""
    waves = np.arange(20 * 8, dtype=np.int16).reshape(20, 8)
    table = np.array([(i in (4, 11, 12),) for i in range(20)], dtype=[("label", np.int16)])
    store = build_store(
        Rows(About(name="rare"), waves, (np.arange(20) > 16).astype(np.uint8), {}, table), tmp_path / "rare"
    )
    batches = Batches(store, decode, batch=6, seed=0, balanced=True)

    for step in range(4):
        real, labels = batches.at(step, Noise(0))
        assert labels.tolist() == [0, 1] * 3
        assert len({tuple(row) for row in real[1::2, 0].tolist()}) == 3
    unlabelled = build_store(make_unlabelled(), tmp_path / "music")
    plain, balanced = (Batches(unlabelled, decode, batch=2, seed=0, balanced=state) for state in (False, True))
    assert torch.equal(plain.at(3, Noise(0))[0], balanced.at(3, Noise(0))[0])


def test_fakes_of_a_step_are_of_the_real_sounds_classes(labelled: WaveGAN):
    """The generator is asked for what the critic is shown, so that classes by themselves tell nothing apart."""
    assert isinstance(labelled, LabelledGAN)
    step = Step(labelled, torch.zeros(3, 1, 16384), Noise(0), train_generator=False, labels=torch.tensor([2, 0, 2]))
    assert step.latents()[:, 100:].argmax(1).tolist() == [2, 0, 2]


def test_critics_score_a_sound_by_its_class(labelled: WaveGAN):
    """The class of a sound changes its score, by a projection of its features."""
    waves = torch.randn(2, 1, 16384)
    with torch.no_grad():
        scores = [labelled.discriminator(waves, torch.tensor([label] * 2)) for label in range(3)]
        plain = labelled.discriminator(waves)
        features = labelled.discriminator.main(waves).flatten(1)
        direction = labelled.discriminator.score.direction.weight[1]
    torch.testing.assert_close(scores[1], plain + features @ direction)
    assert not torch.allclose(scores[0], scores[1])


@pytest.mark.parametrize("train", [CriticTrainConfig, SpecGANTrainConfig])
def test_policies_for_pictures_are_refused_for_sounds(train: type[CriticTrainConfig]):
    with pytest.raises(InvalidValueError, match=r"train\.augment: the training of .* does not use it"):
        train(augment=("cutout",))
