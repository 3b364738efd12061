"""Stores: building, interruptions, damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.blobs import Blobs, Counted

from zoo.data import Store, build_store
from zoo.data import store as stores
from zoo.data.own import make_leave_out
from zoo.errors import InvalidFileError, WriteError, ZooError


class Stopped(Exception):
    pass


@dataclass
class Interrupted(Blobs):
    """A source that raises, as if the power failed, when it should render the sample `stop_at`."""

    stop_at: int = 70

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
        if self.stop_at in indices:
            raise Stopped
        return super().render(indices)


def test_a_store_holds_what_its_source_renders(store: Store):
    """Samples, split and facts are as the source gives them, readable with NumPy alone."""
    source = Blobs()

    assert np.array_equal(np.load(store.folder / "samples.npy"), source.render(range(source.count))[0])
    assert len(store.indices("train")) == 72
    assert len(store.indices("test")) == 24
    assert store.about["license"] == "CC0-1.0"
    assert len(store.fingerprint) == 64


def test_an_interrupted_build_is_resumed_and_gives_the_same_bytes(store: Store, tmp_path: Path):
    """What was rendered before an interruption is kept, and the result is that of an uninterrupted build."""
    with pytest.raises(Stopped):
        build_store(Interrupted(), tmp_path / "again")
    assert not (tmp_path / "again").exists()

    seen: list[tuple[int, int]] = []
    again = build_store(Blobs(), tmp_path / "again", progress=lambda done, total: seen.append((done, total)))

    assert seen == [(64, 96), (96, 96)]
    assert again.fingerprint == store.fingerprint


def test_a_build_that_was_stopped_at_its_end_is_complete(store: Store, tmp_path: Path):
    """A build that was killed before its folder was renamed renders nothing again and has the same fingerprint."""
    partial = shutil.copytree(store.folder, tmp_path / "again.partial")
    (partial / "done.npy").write_bytes(b"")

    assert build_store(Interrupted(stop_at=0), tmp_path / "again").fingerprint == store.fingerprint
    assert not (tmp_path / "again" / "done.npy").exists()


def test_temporary_files_of_a_killed_build_are_no_part_of_the_data(store: Store, tmp_path: Path):
    """A file that was being written when the power failed does not change the fingerprint of the resumed build."""
    (tmp_path / "again.partial").mkdir()
    (tmp_path / "again.partial" / ".store-x1y2.json").write_text('{"name": "bl')

    assert build_store(Blobs(), tmp_path / "again").fingerprint == store.fingerprint


def test_the_number_of_workers_changes_nothing(store: Store, tmp_path: Path):
    """Two processes build the same bytes as one."""
    assert build_store(Blobs(), tmp_path / "two", workers=2).fingerprint == store.fingerprint


def test_a_worker_is_given_its_source_once(tmp_path: Path):
    """A worker receives its source once for all chunks, so a long video stays open between them."""
    log = tmp_path / "log"
    build_store(Counted(count=1024, size=4, log=str(log)), tmp_path / "s", workers=2)

    assert log.read_text().count("arrived") <= 2


def test_a_built_store_is_opened_not_built_again(store: Store):
    """Building where a store exists renders nothing."""
    assert build_store(Interrupted(stop_at=0), store.folder).fingerprint == store.fingerprint


def test_remains_of_another_size_are_not_mixed_in(tmp_path: Path):
    """An interrupted build of another shape is an error that names its folder."""
    with pytest.raises(Stopped):
        build_store(Interrupted(), tmp_path / "s")

    with pytest.raises(ZooError, match="delete the folder"):
        build_store(Blobs(size=32), tmp_path / "s")


def test_a_full_disk_is_reported_before_any_work(tmp_path: Path):
    """A data set larger than the disk is refused with both sizes."""
    with pytest.raises(WriteError, match="MB are free"):
        build_store(Blobs(count=10**13), tmp_path / "huge")


@pytest.mark.parametrize("damage", ["cut", "missing", "empty", "no fingerprint", "mismatch"])
def test_damaged_stores_are_refused(store: Store, damage: str):
    """A cut or missing file, or counts that disagree, are errors that advise to build again."""
    samples = store.folder / "samples.npy"
    if damage == "cut":
        samples.write_bytes(samples.read_bytes()[:-100])
    elif damage == "missing":
        samples.unlink()
    elif damage == "empty":
        (store.folder / "split.npy").write_bytes(b"")
    elif damage == "no fingerprint":
        about = json.loads((store.folder / "store.json").read_text())
        del about["fingerprint"]
        (store.folder / "store.json").write_text(json.dumps(about))
    else:
        about = json.loads((store.folder / "store.json").read_text())
        (store.folder / "store.json").write_text(json.dumps({**about, "count": 95}))

    with pytest.raises(InvalidFileError, match="build it again"):
        Store.open(store.folder)


def test_mean_is_that_of_the_training_split(store: Store):
    """The mean image is over the training split, in [0, 1]."""
    expected = store.samples[store.indices("train")].astype(np.float64).mean(0) / 255

    np.testing.assert_allclose(store.mean(), expected, atol=1e-6)


def test_a_store_may_hold_other_integers_and_assets(tmp_path: Path):
    """Tokens above 255 keep their values. The source's assets are beside them and part of the fingerprint."""

    @dataclass
    class Tokens(Blobs):
        shape = (20,)

        def render(self, indices: Sequence[int]) -> tuple[np.ndarray, None]:
            return np.stack([np.full(20, 300 + i, dtype=np.uint16) for i in indices]), None

    wide = np.dtype(np.uint16)
    built = build_store(Tokens(dtype=wide, assets={"tokenizer.json": "{}"}), tmp_path / "tokens")
    other = build_store(Tokens(dtype=wide, assets={"tokenizer.json": "[]"}), tmp_path / "others")

    assert built.samples.dtype == np.uint16
    assert built.samples[-1, 0] == 395
    assert (built.folder / "tokenizer.json").read_text() == "{}"
    assert built.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", ["samples.npy", "split.npy"])
