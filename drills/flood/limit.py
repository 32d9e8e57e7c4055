"""The rate that nothing exceeds: a schedule of turns, one for each request. Pure; the clock and the wait are given."""

from __future__ import annotations

from collections.abc import Callable

KEPT = 0.1  # seconds: turns that nobody took are given at once afterwards, as far as they are no older than that


class Limiter:
    """Since the first turn never more than ``rate`` a second on average, so that a pause can be made up for; but over
    any time ``t`` at most ``fastest * (t + KEPT)``, and one more for each that waits; never more than ``most`` in all.
    One thread only (greenlets are).
    """

    def __init__(
        self, rate: float, fastest: float, most: int, clock: Callable[[], float], wait: Callable[[float], object]
    ) -> None:
        """``fastest`` is no less than ``rate``. ``wait`` is called with seconds; with ``inf`` it must not return."""
        self.taken = 0
        self._interval = 1.0 / rate
        self._shortest = 1.0 / max(rate, fastest)
        self._most = most
        self._clock = clock
        self._wait = wait
        self._due: float | None = None  # the next turn by the rate
        self._next = float("-inf")  # the earliest that `fastest` allows

    def take(self) -> None:
        """Return when it is one's turn."""
        if self.taken >= self._most:
            self._wait(float("inf"))
            return
        self.taken += 1
        now = self._clock()
        if self._due is None:
            self._due = self._next = now
        turn = max(self._due, self._next, now - KEPT)
        self._due += self._interval
        self._next = turn + self._shortest
        if turn > now:
            self._wait(turn - now)
