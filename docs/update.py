"""Bring the generated parts of README and docs up to date: python docs/update.py [--check].

They are the tables of entries, of their metrics and directions, of recipe keys, the lower part of the gallery, and the
reference of the command line.
Each generated part stands between two markers, `<!-- NAME -->` and `<!-- end NAME -->`, each exactly once on its page.
The types of the package, `zoo/__init__.pyi`, are generated, too. With `--check` nothing is written, and the exit code
tells whether something would change.
"""

from __future__ import annotations

import ast
import dataclasses
import html
import inspect
import itertools
import json
import math
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

import zoo
from zoo.cli.app import app
from zoo.cli.main import main as _commands  # noqa: F401 - registers all commands
from zoo.modality import load_modality
from zoo.recipe import MAX_ITEMS, DataConfig, EvaluateConfig, TestConfig, TrainConfig, load_architecture
from zoo.registry import MODALITIES, Entry, Weights, registry
from zoo.releases.loading import load
from zoo.styled import StyledGAN

ROOT = Path(__file__).parents[1]
TYPE_NAMES = {int: "whole number", float: "number", str: "text", bool: "true, false"}


# --- tables of recipe keys ---------------------------------------------------------------------------------------


def read_field_docs(cls: type) -> dict[str, str]:
    """Read the string under each field of a dataclass and of its bases."""
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


