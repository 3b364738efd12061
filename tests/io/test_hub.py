"""Loading from a Hub that answers like the real one, or wrongly."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.hanging import must_end
from helpers.loopback_hub import (
    Fault,
    LoopbackHub,
    answer_with,
    bad_gateway,
    corrupt,
    drip,
    drop,
    lengthen,
    omit_headers,
    redirect,
    refuse,
    set_headers,
    shorten,
    truncate,
)
from helpers.releases import SMALL, write_model
from huggingface_hub import constants

import zoo
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, UnreachableError, ZooError
from zoo.gan import GAN
from zoo.io import hub as hub_client
from zoo.io.weights import SUMS, digest
from zoo.recipe import load_recipe
from zoo.registry import Weights, registry


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DCGAN's weights folder."""
    torch.manual_seed(0)
    return write_model(load_recipe("faces-dcgan", SMALL), tmp_path_factory.mktemp("small") / "small")


@pytest.fixture(scope="module")
def expected(small: Path) -> torch.Tensor:
    return zoo.load(small).sample(2, seed=0).tensor


@pytest.fixture
def repo(hub: LoopbackHub, small: Path) -> str:
    """The same folder as a repository of the Hub."""
    hub.repo("me/small", {path.name: path.read_bytes() for path in small.iterdir()})
    return "me/small"


@pytest.fixture
def pinned(hub: LoopbackHub, repo: str) -> str:
    return f"{repo}@{hub.repos[repo].head}"


def same(model: GAN, expected: torch.Tensor) -> bool:
    return torch.equal(model.sample(2, seed=0).tensor, expected)


def loads_right_or_not_at_all(name: str, expected: torch.Tensor) -> None:
    try:
        model = zoo.load(name)
    except ZooError as error:
        message = str(error)
    else:
        assert same(model, expected)
        return
    assert "me/small" in message
    assert "\n" not in message


def blobs() -> list[Path]:
    """List the files in the cache, complete or not."""
    return [path for path in Path(constants.HF_HUB_CACHE).rglob("blobs/*") if path.is_file()]


def elsewhere_in(hub: LoopbackHub, **variables: str) -> dict[str, str]:
    """Return the environment of another process with the same Hub and cache."""
    package = str(Path(zoo.__file__).parents[1])
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(Path(constants.HF_HUB_CACHE).parent), "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, "HF_HUB_OFFLINE": "0", "PYTHONPATH": package, **own, **variables}


# --- which bytes -------------------------------------------------------------------------------------------------


def test_a_pinned_load_that_is_warm_needs_no_network(hub: LoopbackHub, pinned: str, expected: torch.Tensor):
    """A full commit sha names the same bytes for ever: once they are cached, the Hub is not asked and not needed."""
    assert same(zoo.load(pinned), expected)
    hub.requests.clear()

    assert same(zoo.load(pinned), expected)
    assert hub.requests == []

    hub.close()
    assert same(zoo.load(pinned), expected)


def test_an_unpinned_load_names_the_revision(
    hub: LoopbackHub, repo: str, expected: torch.Tensor, caplog: pytest.LogCaptureFixture
):
    """A branch may move: one line of the log states its present commit, and how to pin that."""
    with caplog.at_level(logging.WARNING, logger="zoo"):
        assert same(zoo.load(repo), expected)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "zoo"]
    assert f"{repo}@{hub.repos[repo].head}" in line


def test_a_pinned_load_is_silent(pinned: str, caplog: pytest.LogCaptureFixture):
    """The log is empty for a pinned revision."""
    zoo.load(pinned)

    assert [record for record in caplog.records if record.name == "zoo"] == []


def test_a_branch_that_moves_takes_the_name_along_but_not_the_sha(
    hub: LoopbackHub, repo: str, pinned: str, expected: torch.Tensor, tmp_path: Path
):
    """After a new commit the name gives the new weights, the old sha the old ones, and a tag those of its commit."""
    hub.repos[repo].tags["v1"] = hub.repos[repo].head
    zoo.load(repo)
    torch.manual_seed(1)
    newer = write_model(load_recipe("faces-dcgan", SMALL), tmp_path / "newer")
    hub.repos[repo].commit({path.name: path.read_bytes() for path in newer.iterdir()})

    assert same(zoo.load(repo), zoo.load(newer).sample(2, seed=0).tensor)
    assert same(zoo.load(pinned), expected)
    assert same(zoo.load(f"{repo}@v1"), expected)


