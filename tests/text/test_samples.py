from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from zoo.errors import InvalidValueError, WriteError
from zoo.text.data.vocabulary import Vocabulary
from zoo.text.samples import Texts

POEM = "白日依山盡黃河入海流欲窮千里目更上一層樓"
VERSE = Vocabulary.build([POEM], "character", line_length=5)
WORDS = Vocabulary.build(["a < b, & c"])


@pytest.fixture
def poems() -> Texts:
    """Three poems, the second one the words of the first from the end."""
    ids = VERSE.encode(POEM)
    return Texts(tensor=torch.tensor([ids, ids[::-1], ids]), latents=torch.zeros(3, 2), seed=7, vocabulary=VERSE)


@pytest.fixture
def sentences() -> Texts:
    """Two sentences, the second of one word."""
    rows = torch.tensor([WORDS.encode("a < b, & c"), [WORDS.tokens.index("a"), 0, 0, 0, 0, 0]])
    return Texts(tensor=rows, seed=None, vocabulary=WORDS)


def test_texts_print_themselves(poems: Texts, sentences: Texts):
    """Texts of several lines stand apart, others one a line."""
    assert (
        str(poems[:2])
        == "白日依山盡\n黃河入海流\n欲窮千里目\n更上一層樓\n\n樓層一上更\n目里千窮欲\n流海入河黃\n盡山依日白"
    )
    assert str(sentences) == "a < b, & c\na"
    assert sentences.texts == ["a < b, & c", "a"]


def test_slices_keep_the_vocabulary(poems: Texts):
    """A slice is texts that read themselves."""
    part = poems[1:]

    assert (len(part), part.seed, part.latents.shape) == (2, 7, (2, 2))  # type: ignore[union-attr]
    assert part.texts == poems.texts[1:]


def test_text_files_hold_what_is_printed(poems: Texts, tmp_path: Path):
    """UTF-8, with a line's end at the end."""
    path = poems.save(tmp_path / "new" / "poems.txt")

    assert path.read_text(encoding="utf-8") == str(poems) + "\n"


def test_rows_of_texts_stand_apart(tmp_path: Path):
    """As `zoo sample --interpolate` saves them: a row of three, an empty line, another row."""
    texts = Texts(tensor=torch.tensor([[2], [3], [4], [2], [3], [4]]), vocabulary=WORDS)
    lines = texts.texts

    path = texts.save(tmp_path / "rows.txt", columns=3)
    assert path.read_text(encoding="utf-8").splitlines() == [*lines[:3], "", *lines[3:]]


def test_json_lines_hold_tokens_and_seed(poems: Texts, sentences: Texts, tmp_path: Path):
    """One object a text, readable as it stands."""
    lines = poems.save(tmp_path / "poems.jsonl").read_text(encoding="utf-8").splitlines()

    assert "白日依山盡" in lines[0]
    assert json.loads(lines[2]) == {"text": poems.texts[2], "tokens": poems.tensor[2].tolist(), "seed": 7, "index": 2}
    assert json.loads(sentences.save(tmp_path / "s.jsonl").read_text().splitlines()[1])["seed"] is None


def test_a_folder_gets_one_file_each(poems: Texts, tmp_path: Path):
    """A path without a suffix is a folder."""
    folder = poems.save(tmp_path / "poems")

    assert [file.name for file in sorted(folder.iterdir())] == ["0.txt", "1.txt", "2.txt"]
    assert (folder / "0.txt").read_text(encoding="utf-8") == poems.texts[0] + "\n"


def test_notebooks_show_texts_and_nothing_else(sentences: Texts):
    """Signs of HTML are escaped."""
    shown = sentences._repr_html_()

    assert "a &lt; b, &amp; c" in shown
    assert "a < b" not in shown


def test_unknown_formats_and_places_are_refused(poems: Texts, tmp_path: Path):
    """As images: the suffixes that work are listed, and nothing is written."""
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(InvalidValueError, match=r"\.txt, \.jsonl"):
        poems.save(tmp_path / "poems.png")
    with pytest.raises(WriteError, match="this is a folder"):
        poems.save(tmp_path / "x.txt")


def test_without_a_vocabulary_texts_cannot_be_read(poems: Texts):
    """A model that was built, not loaded, has no words for its tokens, and says so."""
    with pytest.raises(InvalidValueError, match="no vocabulary"):
        str(Texts(tensor=poems.tensor))


def test_tokens_of_another_vocabulary_are_named():
    """A token beyond the vocabulary is no text."""
    with pytest.raises(InvalidValueError, match="another model's"):
        str(Texts(tensor=torch.tensor([[2, 999]]), vocabulary=WORDS))
