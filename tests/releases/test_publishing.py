"""Publishing to a Hub that answers like the real one, and loading from it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.hanging import must_end
from helpers.loopback_hub import Answer, Fault, LoopbackHub, bad_gateway, drop, lose_answer, refuse, sha256
from helpers.releases import METRICS, SMALL, write_model
from huggingface_hub import constants

import zoo
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, UnreachableError, WriteError
from zoo.faces.architectures.dcgan import DCGAN
from zoo.faces.architectures.gan import VanillaGAN
from zoo.io.weights import SUMS, digest, write_sums
from zoo.recipe import load_recipe
from zoo.registry import read_entry, registry

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # from the client's transport


def wipe_cache() -> None:
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DCGAN's weights folder with a card."""
    torch.manual_seed(0)
    folder = write_model(load_recipe("faces-dcgan", SMALL), tmp_path_factory.mktemp("small") / "released")
    (folder / "README.md").write_text("---\nlibrary_name: gan-zoo\ntags:\n- gan\n- faces\n---\n# small\n")
    write_sums(folder)
    return folder


@pytest.fixture
def folder(released: Path, tmp_path: Path) -> Path:
    return shutil.copytree(released, tmp_path / "small")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def published(hub: LoopbackHub, repo: str) -> dict[str, bytes]:
    return {path: content for path, content in hub.repos[repo].files.items() if path != ".gitattributes"}


# --- there and back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names())
def test_published_and_loaded_samples_are_the_same_bit_for_bit(name: str, hub: LoopbackHub, tmp_path: Path):
    """An entry that is published and fetched by another machine samples exactly as before."""
    entry = registry.entries[name]
    folder = entry.bundled if entry.has_weights else write_model(load_recipe(name), tmp_path / "weights")

    commit = zoo.publish(name if entry.has_weights else folder, repo=f"me/{name}")
    wipe_cache()
    loaded = zoo.load(f"me/{name}@{commit.revision}")

    assert torch.equal(loaded.sample(4, seed=7).tensor, zoo.load(folder).sample(4, seed=7).tensor)
    assert published(hub, f"me/{name}") == contents(folder)
    assert commit.sha256 == {
        f"{network}.safetensors": digest(folder / f"{network}.safetensors") for network in loaded.networks
    }
    assert hub.repos[f"me/{name}"].head == commit.revision
    assert commit.url == f"{hub.url}/me/{name}"