def format_values(hint: Any, metadata: Any) -> str:
    """Describe the values that a key takes."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            most = metadata.get("items", MAX_ITEMS)
            return f"a list of at most {most}, each {format_values(inner[0], metadata)}"
        return f"{len(inner)} numbers, each {format_values(inner[0], metadata).removeprefix('number, ')}"
    if get_origin(hint) in (dict, Mapping):
        return f"a table of {TYPE_NAMES[get_args(hint)[1]]}s"
    name = TYPE_NAMES.get(hint, "a table")
    low, high, above = (metadata.get(key) for key in ("low", "high", "above"))
    if above is not None:
        return f"{name}, above {above}"
    if hint in (int, float) and low not in (None, -math.inf):
        top = "2^63 - 1" if high == 2**63 - 1 else f"{high:,}" if isinstance(high, int) else f"{high:g}"
        if 0.99 < high < 1:
            return f"{name}, {low} up to below 1"
        return f"{name}, {low} or more" if high == math.inf else f"{name}, {low} to {top}"
    return name


def format_default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, Mapping):
        return "`{}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


def list_rows(prefix: str, cls: type, instance: Any = None) -> Iterator[str]:
    """List a row for each field; defaults are those of `instance`, if a field of another dataclass has one."""
    hints, docs = get_type_hints(cls), read_field_docs(cls)
    for field in dataclasses.fields(cls):
        key, hint = f"{prefix}.{field.name}", hints[field.name]
        value = field.default if instance is None else getattr(instance, field.name)
        if dataclasses.is_dataclass(hint):
            yield from list_rows(key, hint, value)  # type: ignore[arg-type]
        else:
            value = {} if value is dataclasses.MISSING else value
            yield (
                f"| `{key}` | {format_default(value)} | {format_values(hint, field.metadata)} "
                f"| {docs.get(field.name, '')} |"
            )


def format_table(prefix: str, cls: type, *, without: type | None = None) -> str:
    """Format the keys of a dataclass as a table, without the rows that another dataclass has, too."""
    known = set(list_rows(prefix, without)) if without is not None else set()
    rows = [row for row in list_rows(prefix, cls) if row not in known]
    return "\n".join(["| key | default | values | |", "|---|---|---|---|", *rows]) if rows else ""


def format_architectures() -> str:
    """Format the keys of every architecture in use, by modality."""
    parts = []
    for modality in MODALITIES:
        parts.append(f"### {modality.capitalize()}")
        for kind in load_modality(modality).kinds:
            if table := format_table("data", kind.data_config, without=DataConfig):
                parts += [f"`[data]` ({kind.data_config.__name__}):", table]
        for name in sorted(registry[modality]):
            parts.append(format_architecture(modality, name))
    return "\n\n".join(parts)


def format_architecture(modality: str, name: str) -> str:
    cls = load_architecture(modality, name)
    entries = ", ".join(f"`{entry}`" for entry in registry[modality][name].entries)
    parts = [f"#### {modality}: {name}", f"Used by {entries}. {own_docstring(cls.Config)}".rstrip()]
    parts.append(format_table("model", cls.Config))
    if table := format_table("train", cls.TrainConfig, without=TrainConfig):
        parts += [f"`[train]` has further keys, or other defaults. {own_docstring(cls.TrainConfig)}".rstrip(), table]
    return "\n\n".join(parts)


def own_docstring(cls: type) -> str:
    """Return the docstring that a dataclass has of its own, not the signature that Python gives it without one."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    return "" if text.startswith(f"{cls.__name__}(") else text


# --- the command line --------------------------------------------------------------------------------------------


COMMON = {"--help", "--quiet", "--verbose"}  # of all commands


def format_commands() -> str:
    """Format the help of every command."""
    return "\n\n".join(_format_group(typer.main.get_command(app), "zoo"))


def _format_group(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _format_group(command, f"{path} {name}")
        else:
            yield _format_command(command, f"{path} {name}")


def _format_command(command: Any, path: str) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not COMMON & set(p.opts)]
    usage = " ".join([path, *map(_format_argument, arguments), *(["[OPTIONS]"] if options else [])])
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    examples = "\n".join(p for p in paragraphs[1:] if p.startswith(("zoo ", "torchrun ")))
    text = "\n\n".join(" ".join(p.split()) for p in paragraphs if not p.startswith(("zoo ", "torchrun ")))
    rows = [f"| `{', '.join([*p.opts, *p.secondary_opts])}` | {_format_help(p)} |" for p in options]
    rows = [f"| `{_format_argument(p)}` | {_format_help(p)} |" for p in arguments] + rows
    parts = [f"## {path}", f"```text\n{usage}\n```", text]
    parts += ["| | |\n|---|---|\n" + "\n".join(rows)] if rows else []
    parts += [f"```text\n{examples}\n```"] if examples else []
    return "\n\n".join(part for part in parts if part)


def _format_argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    shown = name if parameter.required else f"[{name}]"
    return f"{shown}..." if parameter.nargs == -1 else shown


def _format_help(parameter: Any) -> str:
    default = parameter.default
    shown = default not in (None, "", False, ()) and not callable(default) and not parameter.required
    text = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"{text} Default: `{default}`." if shown else text


# --- released weights ------------------------------------------------------------------------------------------------


SITE = "https://gan-zoo.github.io/gan-zoo/"
WIDTH = 266  # pixels of a picture in a table


WORDS = {
    "en": ("| entry | samples | first metric (real vs real) |", "samples of {}", "a recipe, without weights", "paper"),
    "zh": ("| 条目 | 样本 | 第一个指标（真实对真实） |", "{} 的样本", "只有配方，没有权重", "论文"),
}
CHINESE = {"faces": "人脸", "text": "文本", "music": "音乐", "video": "视频"}


def format_entries(docs: str, language: str = "en") -> str:
    """Format all entries by modality: a sample, what it is, and the first metric of its card.

    Args:
        docs: the path of the folder docs from the page.
        language: of the page, `en` or `zh`.
    """
    tables = []
    for modality in MODALITIES:
        entries = [entry for entry in registry.entries.values() if entry.modality == modality]
        rows = [_format_entry(entry, docs, language) for entry in entries]
        title = CHINESE[modality] if language == "zh" else modality.capitalize()
        tables.append(f"**{title}**\n\n{WORDS[language][0]}\n|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(tables)


def _format_entry(entry: Entry, docs: str, language: str) -> str:
    _, alt, without, paper = WORDS[language]
    # The gallery is in English; a page of the Chinese site has no path to it.
    gallery = f"{SITE}gallery/" if language == "zh" and not docs else f"{docs}gallery.md"
    name = f"[`{entry.name}`]({gallery}#{entry.name})" if entry.has_weights else f"`{entry.name}`"
    what = f"{name}<br>{entry.summary.replace('|', '/')}, [{paper}]({entry.paper})"
    if not entry.has_weights:
        return f"| {what} | | {without} |"
    first = json.loads((entry.bundled / "metrics.json").read_text(encoding="utf-8"))["metrics"][0]
    texts = entry.bundled / "samples" / "grid.txt"
    if texts.is_file():
        shown = texts.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()[:4]
        samples = "<br>".join(line.replace("|", "/") for line in (shown if len(shown) > 1 else shown[:1]))
    else:
        moves = load_architecture(entry.modality, entry.architecture).Output.SUFFIXES[0] == ".webp"
        picture = f"{entry.name}{'.webp' if moves else '.png'}"
        # A width, because tables would shrink the picture.
        samples = f'<img src="{docs}entries/{picture}" width="{WIDTH}" alt="{alt.format(entry.name)}">'
    real = "" if first["real_vs_real"] is None else f" ({first['real_vs_real']:.3g})"
    return f"| {what} | {samples} | {first['name'].replace('_', ' ')}: {first['value']:.3g}{real} |"


def format_metrics(modality: str) -> str:
    """Format the metrics of a modality's released entries, from the metrics.json beside their weights."""
    reports = {
        entry.name: {each["name"]: each for each in json.loads((entry.bundled / "metrics.json").read_text())["metrics"]}
        for entry in registry.entries.values()
        if entry.modality == modality and entry.has_weights
    }
    lines = [
        "| metric | better | " + " | ".join(f"`{name}` | real vs real" for name in reports) + " |",
        "|---|---|" + "---|---|" * len(reports),
    ]
    for metric in sorted({name: None for report in reports.values() for name in report}, key=_order(reports)):
        rows = [report.get(metric) for report in reports.values()]
        better = next(row["better"] for row in rows if row)
        cells = [f"{row['value']:.4g} | {row['real_vs_real']:.4g}" if row else " | " for row in rows]
        lines.append(f"| `{metric}` | {better} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _order(reports: Mapping[str, Mapping[str, Any]]) -> Callable[[str], int]:
    """Order metrics as the longest report does."""
    longest = list(max(reports.values(), key=len))
    return lambda name: longest.index(name) if name in longest else len(longest)


def format_directions(name: str) -> str:
    """Format the named directions of an entry's weights."""
    model = load(name)
    assert isinstance(model, StyledGAN)
    rows = [f"| {key} | {each.moves:.2f} | {each.leaves:.2f} |" for key, each in model.named_directions.items()]
    return "\n".join(["| direction | moves | moves others |", "|---|---|---|", *rows])


# --- the gallery -------------------------------------------------------------------------------------------------

FIGURES = 4  # metrics of an entry in the gallery, the first of its card
LINES = 10  # of the samples of an entry of texts


def format_gallery() -> str:
    """Format every released entry: its samples, real ones, metrics, and what it cannot do."""
    written = tomllib.loads((ROOT / "docs" / "gallery" / "entries.toml").read_text(encoding="utf-8"))
    released = [entry for entry in registry.entries.values() if entry.has_weights]
    parts = []
    for modality in MODALITIES:
        limits = "An entry gives what its data set has, in the proportions that it has there."
        parts.append(f"### {modality.capitalize()}\n\n{limits} {load_modality(modality).risks}")
        parts += [
            _format_shown(entry, written["entry"].get(entry.name, {}), written["real"])
            for entry in released
            if entry.modality == modality
        ]
    return "\n\n".join(parts)


def _format_shown(entry: Entry, written: Mapping[str, Any], reals: Mapping[str, Any]) -> str:
    report = json.loads((entry.bundled / "metrics.json").read_text(encoding="utf-8"))
    samples, data = written.get("samples"), report["data"]
    if samples is None:
        lines = (entry.bundled / "samples" / "grid.txt").read_text(encoding="utf-8").split("\n")[:LINES]
        samples = {"text": "\n".join(lines).rstrip(), "caption": "the first samples of seed 0"}
    shown = [_format_figure("Generated", f"samples of {entry.name}", samples)]
    if real := written.get("real", reals.get(data)):
        shown.append(_format_figure("Real", f"samples of {data}", real))
    rows = [
        f"| `{each['name']}` | {each['value']:.4g} | {_format_real(each['real_vs_real'])} | {each['better']} |"
        for each in report["metrics"][:FIGURES]
    ]
    wide = " gallery-wide" if entry.modality in ("music", "video") else ""  # one below the other
    return "\n\n".join(
        [
            f"#### {entry.name}",
            f"{entry.summary}, [paper]({entry.paper}).",
            f'<div class="gallery-entry{wide}" markdown>\n' + "\n".join(shown) + "\n</div>",
            "| metric | samples | real vs real | better |\n|---|---|---|---|\n" + "\n".join(rows),
            f"**What it cannot do.** {written['cannot']}\n\nData: [{data}](data.md#{data}). License of the weights: "
            f"{entry.license}.",
        ]
    )


def _format_real(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _format_figure(title: str, alt: str, content: Mapping[str, str]) -> str:
    """Format a picture or text, with a caption, and a player where there is sound."""
    if "text" in content:
        shown = "\n".join(f"{line}<br>" for line in html.escape(content["text"], quote=False).splitlines())
        shown = f'<p class="gallery-text">\n{shown}\n</p>'
    else:
        shown = f"![{title}: {alt}]({content['picture']})"
    sound = f'<audio controls preload="none" src="../{content["sound"]}"></audio>\n' if "sound" in content else ""
    return f"<figure markdown>\n{shown}\n{sound}<figcaption>{title}: {content['caption']}.</figcaption>\n</figure>"


# --- types -------------------------------------------------------------------------------------------------------

STUB = "zoo/__init__.pyi"
_STUB_START = """\
# Written by `python docs/update.py`: the types of the package, with the class that each entry is loaded as.
# ruff: noqa
# fmt: off
import os
from typing import Any, Literal, overload

import torch

from zoo.samples import Samples
"""


def format_stub() -> str:
    """Format the types of the package: for each entry the class of its model and of its samples."""
    models: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    imports = set()
    for entry in registry.entries.values():
        cls = load_architecture(entry.modality, entry.architecture)
        for made, names in ((cls, models), (cls.Output, samples)):
            alias = f"_{made.__module__.replace('.', '_')}_{made.__name__}"
            imports.add(f"from {made.__module__} import {made.__name__} as {alias}")
            names.setdefault(alias, []).append(entry.name)
    typed = {"load": models, "create": models, "sample": samples}
    homes = {name: getattr(getattr(zoo, name), "__module__", "zoo.registry") for name in zoo.__all__}
    public = [f"from {home} import {name} as {name}" for name, home in homes.items() if name not in typed]
    overloads = [text for name, results in typed.items() for text in _format_overloads(getattr(zoo, name), results)]
    names = f"__version__: str\n__all__ = {zoo.__all__!r}"
    return "\n".join([_STUB_START + "\n".join([*public, "", *sorted(imports)]), names, *overloads]) + "\n"


def _format_overloads(function: Callable[..., Any], results: Mapping[str, list[str]]) -> Iterator[str]:
    """Format a function whose result depends on the name of an entry, its first argument."""
    first, *others = inspect.signature(function).parameters.values()
    rest = ""
    for each in others:
        star = "*, " if each.kind is each.KEYWORD_ONLY and "*" not in rest else ""
        star += "**" if each.kind is each.VAR_KEYWORD else ""
        default = "" if each.default is each.empty else f" = {each.default!r}"
        rest += f", {star}{each.name}: {each.annotation}{default}"
    of_names = [(f"Literal[{', '.join(map(repr, names))}]", result) for result, names in results.items()]
    for annotation, result in [*of_names, (first.annotation, inspect.signature(function).return_annotation)]:
        yield f"@overload\ndef {function.__name__}({first.name}: {annotation}{rest}) -> {result}: ..."


# --- pages -------------------------------------------------------------------------------------------------------

PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"entries": lambda: format_entries("docs/")},
    "docs/index.md": {"entries": lambda: format_entries("")},
    "README.zh.md": {"entries": lambda: format_entries("docs/", "zh")},
    "docs_zh/index.md": {"entries": lambda: format_entries("", "zh")},
    "docs/recipes.md": {
        "table data": lambda: format_table("data", DataConfig),
        "table train": lambda: format_table("train", TrainConfig),
        "table evaluate": lambda: format_table("evaluate", EvaluateConfig),
        "table weights": lambda: format_table("weights", Weights),
        "table test": lambda: format_table("test", TestConfig),
        "architectures": format_architectures,
    },
    "docs/cli.md": {"cli": format_commands},
    "docs/gallery.md": {"every entry": format_gallery},
    "docs/faces.md": {"metrics": lambda: format_metrics("faces")},
    "docs/steer.md": {"directions": lambda: format_directions("faces-stylegan2")},
}


class MarkerError(Exception):
    """A marker that a page lacks, or has twice."""


def replace_part(page: str, name: str, text: str, *, where: str = "the page") -> str:
    """Replace what stands between the two markers of a part. Raises MarkerError unless each is there exactly once."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
    for marker in (start.strip(), end.strip()):
        if (count := page.count(marker)) != 1:
            raise MarkerError(f"{where}: the marker {marker} is there {count} times, not once")
    if page.index(start.strip()) > page.index(end.strip()):
        raise MarkerError(f"{where}: the marker {end.strip()} stands before {start.strip()}")
    before, _, rest = page.partition(start.strip())
    after = rest.partition(end.strip())[2]
    return f"{before}{start}\n{text}\n{end}{after}"


def update(root: Path = ROOT, *, check: bool = False) -> list[str]:
    """Write all generated parts; returns the pages that changed, or would with `check`. Raises MarkerError."""
    changed = []
    for file, parts in PARTS.items():
        path = root / file
        old = page = path.read_text(encoding="utf-8")
        for name, make in parts.items():
            page = replace_part(page, name, make(), where=file)
        if page != old:
            changed.append(file)
            if not check:
                path.write_text(page, encoding="utf-8")
    path, stub = root / STUB, format_stub()
    if not path.is_file() or path.read_text(encoding="utf-8") != stub:
        changed.append(STUB)
        if not check:
            path.write_text(stub, encoding="utf-8")
    return changed


if __name__ == "__main__":
    check = "--check" in sys.argv[1:]
    try:
        pages = update(check=check)
    except MarkerError as error:
        sys.exit(str(error))
    if pages and check:
        sys.exit(f"{', '.join(pages)}: not up to date; run python docs/update.py")
    print("\n".join(pages) or "nothing to change")
