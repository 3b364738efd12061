"""The Hugging Face Hub: resolving revisions, listing files, fetching them into the cache.

`huggingface_hub` does the protocol, the cache and most retries. Five of its gaps are closed here. It accepts wrong
bytes of the right size. It names a file of its cache by whatever ETag the server sends, even a path. It waits for ever
on a server that sends a byte now and then. It keeps an answer of any size in memory. And its errors describe requests,
where a user needs to know what to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2
from huggingface_hub import (
    HfApi,
    constants,
    get_session,
    get_token,
    hf_hub_download,
    scan_cache_dir,
    try_to_load_from_cache,
)
from huggingface_hub import errors as hub_errors
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import parse_ratelimit_headers, tqdm  # type: ignore[attr-defined]  # both are public

from zoo.errors import (
    InvalidFileError,
    InvalidValueError,
    NotFoundError,
    UnreachableError,
    WriteError,
    ZooError,
    escape_controls,
    shorten,
    shorten_repr,
    suggest,
)

T = TypeVar("T")

LIBRARY = "gan-zoo"
MAX_FILES = {"model": 1000, "dataset": 100_000}  # in a repository; a release has about ten
ANSWER_SECONDS = 60.0  # for one question, retries included
SLOWEST = 10_000  # bytes/s; a transfer may take ANSWER_SECONDS, and the time of its size at this rate
LISTED_BYTES = 300  # of a listing, per file
MAX_ANSWER_BYTES = 32 << 20  # of an answer that is no file; a page of a listing has up to 1000 files
NAME_SECONDS = 4.0  # to look up the Hub's address
TRIES = 4
FIRST_WAIT = 1.0  # seconds before the second try; it doubles with each further one
LONGEST_WAIT = 60.0  # seconds; a server that asks for more raises an error instead

BUSY = (408, 429, 500, 502, 503, 504)  # statuses of a server that may answer the next time
_ADDRESS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_PASTED = re.compile(r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/(datasets/)?(?P<path>.*)", re.ASCII)
_PAGE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(/(tree|blob|resolve|commit)/(?P<revision>[\w.-]+)(/.*)?)?/?", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Address:
    """A repository of the Hub and its revision: a branch, a tag or a commit; the default branch if empty."""

    repo: str
    revision: str = ""
    kind: Literal["model", "dataset"] = "model"

    @classmethod
    def parse(cls, text: str, kind: Literal["model", "dataset"] = "model") -> Address | None:
        """Parse `org/name`, `org/name@revision`, or an address as a browser has it; return None for anything else."""
        pasted = _PASTED.fullmatch(text.strip().partition("?")[0].partition("#")[0])
        match = _PAGE.fullmatch(pasted["path"]) if pasted else _ADDRESS.fullmatch(text)
        return cls(match["repo"], match["revision"] or "", kind) if match else None

    @property
    def pinned(self) -> bool:
        """Whether the revision is a full commit sha, which names the same bytes for ever."""
        return bool(_SHA.fullmatch(self.revision))

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclass(frozen=True)
class ListedFile:
    """A file in the Hub's listing. `digest` is the sha256 of a large file, or the git blob sha1 of a small one."""

    size: int
    digest: str


def api() -> HfApi:
    """Make the client. It obeys `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE`."""
    return HfApi(library_name=LIBRARY, library_version=_read_version())


def _read_version() -> str:
    from zoo import __version__  # known without an installed package, too, as torch.hub has it

    return __version__


# --- asking ------------------------------------------------------------------------------------------------------


def ask(address: Address, question: Callable[[], T], *, seconds: float | None = None) -> T:
    """Ask the Hub, again while the server is busy, and return the answer.

    Raises NotFoundError, InvalidValueError, WriteError, UnreachableError or InvalidFileError, which name `address`.
    """
    with translate_errors(address):
        return run_bounded(lambda: _retry(question), seconds=seconds or ANSWER_SECONDS)


