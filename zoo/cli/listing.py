"""zoo list, zoo info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.app import Device, app, echo, echo_json
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, suggest
from zoo.options import ABSENT
from zoo.paths import means_path
from zoo.registry import MODALITIES, Entry, fits, registry

if TYPE_CHECKING:
    from zoo.gan import GAN


@app.command("list")
def list_entries(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help=f"{', '.join(MODALITIES)}, a part of a name, or a shell pattern; all if absent."
        ),
    ] = "",
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only entries with weights.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    hub: Annotated[bool, typer.Option("--hub", help="Instead, what others published on the Hugging Face Hub.")] = False,
) -> None:
    """List the entries: what can be loaded, sampled and trained by name.

    zoo list
    zoo list music
    zoo list seq --json
    """
    if hub:
        _list_hub(what, as_json=as_json)
        return
    names = registry.names(what, pretrained=pretrained or None)
    if not names:
        if pretrained and registry.names(what):
            raise NotFoundError(f'no entry with "{what}" in its name has weights; without --pretrained there are some')
        near = suggest(what, [*MODALITIES, *registry.entries])
        raise NotFoundError(f'no entry has "{what}" in its name.{near} `zoo list` shows all {len(registry.entries)}')
    if as_json:
        echo_json([_describe_briefly(registry.entries[name]) for name in names])
        return
    width = max(map(len, names))
    for name in names:
        entry = registry.entries[name]
        echo(f"{name:<{width}}  {'weights' if entry.is_released else 'recipe ':<7}  {entry.summary}")


def _describe_briefly(entry: Entry) -> dict[str, Any]:
    facts = ("name", "modality", "architecture", "summary", "paper", "license")
    return {fact: getattr(entry, fact) for fact in facts} | {"bundled": entry.has_weights, "repo": entry.weights.repo}


def _list_hub(what: str, *, as_json: bool) -> None:
    from zoo.io.hub import search

    found = [repo for repo in search() if fits(what, repo.id, *(repo.tags or []))]
    rows = [
        {
            "repo": repo.id,
            "modality": next((tag for tag in repo.tags or [] if tag in MODALITIES), ""),
            "downloads": repo.downloads or 0,
            "likes": repo.likes or 0,
            "changed": f"{repo.last_modified:%Y-%m-%d}" if repo.last_modified else "",
        }
        for repo in found
    ]
    if as_json:
        echo_json(rows)
        return
    width = max((len(row["repo"]) for row in rows), default=0)
    for row in rows:
        echo(
            f"{row['repo']:<{width}}  {row['modality']:<5}  {row['downloads']:>7} downloads  {row['likes']:>5} likes  "
            f"{row['changed']}"
        )
    if not rows:
        echo("no repository of gan-zoo fits", to_stderr=True)


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An entry (zoo list), a recipe's path, a run, or a folder of weights.")
    ],
    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="Measure: parameters, FLOPs, memory and samples/s on this machine; bytes that a training step sends.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    device: Device = "auto",
) -> None:
    """Show what an entry, a run or a folder of weights is: its sources, sizes, data, sample options and metrics.

    zoo info faces-stylegan2
    zoo info runs/a
    """
    if name not in registry.entries and not name.endswith(".toml") and (means_path(name) or Path(name).exists()):
        if cost:
            raise InvalidValueError(f"{name}: --cost measures entries and recipes; that of a run is {name}/recipe.toml")
        facts, metrics = _describe_weights(name)
    else:
        entry = registry.entry(name)
        facts, metrics = _describe(entry), _read_metrics(entry.bundled / "metrics.json")
    if cost:
        from zoo.cost import measure_cost

        facts |= measure_cost(entry, device=device)
        metrics = []
    if as_json:
        echo_json({**facts, "metrics": metrics} if metrics else facts)
        return
    options = facts.pop("options")
    rows = {key: _format_fact(value) for key, value in facts.items() if value not in ("", [], {})}
    rows |= options | {metric["name"]: _format_metric(metric) for metric in metrics}
    width = max(map(len, rows))
    for key, value in rows.items():
        echo(f"{key:<{width}}  {value}")


def _describe(entry: Entry) -> dict[str, Any]:
    """Describe an entry by facts that need no weights to be loaded."""
    import torch

    from zoo.recipe import load_recipe

    recipe = load_recipe(entry)
    with torch.device("meta"):
        gan = recipe.build()
    facts: dict[str, Any] = {
        "name": entry.name,
        "summary": entry.summary,
        "modality": entry.modality,
        "architecture": entry.architecture,
        "paper": entry.paper,
        "license": entry.license,
        "recipe": str(entry.recipe),
        "weights": f"bundled in {entry.bundled}" if entry.has_weights else (entry.weights.repo or "none released yet"),
        **_describe_networks(gan, entry.bundled),
        "data": recipe.data.name or recipe.data.hub or recipe.data.folder,
    }
    facts |= {f"preset {preset}": " ".join(overrides) for preset, overrides in recipe.presets.items()}
    if (kimg := _read_report(entry.bundled / "metrics.json").get("kimg")) is not None:
        facts["trained"] = f"{kimg:g} kimg, batch {recipe.train.batch}" + _describe_start(entry)
    return facts | {"options": _describe_options(gan, entry.bundled)}


def _describe_weights(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Describe a run, or released weights that are no entry; returns also what was measured of them."""
    import torch

    from zoo.releases.loading import find_source
    from zoo.training.run import Run

    source = find_source(name)
    folder = source.folder
    architecture = source.recipe.architecture_class if isinstance(source, Run) else source.architecture
    config = source.recipe.model if isinstance(source, Run) else source.config
    with torch.device("meta"):
        gan = architecture(config)
    facts: dict[str, Any] = {
        "name": name,
        "modality": source.recipe.modality if isinstance(source, Run) else source.modality,
        "architecture": architecture.__module__.rpartition(".")[2],
        "weights": f"a run at {source.kimg:g} kimg" if isinstance(source, Run) else f"released in {folder}",
        **_describe_networks(gan, folder),
    }
    if isinstance(source, Run):
        data = source.recipe.data
        facts |= {"data": data.name or data.hub or data.folder, "batch": source.recipe.train.batch}
    report = _read_report(folder / "metrics.json")
    is_of_another_state = isinstance(source, Run) and report.get("kimg") != source.kimg
    metrics = [] if is_of_another_state else report.get("metrics", [])
    return facts | {"options": _describe_options(gan, folder)}, metrics


