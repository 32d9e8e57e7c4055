"""What an auditor is told of everything that the result does not judge."""

from __future__ import annotations

from typing import Any

from drills.engine import unjudged
from drills.engine.result import Alert, Control, Drill, Enforcement, Quiet, Recovery

FIRED = "2026-03-01T20:48:07Z"


def drill(alerts: list[dict[str, Any]], **changes: Any) -> Drill:
    held = Enforcement(verdict="held", attempts=1, planned=1, denied=1, leaked=0, outcomes={})
    whole: dict[str, Any] = {
        "name": "d",
        "verdict": "passed",
        "enforcement": held,
        "control": Control(verdict="up", attempts=1, succeeded=1),
        "alerts": [Alert.model_validate({"name": "A", "withinSeconds": 60.0, **one}) for one in alerts],
        "recovery": Recovery(verdict="restored", seconds=0.4),
    }
    return Drill(**{**whole, **changes})


def test_nothing_where_all_was_judged() -> None:
    detected = {"verdict": "detected", "firingAt": FIRED, "resolution": "resolved"}
    assert unjudged.of(drill([detected, {"verdict": "missed", "reason": "no-series"}])) == []


def test_every_part_that_was_not_judged_with_its_reason() -> None:
    inconclusive = Enforcement(
        verdict="inconclusive", reason="the control broke", attempts=0, planned=1, denied=0, leaked=0, outcomes={}
    )
    alerts = [
        {"verdict": "not-judged", "reason": "Prometheus restarted"},
        {"verdict": "detected", "firingAt": FIRED, "resolution": "not-judged"},
        {"verdict": "late", "firingAt": FIRED, "resolution": "not-judged", "resolvesWithinSeconds": 9, "reason": "why"},
    ]
    found = unjudged.of(
        drill(
            alerts,
            enforcement=inconclusive,
            quiet=[Quiet(name="Q", verdict="not-judged", reason="not loaded"), Quiet(name="R", verdict="quiet")],
            recovery=Recovery(verdict="not-verified", seconds=None, reason="the undo did not run"),
        )
    )
    assert found == [
        "d: enforcement: the control broke",
        "d: detection by A: Prometheus restarted",
        "d: resolution of A: the playbook sets no resolvesWithin",
        "d: resolution of A: why",
        "d: quietness of Q: not loaded",
        "d: recovery: the undo did not run",
    ]
