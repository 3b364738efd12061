"""From released weights to a repository of the Hub: one atomic commit of the files that differ."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from zoo.errors import (
    InvalidFileError,
    InvalidValueError,
    NotFoundError,
    NoWeightsError,
    UnreachableError,
    WriteError,
    suggest,
)
from zoo.io.hub import (
    BUSY,
    Address,
    ListedFile,
    api,
    ask,
    fetch,
    has_digest,
    is_ours,
    list_files,
    retry_seconds,
    run_bounded,
    transfer_seconds,
    translate_errors,
)
from zoo.io.weights import MAX_SUMS_BYTES, SUMS, digest, read_sums, resolve_inside, verify
from zoo.paths import means_path
from zoo.registry import registry
from zoo.releases.exporting import pin_weights, release
from zoo.releases.loading import MAX_TEXT_BYTES, Release, describe_no_release, load
from zoo.training.run import is_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.gan import GAN

_BRANCH_MOVED = (409, 412)  # statuses of a commit whose parent is no longer the head

Kind = Literal["new", "changed", "gone", "same"]


@dataclass(frozen=True)
class Change:
    """What a publication does to one file of the repository; `size` in bytes."""

    path: str
    kind: Kind
    size: int


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A repository after a publication, or as a dry run predicts it.

    `revision` is the full commit sha to pin, empty in a dry run without a repository yet. `sha256` has the
    digests of the weight files, and `changes` says what was done to each file.
    """

    repo: str
    revision: str
    url: str
    sha256: Mapping[str, str]
    changes: tuple[Change, ...]

    @property
    def changed(self) -> tuple[Change, ...]:
        """The changes without the files that stay the same."""
        return tuple(change for change in self.changes if change.kind != "same")


def publish(
    name: str | os.PathLike[str],
    *,
    repo: str,
    private: bool = False,
    message: str = "",
    tag: str = "",
    pin: bool = False,
    unmeasured: bool = False,
    dry_run: bool = False,
) -> Commit:
    """Publish weights to the Hugging Face Hub, in one commit of the files that differ; return the commit.

    Publishing the same weights again changes nothing. `HF_TOKEN` or `hf auth login` gives the token.

    Args:
        name: an entry with weights, a folder of released weights, or a run, which is released first.
        repo: `owner/name`; created if it does not exist.
        private: make a new repository private.
        message: the message of the commit.
        tag: a tag for the commit.
        pin: write the repository, the commit and the digests into the entry's recipe.
        unmeasured: publish a run that was never evaluated; its card says so.
        dry_run: change nothing; the result says what would change.

    Raises:
        NoWeightsError: no weights, or a run without metrics.
        InvalidFileError: weights that are not what their digests say.
        InvalidValueError: a name that the Hub does not allow.
        WriteError: no token, or one that may not write there.
        UnreachableError: no answer from the Hub after some tries; publishing again continues where it stopped.
    """
    address = Address.parse(repo)
    if address is None or address.revision:
        raise InvalidValueError(f'repo = "{repo}" should read owner/name')
    entry = registry.entries.get(os.fspath(name))
    if pin and entry is None:
        raise InvalidValueError(f"{name}: only an entry of the registry has a recipe to pin a revision in")
    with open_weights(name, repo=repo, unmeasured=unmeasured) as folder:
        files = list_released_files(folder, entry.weights.sha256 if entry is not None else {})
        sha256 = {file: digest(folder / file) for file in Release.open(folder).weight_files}
        head, changes = compare(files, address, private=private)
        changed = any(change.kind != "same" for change in changes)
        if tag and head is not None:
            _check_tag(address, tag, head="" if changed else head)
        if not dry_run and (head is None or changed):
            head, changes = _commit(files, address, private=private, message=message or f"Weights of {folder.name}")
    if tag and not dry_run:
        ask(address, lambda: api().create_tag(repo, tag=tag, revision=head, exist_ok=True))
    if pin and not dry_run and entry is not None:
        pin_weights(entry.recipe, sha256, repo=repo, revision=head or "")
    url = f"{api().endpoint}/{repo}"
    return Commit(repo=repo, revision=head or "", url=url, sha256=sha256, changes=changes)


def publish_model(model: GAN, *, repo: str, **options: Any) -> Commit:
    """Publish the weights that a model was loaded from. Arguments and errors as in `publish`.

    Raises InvalidValueError where it was not loaded, or changed since then.
    """
    kind = type(model).__name__
    if not model.name:
        raise InvalidValueError(
            f"this {kind} was not loaded, so it has no recipe and no card to publish; train it, and publish the run"
        )
    saved = load(model.name, device="cpu").networks
    for name, network in model.networks.items():
        mine, theirs = network.state_dict(), saved[name].state_dict()
        if any(not torch.equal(value.cpu(), theirs[key].to(value.dtype)) for key, value in mine.items()):
            raise InvalidValueError(
                f"the {name} of this {kind} is not that of {model.name} any more, and its card would not be true; "
                "train it with zoo.train, and publish the run"
            )
    return publish(model.name, repo=repo, **options)


@contextmanager
def open_weights(name: str | os.PathLike[str], *, repo: str, unmeasured: bool) -> Iterator[Path]:
    """Yield the folder to publish: of an entry, of a path, or released from a run into a temporary folder."""
    text, folder = os.fspath(name), Path(name).expanduser()
    if text in registry.entries:
        if not registry.entries[text].has_weights:
            raise NoWeightsError(
                f"{text} has no weights in this package; publish the run that trained some: zoo publish RUN"
            )
        yield registry.entries[text].bundled
    elif (folder / "config.json").is_file():
        Release.open(folder)
        yield folder
    elif is_run(folder):
        with tempfile.TemporaryDirectory(prefix="gan-zoo-") as scratch:
            out = Path(scratch) / repo.partition("/")[2]
            yield release(folder, out=out, load_name=repo, unmeasured=unmeasured)
    elif folder.exists() or "/" in text or means_path(text):
        raise describe_no_release(folder)
    else:
        raise NotFoundError(f'no entry "{text}", and no such folder.{suggest(text, registry.entries)}')


