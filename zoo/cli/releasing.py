"""zoo release, publish, download, verify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.app import Name, app, echo, echo_json
from zoo.cli.progress import progress_bars
from zoo.errors import InvalidFileError, InvalidValueError, count
from zoo.registry import registry


@app.command()
def release(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    out: Annotated[
        Path | None, typer.Option(help="The weights folder; an entry's own, zoo/weights/ENTRY, if absent.")
    ] = None,
    unmeasured: Annotated[
        bool, typer.Option("--unmeasured", help="Release a run that has no metrics; its card says so.")
    ] = False,
) -> None:
    """Write a run's weights as they are published: safetensors, config, recipe, card, samples, digests.

    zoo evaluate runs/a && zoo release runs/a --out ./my-faces
    """
    from zoo.releases.exporting import release as release_run

    echo(release_run(run, out=out, unmeasured=unmeasured))


@app.command()
def publish(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An entry, a weights folder, or a run, released on the way.")
    ] = None,
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The Hub repository; made if it is not there.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All entries with weights, each to OWNER/ENTRY.")] = False,
    org: Annotated[str, typer.Option(metavar="OWNER", help="A user or an organization, with --all.")] = "",
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    message: Annotated[str, typer.Option(help="The commit's message.")] = "",
    tag: Annotated[str, typer.Option(help="A tag for the commit, e.g. v1; it must be free.")] = "",
    pin: Annotated[bool, typer.Option("--pin", help="Write repository, commit and digests into the recipe.")] = False,
    unmeasured: Annotated[bool, typer.Option("--unmeasured", help="Publish a run that has no metrics.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change, file by file.")] = False,
) -> None:
    """Publish weights to the Hugging Face Hub. One commit has the files that differ; where none differ, none is made.

    It needs a token with the role write: `hf auth login`, or HF_TOKEN. A run has to be evaluated first. On success it
    prints the commit and the digests; anybody can then load the weights by OWNER/NAME, and these very bytes by
    OWNER/NAME@COMMIT.

    zoo publish runs/a --repo me/my-faces --dry-run
    zoo publish runs/a --repo me/my-faces
    zoo publish faces-dcgan --repo me/faces-dcgan --private
    zoo publish --all --org gan-zoo --pin --tag v1
    """
    if every == (name is not None) or every != bool(org) or every == bool(repo):
        raise InvalidValueError("publish takes NAME --repo OWNER/NAME, or --all --org OWNER")
    from zoo.releases.publishing import publish as publish_weights

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
        echo(f"  {change.kind:<7}  {change.size / 1e6:9.3f} MB  {change.path}")
    if not commit.changed:
        echo(f"{commit.url}: nothing to change")
    elif dry_run:
        place = commit.url if commit.revision else f"{commit.url}, which would be made"
        echo(f"{len(commit.changed)} of {len(commit.changes)} files of {name} would go to {place}")
    else:
        echo(f"{len(commit.changed)} of {len(commit.changes)} files of {name} are in {commit.url}")
    if commit.revision and not (dry_run and commit.changed):
        echo(f'[weights]\nrepo = "{commit.repo}"\nrevision = "{commit.revision}"\n[weights.sha256]')
        for file, value in commit.sha256.items():
            echo(f'"{file}" = "{value}"')


@app.command()
def download(name: Name) -> None:
    """Fetch weights into the Hub's cache and check them; print where they are and how much.

    Loading them by a full commit sha needs no network then, by a branch or a tag only HF_HUB_OFFLINE=1.

    zoo download me/my-faces
    zoo download me/my-faces@2f1c9a7be0d45e6f8a9b0c1d2e3f405162738495
    """
    from zoo.releases.loading import find_release

    release = find_release(name)
    release.load()
    folder = release.folder
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    echo(f"{folder}\n{size / 1e6:.1f} MB, checked")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="An entry, a folder, or org/name.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All weights that are bundled or cached.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Hash weights again, and compare with their digests. Fetches nothing, changes nothing; exit code 2 if any differ.

    zoo verify --all
    zoo verify me/my-faces
    """
    if every == (name is not None):
        raise InvalidValueError("verify takes a NAME, or --all")
    from zoo.releases.verifying import verify_weights

    with progress_bars() as bar:
        results = verify_weights(name, progress=bar("verifying"))
    if as_json:
        echo_json([{**asdict(result), "folder": str(result.folder)} for result in results])
    width = max((len(result.name) for result in results), default=0)
    for result in [] if as_json else results:
        state = f"{count(result.files, 'file')}, {result.bytes / 1e6:.1f} MB"
        echo(f"{'BAD' if result.problem else 'ok ':<3}  {result.name:<{width}}  {result.problem or state}")
    if bad := [result.name for result in results if result.problem]:
        raise InvalidFileError(f"{len(bad)} of {len(results)} are not what they should be: {', '.join(bad)}")
