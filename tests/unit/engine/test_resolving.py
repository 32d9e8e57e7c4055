"""An alert without samples has ended only where a poll shows its rule evaluated, healthy and without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerts.prometheus import ActiveAlert, LoadedRecord, LoadedRule
from drills.engine.lives import Wanted
from drills.engine.resolving import unended
from drills.engine.watch import Snapshot

ALERT = ActiveAlert({"alertname": "Denied"}, {}, "firing", 100.0, 1.0)
RULE = LoadedRule("Denied", "x:y > 1", 0, 0, {}, {}, "firing", "ok", "", 100.0, 0.0, (ALERT,), "g", "f", 1000)
RECORD = LoadedRecord("x:y", "sum(x)", (), "ok", "", "g", 1000)
WANTED = Wanted("Denied", {})
LAST = 104.0  # the last sample; from then on the rule is evaluated without the alert


def polls(since: float = 105.0, **change: Any) -> list[Snapshot]:
    """One a second from 100 to 110; ``change`` is what the rule has from ``since`` on."""
    found = []
    for at in range(100, 111):
        rule = replace(RULE, last_evaluation=float(at), alerts=(ALERT,) if at <= LAST else ())
        found.append(Snapshot(at + 0.1, rules=(replace(rule, **change) if at >= since else rule,), records=(RECORD,)))
    return found


def doubt(found: list[Snapshot], resolved: float | None = LAST + 1) -> str | None:
    return unended(found, RULE, (RECORD,), WANTED, fired=100.0, resolved=resolved)


def test_a_poll_that_shows_it_gone_is_its_end() -> None:
    assert doubt(polls()) is None
    assert doubt([one for one in polls() if one.at < 101 or one.at > 107]) is None
    assert doubt(polls(), resolved=None) is None  # it still has samples


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (polls(health="err", last_error="many-to-many", alerts=(ALERT,)), "evaluating Denied fails: many-to-many"),
        (polls(health="err", last_error="x", last_evaluation=105.0), "evaluating Denied fails: x"),
        (polls(last_evaluation=104.0, alerts=(ALERT,)), "was not evaluated in time when its samples ended"),
        (polls(alerts=(ALERT,)), "no poll showed Denied evaluated and inactive after its last sample"),
        (polls()[:5], "no poll showed Denied evaluated and inactive after its last sample"),
    ],
)
def test_whatever_else_took_its_samples_away_is_not(found: list[Snapshot], said: str) -> None:
    text = doubt(found)
    assert text is not None
    assert said in text


def test_a_recording_rule_that_failed_meanwhile_may_have_ended_it() -> None:
    ill = replace(RECORD, health="err", last_error="boom")
    found = [replace(one, records=(ill,)) if one.at < 103 else one for one in polls()]
    assert doubt(found) == "evaluating the recording rule x:y, which Denied reads, fails: boom"


def test_what_failed_after_its_end_does_not_matter() -> None:
    assert doubt(polls(since=108, health="err", last_error="x")) is None
    assert doubt([*polls(), replace(polls()[-1], at=130.0)]) is None
