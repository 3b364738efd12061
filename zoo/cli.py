"""The command `zoo`. A user's mistake is one clear line and exit code 2; each command imports only what it needs."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import BadValue, ZooError
from zoo.registry import MODALITIES, registry

app = typer.Typer(
    name="zoo",
    help="A model zoo of GANs: sample, train, evaluate and release them by name.",
    epilog="Start with: zoo list, then zoo sample faces-dcgan -n 64 --seed 0 --out faces.png",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="The data sets that recipes train on.", no_args_is_help=True)
recipe_app = typer.Typer(help="Recipes: the one file that is an entry.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(recipe_app, name="recipe")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="An entry (zoo list), a weights folder, a run, or org/name[@revision] of the Hub."
    ),
]
EntryName = Annotated[str, typer.Argument(metavar="ENTRY", help="An entry (zoo list) or the path of a recipe.")]


_TOO_MUCH = "that is more than this machine's memory holds: ask for fewer, or for shorter ones"
_LARGEST = 2**63 - 1  # of a seed


def main() -> None:
    """Run the command line; errors of the user's go to standard error without a traceback, and warnings likewise."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        app(standalone_mode=False)
    except ZooError as error:
        _fail(str(error))
    except typer.Abort:
        raise SystemExit(130) from None
    except MemoryError:
        _fail(_TOO_MUCH)
    except Exception as error:
        if isinstance(error, RuntimeError) and "allocate memory" in str(error):  # torch's own
            _fail(_TOO_MUCH)
        if isinstance(error, OSError) and error.filename and error.strerror:
            _fail(f"{error.filename}: {error.strerror}")
        if str(error).startswith("Could not determine home directory"):  # of Path.expanduser
            _fail('no such user: a path that begins with "~" and a name is of that user\'s home')
        if hasattr(error, "format_message"):  # the command line itself was wrong: click's UsageError
            context = getattr(error, "ctx", None)
            _fail(f"{error.format_message()} Try: {context.command_path if context else 'zoo'} --help")
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """A warning of this library's own as a line for its user; others as Python writes them."""
    own = category is UserWarning and Path(__file__).parent in Path(filename).parents
    line = f"zoo: {message}\n" if own else warnings.formatwarning(message, category, filename, lineno)
    print(line, end="", file=sys.stderr)


def _fail(message: str) -> None:
    sys.stdout.flush()
    print(f"zoo: {message}", file=sys.stderr)
    raise SystemExit(2)


@contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Progress bars with time left, on standard error; quiet where that is no terminal.

    Yields a function from a bar's name to what moves it to (done, total); a bar appears when it first moves.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, Any] = {}

        def move(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield lambda name: lambda done, total: move(name, done, total)


@app.command("list")
def list_entries(
    modality: Annotated[str | None, typer.Argument(metavar="[MODALITY]", help=f"{', '.join(MODALITIES)}.")] = None,
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
        print(markdown_table(names))
        return
    width = max(map(len, names), default=0)
    for name in names:
        entry = registry.entries[name]
        print(f"{name:<{width}}  {'weights' if entry.has_weights else 'recipe ':<7}  {entry.summary}")
    if not names:
        print("no entry fits", file=sys.stderr)


def _list_hub(modality: str | None, match: str) -> None:
    from fnmatch import fnmatchcase

    from zoo.remote import search

    registry.names(modality)  # a wrong modality is an error here, too
    found = [repo for repo in search() if fnmatchcase(repo.id, match) and modality in (None, *(repo.tags or []))]
    width = max((len(repo.id) for repo in found), default=0)
    for repo in found:
        kind = next((tag for tag in repo.tags or [] if tag in MODALITIES), "")
        changed = f"{repo.last_modified:%Y-%m-%d}" if repo.last_modified else ""
        print(
            f"{repo.id:<{width}}  {kind:<5}  {repo.downloads or 0:>7} downloads  {repo.likes or 0:>5} likes  {changed}"
        )
    if not found:
        print("no repository of gan-zoo fits", file=sys.stderr)


def markdown_table(names: list[str]) -> str:
    """The entries as a Markdown table; the README's is this one, which a test checks."""
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
        bool, typer.Option("--cost", help="Measure: parameters, FLOPs, memory and samples/s on this machine.")
    ] = False,
) -> None:
    """Show what an entry is: architecture, paper, licence, recipe, weights."""
    entry = registry.entry(name)
    weights = f"bundled in {entry.bundled}" if entry.bundled.is_dir() else (entry.weights.repo or "none released yet")
    rows = {
        "name": entry.name,
        "summary": entry.summary,
        "modality": entry.modality,
        "architecture": entry.architecture,
        "paper": entry.paper,
        "licence": entry.licence,
        "recipe": entry.recipe,
        "weights": weights,
    }
    if cost:
        from zoo.cost import measure_cost

        rows |= measure_cost(entry)
    else:
        rows |= _figure_rows(entry.bundled / "figures.json")
    width = max(map(len, rows))
    for key, value in rows.items():
        print(f"{key:<{width}}  {value}")


