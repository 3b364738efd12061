from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from zoo.cli import markdown_table
from zoo.recipe import architecture_class
from zoo.registry import registry

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def text() -> str:
    return README.read_text(encoding="utf-8")


def test_table_of_entries_is_the_registry_s(text: str):
    """The README's table is what `zoo list --markdown` prints."""
    shown = text.partition("<!-- zoo list --markdown -->\n")[2].partition("\n<!-- end -->")[0]

    assert shown == markdown_table(registry.names())


def test_links_and_pictures_exist(text: str):
    """Every file that the README links to is there."""
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", text):
        assert (README.parent / target).is_file(), target


def test_ci_runs_the_second_command(text: str):
    """CI installs and tests as the README says."""
    script = (README.parent / ".ci" / "run").read_text(encoding="utf-8")

    assert "pip install '.[dev]' && pytest" in text
    assert "pip install --quiet '.[dev]'" in script
    assert "\npytest\n" in script


def test_tables_of_recipe_keys_are_the_dataclasses():
    """The tables in docs/recipes.md are what docs/recipe_table.py makes of the code."""
    subprocess.run([sys.executable, README.parent / "docs" / "recipe_table.py", "--check"], check=True)


@pytest.mark.parametrize("name", registry.names())
def test_every_architecture_s_keys_have_a_table(name: str):
    """What a recipe may set in [model] and [train] is in docs/recipes.md, and its entry on the first page."""
    gan = architecture_class(registry.entries[name].architecture)
    script = (README.parent / "docs" / "recipe_table.py").read_text(encoding="utf-8")

    def keys(table: type) -> list[tuple[str, object]]:
        return [(field.name, field.default) for field in fields(table)]

    for table in (gan.Config, gan.TrainConfig):  # or what it refines without another key or default
        assert any(keys(base) == keys(table) for base in table.__mro__[:-1] if f", {base.__name__})" in script)
    assert f"`{name}`" in (README.parent / "docs" / "index.md").read_text(encoding="utf-8")