def _retry(question: Callable[[], T]) -> T:
    for attempt in range(TRIES):
        try:
            return question()
        except Exception as error:
            wait = retry_seconds(error, attempt)
            if wait is None:
                raise
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def retry_seconds(error: BaseException | None, attempt: int, *, busy: Iterable[int] = BUSY) -> float | None:
    """Return the seconds to wait before the next attempt at what raised `error`; None where that is no use.

    Another attempt may help where the connection broke, where a proxy answered for the Hub, or where the Hub answered
    with a status of `busy`.
    """
    if isinstance(error, hub_errors.RevisionResolutionError | RuntimeError):  # the client wraps its errors in these
        error = error.__cause__
    wait = FIRST_WAIT * 2**attempt
    if isinstance(error, hub_errors.HfHubHTTPError):
        if error.response.status_code not in busy:
            return None
        wait = max(wait, _read_wait(error.response))
    elif not isinstance(error, httpx2.TransportError | json.JSONDecodeError):
        return None
    return wait if wait <= LONGEST_WAIT and attempt + 1 < TRIES else None


def _read_wait(response: httpx2.Response) -> int:
    """Read how many seconds a server asks to wait, from either header that the Hub uses; 0 without one."""
    limit = parse_ratelimit_headers(response.headers)
    if limit is not None and limit.remaining == 0 and response.status_code == 429:
        return limit.reset_in_seconds
    after = response.headers.get("Retry-After", "")
    return int(after) if after.isdecimal() else 0


def transfer_seconds(size: int) -> float:
    """Return the seconds that a transfer of `size` bytes may take."""
    return ANSWER_SECONDS + size / SLOWEST


def run_bounded(call: Callable[[], T], *, seconds: float, cancelled: threading.Event | None = None) -> T:
    """Run `call` and return its result. Raises TimeoutError where it takes longer than `seconds`.

    The client itself has no limit for a server that sends a byte now and then. `call` runs in a thread, which is left
    behind where it is late. `cancelled` is set when this function ends, so that `call` can stop.
    """
    _check_host()
    _guard_client()
    result: list[T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as raised:
            error.append(raised)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError(f"waited {seconds:.3g} seconds")
    finally:
        if cancelled is not None:
            cancelled.set()
    if error:
        raise error[0]
    return result[0]


def _check_host() -> None:
    """Raise ConnectionError where the Hub's name has no address. The client would try for a minute."""
    host = urlsplit(constants.ENDPOINT).hostname
    if constants.HF_HUB_OFFLINE or getproxies() or not host:
        return
    failed: list[str] = [f"no name server answers within {NAME_SECONDS:g} s"]

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, None)
            failed.clear()
        except OSError as error:
            failed[:] = [str(error.strerror or error)]

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(NAME_SECONDS)
    if failed:
        raise ConnectionError(f"{failed[0]}; is this machine on the network?")


@contextmanager
def offline_without_network() -> Iterator[None]:
    """Let other libraries read the Hub's cache at once where there is no network, and not try for a minute."""
    before = constants.HF_HUB_OFFLINE
    try:
        try:
            _check_host()
        except ConnectionError:
            constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _guard_client() -> None:
    """Let the client call our checks when an answer's headers are there, before it reads the rest."""
    hooks = get_session().event_hooks
    for check in (_refuse_other_etags, _bound_answer):
        if check not in hooks["response"]:
            hooks["response"].append(check)
    get_session().event_hooks = hooks


def _bound_answer(response: httpx2.Response) -> None:
    """Let reading an answer raise where it unpacks to more than MAX_ANSWER_BYTES; files have a bound of their own."""
    if getattr(_expected, "file", None) is not None:
        return
    read_unbounded = response.iter_bytes

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        received = 0
        for chunk in read_unbounded(chunk_size):
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES >> 20} MB for {shorten(response.url.path)}")
            yield chunk

    response.iter_bytes = iter_bytes  # type: ignore[method-assign]


