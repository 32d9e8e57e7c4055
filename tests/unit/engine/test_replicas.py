"""A pair of Prometheus: fired is when the first did, resolved when none has it, and a silent one leaves things open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.prometheus import ActiveAlert, LoadedRule
from alerts.stopped import Stopped
from drills.engine.detection import AlertFacts, Times, judge_alert, merged
from drills.engine.period import Period
from drills.engine.watch import Snapshot

FIRED = AlertFacts(
    name="Denied",
    within=60.0,
    resolves_within=600.0,
    attack_began=1000.0,
    attack_ended=1010.0,
    time_lapse=1.0,
    times=Times(pending=1005.0, firing=1030.0, at_alertmanager=1030.1, notified=1030.2, resolved=1100.0),
    bounds=None,
    active_before=False,
    unjudged=None,
    stop=None,
    expects_notice=True,
)
EARLIER = replace(FIRED, times=replace(FIRED.times, firing=1020.0, resolved=1090.0))
LASTING = replace(FIRED, times=replace(FIRED.times, resolved=None))
QUIET = replace(FIRED, times=Times(), stop=Stopped("below-threshold", "x"))
GONE = replace(FIRED, times=Times(), unjudged="http://b: Prometheus no longer answers")
DIED = replace(FIRED, times=replace(FIRED.times, resolved=None), resolution_unjudged="http://b: restarted")


@pytest.mark.parametrize("pair", [(FIRED, EARLIER), (EARLIER, FIRED)])
def test_the_first_to_fire_and_the_last_to_end(pair: tuple[AlertFacts, AlertFacts]) -> None:
    alert = judge_alert(merged(pair))
    assert (alert.verdict, alert.detection_seconds, alert.resolution) == ("detected", 20.0, "resolved")
    assert alert.resolved_at is not None
    assert alert.resolved_at.timestamp() == 1100.0


@pytest.mark.parametrize(
    ("pair", "verdict", "resolution"),
    [
        ((FIRED, QUIET), "detected", "resolved"),
        ((QUIET, FIRED), "detected", "resolved"),
        ((FIRED, LASTING), "detected", "not-resolved"),
        ((FIRED, GONE), "detected", "not-judged"),
        ((GONE, FIRED), "detected", "not-judged"),
        ((FIRED, DIED), "detected", "not-judged"),
        ((QUIET, QUIET), "missed", "not-judged"),
        ((QUIET, GONE), "not-judged", "not-judged"),  # the silent one may have fired
        ((GONE, QUIET), "not-judged", "not-judged"),
        ((FIRED, replace(QUIET, active_before=True)), "premature", "resolved"),
    ],
)
def test_a_pair(pair: tuple[AlertFacts, AlertFacts], verdict: str, resolution: str) -> None:
    alert = judge_alert(merged(pair))
    assert (alert.verdict, alert.resolution) == (verdict, resolution)


def test_one_alone_is_what_it_is() -> None:
    for one in (FIRED, QUIET, GONE, DIED):
        assert judge_alert(merged([one])) == judge_alert(one)


def test_the_reason_names_the_replica() -> None:
    assert judge_alert(merged([QUIET, GONE])).reason == "http://b: Prometheus no longer answers"
    assert "http://b: restarted" in judge_alert(merged([FIRED, DIED])).reason


def rule(*, active: bool) -> LoadedRule:
    alert = ActiveAlert({"alertname": "Denied"}, {}, "firing", 1.0, 1.0)
    return LoadedRule(
        "Denied", "x > 1", 0, 0, {}, {}, "firing", "ok", "", 1.0, 0.0, (alert,) if active else (), "g", "f", 1000
    )


def test_a_poll_sees_an_alert_at_any_replica_and_knows_nothing_beside_a_silent_one() -> None:
    here, there = Snapshot(1.0, rules=(rule(active=False),)), Snapshot(1.0, rules=(rule(active=True),))
    silent = Snapshot(1.0, problems={"prometheus": "no answer"})
    assert not replace(here, others=(here,)).active("Denied", {})
    assert replace(here, others=(there,)).active("Denied", {})
    assert replace(here, others=(there,)).answered
    assert not replace(here, others=(silent,)).answered
    period = Period((replace(here, others=(there,)),), 1.0, None)
    assert not period.of_replica(0).snapshots[0].active("Denied", {})
    assert period.of_replica(1).snapshots[0].active("Denied", {})
