"""Quiet is an alert that had the time to fire: a whole attack, and the longest that its rule may take after it."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.bounds import Timing
from alerts.rule import AlertRule
from drills.engine.feasible import Watched
from drills.engine.lives import Wanted
from drills.engine.period import Period
from drills.engine.quietness import cut_short
from drills.engine.result import Enforcement
from drills.engine.seen import Expected, LoadSeen, Seen
from drills.engine.watch import Snapshot
from drills.playbook import AlertExpectation

RULE = AlertRule("Calm", "x > 1", for_ms=1000, keep_firing_ms=0, labels={}, annotations={}, group="g", source="f")
CALM = Expected(
    spec=AlertExpectation(name="Calm", within=1.0),
    wanted=Wanted("Calm", {}),
    rule=None,
    watched=Watched(RULE, Timing(1000, 1000)),  # 3 s at worst
)


def lacks(*, until: float = 103.0, attempts: int = 90, aborted: str | None = None, **seen: Any) -> list[str]:
    found = Seen(started=0.0, attack_began=90.0, attack_ended=100.0, **seen)
    made = Enforcement(verdict="held", attempts=attempts, planned=100, denied=attempts, leaked=0, outcomes={})
    period = Period(tuple(Snapshot(float(at)) for at in (90.0, until)), 15.0, aborted)
    return list(cut_short(CALM, found, made, period))


def test_a_whole_attack_that_was_watched_to_its_end_lacks_nothing() -> None:
    assert lacks() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aborted": "interrupted by SIGINT"}, "the drill was stopped: interrupted by SIGINT"),
        ({"attempts": 89}, "only 89 of 100 planned attempts were made"),
        ({"until": 102.9}, "it was watched for 44 s after the attack, and Calm may take 45 s to fire"),
        ({"until": 99.0}, "it was watched for 0 s after the attack, and Calm may take 45 s to fire"),
        ({"load": LoadSeen(10.0, 1, 1, shortfall="the flood was cut short")}, "the flood was cut short"),
    ],
)
def test_what_was_cut_short_proves_nothing(change: dict[str, Any], said: str) -> None:
    assert lacks(**change) == [said]
