from __future__ import annotations

import sys

import pytest

from zoo.errors import MissingDependencyError
from zoo.text.metrics.verse import alternates, find_line_length, make_reader, rhymes, split_quatrain

STORK_TOWER = ["白日依山盡", "黃河入海流", "欲窮千里目", "更上一層樓"]  # Wang Zhihuan, regulated
QUIET_NIGHT = ["床前明月光", "疑是地上霜", "舉頭望明月", "低頭思故鄉"]  # Li Bai, in the old style, free in its tones


def spelled(character: str) -> tuple[str, int] | None:
    """Readings of a language of letters: the rime is the lower case, capitals are level."""
    return (character.lower(), 1 if character.isupper() else 4) if character.isalpha() else None


def test_four_lines_of_one_length_are_a_quatrain():
    """Not three, not lines of other lengths, not prose."""
    assert split_quatrain("ab\ncd\nef\ngh", 2) == ["ab", "cd", "ef", "gh"]
    assert split_quatrain("ab\ncd\nef", 2) is None
    assert split_quatrain("ab\ncd\nef\ngh", 3) is None
    assert find_line_length(["ab\ncd\nef\ngh", "AB\nCD\nEF\nGH"]) == 2
    assert find_line_length(["ab\ncd\nef\ngh", "prose"]) is None
    assert find_line_length([]) is None


def test_the_second_and_the_fourth_line_rhyme():
    """On one rime of two characters: the same word again is no rhyme, and what has no reading has none."""
    assert rhymes(["ax", "by", "cz", "dY"], spelled)
    assert not rhymes(["ax", "by", "cz", "dy"], spelled)
    assert not rhymes(["ay", "bx", "cY", "dz"], spelled)
    assert not rhymes(["ax", "b1", "cz", "d2"], spelled)


def test_even_places_alternate_between_level_and_oblique():
    """Second against fourth, and on; odd places are free, and a character without a tone does not alternate."""
    assert alternates("aAaaa", spelled)
    assert alternates("AaaAA", spelled)
    assert not alternates("aaaaa", spelled)
    assert not alternates("aAa1a", spelled)
    assert alternates("aAaaaAa", spelled)
    assert not alternates("aAaaaaa", spelled)


def test_poems_are_read_in_mandarin():
    """A regulated quatrain keeps the rules; one in the old style rhymes, and is free in its tones."""
    pytest.importorskip("pypinyin")
    read = make_reader()
    assert read("山") == ("an", 1)
    assert read("還") is not None
    assert read("。") is None
    assert read("x") is None
    assert rhymes(STORK_TOWER, read)
    assert [alternates(line, read) for line in STORK_TOWER] == [True] * 4
    assert rhymes(QUIET_NIGHT, read)
    assert not all(alternates(line, read) for line in QUIET_NIGHT)


def test_glides_do_not_hinder_a_rhyme():
    """間, 山 and 泉 rhyme; 月 and 河 do not, though both are spelled with e."""
    pytest.importorskip("pypinyin")
    read = make_reader()
    assert {read(character)[0] for character in "間山泉"} == {"an"}
    assert read("月")[0] != read("河")[0]


def test_readings_say_what_they_need(monkeypatch: pytest.MonkeyPatch):
    """Without pypinyin the message names the extra."""
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(MissingDependencyError, match="evaluate"):
        make_reader()
