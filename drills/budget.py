"""How often, and for how long, a call that failed in passing is made again.

One budget for every API that is asked: a number of tries, a total time, growing pauses, and what the server itself asks
for (Retry-After). What is left of a spent budget is the last error, which says how often was tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Final, TypeVar

from drills.errors import DrillsError

PASSING: Final = frozenset({429, 500, 502, 503, 504})  # statuses that another try may change

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """``seconds`` on the wall, from the first try: no try begins later. ``pause``: the first; each is twice the last.

    ``answer``: the seconds that one try may wait for an answer.
    """

    tries: int = 5
    seconds: float = 8.0
    pause: float = 0.1
    answer: float = 5.0

    def pause_after(self, tries: int) -> float:
        """Seconds between a try (the first is 1) and the next."""
        return float(self.pause * 2 ** (tries - 1))


ONCE: Final = Budget(tries=1)


class Again(Exception):
    """Raised by a step that may be tried again; ``error`` is what is left if it is not, ``after`` the server's wish."""

    def __init__(self, error: DrillsError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


def within(
    budget: Budget,
    step: Callable[[], T],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> T:
    """The step's answer, tried again each time that it raises `Again`; the last error once the budget is spent."""
    until = clock() + budget.seconds
    for tries in count(1):
        try:
            return step()
        except Again as again:
            pause = max(budget.pause_after(tries), again.after or 0.0)
            if tries >= budget.tries or clock() + pause > until:
                raise _spent(again, tries) from None
            wait(pause)
    raise AssertionError("unreachable")


def _spent(again: Again, tries: int) -> DrillsError:
    notes = [f"tried {tries} times"] if tries > 1 else []
    notes += [f"it asks to wait {again.after:g} s"] if again.after else []
    if notes:
        again.error.args = (f"{again.error} ({', '.join(notes)})",)
    return again.error


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3); None where it says neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
