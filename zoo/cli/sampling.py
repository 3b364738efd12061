"""zoo sample. Its flags for sample options are made of the dataclasses in `zoo.options`."""

from __future__ import annotations

import dataclasses
import inspect
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from zoo.cli.app import Device, Name, Scale, app, echo, name_files
from zoo.cli.progress import progress_bars
from zoo.cli.steering import Edits, read_amounts, read_seeds
from zoo.errors import InvalidValueError, count
from zoo.options import COMMON, SampleOptions
from zoo.registry import registry


def add_option_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the `**options` of a command by one flag for each common sample option."""
    parameters = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    hints = {**get_type_hints(command, include_extras=True)}
    hints.pop("options", None)
    for name, flag in {name: flag for cls in COMMON for name, flag in cls.flags().items()}.items():
        hints[name] = Annotated[flag.type | None, typer.Option(*flag.flags, help=flag.help)]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None))
    parameters = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = hints
    return command


@app.command()
@add_option_flags
def sample(
    name: Name,
    n: Annotated[int, typer.Option("-n", "--count", min=1, help="How many samples.")] = 16,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The same seed gives the same samples; random if absent."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file (images: .png .jpg .webp, one grid; texts: .txt .jsonl; scores: .mid .musicxml .wav .png "
            ".npz; sounds: .wav .flac .png; clips: .webp .gif .mp4, or a contact sheet .png) or a folder (one file "
            "each). If absent, NAME-SEED with the first of these; texts are printed."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples generated at once; limits the memory.")] = 64,
    scale: Scale = 1,
    device: Device = "auto",
    play: Annotated[bool, typer.Option("--play", help="Play the samples, where this machine has a player.")] = False,
    interpolate: Annotated[
        int, typer.Option(metavar="STEPS", min=0, help="Instead, N rows of STEPS samples from one latent to another.")
    ] = 0,
    walk: Annotated[
        int,
        typer.Option(
            metavar="FRAMES", min=0, help="Instead, a clip that walks from image to image and back to the first."
        ),
    ] = 0,
    seeds: Annotated[str, typer.Option(help="The seeds that a walk goes through, with commas between.")] = "",
    rate: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="Frames a second of a walk; 25 if absent.")
    ] = None,
    edit: Edits = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A sample option of your own architecture; zoo info NAME lists them."),
    ] = None,
    **options: Any,
) -> None:
    """Draw samples and save them. `zoo info NAME` lists the options of a model.

    zoo sample faces-dcgan -n 64 --seed 0 --out faces.png
    zoo sample text-seqgan -n 8 --seed 1 --temperature 0.9
    zoo sample music-musegan -n 4 --seed 1 --out chorales.mid
    zoo sample music-wavegan -n 8 --label kick --out kicks.wav
    zoo sample music-hifigan --input song.wav --out resynth.wav
    zoo sample video-mocogan -n 4 --action smile --frames 32 --out smiles.webp
    zoo sample faces-dcgan --walk 120 --seeds 1,2,3 --out walk.mp4
    zoo sample faces-stylegan2 --edit glasses=3 --edit age=1
    """
    if interpolate == 1:
        raise InvalidValueError("--interpolate takes at least 2 steps")
    amounts = read_amounts(edit or [])
    stops = read_seeds(seeds, "--seeds") if seeds else []
    if stops and (not walk or seed is not None):
        raise InvalidValueError("--seeds are those of a --walk, in place of --seed")
    if rate is not None and not walk:
        raise InvalidValueError("--rate is that of a --walk")
    rate = rate or 25.0
    if walk and (interpolate or play):
        raise InvalidValueError("--walk goes without --interpolate and --play")
    from zoo.animation import Walk, stream_mp4
    from zoo.recipe import load_architecture
    from zoo.releases.loading import load
    from zoo.samples import can_stream, enlarge, save_stream

    if out is not None and name in registry.entries:  # before any work
        entry = registry.entries[name]
        (Walk if walk else load_architecture(entry.modality, entry.architecture).Output).check_path(out)
    model = load(name, device=device)
    given = {key: value for key, value in options.items() if value is not None}
    given |= {"edit": amounts} if amounts else {}
    given |= _parse_options(option or [], model.SampleOptions, type(model).__name__)
    model.SampleOptions.read(given, name)  # refuses what the model lacks
    if interpolate and given:
        raise InvalidValueError(f"--interpolate goes with no sample option: not with --{sorted(given)[0]}")
    if interpolate and play:
        raise InvalidValueError("--interpolate makes a picture, which cannot be played: leave --play out")
    if play and not hasattr(model.Output, "play"):
        raise InvalidValueError(f"{name}: {model.Output.__name__.lower()} cannot be played")
    called = name_files(name)
    kind = Walk if walk else model.Output
    if seed is None and not stops and "input" not in given:  # chosen here, because the file's name has it
        seed = secrets.randbelow(2**32)
    of = Path(given["input"]).stem if "input" in given else "-".join(map(str, stops)) or seed
    target = out or Path(f"{called}-{of}{kind.SUFFIXES[0]}")
    if out is not None or not (play or model.Output.READABLE):  # else nothing is written
        kind.check_path(target)
        kind.check_scale(target.suffix, scale)
    chosen = {"seed": seed, "batch_size": batch_size, **given}
    of_seed = "" if stops or "input" in given else f", seed {seed}"
    if walk:
        with progress_bars() as bar:
            move = bar("walking")
            if target.suffix.lower() == ".mp4":
                frames = model.stream_walk(walk, seeds=stops, rate=rate, **chosen)
                pictures = (enlarge(part.to_uint8(), scale) for part in frames)
                saved = stream_mp4(pictures, target, rate, progress=lambda done: move(done, walk))
                _tell_of_stream(saved, walk, "frame", f"of a walk of {name}{of_seed}: {target}")
                return
            clip = model.walk(walk, seeds=stops, rate=rate, progress=lambda done: move(done, walk), **chosen)
        echo(f"a walk of {walk} frames of {name}{of_seed}: {clip.save(target, scale=scale)}")
        return
    if interpolate:
        samples = model.interpolate(n, steps=interpolate, seed=seed, batch_size=batch_size)
    elif hasattr(model, "stream_clip") and n == 1 and "frames" in given and target.suffix.lower() == ".mp4":
        length = given["frames"]
        with progress_bars() as bar:
            move = bar("frames")
            pictures = (enlarge(part.to_uint8()[0], scale) for part in model.stream_clip(seed=seed, **given))  # type: ignore[operator]
            saved = stream_mp4(pictures, target, model.config.rate, progress=lambda done: move(done, length))
        _tell_of_stream(saved, length, "frame", f"of {name}{of_seed}: {target}")
        return
    elif out is not None and not play and "input" not in given and can_stream(model.Output, target):
        with progress_bars() as bar:
            move = bar("sampling")
            parts = model.stream(n, **chosen)
            saved = save_stream(parts, model.Output, target, n, scale=scale, progress=lambda done: move(done, n))
        _tell_of_stream(saved, n, "sample", f"of {name}{of_seed}: {target}")
        return
    else:
        with progress_bars() as bar:
            move = bar("sampling")
            samples = model.sample(n, progress=lambda done: move(done, n), **chosen)
    if play:
        samples.play()  # type: ignore[attr-defined]
    if out is None and (play or model.Output.READABLE):
        echo(samples if model.Output.READABLE else f"{count(n, 'sample')} of {name}{of_seed}")
        return
    path = samples.save(target, columns=interpolate or None, scale=scale)
    what = f"{given['input']} by" if "input" in given else f"{count(len(samples), 'sample')} of"
    echo(f"{what} {name}{of_seed}: {path}")


def _tell_of_stream(saved: int, total: int, what: str, of: str) -> None:
    """Say what was saved; where Ctrl-C ended it, how much of it, and exit as the shell expects."""
    echo(f"{count(total, what)} {of}" if saved == total else f"{saved:,} of {count(total, what)}, then stopped, {of}")
    if saved < total:
        raise SystemExit(130)


def _parse_options(pairs: list[str], options: type[SampleOptions], model: str) -> dict[str, Any]:
    """Convert KEY=VALUE texts to the types of a model's options. Raises InvalidValueError."""
    flags = options.flags()
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InvalidValueError(f'--option "{pair}": write KEY=VALUE')
        if key not in flags:
            if key not in {field.name for field in dataclasses.fields(options)}:
                options.read({key: text}, model)  # says what there is
            raise InvalidValueError(f"--option {key}: no text can give this; use it in Python")
        try:
            found[key] = flags[key].type(text)
        except ValueError:
            raise InvalidValueError(f'--option {key}: "{text}" should be a {flags[key].type.__name__}') from None
    return found
