"""The documentation is true: generated parts are up to date, links lead somewhere, and its Python runs."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LESSONS = sorted((DOCS / "course").glob("*.md"))
TRANSLATIONS = sorted((DOCS / "course" / "zh").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *LESSONS]
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
    navigation = re.findall(
        r":\s*([\w/-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    )

    assert set(navigation) == {path.relative_to(DOCS).as_posix() for path in [*PAGES[1:], *TRANSLATIONS]}
    assert {page for page in navigation if page != "index.md"} <= set(re.findall(r"\(([\w/-]+\.md)", index))
    for page, heading in (
        ("architectures.md", "# Adding an architecture"),
        ("recipes.md", "## Recipes of other packages"),
        ("recipes.md", "## `[weights]`"),
        ("glossary.md", "# Glossary"),
    ):
        assert f"\n{heading}\n" in "\n" + (ROOT / "docs" / page).read_text(encoding="utf-8"), (page, heading)


@pytest.mark.parametrize("path", [*PAGES, *TRANSLATIONS], ids=page_id)
def test_links_and_pictures_exist(path: Path):
    """Every file that a page links to is there."""
    for target in re.findall(r"\]\(((?!https?:|mailto:)[^)#\s]+)", FENCE.sub("", path.read_text(encoding="utf-8"))):
        assert (path.parent / target).exists(), target
    for source in re.findall(r'<img src="([^"]+)"', path.read_text(encoding="utf-8")):
        assert (path.parent / source).exists(), source


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


@pytest.mark.parametrize("path", [path for path in PAGES if list_blocks(path) and path not in LESSONS], ids=page_id)
def test_python_blocks_run(path: Path, tmp_path: Path):
    """The Python blocks of a page run in order, in one namespace, without network."""
    code = "import torch\ntorch.set_num_threads(1)\n" + "\n".join(list_blocks(path))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
REL_TOLERANCE = 0.2  # other processors round otherwise, and a training of a GAN makes much of it
ABS_TOLERANCE = 0.05  # for numbers near 0; a whole number may be off by one
BREAK = "\x1e"  # printed between two blocks


def agrees(printed: str, said: str) -> bool:
    """Tell whether two texts have the same words, and the same numbers to a tolerance."""
    if NUMBER.sub("#", printed).split() != NUMBER.sub("#", said).split():
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(said), strict=True)
    return all(
        float(ours) == pytest.approx(float(theirs), rel=REL_TOLERANCE, abs=ABS_TOLERANCE if "." in theirs else 1)
        for ours, theirs in pairs
    )


def list_outputs(path: Path) -> list[tuple[str, str | None]]:
    """List the Python blocks of a lesson, each with the block of text behind it, which is what it prints."""
    fences = re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)
    following = [*fences[1:], ("", "")]
    return [
        (code, output if kind == "text" else None)
        for (language, code), (kind, output) in zip(fences, following, strict=True)
        if language == "python"
    ]


@pytest.mark.parametrize("path", LESSONS, ids=page_id)
def test_a_lesson_s_code_prints_what_its_page_says(path: Path, tmp_path: Path):
    """Each block of a lesson prints the text below it, in a folder with the pictures of the course."""
    for picture in path.parent.glob("*.png"):
        shutil.copy(picture, tmp_path)
    blocks = list_outputs(path)
    code = f"\nprint({BREAK!r})\n".join(code for code, _ in blocks)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    for printed, (source, said) in zip(done.stdout.split(BREAK), blocks, strict=True):
        if said is None:
            assert not printed.strip(), f"prints something that the page does not say:\n{source}"
        else:
            assert agrees(printed, said), f"the page says\n{said}\nand the code prints\n{printed}"


def test_outputs_agree_to_a_tolerance_in_numbers_alone():
    """Other words, another count of numbers, and other sizes are no agreement."""
    assert agrees("modes 7 of 8   share 0.41", "modes 8 of 8 share 0.4")
    for other in ("modes 5 of 8 share 0.4", "modes 8 of 8 share 0.6", "modes 8 of 8", "points 8 of 8 share 0.4"):
        assert not agrees("modes 8 of 8 share 0.4", other)


@pytest.mark.parametrize("path", LESSONS, ids=page_id)
def test_a_lesson_has_its_parts(path: Path):
    """A picture, what the reader should see, three exercises with folded answers, and one thing to break."""
    text = path.read_text(encoding="utf-8")

    assert "**What you should see" in text
    assert re.search(r"!\[[^\]]+\]\([\w-]+\.png\)", text)
    assert [f"**{number}.**" in text for number in (1, 2, 3)] == [True] * 3
    assert text.count("<details markdown>") == text.count("</details>") == 3
    assert "## One thing to break" in text


def list_wrong_words() -> list[str]:
    """List the words that the glossary marks as wrong in Chinese."""
    table = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("| English | 中文 | not |")[2]
    columns = [row.strip("|").split("|")[-1] for row in table.splitlines() if row.startswith("| ")]
    return [word.strip() for column in columns for word in column.split(",") if word.strip()]


def test_each_lesson_has_a_translation():
    """The Chinese course has the pages of the English one."""
    assert LESSONS
    assert [path.name for path in TRANSLATIONS] == [path.name for path in LESSONS]


@pytest.mark.parametrize("path", TRANSLATIONS, ids=page_id)
def test_a_translation_has_the_code_the_headings_and_the_words_of_the_glossary(path: Path):
    """Code blocks are the English page's, byte by byte; headings are as many; no word is a wrong one."""
    english, chinese = ((folder / path.name).read_text(encoding="utf-8") for folder in (DOCS / "course", path.parent))
    levels = [re.findall(r"^#+", FENCE.sub("", text), re.MULTILINE) for text in (english, chinese)]
    wrong = list_wrong_words()

    assert FENCE.findall(chinese) == FENCE.findall(english)
    assert levels[0] == levels[1]
    assert {"鉴别器", "噪音", "游戏"} <= set(wrong)
    assert [word for word in wrong if word in chinese] == []
    assert re.findall(r"!\[[^\]]*\]\(\.\./([^)]*)\)", chinese) == re.findall(r"!\[[^\]]*\]\(([^)]*)\)", english)


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
