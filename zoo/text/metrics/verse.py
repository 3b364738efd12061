"""What makes a quatrain: four lines of one length, a rhyme of the second and the fourth, and alternating tones.

Readings are those of modern Mandarin, by `pypinyin` (extra `evaluate`): one for each character, whatever its context.
Tang poets spoke Middle Chinese. Many of their rhymes are none today, and the entering tone, which was oblique, is now
spread over all four tones. So the rates are approximations, and real poems are far from 1. A rate must be compared with
that of real poems.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from functools import cache

from zoo.errors import MissingDependencyError

NUM_LINES = 4

Reading = tuple[str, int]
"""The rime of a syllable, without its medial glide, and its tone: 1 to 4, 5 for the neutral one."""


def split_quatrain(text: str, length: int) -> list[str] | None:
    """Return the four lines of `length` characters of a text; None where it is anything else."""
    lines = text.split("\n")
    return lines if [len(line) for line in lines] == [length] * NUM_LINES else None


def find_line_length(texts: Sequence[str]) -> int | None:
    """Return the characters of a line where all `texts` are quatrains of one length, else None."""
    length = len(texts[0].split("\n")[0]) if texts else 0
    return length if length > 1 and all(split_quatrain(text, length) for text in texts) else None


def rhymes(lines: Sequence[str], read: Callable[[str], Reading | None]) -> bool:
    """Tell whether the second and the fourth line end on one rime, of two different characters."""
    second, fourth = lines[1][-1], lines[3][-1]
    first_rime, second_rime = (reading and reading[0] for reading in (read(second), read(fourth)))
    return second != fourth and first_rime is not None and first_rime == second_rime


def alternates(line: str, read: Callable[[str], Reading | None]) -> bool:
    """Tell whether the characters at even positions (2, 4, ...) alternate between level and oblique tones.

    Level are the tones 1 and 2, oblique 3 and 4.
    """
    tones = [reading[1] if (reading := read(character)) else 5 for character in line[1::2]]
    if 5 in tones:
        return False
    level = [tone <= 2 for tone in tones]
    return all(a != b for a, b in itertools.pairwise(level))


def make_reader() -> Callable[[str], Reading | None]:
    """Return a function from a character to its reading, None where it has none.

    Raises MissingDependencyError without `pypinyin`.
    """
    try:
        from pypinyin import Style, pinyin
    except ImportError as error:
        raise MissingDependencyError("readings need the package 'pypinyin': pip install 'gan-zoo[evaluate]'") from error

    @cache
    def read(character: str) -> Reading | None:
        found = pinyin(character, style=Style.FINALS_TONE3, neutral_tone_with_five=True, errors="ignore")
        syllable = re.fullmatch(r"([a-zê]+)([1-5])", found[0][0]) if found else None
        return (_remove_glide(syllable[1]), int(syllable[2])) if syllable else None

    return read


def _remove_glide(final: str) -> str:
    """Remove the medial glide: ian, uan and van (pypinyin's ü is v) rhyme with an, but ie and ve not with e."""
    return "ê" if final in ("ie", "ve") else re.sub(r"^[iuv](?=[aeo])", "", final)
