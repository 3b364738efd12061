"""The documentation is true: generated parts are up to date, links lead somewhere, and its Python runs."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
sys.path.insert(0, str(ROOT / "docs"))

import update  # noqa: E402 - docs/update.py

MEAN_WORDS = 18
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- (?P<name>[\w -]+) -->\n.*?\n<!-- end (?P=name) -->", re.DOTALL)


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read_prose(path: Path) -> str:
    """Read a page's paragraphs: no code, tables, headings, comments, pictures and generated parts."""
    text = FENCE.sub("", GENERATED.sub("", path.read_text(encoding="utf-8")))
    text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "code", text)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#|:::|---|!!!)", line)]
    return "\n".join(lines)


def test_generated_parts_are_up_to_date():
    """README, index, recipe keys and command line are what `python docs/update.py` writes."""
    assert update.update(check=True) == []


def test_each_marker_is_there_exactly_once():
    """A part whose marker is missing or there twice is an error, and nothing behind it is lost."""
    page = "before\n<!-- x -->\n\nold\n\n<!-- end x -->\nafter"

    assert update.replace_part(page, "x", "new") == "before\n<!-- x -->\n\nnew\n\n<!-- end x -->\nafter"
    for broken in (page.replace("<!-- end x -->", ""), page.replace("<!-- x -->", ""), page + "\n<!-- end x -->"):
        with pytest.raises(update.MarkerError, match="not once"):
            update.replace_part(broken, "x", "new")
    with pytest.raises(update.MarkerError, match="before"):
        update.replace_part("<!-- end x -->\n<!-- x -->\n", "x", "new")


def test_the_first_page_promises_what_there_is():
    """Each page of the navigation is linked from the first page, and the headings that matter are there."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    navigation = re.findall(r":\s*([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2])

    assert set(navigation) == {path.name for path in PAGES[1:]}
    assert {page for page in navigation if page != "index.md"} <= set(re.findall(r"\(([\w-]+\.md)", index))
    for page, heading in (
        ("architectures.md", "# Adding an architecture"),
        ("recipes.md", "## Recipes of other packages"),
        ("recipes.md", "## `[weights]`"),
        ("glossary.md", "# Glossary"),
    ):
        assert f"\n{heading}\n" in "\n" + (ROOT / "docs" / page).read_text(encoding="utf-8"), (page, heading)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_and_pictures_exist(path: Path):
    """Every file that a page links to is there."""
    for target in re.findall(r"\]\(((?!https?:|mailto:)[^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_sentences_are_short(path: Path):
    """The mean sentence of a page has fewer than 18 words."""
    prose = re.sub(r"\n\s*[-*\d.]+\s", ". ", read_prose(path))
    sentences = [s for s in re.split(r"[.!?:](?:\s+|$)|\n\s*\n", prose) if len(s.split()) > 1]

    if sentences:
        assert statistics.mean(len(sentence.split()) for sentence in sentences) < MEAN_WORDS


def list_blocks(path: Path) -> list[str]:
    """List the Python blocks of a page that run; `<!-- not run: REASON -->` above a block leaves it out."""
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"(?P<skip><!-- not run: [^>]+ -->\n)?^```python\n(?P<code>.*?)^```$", text, re.M | re.S)
    return [match["code"] for match in found if not match["skip"]]


@pytest.mark.parametrize("path", [path for path in PAGES if list_blocks(path)], ids=page_id)
def test_python_blocks_run(path: Path, tmp_path: Path):
    """The Python blocks of a page run in order, in one namespace, without network."""
    code = "import torch\ntorch.set_num_threads(1)\n" + "\n".join(list_blocks(path))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]


def test_ci_runs_the_second_command():
    """CI installs and tests as the README says, and checks the generated documentation."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "pip install '.[dev]' && pytest" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install --quiet '.[dev]'" in script
    assert "\npython docs/update.py --check\n" in script
    assert "\npytest\n" in script


def test_every_entry_s_keys_have_a_description():
    """No row of the tables of recipe keys lacks its text."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    empty = re.findall(r"^\| `([\w.]+)` \|[^\n]*\|  \|$", page, re.MULTILINE)

    assert empty == []
