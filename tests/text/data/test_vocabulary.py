from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from zoo.errors import InvalidFileError, InvalidValueError
from zoo.text.data.vocabulary import END, UNK, Vocabulary

POEM = "白日依山盡黃河入海流欲窮千里目更上一層樓"
POEM_LINES = "白日依山盡\n黃河入海流\n欲窮千里目\n更上一層樓"
SENTENCES = ["the cat sat, and the dog (a well-known one) didn't.", "the cat!"]

chars = Vocabulary.build(["abc, äß 白日 🐈"], "character")
words = Vocabulary.build(SENTENCES)
verse = Vocabulary.build([POEM], "character", line_length=5)


def test_tokens_are_ordered_by_count_after_end_and_unknown():
    """Id 0 ends, 1 is unknown, then by falling count, ties by code point; the counts are at hand."""
    vocabulary = Vocabulary.build(["b b b c", "a a c d"], min_count=2)

    assert vocabulary.tokens == ["<end>", "<unk>", "b", "a", "c"]
    assert vocabulary.counts == (2, 1, 3, 2, 2)
    assert vocabulary.encode("d b zebra") == [UNK, 2, UNK]
    assert Vocabulary.build(["b b b c", "a a c d"], size=4).tokens[2:] == ["b", "a"]


def test_verse_comes_back_in_its_lines():
    """Punctuation and line breaks of verse are dropped, and the lines are found again."""
    ids = verse.encode("白日依山盡，黃河入海流。\n欲窮千里目，更上一層樓。")

    assert len(ids) == 20
    assert verse.decode(ids) == POEM_LINES
    assert verse.decode(ids[:7]) == "白日依山盡\n黃河"


def test_words_come_back_as_they_were():
    """Apostrophes and hyphens stay in their words, and there is no space before a comma or inside a bracket."""
    assert words.decode(words.encode(SENTENCES[0])) == SENTENCES[0]


def test_a_text_stops_at_its_end():
    """What follows the first `<end>` is not read, not even ids that are none."""
    assert words.decode([2, END, 3, 10**9]) == words.tokens[2]
    assert words.decode([]) == ""


def test_the_ends_name_cannot_be_smuggled_in():
    """A text that says "<end>" does not end there."""
    assert END not in words.encode("the <end> cat")
    assert END not in chars.encode("a<end>b")


@pytest.mark.parametrize("vocabulary", [chars, words, verse], ids=["character", "word", "verse"])
def test_transformers_reads_the_same(vocabulary: Vocabulary, tmp_path: Path):
    """`PreTrainedTokenizerFast` gives the same ids and the same text from the file."""
    (tmp_path / "tokenizer.json").write_text(vocabulary.to_json(), encoding="utf-8")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))

    for text in (POEM, *SENTENCES, "äß 🐈 never seen"):
        assert theirs(text)["input_ids"] == vocabulary.encode(text)
    ids = list(range(2, len(vocabulary)))
    assert theirs.decode(ids) == vocabulary.decode(ids)
    assert len(theirs) == len(vocabulary)


@pytest.mark.parametrize("vocabulary", [chars, words, verse], ids=["character", "word", "verse"])
def test_a_saved_vocabulary_is_the_same_when_opened(vocabulary: Vocabulary, tmp_path: Path):
    """`open` gives back what `to_json` wrote."""
    (tmp_path / "tokenizer.json").write_text(vocabulary.to_json(), encoding="utf-8")
    opened = Vocabulary.open(tmp_path / "tokenizer.json")

    assert opened.to_json() == vocabulary.to_json()
    assert opened.tokens == vocabulary.tokens


@given(st.lists(st.integers(2, len(words) - 1), max_size=20))
def test_words_round_trip(ids: list[int]):
    """Any words and signs, decoded and encoded again, are the same tokens."""
    assert words.encode(words.decode(ids)) == ids


@given(st.lists(st.integers(2, len(verse) - 1), max_size=28))
def test_verse_round_trips(ids: list[int]):
    """So is verse of any length."""
    assert verse.encode(verse.decode(ids)) == ids