def test_a_renamed_repository_is_followed(hub: LoopbackHub, repo: str, expected: torch.Tensor):
    """A repository is found by its old name, from which the Hub redirects."""
    hub.renamed["me/old"] = repo

    assert same(zoo.load("me/old"), expected)


def test_listings_of_many_pages_are_read_to_the_end(hub: LoopbackHub, repo: str, expected: torch.Tensor):
    """A listing comes in pages, by Link headers."""
    hub.page = 2

    assert same(zoo.load(repo), expected)
    assert hub.count("GET .*/tree/") > 2


def test_only_what_loading_needs_is_fetched(hub: LoopbackHub, repo: str):
    """Samples, notes and other files of a repository are not fetched."""
    hub.repos[repo].commit({**hub.repos[repo].files, "samples/grid.png": b"p", "big.bin": bytes(1000), "x.py": b""})
    zoo.load(repo)

    fetched = {request.path.rpartition("/")[2] for request in hub.requests if request.method == "HEAD"}
    assert fetched == {"config.json", SUMS, "generator.safetensors", "discriminator.safetensors"}


def test_a_generator_is_fetched_alone(hub: LoopbackHub, pinned: str, expected: torch.Tensor, command):
    """The discriminator's file is neither fetched nor missed; a whole load fetches it later."""

    def fetched() -> set[str]:
        return {request.path.rpartition("/")[2] for request in hub.requests if request.method == "HEAD"}

    assert same(zoo.load(pinned, discriminator=False), expected)
    assert fetched() == {"config.json", SUMS, "generator.safetensors"}
    hub.requests.clear()
    assert same(zoo.load(pinned, discriminator=False), expected)
    assert hub.requests == []
    assert command("verify", "me/small")[0] == 0

    assert list(zoo.load(pinned).networks) == ["generator", "discriminator"]
    assert fetched() == {"discriminator.safetensors"}


# --- the environment of every user of the Hub --------------------------------------------------------------------


LOAD = "import sys, zoo; print(zoo.load(sys.argv[1]).sample(2, seed=0).tensor.double().sum().item())"


def in_another_process(hub: LoopbackHub, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOAD, name]
    return subprocess.run(command, env=elsewhere_in(hub, **variables), capture_output=True, text=True, timeout=120)


def test_the_hub_s_own_variables_mean_what_they_always_mean(
    hub: LoopbackHub, repo: str, pinned: str, expected: torch.Tensor, tmp_path: Path
):
    """HF_ENDPOINT is the Hub, HF_HOME the cache, HF_TOKEN the user; HF_HUB_OFFLINE forbids requests."""
    hub.repos[repo].private = True
    home = tmp_path / "another home"

    warm = in_another_process(hub, repo, HF_HOME=str(home), HF_TOKEN=hub.token)
    assert float(warm.stdout) == expected.double().sum().item()
    assert (home / "hub" / "models--me--small" / "snapshots" / hub.repos[repo].head / "config.json").is_file()
    assert pinned in warm.stderr

    hub.requests.clear()
    offline = in_another_process(hub, repo, HF_HOME=str(home), HF_HUB_OFFLINE="1", HF_TOKEN="")
    assert offline.stdout == warm.stdout
    assert hub.requests == []


