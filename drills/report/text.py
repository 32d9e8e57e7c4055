"""Text as a person may read it safely: names, labels and reasons come from a cluster that others can write to.

A label value may carry an escape sequence that clears the screen, a line break that forges a line of the report, or a
direction override that swaps what is read. Whatever a terminal, a log or an XML file could take for more than a
letter becomes a visible escape.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime

LIMIT = 1000  # characters; a label value may be longer than a screen
_SPACES = frozenset("\n\r\t\v\f\x85\u2028\u2029")
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # controls, direction marks, surrogates, unassigned


def plain(text: str, limit: int = LIMIT) -> str:
    """One line of printable text, cut at ``limit`` characters; what cannot be printed becomes Python's escape."""
    line = "".join(_visible(character) for character in text[: limit + 1]).strip()
    return line if len(text) <= limit else line[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character in _SPACES:
        return " "
    if unicodedata.category(character) in _UNSAFE:
        return character.encode("unicode_escape").decode("ascii")
    return character


def seconds(value: float) -> str:
    """``118 s``, ``0.4 s``: whole seconds from ten on, tenths below."""
    return f"{value:.0f} s" if value >= 10 or value == int(value) else f"{value:.1f} s"


def counts(outcomes: Mapping[str, int]) -> str:
    """``http-403: 890, timeout: 10``, the most frequent first."""
    ordered = sorted(outcomes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(name)}: {number}" for name, number in ordered if number)


def clock(moment: datetime) -> str:
    """The time of day in UTC with tenths: ``20:48:07.1``."""
    return moment.strftime("%H:%M:%S.") + str(moment.microsecond // 100_000)


def sentence(text: str) -> str:
    """A reason inside a longer sentence: on one line, without the full stop at its end."""
    return plain(text).rstrip(".")


def span(value: float) -> str:
    """A length of time to read: ``0.4 s``, ``82 s``, ``4 min``, ``7 min 52 s``, ``2 h 5 min``."""
    if abs(value) < 120 and round(value) != 60:
        return seconds(value)
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def offset(value: float) -> str:
    """A time before or after the first attempt: ``-30 s`` (with a true minus), ``0``, ``+4 min``."""
    if abs(value) < 0.05:
        return "0"
    return ("+" if value > 0 else "\N{MINUS SIGN}") + span(abs(value))
