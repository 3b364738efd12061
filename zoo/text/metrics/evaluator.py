"""Encoders of texts: the evaluator of a data set, or a model of `transformers`.

The evaluator of a data set is the LSTM of `language_model.py`, trained on its training split. It gives the LM score,
and distances are measured on its mean states. Evaluators of the bundled data sets are released. That of any other data
set is trained at its first use and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from zoo.data import Store
from zoo.data.store import cache_dir
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError
from zoo.io.atomic import replace_folder
from zoo.io.weights import BUNDLED
from zoo.metrics.feature_network import FeatureNetwork, Log, Score
from zoo.nn.no_init import no_init
from zoo.text.data.datasets import DATASETS, TOKENIZER, decode
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.metrics import language_model
from zoo.text.metrics.language_model import Config, LanguageModel, train_language_model

NAME = "text-evaluator"
HELD_OUT_SHARE = 0.05  # of the training split: they tell when the training of the evaluator stops


@dataclass(frozen=True)
class TextEncoder:
    """Token ids [N, T] int64 -> features [N, D] float32. Reports state its `name`."""

    name: str
    encode: Callable[[Tensor], Tensor]

    def __call__(self, tokens: Tensor) -> Tensor:
        return self.encode(tokens)


class Evaluator(LanguageModel, FeatureNetwork):
    """The language model of one data set, in its tokens."""

    KIND = "text evaluator"
    DATASETS = tuple(DATASETS)
    DATA_FACTS: ClassVar[tuple[str, ...]] = ("name", "version", "license", "fingerprint")
    ASSETS = (TOKENIZER,)

    @classmethod
    def release_name(cls, dataset: str) -> str:
        return f"{NAME}-{dataset}"

    @classmethod
    def train_on(
        cls, store: Store, *, epochs: int | None = None, seed: int = 0, log: Log | None = print
    ) -> tuple[Self, dict[str, float]]:
        """Train on the training split; returns the network and its nats per token on held-out and on test texts."""
        rows = np.random.default_rng(seed).permutation(store.indices("train"))
        num_held_out = max(1, round(HELD_OUT_SHARE * len(rows)))
        held_out, texts, test = (
            decode(store.samples[part])
            for part in (np.sort(rows[:num_held_out]), np.sort(rows[num_held_out:]), store.indices("test"))
        )
        size = len(Vocabulary.open(store.folder / TOKENIZER))
        config = language_model.DEFAULT if epochs is None else replace(language_model.DEFAULT, epochs=epochs)
        model = train_language_model(texts, held_out, size, config=config, seed=seed, log=log)
        with no_init():
            network = cls(size, config)
        network.load_state_dict(model.state_dict())
        network.eval().requires_grad_(False)
        return network, {"held_out_nll": network.nll(held_out), "test_nll": network.nll(test)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config["vocabulary"], Config(**config["model"]))

    def to_config(self) -> dict[str, Any]:
        sizes = {"vocabulary": self.vocabulary, "model": asdict(self.config)}
        return {"name": NAME, "version": self.VERSION, **sizes}

    @classmethod
    def scores_to_config(cls, scores: Mapping[str, float]) -> dict[str, Any]:
        return {"scores": {name: round(value, 4) for name, value in scores.items()}}

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> str:
        data, model = config["data"], config["model"]
        sizes = f"embedding {model['embedding']}, hidden state {model['hidden']}, vocabulary {config['vocabulary']:,}"
        return f"""An LSTM language model ({sizes}),