def list_released_files(folder: Path, sha256: Mapping[str, str]) -> dict[str, Path]:
    """List the files of a folder that are published: SHA256SUMS and the files in it, each of them checked.

    So a note or a key that happens to be in the folder is not published. Raises InvalidFileError.
    """
    verify(folder, sha256)
    listed = read_sums(folder)
    if not listed:
        raise InvalidFileError(
            f"{folder}: has no {SUMS}, which lists the files of a release; `zoo release RUN` writes one"
        )
    return {name: resolve_inside(folder, name) for name in sorted([*listed, SUMS])}


def compare(local: Mapping[str, Path], address: Address, *, private: bool) -> tuple[str | None, tuple[Change, ...]]:
    """Return the repository's newest commit, None where there is no repository yet, and what would change in it.

    Only files of an earlier publication that this release does not have are deleted. All others stay.
    """
    try:
        info = ask(address, lambda: api().model_info(address.repo))
    except NotFoundError as error:
        if "not a model" in str(error):
            raise WriteError(f"cannot publish to {address}: {error}") from error
        return None, tuple(Change(name, "new", path.stat().st_size) for name, path in local.items())
    if private and not info.private:
        raise InvalidValueError(f"{address} is there already and public; --private is for a new repository")
    head = Address(address.repo, info.sha or "")
    listed = list_files(head)
    changes = [Change(name, _compare_file(path, listed.get(name)), path.stat().st_size) for name, path in local.items()]
    changes += [Change(name, "gone", listed[name].size) for name in _published_before(head, listed, local)]
    return head.revision, tuple(sorted(changes, key=lambda change: change.path))


def _compare_file(path: Path, listed: ListedFile | None) -> Kind:
    if listed is None:
        return "new"
    return "same" if listed.size == path.stat().st_size and has_digest(path, listed.digest) else "changed"


_RELEASED = re.compile(r"README\.md|recipe\.toml|[a-z]+\.json|\w+\.safetensors|samples/\w[\w.-]*", re.ASCII)
"""The names that a file of a release can have."""


def _published_before(head: Address, listed: Mapping[str, ListedFile], local: Mapping[str, Path]) -> Iterator[str]:
    """Yield the files of an earlier publication that are not in this one.

    A SHA256SUMS is believed only beside a config.json of this library, and only where a file still has its digest. So
    what somebody else put there, or changed, stays.
    """
    if not {SUMS, "config.json"} <= listed.keys() or listed["config.json"].size > MAX_TEXT_BYTES:
        return
    try:
        if listed[SUMS].size > MAX_SUMS_BYTES or not is_ours(fetch(head, "config.json", listed["config.json"])):
            return
        sums = read_sums(fetch(head, SUMS, listed[SUMS]).parent)
        for name in sums.keys() & listed.keys() - local.keys():
            file = listed[name]
            is_large = len(file.digest) == 64
            if _RELEASED.fullmatch(name) and sums[name] == (
                file.digest if is_large else digest(fetch(head, name, file, quiet=True))
            ):
                yield name
    except InvalidFileError:  # not our list, so nothing there is ours to delete
        return


def _check_tag(address: Address, tag: str, *, head: str) -> None:
    """Raise InvalidValueError where the tag names another commit than `head`: tags must not move."""
    tags = {ref.name: ref.target_commit for ref in ask(address, lambda: api().list_repo_refs(address.repo)).tags}
    if tags.get(tag, head) != head:
        raise InvalidValueError(f"{address} has a tag {tag} already, of the commit {tags[tag]}; choose another")


def _commit(
    local: Mapping[str, Path], address: Address, *, private: bool, message: str
) -> tuple[str, tuple[Change, ...]]:
    """Commit the files that differ, on top of the head that they were compared with.

    Each attempt compares again. So it sees a commit whose answer was lost, and a head that somebody else moved.
    """
    ask(address, lambda: api().create_repo(address.repo, private=private or None, exist_ok=True))
    before: tuple[Change, ...] = ()
    attempt = 0
    while True:
        head, changes = compare(local, address, private=False)
        if head is None:
            raise UnreachableError(f"{address}: was created, but cannot be seen yet; try again")
        before = before or changes
        if all(change.kind == "same" for change in changes):
            return head, before
        todo = [change for change in changes if change.kind in ("new", "changed")]
        operations = [
            *(CommitOperationAdd(change.path, local[change.path]) for change in todo),
            *(CommitOperationDelete(change.path) for change in changes if change.kind == "gone"),
        ]
        num_bytes = sum(change.size for change in todo)

        def send(operations: list[Any] = operations, head: str = head) -> str:
            info = api().create_commit(address.repo, operations, commit_message=message, parent_commit=head)
            return info.oid

        try:
            with translate_errors(address):
                return run_bounded(send, seconds=transfer_seconds(num_bytes)), before
        except (UnreachableError, InvalidValueError) as error:
            wait = retry_seconds(error.__cause__, attempt, busy=(*BUSY, *_BRANCH_MOVED))
            if wait is None:
                raise
            time.sleep(wait)
            attempt += 1
