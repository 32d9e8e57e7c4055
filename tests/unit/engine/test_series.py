"""Attempts over time: nothing lost, an even pace even, few enough columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drills.engine.attempts import Classified
from drills.engine.series import COLUMNS, series
from drills.inject.base import Attempt, Outcome, OutcomeKind

BEGAN = 1_772_398_080.0
DENIED, LEAKED = Outcome(OutcomeKind.DENIED, "http-403"), Outcome(OutcomeKind.LEAKED, "http-200")


def attempts(times: list[float], leaks: frozenset[int] = frozenset()) -> list[Classified]:
    return [
        Classified(
            Attempt(i, BEGAN + at, 0.0, "10.0.0.1", 80, "10.0.0.2", 40_000, "receive", None),
            LEAKED if i in leaks else DENIED,
        )
        for i, at in enumerate(times)
    ]


def test_an_even_pace_gives_even_counts() -> None:
    found = series(attempts([number / 75 for number in range(900)]))
    assert found["began"] == "2026-03-01T20:47:59.993Z"
    assert found["step"] == 0.2
    assert found["outcomes"] == {"http-403": {"kind": "denied", "counts": [15] * 60}}


def test_a_leak_stands_where_it_happened() -> None:
    found = series(attempts([number / 75 for number in range(900)], frozenset({450})))
    leaks = found["outcomes"]["http-200"]
    assert leaks["kind"] == "leaked"
    assert [step for step, count in enumerate(leaks["counts"]) if count] == [30]


def test_no_attempt_and_one_attempt() -> None:
    assert series([]) == {}
    assert series(attempts([3.0]))["outcomes"]["http-403"]["counts"] == [1]


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=300))
def test_nothing_is_lost_and_the_columns_stay_few(times: list[float]) -> None:
    found = series(attempts(times))
    counts = found["outcomes"]["http-403"]["counts"]
    assert sum(counts) == len(times)
    assert len(counts) <= COLUMNS + 2
    assert found["step"] > 0