def _describe_networks(gan: GAN, folder: Path) -> dict[str, Any]:
    return {
        "sample": list(gan.sample_shape),
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in gan.networks.items()},
        "classes": _read_classes(folder / "labels.json"),
    }


def _describe_options(gan: GAN, folder: Path) -> dict[str, str]:
    """Describe the sample options that these weights take, and their named directions."""
    from zoo.styled import DIRECTIONS

    options = {
        ", ".join(flag.flags) if option in ABSENT else f"--option {option}=": flag.help
        for option, flag in gan.SampleOptions.flags().items()
        if option in gan.sample_options
    }
    if (folder / DIRECTIONS).is_file():
        names = ", ".join(json.loads((folder / DIRECTIONS).read_text(encoding="utf-8"))["directions"])
        options["--edit"] = f"How far samples move along named directions, e.g. NAME=2: {names}."
    return options


def _describe_start(entry: Entry) -> str:
    """Say what a training started from, which is part of its cost."""
    from zoo.recipe import load_recipe

    start = load_recipe(entry.bundled / "recipe.toml").train.start
    if start == entry.name:
        return ", from its earlier weights; the recipe says how"
    return f", from weights of {start}" if start else ""


def _format_fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    if isinstance(value, list):
        return (" x " if all(isinstance(each, int) for each in value) else ", ").join(map(str, value))
    return str(value)


def _read_classes(path: Path) -> list[str]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    return _read_report(path).get("metrics", [])


def _read_report(path: Path) -> dict[str, Any]:
    """Read what `zoo evaluate` left; nothing where there is none. Raises InvalidFileError for something else."""
    try:
        report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InvalidFileError(f"{path}: not the metrics of `zoo evaluate`: {error}") from error
    if not isinstance(report, dict):
        raise InvalidFileError(f"{path}: not the metrics of `zoo evaluate`")
    return report


def _format_metric(metric: dict[str, Any]) -> str:
    real = metric.get("real_vs_real")
    return f"{metric['value']:.4g}" + ("" if real is None else f" (real against real: {real:.4g})")
