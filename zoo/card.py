"""Model cards: the README.md that goes with released weights, for readers who have never seen this library.

A card has no clock and no chance in it: the same release gives the same bytes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.gan import GAN
from zoo.recipe import OTHER_LIBRARIES, Data, Recipe
from zoo.samples import Samples

PIPELINE_TAGS = {"faces": "unconditional-image-generation", "text": "text-generation"}  # music, video: the Hub has none

EVALUATION_DOCS = "https://gan-zoo.github.io/gan-zoo/evaluate/"

PICTURES = (".png", ".jpg", ".webp", ".gif")  # what a browser shows in place

_TYPES = {  # metric of figures.json -> type in the Hub's model-index, where the Hub has another word
    "kernel_distance": "kid",
}

_NOTES = {  # figures, by how their names begin, that cannot be read without a word
    "class_accuracy": "The floor of `class_accuracy` is how often the evaluator is right about those test sounds.",
    "faces_found": "The floor of `faces_found` is the share found in those test images themselves.",
    "average_content_distance": "The floor of `average_content_distance` is that of the real test clips; clips that "
    "stand still have 0.",
    "motion_control_score": "The floor of `motion_control_score` is how often the classifier knows the class of a real "
    "test clip.",
    "griffin_lim": "`griffin_lim_...` is what Griffin-Lim makes of the same spectrograms; a perfect vocoder has 0.",
    "ms_ssim": "MS-SSIM is best near its real value: above it samples are too much alike, far below it they are noise.",
}

_RISKS = {
    "faces": "Samples are made up; one that resembles somebody does so by chance, and must not be passed off as a real "
    "picture. It shows nothing of people outside the data.",
    "text": "It writes what such texts look like, not what is true, and may repeat lines it was trained on; do not "
    "pass its texts off as somebody's.",
    "music": "It may repeat bars or sounds that it was trained on; compare before you publish a piece as new.",
    "video": "Samples are made up, and must not be passed off as recordings of something that happened.",
}


def write_card(folder: Path, card: str) -> None:
    """Write README.md into `folder`."""
    (folder / "README.md").write_text(card, encoding="utf-8")


def card_text(
    recipe: Recipe, gan: GAN, samples: Samples, *, kimg: float, figures: Mapping[str, Any], load_name: str
) -> str:
    """The card as Markdown: front matter that the Hub reads, then what a reader asks.

    Args:
        samples: the first ones of seed 0, as they lie in samples/.
        kimg: how long it was trained.
        figures: what `zoo.evaluate` measured; empty where nobody did.
        load_name: what `zoo.load` takes to load these weights.
    """
    name = load_name.rpartition("/")[2]
    players = "\n".join(
        f"| `{player}.safetensors` | {sum(p.numel() for p in module.parameters()):,} |"
        for player, module in gan.players.items()
    )
    source = recipe.data.name or (f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder of the trainer's own")
    licence = figures.get("data_licence", "unknown")
    weights_licence = recipe.licence if recipe.data.name else "to be stated by who trained them"
    summary = recipe.summary or f"A {type(gan).__name__} for {recipe.modality}"
    paper = f" Paper: <{recipe.paper}>." if recipe.paper else ""
    judged = "discriminator" in gan.players
    logits = "\nlogits = model.discriminator(samples.tensor)" if judged else ""
    shown_to, of_the_game = ("discriminator", " of the game") if judged else ("generator", "")
    loss = f", loss `{recipe.train.loss}`" if judged else ""
    suffix = samples.SUFFIXES[0]
    shape = " x ".join(map(str, gan.sample_shape))
    num_turns = kimg * 1000 / recipe.train.batch
    begun = public_start(recipe.train.start)
    again = "`zoo train recipe.toml --out run` trains it again."
    if begun == recipe.name:  # the last of several legs
        again = (
            f"The players began with the weights of an earlier release of `{begun}`, whose training does not count "
            f"here: the comments of its recipe tell of all legs.\n"
            "`zoo train recipe.toml --out run` goes on from the present weights in the same way."
        )
    elif begun:
        again = f"The players began with the weights of `{begun}`.\n{again}"
    averaged = "\nThe generator is the exponential moving average of the training."
    average = averaged if recipe.train.ema_halflife_kimg else ""
    return f"""{_front_matter(recipe, figures, name)}
# {name}

{summary}.{paper} A generator{" **and** its discriminator" if judged else ""}, for the library gan-zoo.

{_shown(samples)}

*{len(samples)} samples of seed {samples.seed}, nothing picked.*

## Use

```
pip install gan-zoo
zoo sample {load_name} -n 64 --seed 0 --out samples{suffix}
```

```python
import zoo

model = zoo.load("{load_name}")
samples = model.sample(16, seed=0)  # samples.save("samples{suffix}"){logits}
```

## What is in this folder

| file | parameters |
|---|---|
{players}

Architecture `{recipe.architecture}`; one sample has the shape {shape}. Plain tensors in safetensors, matrices in
float16 where no sample shows it; `config.json` holds the architecture's values, `recipe.toml` those of the training,
`figures.json` the figures below, and `SHA256SUMS` the digests (`sha256sum -c SHA256SUMS`).{average}

## Training

