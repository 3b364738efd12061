"""From a run to a folder of released weights, laid out exactly as its Hub repository:

generator.safetensors  discriminator.safetensors    one file a player, matrices in float16 where sampling allows it
config.json            format, modality, architecture, config; no code
recipe.toml            the resolved recipe that trained it
README.md              the model card
figures.json           what `zoo evaluate` measured
samples/grid.png       the first 64 samples of seed 0; of sounds 16 and a .flac, of scores a .mid, too; of clips a .webp
                       of 16
SHA256SUMS             for `sha256sum -c`, and checked here before a file is opened
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.card import card_text, evaluate_command, public_start, shown_suffixes, write_card
from zoo.disk import replacing
from zoo.errors import BadFile, BadValue, CannotWrite
from zoo.gan import GAN
from zoo.hub import FORMAT, load_folder, weight_files
from zoo.recipe import Recipe, load_recipe
from zoo.registry import Entry, registry
from zoo.safe import SUMS, digest, halved, write_sums, write_weights


def release(
    run: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    load_name: str = "",
    figures: Mapping[str, Any] | None = None,
) -> Path:
    """Write the weights folder of a run's newest checkpoint; returns the folder.

    The folder is made beside its place and then put there whole. Where it is an entry of this checkout, the digests
    are written into the entry's recipe, too.

    Args:
        out: the folder; zoo/weights/<entry> in this package if None.
        load_name: by what name the card says to load these weights; the entry's, or the folder's, if empty.
        figures: what `zoo.evaluate` measured; the run's figures.json if None.

    Raises:
        BadFile: no run, or one without figures; `out` is a folder that holds something else than released weights.
        CannotWrite: the place cannot be written.
    """
    from zoo.training.loop import load_run

    run = Path(run).expanduser()
    if out is not None:
        _refuse_to_replace(Path(out).expanduser().resolve())
    recipe, gan, kimg = load_run(run)
    if figures is None:
        figures = read_figures(run, kimg)
    entry = registry.entries.get(recipe.name)
    place = Path(out).expanduser().resolve() if out is not None else _bundled(recipe)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    except OSError as error:
        raise CannotWrite(f"{place}: cannot write: {error.strerror or error}") from error
    try:
        save_players(gan, scratch)
        write_config(recipe, scratch)
        if (run / "curve.png").is_file() and figures.get("curve"):
            (scratch / "samples").mkdir()
            shutil.copyfile(run / "curve.png", scratch / "samples" / "curve.png")
        for asset in gan.ASSETS:
            shutil.copyfile(run / asset, scratch / asset)
        (scratch / "recipe.toml").write_text(_released_recipe(recipe), encoding="utf-8")
        load_name = load_name or (entry.name if entry is not None and _is_bundled(entry, place) else f"./{place.name}")
        if figures:
            figures = {**figures, "command": evaluate_command(figures["command"], recipe, load_name)}
        (scratch / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        samples = load_folder(scratch).sample(gan.Output.CARD_COUNT, seed=0)
        for suffix in shown_suffixes(samples):
            samples.save(scratch / "samples" / f"grid{suffix}")
        write_card(scratch, card_text(recipe, gan, samples, kimg=kimg, figures=figures, load_name=load_name))
        write_sums(scratch)
        scratch.chmod(0o755)
        _put(scratch, place)
    except OSError as error:
        raise CannotWrite(f"{place}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if entry is not None and _is_bundled(entry, place):
        pin_weights(entry.recipe, {name: digest(place / name) for name in weight_files(place)})
    return place


def save_players(gan: GAN, folder: Path) -> None:
    """Write each player as safetensors into `folder`, with config.json.

    Matrices and kernels go in float16, vectors and statistics in float32. A generator's stay float32 where that would
    be seen: where the mean change of a sample exceeds half a step of 8-bit colour.
    """
    seen = _change(gan, halved(gan.generator)) > 0.5 / 127.5
    for name, player in gan.players.items():
        whole = seen and player is gan.generator
        write_weights(player.state_dict() if whole else halved(player), folder / f"{name}.safetensors")


def write_config(recipe: Recipe, folder: Path) -> None:
    """Write config.json: what `read_config` needs to build the players again."""
    content = {
        "format": FORMAT,
        "library": "gan-zoo",
        "modality": recipe.modality,
        "architecture": recipe.architecture,
        "config": recipe.to_table()["model"],
    }
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _change(gan: GAN, generator_state: Mapping[str, Tensor]) -> float:
    """The mean absolute change of 16 samples when the generator's weights become `generator_state`."""
    rounded = copy.deepcopy(gan)
    rounded.generator.load_state_dict(dict(generator_state))
    change = float((gan.sample(16, seed=0).tensor - rounded.sample(16, seed=0).tensor).float().abs().mean())
    return change if math.isfinite(change) else math.inf


