"""Make notebooks of the lessons: python docs/course/notebooks.py [FOLDER].

FOLDER is `docs/course/notebooks` by default. It gets the pictures and the log, too, because the lessons read them. The
text blocks with outputs stay in the notebooks, so that readers can compare. Needs `jupytext`, of the extra `dev`.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jupytext

HERE = Path(__file__).parent
SITE = "https://gan-zoo.github.io/gan-zoo/"
START, END = "<!-- answer -->", "<!-- end of the answer -->"
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def make_notebook(page: Path) -> Any:
    """Make a notebook of a page: a cell of code for each Python block, Markdown for the rest.

    The code of an answer is folded. Links lead to the other notebooks, or to the site.
    """
    text = page.read_text(encoding="utf-8").replace("<details markdown>\n", "").replace("</details>", END)
    text = re.sub(r"<summary>(.*)</summary>", rf"**\1** {START}", text)
    text = re.sub(r"\]\((\d[\w-]*)\.md", r"](\1.ipynb", text)
    text = re.sub(r"\]\(\.\./([\w-]+)\.md", rf"]({SITE}\1/", text)
    text = re.sub(r"\)\{ width=\d+ \}", ")", text)  # of MkDocs alone
    notebook = jupytext.reads(text, "md")
    notebook.metadata.update(PYTHON)
    folded = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.update({"jupyter": {"source_hidden": True}} if folded else {})
        else:
            folded = START in cell.source[cell.source.rfind(END) + 1 :] or (folded and END not in cell.source)
    return notebook


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in [*HERE.glob("*.png"), *HERE.glob("*.jsonl")]:
        shutil.copy(file, folder)
    for page in sorted(HERE.glob("[0-9]*.md")):
        jupytext.write(make_notebook(page), folder / f"{page.stem}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE / "notebooks")