@contextmanager
def translate_errors(address: Address) -> Iterator[None]:
    """Turn the errors of the client into those of this library."""
    where = f"{address} on {constants.ENDPOINT}"
    try:
        yield
    except ZooError:
        raise
    except hub_errors.LocalTokenNotFoundError as error:
        raise WriteError(_NO_TOKEN) from error
    except hub_errors.HFValidationError as error:
        raise InvalidValueError(f'"{address}" is not a name that the Hub allows: {error}') from error
    except hub_errors.GatedRepoError as error:
        raise NotFoundError(f"{where} is gated: accept its conditions on its page, then `hf auth login`") from error
    except hub_errors.RevisionNotFoundError as error:
        raise NotFoundError(
            f"{address.repo} has no revision {address.revision!r}.{_list_revisions(address)}"
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise NotFoundError(_describe_absence(address)) from error
    except hub_errors.RemoteEntryNotFoundError as error:
        raise InvalidFileError(f"{where} lacks a file that it lists: {_read_first_line(error)}") from error
    except (hub_errors.RevisionResolutionError, hub_errors.LocalEntryNotFoundError) as error:
        cause = error.__cause__
        if isinstance(cause, hub_errors.HfHubHTTPError):
            raise _make_refusal(address, cause) from error
        raise UnreachableError(_describe_failure(address, cause or error)) from error
    except hub_errors.HfHubHTTPError as error:
        raise _make_refusal(address, error) from error
    except (hub_errors.OfflineModeIsEnabled, httpx2.HTTPError, TimeoutError, ConnectionError) as error:
        raise UnreachableError(_describe_failure(address, error)) from error
    except RuntimeError as error:  # an upload that failed, wrapped by the client, or an error of the fast transport
        root: BaseException = error
        while isinstance(root, RuntimeError) and root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, RuntimeError):
            raise UnreachableError(_describe_failure(address, root)) from error
        with translate_errors(address):
            raise root from None
    except OSError as error:
        if error.errno is None:  # an error of the network, not of this machine's disk
            raise UnreachableError(_describe_failure(address, error)) from error
        raise WriteError(f"{constants.HF_HUB_CACHE}: {error.strerror}") from error
    except MemoryError:
        raise
    except Exception as error:  # the client reads JSON as if it were right, and fails in any way where it is not
        raise _make_answer_error(address, _read_first_line(error)) from error


_NO_TOKEN = (
    "no token for the Hub: run `hf auth login`, or set HF_TOKEN to a token with the role write "
    "(https://huggingface.co/settings/tokens)"
)


def _make_refusal(
    address: Address, error: hub_errors.HfHubHTTPError
) -> NotFoundError | WriteError | UnreachableError | InvalidValueError:
    status = error.response.status_code
    reason = error.server_message or error.response.reason_phrase
    if status == 401:
        token = "the token is not valid" if get_token() else _NO_TOKEN
        return WriteError(f"{address}: the Hub refused (401): {token}")
    if status == 403:
        return WriteError(
            f"{address}: the Hub forbids this (403: {reason}): the token needs the role write, and its user the right "
            f"to write to {address.repo.partition('/')[0]}"
        )
    if status == 429:
        after = _read_wait(error.response)
        return UnreachableError(
            f"{address}: too many requests (429); try again {f'in {after} s' if after else 'later'}"
        )
    if status >= 500:
        return UnreachableError(f"{address}: the Hub has a fault ({status}: {reason}); try again later")
    return InvalidValueError(f"{address}: the Hub refused ({status}): {reason}")


def _make_answer_error(address: Address, what: str) -> UnreachableError:
    return UnreachableError(f"{address} on {constants.ENDPOINT}: this is not how a Hub answers: {what}")


def _describe_failure(address: Address, error: BaseException) -> str:
    if constants.HF_HUB_OFFLINE:
        cache = f"the cache {constants.HF_HUB_CACHE} does not have it"
        return f"{address}: HF_HUB_OFFLINE forbids to ask {constants.ENDPOINT}, and {cache}"
    return f"{address}: no whole answer from {constants.ENDPOINT}: {_read_first_line(error) or type(error).__name__}"


def _describe_absence(address: Address) -> str:
    others = [kind for kind in ("model", "dataset", "space") if kind != address.kind]
    kinds = _ask_for_hint(lambda: [kind for kind in others if api().repo_exists(address.repo, repo_type=kind)])
    if kinds:
        return f"{address.repo} is a {kinds[0]} on {constants.ENDPOINT}, not a {address.kind}"
    hint = "" if get_token() else ", or it is private: `hf auth login`"
    if address.kind == "dataset":
        return f"no data set {address.repo} on {constants.ENDPOINT}{hint}"
    return f"no repository {address.repo} on {constants.ENDPOINT}{hint}, and no such folder here"


