"""Findings for a terminal: the place, the line of the source with a caret, the effect, the way out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from drills.check.finding import Finding, Level
from drills.errors import InputError
from drills.source import read_text

_WIDTH = 110
_LONGEST_LINE = 160  # characters of the source that are shown


def render(findings: Sequence[Finding]) -> str:
    """Every finding, then how many there are of each level."""
    return "\n".join([*(_finding(each) for each in findings), summary(findings)]) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """``2 errors, 1 warning``, or that nothing was found."""
    counts = [(level, sum(each.level is level for each in findings)) for level in Level]
    said = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts if count]
    return ", ".join(said) or "Nothing is wrong."


def _finding(finding: Finding) -> str:
    lines = [f"{finding.place}: {finding.level}: {printable(finding.message)} [{finding.rule}]"]
    lines += _source(finding)
    lines += _paragraph("effect", finding.effect)
    lines += _paragraph("fix", finding.fix)
    return "\n".join([*lines, ""])


def _source(finding: Finding) -> Iterator[str]:
    lines = source_lines(finding.place.file)
    if not 1 <= finding.place.line <= len(lines):
        return
    line, column = lines[finding.place.line - 1], finding.place.column - 1
    start = max(0, column - _LONGEST_LINE // 2) if len(line) > _LONGEST_LINE else 0
    shown = line[start : start + _LONGEST_LINE]
    before = "".join("\t" if char == "\t" else " " for char in shown[: column - start])
    span = max(1, min(finding.span, len(shown) - (column - start)))
    number = str(finding.place.line)
    yield f"  {number} | {printable(shown)}"
    yield f"  {' ' * len(number)} | {before}{'^' * span}"


def _paragraph(word: str, text: str) -> list[str]:
    indent = f"  {word}: "
    return textwrap.wrap(
        printable(text), _WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False
    )


def printable(text: str) -> str:
    """Without characters that would steer a terminal."""
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)


@lru_cache(maxsize=64)
def source_lines(file: Path | str) -> tuple[str, ...]:
    """The lines of a file; none if it cannot be read."""
    try:
        return tuple(read_text(Path(file)).splitlines())
    except InputError:
        return ()
