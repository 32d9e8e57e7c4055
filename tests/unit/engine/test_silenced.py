"""The delivery of an alert that the run itself silenced: as good as delivered, stopped by something else, or told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerts.alertmanager import ManagedAlert
from alerts.delivery import DeliveryFacts
from alerts.routing import Route
from alerts.silences import AUTHOR, OwnSilence, Silence
from drills.engine.detection import AlertFacts, Times, judge_alert
from drills.engine.silenced import judged

OURS = OwnSilence({"alertname": "Denied"}, "drills: run r, drill d", 5000.0)
KNOWN = (
    Silence("s1", "expired", (), 1000.0, 1040.0, AUTHOR, OURS.comment),
    Silence("s2", "active", (), 900.0, 9000.0, "ann", "noisy"),
    Silence("s3", "active", (), 900.0, 9000.0, AUTHOR, "drills: run q, drill d"),
)
ROUTE = Route("security", (), 0, 300_000, 14_400_000, (), 1)
SEEN = ManagedAlert(
    {"alertname": "Denied"}, {}, "f0", 1012.0, None, 1012.0, "suppressed", ("s1",), (), (), ("security",)
)
BARE = replace(SEEN, state="active", silenced_by=())
FACTS = AlertFacts(
    name="Denied",
    within=60.0,
    resolves_within=None,
    attack_began=1010.0,
    attack_ended=1020.0,
    time_lapse=1.0,
    times=Times(pending=1010.0, firing=1012.0, at_alertmanager=1012.1),
    bounds=None,
    active_before=False,
    unjudged=None,
    stop=None,
    expects_notice=False,
)


def verdict(
    *seen: ManagedAlert, notified: bool = False, reached: bool = False
) -> tuple[str, Any, list[str], list[str]]:
    found = DeliveryFacts("Denied", {}, ("http://am",), seen[-1] if seen else None, "security", KNOWN, {}, (ROUTE,))
    sightings = [(1013.0 + number, one) for number, one in enumerate(seen)]
    alert = judge_alert(judged(FACTS, OURS, found, sightings, notified=notified, reached=reached))
    return alert.verdict, alert.stopped_at, list(alert.flags), alert.silenced_by


@pytest.mark.parametrize(
    ("seen", "heard", "found"),
    [
        ((SEEN, SEEN), {}, ("detected", None, [], ["s1"])),
        ((replace(SEEN, silenced_by=("s1", "s2")),), {}, ("undelivered", "silenced", [], [])),
        ((replace(SEEN, silenced_by=("s3",)),), {}, ("undelivered", "silenced", [], [])),  # another drill's
        ((replace(SEEN, inhibited_by=("f1",)),), {}, ("undelivered", "inhibited", [], [])),
        ((), {}, ("undelivered", "not-at-alertmanager", [], [])),
        ((BARE,), {}, ("undelivered", "unknown", [], [])),  # neither silenced nor told
        ((BARE,), {"notified": True, "reached": True}, ("detected", None, ["paged"], [])),
        ((BARE,), {"reached": True}, ("detected", None, ["paged"], [])),
        ((SEEN,), {"notified": True, "reached": True}, ("detected", None, ["paged"], [])),
        ((SEEN,), {"notified": True}, ("detected", None, ["paged"], ["s1"])),  # another receiver was
    ],
)
def test_verdict(seen: tuple[ManagedAlert, ...], heard: dict[str, bool], found: tuple[Any, ...]) -> None:
    assert verdict(*seen, **heard) == found


def test_the_labels_that_our_silence_did_not_match_are_named() -> None:
    found = DeliveryFacts("Denied", {}, (), BARE, "security", KNOWN)
    facts = judged(FACTS, OURS, found, [(1013.0, BARE)], notified=True, reached=True)
    assert facts.told == (
        "a receiver was notified: this run's silence did not hide the alert as Alertmanager had it, "
        '{alertname="Denied"}'
    )
