"""No more turns than the rate allows, over any time, whoever asks for them."""

from __future__ import annotations

import heapq
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.flood.limit import KEPT, Limiter


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def limiter(rate: float, most: int = 10**9, *, fastest: float = 0.0) -> tuple[Limiter, Clock]:
    clock = Clock()
    return Limiter(rate, max(rate, fastest), most, clock, clock.wait), clock


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
    faster=st.floats(1, 2),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_never_more_than_the_rate_however_one_pauses(rate: float, faster: float, pauses: list[float]) -> None:
    fastest = faster * rate
    found, clock = limiter(rate, fastest=fastest)
    began: list[float] = []
    for pause in pauses:
        clock.now += pause
        found.take()
        began.append(clock.now)
    for first, start in enumerate(began):
        for last in range(first, len(began)):
            allowed = fastest * (began[last] - start + KEPT) + 2
            assert last - first + 1 <= allowed + 1e-6 * allowed
        average = rate * (start - began[0]) + 1
        assert first + 1 <= average + 1e-6 * average


def test_a_pause_is_made_up_for_at_the_fastest_rate_and_no_more() -> None:
    found, clock = limiter(100.0, fastest=125.0)
    found.take()
    clock.now += 2.0  # 200 turns that nobody took
    began = clock.now
    for _ in range(800):
        found.take()
    assert clock.now - began == pytest.approx(800 / 125 - KEPT, abs=0.05)  # all 200 are made up for within 8 s
    for _ in range(700):
        found.take()
    assert clock.now - began == pytest.approx(1500 / 100 - 2.0, abs=0.05)


def test_many_who_wait_at_once_share_the_rate() -> None:
    """Users in turns: whoever is called waits in the schedule, while the others ask at the same moment."""
    clock = Clock()
    waiting: list[float] = []
    found = Limiter(100.0, 100.0, 10**9, clock, lambda seconds: heapq.heappush(waiting, clock.now + seconds))
    for _ in range(20):
        found.take()
    began = clock.now
    made = 1  # the first had its turn at once
    while waiting and waiting[0] <= began + 1.0:
        clock.now = heapq.heappop(waiting)
        made += 1
        found.take()
    assert made <= 101