@given(st.text(st.characters(codec="utf-8"), min_size=2, max_size=40))
def test_any_text_round_trips_in_characters(text: str):
    """Characters come back but for Unicode's composition and runs of space."""
    try:
        vocabulary = Vocabulary.build([text], "character")
    except InvalidValueError:
        return
    ids = vocabulary.encode(text)
    again = vocabulary.decode(ids)

    assert UNK not in ids
    assert vocabulary.encode(again) == ids
    assert "".join(again.split()) == "".join(unicodedata.normalize("NFC", text).split()) or not again.isascii()


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_can_be_encoded(text: str):
    """No text breaks a vocabulary that does not know it; ids are within it and never `<end>`."""
    for vocabulary in (chars, words, verse):
        assert all(0 < i < len(vocabulary) for i in vocabulary.encode(text))


@pytest.mark.parametrize(
    ("lines", "options"),
    [([], {}), (["aaa"], {"unit": "character"}), (["a b c"], {"min_count": 2}), (["a b c"], {"size": 3})],
)
def test_a_vocabulary_of_one_is_refused(lines: list[str], options: dict[str, Any]):
    """Nothing can be learnt where there is one token, or none."""
    with pytest.raises(InvalidValueError, match="at least two different"):
        Vocabulary.build(lines, **options)


def test_another_models_token_is_refused():
    """Ids beyond the vocabulary are named."""
    with pytest.raises(InvalidValueError, match="token 5000 is not in this vocabulary"):
        words.decode([2, 5000])


def changed(**parts: Any) -> str:
    return json.dumps({**json.loads(words.to_json()), **parts})


def model(vocab: Any, **parts: Any) -> str:
    return changed(model={"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>", **parts})


def replacements(*contents: str) -> dict[str, Any]:
    steps = [{"type": "Replace", "pattern": {"String": "a"}, "content": content} for content in contents]
    return {"type": "Sequence", "normalizers": steps, "decoders": steps}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"model": 3}',
        model({}),
        model({"<end>": 0, "<unk>": 1}),
        model({"<end>": 0, "<unk>": 1, "a": 2, "b": 4}),
        model({"<unk>": 0, "<end>": 1, "a": 2, "b": 3}),
        model({"<end>": 0, "<unk>": 1, "a": 2, "b": 2}),
        model({"<end>": 0, "<unk>": 1, "a": -1, "b": 2**40}),
        model([["a", 1]]),
        model({"<end>": 0, "<unk>": 1, "a": 2, "b": 3}, unk_token="c"),
        changed(decoder=replacements("aa" * 1000)),
        changed(normalizer=replacements("b" * 40)),
        changed(normalizer=replacements(*"aaaaaaaaaa")),
        changed(decoder={"type": "Replace", "pattern": {"Regex": "("}, "content": ""}),
        changed(decoder={"type": "Sequence", "decoders": 3}),
        changed(decoder={"type": "Nothing"}),
    ],
)
def test_a_strangers_file_is_refused_in_one_line(text: str, tmp_path: Path):
    """Whatever a tokenizer.json holds, what is none of this library's ends in InvalidFileError with its name."""
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InvalidFileError, match=r"tokenizer\.json: ") as refused:
        Vocabulary.open(tmp_path / "tokenizer.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["normalizer", "pre_tokenizer", "decoder"])
@pytest.mark.parametrize("pattern", ["(a+)+b", "a*a*a*b", "x" * 100_000, "[^\\n]*[^\\n]*[^\\n]*b"])
@pytest.mark.parametrize("deep", [False, True])
def test_patterns_of_others_are_refused(key: str, pattern: str, deep: bool):
    """The time of a pattern may grow with any power of the length of a text, so only known ones are read."""
    kind = {"type": "Split", "behavior": "Removed", "invert": True} if key == "pre_tokenizer" else {
        "type": "Replace", "content": ""
    }  # fmt: skip
    part = {**kind, "pattern": {"Regex": pattern}}
    inner = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}[key]
    with pytest.raises(InvalidFileError, match=f"its {key} has the pattern") as refused:
        Vocabulary.from_json(changed(**{key: {"type": "Sequence", inner: [part]} if deep else part}))
    assert len(str(refused.value)) < 400


