"""Model cards: the README.md of released weights, for readers who do not know this library.

A card depends on nothing but the release: the same release gives the same bytes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.gan import GAN
from zoo.modality import load_modality
from zoo.recipe import DataConfig, Recipe
from zoo.samples import Samples
from zoo.styled import StyledGAN
from zoo.training.session import format_outside, list_outside

INSTALL = "pip install git+https://github.com/gan-zoo/gan-zoo"
"""How to install this library, as long as no package index has it."""

EVALUATION_DOCS = "https://gan-zoo.github.io/gan-zoo/evaluate/"

PICTURES = (".png", ".jpg", ".webp", ".gif")  # what a browser shows in place

_TYPES = {  # metric of metrics.json -> type in the Hub's model index, where the Hub has another name
    "kernel_distance": "kid",
}


def write_card(folder: Path, card: str) -> None:
    """Write README.md into `folder`."""
    (folder / "README.md").write_text(card, encoding="utf-8")


def format_card(
    recipe: Recipe, gan: GAN, samples: Samples, *, kimg: float, metrics: Mapping[str, Any], load_name: str
) -> str:
    """Write the card as Markdown: front matter for the Hub, then answers to what a reader asks.

    Args:
        samples: the first samples of seed 0, those in samples/.
        kimg: how long it was trained.
        metrics: what `zoo.evaluate` measured; empty if nothing was measured.
        load_name: what `zoo.load` takes to load these weights.
    """
    name = load_name.rpartition("/")[2]
    networks = "\n".join(
        f"| `{network}.safetensors` | {sum(p.numel() for p in module.parameters()):,} |"
        for network, module in gan.networks.items()
    )
    source = recipe.data.name or (f"hf:{recipe.data.hub}" if recipe.data.hub else "a folder of the trainer's own")
    data_license = metrics.get("data_license", "unknown")
    weights_license = recipe.license if recipe.data.name else "to be stated by who trained them"
    summary = recipe.summary or f"A {type(gan).__name__} for {recipe.modality}"
    paper = f" Paper: <{recipe.paper}>." if recipe.paper else ""
    adversarial = "discriminator" in gan.networks
    logits = "\nlogits = model.discriminator(samples.tensor)" if adversarial else ""
    shown_to = "discriminator" if adversarial else "generator"
    loss = f", loss `{recipe.train.loss}`" if adversarial else ""
    suffix = samples.SUFFIXES[0]
    shape = " x ".join(map(str, gan.sample_shape))
    num_steps = kimg * 1000 / recipe.train.batch
    averaged = "\nThe generator is the exponential moving average of the training."
    taken = gan.describe_input(gan.config)
    takes = f"\n{taken}" if taken else ""
    average = averaged if recipe.train.ema_halflife_kimg else ""
    return f"""{_front_matter(recipe, metrics, name)}
# {name}

{summary}.{paper} A generator{" **and** its discriminator" if adversarial else ""}, for the library gan-zoo.

{_show_samples(samples)}

*{len(samples)} samples of seed {samples.seed}, nothing picked.*

## Use