{kimg:g} kimg ({kimg * 1000:,.0f} real samples shown to the {shown_to} in {num_turns:,.0f} turns{of_the_game}) with
batch {recipe.train.batch}{loss}, on the training split of **{source}** (licence: {licence}).
{again}

## Figures

{_figures_section(figures)}{_curve_section(figures)}
## Limits and risks

Trained on {source}: it gives what that data set has, in the proportions it has there. {_RISKS[recipe.modality]}
The figures compare with others only where data, split, count and extractor are the same.

## Licence

Weights: {weights_licence}. Training data: {licence}.
"""


def _shown(samples: Samples) -> str:
    """What the reader sees of the samples: the first texts, a picture, and a link to what has to be opened."""
    what = f"{len(samples)} samples of seed {samples.seed}, nothing picked"
    files = {suffix: f"samples/grid{suffix}" for suffix in shown_suffixes(samples)}
    shown = [f"```text\n{samples[:8]}\n```"] if samples.READABLE else []
    shown += [f"![{what}]({file})" for suffix, file in files.items() if suffix in PICTURES]
    shown += [f"[{what}]({file})" for suffix, file in files.items() if suffix not in PICTURES]
    return "\n\n".join(shown)


def shown_suffixes(samples: Samples | type[Samples]) -> tuple[str, ...]:
    """The formats in which samples lie beside a card, their own first."""
    return samples.CARD_SUFFIXES or samples.SUFFIXES[:1]


def _curve_section(figures: Mapping[str, Any]) -> str:
    """The model's quality-diversity curve beside its control's, and who wins, in a sentence."""
    if not (curve := figures.get("curve")):
        return ""
    return f"""
![Reverse LM score against LM score, and Self-BLEU against BLEU, at temperatures from \
{curve["control"][0]["temperature"]:g} to {curve["control"][-1]["temperature"]:g}](samples/curve.png)

**{curve["verdict"]}**
"""


def public_start(start: str) -> str:
    """What a card may say of `train.start`: of a folder its name alone, and not where it lies on the trainer's disk."""
    library = next((known for known in OTHER_LIBRARIES if start.startswith(known)), "")
    name = start.removeprefix(library)
    return library + Path(name).name if Path(name).expanduser().is_absolute() else start


def _front_matter(recipe: Recipe, figures: Mapping[str, Any], name: str) -> str:
    """What the Hub reads, between its two lines of dashes: https://huggingface.co/docs/hub/model-cards."""
    from huggingface_hub import EvalResult, ModelCardData

    task = PIPELINE_TAGS.get(recipe.modality)
    results = [
        EvalResult(
            task_type=task or recipe.modality,
            dataset_type=figures["data"],
            dataset_name=f"{figures['data']} ({figures['fingerprint'][:16]})",
            dataset_split="test",
            metric_type=_TYPES.get(figure["name"], figure["name"]),
            metric_value=float(f"{figure['value']:.6g}"),
            metric_name=(
                f"{figure['name']}: {figure['count']} samples, {figure['extractor'] or 'no extractor'}, test split, "
                f"seed {figures['seed']}; real against real {_number(figure['floor'])}"
            ),
            source_name=figures["command"],
            source_url=EVALUATION_DOCS,
        )
        for figure in figures.get("figures", [])
    ]
    source = recipe.data.name or recipe.data.hub
    data = ModelCardData(
        license=recipe.licence if recipe.data.name else "other",
        library_name="gan-zoo",
        pipeline_tag=task,
        tags=["gan", recipe.modality],
        datasets=[source] if source else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _figures_section(figures: Mapping[str, Any]) -> str:
    if not figures.get("figures"):
        return "Not measured.\n"
    rows = "\n".join(
        f"| {f['name']} | {_number(f['value'])} | {_number(f['floor'])} "
        f"| {'higher' if f['higher_is_better'] else 'lower'} | {f['extractor'] or ''} | {f['count']:,} |"
        for f in figures["figures"]
    )
    names = [figure["name"] for figure in figures["figures"]]
    notes = "".join(f" {note}" for start, note in _NOTES.items() if any(name.startswith(start) for name in names))
    return f"""`{figures["command"]}`, seed {figures["seed"]}, against the test split of {figures["data"]} (fingerprint
`{figures["fingerprint"][:16]}`), prints them again. "Real against real" is the same figure of real training samples
against the same test samples: no generator should be expected to do better.{notes}

| figure | samples | real against real | better | extractor | count |
|---|---|---|---|---|---|
{rows}
"""


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def evaluate_command(command: str, recipe: Recipe, load_name: str) -> str:
    """The `zoo evaluate` command that figures were measured by, as whoever loads `load_name` has to write it.

    A folder of the trainer's own is theirs to know: it is written as FOLDER.
    """
    options, data = shlex.split(command)[3:], ""
    if "--data" in options:
        at = options.index("--data")
        data = options[at + 1]
        del options[at : at + 2]
    if "folder" in Data.option(data) if data else recipe.data.folder:
        data = "FOLDER"
    elif recipe.data.hub and not data:
        data = f"hf:{recipe.data.hub}"
    return shlex.join(["zoo", "evaluate", load_name, *options, *(["--data", data] if data else [])])
