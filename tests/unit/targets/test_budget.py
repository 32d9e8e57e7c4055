"""How often a call is made again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from drills.budget import ONCE, Again, Budget, retry_after, within
from drills.errors import WorldError


class Clock:
    """Time that passes only while somebody waits, or while a try takes ``takes`` seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now = 100.0
        self.takes = takes
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def tried(clock: Clock, budget: Budget, outcomes: list[float | str | None]) -> str:
    rest = iter(outcomes)

    def step() -> str:
        clock.now += clock.takes
        outcome = next(rest)
        if isinstance(outcome, str):
            return outcome
        raise Again(WorldError("it is away"), outcome)

    return within(budget, step, clock=clock, wait=clock.wait)


def test_a_step_that_succeeds_is_made_once() -> None:
    clock = Clock()
    assert tried(clock, Budget(), ["done"]) == "done"
    assert clock.waits == []


def test_pauses_grow() -> None:
    clock = Clock()
    assert tried(clock, Budget(tries=4, pause=0.5), [None, None, None, "done"]) == "done"
    assert clock.waits == [0.5, 1.0, 2.0]


def test_the_last_error_says_how_often_was_tried() -> None:
    with pytest.raises(WorldError, match=r"^it is away \(tried 3 times\)$"):
        tried(Clock(), Budget(tries=3), [None, None, None])


def test_once_is_once_and_says_nothing_of_it() -> None:
    with pytest.raises(WorldError, match=r"^it is away$"):
        tried(Clock(), ONCE, [None])


def test_what_the_server_asks_for_is_waited() -> None:
    clock = Clock()
    assert tried(clock, Budget(pause=0.5), [2.0, 0.1, "done"]) == "done"
    assert clock.waits == [2.0, 1.0]


def test_a_wish_beyond_the_budget_ends_it_at_once() -> None:
    clock = Clock()
    with pytest.raises(WorldError, match=r"^it is away \(it asks to wait 3600 s\)$"):
        tried(clock, Budget(seconds=8.0), [3600.0])
    assert clock.waits == []


def test_no_try_begins_after_the_total_time() -> None:
    clock = Clock(takes=5.0)
    with pytest.raises(WorldError, match=r"tried 2 times"):
        tried(clock, Budget(tries=9, seconds=8.0, pause=1.0), [None] * 9)


def test_other_errors_pass_through() -> None:
    def step() -> None:
        raise WorldError("no such thing")

    with pytest.raises(WorldError, match="no such thing"):
        within(Budget(), step)


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("7", 7.0), (" 0 ", 0.0), ("soon", None), ("-1", None)])
def test_retry_after_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    assert later is not None
    assert 290 < later <= 300
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
