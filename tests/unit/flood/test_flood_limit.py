"""No more turns than the rate allows, over any time, whoever asks for them."""

from __future__ import annotations

import heapq
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.flood.limit import CATCH_UP, Limiter


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def limiter(rate: float, most: int = 10**9) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(rate, most, clock, clock.wait), clock


def test_one_who_never_pauses_gets_exactly_the_rate() -> None:
    found, clock = limiter(50.0)
    began = clock.now
    for _ in range(501):
        found.take()
    assert clock.now - began == pytest.approx(10.0)


def test_after_the_last_turn_nobody_returns() -> None:
    found, clock = limiter(50.0, most=3)
    for _ in range(3):
        found.take()
    found.take()
    assert (found.taken, clock.now) == (3, math.inf)


@given(
    rate=st.floats(0.5, 5000),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_never_more_than_the_rate_however_one_pauses(rate: float, pauses: list[float]) -> None:
    found, clock = limiter(rate)
    began: list[float] = []
    for pause in pauses:
        clock.now += pause
        found.take()
        began.append(clock.now)
    for first, start in enumerate(began):
        for last in range(first, len(began)):
            allowed = rate * (began[last] - start + CATCH_UP) + 2
            assert last - first + 1 <= allowed + 1e-6 * allowed


def test_many_who_wait_at_once_share_the_rate() -> None:
    """Users in turns: whoever is called waits in the schedule, while the others ask at the same moment."""
    clock = Clock()
    waiting: list[float] = []
    found = Limiter(100.0, 10**9, clock, lambda seconds: heapq.heappush(waiting, clock.now + seconds))
    for _ in range(20):
        found.take()
    began = clock.now
    made = 1  # the first had its turn at once
    while waiting and waiting[0] <= began + 1.0:
        clock.now = heapq.heappop(waiting)
        made += 1
        found.take()
    assert made <= 101
