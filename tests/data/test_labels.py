"""The names of classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.data.labels import read_labels
from zoo.errors import InvalidFileError


@pytest.mark.parametrize("label", ["a/" * 5000, ["x"] * 5000, {"a": "b\n" * 5000}])
def test_a_long_name_does_not_fill_the_message(tmp_path: Path, label: object):
    """The error names the file and shows the beginning, on one line."""
    (tmp_path / "labels.json").write_text(json.dumps(["good", label]))

    with pytest.raises(InvalidFileError, match=r"labels\.json: the name of a class cannot be ") as caught:
        read_labels(tmp_path)

    assert len(str(caught.value)) < len(str(tmp_path)) + 200
    assert "\n" not in str(caught.value)
