"""The parts of a chart that needs no script: marks in lanes on an axis of time.

Horizontal places are percent of the lane's width, so that a lane fits a phone and a page alike while its letters keep
their size; vertical ones are pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from drills.report.text import offset

Look = Literal[
    "expected", "leaked", "unclear", "pending", "firing", "window", "limit", "phase", "rest", "moment", "made", "left"
]
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
TICKS = 8  # at most, on the widest screen


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle; ``x`` and ``width`` in percent, ``y`` and ``height`` in pixels; ``title`` shows under the mouse."""

    look: Look
    x: float
    width: float
    y: float
    height: float
    title: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of the timeline: its name, what came of it, its marks, and the same in words below."""

    name: str
    verdict: str
    height: int
    marks: tuple[Mark, ...]
    caption: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line through every lane. On a narrow screen those that are not ``major`` go without their label."""

    x: float
    label: str
    major: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """From instants to percent. ``begin`` and ``end`` in playbook seconds from ``zero``."""

    zero: datetime
    begin: float
    end: float
    time_lapse: float

    def seconds(self, moment: datetime) -> float:
        """Playbook seconds from the first attempt."""
        return (moment - self.zero).total_seconds() * self.time_lapse

    def percent(self, seconds: float) -> float:
        """The place of a time, within the lane."""
        share = (seconds - self.begin) / (self.end - self.begin)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def mark(self, look: Look, start: float, end: float, y: float, height: float, **texts: str) -> Mark:
        """A mark between two times."""
        x = self.percent(start)
        return Mark(look, x, round(max(0.0, self.percent(end) - x), 3), y, height, **texts)


def ticks(axis: Axis) -> Iterator[Tick]:
    """Round times, zero among them."""
    length = axis.end - axis.begin
    step = next((step for step in STEPS if length / step <= TICKS), STEPS[-1] * -(-length // (STEPS[-1] * TICKS)))
    for number in range(int(axis.begin // step), int(axis.end // step) + 1):
        place = axis.percent(number * step)
        if axis.begin <= number * step and place < 97:  # a label needs room at its right
            yield Tick(place, offset(number * step), number % 2 == 0)
