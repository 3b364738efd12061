"""Write the tables of docs/recipes.md from the dataclasses they describe: python docs/recipe_table.py [--check]."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zoo.data.images import ImageData
from zoo.faces.dcgan import DCGANConfig
from zoo.faces.gan import VanillaGANConfig
from zoo.music.scores.data import ScoreConfig, ScoreData
from zoo.music.scores.midinet import MidiNetConfig, MidiNetTrain
from zoo.music.scores.musegan import MuseGANConfig, MuseGANTrain
from zoo.music.sounds.base import CriticTrain, SoundConfig
from zoo.music.sounds.data import SoundData
from zoo.music.sounds.hifigan import HiFiGANConfig, HiFiGANTrain
from zoo.music.sounds.specgan import SpecGANConfig
from zoo.music.sounds.wavegan import WaveGANConfig
from zoo.recipe import Data, Evaluate, Train
from zoo.registry import Weights
from zoo.text.base import TextConfig
from zoo.text.data import TextData
from zoo.text.gail import GAILConfig, GAILTrain
from zoo.text.lstm import LSTMConfig
from zoo.text.relgan import RelGANConfig, RelGANTrain
from zoo.text.scratchgan import ScratchGANConfig, ScratchGANTrain
from zoo.text.seqgan import SeqGANConfig, SeqGANTrain
from zoo.text.wgan import WGANConfig, WGANTrain
from zoo.video.base import ClipConfig
from zoo.video.data import ClipData
from zoo.video.mocogan import MoCoGANConfig, MoCoGANTrain
from zoo.video.styleganv import StyleGANVConfig, StyleGANVTrain
from zoo.video.tgan import TGANConfig, TGANTrain
from zoo.video.vgan import VGANConfig, VGANTrain

PAGE = Path(__file__).with_name("recipes.md")
TABLES = {
    "data": ("data", ImageData),
    "train": ("train", Train),
    "evaluate": ("evaluate", Evaluate),
    "weights": ("weights", Weights),
    "dcgan": ("model", DCGANConfig),
    "gan": ("model", VanillaGANConfig),
    "text-data": ("data", TextData),
    "lstm": ("model", LSTMConfig),
    "seqgan": ("model", SeqGANConfig),
    "seqgan-train": ("train", SeqGANTrain),
    "gail": ("model", GAILConfig),
    "gail-train": ("train", GAILTrain),
    "relgan": ("model", RelGANConfig),
    "relgan-train": ("train", RelGANTrain),
    "scratchgan": ("model", ScratchGANConfig),
    "scratchgan-train": ("train", ScratchGANTrain),
    "wgan": ("model", WGANConfig),
    "wgan-train": ("train", WGANTrain),
    "score-data": ("data", ScoreData),
    "musegan": ("model", MuseGANConfig),
    "musegan-train": ("train", MuseGANTrain),
    "midinet": ("model", MidiNetConfig),
    "midinet-train": ("train", MidiNetTrain),
    "sound-data": ("data", SoundData),
    "sound": ("model", SoundConfig),
    "sound-train": ("train", CriticTrain),
    "wavegan": ("model", WaveGANConfig),
    "specgan": ("model", SpecGANConfig),
    "hifigan": ("model", HiFiGANConfig),
    "hifigan-train": ("train", HiFiGANTrain),
    "clip-data": ("data", ClipData),
    "mocogan": ("model", MoCoGANConfig),
    "mocogan-train": ("train", MoCoGANTrain),
    "vgan": ("model", VGANConfig),
    "vgan-train": ("train", VGANTrain),
    "tgan": ("model", TGANConfig),
    "tgan-train": ("train", TGANTrain),
    "styleganv": ("model", StyleGANVConfig),
    "styleganv-train": ("train", StyleGANVTrain),
}
BASES = {  # what is in another table already
    "text-data": Data,
    "seqgan": LSTMConfig,
    "seqgan-train": Train,
    "gail": TextConfig,
    "gail-train": Train,
    "relgan": TextConfig,
    "relgan-train": Train,
    "scratchgan": TextConfig,
    "scratchgan-train": Train,
    "wgan": TextConfig,
    "wgan-train": Train,
    "score-data": Data,
    "musegan-train": Train,
    "midinet": ScoreConfig,
    "midinet-train": Train,
    "sound-data": Data,
    "sound-train": Train,
    "wavegan": SoundConfig,
    "specgan": SoundConfig,
    "hifigan-train": Train,
    "clip-data": Data,
    "mocogan-train": Train,
    "vgan": ClipConfig,
    "vgan-train": Train,
    "tgan": ClipConfig,
    "tgan-train": Train,
    "styleganv": ClipConfig,
    "styleganv-train": Train,
}
NOTES = {  # of the keys whose dataclass says nothing
    "data.name": "A data set that this library builds: `synthetic-faces`.",
    "data.folder": "A folder of images.",
    "data.hub": "An image data set of the Hub, `org/set`.",
    "train.batch": "Real samples a turn, over all processes together.",
    "train.total_kimg": "Length of the training, in thousands of real samples shown to the discriminator.",
    "train.seed": "Of initial weights, latents, order of the data and augmentation.",
    "train.loss": "The game; see [what came after](game.md#what-came-after).",
    "train.generator.betas": "Of Adam; the others do not read them.",
    "train.generator.momentum": "Of `sgd` and `rmsprop`; Adam does not read it.",
    "train.generator.weight_decay": "Of the weights' squares, half of this added to the loss.",
    "train.discriminator.weight_decay": "As the generator's.",
    "train.discriminator.betas": "As the generator's.",
    "train.discriminator.momentum": "As the generator's.",
    "train.r1_gamma": "Strength of the R1 penalty, gamma in its paper; 0: none.",
    "train.r1_every": "Turns between two R1 steps, each multiplied by this number.",
    "train.ema_halflife_kimg": "Half-life of the generator's weights in the average that is sampled; 0: no average.",
    "train.log_kimg": "Between two lines of the log.",
    "train.samples_kimg": "Between two pictures of samples.",
    "train.checkpoint_kimg": "Between two checkpoints.",
    "train.keep_checkpoints": "How many of the newest stay on the disk.",
    "evaluate.samples": "Images on each side of a distance.",
    "evaluate.seed": "Of the latents, and of what is drawn from the data.",
    "weights.repo": "The Hub repository of released weights.",
    "weights.revision": "Its full commit sha.",
    "weights.sha256": "Digest of each weight file; `zoo release` writes them.",
}
NAMES = {int: "whole number", float: "number", str: "text", bool: "true, false"}


def docstrings(cls: type) -> dict[str, str]:
    """The string under each field of a dataclass and of those it extends, where there is one."""
    found = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, below in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[union-attr]
    return found


def values(hint: Any, metadata: Any) -> str:
    """The values that a key takes, in words."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return f"a list of {values(inner[0], metadata)}"
        return f"{len(inner)} numbers, each {values(inner[0], metadata).removeprefix('number, ')}"
    name = NAMES.get(hint, "a table of texts")
    low, high, above = (metadata.get(key) for key in ("low", "high", "above"))
    if above is not None:
        return f"{name}, above {above}"
    if hint in (int, float) and low not in (None, -math.inf):
        top = "2^63 - 1" if high == 2**63 - 1 else f"{high:,}" if isinstance(high, int) else f"{high:g}"
        if 0.99 < high < 1:
            return f"{name}, {low} up to below 1"
        return f"{name}, {low} or more" if high == math.inf else f"{name}, {low} to {top}"
    return name


