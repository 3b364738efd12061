"""A Hugging Face Hub on the loopback interface, for tests: the part of the Hub's protocol that this library uses.

    with LoopbackHub() as hub:
        hub.repo("me/faces", {"config.json": b"{}"})             # a published repository
        hub.fault("GET /cdn/", corrupt(), times=1)               # the next large file arrives damaged
        ...                                                      # the real client, at hub.url
        assert "POST /api/repos/create" in hub.seen              # the requests so far

Standard library only. It is written from the requests that huggingface_hub 2.x makes (with Xet switched off: that is
another protocol, to another server) and speaks HTTP/1.1 with kept connections, as the Hub does. Small files are git
blobs, named by their sha1; large ones are LFS objects, named by their sha256 and served from another host.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]

LFS_SUFFIXES = (".safetensors", ".png", ".bin")  # what a new repository's .gitattributes tracks
LFS_BYTES = 10 << 20  # a file above this is large whatever its name
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


def git_sha1(content: bytes) -> str:
    """Compute the sha1 of a git blob, which is the ETag of a small file on the Hub."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > LFS_BYTES


@dataclass
class Repo:
    """A repository: its commits in order, each a complete tree, and the names that point to them."""

    id: str
    kind: str = "model"
    private: bool = False
    gated: bool = False
    downloads: int = 0
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, *, branch: str = "main", message: str = "") -> str:
        """Make `files` the tree of a branch; return the commit's sha."""
        names = "".join(f"{path} {sha256(content)}\n" for path, content in sorted(files.items()))
        sha = hashlib.sha1(f"{self.id}\n{len(self.commits)}\n{names}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.messages.append(message)
        self.branches[branch] = sha
        return sha

    @property
    def head(self) -> str:
        return self.branches["main"]

    @property
    def files(self) -> Files:
        return self.commits[self.head]

    def sha_of(self, revision: str) -> str | None:
        return (
            self.branches.get(revision) or self.tags.get(revision) or (revision if revision in self.commits else None)
        )

    def card_data(self) -> dict[str, str]:
        """Read the single values of the card's front matter."""
        front = self.files.get("README.md", b"").decode(errors="replace").split("---")
        pairs = (line.partition(": ") for line in front[1].splitlines()) if len(front) > 2 else ()
        return {key: value for key, _, value in pairs if value}

    def card_tags(self) -> list[str]:
        """List the tags and the library of the card, by which the search finds a repository."""
        front = self.files.get("README.md", b"").decode(errors="replace").split("---")
        lines = front[1].splitlines() if len(front) > 2 else []
        library = [line.partition(": ")[2] for line in lines if line.startswith("library_name: ")]
        return library + [line.removeprefix("- ") for line in lines if line.startswith("- ") and ":" not in line]


# --- answers, and what can go wrong with them --------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, and how it is sent."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    sends: int | None = None  # bytes of the body before the connection breaks; all if None
    drip: float = 0.0  # seconds before each further byte
    silent: bool = False  # the connection closes without an answer

    @classmethod
    def of(cls, content: Any, status: int = 200, **headers: str) -> Answer:
        return cls(status, {"Content-Type": "application/json", **_to_headers(headers)}, json.dumps(content).encode())

    @classmethod
    def error(cls, status: int, message: str, code: str = "") -> Answer:
        """Make the answer of a refusal: the client reads the two headers and the body."""
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        return replace(cls.of({"error": message}, status), headers={"Content-Type": "application/json", **headers})


Fault = Callable[
    [Callable[[], Answer]], Answer
]  # takes a function that would answer, and returns the answer that is sent instead


def refuse(status: int, message: str = "a fault", **headers: str) -> Fault:
    """Do nothing; answer with this status, e.g. `refuse(429, retry_after="1")`."""
    return lambda _answer: replace(
        Answer.error(status, message), headers={**Answer.error(status, message).headers, **_to_headers(headers)}
    )


def bad_gateway() -> Fault:
    """Do nothing; answer with the HTML page of a proxy."""
    return lambda _answer: Answer(502, {"Content-Type": "text/html"}, b"<html>502 Bad Gateway</html>")


def drop() -> Fault:
    """Do nothing; close the connection without an answer."""
    return lambda _answer: Answer(silent=True)


def lose_answer() -> Fault:
    """Do what the request asks, but close the connection without an answer."""

    def fault(answer: Callable[[], Answer]) -> Answer:
        answer()
        return Answer(silent=True)

    return fault


def truncate(share: float = 0.5) -> Fault:
    """Break the connection in the middle of the body."""
    return lambda answer: replace(answer(), sends=int(len(answer().body) * share))


def shorten(share: float = 0.5) -> Fault:
    """End the body early, with a Content-Length that agrees."""
    return lambda answer: replace(answer(), body=answer().body[: int(len(answer().body) * share)])


def lengthen(extra: int = 1 << 20) -> Fault:
    """Send more bytes than the file has."""
    return lambda answer: replace(answer(), body=answer().body + bytes(extra))


def corrupt() -> Fault:
    """Send the right number of bytes, with one of them changed."""

    def fault(answer: Callable[[], Answer]) -> Answer:
        body = bytearray(answer().body)
        body[len(body) // 2] ^= 0x01
        return replace(answer(), body=bytes(body))

    return fault


def drip(seconds: float = 0.05, *, after: float = 0.0) -> Fault:
    """Send a byte now and then, after a share of the body at full speed."""
    return lambda answer: replace(answer(), drip=seconds, sends=None, headers={**answer().headers, _FAST: str(after)})


_FAST = "X-Loopback-Fast-Share"  # not sent


def omit_headers(*names: str) -> Fault:
    """Leave out headers of the answer."""
    return lambda answer: replace(answer(), headers={**answer().headers, **dict.fromkeys(names, "")})


def set_headers(**headers: str) -> Fault:
    """Change headers of the answer, e.g. `set_headers(etag='"0"')`."""
    return lambda answer: replace(answer(), headers={**answer().headers, **_to_headers(headers)})


def redirect(location: str) -> Fault:
    """Redirect to another address."""
    return lambda _answer: Answer(307, {"Location": location})


def answer_with(content: Any) -> Fault:
    """Answer with other JSON."""
    return lambda _answer: Answer.of(content)


def _to_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {"-".join(word.capitalize() for word in name.split("_")): value for name, value in headers.items()}


# --- the Hub -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request as a route receives it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Route = Callable[..., Answer]
ROUTES: list[tuple[str, re.Pattern[str], str]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register a function that answers requests whose path matches; the named groups are its arguments."""

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return register


_KIND = r"/api/(?P<kind>models|datasets|spaces)"
_ID = r"(?P<id>[\w.-]+/[\w.-]+)"


class LoopbackHub:
    """A server of the Hub. `me` may write to `me` and to the organization `gan-zoo`, with the token `token`."""

    token = "hf_write"
    reader = "hf_read"  # a token with the role read

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}  # old name of a repository -> new one
        self.stored: dict[str, bytes] = {}  # LFS objects by sha256
        self.requests: list[Request] = []
        self.page = 1000  # entries of a listing's page
        self._faults: list[tuple[re.Pattern[str], Fault, list[float]]] = []  # and how often each will still happen
        self.healed = threading.Event()
        self._lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        self.cdn = f"http://localhost:{port}"  # another origin: the client must not send it the token

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server: new connections are refused, open ones end."""
        self.healed.set()
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    # what a test prepares and reads

    def repo(self, id: str, files: Mapping[str, bytes] | None = None, **options: Any) -> Repo:
        """Add a repository that exists already."""
        with self._lock:
            repo = self.repos[id] = Repo(id, **options)
            repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            if files is not None:
                repo.commit({**repo.files, **files})
        return repo

    def fault(self, asked: str, fault: Fault, *, times: float = math.inf) -> None:
        """Let the next `times` requests whose `METHOD /path` contains the pattern `asked` go wrong."""
        self._faults.append((re.compile(asked), fault, [times]))

    def heal(self) -> None:
        """Remove all faults, and close connections that are slow because of one."""
        self._faults.clear()
        self.healed.set()

    @property
    def seen(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    def count(self, asked: str) -> int:
        return sum(bool(re.search(asked, request)) for request in self.seen)

    # how a request is answered

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            asked, fault = f"{request.method} {request.path}", None
            for pattern, candidate, left in self._faults:
                if left[0] > 0 and pattern.search(asked):
                    left[0] -= 1
                    fault = candidate
                    break
            done: list[Answer] = []

            def once() -> Answer:
                if not done:
                    done.append(self._route(request))
                return done[0]

            return fault(once) if fault is not None else once()

    def _route(self, request: Request) -> Answer:
        for old, new in self.renamed.items():
            if f"/{old}/" in f"{request.path}/":
                return Answer(307, {"Location": request.path.replace(old, new)})
        for method, pattern, name in ROUTES:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                try:
                    return getattr(self, name)(request, **match.groupdict())
                except _Refused as refusal:
                    return refusal.answer
        return Answer.error(404, f"no such page: {request.path}")

    # users and their rights

    @route("GET", "/api/whoami-v2")
    def _whoami(self, request: Request) -> Answer:
        self._writer(request, reading=True)
        return Answer.of(
            {"name": "me", "type": "user", "orgs": [{"name": "gan-zoo"}], "auth": {"type": "access_token"}}
        )

    def _token(self, request: Request) -> str | None:
        value = request.headers.get("authorization", "").removeprefix("Bearer ")
        if value and value not in (self.token, self.reader):
            raise _Refused(Answer.error(401, "Invalid credentials in Authorization header"))
        return value or None

    def _writer(self, request: Request, owner: str = "me", *, reading: bool = False) -> None:
        token = self._token(request)
        if token is None:
            raise _Refused(Answer.error(401, "Invalid username or password."))
        if not reading and token == self.reader:
            raise _Refused(Answer.error(403, "Your token has no write permission"))
        if not reading and owner not in ("me", "gan-zoo"):
            raise _Refused(Answer.error(403, f'You don\'t have the rights to write under the namespace "{owner}"'))

    def _find(self, request: Request, id: str, kind: str = "models") -> Repo:
        repo, token = self.repos.get(id), self._token(request)
        if repo is None or repo.kind != KINDS[kind] or (repo.private and token is None):
            raise _Refused(Answer.error(404 if token else 401, "Repository not found", "RepoNotFound"))
        if repo.gated:
            raise _Refused(Answer.error(403, "Access to this repository is restricted", "GatedRepo"))
        return repo

    def _revision(self, repo: Repo, revision: str) -> str:
        sha = repo.sha_of(unquote(revision))
        if sha is None:
            raise _Refused(Answer.error(404, f"Invalid rev id: {unquote(revision)}", "RevisionNotFound"))
        return sha

    # publishing: create, check the card, ask how to send each file, send the large ones, commit

    @route("POST", "/api/repos/create")
    def _create(self, request: Request) -> Answer:
        asked = request.json()
        id = f"{asked.get('organization') or 'me'}/{asked['name']}"
        self._writer(request, id.partition("/")[0])
        if asked["name"] == "api":
            return Answer.error(400, "This name is reserved")
        url = {"url": f"{self.url}/{id}", "name": id}
        if id in self.repos:
            return Answer.of({"error": "You already created this model repo", **url}, 409)
        self.repo(id, private=asked.get("visibility") == "private", kind=asked.get("type", "model"))
        return Answer.of(url)

    @route("POST", "/api/validate-yaml")
    def _validate_yaml(self, request: Request) -> Answer:
        content = request.json()["content"]
        problem = "" if re.match(r"---\n.*?\n---\n", content, re.DOTALL) else "no metadata"
        return Answer.of({"errors": [], "warnings": [{"message": problem}] if problem else []})

    @route("POST", rf"{_KIND}/{_ID}/preupload/(?P<revision>[^/]+)")
    def _preupload(self, request: Request, kind: str, id: str, revision: str) -> Answer:
        self._writer(request, id.partition("/")[0])
        there = self._find(request, id, kind).files
        return Answer.of({"files": [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_lfs(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": _compute_oid(file["path"], there[file["path"]]) if file["path"] in there else None,
            }
            for file in request.json()["files"]
        ]})  # fmt: skip

    @route("POST", rf"/{_ID}\.git/info/lfs/objects/batch")
    def _lfs_batch(self, request: Request, id: str) -> Answer:
        self._writer(request, id.partition("/")[0])
        self._find(request, id)
        objects = []
        for wanted in request.json()["objects"]:
            upload = {"href": f"{self.cdn}/upload/{wanted['oid']}"}
            verify = {"href": f"{self.url}/{id}.git/info/lfs/objects/verify"}
            missing = wanted["oid"] not in self.stored
            objects.append({**wanted, **({"actions": {"upload": upload, "verify": verify}} if missing else {})})
        return Answer.of({"transfer": "basic", "objects": objects})

    @route("PUT", r"/upload/(?P<oid>[0-9a-f]{64})")
    def _upload(self, request: Request, oid: str) -> Answer:
        if sha256(request.body) != oid:
            return Answer.error(400, "BadDigest")
        self.stored[oid] = request.body
        return Answer()

    @route("POST", rf"/{_ID}\.git/info/lfs/objects/verify")
    def _verify(self, request: Request, id: str) -> Answer:
        asked = request.json()
        there = len(self.stored.get(asked["oid"], b"")) == asked["size"]
        return Answer() if there else Answer.error(404, "no such object")

    @route("POST", rf"{_KIND}/{_ID}/commit/(?P<revision>[^/]+)")
    def _commit(self, request: Request, kind: str, id: str, revision: str) -> Answer:
        self._writer(request, id.partition("/")[0])
        repo = self._find(request, id, kind)
        lines = [json.loads(line) for line in request.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit", repo.head) != repo.head:
            return Answer.error(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.stored:
                    return Answer.error(400, f"{value['path']}: this LFS object was never uploaded")
                files[value["path"]] = self.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                return Answer.error(400, f"unknown operation {line['key']}")
        sha = repo.commit(files, branch=unquote(revision), message=header["summary"])
        return Answer.of({"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{id}/commit/{sha}"})

    @route("POST", rf"{_KIND}/{_ID}/tag/(?P<revision>[^/]+)")
    def _tag(self, request: Request, kind: str, id: str, revision: str) -> Answer:
        self._writer(request, id.partition("/")[0])
        repo, tag = self._find(request, id, kind), request.json()["tag"]
        if tag in repo.tags:
            return Answer.error(409, f"Tag {tag} exists already")
        repo.tags[tag] = self._revision(repo, revision)
        return Answer.of({})

    # finding: facts, names and files of a repository, and the search

    @route("GET", rf"{_KIND}/{_ID}(/revision/(?P<revision>[^/]+))?")
    def _info(self, request: Request, kind: str, id: str, revision: str | None) -> Answer:
        repo = self._find(request, id, kind)
        return Answer.of(self._about(repo, self._revision(repo, revision or "main")))

    @route("GET", rf"{_KIND}/{_ID}/refs")
    def _refs(self, request: Request, kind: str, id: str) -> Answer:
        repo = self._find(request, id, kind)

        def named(names: Mapping[str, str], folder: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": sha} for n, sha in names.items()]

        return Answer.of({"branches": named(repo.branches, "heads"), "tags": named(repo.tags, "tags"), "converts": []})

    @route("GET", rf"{_KIND}/{_ID}/tree/(?P<revision>[^/]+)")
    def _tree(self, request: Request, kind: str, id: str, revision: str) -> Answer:
        repo = self._find(request, id, kind)
        files = repo.commits[self._revision(repo, revision)]
        folders = {path.rpartition("/")[0] for path in files if "/" in path}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": git_sha1(path.encode())} for path in folders]
        entries += [_describe_file(path, content) for path, content in files.items()]
        entries.sort(key=lambda entry: str(entry["path"]))
        start = int(request.query.get("cursor", 0))
        more = start + self.page < len(entries)
        url = f"{self.url}{request.path}?recursive=true&expand=false&cursor={start + self.page}"
        return Answer.of(entries[start : start + self.page], **({"link": f'<{url}>; rel="next"'} if more else {}))

    @route("GET", "/api/models")
    def _search(self, request: Request) -> Answer:
        found = [
            self._about(repo, repo.head)
            for repo in self.repos.values()
            if repo.kind == "model" and not repo.private and request.query.get("filter") in (None, *repo.card_tags())
        ]
        found.sort(key=lambda about: -about["downloads"])
        return Answer.of(found[: int(request.query.get("limit", 1000))])

    def _about(self, repo: Repo, sha: str) -> dict[str, Any]:
        return {
            "id": repo.id, "author": repo.id.partition("/")[0], "sha": sha, "private": repo.private, "gated": False,
            "downloads": repo.downloads, "likes": 0, "tags": repo.card_tags(),
            "lastModified": "2026-11-01T12:00:00.000Z", "createdAt": "2026-10-01T12:00:00.000Z",
            "siblings": [{"rfilename": path} for path in repo.commits[sha]], "cardData": repo.card_data(),
        }  # fmt: skip

    # fetching: what a file is, then its bytes; large ones from the other host

    @route("HEAD", rf"(/(?P<kind>datasets|spaces))?/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    @route("GET", rf"(/(?P<kind>datasets|spaces))?/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def _resolve(self, request: Request, kind: str | None, id: str, revision: str, path: str) -> Answer:
        repo = self._find(request, id, kind or "models")
        sha = self._revision(repo, revision)
        content = repo.commits[sha].get(unquote(path))
        if content is None:
            missing = Answer.error(404, "Entry not found", "EntryNotFound")
            return replace(missing, headers={**missing.headers, "X-Repo-Commit": sha})
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes", "ETag": f'"{_compute_oid(path, content)}"'}
        if not is_lfs(path, len(content)):
            return _answer_range(request, content, headers)
        self.stored[sha256(content)] = content
        linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        return Answer(302, {**headers, **linked, "Location": f"{self.cdn}/cdn/{sha256(content)}"})

    @route("GET", r"/cdn/(?P<oid>[0-9a-f]{64})")
    def _cdn(self, request: Request, oid: str) -> Answer:
        if "authorization" in request.headers:
            return Answer.error(400, "the token was sent to another host")
        return _answer_range(request, self.stored[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


def _compute_oid(path: str, content: bytes) -> str:
    return sha256(content) if is_lfs(path, len(content)) else git_sha1(content)


def _describe_file(path: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_sha1(content)}
    if is_lfs(path, len(content)):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def _answer_range(request: Request, content: bytes, headers: Mapping[str, str]) -> Answer:
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if match is None:
        return Answer(200, headers, content)
    start = int(match[1])
    if start >= len(content):
        return Answer(416, {"Content-Range": f"bytes */{len(content)}"})
    span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    return Answer(206, {**headers, **span}, content[start:])


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


# --- the wire ----------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: LoopbackHub

    def __init__(self, *args: Any) -> None:
        self.stopping = threading.Event()
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement of its headers
    server: _Server

    def _any(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            method=self.command,
            path=parts.path,
            query={key: values[-1] for key, values in parse_qs(parts.query).items()},
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length),
        )
        if self.server.stopping.is_set():
            self.close_connection = True
            return
        self._send(self.server.hub.answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, answer: Answer) -> None:
        if answer.silent:
            self.close_connection = True
            return
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        headers = {name: value for name, value in headers.items() if value}
        fast = float(headers.pop(_FAST, 0))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = answer.body if answer.sends is None else answer.body[: answer.sends]
        start = int(len(body) * fast) if answer.drip else len(body)
        self.wfile.write(body[:start])
        sent = start
        while sent < len(body) and not self.server.hub.healed.wait(answer.drip):
            self.wfile.write(body[sent : sent + 1])
            sent += 1
        if sent < len(answer.body) or "Content-Length" not in headers:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; `hub.seen` lists the requests."""
