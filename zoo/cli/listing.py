"""zoo list, zoo info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.app import Device, EntryName, app, echo
from zoo.registry import MODALITIES, Entry, registry


@app.command("list")
def list_entries(
    modality: Annotated[str | None, typer.Argument(metavar="MODALITY", help=f"{', '.join(MODALITIES)}.")] = None,
    match: Annotated[str, typer.Option(metavar="PATTERN", help="A shell pattern for names, e.g. '*gan*'.")] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
    hub: Annotated[bool, typer.Option("--hub", help="Instead, what others published on the Hugging Face Hub.")] = False,
) -> None:
    """List the entries: what can be loaded, sampled and trained by name."""
    if hub:
        _list_hub(modality, match)
        return
    names = registry.names(modality, match=match)
    if markdown:
        echo(format_markdown_table(names))
        return
    width = max(map(len, names), default=0)
    for name in names:
        entry = registry.entries[name]
        echo(f"{name:<{width}}  {'weights' if entry.has_weights else 'recipe ':<7}  {entry.summary}")
    if not names:
        echo("no entry fits", to_stderr=True)


def _list_hub(modality: str | None, match: str) -> None:
    from fnmatch import fnmatchcase

    from zoo.io.hub import search

    registry.names(modality)  # a wrong modality is an error here, too
    found = [repo for repo in search() if fnmatchcase(repo.id, match) and modality in (None, *(repo.tags or []))]
    width = max((len(repo.id) for repo in found), default=0)
    for repo in found:
        kind = next((tag for tag in repo.tags or [] if tag in MODALITIES), "")
        changed = f"{repo.last_modified:%Y-%m-%d}" if repo.last_modified else ""
        echo(
            f"{repo.id:<{width}}  {kind:<5}  {repo.downloads or 0:>7} downloads  {repo.likes or 0:>5} likes  {changed}"
        )
    if not found:
        echo("no repository of gan-zoo fits", to_stderr=True)


def format_markdown_table(names: list[str]) -> str:
    """Format entries as the Markdown table of the README and of docs/index.md."""
    rows = ["| entry | what it is | paper | weights |", "|---|---|---|---|"]
    for name in names:
        entry = registry.entries[name]
        weights = "bundled" if entry.bundled.is_dir() else "recipe only"
        paper = entry.paper.rpartition("/")[2].removeprefix("forum?id=")
        rows.append(f"| `{name}` | {entry.summary} | [{paper}]({entry.paper}) | {weights} |")
    return "\n".join(rows)


@app.command()
def info(
    name: EntryName,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost",
            help="Measure: parameters, FLOPs, memory and samples/s on this machine; bytes that a training step sends.",
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Show what an entry is: architecture, paper, license, recipe, weights, sample options, metrics."""
    entry = registry.entry(name)
    weights = f"bundled in {entry.bundled}" if entry.bundled.is_dir() else (entry.weights.repo or "none released yet")
    rows: dict[str, Any] = {
        "name": entry.name,
        "summary": entry.summary,
        "modality": entry.modality,
        "architecture": entry.architecture,
        "paper": entry.paper,
        "license": entry.license,
        "recipe": entry.recipe,
        "weights": weights,
        **_format_options(entry),
    }
    if cost:
        from zoo.cost import measure_cost

        rows |= measure_cost(entry, device=device)
    else:
        rows |= _format_metrics(entry.bundled / "metrics.json")
    width = max(map(len, rows))
    for key, value in rows.items():
        echo(f"{key:<{width}}  {value}")


def _format_options(entry: Entry) -> dict[str, str]:
    """Describe the sample options of an entry's architecture, by the names of their flags."""
    from zoo.recipe import load_architecture

    flags = load_architecture(entry.modality, entry.architecture).SampleOptions.flags()
    return {", ".join(flag.flags): flag.help for flag in flags.values()}


def _format_metrics(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}

    def format_value(value: float, real_vs_real: float | None) -> str:
        return f"{value:.4g}" + ("" if real_vs_real is None else f" (real against real: {real_vs_real:.4g})")

    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {m["name"]: format_value(m["value"], m.get("real_vs_real")) for m in metrics}