def charsmap(form: bytes) -> str:
    """A table of normal forms that has an index of one unit, and this form."""
    return base64.b64encode((4).to_bytes(4, "little") + bytes(4) + form + b"\0").decode()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 20}}, "more than 16 parts"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "has a part 'FixedLength'"),
        ({"decoder": {"pattern": {"String": "a"}, "content": "aa"}}, "has a part None"),
        ({"normalizer": {"type": "Prepend", "prepend": "a" * 10_000}}, "a text of 10,000 characters"),
        ({"decoder": {"type": "WordPiece", "prefix": "a" * 10_000, "cleanup": False}}, "a text of 10,000 characters"),
        ({"pre_tokenizer": {
            "type": "Split", "pattern": {"String": "a" * 10_000}, "behavior": "Removed", "invert": False
        }}, "a text of 10,000 characters"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "ByteLevel"}] * 2}}, "by longer ones"),
        ({"normalizer": {"type": "ByteLevel"}, "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False
        }}, "by longer ones"),
        ({"decoder": {"type": "Sequence", "decoders": [{"type": "BPEDecoder", "suffix": ""}] * 5}}, "by longer ones"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap(b"a" * 999)}}, "long texts of single"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}}, "not a tokenizer"),
    ],
)  # fmt: skip
def test_parts_that_could_take_long_or_grow_a_text_are_refused(parts: dict[str, Any], message: str):
    """Unknown parts, many parts, long texts in parts, and parts that widen a text twice."""
    with pytest.raises(InvalidFileError, match=message):
        Vocabulary.from_json(changed(**parts))