def _figure_rows(path: Path) -> dict[str, str]:
    import json

    if not path.is_file():
        return {}

    def told(value: float, floor: float | None) -> str:
        return f"{value:.4g}" + ("" if floor is None else f" (real against real: {floor:.4g})")

    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return {f["name"]: told(f["value"], f.get("floor")) for f in figures}


@app.command()
def sample(
    name: Name,
    n: Annotated[int, typer.Option("-n", "--count", min=1, max=1 << 31, help="How many samples.")] = 16,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=_LARGEST, help="The same seed gives the same samples; random if absent."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file (images: .png .jpg .webp, one grid; texts: .txt .jsonl; scores: .mid .musicxml .wav .png "
            ".npz; sounds: .wav .flac .png; clips: .webp .gif .mp4, or a contact sheet .png) or a folder (one file "
            "each). If absent, NAME.png for images, NAME.mid for scores, NAME.wav for sounds, NAME.webp for clips; "
            "texts are printed."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=1 << 31, help="Samples generated at once; bounds the memory.")
    ] = 64,
    temperature: Annotated[
        float | None, typer.Option(help="Of texts: below 1 likelier and less varied, above 1 the other way.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", "--action", help="Of models with classes, or actions: all samples of this one."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, max=1 << 47, help="Of clips: how many frames, where the model can go on for longer."),
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option(
            help="Of vocoders: a sound file, which comes back as the model has it; of models that accompany: a .mid."
        ),
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play the samples, where this machine has a player.")] = False,
    interpolate: Annotated[
        int, typer.Option(metavar="STEPS", min=0, help="Instead, N rows of STEPS samples from one latent to another.")
    ] = 0,
) -> None:
    """Draw samples and save them.

    zoo sample faces-dcgan -n 64 --seed 0 --out faces.png
    zoo sample text-seqgan -n 8 --seed 1 --temperature 0.9
    zoo sample music-musegan -n 4 --seed 1 --out chorales.mid
    zoo sample music-wavegan -n 8 --label kick --out kicks.wav
    zoo sample music-hifigan --input song.wav --out resynth.wav
    zoo sample video-mocogan -n 4 --action smile --frames 32 --out smiles.webp
    """
    if interpolate == 1:
        raise BadValue("--interpolate takes at least 2 steps")
    from zoo.hub import load
    from zoo.recipe import architecture_class

    if out is not None and name in registry.entries:  # before any work
        architecture_class(registry.entries[name].architecture).Output.check_path(out)
    model = load(name)
    given = {"temperature": temperature, "label": label, "frames": frames, "input": input}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for key in options.keys() - signature(model.sample).parameters.keys():
        raise BadValue(f"{name} takes no {key}: {type(model).__name__} {_WHY_NOT[key]}")
    if interpolate and options:
        raise BadValue(f"--interpolate goes with no other choice of samples: not with --{sorted(options)[0]}")
    if interpolate and play:
        raise BadValue("--interpolate makes a picture, which cannot be played: leave --play out")
    if play and not hasattr(model.Output, "play"):
        raise BadValue(f"{name}: {model.Output.__name__.lower()} cannot be played")
    folder = Path(name).expanduser()
    called = folder.resolve().name if folder.exists() else Path(name.partition("@")[0]).name
    target = out or Path(f"{called}{model.Output.SUFFIXES[0]}")
    model.Output.check_path(target)
    if interpolate:
        samples = model.interpolate(n, steps=interpolate, seed=seed, batch_size=batch_size)
        if out is None and model.Output.READABLE:
            print(samples)
            return
        path = samples.save(target, columns=interpolate)  # type: ignore[call-arg]
    else:
        with _bars() as bar:
            move = bar("sampling")
            samples = model.sample(n, seed=seed, batch_size=batch_size, progress=lambda done: move(done, n), **options)
        if play:
            samples.play()  # type: ignore[attr-defined]
        if out is None and (play or model.Output.READABLE):
            print(samples if model.Output.READABLE else f"{len(samples)} samples of {name}, seed {samples.seed}")
            return
        path = samples.save(target)
    what = f"{input} by" if input is not None else f"{len(samples)} samples of"
    print(f"{what} {name}{'' if samples.seed is None else f', seed {samples.seed}'}: {path}")