def test_assets_are_published_with_the_weights(hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """An architecture's assets, such as a vocabulary, are published, fetched and read with its weights."""
    read: list[str] = []
    monkeypatch.setattr(DCGAN, "ASSETS", ("vocabulary.json",))
    monkeypatch.setattr(DCGAN, "load_assets", lambda self, at: read.append((at / "vocabulary.json").read_text()))
    (folder / "vocabulary.json").write_text('["a", "b"]')
    write_sums(folder)

    zoo.publish(folder, repo="me/texts")
    wipe_cache()
    zoo.load("me/texts")
    assert read == ['["a", "b"]']

    repo = hub.repos["me/texts"]
    repo.commit({path: content for path, content in repo.files.items() if path != "vocabulary.json"})
    with pytest.raises(InvalidFileError, match=r"lacks vocabulary\.json"):
        zoo.load("me/texts")


def test_a_model_publishes_the_weights_that_it_was_loaded_from(hub: LoopbackHub, folder: Path):
    """`model.push_to_hub` does what `zoo.publish` does, also for a generator alone; `from_pretrained` loads it."""
    commit = DCGAN.from_pretrained(folder).push_to_hub("me/small", message="From a model")

    assert published(hub, "me/small") == contents(folder)
    assert zoo.load(folder, discriminator=False).half().push_to_hub("me/small").changed == ()
    loaded = DCGAN.from_pretrained(f"me/small@{commit.revision}")
    assert torch.equal(loaded.sample(2, seed=0).tensor, zoo.load(folder).sample(2, seed=0).tensor)
    with pytest.raises(InvalidFileError, match="weights of DCGAN, not of VanillaGAN"):
        VanillaGAN.from_pretrained("me/small")


def test_a_model_that_is_no_longer_what_was_loaded_is_not_published(hub: LoopbackHub, folder: Path):
    """Its card and its metrics would be those of other weights. A new model has neither."""
    changed = zoo.load(folder)
    next(changed.discriminator.parameters()).data[0] += 1
    for model, told in ((changed, "discriminator of this DCGAN"), (zoo.create("faces-dcgan", width=4), "not loaded")):
        with pytest.raises(InvalidValueError, match=told):
            model.push_to_hub("me/small")

    assert "me/small" not in hub.repos


def test_publishing_twice_changes_nothing(hub: LoopbackHub, folder: Path, command):
    """A second publication uploads nothing, makes no commit and says so."""
    first = zoo.publish(folder, repo="me/small")
    num_commits, num_requests = len(hub.repos["me/small"].commits), len(hub.requests)

    second = zoo.publish(folder, repo="me/small")

    assert second.revision == first.revision
    assert second.changed == ()
    assert len(hub.repos["me/small"].commits) == num_commits
    assert all(request.startswith(("GET ", "HEAD ")) for request in hub.seen[num_requests:])
    assert "nothing to change" in command("publish", folder, "--repo", "me/small")[1]


def test_one_commit_of_what_differs(hub: LoopbackHub, folder: Path):
    """One commit uploads changed files, deletes files that are no longer released, and keeps those of others."""
    for old in ("labels.json", "judge.safetensors"):
        (folder / old).write_text("an older release had this")
    write_sums(folder)
    zoo.publish(folder, repo="me/small")
    repo = hub.repos["me/small"]
    repo.commit({**repo.files, "LICENSE": b"put there by hand"})
    for old in ("labels.json", "judge.safetensors"):
        (folder / old).unlink()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# changed\n")
    write_sums(folder)
    num_commits, num_uploads = len(repo.commits), hub.count("PUT")

    commit = zoo.publish(folder, repo="me/small", message="A better card")

    assert {change.path: change.kind for change in commit.changed} == {
        "README.md": "changed", SUMS: "changed", "labels.json": "gone", "judge.safetensors": "gone",
    }  # fmt: skip
    assert published(hub, "me/small") == {**contents(folder), "LICENSE": b"put there by hand"}
    assert len(repo.commits) == num_commits + 1
    assert repo.messages[-1] == "A better card"
    assert hub.count("PUT") == num_uploads


def list_digests(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(content)}  {name}\n" for name, content in files.items()).encode()


def test_a_repository_of_another_library_loses_nothing(hub: LoopbackHub, folder: Path):
    """A SHA256SUMS that this library did not write says nothing about what may be deleted."""
    theirs = {
        ".gitattributes": b"*.bin filter=lfs",
        "notes.json": b"{}",
        "other.safetensors": b"weights",
        "a.txt": b"a",
    }
    repo = hub.repo("me/small", {**theirs, SUMS: list_digests(theirs)})

    zoo.publish(folder, repo="me/small")

    assert {name: repo.files[name] for name in theirs} == theirs


def test_a_list_is_believed_only_for_files_of_a_release_that_did_not_change(hub: LoopbackHub, folder: Path):
    """In an earlier publication, files with other names or with other bytes than its list says stay."""
    zoo.publish(folder, repo="me/small")
    repo = hub.repos["me/small"]
    stay = {".gitattributes": b"*.bin", ".env.json": b"{}", "notes.md": b"mine", "deep/labels.json": b"[]"}
    changed = {"labels.json": b"[]", "judge.safetensors": b"mine"}
    sums = repo.files[SUMS] + list_digests(stay) + list_digests(dict.fromkeys(changed, b"theirs"))
    repo.commit({**repo.files, **stay, **changed, SUMS: sums})

    commit = zoo.publish(folder, repo="me/small")

    assert {change.path: change.kind for change in commit.changed} == {SUMS: "changed"}
    assert {name: repo.files[name] for name in stay | changed} == stay | changed


def test_only_what_the_release_lists_is_published(hub: LoopbackHub, folder: Path):
    """A file that is not listed in SHA256SUMS is not published; a folder without a list is refused."""
    (folder / ".env").write_text("SECRET=1")

    zoo.publish(folder, repo="me/small")

    assert ".env" not in hub.repos["me/small"].files
    (folder / SUMS).unlink()
    with pytest.raises(InvalidFileError, match=SUMS):
        zoo.publish(folder, repo="me/small")


def test_damaged_weights_are_not_published(hub: LoopbackHub, folder: Path):
    """Files that differ from their digests are not published."""
    (folder / "generator.safetensors").write_bytes(b"damaged")

    with pytest.raises(InvalidFileError, match="sha256 differs"):
        zoo.publish(folder, repo="me/small")
    assert hub.requests == []


def test_dry_run_shows_each_file_and_moves_nothing(hub: LoopbackHub, folder: Path, command):
    """`--dry-run` names what would change, file by file, with and without a repository there."""
    code, output, _ = command("publish", folder, "--repo", "me/small", "--dry-run")

    assert code == 0
    assert all(f"  {name}\n" in output for name in contents(folder))
    assert "which would be made" in output
    assert "me/small" not in hub.repos

    zoo.publish(folder, repo="me/small")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    write_sums(folder)
    before = hub.repos["me/small"].head
    output = command("publish", folder, "--repo", "me/small", "--dry-run")[1]

    assert "changed " in output
    assert "2 of 5 files" in output
    assert hub.repos["me/small"].head == before
    assert not [request for request in hub.seen if request.startswith("PUT")][1 * 2 :]


def test_all_entries_go_to_one_organization(hub: LoopbackHub, command):
    """`--all --org` publishes each entry that has weights under its own name; `--dry-run` shows it first."""
    names = [name for name, entry in registry.entries.items() if entry.has_weights]

    _, output, _ = command("publish", "--all", "--org", "gan-zoo", "--dry-run")
    assert all(f"{hub.url}/gan-zoo/{name}, which would be made" in output for name in names)
    assert hub.repos == {}

    code, output, _ = command("publish", "--all", "--org", "gan-zoo", "--tag", "v1")
    assert code == 0
    assert sorted(hub.repos) == [f"gan-zoo/{name}" for name in names]
    assert all(repo.tags == {"v1": repo.head} for repo in hub.repos.values())


def test_a_run_is_released_and_published_in_one_go(hub: LoopbackHub, run: Path, command, tmp_path: Path):
    """`zoo publish RUN` writes card, samples and digests; the result can be sampled by its repository's name."""
    (run / "metrics.json").write_text(json.dumps(METRICS))

    code, output, _ = command("publish", run, "--repo", "me/my-faces")
    assert code == 0
    assert f'revision = "{hub.repos["me/my-faces"].head}"' in output
    assert {"generator.safetensors", "recipe.toml", "samples/grid.png", SUMS} <= set(hub.repos["me/my-faces"].files)
    assert b'zoo.load("me/my-faces")' in hub.repos["me/my-faces"].files["README.md"]
    assert "nothing to change" in command("publish", run, "--repo", "me/my-faces")[1]

    out = tmp_path / "mine.png"
    code, output, _ = command("sample", "me/my-faces", "-n", "16", "--seed", "0", "--out", out)
    assert code == 0
    assert out.is_file()
    assert torch.equal(zoo.load("me/my-faces").sample(2, seed=0).latents, zoo.load(run).sample(2, seed=0).latents)


def test_a_run_without_figures_is_published_only_when_told(hub: LoopbackHub, run: Path, command):
    """Weights without metrics are refused, except with `--unmeasured`, which keeps metrics that exist."""
    code, _, errors = command("publish", run, "--repo", "me/my-faces")
    assert code == 2
    assert "zoo evaluate" in errors
    assert hub.repos == {}

    assert command("publish", run, "--repo", "me/my-faces", "--unmeasured")[0] == 0
    assert b"Not measured." in hub.repos["me/my-faces"].files["README.md"]

    (run / "metrics.json").write_text(json.dumps(METRICS))
    assert command("publish", run, "--repo", "me/my-faces", "--unmeasured")[0] == 0
    assert b"| frechet_distance | 1.5 |" in hub.repos["me/my-faces"].files["README.md"]


def test_pin_writes_the_recipe_so_that_the_entry_loads_from_the_hub(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """`pin` writes repository, commit and digests into the recipe, so that an entry that is not bundled loads."""
    entry = registry.entries["faces-dcgan"]
    own = replace(entry, recipe=shutil.copy(entry.recipe, tmp_path / "dcgan.toml"))
    monkeypatch.setitem(registry.entries, "faces-dcgan", own)
    expected = zoo.load("faces-dcgan").sample(2, seed=0).tensor

    commit = zoo.publish("faces-dcgan", repo="gan-zoo/faces-dcgan", pin=True)
    pinned = read_entry(own.recipe)

    assert (pinned.weights.repo, pinned.weights.revision) == ("gan-zoo/faces-dcgan", commit.revision)
    assert pinned.weights.sha256 == commit.sha256 == entry.weights.sha256
    assert "# " in own.recipe.read_text()  # its comments stay

    monkeypatch.setattr(sys.modules["zoo.registry"], "PACKAGE", tmp_path / "a wheel without weights")
    monkeypatch.setitem(registry.entries, "faces-dcgan", pinned)
    assert not pinned.has_weights
    assert torch.equal(zoo.load("faces-dcgan").sample(2, seed=0).tensor, expected)

    hub.close()
    assert torch.equal(zoo.load("faces-dcgan").sample(2, seed=0).tensor, expected)


def test_only_an_entry_can_be_pinned(hub: LoopbackHub, folder: Path):
    """A folder has no recipe to pin a revision in."""
    with pytest.raises(InvalidValueError, match="only an entry"):
        zoo.publish(folder, repo="me/small", pin=True)


def test_a_new_repository_can_be_private(hub: LoopbackHub, folder: Path):
    """`private` holds for a new repository, and is refused where a public one is there."""
    zoo.publish(folder, repo="me/small", private=True)
    assert hub.repos["me/small"].private
    assert zoo.load("me/small").sample(1, seed=0).tensor.shape == (1, 3, 64, 64)

    hub.repo("me/open")
    with pytest.raises(InvalidValueError, match="public"):
        zoo.publish(folder, repo="me/open", private=True)


def test_a_tag_names_one_commit_for_ever(hub: LoopbackHub, folder: Path):
    """A tag names the published commit; one that names another commit is refused before any upload."""
    commit = zoo.publish(folder, repo="me/small", tag="v1")
    assert hub.repos["me/small"].tags == {"v1": commit.revision}
    assert zoo.publish(folder, repo="me/small", tag="v1").revision == commit.revision

    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    write_sums(folder)
    with pytest.raises(InvalidValueError, match="tag v1 already"):
        zoo.publish(folder, repo="me/small", tag="v1")
    assert hub.repos["me/small"].head == commit.revision


def test_every_request_says_which_library_asks(hub: LoopbackHub, folder: Path):
    """Each request to the Hub carries library_name and library_version, and the token only goes to the Hub."""
    zoo.publish(folder, repo="me/small", tag="v1")
    zoo.load("me/small")

    for request in hub.requests:
        if not request.path.startswith(("/cdn/", "/upload/")):
            assert request.headers["user-agent"].startswith(f"gan-zoo/{zoo.__version__}; "), request
            assert request.headers["authorization"] == f"Bearer {hub.token}"
        else:
            assert "authorization" not in request.headers


# --- faults ------------------------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_published(hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a token the error says where to get one. A wrong token has an error of its own."""
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WriteError, match=r"hf auth login.*HF_TOKEN"):
        zoo.publish(folder, repo="me/small")

    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    with pytest.raises(WriteError, match="token is not valid"):
        zoo.publish(folder, repo="me/small")


def test_without_the_right_to_write_nothing_is_published(
    hub: LoopbackHub, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """For another user's name, or a token with the role read, the error says which right is missing."""
    with pytest.raises(WriteError, match=r"403.*right to write to somebody"):
        zoo.publish(folder, repo="somebody/small")

    monkeypatch.setenv("HF_TOKEN", hub.reader)
    with pytest.raises(WriteError, match="role write"):
        zoo.publish(folder, repo="me/small")
    hub.repo("me/small")
    with pytest.raises(WriteError, match="role write"):
        zoo.publish(folder, repo="me/small")


@pytest.mark.parametrize("kind", ["dataset", "space"])
def test_a_repository_of_another_type_is_named(hub: LoopbackHub, folder: Path, kind: str):
    """A data set or space with that name is neither overwritten nor loaded."""
    hub.repo("me/small", kind=kind)

    with pytest.raises(WriteError, match=f"is a {kind}"):
        zoo.publish(folder, repo="me/small")
    with pytest.raises(NotFoundError, match=f"is a {kind}"):
        zoo.load("me/small")


@pytest.mark.parametrize("repo", ["small", "me/sm all", "me/a--b", "me/x.git", "a/b/c", "me/small@main", "me/api"])
def test_names_that_the_hub_does_not_allow(hub: LoopbackHub, folder: Path, repo: str):
    """A wrong name is refused with the reason, by the client or by the Hub."""
    with pytest.raises(InvalidValueError):
        zoo.publish(folder, repo=repo)
    assert hub.repos == {}


STEPS = [
    "GET /api/models/me/small$", "POST /api/repos/create", "GET /api/models/me/small/tree", "POST /api/validate-yaml",
    "POST .*/preupload/", "POST .*/objects/batch", "PUT /upload/", "POST .*/objects/verify", "POST .*/commit/",
    "GET .*/refs", "POST .*/tag/",
]  # fmt: skip


@pytest.mark.parametrize("fault", [bad_gateway(), refuse(429, retry_after="0"), drop()], ids=["502", "429", "drop"])
@pytest.mark.parametrize("step", STEPS)
def test_a_hub_that_stumbles_is_asked_again(hub: LoopbackHub, folder: Path, step: str, fault: Fault):
    """Any step of a publication may fail twice, and it is published all the same, once."""
    hub.repo("me/small")
    hub.fault(step, fault, times=2)

    commit = zoo.publish(folder, repo="me/small", tag="v1")

    repo = hub.repos["me/small"]
    assert published(hub, "me/small") == contents(folder)
    assert repo.tags == {"v1": commit.revision}
    assert len(repo.commits) == 2  # the one that created the repository, and this one


@pytest.mark.parametrize("fault", [refuse(500), drop()], ids=["500", "drop"])
@pytest.mark.parametrize("step", [step for step in STEPS if "verify" not in step])  # verification of an upload may fail
def test_a_hub_that_is_down_is_one_clear_error(hub: LoopbackHub, folder: Path, step: str, fault: Fault):
    """A lasting fault is one error that names the repository; publishing again after it works."""
    hub.repo("me/small")
    hub.fault(step, fault)

    with must_end(), pytest.raises(UnreachableError, match="me/small"):
        zoo.publish(folder, repo="me/small", tag="v1")

    hub.heal()
    commit = zoo.publish(folder, repo="me/small", tag="v1")
    assert published(hub, "me/small") == contents(folder)
    assert hub.repos["me/small"].tags == {"v1": commit.revision}


@pytest.mark.parametrize("header", [{"retry_after": "3600"}, {"ratelimit": '"api";r=0;t=3600'}], ids=str)
def test_a_rate_limit_that_takes_long_is_said_at_once(hub: LoopbackHub, folder: Path, header: dict[str, str]):
    """A server that asks to wait an hour is not waited for; the error states the time."""
    hub.fault("POST .*/commit/", refuse(429, **header))

    with pytest.raises(UnreachableError, match=r"429.*3600 s"):
        zoo.publish(folder, repo="me/small")


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub: LoopbackHub, folder: Path):
    """Where the commit arrived but its answer did not, publishing sees that it is done."""
    hub.fault("POST .*/commit/", lose_answer(), times=1)

    commit = zoo.publish(folder, repo="me/small")

    assert commit.revision == hub.repos["me/small"].head
    assert len(commit.changed) == len(contents(folder))
    assert len(hub.repos["me/small"].commits) == 2


def test_a_branch_that_moved_meanwhile_is_compared_again(hub: LoopbackHub, folder: Path):
    """A commit of somebody else between comparing and committing is kept, and ours follows it."""
    repo = hub.repo("me/small")

    def somebody_else_commits(answer: Callable[[], Answer]) -> Answer:
        repo.commit({**repo.files, "LICENSE": b"theirs"})
        return answer()

    hub.fault("POST .*/commit/", somebody_else_commits, times=1)

    zoo.publish(folder, repo="me/small")

    assert published(hub, "me/small") == {**contents(folder), "LICENSE": b"theirs"}


def test_a_connection_lost_half_way_is_taken_up_again(hub: LoopbackHub, folder: Path):
    """After an interrupted upload, publishing again sends only the missing files."""
    hub.fault("PUT /upload/.*", drop())
    with pytest.raises(UnreachableError):
        zoo.publish(folder, repo="me/small")
    hub.heal()
    hub.stored[digest(folder / "generator.safetensors")] = (folder / "generator.safetensors").read_bytes()
    uploads = hub.count("PUT")

    zoo.publish(folder, repo="me/small")

    assert hub.count("PUT") == uploads + 1
    assert published(hub, "me/small") == contents(folder)