@pytest.mark.parametrize("kind", ["Fuse", "ByteFallback", "Sequence", "ByteLevel", "Metaspace", "CTC", "Strip"])
@pytest.mark.parametrize("twice", [False, True])
def test_a_part_cannot_pass_for_another(kind: str, twice: bool):
    """`tokenizers` reads a part by its other keys where the type does not fit, and may take the first of two types."""
    first = '"type": "Replace", ' if twice else ""
    part = f'{{{first}"type": "{kind}", "pattern": {{"String": "t"}}, "content": "tttt"}}'
    text = changed(decoder="here").replace('"here"', part)

    with suppress(InvalidFileError):
        assert "tttt" not in Vocabulary.from_json(text).decode(range(2, len(words)))


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        ]}},
        {"normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                        "strip_accents": None, "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": {"Regex": PRETOKENIZE_REGEX}},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        ]}},
        {"normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ]}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}},
        {"decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]}},
    ],
    ids=["Llama", "BERT", "StarCoder", "Qwen", "ALBERT", "Mistral"],
)  # fmt: skip
def test_parts_of_published_tokenizers_are_read(parts: dict[str, Any]):
    assert len(Vocabulary.from_json(changed(**parts))) == len(words)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.dictionaries(
    st.sampled_from(["type", "model", "vocab", "decoder", "decoders", "normalizer", "normalizers", "content"]), inner
) | st.lists(inner, max_size=3), max_leaves=12))  # fmt: skip
def test_no_json_crashes_the_reader(facts: Any):
    """Any JSON at all is a InvalidFileError."""
    with pytest.raises(InvalidFileError):
        Vocabulary.from_json(json.dumps(facts))


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    """Missing, a folder, not text, and too large."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(33 << 20)

    for name in ("missing", ".", "bytes", "large"):
        with pytest.raises(InvalidFileError):
            Vocabulary.open(tmp_path / name)


def byte_level() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate([*letters, "th", "the", "<|endoftext|>"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("t", "h"), ("th", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def word_piece() -> Tokenizer:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram() -> Tokenizer:
    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁the", -1.0), ("▁cat", -2.0), ("s", -3.0), ("▁", -4.0)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (byte_level, {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}),
        (word_piece, {"sep_token": "[SEP]", "unk_token": "[UNK]", "cls_token": "[CLS]", "pad_token": "[PAD]"}),
        (unigram, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}),
    ],
)
def test_tokenizers_of_transformers_are_renumbered(
    make: Callable[[], Tokenizer], names: dict[str, Any], tmp_path: Path
):
    """Byte-level BPE, WordPiece and Unigram keep their tokens and texts; the end is 0 and the unknown 1."""
    theirs = PreTrainedTokenizerFast(tokenizer_object=make(), **names)
    ours = Vocabulary.from_transformers(theirs)
    (tmp_path / "tokenizer.json").write_text(ours.to_json(), encoding="utf-8")

    assert ours.tokens[:2] == ["<end>", "<unk>"]
    assert ours.decode(ours.encode("the cats")) == "the cats"
    old = theirs.convert_ids_to_tokens(theirs("the cats", add_special_tokens=False)["input_ids"])
    assert [ours.tokens[i] for i in ours.encode("the cats")] == old
    assert Vocabulary.open(tmp_path / "tokenizer.json").encode("the cats") == ours.encode("the cats")
    if make is not byte_level:  # which has a token for every byte
        assert UNK in ours.encode("dog")


def test_a_tokenizer_without_an_end_is_refused():
    """A tokenizer that cannot say where a text ends is of no use here."""
    with pytest.raises(InvalidFileError, match="neither an end token"):
        Vocabulary.from_transformers(PreTrainedTokenizerFast(tokenizer_object=word_piece(), unk_token="[UNK]"))


LINES = ["the king said, Let the king's men go.", "And the king went", "the men said: go!"]


def test_subwords_spell_every_word_of_their_characters():
    """Frequent words are a token each, others are parts; signs stand alone; texts of known characters come back."""
    subwords = Vocabulary.build(LINES * 5, "subword", size=60)

    assert len(subwords) <= 60
    assert {"▁the", "▁king", ","} <= set(subwords.tokens)
    assert len(subwords.encode("the king")) == 2
    for text in [*LINES, "the singing kings", "An ant, said the king!"]:
        assert subwords.decode(subwords.encode(text)) == text
        assert UNK not in subwords.encode(text)
    assert UNK in subwords.encode("zebra")


def test_subwords_have_counts_and_a_tokenizer_of_this_library():
    """The counts are those of the lines' tokens, and what is saved opens again with the same ids."""
    subwords = Vocabulary.build(LINES, "subword", size=40)
    again = Vocabulary.from_json(subwords.to_json())

    assert subwords.counts is not None
    assert subwords.counts[END] == 3
    assert subwords.counts[UNK] == 0
    assert sum(subwords.counts[2:]) == sum(len(subwords.encode(line)) for line in LINES)
    assert again.tokens == subwords.tokens
    assert [again.encode(line) for line in LINES] == [subwords.encode(line) for line in LINES]


def test_names_of_special_tokens_in_a_text_are_ordinary_text():
    """A line that contains <end> does not end there."""
    subwords = Vocabulary.build([*LINES, "write <end> or <unk> here"], "subword", size=80)
    ids = subwords.encode("write <end> or <unk> here")

    assert END not in ids
    assert UNK not in ids
    assert subwords.decode(ids) == "write <end> or <unk> here"


def test_rare_pairs_are_not_merged():
    """With a least count above that of every pair, subwords are characters."""
    subwords = Vocabulary.build(LINES, "subword", min_count=100)

    assert max(map(len, subwords.tokens[2:])) == 1


def test_a_vocabulary_of_one_subword_is_refused():
    """Fewer than two different subwords are an error."""
    with pytest.raises(InvalidValueError, match="two different subwords"):
        Vocabulary.build(LINES, "subword", size=3)
