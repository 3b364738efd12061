from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import WriteError
from zoo.io.atomic import check_writable, replace_folder


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path):
    """After an error the old one is there, and nothing else; a new one does not mix with it."""
    place = tmp_path / "below" / "folder"
    with replace_folder(place) as new:
        (new / "a").write_text("1")

    def fail() -> None:
        with replace_folder(place) as new:
            (new / "a").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (place / "a").read_text() == "1"

    with replace_folder(place) as new:
        (new / "b").write_text("2")

    assert [path.name for path in place.iterdir()] == ["b"]
    assert [path.name for path in place.parent.iterdir()] == ["folder"]
    assert place.stat().st_mode & 0o777 == place.parent.stat().st_mode & 0o777


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path):
    """The error names what was asked for."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/x: cannot write: "), replace_folder(tmp_path / "file/x"):
        pass
    with pytest.raises(WriteError, match=r"file/x: cannot write here: Not a directory"):
        check_writable(tmp_path / "file" / "x")


def test_asking_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path: Path):
    """Neither that folder, nor those above it that were not there, nor a file in one that was."""
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)

    assert list(tmp_path.iterdir()) == []