def test_offline_and_not_cached_says_so(hub: LoopbackHub, repo: str, monkeypatch: pytest.MonkeyPatch):
    """Offline, a file that is not cached is an error at once, which names the variable."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    for name in (repo, f"{repo}@{'0' * 40}"):
        with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
            zoo.load(name)
    assert hub.requests == []


def test_a_private_repository_needs_a_token(hub: LoopbackHub, repo: str, monkeypatch: pytest.MonkeyPatch):
    """A private repository looks missing without a token, and the message says what may help."""
    hub.repos[repo].private = True
    monkeypatch.delenv("HF_TOKEN")

    with pytest.raises(NotFoundError, match="private: `hf auth login`"):
        zoo.load(repo)


# --- names -------------------------------------------------------------------------------------------------------


def test_names_and_revisions_that_are_not_there(hub: LoopbackHub, repo: str):
    """A missing repository and a missing revision have different errors; the latter lists the revisions."""
    hub.repos[repo].tags["v1.0"] = hub.repos[repo].head
    with pytest.raises(NotFoundError, match=f"no repository me/smal on {hub.url}"):
        zoo.load("me/smal")
    with pytest.raises(NotFoundError, match=r"no revision 'v1\.1'.*main, v1\.0.*Did you mean"):
        zoo.load(f"{repo}@v1.1")
    with pytest.raises(NotFoundError, match="no revision"):
        zoo.load(f"{repo}@{'0' * 40}")
    with pytest.raises(InvalidValueError, match="org/name"):
        zoo.load("me/small@a@b")


def test_a_gated_repository_says_what_to_do(hub: LoopbackHub, repo: str):
    """A gated repository is refused, with the advice to accept its conditions."""
    hub.repos[repo].gated = True

    with pytest.raises(NotFoundError, match="gated"):
        zoo.load(repo)


def test_pickles_are_refused_with_the_reason(hub: LoopbackHub):
    """A repository that has only pickles is refused with the reason, and none is fetched."""
    hub.repo("me/old", {"pytorch_model.bin": b"\x80\x04", "config.json": b"{}", "G.pkl": b"\x80"})
    hub.repo("me/older", {"netG.pth": b"\x80\x04"})

    with pytest.raises(InvalidFileError, match=r"pickle.*run any program"):
        zoo.load("me/older")
    with pytest.raises(InvalidFileError, match=r"pickle.*run any program"):
        zoo.load("me/old")
    assert not hub.count("bin|pkl|pth")


def test_what_is_no_release_is_refused_before_it_is_fetched(hub: LoopbackHub, repo: str):
    """Foreign repositories, missing networks, huge files and endless listings are refused; no weight is fetched."""
    files = hub.repos[repo].files
    hub.repo("me/foreign", {"model.onnx": b"", "notes.md": b""})
    hub.repo("me/half", {name: content for name, content in files.items() if name != "discriminator.safetensors"})
    hub.repo("me/huge", {**files, "generator.safetensors": bytes(10_000_000)})
    hub.repo("me/text", {**files, "config.json": b" " * (2 << 20)})
    hub.repo("me/many", {**files, **{f"{i}.txt": b"" for i in range(1001)}})

    for name, message in {
        "foreign": "no release of this library: it has .gitattributes, model.onnx, notes.md",
        "half": r"lacks discriminator\.safetensors",
        "huge": r"generator\.safetensors has 10,000,000 bytes, at most",
        "text": r"config\.json has 2,097,152 bytes",
        "many": "more than 1,000 files",
    }.items():
        with pytest.raises(InvalidFileError, match=message):
            zoo.load(f"me/{name}")
    assert not hub.count("GET /cdn/")


# --- faults ------------------------------------------------------------------------------------------------------


STEPS = {
    "info": "GET /api/models/me/small$",
    "listing": "GET /api/models/me/small/tree",
    "head": "HEAD .*/config.json",
    "config": "GET /me/small/resolve/.*/config.json",
    "head of weights": "HEAD .*/generator.safetensors",
    "weights": "GET /cdn/",
}
BUSY = {"502": bad_gateway(), "429": refuse(429, retry_after="0"), "dropped": drop()}
DAMAGED = {
    "truncated": truncate(), "shortened": shorten(), "corrupted": corrupt(), "lengthened": lengthen(10),
    "redirected": redirect("/nowhere"), "not JSON": answer_with("?"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BUSY.values(), ids=BUSY)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_hub_that_stumbles_is_asked_again(
    hub: LoopbackHub, repo: str, expected: torch.Tensor, step: str, fault: Fault
):
    """Any step of a load may fail twice."""
    hub.fault(step, fault, times=2)

    assert same(zoo.load(repo), expected)


@pytest.mark.parametrize("fault", [truncate(), shorten(), corrupt()], ids=["truncated", "shortened", "corrupted"])
@pytest.mark.parametrize("step", [STEPS["config"], STEPS["weights"]], ids=["config", "weights"])
def test_a_file_that_arrives_damaged_is_fetched_again(
    hub: LoopbackHub, repo: str, expected: torch.Tensor, step: str, fault: Fault
):
    """A body that is cut or changed once on its way does no harm."""
    hub.fault(step, fault, times=1)

    assert same(zoo.load(repo), expected)


@pytest.mark.parametrize("fault", [*BUSY.values(), *DAMAGED.values()], ids=[*BUSY, *DAMAGED])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_fault_that_stays_is_one_clear_error_and_leaves_nothing_behind(
    hub: LoopbackHub, repo: str, expected: torch.Tensor, step: str, fault: Fault
):
    """A lasting fault ends soon in one error that names the repository; the load after it works again.

    What does no harm (a HEAD has no body to damage) gives the right weights.
    """
    hub.fault(step, fault)

    with must_end():
        loads_right_or_not_at_all(repo, expected)

    hub.heal()
    assert same(zoo.load(repo), expected)


def test_same_size_corruption_is_caught_and_removed(hub: LoopbackHub, pinned: str, small: Path):
    """Wrong bytes of the right number are refused, and do not stay in the cache."""
    hub.fault("GET /cdn/", corrupt())

    with pytest.raises(InvalidFileError, match=r"generator\.safetensors came with other bytes"):
        zoo.load(pinned)
    generator = (small / "generator.safetensors").stat().st_size
    assert generator not in [blob.stat().st_size for blob in blobs()]


@pytest.mark.parametrize(
    "fault",
    [
        omit_headers("ETag", "X-Linked-Etag"), omit_headers("X-Repo-Commit"),
        set_headers(etag='"0"', x_linked_etag='"0"'),
        set_headers(x_linked_size="1000000000000000", content_length="1000000000000000"),
        set_headers(x_linked_size="-1"),
        set_headers(x_repo_commit="../../../etc"),
    ],
    ids=["no ETag", "no commit", "wrong ETag", "a petabyte", "less than nothing", "commit as a path"],
)  # fmt: skip
def test_headers_that_lie_end_in_an_error_or_the_right_weights(
    hub: LoopbackHub, pinned: str, expected: torch.Tensor, fault: Fault, tmp_path: Path
):
    """Missing or wrong headers never give other weights, and nothing is written outside of the cache."""
    hub.fault("HEAD ", fault)
    before = sorted(path for path in tmp_path.parent.rglob("*") if "hf" not in path.parts)

    loads_right_or_not_at_all(pinned, expected)

    assert before == sorted(path for path in tmp_path.parent.rglob("*") if "hf" not in path.parts)
    hub.heal()
    assert same(zoo.load(pinned), expected)


@pytest.mark.parametrize("file", ["config.json", "generator.safetensors"])
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_digest_that_is_a_path_leads_nowhere(
    hub: LoopbackHub, pinned: str, expected: torch.Tensor, file: str, absolute: bool, tmp_path: Path
):
    """A server that states a path for a digest, by which the cache names a file, overwrites and deletes nothing."""
    blobs_folder = Path(constants.HF_HUB_CACHE) / f"models--{pinned.partition('@')[0].replace('/', '--')}" / "blobs"
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    etag = f'"{victim if absolute else os.path.relpath(victim, blobs_folder)}"'
    hub.fault(f"HEAD .*{file}", set_headers(etag=etag, x_linked_etag=etag))

    with pytest.raises(InvalidFileError, match=r"the server states the digest .*not fetched"):
        zoo.load(pinned)

    assert victim.read_text() == "mine"
    assert os.listdir(tmp_path).count("victim.txt") == 1
    hub.heal()
    assert same(zoo.load(pinned), expected)


def test_only_files_of_the_cache_are_discarded(hub: LoopbackHub, pinned: str, tmp_path: Path):
    """A link in the cache that leads out of it is deleted, and what it leads to is not."""
    zoo.load(pinned)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    link = blobs()[0]
    link.unlink()
    link.symlink_to(victim)

    hub_client.discard(link)

    assert victim.read_text() == "mine"
    assert not link.is_symlink()


@pytest.mark.parametrize("step", [step for step in STEPS.values() if step.startswith("GET")])
def test_a_server_that_drips_is_left_in_time(
    hub: LoopbackHub, repo: str, expected: torch.Tensor, step: str, monkeypatch: pytest.MonkeyPatch
):
    """A server that sends a byte now and then is given up after a limit."""
    monkeypatch.setattr(hub_client, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(hub_client, "SLOWEST", 10_000_000)
    hub.fault(step, drip())

    with must_end(), pytest.raises(UnreachableError, match=r"waited 0\.3\d* seconds"):
        zoo.load(repo)

    hub.heal()
    monkeypatch.setattr(hub_client, "ANSWER_SECONDS", 20)
    assert same(zoo.load(repo), expected)


def test_a_file_without_end_is_left(hub: LoopbackHub, pinned: str):
    """A download that is far longer than its file is stopped."""
    hub.fault("GET /cdn/", lengthen(30 << 20))

    with pytest.raises(UnreachableError, match="sends far more than"):
        zoo.load(pinned)
    assert sum(blob.stat().st_size for blob in blobs()) < 1_000_000


def test_the_cache_is_used_where_the_hub_is_down(hub: LoopbackHub, repo: str, expected: torch.Tensor):
    """Without the Hub an unpinned load uses the last commit that it found."""
    zoo.load(repo)
    hub.fault("", refuse(503))

    assert same(zoo.load(repo), expected)


# --- trusted digests, and the cache ------------------------------------------------------------------------------


@pytest.fixture
def entry(hub: LoopbackHub, pinned: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], str]:
    """Make an entry whose recipe pins the repository, with the given digests."""

    def make(sha256: dict[str, str]) -> str:
        weights = Weights(repo="me/small", revision=pinned.partition("@")[2], sha256=sha256)
        small = replace(registry.entries["faces-dcgan"], name="faces-small", weights=weights)
        monkeypatch.setitem(registry.entries, "faces-small", small)
        return "faces-small"

    return make


def test_the_recipe_s_digest_is_trusted_over_the_hub_s(hub: LoopbackHub, entry, expected: torch.Tensor, small: Path):
    """A repository whose files match its own digests, but not the recipe's, is refused and does not stay."""
    digests = {path.name: digest(path) for path in small.glob("*.safetensors")}

    assert same(zoo.load(entry(digests)), expected)
    with pytest.raises(InvalidFileError, match="the recipe's digest"):
        zoo.load(entry({**digests, "generator.safetensors": "0" * 64}))
    assert same(zoo.load(entry(digests)), expected)


