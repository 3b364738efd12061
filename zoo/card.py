"""Model cards: the README.md that goes with released weights, for readers who have never seen this library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.gan import GAN
from zoo.recipe import Recipe

PIPELINE_TAGS = {"faces": "unconditional-image-generation", "text": "text-generation"}  # music, video: the Hub has none

_NAMES = {  # metric of figures.json -> type in the Hub's model-index
    "frechet_distance": "frechet_distance",
    "kernel_distance": "kid",
}


def write_card(folder: Path, recipe: Recipe, gan: GAN, *, kimg: float, figures: Mapping[str, Any]) -> None:
    """Write README.md into `folder`: front matter the Hub reads, then what a reader asks. No clock, no random part."""
    (folder / "README.md").write_text(card_text(recipe, gan, kimg=kimg, figures=figures), encoding="utf-8")


def card_text(recipe: Recipe, gan: GAN, *, kimg: float, figures: Mapping[str, Any]) -> str:
    """The card as Markdown with YAML front matter."""
    players = "\n".join(
        f"| `{name}.safetensors` | {sum(p.numel() for p in player.parameters()):,} |"
        for name, player in gan.players.items()
    )
    source = recipe.data.name or (f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder of the trainer's own")
    licence = figures.get("data_licence", "unknown")
    name, weights_licence = recipe.name, recipe.licence
    if not recipe.data.name:  # weights of somebody's own data: named by their folder, under a licence of their own
        name, weights_licence = f"./{recipe.name}", "to be stated by who trained them"
    shape = " x ".join(map(str, gan.sample_shape))
    return f"""{_front_matter(recipe, figures)}
# {recipe.name}

{recipe.summary}. Paper: <{recipe.paper}>. A generator **and** its discriminator.

![64 samples of seed 0, nothing picked](samples/grid.png)

*64 samples of seed 0, nothing picked.*

## Use

```
pip install gan-zoo
zoo sample {name} -n 64 --seed 0 --out faces.png
```

```python
import zoo

model = zoo.load("{name}")
model.sample(16, seed=0).save("faces.png")
model.discriminator(model.sample(16, seed=0).tensor)  # logits
```

## What is in this folder

| file | parameters |
|---|---|
{players}

Architecture `{recipe.architecture}`: latent [N, {gan.config.latent_dim}] from N(0, I) to a sample [N, {shape}] in
[-1, 1]. Plain tensors in safetensors, matrices in float16; `config.json` holds the architecture's values and
`SHA256SUMS` the digests (`sha256sum -c SHA256SUMS`). The generator is the exponential moving average of the training.

## Training

{kimg:g} kimg ({kimg * 1000:,.0f} real images shown to the discriminator) with batch {recipe.train.batch}, loss
`{recipe.train.loss}`, on the training split of **{source}** (licence: {licence}). `recipe.toml` has every value;
`zoo train recipe.toml --out run` trains it again.

## Figures

{_figures_section(figures)}
## Limits

Trained on {source}: it shows what that data set shows, and nothing of people outside it. The figures compare with
others only where data, split, count and extractor are the same.

## Licence

Weights: {weights_licence}. Training data: {licence}.
"""


def _front_matter(recipe: Recipe, figures: Mapping[str, Any]) -> str:
    table = {"license": recipe.licence if recipe.data.name else "other", "library_name": "gan-zoo"}
    if recipe.modality in PIPELINE_TAGS:
        table["pipeline_tag"] = PIPELINE_TAGS[recipe.modality]
    lines = ["---", *(f"{key}: {value}" for key, value in table.items()), "tags:", "- gan", f"- {recipe.modality}"]
    results = [f for f in figures.get("figures", []) if f["name"] in _NAMES]
    if results:
        lines += ["model-index:", f"- name: {recipe.name}", "  results:", "  - task:"]
        lines += [f"      type: {PIPELINE_TAGS.get(recipe.modality, recipe.modality)}", "    dataset:"]
        lines += [f"      name: {figures['data']}", f"      type: {figures['data']}", "    metrics:"]
        for figure in results:
            lines += [f"    - type: {_NAMES[figure['name']]}", f"      value: {figure['value']:.6g}"]
            lines += [f'      name: "{figure["name"]}, {figure["extractor"]}, {figure["count"]} samples"']
    return "\n".join([*lines, "---"])


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
