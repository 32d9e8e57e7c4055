"""Journals as runs would leave them beside the results of `report_factory`, attempts over time included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import report_factory as factory

from drills.engine.attempts import Classified
from drills.engine.result import Drill, Result
from drills.engine.series import series
from drills.inject.base import Attempt, Outcome, OutcomeKind

Counted = Sequence[tuple[str, OutcomeKind, int]]  # name, kind, how many in a row


def attempts(begin: float, end: float, counted: Counted) -> list[Classified]:
    """Attempts at an even pace between two instants of the factory's run."""
    outcomes = [Outcome(kind, name) for name, kind, number in counted for _ in range(number)]
    pace = (end - begin) / max(1, len(outcomes) - 1)
    start = factory.at(begin).timestamp()
    return [Classified(_attempt(number, start + number * pace), one) for number, one in enumerate(outcomes)]


def _attempt(number: int, moment: float) -> Attempt:
    return Attempt(number, moment, 0.0, "10.0.0.1", 80, "10.0.0.2", 40_000 + number, "receive", None)


def lines(result: Result, attacks: dict[str, tuple[Counted, Counted]] | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a whole run; ``attacks`` gives the attack and the control of a drill by name."""
    yield line(result.started_at, "run", run=result.run, playbook=result.playbook)
    for number, drill in enumerate(result.drills):
        yield from _drill(drill, number, (attacks or {}).get(drill.name))
    yield line(result.finished_at, "finished", verdict=result.verdict)


def _drill(drill: Drill, number: int, counted: tuple[Counted, Counted] | None) -> Iterator[dict[str, Any]]:
    assert drill.started_at is not None
    assert drill.finished_at is not None
    pod = f"pod frontend/drill-frontend-{number}"
    yield line(drill.started_at, "phase", drill.name, phase="prepare", detail="drill pods")
    yield line(
        drill.started_at,
        "plan",
        drill.name,
        attack="GET http://http-api.backend/admin/config, 5/s for 3m, from frontend",
        control="GET http://http-api.backend/, 1/s for 3m, from frontend",
        expected="HTTP 403 from the policy",
    )
    yield line(drill.started_at, "change", drill.name, what=pod, undo="delete it")
    yield line(drill.started_at, "phase", drill.name, phase="baseline", detail="control up, alerts at rest")
    if drill.first_attempt_at is not None and drill.last_attempt_at is not None:
        yield line(drill.first_attempt_at, "phase", drill.name, phase="inject", detail="GET http://http-api.backend/a")
        for role, of in zip(("attack", "control"), counted or (), strict=False):
            begin, end = (
                (one - factory.BEGAN).total_seconds() for one in (drill.first_attempt_at, drill.last_attempt_at)
            )
            yield line(drill.last_attempt_at, "series", drill.name, role=role, **series(attempts(begin, end, of)))
        yield line(drill.last_attempt_at, "phase", drill.name, phase="recover", detail="removing the drill pods")
    if drill.recovery.verdict != "not-restored":
        yield line(drill.last_attempt_at or drill.finished_at, "undone", drill.name, what=pod)


def line(moment: datetime, event: str, drill: str | None = None, **fields: Any) -> dict[str, Any]:
    own = {} if drill is None else {"drill": drill}
    return {"at": moment.isoformat(), "event": event, **own, **fields}


def write(path: Path, entries: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in entries), encoding="utf-8")
    return path


DENIED, LEAKED, UP, DEAD = OutcomeKind.DENIED, OutcomeKind.LEAKED, OutcomeKind.SUCCEEDED, OutcomeKind.BROKEN
ATTACKS: dict[str, tuple[Counted, Counted]] = {
    "admin-path": ([("http-403", DENIED, 900)], [("http-200", UP, 180)]),
    "one-leak": (
        [("http-403", DENIED, 500), ("http-200", LEAKED, 1), ("http-403", DENIED, 399)],
        [("http-200", UP, 180)],
    ),
    "database": ([("connect-timeout", DENIED, 360)], [("select", UP, 60), ("connect-timeout", DEAD, 120)]),
    "unheard": ([("dns-refused", DENIED, 360)], [("dns-answer", UP, 180)]),
}
