"""Model cards: the README.md that goes with released weights, for readers who have never seen this library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.gan import GAN
from zoo.recipe import Recipe

PIPELINE_TAGS = {"faces": "unconditional-image-generation", "text": "text-generation"}  # music, video: the Hub has none

EVALUATION_DOCS = "https://gan-zoo.github.io/gan-zoo/evaluate/"

_TYPES = {  # metric of figures.json -> type in the Hub's model-index, where the Hub has another word
    "kernel_distance": "kid",
}


def write_card(
    folder: Path, recipe: Recipe, gan: GAN, *, kimg: float, figures: Mapping[str, Any], load_name: str = ""
) -> None:
    """Write README.md into `folder`: front matter the Hub reads, then what a reader asks. No clock, no random part."""
    text = card_text(recipe, gan, kimg=kimg, figures=figures, load_name=load_name)
    (folder / "README.md").write_text(text, encoding="utf-8")


def card_text(recipe: Recipe, gan: GAN, *, kimg: float, figures: Mapping[str, Any], load_name: str = "") -> str:
    """The card as Markdown with YAML front matter. `load_name` is what its commands load, if not the recipe's name."""
    players = "\n".join(
        f"| `{name}.safetensors` | {sum(p.numel() for p in player.parameters()):,} |"
        for name, player in gan.players.items()
    )
    source = recipe.data.name or (f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder of the trainer's own")
    licence = figures.get("data_licence", "unknown")
    name, weights_licence = load_name or recipe.name, recipe.licence
    if not recipe.data.name:  # weights of somebody's own data: under a licence of their own
        name, weights_licence = load_name or f"./{recipe.name}", "to be stated by who trained them"
    shape = " x ".join(map(str, gan.sample_shape))
    suffix = gan.Output.SUFFIXES[0]
    start = f"The players began with the weights of `{recipe.train.start}`.\n" if recipe.train.start else ""
    num_turns = kimg * 1000 / recipe.train.batch
    return f"""{_front_matter(recipe, figures)}
# {name.rpartition("/")[2]}

{recipe.summary}. Paper: <{recipe.paper}>. A generator **and** its discriminator, for the library gan-zoo.

![64 samples of seed 0, nothing picked](samples/grid{suffix})

*64 samples of seed 0, nothing picked.*

## Use

```
pip install gan-zoo
zoo sample {name} -n 64 --seed 0 --out samples{suffix}
```

```python
import zoo

model = zoo.load("{name}")
model.sample(16, seed=0).save("samples{suffix}")
model.discriminator(model.sample(16, seed=0).tensor)  # logits
```

## What is in this folder

| file | parameters |
|---|---|
{players}

Architecture `{recipe.architecture}`: latent [N, {gan.config.latent_dim}] from N(0, I) to a sample [N, {shape}] in
[-1, 1]. Plain tensors in safetensors, matrices in float16; `config.json` holds the architecture's values, `recipe.toml`
those of the training, `figures.json` the figures below, and `SHA256SUMS` the digests (`sha256sum -c SHA256SUMS`). The
generator is the exponential moving average of the training.

## Training

{kimg:g} kimg ({kimg * 1000:,.0f} real samples shown to the discriminator in {num_turns:,.0f} turns of the game) with
batch {recipe.train.batch}, loss `{recipe.train.loss}`, on the training split of **{source}** (licence: {licence}).
{start}`zoo train recipe.toml --out run` trains it again.

## Figures

{_figures_section(figures)}
## Limits and risks

Trained on {source}: it shows what that data set shows, in the proportions it has there, and nothing of people outside
it. Samples are made up; one that resembles somebody does so by chance, and must not be passed off as a real picture.
The figures compare with others only where data, split, count and extractor are the same.

## Licence

Weights: {weights_licence}. Training data: {licence}.
"""


def _front_matter(recipe: Recipe, figures: Mapping[str, Any]) -> str:
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
                f"{figure['name']}: {figure['count']} samples, {figure['extractor'] or 'pixels'}, test split, "
                f"seed {figures['seed']}; real against real {figure['floor']:.4g}"
            ),
            source_name=figures["command"],
            source_url=EVALUATION_DOCS,
        )
        for figure in figures.get("figures", [])
    ]
    data = ModelCardData(
        license=recipe.licence if recipe.data.name else "other",
        library_name="gan-zoo",
        pipeline_tag=task,
        tags=["gan", recipe.modality],
        datasets=[recipe.data.name or recipe.data.hub] if recipe.data.name or recipe.data.hub else None,
        model_name=recipe.name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _figures_section(figures: Mapping[str, Any]) -> str:
    if not figures.get("figures"):
        return "Not measured.\n"
    rows = "\n".join(
        f"| {f['name']} | {f['value']:.4g} | {f['floor']:.4g} | {'higher' if f['higher_is_better'] else 'lower'} "
        f"| {f['extractor']} | {f['count']:,} |"
        for f in figures["figures"]
    )
    return f"""`{figures["command"]}`, seed {figures["seed"]}, against the test split of {figures["data"]} (fingerprint
`{figures["fingerprint"][:16]}`). "Real against real" is the same figure of real training images against the same test
images (for `faces_found`, of those test images themselves): no generator should be expected to do better. MS-SSIM is
best near its real value: above it samples are too much alike, far below it they are noise.

| figure | samples | real against real | better | extractor | count |
|---|---|---|---|---|---|
{rows}
"""
