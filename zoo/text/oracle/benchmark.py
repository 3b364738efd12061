"""The synthetic benchmark of Yu et al. 2017 (arXiv:1609.05473, section 4), with controls that the paper does not have.

The training texts are samples of an oracle, an LSTM with random weights (`model.py`). The oracle then tells how likely
the texts of a model are. Papers report this one number, NLL_oracle. It falls when samples are likely and less varied,
and it is best for a model that repeats the training set. So there are three more metrics, and three controls:

- `constant`, `noise`: SeqGAN's training from the same pre-trained weights, with rewards of 1, or of random numbers.
- `mle at 1/1.2` and so on: the pre-trained generator at a temperature below 1, which needs no training.

What SeqGAN gains over these is due to the discriminator.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data import Store, build_store
from zoo.errors import InvalidValueError, NotFoundError, suggest
from zoo.io.atomic import replace_folder
from zoo.recipe import Recipe, load_recipe
from zoo.text.data.datasets import decode
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.gan import PolicyGAN
from zoo.text.oracle.model import VOCABULARY, Oracle
from zoo.text.policies import Policy
from zoo.training.loop import Progress, run_training
from zoo.training.run import Run
from zoo.training.session import fit_to_data
from zoo.training.trainer import Trainer

NUM_TRAIN, NUM_TEST, NUM_SCORED = 9984, 2048, 9984  # 9,984 is the paper's 10,000 in whole batches of 64
COOLING = (1.1, 1.2, 1.5)  # factors of the control's logits

SMALL = ["model.embedding_dim=32", "model.hidden_dim=32"]  # the paper's generator
PLAIN = ["train.batch=64", "train.lr_decay_share=0", "train.ema_halflife_kimg=0", "train.evaluate_kimg=0",
         "train.log_kimg=5", "train.samples_kimg=1e6", "train.keep=last"]  # fmt: skip
DISCRIMINATOR = [
    "model.kernel_widths=[2, 3, 4, 5]",
    "model.kernel_maps=[64, 64, 64, 64]",
]  # a sixth of the paper's cost
ADVERSARIAL = [
    "model.dropout=0",
    "train.pretrain.lr=1e-2",
    "train.generator.lr=1e-2",
    "train.baseline=false",
]  # the authors'
SEARCH = [*SMALL, *DISCRIMINATOR, *ADVERSARIAL]

SYSTEMS: dict[str, tuple[str, list[str]]] = {  # name: its entry, and overrides of the recipe
    "seqgan": ("text-seqgan", [*SEARCH, "train.reward=discriminator"]),
    "constant": ("text-seqgan", [*SEARCH, "train.reward=constant"]),
    "noise": ("text-seqgan", [*SEARCH, "train.reward=noise"]),
    "relgan": ("text-relgan", ["model.embedding_dim=32", "model.head_dim=32"]),
    "scratchgan": ("text-scratchgan", ["model.embedding_dim=32", "model.hidden_dim=128"]),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of one model, in nats a token, and the number of different tokens in its 9,984 texts."""

    system: str
    seed: int
    oracle_nll: float
    held_out_nll: float
    self_entropy: float
    distinct: int


@dataclass
class OracleTexts:
    """Samples of the oracle of `seed`: training texts first, then test texts."""

    seed: int
    length: int = 20
    count: int = field(default=NUM_TRAIN + NUM_TEST, init=False)
    version: str = field(default="1", init=False)
    license: str = field(default="CC0-1.0", init=False)
    attributes: None = field(default=None, init=False)
    dtype: np.dtype = field(default=np.dtype(np.uint16), init=False)
    assets: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary.build([" ".join(map(str, range(VOCABULARY)))], unit="word")
        self.assets = {"tokenizer.json": self._vocabulary.to_json()}
        texts = Oracle(self.seed).sample(self.count, self.length, seed=self.seed)
        ids = torch.empty(VOCABULARY, dtype=torch.long)
        ids[list_oracle_tokens(self._vocabulary)[2:]] = torch.arange(2, VOCABULARY + 2)
        self._rows = ids[texts].numpy().astype(np.uint16)

    @property
    def name(self) -> str:
        return f"oracle-{self.length}-seed-{self.seed}"

    @property
    def shape(self) -> tuple[int]:
        return (self.length,)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
        return self._rows[list(indices)], None

    def split(self) -> np.ndarray:
        return (np.arange(self.count) >= NUM_TRAIN).astype(np.uint8)


def list_oracle_tokens(vocabulary: Vocabulary) -> Tensor:
    """List the oracle's token for each id [V]; 0 for `<end>` and `<unk>`, which are never sampled."""
    return torch.tensor([int(token) if token.isdigit() else 0 for token in vocabulary.tokens])