trained on the training split of `{data["name"]}` ({data["license"]}). Its nats per token on generated texts are the LM
score. `zoo evaluate` measures distances on the mean of its {model["hidden"]} states over a text. It is of no use as a
generator of texts. Its training kept the weights that were best on texts held out of the training split."""

    @classmethod
    def list_scores(cls, config: Mapping[str, Any]) -> list[Score]:
        names = {"held_out_nll": "texts held out of the training split", "test_nll": "texts of the test split"}
        return [(names[name], "nats per token", value) for name, value in config["scores"].items()]


def load_encoder(
    features: str, store: Store, *, device: torch.device | str = "cpu", log: Log | None = None
) -> TextEncoder:
    """Load the encoder that a recipe's `evaluate.features` names, for the tokens of `store`. It runs on `device`.

    `zoo:text-evaluator` or an empty name is the evaluator of the store's data. `transformers:NAME` is any encoder of
    the Hub or in a local folder.

    Raises NotFoundError for another name, and as `open_evaluator` and `load_transformers_encoder`.
    """
    kind, _, model = features.partition(":")
    if kind == "transformers" and model:
        return load_transformers_encoder(model, Vocabulary.open(store.folder / TOKENIZER).decode, device=device)
    if features not in ("", f"zoo:{NAME}"):
        raise NotFoundError(
            f'no features "{features}" of texts; there are zoo:{NAME} and transformers:MODEL, a Hub id or folder'
        )
    name, evaluator = open_evaluator(store, log=log)
    return TextEncoder(name, evaluator.to(device).features)


def open_evaluator(store: Store, *, log: Log | None = None) -> tuple[str, Evaluator]:
    """Open the evaluator of a store's data; returns its name for reports, and the network.

    A released evaluator is used where it was trained on this data set, in the same tokens. Otherwise one is trained and
    kept in the cache.

    Raises InvalidFileError where it is damaged, WriteError.
    """
    dataset, version = store.about["name"], Evaluator.VERSION
    for released in sorted(BUNDLED.glob(f"{NAME}-*")):
        if _is_of_data(released, store) and _has_same_tokenizer(released, store.folder):
            return f"zoo:{released.name}-v{version}", load_evaluator(released)
    folder = cache_dir() / "evaluators" / f"{NAME}-{store.fingerprint[:16]}-v{version}"
    if not (folder / "config.json").is_file():
        if log is not None:
            log(f"training the evaluator of {dataset}, once")
        network, scores = Evaluator.train_on(store, log=log)
        _save_in_cache(network, folder, store, scores)
    return f"zoo:{NAME}-{store.fingerprint[:8]}-v{version}", load_evaluator(folder)


def load_evaluator(folder: Path) -> Evaluator:
    """Load the evaluator in `folder`. Raises InvalidFileError where it is missing or damaged."""
    return Evaluator.load(folder, dataset="DATASET")


def _is_of_data(released: Path, store: Store) -> bool:
    data = json.loads((released / "config.json").read_text(encoding="utf-8"))["data"]
    return all(data[key] == store.about[key] for key in ("name", "version", "license"))


def _has_same_tokenizer(released: Path, store: Path) -> bool:
    paths = [folder / TOKENIZER for folder in (released, store)]
    if not all(path.is_file() for path in paths):
        return False
    ours, theirs = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    return ours == theirs


def _save_in_cache(network: Evaluator, folder: Path, store: Store, scores: Mapping[str, float]) -> None:
    """Save whole or not at all."""
    with replace_folder(folder) as new:
        network.save(new, store, scores, command="at first use")


def load_transformers_encoder(
    name: str, decode: Callable[[list[int]], str], *, batch: int = 64, device: torch.device | str = "cpu"
) -> TextEncoder:
    """Load an encoder of `transformers`, by Hub id or local folder. Features are its mean last hidden states.

    `decode` turns our tokens into the text that the encoder's own tokenizer reads. Weights are safetensors, and no code
    of the model is run. The name of a local folder has the digest of its config and weights:
    "transformers:<folder>+file:<first 12 digits>".

    Raises:
        InvalidFileError: the model cannot be fetched or read.
        InvalidValueError: its tokenizer cannot pad.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = Path(name).expanduser()
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": folder.is_dir()}
    where = str(folder) if folder.is_dir() else name  # a shell expands no ~ after a colon
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        model = AutoModel.from_pretrained(where, use_safetensors=True, **options).eval().requires_grad_(False)
        model.to(device)
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
            inputs = inputs.to(device)
            states = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
            mask = inputs["attention_mask"][:, :, None]  # [N, L, 1]
            parts.append((states * mask).sum(1) / mask.sum(1).clamp(min=1))
        return torch.cat(parts).float().cpu().clone()

    return TextEncoder(f"transformers:{_identify(folder) if folder.is_dir() else name}", encode)


def _identify(folder: Path) -> str:
    """Name a local model, with a digest of its files."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        digest.update(path.read_bytes())
    return f"{folder.resolve().name}+file:{digest.hexdigest()[:12]}"
