"""Lines and columns inside values: where a word of a text stands in the file, however YAML wrote the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path

from drills.errors import InputError, Place
from drills.source import Document, KeyPath, read_text

NAME = r"[a-zA-Z0-9_:]"  # of metrics and labels
_SLACK = 2000  # characters that indentation and escapes may add to a value, beside eight times its length


class FileText:
    """A file's text, and the way between offsets and places."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def offset(self, place: Place) -> int:
        """Where a place stands in the text."""
        return self._starts[min(place.line, len(self._starts)) - 1] + place.column - 1

    def place(self, offset: int, like: Place) -> Place:
        """The place of an offset, in the file of another place."""
        line = bisect_right(self._starts, offset)
        return Place(like.file, line, offset - self._starts[line - 1] + 1)


class Texts:
    """The files' texts, each read once."""

    def __init__(self) -> None:
        self._texts: dict[Path | str, FileText | None] = {}

    def of(self, document: Document) -> FileText | None:
        """The text of a document's file; None where it was no file."""
        file = document.file
        if file not in self._texts:
            self._texts[file] = _text(file)
        return self._texts[file]


def word_place(text: FileText | None, document: Document, path: KeyPath, value: str, offset: int, word: str) -> Place:
    """The place of a word that stands at an offset of the value at a path; the value's where it cannot be found.

    YAML folds lines and drops indentation, but never inside a word: the n-th occurrence in the value is the n-th in the
    file, counted from where the value begins.
    """
    start = document.place_of(path)
    if text is None or not word:
        return start
    pattern = re.compile(rf"(?<!{NAME}){re.escape(word)}(?!{NAME})")
    number = sum(1 for match in pattern.finditer(value) if match.start() <= offset)
    begin = text.offset(start)
    for count, match in enumerate(pattern.finditer(text.text, begin, begin + 8 * len(value) + _SLACK), 1):
        if count == number:
            return text.place(match.start(), start)
    return start


def _text(file: Path | str) -> FileText | None:
    try:
        return FileText(read_text(file)) if isinstance(file, Path) else None
    except InputError:
        return None
