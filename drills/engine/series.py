"""Attempts over time, small enough for the journal: how many of each outcome began in each step of the wall clock.

The result counts outcomes; a reader who was not there also wants to see *when* the one leak happened among 900 denials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from drills.engine.attempts import Classified
from drills.inject.base import OutcomeKind

COLUMNS = 60  # about as many as a chart on a phone can show
SHORTEST = 0.001  # wall seconds: instants are written in milliseconds


def series(attempts: Sequence[Classified]) -> dict[str, Any]:
    """The fields of the journal's event ``series``: ``began`` (RFC 3339), ``step`` (wall seconds) and, by outcome, its
    ``kind`` and ``counts`` for every step; empty where no attempt was made.

    A step is a whole number of the attempts' own intervals, so that an even pace gives even counts.
    """
    if not attempts:
        return {}
    times = [one.attempt.at for one in attempts]
    first, last = min(times), max(times)
    interval = (last - first) / (len(times) - 1) if len(times) > 1 else 0.0
    step = max(interval * -(-len(times) // COLUMNS), SHORTEST) if last > first else 1.0
    began = first - interval / 2  # each attempt in the middle of its interval: a jitter moves none to a neighbour
    length = int((last - began) / step) + 1
    outcomes: dict[str, dict[str, Any]] = {}
    for one in attempts:
        of = outcomes.setdefault(one.outcome.name, {"kind": str(one.outcome.kind), "counts": [0] * length})
        of["counts"][int((one.attempt.at - began) / step)] += 1
    start = datetime.fromtimestamp(began, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"began": start, "step": round(step, 6), "outcomes": dict(sorted(outcomes.items()))}


def growth(began: float, reports: Sequence[tuple[float, Mapping[str, int]]]) -> dict[str, Any]:
    """The same of something that is only counted: ``reports`` are instants and how often each outcome came so far."""
    if not reports:
        return {}
    step = max((reports[-1][0] - began) / min(COLUMNS, len(reports)), SHORTEST)
    length = int((reports[-1][0] - began) / step) + 1
    outcomes: dict[str, dict[str, Any]] = {}
    before: Mapping[str, int] = {}
    for at, counts in reports:
        place = min(length - 1, max(0, int((at - began - step / 2) / step)))
        for name, count in counts.items():
            of = outcomes.setdefault(name, {"kind": _kind_of_answer(name), "counts": [0] * length})
            of["counts"][place] += max(0, count - before.get(name, 0))
        before = counts
    start = datetime.fromtimestamp(began, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"began": start, "step": round(step, 6), "outcomes": dict(sorted(outcomes.items()))}


def _kind_of_answer(name: str) -> str:
    """An answer below 400 is what a load asks for; anything else proves nothing."""
    good = name == "ok" or (name.startswith("http-") and name < "http-400")
    return str(OutcomeKind.SUCCEEDED if good else OutcomeKind.BROKEN)
