"""Text that others wrote, made safe to read."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.report.text import LIMIT, counts, plain, seconds


@given(st.text(st.characters(codec=None), max_size=60))
def test_plain_text_is_one_printable_line(text: str) -> None:
    safe = plain(text)
    assert not {unicodedata.category(character) for character in safe} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert len(safe.splitlines()) <= 1
    safe.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60))
def test_letters_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\tc\u2028d", "a b c d"),
        ("\u202eevil", "\\u202eevil"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\ud800", "\\ud800"),
        ("größer", "größer"),
    ],
)
def test_what_a_terminal_would_act_on_is_visible(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_long_text_is_cut() -> None:
    assert plain("x" * LIMIT) == "x" * LIMIT
    assert plain("x" * (LIMIT + 1)) == "x" * (LIMIT - 1) + "…"


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0 s"), (0.4, "0.4 s"), (5.0, "5 s"), (9.95, "9.9 s"), (118, "118 s"), (61.2, "61 s")]
)
def test_seconds(value: float, expected: str) -> None:
    assert seconds(value) == expected


def test_counts_name_the_most_frequent_first_and_leave_out_what_did_not_happen() -> None:
    assert counts({"timeout": 1, "http-403": 9, "refused": 0, "a\nb": 1}) == "http-403: 9, a b: 1, timeout: 1"
