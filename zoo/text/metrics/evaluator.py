"""Encoders of texts, to compare distributions by: the small language model that goes with a data set, or any of
`transformers`.

The evaluator of a data set is the LSTM of `zoo.text.language_model`, trained on its training split. It gives the LM
score, and its mean states are features for distances. Those of the bundled data sets are released; for any other, one
is trained at first use and kept in the cache. Its metrics are comparable with nothing but themselves, so they state its
name and version:

    python -m zoo.text.evaluator --data tang-quatrains --out zoo/weights/text-evaluator-tang-quatrains
    python -m zoo.text.evaluator --entry text-wgan --out zoo/weights/text-evaluator-wordnet-sentences-letters
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data import Store
from zoo.data.store import cache_dir
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, WriteError
from zoo.metrics.feature_network import read_network, write_network
from zoo.text.data.datasets import decode
from zoo.text.metrics.language_model import Config, LanguageModel, train_language_model

NAME = "text-evaluator"
VERSION = 1
HELD_OUT_SHARE = 0.05  # of the training split, to stop the evaluator's training by; the test split stays unseen
WEIGHTS = Path(__file__).parents[1] / "weights"

Say = Callable[[str], None]


@dataclass(frozen=True)
class TextEncoder:
    """Texts as points: int64 token ids [N, T] -> float32 features [N, D]. `name` goes into reports."""

    name: str
    encode: Callable[[Tensor], Tensor]

    def __call__(self, tokens: Tensor) -> Tensor:
        return self.encode(tokens)


def text_encoder(features: str, store: Store, *, log: Say | None = None) -> TextEncoder:
    """The encoder that a recipe's `evaluate.features` names, for the tokens of `store`.

    `zoo:text-evaluator`, also by nothing, is the evaluator of the store's data, `transformers:NAME` any encoder of the
    Hub or of a local folder. Raises NotFoundError for another name, and as `evaluator_of` and `transformers_encoder`.
    """
    kind, _, model = features.partition(":")
    if kind == "transformers" and model:
        from zoo.text.data.vocabulary import Vocabulary

        return transformers_encoder(model, Vocabulary.open(store.folder / "tokenizer.json").decode)
    if features not in ("", f"zoo:{NAME}"):
        raise NotFoundError(
            f'no features "{features}" of texts; there are zoo:{NAME} and transformers:MODEL, a Hub id or folder'
        )
    name, evaluator = evaluator_of(store, log=log)
    return TextEncoder(name, evaluator.features)


def evaluator_of(store: Store, *, log: Say | None = None) -> tuple[str, LanguageModel]:
    """The evaluator of a store's data, and its name for reports: the released one, else one trained here and kept.

    A released one is of use for the same tokens alone, so it is taken where the tokenizer is its own.
    Raises InvalidFileError where it is damaged, WriteError.
    """
    for released in sorted(WEIGHTS.glob(f"{NAME}-{store.about['name']}*")):
        if _same_tokens(released, store.folder):
            return f"zoo:{released.name}-v{VERSION}", load_evaluator(released)
    folder = cache_dir() / "evaluators" / f"{NAME}-{store.fingerprint[:16]}-v{VERSION}"
    if not (folder / "config.json").is_file():
        if log is not None:
            log(f"training the evaluator of {store.about['name']}, once")
        model, scores = train_evaluator(store, log=log)
        _keep(model, folder, store, about_evaluator(store, scores, "at first use"))
    return f"zoo:{NAME}-{store.fingerprint[:8]}-v{VERSION}", load_evaluator(folder)


def _same_tokens(released: Path, store: Path) -> bool:
    paths = [folder / "tokenizer.json" for folder in (released, store)]
    if not all(path.is_file() for path in paths):
        return False
    ours, theirs = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    return ours == theirs


def train_evaluator(
    store: Store, *, config: Config | None = None, seed: int = 0, log: Say | None = None
) -> tuple[LanguageModel, dict[str, float]]:
    """Train on the store's training split; returns the model and its nats per token on the held-out and test texts."""
    rows = np.random.default_rng(seed).permutation(store.indices("train"))
    num_held_out = max(1, round(HELD_OUT_SHARE * len(rows)))
    held_out, texts = (_tokens(store, np.sort(part)) for part in (rows[:num_held_out], rows[num_held_out:]))
    model = train_language_model(texts, held_out, _vocabulary_size(store), config=config, seed=seed, log=log)
    return model, {"held_out_nll": model.nll(held_out), "test_nll": model.nll(_tokens(store, store.indices("test")))}


def _tokens(store: Store, rows: np.ndarray) -> Tensor:
    return decode(store.samples[rows])


def _vocabulary_size(store: Store) -> int:
    from zoo.text.data.vocabulary import Vocabulary

    return len(Vocabulary.open(store.folder / "tokenizer.json"))


def about_evaluator(store: Store, scores: Mapping[str, float], command: str) -> dict[str, Any]:
    """The facts that go into an evaluator's config.json."""
    return {
        "license": "apache-2.0",
        "data": {key: store.about[key] for key in ("name", "version", "license", "fingerprint")},
        "scores": {name: round(value, 4) for name, value in scores.items()},
        "command": command,
    }