_WHY_NOT = {
    "temperature": "draws nothing token by token",
    "label": "knows no classes",
    "frames": "makes samples of one length",
    "input": "makes samples from latents, not from sounds",
}


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[ENTRY]", help="An entry (zoo list) or the path of a recipe.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe values, e.g. train.batch=16.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make.")] = None,
    resume: Annotated[Path | None, typer.Option(help="The run folder to go on with, exactly where it stopped.")] = None,
    data: Annotated[
        str, typer.Option(help="Instead of the recipe's data: a data set's name, a folder, or hf:org/set.")
    ] = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes that build the data; 0: one a core.")] = 0,
) -> None:
    """Train a recipe. Ctrl-C stops with a checkpoint; --resume goes on bit for bit.

    zoo train faces-dcgan --out runs/a
    zoo train faces-dcgan --out runs/mine --data ~/photos train.total_kimg=200
    zoo train --resume runs/a
    torchrun --nproc-per-node 2 -m zoo train faces-dcgan --out runs/b
    """
    from zoo.training.session import train_run

    overrides = list(overrides or [])
    if recipe is not None and resume is not None and "=" in recipe:
        overrides, recipe = [recipe, *overrides], None
    if int(os.environ.get("RANK", 0)) > 0:
        train_run(recipe, out=out, resume=resume, data=data, overrides=overrides, say=lambda line: None)
        return
    with _training_progress() as (say, build_progress, watch):
        run = train_run(
            recipe,
            out=out,
            resume=resume,
            data=data,
            overrides=overrides,
            workers=workers or os.cpu_count() or 1,
            build_progress=build_progress,
            watch=watch,
            say=say,
        )
    print(f"run: {run}")


@contextmanager
def _training_progress() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None], Callable[[Any], None]]]:
    """A bar for the data and one for the training: kimg, rate, time left and the state of the game.

    Without a terminal a line is printed at each percent, so that a log file shows the progress, too.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=console, disable=not terminal) as progress:
        tasks: dict[str, Any] = {}
        percent = -1

        def update(name: str, done: float, total: float, state: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, state="")
            progress.update(tasks[name], completed=done, total=total, state=state)

        def build_progress(done: int, total: int) -> None:
            update("data", done, total, f"{done}/{total}")

        def watch(now: Any) -> None:
            nonlocal percent
            state = f"{now.kimg:.1f}/{now.total_kimg:g} kimg  {now.images_per_second:.0f}/s"
            if "game/advantage" in now.summary:
                state += f"  advantage {now.summary['game/advantage']:.2f}"
            update("training", now.kimg, now.total_kimg, state)
            if not terminal and (reached := int(100 * now.kimg / now.total_kimg)) != percent:
                percent = reached
                print(f"{percent:3} %  {state}", file=sys.stderr, flush=True)

        yield lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), build_progress, watch


_FEATURES = "zoo:NAME; of images timm:NAME; of texts transformers:MODEL; of clips i3d:FILE (FVD)."


@app.command()
def evaluate(
    name: Name,
    samples: Annotated[int, typer.Option(min=0, help="Samples to score; the recipe's number if 0.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, max=_LARGEST, help="The recipe's seed if absent.")] = None,
    features: Annotated[str, typer.Option(help=_FEATURES)] = "",
    data: Annotated[str, typer.Option(help="Instead of the recipe's data, as in zoo train.")] = "",
    plot: Annotated[
        Path | None, typer.Option(help="Where the picture of a text model's curve goes; NAME-curve.png if absent.")
    ] = None,
) -> None:
    """Score an entry or a run against held-out data, each figure beside its real-against-real floor."""
    from zoo.evaluation import evaluate as evaluate_model

    if plot is not None and plot.suffix != ".png":  # before the work
        raise BadValue(f"--plot {plot}: a curve is drawn as .png")
    with _bars() as bar:
        report = evaluate_model(
            name,
            samples=samples or None,
            seed=seed,
            features=features or None,
            data=data,
            workers=os.cpu_count() or 1,
            build_progress=bar("data"),
            progress=bar("evaluating"),
        )
    print(report.table())
    if report.curve is None and plot is not None:
        raise BadValue(f"{name}: no curve belongs to its figures (evaluate.control), so nothing is in {plot}")
    if report.curve is not None:
        print(report.curve.save(plot or Path(f"{Path(name).name}-curve.png")))


@app.command()
def release(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path | None, typer.Option(help="The weights folder; an entry's own, zoo/weights/ENTRY, if absent.")
    ] = None,
) -> None:
    """Write a run's weights as they are published: safetensors, config, recipe, card, samples, digests."""
    from zoo.releasing import release as release_run

    print(release_run(run, out=out))