def default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, Mapping):
        return "`{}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


def rows(prefix: str, cls: type, instance: Any = None) -> Iterator[str]:
    """A row a field; the defaults are those of `instance`, if a field of another dataclass has one."""
    hints, notes = get_type_hints(cls), docstrings(cls)
    for field in dataclasses.fields(cls):
        key, hint = f"{prefix}.{field.name}", hints[field.name]
        value = field.default if instance is None else getattr(instance, field.name)
        if dataclasses.is_dataclass(hint):
            yield from rows(key, hint, value)  # type: ignore[arg-type]
        else:
            note = notes.get(field.name) or NOTES.get(key, "")
            value = {} if value is dataclasses.MISSING else value
            yield f"| `{key}` | {default(value)} | {values(hint, field.metadata)} | {note} |"


def table(name: str) -> str:
    prefix, cls = TABLES[name]
    known = set(rows(prefix, BASES[name])) if name in BASES else set()
    own = [row for row in rows(prefix, cls) if row not in known]
    return "\n".join(["| key | default | values | |", "|---|---|---|---|", *own])


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        start, end = f"<!-- table {name} -->\n", f"\n<!-- end {name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{table(name)}\n{end}{after}"
    if "--check" in sys.argv:
        sys.exit(page != PAGE.read_text(encoding="utf-8") and f"{PAGE}: run python {Path(__file__).name}")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
