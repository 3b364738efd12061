"""The samples of text models: `Texts`, rows of tokens with the vocabulary that decodes them."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from zoo.errors import InvalidValueError
from zoo.io.atomic import replace_atomically
from zoo.samples import Samples, number_files
from zoo.text.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Texts(Samples):
    """Texts [N, T] int64, which `vocabulary` decodes.

    `save` writes one text a line, or with empty lines between where texts have several lines (.txt). It writes one JSON
    object a line, with text, tokens, seed and index (.jsonl). Into a folder it writes one .txt each.
    """

    vocabulary: Vocabulary | None = None

    SUFFIXES = (".txt", ".jsonl")
    PIXELS = ()
    LINES = (".jsonl",)
    READABLE = True

    @cached_property
    def texts(self) -> list[str]:
        """The texts as strings. Raises InvalidValueError where the model has no vocabulary."""
        if self.vocabulary is None:
            raise InvalidValueError("these texts have no vocabulary: the model was built from its config, not loaded")
        return [self.vocabulary.decode(row) for row in self.tensor.tolist()]

    def __str__(self) -> str:
        between = "\n\n" if any("\n" in text for text in self.texts) else "\n"
        return between.join(self.texts)

    def _write(self, path: Path, columns: int | None, scale: int) -> None:
        """Write as the class says. In a .txt an empty line follows every `columns` texts, where a row ends."""
        if path.suffix.lower() in self.LINES:
            with replace_atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                for _ in self.write_lines(file, number_files(range(len(self)), len(self))):
                    pass
        elif path.suffix.lower() == ".txt":
            rows = [self] if columns is None else [self[i : i + columns] for i in range(0, len(self), columns)]
            _write(path, "\n\n".join(map(str, rows)))
        else:
            self._write_folder(path, scale)

    def write_each(self, folder: Path, numbers: Sequence[str], scale: int) -> Iterator[None]:
        for number, text in zip(numbers, self.texts, strict=True):
            _write(folder / f"{number}.txt", text)
            yield

    def write_lines(self, file: IO[str], numbers: Sequence[str]) -> Iterator[None]:
        for number, text, row in zip(numbers, self.texts, self.tensor.tolist(), strict=True):
            line = {"text": text, "tokens": row, "seed": self.seed, "index": int(number)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            yield

    def show_on(self, writer: Any, name: str, step: int) -> None:
        writer.add_text(name, "\n\n".join(text.replace("\n", "  \n") for text in self[:16].texts), step)

    def _repr_html_(self) -> str:
        """Show the first 64 in a notebook."""
        cells = "".join(f"<pre style='margin: 0 2em 1em 0'>{html.escape(text)}</pre>" for text in self[:64].texts)
        return f"<div style='display: flex; flex-wrap: wrap'>{cells}</div>"


def _write(path: Path, text: str) -> None:
    with replace_atomically(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
