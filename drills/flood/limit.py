"""The rate that nothing exceeds: a schedule of turns, one for each request. Pure; the clock and the wait are given."""

from __future__ import annotations

from collections.abc import Callable

CATCH_UP = 0.1  # seconds: turns that nobody took are kept for so long, so that a short pause does not lower the rate


class Limiter:
    """Turns are ``1 / rate`` seconds apart. Over any time ``t`` at most ``rate * (t + CATCH_UP)`` are given, and one
    more for each that waits; never more than ``most`` in all. One thread only (greenlets are).
    """

    def __init__(self, rate: float, most: int, clock: Callable[[], float], wait: Callable[[float], object]) -> None:
        """``wait`` is called with seconds; with ``inf`` it must not return."""
        self.taken = 0
        self._interval = 1.0 / rate
        self._most = most
        self._clock = clock
        self._wait = wait
        self._next = float("-inf")

    def take(self) -> None:
        """Return when it is one's turn."""
        if self.taken >= self._most:
            self._wait(float("inf"))
            return
        self.taken += 1
        now = self._clock()
        turn = max(self._next, now - CATCH_UP) if self._next > float("-inf") else now
        self._next = turn + self._interval
        if turn > now:
            self._wait(turn - now)