def save_evaluator(model: LanguageModel, folder: Path, tokenizer: Path, about: Mapping[str, Any]) -> None:
    """Write it into `folder`, with its tokenizer and the facts `about` in its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    config = {
        "format": 1,
        "name": NAME,
        "version": VERSION,
        "vocabulary": model.vocabulary,
        "model": asdict(model.config),
        **about,
    }
    write_network(model, folder, config, card_text(config))


def _keep(model: LanguageModel, folder: Path, store: Store, about: Mapping[str, Any]) -> None:
    """Save into the cache, whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            save_evaluator(model, Path(temporary) / "new", store.folder / "tokenizer.json", about)
            shutil.rmtree(folder, ignore_errors=True)
            (Path(temporary) / "new").replace(folder)
    except OSError as error:
        raise WriteError(f"{folder}: cannot keep the evaluator: {error.strerror or error}") from error


def card_text(config: Mapping[str, Any]) -> str:
    """The card of an evaluator: what it is, what it can tell, and what it is not for."""
    data, model, scores = config["data"], config["model"], config["scores"]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "library_name: gan-zoo",
            "---",
            f"# {config['name']} of {data['name']}, version {config['version']}",
            "",
            f"An LSTM language model (embedding {model['embedding']}, hidden state {model['hidden']}, vocabulary "
            f"{config['vocabulary']:,}),",
            f"trained on the training split of `{data['name']}` ({data['license']}). It judges generated texts: its",
            f"nats per token are the LM score, and the mean of its {model['hidden']} states over a text is what",
            "distances between sets of texts are measured on. As a writer it is of no use.",
            "",
            f"Trained by `{config['command']}`.",
            "",
            "| texts | nats per token |",
            "|---|---|",
            f"| of the training split, held out to stop by | {scores['held_out_nll']:.3f} |",
            f"| of the test split | {scores['test_nll']:.3f} |",
            "",
        ]
    )


def load_evaluator(folder: Path) -> LanguageModel:
    """The evaluator in `folder`. Raises InvalidFileError where it is missing or damaged."""
    model = read_network(
        folder,
        lambda config: LanguageModel(config["vocabulary"], Config(**config["model"])),
        kind="text evaluator",
        absent="no text evaluator here; `python -m zoo.text.evaluator` trains one",
    )
    return model.requires_grad_(False)


def transformers_encoder(name: str, decode: Callable[[list[int]], str], *, batch: int = 64) -> TextEncoder:
    """The mean-pooled last hidden states of a `transformers` encoder, by Hub id or local folder.

    `decode` turns our tokens into the text that the encoder's own tokenizer reads. Weights are safetensors, and no code
    is run that comes with a model. The encoder's name tells a local folder by the digest of its config and weights:
    "transformers:<folder>+file:<first 12 digits>". Raises InvalidFileError where the model cannot be fetched or read.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = Path(name).expanduser()
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": folder.is_dir()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        model = AutoModel.from_pretrained(name, use_safetensors=True, **options).eval().requires_grad_(False)
    except Exception as error:  # its loaders raise anything
        raise InvalidFileError(
            f'the transformers encoder "{name}" could not be loaded: {error} Where the Hub is out of reach, give the '
            "folder of a model with its tokenizer, or a cache that has them (HF_HOME, with HF_HUB_OFFLINE=1)."
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise InvalidValueError(f'the tokenizer of "{name}" has no token to pad texts of unequal length with')
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))

    @torch.inference_mode()
    def encode(tokens: Tensor) -> Tensor:
        parts = []
        for rows in tokens.split(batch):
            texts = [decode(row) or tokenizer.pad_token for row in rows.tolist()]
            inputs = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            states = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
            read = inputs["attention_mask"][:, :, None]  # [N, L, 1]
            parts.append((states * read).sum(1) / read.sum(1).clamp(min=1))
        return torch.cat(parts).float().clone()

    return TextEncoder(f"transformers:{_identity(folder) if folder.is_dir() else name}", encode)


def _identity(folder: Path) -> str:
    """A local model's name, with a digest of what it is."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        digest.update(path.read_bytes())
    return f"{folder.resolve().name}+file:{digest.hexdigest()[:12]}"


def main() -> None:
    import argparse

    from zoo.recipe import load_recipe
    from zoo.text.data.datasets import build_dataset
    from zoo.training.session import open_data

    parser = argparse.ArgumentParser(description="Train the evaluator of a text data set.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", help="a data set's name")
    what.add_argument("--entry", help="an entry's name: its data, in its tokens")
    parser.add_argument("--out", type=Path, required=True, help="the folder of its weights")
    options = parser.parse_args()
    store = build_dataset(options.data) if options.data else open_data(load_recipe(options.entry))
    command = f"--data {options.data}" if options.data else f"--entry {options.entry}"
    model, scores = train_evaluator(store, log=print)
    for name, value in scores.items():
        print(f"{name:<14} {value:.4f} nats per token")
    about = about_evaluator(store, scores, f"python -m zoo.text.evaluator {command}")
    save_evaluator(model, options.out, store.folder / "tokenizer.json", about)


if __name__ == "__main__":
    main()