@app.command()
def publish(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An entry, a weights folder, or a run, released on the way.")
    ] = None,
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The Hub repository; made if it is not there.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All entries with weights, each to OWNER/ENTRY.")] = False,
    org: Annotated[str, typer.Option(metavar="OWNER", help="A user or an organisation, with --all.")] = "",
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    message: Annotated[str, typer.Option(help="The commit's message.")] = "",
    tag: Annotated[str, typer.Option(help="A tag for the commit, e.g. v1; it must be free.")] = "",
    pin: Annotated[bool, typer.Option("--pin", help="Write repository, commit and digests into the recipe.")] = False,
    unmeasured: Annotated[bool, typer.Option("--unmeasured", help="Publish a run that has no figures.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change, file by file.")] = False,
) -> None:
    """Publish weights to the Hugging Face Hub, in one commit of the files that differ; none differ, none move.

    It needs a token with the role write: `hf auth login`, or HF_TOKEN. A run has to be evaluated first. On success it
    prints the commit and the digests; anybody can then load the weights by OWNER/NAME, and these very bytes by
    OWNER/NAME@COMMIT.

    zoo publish runs/a --repo me/my-faces --dry-run
    zoo publish runs/a --repo me/my-faces
    zoo publish faces-dcgan --repo me/faces-dcgan --private
    zoo publish --all --org gan-zoo --pin --tag v1
    """
    if every == (name is not None) or every != bool(org) or every == bool(repo):
        raise BadValue("publish takes NAME --repo OWNER/NAME, or --all --org OWNER")
    from zoo import publish as publish_weights

    names = [n for n, entry in registry.entries.items() if entry.has_weights] if every else [str(name)]
    for each in names:
        commit = publish_weights(
            each,
            repo=repo or f"{org}/{each}",
            private=private,
            message=message,
            tag=tag,
            pin=pin,
            unmeasured=unmeasured,
            dry_run=dry_run,
        )
        _print_commit(each, commit, dry_run=dry_run)


def _print_commit(name: str, commit: Any, *, dry_run: bool) -> None:
    for change in commit.changes:
        print(f"  {change.kind:<7}  {change.size / 1e6:9.3f} MB  {change.path}")
    if not commit.changed:
        print(f"{commit.url}: nothing to change")
    elif dry_run:
        place = commit.url if commit.revision else f"{commit.url}, which would be made"
        print(f"{len(commit.changed)} of {len(commit.changes)} files of {name} would go to {place}")
    else:
        print(f"{len(commit.changed)} of {len(commit.changes)} files of {name} are in {commit.url}")
    if commit.revision and not (dry_run and commit.changed):
        print(f'[weights]\nrepo = "{commit.repo}"\nrevision = "{commit.revision}"\n[weights.sha256]')
        for file, value in commit.sha256.items():
            print(f'"{file}" = "{value}"')


@app.command()
def download(name: Name) -> None:
    """Fetch weights into the Hub's cache and check them; print where they are and how much.

    Loading them by a full commit sha needs no network then, by a branch or a tag only HF_HUB_OFFLINE=1.

    zoo download me/my-faces
    zoo download me/my-faces@2f1c9a7be0d45e6f8a9b0c1d2e3f405162738495
    """
    from zoo.hub import load, locate

    folder = locate(name)
    load(name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}\n{size / 1e6:.1f} MB, checked")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="An entry, a folder, or org/name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All weights that are bundled or cached.")] = False,
) -> None:
    """Hash weights again, and compare with their digests. Fetches nothing, changes nothing; exit code 2 if any differ.

    zoo verify --all
    zoo verify me/my-faces
    """
    if every == (name is not None):
        raise BadValue("verify takes a NAME, or --all")
    from zoo.errors import BadFile
    from zoo.hub import verify_weights

    with _bars() as bar:
        results = verify_weights(name, progress=bar("verifying"))
    width = max((len(result.name) for result in results), default=0)
    for result in results:
        state = f"{result.files} files, {result.bytes / 1e6:.1f} MB"
        print(f"{'BAD' if result.problem else 'ok ':<3}  {result.name:<{width}}  {result.problem or state}")
    if bad := [result.name for result in results if result.problem]:
        raise BadFile(f"{len(bad)} of {len(results)} are not what they should be: {', '.join(bad)}")


