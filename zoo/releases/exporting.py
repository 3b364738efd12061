"""From a run to a folder of released weights, which has the layout of its Hub repository:

generator.safetensors  discriminator.safetensors    one file a network, matrices in float16 where no sample shows it
config.json            format, modality, architecture, config; no code
recipe.toml            the resolved recipe that trained it
README.md              the model card
metrics.json           what `zoo evaluate` measured
samples/grid.png       the first 64 samples of seed 0; for sounds 16 and a .flac, for scores also a .mid, for clips a
                       .webp of 16
directions.json        named directions of styles, where `zoo directions --learn` has found some
SHA256SUMS             for `sha256sum -c`; loading checks it, too
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import AlreadyExistsError, InvalidFileError, InvalidValueError, NoWeightsError
from zoo.gan import GAN
from zoo.io.atomic import replace_atomically, replace_folder
from zoo.io.weights import SUMS, digest, read_sums, to_float16, write_sums, write_weights
from zoo.recipe import Recipe, load_recipe
from zoo.registry import Entry, registry
from zoo.releases.card import card_suffixes, evaluate_command, format_card, without_place, write_card
from zoo.releases.loading import FORMAT, Release, load_folder
from zoo.styled import DIRECTIONS, check_learned
from zoo.training.run import Run
from zoo.training.session import list_outside


def release(
    run: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    load_name: str = "",
    metrics: Mapping[str, Any] | None = None,
    unmeasured: bool = False,
) -> Path:
    """Write the released weights of a run's newest checkpoint; return the folder.

    The folder is made beside its place and then moved there. For an entry of this checkout, the digests are also
    written into the entry's recipe.

    Args:
        out: the folder; zoo/weights/<entry> in this package if None.
        load_name: the name that loads these weights, for the card; if empty, the entry's or the folder's.
        metrics: what `zoo.evaluate` measured; the run's metrics.json if None.
        unmeasured: release a run that has no metrics.json, too; its card says so.

    Raises:
        InvalidFileError: no run, or metrics or directions of another state.
        NoWeightsError: a run that was not evaluated.
        AlreadyExistsError: `out` holds something other than released weights.
        WriteError: the folder cannot be written.
    """
    source = Run.open(Path(run).expanduser())
    recipe = source.recipe
    if out is not None:
        _check_replaceable(Path(out).expanduser().resolve())
    gan, kimg = source.load()
    if metrics is None:
        is_measured = not unmeasured or (source.folder / "metrics.json").is_file()
        metrics = read_metrics(source.folder, kimg) if is_measured else {}
    entry = registry.entries.get(recipe.name)
    place = Path(out).expanduser().resolve() if out is not None else _bundled_folder(recipe)
    with replace_folder(place) as scratch:
        save_networks(gan, scratch)
        write_config(recipe, scratch)
        if (source.folder / "curve.png").is_file() and metrics.get("curve"):
            (scratch / "samples").mkdir()
            shutil.copyfile(source.folder / "curve.png", scratch / "samples" / "curve.png")
        for asset in gan.ASSETS:
            shutil.copyfile(source.folder / asset, scratch / asset)
        if (source.folder / DIRECTIONS).is_file():
            check_learned(source.folder / DIRECTIONS, kimg)
            shutil.copyfile(source.folder / DIRECTIONS, scratch / DIRECTIONS)
        (scratch / "recipe.toml").write_text(format_released_recipe(recipe), encoding="utf-8")
        load_name = load_name or (entry.name if entry is not None and _is_bundled(entry, place) else f"./{place.name}")
        if metrics:
            metrics = {**metrics, "command": evaluate_command(metrics["command"], recipe, load_name)}
        (scratch / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        samples = load_folder(scratch).sample(gan.Output.CARD_COUNT, seed=0)
        for suffix in card_suffixes(samples):
            samples.save(scratch / "samples" / f"grid{suffix}")
        write_card(scratch, format_card(recipe, gan, samples, kimg=kimg, metrics=metrics, load_name=load_name))
        write_sums(scratch)
    if entry is not None and _is_bundled(entry, place):
        pin_weights(entry.recipe, {name: digest(place / name) for name in Release.open(place).weight_files})
    return place


def round_networks(gan: GAN) -> dict[str, dict[str, Tensor]]:
    """Return the state of each network as it is released.

    Matrices and kernels become float16; vectors and statistics stay float32. A generator stays float32 where the
    rounding could be seen: `GAN.shows_rounding`.
    """
    rounded = copy.deepcopy(gan)
    rounded.generator.load_state_dict(to_float16(gan.generator))
    states = {name: to_float16(network) for name, network in gan.networks.items()}
    if gan.shows_rounding(rounded):
        states |= {name: network.state_dict() for name, network in gan.networks.items() if network is gan.generator}
    return states


def save_networks(gan: GAN, folder: Path) -> None:
    """Write each network as safetensors into `folder`, rounded by `round_networks`."""
    for name, state in round_networks(gan).items():
        write_weights(state, folder / f"{name}.safetensors")


def write_config(recipe: Recipe, folder: Path) -> None:
    """Write config.json: what loading needs to build the networks again."""
    content = {
        "format": FORMAT,
        "library": "gan-zoo",
        "modality": recipe.modality,
        "architecture": recipe.architecture,
        "config": recipe.to_table()["model"],
    }
    (folder / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


# What a card reads of a report, and of each of its metrics.
_OF_REPORT = {"command", "data", "fingerprint", "seed", "metrics"}
_OF_METRIC = {"name", "value", "real_vs_real", "better", "count", "extractor", "seed"}


def read_metrics(run: Path, kimg: float) -> dict[str, Any]:
    """Read the metrics that `zoo evaluate` left in a run.

    Raises NoWeightsError where it has none, InvalidFileError where they are of another state.
    """
    path = run / "metrics.json"
    if not path.is_file():
        raise NoWeightsError(
            f"{run}: not evaluated yet; run `zoo evaluate {run}` first, so that the card has its metrics, or take "
            "--unmeasured"
        )
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        measured = float(metrics["kimg"])
        found = metrics["metrics"]
        if not (found and metrics.keys() >= _OF_REPORT and all(metric.keys() >= _OF_METRIC for metric in found)):
            raise ValueError("a report has more keys")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidFileError(f"{path}: damaged; run `zoo evaluate {run}` again") from error
    if abs(measured - kimg) > 1e-9:
        raise InvalidFileError(f"{path}: measured at {measured} kimg, the run is at {kimg}; run `zoo evaluate {run}`")
    return metrics


def _is_bundled(entry: Entry, place: Path) -> bool:
    return place.resolve() == entry.bundled.resolve()


def _bundled_folder(recipe: Recipe) -> Path:
    name = recipe.name
    if name not in registry.entries:  # a user's own recipe, or a name that a run claims to have
        raise InvalidValueError(
            f'"{name}" is not an entry of this package; say where the weights should go: --out FOLDER'
        )
    if (recipe.architecture, recipe.data) != ((entry := load_recipe(name)).architecture, entry.data):
        raise InvalidValueError(
            f"this run of {name} had other data than the entry; say where the weights should go: --out FOLDER"
        )
    return registry.entries[name].bundled


def format_released_recipe(recipe: Recipe) -> str:
    import tomlkit

    table = recipe.to_table()
    del table["weights"]  # the digests would have to include their own
    for key in list_outside(recipe):  # no paths on the disk of who trained it
        section, _, name = key.partition(".")
        table[section][name] = without_place(table[section][name])
    return f"# {recipe.name}, resolved: every value that trained these weights\n" + tomlkit.dumps(table)


def _check_replaceable(place: Path) -> None:
    """Raise AlreadyExistsError where `place`, which will be replaced, holds anything but the files of a release."""
    if not place.exists():
        return
    others = [place]
    if place.is_dir():
        listed = read_sums(place)
        released = {SUMS, *listed} if "config.json" in listed else {}
        there = (path for path in place.rglob("*") if path.is_symlink() or not path.is_dir())
        others = [path for path in there if path.relative_to(place).as_posix() not in released]
    if others:
        raise AlreadyExistsError(
            f"{min(others)}: is no file of released weights and would be lost; choose a new folder than {place}"
        )


def pin_weights(path: Path, sha256: Mapping[str, str], *, repo: str = "", revision: str = "") -> None:
    """Write the digests, and the repository and revision if given, into the `[weights]` of the recipe file at `path`.

    Its comments and order stay. Raises WriteError.
    """
    import tomlkit

    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    weights = document.setdefault("weights", tomlkit.table())
    if repo:
        weights["repo"], weights["revision"] = repo, revision
    weights["sha256"] = tomlkit.inline_table()
    weights["sha256"].update(sha256)
    with replace_atomically(path) as temporary:
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")


def copy_recipe(name: str, target: Path) -> Path:
    """Copy an entry's recipe with its comments to a path of the user's; return the path.

    Raises NotFoundError, InvalidValueError, AlreadyExistsError, WriteError.
    """
    import tomlkit

    entry = registry.entry(name)
    if target.is_dir():
        target = target / entry.recipe.name
    if target.suffix != ".toml":
        raise InvalidValueError(f"{target}: a recipe's name ends in .toml")
    if target.exists():
        raise AlreadyExistsError(f"{target}: exists already; choose another name")
    document = tomlkit.parse(entry.recipe.read_text(encoding="utf-8"))
    document.pop("weights", None)  # a changed recipe has no released weights
    load_recipe(entry)  # raises where the recipe is broken
    with replace_atomically(target) as temporary:
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
    return target