```
{INSTALL}
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
{networks}

Architecture `{recipe.architecture}`; one sample has the shape {shape}. The weights are plain tensors in safetensors,
matrices in float16 where no sample shows it. `config.json` holds the architecture's values and `recipe.toml` those of
the training. `metrics.json` holds the metrics below, and `SHA256SUMS` the digests
(`sha256sum -c SHA256SUMS`).{average}{takes}

## Training

{kimg:g} kimg ({kimg * 1000:,.0f} real samples shown to the {shown_to} in {num_steps:,.0f} steps) with batch
{recipe.train.batch}{loss}, on the training split of **{source}** (license: {data_license}).
{_describe_end(recipe, kimg)}{_describe_start(recipe, load_name)}

## Metrics

{_metrics_section(metrics, recipe)}{_curve_section(metrics)}{_directions_section(gan, load_name)}
## Limits and risks

Trained on {source}: it gives what that data set has, in the proportions it has there.
{load_modality(recipe.modality).risks}
The metrics compare with others only where data, split, count and extractor are the same.

## License

Weights: {weights_license}. Training data: {data_license}.
"""


def _describe_end(recipe: Recipe, kimg: float) -> str:
    """Say why the weights are from before the end of the recipe's training, if they are."""
    total = recipe.train.total_kimg
    if kimg >= total:
        return ""
    if recipe.train.keep == "best":
        return f"This was the best state of a training of {total:g} kimg.\n"
    return f"The training was stopped there, before its {total:g} kimg.\n"


def _describe_start(recipe: Recipe, load_name: str) -> str:
    """Say what the training started from, and how to train again."""
    start = without_place(recipe.train.start)
    if start == load_name:  # an entry's last training of several, each from the weights of the one before
        return (
            f"The networks started from the weights of an earlier release of `{start}`. Its training does not count "
            "here; the comments of its recipe describe all trainings.\n"
            "`zoo train recipe.toml --out run` continues from the present weights in the same way."
        )
    again = f"`{_format_training(recipe)}` trains it again."
    return f"The networks started from the weights of `{start}`.\n{again}" if start else again


def _format_training(recipe: Recipe) -> str:
    """Write the command that trains again, with all that a recipe file may not choose by itself."""
    parts = ["zoo train recipe.toml --out run"]
    for key, value in list_outside(recipe).items():
        known = without_place(value)
        if key == "data.folder":
            known = "FOLDER"
        elif key == "train.start" and known != value:
            known = "WEIGHTS"
        parts.append(format_outside(key, known))
    return " ".join(parts)


def _show_samples(samples: Samples) -> str:
    """Show the samples: the first texts, pictures, and links to what has to be opened."""
    what = f"{len(samples)} samples of seed {samples.seed}, nothing picked"
    files = {suffix: f"samples/grid{suffix}" for suffix in card_suffixes(samples)}
    shown = [f"```text\n{samples[:8]}\n```"] if samples.READABLE else []
    shown += [f"![{what}]({file})" for suffix, file in files.items() if suffix in PICTURES]
    shown += [f"[{what}]({file})" for suffix, file in files.items() if suffix not in PICTURES]
    return "\n\n".join(shown)


def card_suffixes(samples: Samples | type[Samples]) -> tuple[str, ...]:
    """Return the formats in which samples are saved beside a card, their own first."""
    return samples.CARD_SUFFIXES or samples.SUFFIXES[:1]


def _curve_section(metrics: Mapping[str, Any]) -> str:
    """Show the model's quality-diversity curve beside its control's, with the verdict."""
    if not (curve := metrics.get("curve")):
        return ""
    return f"""
![Reverse LM score against LM score, and Self-BLEU against BLEU, at temperatures from \
{curve["control"][0]["temperature"]:g} to {curve["control"][-1]["temperature"]:g}](samples/curve.png)

**{curve["verdict"]}**
"""


def _directions_section(gan: GAN, load_name: str) -> str:
    """List the named directions and how well each moves what it names."""
    if not isinstance(gan, StyledGAN) or not gan.named_directions:
        return ""
    rows = "\n".join(
        f"| {name} | {each.moves:.2f} | {each.leaves:.2f} |" for name, each in gan.named_directions.items()
    )
    first = next(iter(gan.named_directions))
    return f"""
## Directions

`model.edit(samples, {first}=2)` and `zoo sample {load_name} --edit {first}=2` move samples along a named direction of
styles, by standard deviations of what it names. A move of 1 changes that by "moves", and all other attributes by
"moves others" on average, both in standard deviations, as the network sees them that the directions were learned from.

| direction | moves | moves others |
|---|---|---|
{rows}
"""


def without_place(value: str) -> str:
    """Return what may be published of a value such as `train.start`: of a path on the disk, possibly after a prefix as
    in `transformers:PATH` or `i3d:PATH`, only the name."""
    prefix, colon, path = value.rpartition(":")
    return prefix + colon + Path(path).name if Path(path).expanduser().is_absolute() else value


def _front_matter(recipe: Recipe, metrics: Mapping[str, Any], name: str) -> str:
    """Write what the Hub reads, between two lines of dashes: https://huggingface.co/docs/hub/model-cards."""
    from huggingface_hub import EvalResult, ModelCardData

    task = load_modality(recipe.modality).pipeline_tag
    results = [
        EvalResult(
            task_type=task or recipe.modality,
            dataset_type=metrics["data"],
            dataset_name=f"{metrics['data']} ({metrics['fingerprint'][:16]})",
            dataset_split="test",
            metric_type=_TYPES.get(metric["name"], metric["name"]),
            metric_value=float(f"{metric['value']:.6g}"),
            metric_name=(
                f"{metric['name']}: {metric['count']} samples, {metric['extractor'] or 'no extractor'}, test split, "
                f"seed {metrics['seed']}; real against real {_number(metric['real_vs_real'])}"
            ),
            source_name=metrics["command"],
            source_url=EVALUATION_DOCS,
        )
        for metric in metrics.get("metrics", [])
    ]
    source = recipe.data.name or recipe.data.hub
    data = ModelCardData(
        license=recipe.license if recipe.data.name else "other",
        library_name="gan-zoo",
        pipeline_tag=task,
        tags=["gan", recipe.modality],
        datasets=[source] if source else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _metrics_section(metrics: Mapping[str, Any], recipe: Recipe) -> str:
    if not metrics.get("metrics"):
        return "Not measured.\n"
    rows = "\n".join(
        f"| {f['name']} | {_number(f['value'])} | {_number(f['real_vs_real'])} "
        f"| {f['better']} | {f['extractor'] or ''} | {f['count']:,} |"
        for f in metrics["metrics"]
    )
    names = [metric["name"] for metric in metrics["metrics"]]
    known = load_modality(recipe.modality).metric_notes
    notes = "".join(f" {note}" for start, note in known.items() if any(name.startswith(start) for name in names))
    if recipe.data.name and all(kind.has_pixels for kind in load_modality(recipe.modality).kinds):
        notes = f" {_RENDERED}{notes}"
    return f"""`{metrics["command"]}`, seed {metrics["seed"]}, against the test split of {metrics["data"]} (fingerprint
`{metrics["fingerprint"][:16]}`), prints them again. "Real against real" is the same metric of real training samples
against the same test samples: no generator should be expected to do better.{notes}

| metric | samples | real against real | better | extractor | count |
|---|---|---|---|---|---|
{rows}
{"".join(f"{chr(10)}{note}{chr(10)}" for note in metrics.get("notes", []))}"""


_RENDERED = (
    "gan-zoo renders this data. On another kind of processor its pixels differ by two of 255 levels at most, and its "
    "fingerprint is another one."
)


def _number(value: float | None) -> str:
    """Format a number with four digits."""
    return "none" if value is None else f"{value:.4g}"


def evaluate_command(command: str, recipe: Recipe, load_name: str) -> str:
    """Write the `zoo evaluate` command of these metrics for somebody who loads `load_name`.

    The data's folder on the trainer's disk becomes FOLDER, and other paths become names.
    """
    options, data = shlex.split(command)[3:], ""
    if "--data" in options:
        at = options.index("--data")
        data = options[at + 1]
        del options[at : at + 2]
    if "folder" in DataConfig.option(data) if data else recipe.data.folder:
        data = "FOLDER"
    elif recipe.data.hub and not data:
        data = f"hf:{recipe.data.hub}"
    options = [without_place(option) for option in options]
    return shlex.join(["zoo", "evaluate", load_name, *options, *(["--data", data] if data else [])])
