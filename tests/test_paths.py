"""What Windows has differently: its paths are told from names, and no module is imported that it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import PureWindowsPath

import pytest

import zoo
from zoo.errors import NotFoundError
from zoo.paths import means_path
from zoo.recipe import DataConfig
from zoo.releases.loading import is_local_path

PATHS = [
    *(str(PureWindowsPath(path)) for path in ("C:/Users/me/photos", "runs/a", "//host/share/a")),
    r"..\photos", r"~\photos", "D:photos", "C:/photos", "./a", "../a", "~/a", "/a", ".",
]  # fmt: skip
LACKING = ["resource", "fcntl", "pwd", "grp"]
NAMES = ["faces-dcgan", "org/name", "org/name@main", "synthetic-faces", "hf:org/set", "https://huggingface.co/org/name"]


def test_paths_are_told_from_names():
    assert [text for text in PATHS if not means_path(text)] == []
    assert [text for text in NAMES if means_path(text)] == []


def test_data_may_lie_at_any_path():
    """Every path is a folder of `--data`; names are data sets, and hf: means the Hub."""
    folders = [text for text in PATHS if not text.startswith("~\\")]  # on POSIX, the home of a user of that name
    assert [set(DataConfig.option(text)) for text in folders] == [{"folder"}] * len(folders)
    assert DataConfig.option("synthetic-faces") == {"name": "synthetic-faces"}
    assert DataConfig.option("hf:org/set") == {"hub": "org/set"}


def test_a_path_that_is_not_there_is_no_repository():
    """No path is looked up on the Hub; the error says that there is no such folder."""
    assert all(map(is_local_path, PATHS))
    for text in (r"C:\weights\mine", r"runs\nothing"):
        with pytest.raises(NotFoundError, match="no such folder"):
            zoo.load(text)


def test_nothing_needs_a_module_that_windows_lacks():
    """The command line and all that it uses are imported without them."""
    modules = ["zoo", "zoo.cli.main", "zoo.cost", "zoo.evaluation", "zoo.training.session", "zoo.releases.publishing"]
    code = f"import sys; sys.modules.update(dict.fromkeys({LACKING})); import {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