def test_a_store_whose_files_changed_is_refused(store: Store, name: str):
    """A changed sample or split is not trained on in silence: the fingerprint is computed of what is there."""
    array = np.load(store.folder / name)
    array.reshape(-1)[5] ^= 1
    np.save(store.folder / name, array)

    with pytest.raises(InvalidFileError, match="not those that were built"):
        Store.open(store.folder)


def test_the_fingerprint_is_computed_again_only_where_a_file_may_have_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """A store is hashed once after it was built or copied, and again when a file has another size or time."""
    seen = []
    compute = stores._compute_fingerprint
    monkeypatch.setattr(stores, "_compute_fingerprint", lambda folder: seen.append(folder) or compute(folder))

    Store.open(store.folder)
    assert len(seen) == 0
    os.utime(store.folder / "samples.npy", ns=(0, 0))
    for _ in range(2):
        assert Store.open(store.folder).fingerprint == store.fingerprint
    assert len(seen) == 1


BUILD = """
import sys, time
from pathlib import Path
from helpers.blobs import Blobs
from zoo.data import build_store

class Slow(Blobs):
    def render(self, indices):
        Path(sys.argv[2]).touch()
        time.sleep(0.3)
        return super().render(indices)

print(build_store(Slow(), Path(sys.argv[1])).fingerprint)
"""


def test_three_processes_build_one_store(store: Store, tmp_path: Path):
    """One builds it, and the others wait and open it; where the first is killed, one of the others goes on."""
    started = [tmp_path / f"started-{i}" for i in range(3)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])])
    processes = []
    for i in range(3):
        processes.append(
            subprocess.Popen(
                [sys.executable, "-W", "always", "-c", BUILD, tmp_path / "new", started[i]],
                env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        while i == 0 and not started[0].exists():
            time.sleep(0.01)
    processes[0].kill()
    results = [process.communicate(timeout=120) for process in processes]

    assert [out.strip() for out, _ in results] == ["", store.fingerprint, store.fingerprint]
    assert sum(path.exists() for path in started) == 2


@dataclass
class Damaged(Blobs):
    """A source of files, some of which cannot be read."""

    damaged: tuple[int, ...] = (0, 5, 63, 64, 95)
    numbers: Sequence[int] = tuple(range(96))
    stop_at: int = -1

    def __post_init__(self) -> None:
        self.count = len(self.numbers)

    def render(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        chosen = [self.numbers[i] for i in indices]
        if self.stop_at in chosen:
            raise Stopped
        for number in chosen:
            if number in self.damaged:
                raise InvalidFileError(f"{number}: broken")
        return super().render(chosen)

    def split(self) -> np.ndarray:
        return np.array([number % 4 == 3 for number in self.numbers], dtype=np.uint8)

    def select(self, indices: Sequence[int]) -> Damaged:
        return replace(self, numbers=[self.numbers[i] for i in indices])


@pytest.mark.parametrize("workers", [1, 2])
def test_samples_that_cannot_be_read_are_left_out(tmp_path: Path, workers: int):
    """The bytes are those of the others alone, and one line says how many there are, and why."""
    good = [i for i in range(96) if i not in Damaged().damaged]
    expected = build_store(Damaged(numbers=good), tmp_path / "good")
    lines: list[str] = []

    found = build_store(Damaged(), tmp_path / "found", workers=workers, leave_out=make_leave_out(lines.append, "files"))

    assert found.fingerprint == expected.fingerprint
    assert found.about["count"] == 91
    assert lines == ["5 of 96 files are left out: 0: broken; 5: broken; 63: broken; 64: broken; 95: broken"]
    assert not list(found.folder.glob("*unreadable*"))


@pytest.mark.parametrize("function", ["_keep_rows", "_compute_fingerprint"])
def test_a_build_that_is_stopped_while_samples_are_left_out_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
):
    """Before the readable samples are kept, or after: nothing is read again, and the bytes are the same."""
    leave_out = make_leave_out(lambda line: None, "files")
    expected = build_store(Damaged(), tmp_path / "whole", leave_out=leave_out)

    def stop(*args: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(stores, function, stop)
        with pytest.raises(Stopped):
            build_store(Damaged(), tmp_path / "stopped", leave_out=leave_out)
    again = build_store(Damaged(stop_at=1), tmp_path / "stopped", leave_out=leave_out)
    assert again.fingerprint == expected.fingerprint


def test_what_cannot_be_read_is_remembered_by_an_interrupted_build(tmp_path: Path):
    """The files of the chunks that are done are not read again to find out."""
    lines: list[str] = []
    leave_out = make_leave_out(lines.append, "files")
    with pytest.raises(Stopped):
        build_store(Damaged(stop_at=70), tmp_path / "found", leave_out=leave_out)

    found = build_store(Damaged(stop_at=1), tmp_path / "found", leave_out=leave_out)
    assert found.fingerprint == build_store(Damaged(), tmp_path / "whole", leave_out=leave_out).fingerprint
    assert lines[0].startswith("5 of 96 files are left out: 0: broken")


def test_a_sample_of_this_library_that_cannot_be_read_is_an_error(tmp_path: Path):
    """Only a user's own files are left out."""
    with pytest.raises(InvalidFileError, match="0: broken"):
        build_store(Damaged(), tmp_path / "found")