# What a card reads of a report, and of each of its figures.
_OF_REPORT = {"command", "data", "fingerprint", "seed", "figures"}
_OF_FIGURE = {"name", "value", "floor", "higher_is_better", "count", "extractor", "seed"}


def read_figures(run: Path, kimg: float) -> dict[str, Any]:
    """The figures that `zoo evaluate` left in a run. Raises BadFile where it has none, or those of another state."""
    path = run / "figures.json"
    if not path.is_file():
        raise BadFile(f"{run}: not evaluated yet; run `zoo evaluate {run}` first, so that the card has its figures")
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        measured = float(figures["kimg"])
        found = figures["figures"]
        if not (found and figures.keys() >= _OF_REPORT and all(figure.keys() >= _OF_FIGURE for figure in found)):
            raise ValueError("not all of what a report has")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(f"{path}: damaged; run `zoo evaluate {run}` again") from error
    if abs(measured - kimg) > 1e-9:
        raise BadFile(f"{path}: measured at {measured} kimg, the run is at {kimg}; run `zoo evaluate {run}`")
    return figures


def _is_bundled(entry: Entry, place: Path) -> bool:
    return place.resolve() == entry.bundled.resolve()


def _bundled(recipe: Recipe) -> Path:
    name = recipe.name
    if name not in registry.entries:  # a recipe of one's own, or a name that a run claims to have
        raise BadValue(f'"{name}" is no entry of this package; say where the weights should go: --out FOLDER')
    if (recipe.architecture, recipe.data) != ((entry := load_recipe(name)).architecture, entry.data):
        raise BadValue(
            f"this run of {name} had other data than the entry; say where the weights should go: --out FOLDER"
        )
    return registry.entries[name].bundled


def _released_recipe(recipe: Recipe) -> str:
    import tomlkit

    table = recipe.to_table()
    del table["weights"]  # digests of what lies beside it would never agree with themselves
    for key in ("folder", "tokenizer"):  # not the trainer's own paths
        if Path(str(table["data"].get(key, ""))).is_absolute():
            table["data"][key] = Path(table["data"][key]).name
    table["train"]["start"] = public_start(table["train"]["start"])
    return f"# {recipe.name}, resolved: every value that trained these weights\n" + tomlkit.dumps(table)


def _refuse_to_replace(place: Path) -> None:
    """What stands at `place` will be gone: it may be nothing, or an empty folder, or other released weights."""
    if not place.exists() or ((place / SUMS).is_file() and (place / "config.json").is_file()):
        return
    if not place.is_dir() or any(place.iterdir()):
        raise BadFile(f"{place}: something else than released weights is here, and would be lost; choose a new folder")


def _put(scratch: Path, place: Path) -> None:
    """Swap the finished folder in; what was there before is gone only after the new one stands."""
    old = place.with_name(f".{place.name}-replaced")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    scratch.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def pin_weights(path: Path, sha256: Mapping[str, str], *, repo: str = "", revision: str = "") -> None:
    """Write the digests, and the repository and revision if given, into the `[weights]` of the recipe file at `path`.

    Its comments and order stay. Raises CannotWrite.
    """
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    weights = document.setdefault("weights", tomlkit.table())
    if repo:
        weights["repo"], weights["revision"] = repo, revision
    weights["sha256"] = tomlkit.inline_table()
    weights["sha256"].update(sha256)
    with replacing(path) as temporary:
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")


def copy_recipe(name: str, target: Path) -> Path:
    """Copy an entry's recipe, comments and all, to a path of the user's. Raises NotFound, BadFile, CannotWrite."""
    import tomlkit

    entry = registry.entry(name)
    if target.is_dir():
        target = target / entry.recipe.name
    if target.suffix != ".toml":
        raise BadValue(f"{target}: a recipe's name ends in .toml")
    if target.exists():
        raise BadFile(f"{target}: exists already; choose another name")
    document = tomlkit.parse(entry.recipe.read_text(encoding="utf-8"))
    document.pop("weights", None)  # a changed recipe has no released weights
    load_recipe(entry)  # a broken recipe is not worth a copy
    with replacing(target) as temporary:
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
    return target