def _list_revisions(address: Address) -> str:
    def names() -> list[str]:
        refs = api().list_repo_refs(address.repo, repo_type=address.kind)
        return [str(ref.name) for ref in (*refs.branches, *refs.tags)]

    known = _ask_for_hint(names)
    return f" It has {', '.join(known[:8])}.{suggest(address.revision, known)}" if known else ""


def _ask_for_hint(question: Callable[[], list[str]]) -> list[str]:
    """Ask for what makes an error clearer; return an empty list unless the Hub answers soon."""
    try:
        return run_bounded(question, seconds=10)
    except Exception:  # the caller reports an error already
        return []


def _read_first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


# --- what is there -----------------------------------------------------------------------------------------------


def resolve_commit(address: Address) -> str:
    """Return the full commit sha of an address; the last known one where the Hub is out of reach. Raises as `ask`."""
    if address.pinned:
        return address.revision
    revision, kind = address.revision or None, address.kind
    sha = ask(address, lambda: api().resolve_revision(address.repo, revision=revision, repo_type=kind)).resolved
    if not isinstance(sha, str) or not _SHA.fullmatch(sha):  # it becomes the name of a folder
        raise _make_answer_error(address, f"commit {str(sha)[:80]!r}")
    return sha


def list_files(address: Address) -> dict[str, ListedFile]:
    """List the files of a repository by path.

    Raises as `ask`, and InvalidFileError for more than the MAX_FILES of its kind.
    """
    most, revision = MAX_FILES[address.kind], address.revision or None

    def list_first() -> list[RepoFile]:
        tree = api().list_repo_tree(address.repo, recursive=True, revision=revision, repo_type=address.kind)
        return list(islice((entry for entry in tree if isinstance(entry, RepoFile)), most + 1))

    files = ask(address, list_first, seconds=transfer_seconds(most * LISTED_BYTES))
    if len(files) > most:
        raise InvalidFileError(f"{address}: has more than {most:,} files; refused")
    listed = [(file.path, ListedFile(file.size, file.lfs.sha256 if file.lfs else file.blob_id)) for file in files]
    for path, file in listed:  # the client accepts any JSON here
        if not (isinstance(path, str) and isinstance(file.size, int) and isinstance(file.digest, str)):
            raise _make_answer_error(address, f"file {str(path)[:80]!r} of {file.size!r} bytes")
    return dict(listed)


def find_cached(address: Address, name: str) -> Path | None:
    """Find a file of a pinned address in the cache, without the network; return None where it is not there."""
    found = try_to_load_from_cache(address.repo, name, revision=address.revision, repo_type=address.kind)
    return Path(found) if isinstance(found, str) else None


def list_cached_snapshots() -> list[tuple[Address, Path]]:
    """List the releases of this library in the cache: pinned addresses and their folders, sorted."""
    if not Path(constants.HF_HUB_CACHE).is_dir():
        return []
    return sorted(
        (
            (Address(repo.repo_id, revision.commit_hash), revision.snapshot_path)
            for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos
            for revision in repo.revisions
            if repo.repo_type == "model" and is_ours(revision.snapshot_path / "config.json")
        ),
        key=lambda pair: str(pair[0]),
    )


def is_ours(config: Path) -> bool:
    """Tell whether a config.json is of a release of this library."""
    try:
        with config.open(encoding="utf-8", errors="replace") as file:
            return f'"library": "{LIBRARY}"' in file.read(1 << 16)
    except OSError:
        return False


def read_license(address: Address) -> str:
    """Read the license that the card of a data set states; "unknown" where it states none. Raises as `ask`."""
    card = ask(address, lambda: api().dataset_info(address.repo, revision=address.revision or None)).card_data
    stated = card.get("license") if card is not None else None
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "unknown")


def search(limit: int = 100) -> list[Any]:
    """Find the repositories whose card has `library_name: gan-zoo`, the most downloaded first. Raises as `ask`."""
    what = Address(f"the search for {LIBRARY}")
    return ask(what, lambda: list(api().list_models(filter=LIBRARY, sort="downloads", limit=limit)))


# --- fetching ----------------------------------------------------------------------------------------------------


