"""Weights that other libraries published, converted to folders that `zoo.load` opens.

    file -> what is in it (read as data, never run) -> its family, by names and shapes -> our names -> a folder

A family is one file beside this one, with a `FAMILY`. It tells whether a file is its own, and gives the architecture,
the config and the states under our names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import AlreadyExistsError, InvalidFileError, InvalidValueError, WriteError, shorten
from zoo.io.atomic import replace_atomically
from zoo.io.snapshot import is_snapshot, read_snapshot
from zoo.io.torch_file import read_networks, read_tensors
from zoo.io.weights import write_sums, write_weights
from zoo.recipe import build, load_architecture
from zoo.releases.loading import FORMAT, load_folder
from zoo.text.oracle import official

GENERATORS = (
    *("G_ema", "g_ema", "generator_ema", "netG_ema", "params_ema", "G", "g", "netG_state_dict", "netG", "generator"),
    *("model_g", "model_state_dict", "state_dict", "model", ""),
)
"""Names of a generator's state in a file, the averaged one first; "" is a file of one state."""
DISCRIMINATORS = ("D", "d", "netD_state_dict", "netD", "discriminator")


@dataclass(frozen=True)
class Published:
    """What a file has: the state of a generator, and of a discriminator where there is one, under the file's names."""

    path: Path
    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor] = field(default_factory=dict)
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors beside the states."""
    module: str = ""
    """Where the class of the networks is from, where a snapshot says it."""
    arguments: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
    """What generator and discriminator were built with, where a snapshot says it."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Weights under our names, and what they are."""

    modality: str
    architecture: str
    config: Mapping[str, Any]
    states: Mapping[str, Mapping[str, Tensor]]
    """By network. A file without a discriminator gives none."""
    license: str = ""
    """The license that the family's weights are under, whoever converts them; empty where it depends on the file."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of published files."""

    name: str
    recognizes: Callable[[Published], bool]
    convert: Callable[[Published], Converted]
    signs: str
    """What its files have, for the error of an unknown file."""


def convert(source: Path, out: Path, *, license: str = "") -> Path:
    """Convert published weights to a folder that `zoo.load` opens; returns the folder.

    The parameters of SeqGAN's oracle become one file, for `zoo.text.oracle`.

    Args:
        source: a file of weights, or the folder of a release.
        license: the license of the source, for the card. Families with terms of their own keep those.

    Raises:
        InvalidFileError: a file that is refused, unknown, or that does not fit its family.
        InvalidValueError: an oracle that should become a folder.
        AlreadyExistsError: there is something at `out`.
        WriteError: the folder cannot be written.
    """
    if source.is_file() and official.is_official(source):
        if out.suffix != ".safetensors":
            raise InvalidValueError(f"{out}: an oracle becomes one file, so its name should end in .safetensors")
        official.convert(source, out)
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyExistsError(f"{out}: is there already, and not empty; choose another folder")
    published = read_published(source)
    family = find_family(published)
    try:
        converted = family.convert(published)
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, InvalidFileError):
            raise
        why = f"it lacks {error}" if isinstance(error, KeyError) else shorten(str(error), 300)
        raise InvalidFileError(f"{source}: begins as {family.name} does, but {why}") from error
    _check_states(converted, source, family)
    return _write(converted, source, out, family, license or converted.license)


def read_published(source: Path) -> Published:
    """Read a file of weights, or find it in a folder: the averaged generator, and the discriminator if there is one.

    Raises InvalidFileError where it holds no network.
    """
    path = _find_file(source)
    if is_snapshot(path):
        networks = read_snapshot(path, ("G_ema", "D"))
        if "G_ema" not in networks:
            networks = read_snapshot(path, ("G", "D"))
        generator = networks.get("G_ema") or networks.get("G")
        if generator is None:
            raise InvalidFileError(f"{path}: a snapshot without a generator: it has neither G_ema nor G")
        discriminator = networks.get("D")
        return Published(
            path,
            generator.state,
            discriminator.state if discriminator is not None else {},
            module=generator.module,
            arguments=(generator.arguments, discriminator.arguments if discriminator is not None else {}),
        )
    try:
        found = read_networks(path, _choose)
    except InvalidFileError:  # a state some levels down, if any
        return Published(path, _strip(read_tensors(path)))
    chosen = _choose(found)
    states = {name: _strip(found[name]) for name in chosen}
    generator_name = next(name for name in GENERATORS if name in states)
    discriminator_name = next((name for name in DISCRIMINATORS if name in states), None)
    return Published(
        path,
        states[generator_name],
        states[discriminator_name] if discriminator_name is not None else {},
        extra=found.get("", {}) if generator_name else {},
    )


