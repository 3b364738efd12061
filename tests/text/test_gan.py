"""What all text GANs share: sizes from the data, the vocabulary they carry, temperatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.lines import Lines

import zoo
from zoo.cli import main
from zoo.data import build_store
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.recipe import load_recipe
from zoo.text.architectures.mle import MLE
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.lstm import LSTMConfig


def test_sizes_come_from_the_data(tmp_path: Path):
    """Vocabulary and length are those of the data, whatever the recipe says; texts of one length have no ends."""
    store = build_store(Lines(length=9), tmp_path / "lines")

    config = MLE.config_for(LSTMConfig(vocabulary=5000, length=20), store)

    assert (config.vocabulary, config.length) == (22, 9)
    assert (config.ends, config.banned) == (False, (0, 1))


def test_texts_that_end_may_end(tmp_path: Path):
    """Where rows of the data are filled with ends, an end may be sampled; an unknown token never."""

    class Short(Lines):
        def render(self, indices):  # type: ignore[no-untyped-def]
            rows, _ = super().render(indices)
            rows[:, 5:] = 0
            return rows, None

    config = MLE.config_for(LSTMConfig(), build_store(Short(length=9), tmp_path / "short"))

    assert (config.ends, config.banned) == (True, (1,))


def test_another_vocabulary_s_tokenizer_is_refused(tmp_path: Path):
    """A tokenizer of another size is not that of the weights."""
    (tmp_path / "tokenizer.json").write_text(Vocabulary.build(["abcdef"], unit="character").to_json())

    with pytest.raises(InvalidFileError, match="has 8 tokens, and the model 22: it belongs to another vocabulary"):
        MLE(LSTMConfig(vocabulary=22)).load_assets(tmp_path)


@pytest.mark.parametrize("entry", ["text-mle", "text-mle-letters", "text-gail", "text-relgan"])
def test_tokens_that_both_vocabularies_have_keep_their_numbers(entry: str):
    """Weights that start a training with other tokens know what the shared ones mean; new ones begin at random."""
    gans = []
    for seed, letters in enumerate(["abcdef", "xcafyz"]):
        torch.manual_seed(seed)
        vocabulary = Vocabulary.build([letters], unit="character")
        config = load_recipe(entry, ["model.length=9"]).model
        gan: Any = load_recipe(entry).architecture_class(replace(config, vocabulary=len(vocabulary), banned=(0, 1)))
        gan.vocabulary = vocabulary
        gans.append(gan.eval())
    start, gan = gans
    texts = [torch.tensor([one.vocabulary.encode("cafacafac")]) for one in gans]
    assert not torch.equal(*texts)

    states = gan.align_start(start, gan.states_to_start(start))
    for name, network in gan.networks.items():
        network.load_state_dict(states[name])

    with torch.no_grad():
        logits = [one.generator.logits(text)[..., text[0]] for one, text in zip(gans, texts, strict=True)]
        torch.testing.assert_close(*logits)
        if "discriminator" in gan.networks:
            torch.testing.assert_close(*(one.discriminator(text) for one, text in zip(gans, texts, strict=True)))


def test_vocabularies_without_a_common_token_are_refused():
    """Letters tell nothing about words."""
    gans = []
    for letters in ("abc", "xyz"):
        gan = MLE(LSTMConfig(vocabulary=5, banned=(0, 1)))
        gan.vocabulary = Vocabulary.build([letters], unit="character")
        gans.append(gan)
    with pytest.raises(InvalidValueError, match="none of its 5 tokens is among those of the data"):
        gans[1].align_start(gans[0], gans[1].states_to_start(gans[0]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_above_0(temperature: float):
    """Zero, less and NaN are refused."""
    with pytest.raises(InvalidValueError, match="temperature"):
        MLE(LSTMConfig(vocabulary=22)).sample(1, seed=0, temperature=temperature)


def test_released_quatrains_are_four_lines_of_five_known_characters():
    """Every sample of text-mle is, and hardly one is like another."""
    samples = zoo.load("text-mle").sample(200, seed=3)

    assert all([len(line) for line in text.split("\n")] == [5] * 4 for text in samples.texts)
    assert not torch.isin(samples.tensor, torch.tensor([0, 1])).any()
    assert len(set(samples.texts)) > 196


def test_poems_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`zoo sample` prints texts where no file is asked for, and the same seed prints the same."""
    outputs = []
    for temperature in ("1.0", "1.0", "0.5"):
        command = ["zoo", "sample", "text-mle", "-n", "2", "--seed", "1", "--temperature", temperature]
        monkeypatch.setattr("sys.argv", command)
        main()
        outputs.append(capsys.readouterr().out)

    assert outputs[0] == outputs[1] != outputs[2]
    assert [len(poem.split("\n")) for poem in outputs[0].strip().split("\n\n")] == [4, 4]


def test_faces_have_no_temperature(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """What samples nothing token by token says so."""
    monkeypatch.setattr("sys.argv", ["zoo", "sample", "faces-dcgan", "--temperature", "0.8", "--out", "x.png"])

    with pytest.raises(SystemExit):
        main()

    assert "no temperature" in capsys.readouterr().err
