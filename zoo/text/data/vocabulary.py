"""Vocabularies: texts to token ids and back, in the standard file `tokenizer.json`.

Id 0, `<end>`, ends a text, fills the rest of its row, and is the start token of generators. Id 1, `<unk>`, is any token
that is in no training text, and models never sample it. All other tokens follow. The file says how texts are split and
joined, so `transformers.PreTrainedTokenizerFast(tokenizer_file=...)` gives the same ids and texts.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from zoo.errors import InvalidFileError, InvalidValueError, shorten, shorten_repr

Unit = Literal["character", "word", "subword"]

END, UNK = 0, 1
END_TOKEN, UNK_TOKEN = "<end>", "<unk>"

SUBWORDS = 4000
"""Tokens of a vocabulary of subwords where no size is given."""

MAX_BYTES = 32 << 20  # of a tokenizer.json; those of language models take up to 20 MB
_MAX_REPLACEMENTS = 4
_MAX_PARTS = 16  # of the normalizer, and of the others; published ones have up to six
_MAX_PART_TEXT = 512  # characters of each text in a part: a prefix, a name
_MAX_CHARSMAP = 1 << 21  # characters of a table of normal forms in base64; SentencePiece's has 320,000
_MAX_NORMAL_FORM = 64  # bytes that one character may become; Unicode's longest has 33

_WORDS = r"\w+(?:['’-]\w+)*|[^\w\s]"  # don't, well-known; any other sign is a token
_NO_SPACE = r" (?=[,.;:!?)\]}…%])|(?<=[(\[{]) "  # before closing signs and after opening ones
_SIGNS = r"[\p{P}\p{Z}\s]+"

_SIGNS_AND_SPACES = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# The time of a pattern can grow with a power of the length of a text, or worse, and its form does not show it reliably.
# So patterns are known ones: of this library, and of well-known tokenizers that it can use.
_KNOWN_PATTERNS = frozenset({
    _WORDS, _NO_SPACE, _SIGNS, ".", r"\s+",
    " {2,}", r"\n", r"[\n\r\t]", r"\s{2,}|[\n\r\t]",  # SentencePiece models
    "[0-9][0-9][0-9]",  # Falcon
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # the same, as tiktoken has it
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # CLIP
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_SIGNS_AND_SPACES}",  # Llama 3
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_SIGNS_AND_SPACES}",  # Qwen
})  # fmt: skip
_LINE_PATTERN = re.compile(r"\(\?<=\\G\.\{\d{1,4}\}\)\(\?=\.\)")  # of `_make_tokenizer`, for lines of any length

# The parts of a tokenizer.json that are known not to take long: the key, the key of parts in a Sequence, and the types.
_PARTS = {
    "normalizer": ("normalizers", frozenset({
        "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Replace", "Prepend",
        "BertNormalizer", "Nmt", "ByteLevel", "Precompiled",
    })),
    "pre_tokenizer": ("pretokenizers", frozenset({
        "Sequence", "Whitespace", "WhitespaceSplit", "ByteLevel", "Metaspace", "BertPreTokenizer", "Punctuation",
        "Digits", "Split", "CharDelimiterSplit", "UnicodeScripts",
    })),
    "decoder": ("decoders", frozenset({
        "Sequence", "ByteLevel", "WordPiece", "Metaspace", "BPEDecoder", "CTC", "ByteFallback", "Fuse", "Strip",
        "Replace",
    })),
}  # fmt: skip
_REPLACING = ("Replace", "BPEDecoder", "CTC")  # each can double a text
_WIDENING = ("ByteLevel", "Precompiled")  # twice, each would widen what the other has widened

P = ParamSpec("P")
R = TypeVar("R")


class Vocabulary:
    """The tokens of a text model. `encode` converts a text to ids, and `decode` ids to a text.

    Attributes:
        tokens: by id, `<end>` and `<unk>` first.
        counts: how often each token occurs in the texts of `build`; None for a vocabulary that was opened.
    """

    def __init__(self, tokenizer: Tokenizer, counts: Sequence[int] | None = None) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab()
        self.tokens: list[str] = sorted(ids, key=lambda token: ids[token])
        self.counts = None if counts is None else tuple(counts)

    @classmethod
    def build(
        cls,
        lines: Iterable[str],
        unit: Unit = "word",
        *,
        size: int | None = None,
        min_count: int = 1,
        line_length: int = 0,
    ) -> Vocabulary:
        """Build the vocabulary of `lines`: tokens by falling count, then by code point.

        Subwords are in the order in which they were merged, characters first (byte-pair encoding, Sennrich, Haddow &
        Birch 2016, arXiv:1508.07909).

        Args:
            unit: characters; or words and signs, where words contain their apostrophes and hyphens; or subwords, which
                are frequent words and parts of others.
            size: the most tokens, `<end>` and `<unk>` included; None: all, or `SUBWORDS`.
            min_count: rarer tokens are left out. Rarer pairs of subwords are not merged.
            line_length: characters in a line of verse. Punctuation is dropped, and `decode` breaks the lines. It is
                not for subwords.

        Raises InvalidValueError where fewer than two tokens are left.
        """
        if unit == "subword":
            return cls._build_subwords(list(lines), size or SUBWORDS, min_count)
        splitter = _make_tokenizer({END_TOKEN: END, UNK_TOKEN: UNK}, unit, line_length=line_length)
        counts: Counter[str] = Counter()
        num_lines = 0
        for line in lines:
            counts.update(_split(splitter, line))
            num_lines += 1
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [(token, count) for token, count in ranked if count >= min_count]
        if size is not None:
            kept = kept[: max(size - 2, 0)]
        if len(kept) < 2:
            asked = f"of {len(counts):,} in the texts, {len(kept)} left by the size and the count asked for"
            raise InvalidValueError(f"a vocabulary needs at least two different {unit}s: {asked}")
        vocab = {END_TOKEN: END, UNK_TOKEN: UNK, **{token: 2 + i for i, (token, _) in enumerate(kept)}}
        unknown = counts.total() - sum(count for _, count in kept)
        tokenizer = _make_tokenizer(vocab, unit, line_length=line_length)
        return cls(tokenizer, [num_lines, unknown, *(count for _, count in kept)])

    @classmethod
    def _build_subwords(cls, lines: list[str], size: int, min_count: int) -> Vocabulary:
        learned = Tokenizer(models.BPE(unk_token=UNK_TOKEN))
        learned.normalizer = make_normalizer()
        # A word begins with the mark of its space, and a sign is a word, so "king" and "king," share a token.
        learned.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
        learned.decoder = decoders.Metaspace()
        special = [END_TOKEN, UNK_TOKEN]
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_count,
            special_tokens=special,
            limit_alphabet=max(size - len(special), 0),  # else a small size is exceeded by the characters
            show_progress=False,
        )
        learned.train_from_iterator(lines, trainer)
        # As ordinary tokens they are never read out of a text that contains their names.
        tokenizer = Tokenizer.from_str(json.dumps({**json.loads(learned.to_str()), "added_tokens": []}))
        counts = Counter(id for encoding in tokenizer.encode_batch(lines) for id in encoding.ids)
        found = tokenizer.get_vocab_size()
        if found < 4:
            raise InvalidValueError(f"a vocabulary needs at least two different subwords; the texts have {found - 2}")
        return cls(tokenizer, [len(lines), *(counts[id] for id in range(1, found))])

    @classmethod
    def open(cls, path: str | Path) -> Vocabulary:
        """Open a tokenizer.json of this library, which may come from anybody. Raises InvalidFileError."""
        path = Path(path)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise InvalidFileError(f"{path}: larger than any tokenizer; refused")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidFileError(f"{path}: no tokenizer here that can be read: {error}") from error
        return cls.from_json(text, where=str(path))

    @classmethod
    def from_json(cls, text: str, *, where: str = "tokenizer.json") -> Vocabulary:
        """Read the vocabulary that `to_json` wrote. Raises InvalidFileError, whose message starts with `where`."""
        try:
            facts = json.loads(text)
            _check_parts(facts, where)
            checked = json.dumps(facts)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            if isinstance(error, InvalidFileError):
                raise
            raise InvalidFileError(f"{where}: not a tokenizer: {shorten(str(error))}") from error
        tokenizer = _call_guarded(where, Tokenizer.from_str, checked)
        _check_parts(json.loads(tokenizer.to_str()), where)  # again: the package also reads parts by their other keys
        tokenizer.no_padding()
        tokenizer.no_truncation()
        vocabulary = cls(tokenizer)
        if vocabulary.tokens[:2] != [END_TOKEN, UNK_TOKEN]:
            raise InvalidFileError(
                f"{where}: not a tokenizer of this library: its first tokens are "
                f"{vocabulary.tokens[:2]}, not {END_TOKEN} and {UNK_TOKEN}"
            )
        if sorted(tokenizer.get_vocab().values()) != list(range(len(vocabulary))) or len(vocabulary) < 4:
            raise InvalidFileError(
                f"{where}: not a tokenizer of this library: its ids should be 0, 1, 2, ... and four or more"
            )
        vocabulary.decode(range(2, len(vocabulary)), where=where)
        vocabulary.encode("\U0010fffd", where=where)  # which no vocabulary has
        return vocabulary

    @classmethod
    def from_transformers(cls, tokenizer: Any) -> Vocabulary:
        """Convert a `transformers` tokenizer to a vocabulary with ids of its own.

        Its end (or separator) token becomes `<end>`, its unknown token `<unk>`. The other tokens keep their order and
        their names. By the names a model finds its rows in the embeddings of the tokenizer's model.

        Raises InvalidFileError where it has no end token, or no form that is a tokenizer.json.
        """
        name = str(getattr(tokenizer, "name_or_path", "")) or type(tokenizer).__name__
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise InvalidFileError(f'tokenizer "{name}": has no fast form, which is what a tokenizer.json holds')
        end = tokenizer.eos_token or tokenizer.sep_token
        if end is None:
            raise InvalidFileError(
                f'tokenizer "{name}": has neither an end token (eos) nor a separator (sep), so no text ends'
            )
        unk = tokenizer.unk_token if tokenizer.unk_token != end else None
        facts = _renumber(json.loads(backend.to_str()), backend.get_vocab(), end, unk)
        return cls.from_json(json.dumps(facts), where=f'tokenizer "{name}"')

    def with_counts(self, counts: Sequence[int]) -> Vocabulary:
        """Return the same vocabulary with the number of times that each token occurs."""
        return Vocabulary(self._tokenizer, counts)

    def to_json(self) -> str:
        """Write the contents of a tokenizer.json."""
        return self._tokenizer.to_str(pretty=True)

    def normalize(self, text: str, *, where: str = "tokenizer") -> str:
        """Return what is left of a text before it is split: texts that differ elsewhere are the same to a model."""
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else _call_guarded(where, normalizer.normalize_str, text)

    def encode(self, text: str, *, where: str = "tokenizer") -> list[int]:
        """Convert a text to ids, without an `<end>`."""
        return _call_guarded(where, self._tokenizer.encode, text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int], *, where: str = "tokenizer") -> str:
        """Convert ids up to the first `<end>` to a text. Raises InvalidValueError for an id outside the vocabulary."""
        kept = list(_take_until_end(map(int, ids)))
        if kept and not 0 <= min(kept) <= max(kept) < len(self):
            wrong = next(i for i in kept if not 0 <= i < len(self))
            raise InvalidValueError(f"token {wrong} is not in this vocabulary of {len(self):,}; is it another model's?")
        return _call_guarded(where, self._tokenizer.decode, kept, skip_special_tokens=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self):,}: {' '.join(self.tokens[:8])} ...>"


def _make_tokenizer(vocab: dict[str, int], unit: Unit, *, line_length: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNK_TOKEN))
    tokenizer.normalizer = make_normalizer(line_length=line_length)
    if unit == "character":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "removed", invert=True)
        words = decoders.WordPiece(prefix="##", cleanup=False)  # a space before each; no token here starts with ##
        tokenizer.decoder = decoders.Sequence([words, decoders.Fuse(), decoders.Replace(Regex(_NO_SPACE), "")])
    if line_length:
        line_break = decoders.Replace(Regex(rf"(?<=\G.{{{line_length}}})(?=.)"), "\n")
        tokenizer.decoder = decoders.Sequence([decoders.Fuse(), line_break])
    return tokenizer


def make_normalizer(*, line_length: int = 0) -> normalizers.Normalizer:
    """Make what a text passes before it is split: NFC, and one space for any run of spaces; no signs in verse."""
    between = normalizers.Replace(Regex(_SIGNS), "") if line_length else None
    spaces = between or normalizers.Replace(Regex(r"\s+"), " ")
    return normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Strip()])


def _split(tokenizer: Tokenizer, line: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(line)
    return [token for token, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def _take_until_end(ids: Iterable[int]) -> Iterator[int]:
    for i in ids:
        if i == END:
            return
        yield i


def _renumber(facts: dict[str, Any], ids: dict[str, int], end: str, unk: str | None) -> dict[str, Any]:
    """Renumber the contents of a tokenizer.json: `end` becomes id 0, and `unk` or a new token id 1."""
    ours = {end: END_TOKEN, unk: UNK_TOKEN}
    model, added = facts["model"], facts["added_tokens"]
    scores = dict(model["vocab"]) if isinstance(model["vocab"], list) else model["vocab"]
    by_id = sorted(ids, key=lambda token: (token not in scores, ids[token]))  # Unigram numbers its own tokens first
    order = [END_TOKEN, UNK_TOKEN, *(token for token in by_id if token not in ours)]
    number = {token: i for i, token in enumerate(order)}
    if model["type"] == "Unigram":
        theirs = {ours.get(token, token): score for token, score in scores.items()}
        own = [token for token in order if token in theirs or token in (END_TOKEN, UNK_TOKEN)]
        facts["model"] = {**model, "vocab": [[token, theirs.get(token, 0.0)] for token in own], "unk_id": UNK}
    else:
        own = [END_TOKEN, UNK_TOKEN, *(token for token in scores if token not in ours)]
        facts["model"] = {**model, "vocab": {token: number[token] for token in own}, "unk_token": UNK_TOKEN}
    kept = [token for token in added if token["content"] not in ours]
    facts["added_tokens"] = [{**token, "id": number[token["content"]]} for token in kept]
    return {**facts, "post_processor": None, "truncation": None, "padding": None}


def _check_parts(facts: dict[str, Any], where: str) -> None:
    """Raise InvalidFileError for parts that could take long, or grow a text beyond memory."""
    parts = {key: list(_list_parts(facts.get(key), inner)) for key, (inner, _) in _PARTS.items()}
    for key, (_, kinds) in _PARTS.items():
        if len(parts[key]) > _MAX_PARTS:
            raise InvalidFileError(f"{where}: its {key} has more than {_MAX_PARTS} parts; refused")
        for part in parts[key]:
            if part.get("type") not in kinds:
                raise InvalidFileError(
                    f"{where}: its {key} has a part {shorten_repr(part.get('type'))}; the known ones are "
                    f"{', '.join(sorted(kinds))}"
                )
            _check_texts(part, f"{where}: its {key}")
    listed = [part for some in parts.values() for part in some]
    replacing = [part for part in listed if part["type"] in _REPLACING]
    widening = [part["type"] for part in (*parts["normalizer"], *parts["pre_tokenizer"]) if part["type"] in _WIDENING]
    if (
        len(replacing) > _MAX_REPLACEMENTS
        or any(len(part.get("content", "")) > 1 for part in replacing)
        or len(set(widening)) < len(widening)
    ):
        raise InvalidFileError(
            f"{where}: not a tokenizer of this library: it replaces parts of a text by longer ones; refused"
        )


def _list_parts(part: Any, inner: str) -> Iterator[dict[str, Any]]:
    """List a part of a tokenizer.json, and the parts that it has by the key `inner`."""
    if part is not None:
        yield part
        for each in part.get(inner, []):
            yield from _list_parts(each, inner)


def _check_texts(part: dict[str, Any], what: str) -> None:
    """Raise InvalidFileError for long texts in a part, unknown patterns, and tables of long normal forms."""
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and "Regex" in pattern:
        regex = pattern["Regex"]
        if regex not in _KNOWN_PATTERNS and not _LINE_PATTERN.fullmatch(regex):
            raise InvalidFileError(
                f"{what} has the pattern {shorten_repr(regex)}, whose time is not known; those of this library, of "
                "SentencePiece, GPT-2, CLIP, Falcon, Llama and Qwen are read"
            )
    for name, value in [*part.items(), *(pattern.items() if isinstance(pattern, dict) else ())]:
        if isinstance(value, str) and len(value) > (
            _MAX_CHARSMAP if name == "precompiled_charsmap" else _MAX_PART_TEXT
        ):
            raise InvalidFileError(f"{what} has a text of {len(value):,} characters as its {shorten(name)}; refused")
    if part["type"] == "Precompiled":
        table = base64.b64decode(part["precompiled_charsmap"], validate=True)
        forms = table[4 + int.from_bytes(table[:4], "little") :]  # behind the size of an index and that index
        if max(map(len, forms.split(b"\0"))) > _MAX_NORMAL_FORM:
            raise InvalidFileError(f"{what} makes long texts of single characters; refused")


def _call_guarded(where: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of `tokenizers`. Raises InvalidFileError for its errors, and for the panics of its Rust code."""
    try:
        return call(*args, **kwargs)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise InvalidFileError(f"{where}: not a tokenizer that works: {shorten(str(error))}") from error
        raise