def _choose(names: Collection[str]) -> list[str]:
    """Choose the best generator and the discriminator among the names of a file's states."""
    generator = next((name for name in GENERATORS if name in names), None)
    if generator is None:
        some = ", ".join(shorten(name, 20) for name in sorted(names)[:6])
        raise InvalidFileError(f"it has states called {some}, and none of a generator")
    return [generator, *[name for name in DISCRIMINATORS if name in names][:1]]


def _strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the `module.` that several GPUs put before each name."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def _find_file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise InvalidFileError(f"{source}: no such file or folder")
    names = (
        *("model.safetensors", "pytorch_model.bin", "generator", "generator.safetensors"),
        "bigvgan_generator.pt",  # beside its discriminators
    )
    found = [source / name for name in names if (source / name).is_file()]
    found = found or [path for path in sorted(source.iterdir()) if path.suffix in (".pkl", ".pt", ".pth", ".bin")]
    if len(found) != 1:
        raise InvalidFileError(f"{source}: {len(found)} files of weights here; name the file")
    return found[0]


def list_families() -> Sequence[Family]:
    """List the families, in the order in which they are asked."""
    from zoo.convert import bigvgan, dcgan, hifigan, r3gan, rosinality, stylegan2, vocos  # which import from here

    return [module.FAMILY for module in (stylegan2, rosinality, r3gan, dcgan, vocos, bigvgan, hifigan)]


def find_family(published: Published) -> Family:
    """Find the family of a file. Raises InvalidFileError, which says what was seen and what is known."""
    families = list_families()
    for family in families:
        if family.recognizes(published):
            return family
    seen = ", ".join(shorten(f"{name} {list(value.shape)}") for name, value in list(published.generator.items())[:3])
    known = "; ".join(f"{family.name} ({family.signs})" for family in families)
    raise InvalidFileError(f"{published.path}: no known family. Its tensors are {seen}, ... Known are: {known}")


def _check_states(converted: Converted, source: Path, family: Family) -> None:
    """Compare the states with our networks, laid out without memory. Raises InvalidFileError."""
    cls = load_architecture(converted.modality, converted.architecture)
    expected = cls.state_shapes(build(cls.Config, converted.config, where=f"{source}: the config"))
    for network, state in converted.states.items():
        wanted = expected[network]
        wrong = [
            name
            for name in {**wanted, **state}
            if name not in wanted or name not in state or wanted[name].shape != state[name].shape
        ]
        if wrong:
            some = ", ".join(shorten(name) for name in sorted(wrong)[:4])
            raise InvalidFileError(f"{source}: begins as {family.name} does, but {some} of its {network} do not fit")
        for name, value in state.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise InvalidFileError(f"{source}: {shorten(name)} is not finite")


def _write(converted: Converted, source: Path, out: Path, family: Family, license: str) -> Path:
    cls = load_architecture(converted.modality, converted.architecture)
    config: Any = build(cls.Config, converted.config, where="config")
    content: dict[str, Any] = {
        "format": FORMAT,
        "library": "gan-zoo",
        "modality": converted.modality,
        "architecture": converted.architecture,
        "config": asdict(config),
    }
    if converted.states.keys() < cls.state_shapes(config).keys():
        content["networks"] = list(converted.states)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, state in converted.states.items():
            with replace_atomically(out / f"{name}.safetensors") as temporary:
                write_weights(
                    {key: value.float() if value.is_floating_point() else value for key, value in state.items()},
                    temporary,
                )
        (out / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        arguments, takes = cls.list_arguments(config), cls.describe_input(config)
        card = _format_card(converted, source, out, family, license, arguments=arguments, takes=takes)
        (out / "README.md").write_text(card, encoding="utf-8")
        write_sums(out)
    except OSError as error:
        raise WriteError(f"{out}: cannot write: {error.strerror or error}") from error
    load_folder(out)
    return out


def _format_card(
    converted: Converted, source: Path, out: Path, family: Family, license: str, *, arguments: str, takes: str
) -> str:
    numbers = "\n".join(
        f"| `{name}.safetensors` | {sum(value.numel() for value in state.values()):,} |"
        for name, state in converted.states.items()
    )
    command = f"\n```\nzoo sample ./{out.name} {arguments}\n```\n" if arguments else ""
    terms = license or "not stated. Ask who published the file before you use or share these weights"
    return f"""# {out.name}

Converted from `{source.name}` ({family.name}) by gan-zoo. These are the weights of that file under other names: the
license of the file holds for them, too.

License: {terms}.
{command}
| file | numbers |
|---|---|
{numbers}

Architecture `{converted.architecture}`. Nothing was measured.{takes and f" {takes}"}
"""