def test_an_entry_that_is_not_pinned_to_a_commit_is_refused(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch):
    """A recipe pins a full commit sha; a branch could change under its digests."""
    weights = Weights(repo="me/small", revision="main")
    own = replace(registry.entries["faces-dcgan"], name="faces-small", weights=weights)
    monkeypatch.setitem(registry.entries, "faces-small", own)

    with pytest.raises(InvalidFileError, match="full commit sha"):
        zoo.load("faces-small")


def damage(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["generator.safetensors", SUMS])
def test_damage_in_the_cache_is_found_and_removed(pinned: str, expected: torch.Tensor, name: str):
    """A cached file that changed on the disk is refused and removed; the next load fetches it again."""
    zoo.load(pinned)
    (path,) = Path(constants.HF_HUB_CACHE).rglob(f"snapshots/*/{name}")
    damage(path)

    with pytest.raises(InvalidFileError, match="load again"):
        zoo.load(pinned)
    assert not path.exists()
    assert same(zoo.load(pinned), expected)


def test_a_cached_config_that_says_nothing_is_fetched_again(pinned: str, expected: torch.Tensor):
    """config.json determines which weights are needed; a damaged one is replaced before it is used."""
    zoo.load(pinned)
    (path,) = Path(constants.HF_HUB_CACHE).rglob("snapshots/*/config.json")
    damage(path)

    assert same(zoo.load(pinned), expected)


