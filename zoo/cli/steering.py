"""zoo mix, zoo directions, zoo project: commands for models with styles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.app import Device, Name, Scale, app, echo, name_files
from zoo.cli.progress import progress_bars
from zoo.errors import InvalidFileError, InvalidValueError
from zoo.options import check_amounts
from zoo.registry import registry

if TYPE_CHECKING:
    from zoo.styled import StyledGAN

_LAYERS = "coarse (maps of 4 and 8 px), middle (16 and 32 px), fine (from 64 px on), all, or numbers such as 0-3."
Edits = Annotated[
    list[str] | None,
    typer.Option("--edit", metavar="NAME=AMOUNT", help="Move along a named direction; zoo directions NAME lists them."),
]
Layers = Annotated[str, typer.Option(help=_LAYERS)]


def read_seeds(text: str, flag: str) -> list[int]:
    """Read seeds, separated by commas. Raises InvalidValueError."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidValueError(f'{flag} "{text}": write seeds with commas between, e.g. 1,2,3') from None
    if not all(0 <= seed < 2**63 for seed in seeds):
        raise InvalidValueError(f"{flag} {text}: a seed is 0 or above")
    return seeds


def read_amounts(edits: Sequence[str]) -> dict[str, float]:
    """Read NAME=AMOUNT texts. Raises InvalidValueError."""
    amounts = {}
    for edit in edits:
        name, _, text = edit.partition("=")
        try:
            amounts[name] = float(text)
        except ValueError:
            raise InvalidValueError(f'--edit "{edit}": write NAME=AMOUNT, e.g. age=2') from None
    check_amounts(amounts)
    return amounts


def load_styled(name: str, device: str, command: str) -> StyledGAN:
    """Load a model with styles. Raises InvalidValueError for another one."""
    from zoo.releases.loading import load
    from zoo.styled import StyledGAN

    model = load(name, device=device)
    if not isinstance(model, StyledGAN):
        raise InvalidValueError(f"{name}: {type(model).__name__} has no styles, which {command} needs")
    return model


@app.command()
def mix(
    name: Name,
    rows: Annotated[str, typer.Option(help="Seeds of the samples at the left, with commas between.")],
    columns: Annotated[str, typer.Option(help="Seeds of the samples at the top.")],
    layers: Layers = "coarse",
    out: Annotated[Path | None, typer.Option(help="Where the grid goes; NAME-mix.png (or .webp) if absent.")] = None,
    truncation: Annotated[float, typer.Option(help="Below 1: more typical samples, and less variety.")] = 1.0,
    scale: Scale = 1,
    device: Device = "auto",
) -> None:
    """Mix styles in a grid: each sample takes some layers' styles from the top, and the others from the left.

    zoo mix faces-stylegan2 --rows 1,2,3 --columns 4,5,6,7 --layers coarse
    """
    import torch

    from zoo.styled import join

    seeds = read_seeds(rows, "--rows"), read_seeds(columns, "--columns")
    model = load_styled(name, device, "zoo mix")
    target = model.Output.check_path(out or Path(f"{name_files(name)}-mix{model.Output.SUFFIXES[0]}"))
    left, top = (join([model.sample(1, seed=seed, truncation=truncation) for seed in each]) for each in seeds)
    mixed = model.mix(left, top, layers=layers)
    blank = torch.ones_like(top.tensor[:1])
    lines = [torch.cat([blank, top.tensor])]
    for i in range(len(left)):
        lines.append(torch.cat([left.tensor[i : i + 1], mixed.tensor[i * len(top) : (i + 1) * len(top)]]))
    grid = model.output(torch.cat(lines))
    echo(f"{len(left)} x {len(top)} mixes of {name}: {grid.save(target, columns=len(top) + 1, scale=scale)}")