def run_benchmark(
    systems: Sequence[str] = ("seqgan", "constant", "noise"),
    *,
    folder: Path,
    seeds: Sequence[int] = (0,),
    length: int = 20,
    pretrain_epochs: float = 15,
    discriminator_epochs: float = 3,
    adversarial_epochs: float = 3,
    overrides: Sequence[str] = (),
    on_step: Callable[[Progress], None] | None = None,
    log: Callable[[str], None] = print,
) -> list[Row]:
    """Train each system on the texts of a seeded oracle, in run folders below `folder`, and score it.

    SeqGAN and its controls start from the same pre-trained generator. It has rows of its own, at temperature 1 and
    below. An epoch is 9,984 texts. Existing runs are resumed.

    Raises:
        NotFoundError: an unknown system, with the nearest.
        InvalidValueError: no pre-training of systems that start from it; an existing run of other settings.
        KeyboardInterrupt: Ctrl-C, which leaves a checkpoint to resume from.
    """
    for system in systems:
        if system not in SYSTEMS:
            raise NotFoundError(f'no system "{system}"; there are {", ".join(SYSTEMS)}.{suggest(system, SYSTEMS)}')
    epoch = NUM_TRAIN / 1000
    pretrain_kimg, start_kimg = pretrain_epochs * epoch, (pretrain_epochs + discriminator_epochs) * epoch
    lengths = [f"train.pretrain_kimg={pretrain_kimg}", f"train.total_kimg={start_kimg + adversarial_epochs * epoch}"]
    searching = [system for system in systems if SYSTEMS[system][0] == "text-seqgan"]
    if searching and not pretrain_epochs:
        raise InvalidValueError(f"pretrain = 0: {', '.join(searching)} start from a pre-training; give it more epochs")
    rows = []
    for seed in seeds:
        oracle = Oracle(seed)
        source = OracleTexts(seed, length)
        store = build_store(source, folder / source.name)

        def train_system(name: str, recipe: Recipe, seed: int = seed, store: Store = store) -> PolicyGAN:
            place = folder / f"seed-{seed}" / name
            log(f"seed {seed}: {name}")
            if (place / "recipe.toml").exists():
                run = Run.open(place)
                run.check_same_training(recipe)
                run = run.resume_as(recipe)
            else:
                run = Run.create(recipe, place, store.folder)
            trainer = Trainer(recipe, store, decode, torch.device("cpu"))
            if not run_training(run, trainer, on_step=on_step, log=lambda line: None):
                raise KeyboardInterrupt  # what is half trained has no score
            gan = run.load()[0]
            assert isinstance(gan, PolicyGAN)
            return gan

        def score(name: str, gan: PolicyGAN, cooling: float = 1.0, seed: int = seed, store: Store = store) -> None:
            rows.append(measure(name, gan, oracle, store, seed=seed, cooling=cooling))  # noqa: B023 - called at once

        if searching:
            discriminator = [f"train.discriminator_kimg={discriminator_epochs * epoch}"]
            recipes = {
                name: _load_recipe(name, store, seed, [*lengths, *discriminator, *overrides]) for name in searching
            }
            first = recipes[searching[0]]
            start = train_system("mle", replace(first, train=replace(first.train, total_kimg=pretrain_kimg)))
            for cooling in (1.0, *COOLING):
                score("mle" if cooling == 1 else f"mle at 1/{cooling}", start, cooling)
            for name, recipe in recipes.items():
                run = folder / f"seed-{seed}" / name
                if not run.exists():
                    _copy_run(run.with_name("mle"), run, recipe)
                score(name, train_system(name, recipe))
        for name in systems:
            if name not in searching:
                recipe_lengths = lengths if name == "relgan" else lengths[1:]
                score(name, train_system(name, _load_recipe(name, store, seed, [*recipe_lengths, *overrides])))
    return rows


def _copy_run(source: Path, target: Path, recipe: Recipe) -> None:
    """Copy a run, to be trained on by another recipe. An interrupted copy leaves nothing at `target`."""
    with replace_folder(target) as copy:
        shutil.copytree(source, copy, dirs_exist_ok=True)
        (copy / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")


def _load_recipe(system: str, store: Store, seed: int, overrides: Sequence[str]) -> Recipe:
    entry, own = SYSTEMS[system]
    return fit_to_data(load_recipe(entry, [*PLAIN, *own, f"train.seed={seed}", *overrides]), store)


@torch.no_grad()
def measure(system: str, gan: PolicyGAN, oracle: Oracle, store: Store, *, seed: int, cooling: float = 1.0) -> Row:
    """Score a model by the oracle, on held-out texts and on its own samples; `cooling` multiplies its logits."""
    assert gan.vocabulary is not None
    assert isinstance(gan.generator, Policy)
    tokens = gan.sample(NUM_SCORED, seed=seed, batch_size=512, temperature=1 / cooling).tensor
    test = decode(store.samples[store.indices("test")])
    return Row(
        system=system,
        seed=seed,
        oracle_nll=float(oracle.nll(list_oracle_tokens(gan.vocabulary)[tokens]).mean()),
        held_out_nll=_nll(gan.generator, test, cooling),
        self_entropy=_nll(gan.generator, tokens, cooling),
        distinct=len(tokens.unique()),
    )


def _nll(policy: Policy, texts: Tensor, cooling: float) -> float:
    """Compute nats a token of texts [N, T]."""
    total = 0.0
    for rows in texts.split(256):
        log_probabilities = (cooling * (policy.logits(rows) + policy.banned)).log_softmax(-1)
        total -= float(log_probabilities.gather(2, rows[..., None]).sum())
    return total / texts.numel()


def format_table(rows: Sequence[Row], oracle_nll: Mapping[int, float]) -> str:
    """Format the rows as aligned text, the oracle's own NLL by seed above them."""
    lines = [f"{'system':<14} {'seed':>4} {'NLL oracle':>11} {'NLL held out':>13} {'self-entropy':>13} {'distinct':>9}"]
    lines += [f"{'oracle itself':<14} {seed:>4} {nll:>11.3f}" for seed, nll in oracle_nll.items()]
    lines += [
        f"{row.system:<14} {row.seed:>4} {row.oracle_nll:>11.3f} {row.held_out_nll:>13.3f} {row.self_entropy:>13.3f} "
        f"{row.distinct:>9,}"
        for row in rows
    ]
    return "\n".join(lines)


def to_json(rows: Sequence[Row], oracle_nll: Mapping[int, float]) -> dict[str, Any]:
    """Return the rows and the oracle's own NLL by seed as plain values."""
    return {"oracle_nll": dict(oracle_nll), "rows": [vars(row) for row in rows]}
