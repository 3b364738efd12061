from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.rounds import QUICK, Rounds, cycles

from zoo.data import Store, build_store, cache_dir
from zoo.errors import InvalidFileError, NotFoundError
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.metrics import evaluator
from zoo.text.metrics.evaluator import (
    Evaluator,
    load_encoder,
    load_evaluator,
    load_transformers_encoder,
    open_evaluator,
)

TEXTS = torch.from_numpy(cycles(30, seed=5))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zoo.text.metrics.language_model.DEFAULT", QUICK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_store(Rounds(), tmp_path / "rounds")


@pytest.fixture
def released(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evaluator of the store's data, as if it came with the library."""
    monkeypatch.setattr(evaluator, "BUNDLED", tmp_path / "weights")
    folder = tmp_path / "weights" / "text-evaluator-rounds"
    model, scores = Evaluator.train_on(store, log=None)
    model.save(folder, store, scores, command="a test")
    return folder


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialized encoder of transformers, with its tokenizer, in a folder."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = ["[PAD]", "[UNK]", *"春花秋月何時了往事知"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_released_evaluator_is_whole_and_loads(released: Path, store: Store):
    """Weights, config, tokenizer, card and digests; loading gives the model to the rounding of float16."""
    names = {path.name for path in released.iterdir()}
    assert names == {"README.md", "SHA256SUMS", "config.json", "evaluator.safetensors", "tokenizer.json"}
    config = json.loads((released / "config.json").read_text(encoding="utf-8"))
    assert config["data"]["fingerprint"] == store.fingerprint
    model, scores = Evaluator.train_on(store, log=None)
    loaded = load_evaluator(released)
    torch.testing.assert_close(loaded.features(TEXTS), model.features(TEXTS), rtol=1e-2, atol=1e-2)
    assert loaded.nll(TEXTS) == pytest.approx(scores["test_nll"], abs=0.3)
    assert f"{scores['test_nll']:.3f}" in (released / "README.md").read_text(encoding="utf-8")


def test_the_released_evaluator_is_used_for_its_own_tokens(released: Path, store: Store):
    """It is found by the data set's name where the tokenizer is the same, and nothing is trained."""
    name, model = open_evaluator(store)
    assert name == "zoo:text-evaluator-rounds-v1"
    assert torch.equal(model.features(TEXTS), load_evaluator(released).features(TEXTS))
    assert not (cache_dir() / "evaluators").exists()


def test_other_tokens_get_an_evaluator_of_their_own(released: Path, tmp_path: Path):
    """Trained at first use, kept in the cache, and named after the data's fingerprint."""
    other = build_store(Rounds(line_length=0), tmp_path / "other")
    lines: list[str] = []
    name, model = open_evaluator(other, log=lines.append)
    again, kept = open_evaluator(other, log=lambda line: pytest.fail("trained again"))
    assert name == again == f"zoo:text-evaluator-{other.fingerprint[:8]}-v1"
    assert torch.equal(model.features(TEXTS), kept.features(TEXTS))
    assert "once" in lines[0]
    assert [folder.name for folder in (cache_dir() / "evaluators").iterdir()] == [
        f"text-evaluator-{other.fingerprint[:16]}-v1"
    ]


@pytest.mark.parametrize(("name", "license"), [("round", "CC0-1.0"), ("rounds", "unknown")])
def test_data_of_ones_own_get_an_evaluator_of_their_own(released: Path, tmp_path: Path, name: str, license: str):
    """A folder whose name is like a data set's has the same tokenizer and other texts."""
    own = build_store(Rounds(name=name, license=license), tmp_path / "own")

    assert open_evaluator(own)[0] == f"zoo:text-evaluator-{own.fingerprint[:8]}-v1"


def test_a_damaged_evaluator_is_refused(released: Path, tmp_path: Path):
    """A changed file is named, an absent evaluator says how to get one."""
    path = released / "evaluator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidFileError, match=r"evaluator\.safetensors.*sha256"):
        load_evaluator(released)
    with pytest.raises(InvalidFileError, match="zoo evaluator train"):
        load_evaluator(tmp_path / "none")


def test_a_config_of_something_else_is_refused(tmp_path: Path):
    """A folder whose config.json is another model's."""
    (tmp_path / "config.json").write_text('{"vocabulary": "many"}')
    with pytest.raises(InvalidFileError, match="not a text evaluator's"):
        load_evaluator(tmp_path)


def test_unknown_features_name_those_there_are(store: Store):
    """Features are the evaluator's or those of a model of transformers."""
    for name in ("zoo:faces-evaluator", "transformers:", "timm:resnet18"):
        with pytest.raises(NotFoundError, match="transformers:MODEL"):
            load_encoder(name, store)


def test_any_encoder_of_transformers_is_read_from_a_folder(tiny_bert: Path, store: Store):
    """Features are the mean last hidden states of our texts as it reads them; its name tells its weights."""
    import transformers

    encoder = load_encoder(f"transformers:{tiny_bert}", store)

    assert encoder.name.startswith("transformers:tiny-bert+file:")
    features = encoder(TEXTS)
    assert features.shape == (30, 16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
    model = transformers.AutoModel.from_pretrained(tiny_bert).eval()
    vocabulary = Vocabulary.open(store.folder / "tokenizer.json")
    with torch.no_grad():
        inputs = tokenizer(vocabulary.decode(TEXTS[3].tolist()), return_tensors="pt")
        expected = model(input_ids=inputs["input_ids"]).last_hidden_state[0].mean(0)
    torch.testing.assert_close(features[3], expected, rtol=1e-4, atol=1e-5)


def test_a_home_folder_of_an_encoder_is_found(tiny_bert: Path, store: Store, monkeypatch: pytest.MonkeyPatch):
    """A shell does not expand the ~ of transformers:~/model."""
    monkeypatch.setenv("HOME", str(tiny_bert.parent))

    assert load_encoder("transformers:~/tiny-bert", store).name == load_encoder(f"transformers:{tiny_bert}", store).name


def test_padding_does_not_show_in_an_encoders_features(tiny_bert: Path, store: Store):
    """A short text has the same features beside a long one, and an empty one has some."""
    vocabulary = Vocabulary.open(store.folder / "tokenizer.json")
    encoder = load_transformers_encoder(str(tiny_bert), vocabulary.decode)
    texts = TEXTS[:3].clone()
    texts[1, 3:] = 0
    texts[2] = 0
    features = encoder(texts)
    torch.testing.assert_close(encoder(texts[1:2]), features[1:2], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(features).all()


def test_an_encoder_that_is_not_there_is_refused(tmp_path: Path):
    """A folder without a model says what would do; nothing is asked of the network in tests."""
    with pytest.raises(InvalidFileError, match="folder of a model"):
        load_transformers_encoder(str(tmp_path), str)