@app.command()
def directions(
    name: Name,
    learn: Annotated[
        bool, typer.Option("--learn", help="Learn them from samples, and keep them beside the weights.")
    ] = False,
    count: Annotated[int, typer.Option(min=1000, help="Samples to learn from.")] = 8000,
    seed: Annotated[int, typer.Option(min=0, help="Of these samples.")] = 0,
    device: Device = "auto",
) -> None:
    """List the named directions of an image GAN. With --learn, learn those of a run or of a folder of weights.

    "moves" is by how many standard deviations a move of 1 changes what the direction is named after; "moves others",
    by how many it changes all other attributes, on average.
    """
    from zoo.steering import describe_directions

    model = load_styled(name, device, "zoo directions")
    if learn:
        learned = _learn(model, name, count, seed)
        echo(describe_directions(learned))
    elif not model.named_directions:
        raise InvalidFileError(f"{name}: has no named directions; with --learn they are learned, for a run")
    else:
        echo(describe_directions(model.named_directions))


def _learn(model: StyledGAN, name: str, count: int, seed: int) -> Any:
    from zoo.io.weights import SUMS, add_sum
    from zoo.releases.loading import Release
    from zoo.steering import learn_directions, steering_of
    from zoo.styled import DIRECTIONS, write_directions
    from zoo.training.run import Run, is_run

    folder = Path(name).expanduser()
    if name in registry.entries:  # what was loaded, whatever folder is called so
        folder = registry.entries[name].bundled
    if is_run(folder):
        run = Run.open(folder)
        modality, kimg = run.recipe.modality, run.load()[1]
    elif (folder / "config.json").is_file():
        modality, kimg = Release.open(folder).modality, None
    else:
        raise InvalidValueError(
            f"{folder}: directions are learned for a run, or for a folder of weights; give its path"
        )
    styled, steering = steering_of(model, modality)
    with progress_bars() as bar:
        found = learn_directions(styled, steering, count=count, seed=seed, progress=bar("learning"))
    if not found:
        raise InvalidValueError(f"{folder}: samples do not show any of {', '.join(steering.named)}")
    write_directions(found, folder / DIRECTIONS, learned={"kimg": kimg, "count": count, "seed": seed})
    if (folder / SUMS).is_file():
        add_sum(folder, DIRECTIONS)
    return found


@app.command()
def project(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture of one face.")],
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="Photo, projection and edits side by side; PHOTO-projected.png if absent.")
    ] = None,
    plus: Annotated[
        bool, typer.Option("--plus", help="A style for each layer (w+): closer to the photo, and harder to edit.")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Adam.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise on the style.")] = 0,
    features: Annotated[
        str, typer.Option(help="What the distance sees besides pixels: zoo:NAME, timm:MODEL, or pixels for nothing.")
    ] = "",
    align: Annotated[
        bool, typer.Option("--align/--no-align", help="Cut the photo as the model's faces are, by a face detector.")
    ] = True,
    edit: Edits = None,
    device: Device = "auto",
) -> None:
    """Find the styles of a photo, and show what the model makes of them; each --edit adds a picture.

    zoo project me.jpg faces-stylegan2 --edit beard=2 --edit age=3
    """
    import torch

    from zoo.samples import Images
    from zoo.steering import project as find_styles
    from zoo.steering import steering_of

    amounts = read_amounts(edit or [])
    target = Images.check_path(out or Path(f"{photo.stem}-projected.png"))
    styled = load_styled(name, device, "zoo project")
    if styled.Output is not Images:
        raise InvalidValueError(f"{name} makes {styled.Output.__name__.lower()}; zoo project needs a model of images")
    model, steering = steering_of(styled, "faces")
    model.sum_directions(amounts)  # refuses what there is not, before any work
    with progress_bars() as bar:
        found = find_styles(
            photo, model, steering, plus=plus, steps=steps, seed=seed, features=features, align=align,
            progress=bar("projecting"),
        )  # fmt: skip
    edited = [model.edit(found.samples, {key: amount}).tensor for key, amount in amounts.items()]
    pictures = Images(tensor=torch.cat([found.target.tensor, found.samples.tensor, *edited]))
    pictures.save(target, columns=len(pictures))
    echo(
        f"{photo}, distance {found.distances[0]:.4f} at the first step, {found.distances[-1]:.4f} at the last: {target}"
    )