def test_blobs_that_repositories_share_are_checked_as_their_own(hub: LoopbackHub, pinned: str, expected: torch.Tensor):
    """The client stores a large file once for all repositories that have it; if damaged, it is removed from all."""
    zoo.load(pinned)
    (path,) = Path(constants.HF_HUB_CACHE).rglob("snapshots/*/generator.safetensors")
    blob = path.resolve()
    shared = Path(constants.HF_HUB_CACHE) / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    hub.requests.clear()

    assert same(zoo.load(pinned), expected)
    assert hub.requests == []

    damage(shared)
    with pytest.raises(InvalidFileError, match="load again"):
        zoo.load(pinned)
    assert not shared.exists()
    assert same(zoo.load(pinned), expected)


EIGHT = r"""
import os, sys, zoo, zoo.releases.loading
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        try:
            total = zoo.load(sys.argv[1]).sample(2, seed=0).tensor.double().sum().item()
            os.write(1, f"{total}\n".encode())  # in one write, since eight processes share the pipe
            os._exit(0)
        finally:
            os._exit(1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_eight_processes_load_the_same_cold_entry(hub: LoopbackHub, pinned: str, expected: torch.Tensor):
    """Eight processes that load the same weights at the same time all get them, complete."""
    hub.fault("GET /cdn/", drip(0.001, after=0.999))
    command = [sys.executable, "-c", EIGHT, pinned]

    done = subprocess.run(command, env=elsewhere_in(hub), capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert [float(line) for line in done.stdout.split()] == [expected.double().sum().item()] * 8


def test_a_download_that_was_killed_is_no_obstacle(hub: LoopbackHub, pinned: str, expected: torch.Tensor):
    """After kill -9 in the middle of a file, the next load succeeds."""
    hub.fault("GET /cdn/", drip(1, after=0.5))
    child = subprocess.Popen([sys.executable, "-c", LOAD, pinned], env=elsewhere_in(hub), stderr=subprocess.DEVNULL)
    for _ in range(600):
        if hub.count("GET /cdn/"):
            break
        time.sleep(0.05)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    hub.heal()

    assert same(zoo.load(pinned), expected)


# --- the commands ------------------------------------------------------------------------------------------------


def test_list_hub_finds_what_others_published(hub: LoopbackHub, command):
    """`zoo list --hub` shows repositories whose card has library_name: gan-zoo, the most downloaded first."""
    card = "---\nlibrary_name: {}\ntags:\n- gan\n- {}\n---\n"
    hub.repo("me/faces", {"README.md": card.format("gan-zoo", "faces").encode()}, downloads=5)
    hub.repo("you/songs", {"README.md": card.format("gan-zoo", "music").encode()}, downloads=70)
    hub.repo("you/other", {"README.md": card.format("timm", "faces").encode()}, downloads=9000)

    code, output, _ = command("list", "--hub")
    assert code == 0
    assert [line.split()[:3] for line in output.splitlines()] == [
        ["you/songs", "music", "70"],
        ["me/faces", "faces", "5"],
    ]

    assert command("list", "faces", "--hub")[1].split()[0] == "me/faces"
    assert command("list", "--hub", "you/*")[1].split()[0] == "you/songs"
    code, output, errors = command("list", "video", "--hub")
    assert (code, output) == (0, "")
    assert "no repository" in errors


def test_list_hub_says_when_it_cannot(hub: LoopbackHub, command):
    """Where the Hub is down, the command prints one line and exits with 2."""
    hub.fault("GET /api/models", refuse(500))

    code, _, errors = command("list", "--hub")
    assert code == 2
    assert errors.startswith("zoo: ")
    assert "500" in errors


def test_download_warms_the_cache(hub: LoopbackHub, repo: str, pinned: str, expected: torch.Tensor, command):
    """`zoo download` prints the folder and the size; afterwards nothing is fetched."""
    code, output, _ = command("download", pinned)

    folder = Path(output.splitlines()[0])
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert code == 0
    assert folder.is_relative_to(constants.HF_HUB_CACHE)
    assert f"{size / 1e6:.1f} MB" in output
    hub.close()
    assert same(zoo.load(pinned), expected)


def test_download_of_what_is_bundled_says_where_it_is(command):
    """Nothing is fetched for an entry whose weights are in the package."""
    code, output, _ = command("download", "faces-dcgan")

    assert code == 0
    assert output.splitlines()[0] == str(registry.entries["faces-dcgan"].bundled)


def test_what_nothing_is_known_of_is_not_verified(command, tmp_path: Path):
    """A folder without digests is not "ok", because its files were compared with nothing."""
    (tmp_path / "config.json").write_text("{}")

    code, output, _ = command("verify", tmp_path)

    assert code != 0
    assert "no SHA256SUMS" in output


def test_verify_all_hashes_what_is_bundled_and_cached(pinned: str, command):
    """`zoo verify --all` lists each folder; where bytes changed, it prints BAD and exits with 2."""
    zoo.load(pinned)
    code, output, _ = command("verify", "--all")
    assert code == 0
    bundled = sorted(path.name for path in (Path(zoo.__file__).parent / "weights").iterdir() if path.is_dir())
    assert [line.split()[1] for line in output.splitlines()] == [*bundled, pinned]
    assert all(line.startswith("ok ") for line in output.splitlines())

    (path,) = Path(constants.HF_HUB_CACHE).rglob("snapshots/*/discriminator.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    code, output, errors = command("verify", "--all")
    assert code == 2
    assert "discriminator.safetensors" in next(line for line in output.splitlines() if line.startswith("BAD"))
    assert pinned in errors
    assert command("verify", pinned)[0] == 2
    assert path.read_bytes() != content  # nothing is changed


def test_verify_of_one_name(repo: str, pinned: str, command, small: Path):
    """`zoo verify` takes an entry, a folder or a repository; a name without weights here is an error."""
    assert command("verify", "faces-dcgan")[0] == 0
    assert command("verify", small)[0] == 0
    code, _, errors = command("verify", repo)
    assert code == 2
    assert "no weights" in errors
    zoo.load(pinned)
    assert command("verify", repo)[0] == 0
    code, _, errors = command("verify", f"{repo}@main")  # the cache knows commits
    assert code == 2
    assert f"There are {pinned}" in errors
