"""The documentation is true: generated parts are up to date, links lead somewhere, and its Python runs."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import warnings
from fnmatch import fnmatch
from pathlib import Path

import pytest
from helpers.fresh import run_code

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHINESE_DOCS = ROOT / "docs_zh"
LESSONS = sorted((DOCS / "course").glob("[0-9]*.md"))
TRANSLATIONS = [ROOT / "README.zh.md", *sorted(CHINESE_DOCS.rglob("*.md"))]
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "course").glob("*.md"))]
SITE = "https://gan-zoo.github.io/gan-zoo/"
sys.path.insert(0, str(ROOT / "docs"))

import update  # noqa: E402 - docs/update.py

MEAN_WORDS = 18
MEDIA = {".png", ".webp", ".mp3", ".mp4", ".gif", ".jpg", ".svg", ".wav", ".flac"}
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

    for old in (page, page.replace("\nold\n\n", "")):
        assert update.replace_part(old, "x", "new") == "before\n<!-- x -->\n\nnew\n\n<!-- end x -->\nafter"
    for broken in (page.replace("<!-- end x -->", ""), page.replace("<!-- x -->", ""), page + "\n<!-- end x -->"):
        with pytest.raises(update.MarkerError, match="not once"):
            update.replace_part(broken, "x", "new")
    with pytest.raises(update.MarkerError, match="before"):
        update.replace_part("<!-- end x -->\n<!-- x -->\n", "x", "new")


def test_the_first_page_promises_what_there_is():
    """Each page of the navigation is linked from the first page, and the headings that matter are there."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    english, chinese = (
        re.findall(r":\s*([\w/-]+\.md)", (ROOT / name).read_text(encoding="utf-8").partition("nav:")[2])
        for name in ("mkdocs.yml", "mkdocs.zh.yml")
    )

    assert set(english) == {path.relative_to(DOCS).as_posix() for path in PAGES[1:]}
    assert set(chinese) == {path.relative_to(CHINESE_DOCS).as_posix() for path in TRANSLATIONS[1:]}
    assert {page for page in english if page != "index.md"} <= set(re.findall(r"\(([\w/-]+\.md)", index))
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
def test_python_blocks_run(path: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    """The Python blocks of a page run in order, in one namespace, without network."""
    code = "import torch\ntorch.set_num_threads(1)\n" + "\n".join(list_blocks(path))
    exit_code, _, errors = run_code(code, tmp_path, tmp_path_factory.mktemp("out"))

    assert exit_code == 0, errors[-2000:]


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
def test_a_lesson_s_code_prints_what_its_page_says(
    path: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    """Each block of a lesson prints the text below it, in a folder with the pictures and the log of the course."""
    for file in [*path.parent.glob("*.png"), *path.parent.glob("*.jsonl")]:
        shutil.copy(file, tmp_path)
    blocks = list_outputs(path)
    code = f"\nprint({BREAK!r})\n".join(code for code, _ in blocks)
    exit_code, output, errors = run_code(code, tmp_path, tmp_path_factory.mktemp("out"))

    assert exit_code == 0, errors[-2000:]
    for printed, (source, said) in zip(output.split(BREAK), blocks, strict=True):
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


def find_original(path: Path) -> Path:
    """Find the English page of a Chinese one."""
    if path.parent == ROOT:
        return ROOT / path.name.replace(".zh.md", ".md")
    return DOCS / path.relative_to(CHINESE_DOCS)


def test_each_lesson_has_a_translation():
    """The Chinese site has the whole course, and the pages that a newcomer enters by."""
    pages = {find_original(path).relative_to(ROOT).as_posix() for path in TRANSLATIONS}
    entries = ["README.md", *(f"docs/{name}.md" for name in ("index", "load", "train", "data", "course/index"))]

    assert LESSONS
    assert pages == {*entries, *(path.relative_to(ROOT).as_posix() for path in LESSONS)}


@pytest.mark.parametrize("path", TRANSLATIONS, ids=page_id)
def test_a_translation_has_the_code_the_headings_and_the_words_of_the_glossary(path: Path):
    """Code blocks are the English page's, byte by byte; headings are as many; no word is a wrong one."""
    english, chinese = (each.read_text(encoding="utf-8") for each in (find_original(path), path))
    levels = [re.findall(r"^#+", FENCE.sub("", text), re.MULTILINE) for text in (english, chinese)]
    wrong = list_wrong_words()

    assert FENCE.findall(chinese) == FENCE.findall(english)
    assert levels[0] == levels[1]
    assert {"鉴别器", "噪音", "游戏"} <= set(wrong)
    assert [word for word in wrong if word in chinese] == []
    assert re.findall(r"!\[[^\]]*\]\(([^)]*)\)", chinese) == re.findall(r"!\[[^\]]*\]\(([^)]*)\)", english)


@pytest.mark.parametrize("path", TRANSLATIONS, ids=page_id)
def test_a_translation_names_the_commit_of_its_english_page(path: Path):
    """The first line of a page says what it translates. A page that has fallen behind is a warning, no failure."""
    original = find_original(path).relative_to(ROOT).as_posix()
    named = re.search(r"^<!-- (\S+) @ ([0-9a-f]{7,40}) -->$", path.read_text(encoding="utf-8"), re.MULTILINE)

    assert named, "it names no commit, as <!-- docs/load.md @ 1234abc -->"
    assert named[1] == original
    log = ["git", "-C", str(ROOT), "log", "--format=%h %s", f"{named[2]}..HEAD", "--", original]
    if shutil.which("git"):  # a copy without git, or without its whole history, cannot tell
        changes = subprocess.run(log, capture_output=True, text=True).stdout.splitlines()
        if changes:
            warnings.warn(f"{page_id(path)} has fallen behind {original}: {'; '.join(changes)}", stacklevel=1)


def slug(heading: str) -> str:
    """Make the anchor of an English heading, as MkDocs does."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("path", TRANSLATIONS, ids=page_id)
def test_links_to_the_english_site_lead_to_pages_and_headings(path: Path):
    """What a Chinese page links to on the English site is a page of docs, with that heading."""
    for page, anchor in re.findall(rf"\]\({SITE}(?!zh/)([\w/-]*?)/?(?:#([\w-]+))?\)", path.read_text(encoding="utf-8")):
        target = DOCS / f"{page or 'index'}.md"
        if not target.is_file():
            target = DOCS / page / "index.md"
        headings = re.findall(r"^#+ (.*)", FENCE.sub("", target.read_text(encoding="utf-8")), re.MULTILINE)
        assert not anchor or anchor in map(slug, headings), f"{page}#{anchor}"


def test_each_picture_sound_and_clip_has_a_writer():
    """`python docs/pictures.py` makes every picture, sound and clip of docs, and its patterns have files."""
    from pictures import WRITERS  # docs/pictures.py

    media = [path.relative_to(DOCS) for path in DOCS.rglob("*") if path.suffix in MEDIA]
    files = [path.as_posix() for path in media if "notebooks" not in path.parts]  # those are copies
    patterns = [pattern for _, made in WRITERS.values() for pattern in made]
    # Entries of text have samples, and no picture.
    needed = [pattern for pattern in patterns if not pattern.startswith("entries/text-")]

    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in needed if not any(fnmatch(file, pattern) for file in files)] == []


def test_pictures_of_the_chinese_pages_are_those_of_the_english_ones():
    """A picture of the Chinese site is a copy, byte by byte; `python docs/pictures.py` makes the copies."""
    pictures = [path for path in CHINESE_DOCS.rglob("*") if path.suffix in MEDIA]

    assert pictures
    for path in pictures:
        assert path.read_bytes() == (DOCS / path.relative_to(CHINESE_DOCS)).read_bytes(), path


@pytest.mark.parametrize("path", LESSONS, ids=page_id)
def test_a_lesson_s_notebook_has_its_code(path: Path, monkeypatch: pytest.MonkeyPatch):
    """The cells of the notebook of a lesson are the blocks that the test of its outputs runs."""
    monkeypatch.syspath_prepend(str(path.parent))
    from notebooks import make_notebook  # docs/course/notebooks.py

    notebook = make_notebook(path)
    code = [cell.source.strip() for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")

    assert code == [block.strip() for block, _ in list_outputs(path)]
    assert all(text.count(said.strip()) for _, said in list_outputs(path) if said)
    assert any(cell.metadata.get("jupyter") for cell in notebook.cells)  # the code of an answer is folded
    assert ".md" not in "".join(re.findall(r"\]\([^)]*\)", text))


def test_the_search_of_the_chinese_site_finds_the_words_of_the_glossary(tmp_path: Path):
    """The search index has 判别器 as a word of its own, and so all words of the glossary that the pages use."""
    site = ["-m", "mkdocs", "build", "--strict", "--config-file", "mkdocs.zh.yml", "--site-dir", str(tmp_path)]
    built = subprocess.run([sys.executable, *site], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    index = json.loads((tmp_path / "search" / "search_index.json").read_text(encoding="utf-8"))
    pages = [f"{page['title']} {page['text']}" for page in index["docs"]]
    words = {word for page in pages for word in re.split(index["config"]["separator"], page)}
    terms = set((CHINESE_DOCS / "words.txt").read_text(encoding="utf-8").split())
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("| English | 中文 | not |")[2]

    assert {"判别器", "生成器", "模式崩溃", "潜变量"} <= words & terms
    assert all(term in glossary for term in terms)
    assert '<html lang="zh"' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_ci_builds_both_sites():
    """CI builds the English and the Chinese site, warnings are errors, and MkDocs stays below 2."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "mkdocs build --strict --quiet --site-dir" in script
    assert "mkdocs build --strict --quiet --config-file mkdocs.zh.yml --site-dir" in script
    assert '"mkdocs>=1.6,<2"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


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