@app.command()
def bench(
    name: EntryName = "faces-dcgan",
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; the median ratio is printed.")] = 15,
) -> None:
    """Time sampling and a training step against the textbook script, in turns, on this machine."""
    from zoo.bench import run_bench

    print(run_bench(registry.entry(name), rounds=rounds))


@app.command("bench-oracle")
def bench_oracle(
    systems: Annotated[
        list[str] | None, typer.Argument(metavar="[SYSTEM]...", help="seqgan, constant, noise, relgan, scratchgan.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder of its runs and of rows.json; what is there is gone on with.")
    ] = (Path("runs/oracle")),
    seeds: Annotated[int, typer.Option(min=1, help="How many oracles, each with its own texts and models.")] = 1,
    length: Annotated[int, typer.Option(min=2, max=100, help="Tokens of a text: 20 and 40 in the paper.")] = 20,
    pretrain: Annotated[float, typer.Option(min=0, help="Epochs of maximum likelihood, of 9,984 texts each.")] = 15,
    judge: Annotated[float, typer.Option(min=0, help="Epochs of the discriminator alone.")] = 3,
    game: Annotated[float, typer.Option(min=0, help="Epochs of the game.")] = 3,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Recipe values for all systems.")
    ] = None,
) -> None:
    """Score text GANs on texts of a synthetic oracle, beside controls that have no discriminator.

    zoo bench-oracle
    zoo bench-oracle seqgan constant noise --seeds 3 --length 40 --set train.rollouts=16
    """
    import json

    from zoo.disk import replacing
    from zoo.text.benchmark import run_benchmark, table, to_json
    from zoo.text.oracle import Oracle

    with _training_progress() as (say, _, watch):
        rows = run_benchmark(
            systems or ("seqgan", "constant", "noise"),
            folder=out,
            seeds=range(seeds),
            length=length,
            pretrain_epochs=pretrain,
            judge_epochs=judge,
            game_epochs=game,
            overrides=overrides or (),
            watch=watch,
            say=say,
        )
    floors = {seed: Oracle(seed).floor(length)[0] for seed in range(seeds)}
    with replacing(out / "rows.json") as temporary:
        temporary.write_text(json.dumps(to_json(rows, floors), indent=2) + "\n", encoding="utf-8")
    print(table(rows, floors))


@data_app.command("list")
def list_data() -> None:
    """List the data sets that can be built."""
    for modality, sources in _datasets().items():
        for name, source in sources.items():
            print(f"{name}  {modality}  {(source.__doc__ or '').strip().splitlines()[0]}")


@data_app.command("build")
def build_data(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set (zoo data list).")],
    size: Annotated[int | None, typer.Option(min=32, max=256, help="Pixels a side, of images; 64 if absent.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core. The bytes do not depend on it.")] = 0,
) -> None:
    """Build a data set into the cache. Ctrl-C is safe: the same command goes on where it stopped."""
    import importlib

    from zoo.errors import NotFound, suggest

    known = {dataset: modality for modality, sources in _datasets().items() for dataset in sources}
    if name not in known:
        raise NotFound(f'no data set "{name}"; there are {", ".join(known)}.{suggest(name, known)}')
    if size is not None and known[name] in ("text", "music"):
        raise BadValue(f"{name} is no data set of images: it has its own sizes, so leave --size out")
    wing = importlib.import_module(f"zoo.{known[name]}.data")
    with _bars() as bar:
        store = wing.build_dataset(name, size=size, workers=workers or os.cpu_count() or 1, progress=bar(name))
    train, test = len(store.indices("train")), len(store.indices("test"))
    print(f"{store.folder}\n{train} train, {test} test, fingerprint {store.fingerprint}")


def _datasets() -> dict[str, dict[str, Any]]:
    """The data sets of each wing that stands."""
    import importlib

    return {modality: importlib.import_module(f"zoo.{modality}.data").DATASETS for modality in registry}


@recipe_app.command("copy")
def copy_recipe(
    name: EntryName, target: Annotated[Path, typer.Argument(help="The new file, ending in .toml, or a folder.")]
) -> None:
    """Copy a recipe to change it: zoo recipe copy faces-dcgan ./mine.toml, then zoo train ./mine.toml."""
    from zoo.releasing import copy_recipe as copy

    print(copy(name, target))


@recipe_app.command("show")
def show_recipe(
    name: EntryName,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """Print a recipe resolved: every value that a training would use."""
    from zoo.recipe import load_recipe

    print(load_recipe(name, overrides or []).to_toml(), end="")