def fetch(address: Address, name: str, listed: ListedFile, *, quiet: bool = False) -> Path:
    """Fetch a file of a pinned address into the cache, and check its bytes against the listing's digest.

    Wrong bytes do not stay in the cache. There is a progress bar unless `quiet`.

    Raises as `ask`, and InvalidFileError where the digest is none or the bytes are wrong twice.
    """
    if not _DIGEST.fullmatch(listed.digest):
        raise InvalidFileError(
            f"{address}: {name} is listed with the digest {shorten_repr(listed.digest)}; not fetched"
        )
    for _attempt in range(2):
        cancelled = threading.Event()
        bar = _make_limited_bar(f"{address.repo}/{name}", listed.size, cancelled, quiet=quiet)
        download = partial(_retry, partial(_download, address, name, listed, bar))
        with translate_errors(address):
            path = run_bounded(download, seconds=transfer_seconds(listed.size), cancelled=cancelled)
        if path.stat().st_size == listed.size and has_digest(path, listed.digest) and agrees_with_its_name(path):
            return path
        discard(path)
    raise InvalidFileError(
        f"{address}: {name} came with other bytes than the Hub states (digest {listed.digest[:16]}…), twice; "
        "it was removed. Try again later, or tell its author."
    )


def _download(address: Address, name: str, listed: ListedFile, bar: type[tqdm]) -> Path:
    _expected.file = (f"{address}: {name}", listed.digest)
    try:
        path = hf_hub_download(
            address.repo,
            name,
            revision=address.revision,
            repo_type=address.kind,
            library_name=LIBRARY,
            library_version=_read_version(),
            tqdm_class=bar,
        )
        return Path(path)
    except OSError as error:
        if "Consistency check failed" in str(error):  # too few bytes, over a connection that did not break
            raise httpx2.RemoteProtocolError(_read_first_line(error)) from error
        raise
    finally:
        del _expected.file


_expected = threading.local()
"""`file`: the file that this thread fetches and its listed digest, while it does."""


def _refuse_other_etags(response: httpx2.Response) -> None:
    """Raise where a server states another digest than it listed, before the client names a file of its cache by it."""
    file, listed = getattr(_expected, "file", (None, None))
    if file is None or response.request.method != "HEAD":
        return
    stated = response.headers.get(constants.HUGGINGFACE_HEADER_X_LINKED_ETAG) or response.headers.get("ETag")
    if stated is not None and stated.removeprefix("W/").strip('"') != listed:
        raise InvalidFileError(
            f"{file}: the server states the digest {shorten(stated)}, and listed {shorten(str(listed))}; not fetched. "
            "Try again later, or without HF_ENDPOINT."
        )


def _make_limited_bar(name: str, size: int, cancelled: threading.Event, *, quiet: bool) -> type[tqdm]:
    """Make a progress bar for the client, which also stops a download that is late or far too long."""

    class Bar(tqdm):
        received = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            desc = {"desc": escape_controls(str(options["desc"]))} if "desc" in options else {}
            super().__init__(*args, **{**options, **desc, **({"disable": True} if quiet else {})})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += int(n or 0)
            if cancelled.is_set():
                raise TimeoutError(f"{name}: too slow")
            if self.received > 2 * size + (1 << 20):  # the fast transport may fetch somewhat more than the file
                raise ConnectionError(f"{name}: the server sends far more than the {size:,} bytes of this file")
            return super().update(n)

    return Bar


def has_digest(path: Path, stated: str) -> bool:
    """Tell whether a file has the digest that the Hub states: a sha256 (64 hex digits) or a git blob sha1 (40)."""
    if len(stated) == 64:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == stated
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: blob).hexdigest() == stated


def agrees_with_its_name(path: Path) -> bool:
    """Tell whether a cached file has the digest that names its blob: the one that the Hub stated for it."""
    stated = Path(os.readlink(path)).name if path.is_symlink() else ""
    return not _DIGEST.fullmatch(stated) or has_digest(path, stated)


def discard(path: Path) -> None:
    """Delete a file of the cache: the snapshot's link, its blob, and the blob that repositories may share.

    Nothing outside of the cache is deleted, wherever a link leads.
    """
    cache = Path(constants.HF_HUB_CACHE).resolve()
    while (path.parent.resolve() / path.name).is_relative_to(cache):
        target = path.parent / os.readlink(path) if path.is_symlink() else None
        path.unlink(missing_ok=True)
        if target is None:
            return
        path = target
