"""A baseline that the run's polls have shown already, and everything that makes them show nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from alerts.alertmanager import ManagedAlert
from alerts.prometheus import ActiveAlert, LoadedRule, RuntimeInfo
from drills.engine.polled import Inputs
from drills.engine.rest import shown
from drills.engine.watch import ClockReading, Snapshot

STILL = 6.0
WANTED = [("Denied", {"severity": "warning"})]
INPUTS = [Inputs("Denied", frozenset({("agents", "one")}), 1.0)]
LABELS = {"alertname": "Denied", "severity": "warning"}
EVERY = 0.25


def rule(at: float) -> LoadedRule:
    return LoadedRule(
        name="Denied",
        query="x > 1",
        for_ms=4000,
        keep_firing_ms=0,
        labels={"severity": "warning"},
        annotations={},
        state="inactive",
        health="ok",
        last_error="",
        last_evaluation=at - 0.5,
        evaluation_seconds=0.0,
        alerts=(),
        group="g",
        file="f",
        interval_ms=1000,
    )


def snapshot(at: float) -> Snapshot:
    return Snapshot(
        at=at,
        rules=(rule(at),),
        up={("agents", "one"): True},
        clock=ClockReading(0.0, 0.01),
        process=RuntimeInfo(1.0, True, 2.0, 9),
    )


def polls(seconds: float) -> list[Snapshot]:
    return [snapshot(100 + EVERY * number) for number in range(int(seconds / EVERY) + 1)]


def changed(one: Snapshot, **changes: object) -> Snapshot:
    return replace(one, rules=(replace(one.rules[0], **changes),))  # type: ignore[arg-type]


def test_quiet_polls_for_long_enough_show_it() -> None:
    assert shown(polls(STILL), WANTED, INPUTS, STILL)
    assert shown(polls(STILL + 5), WANTED, INPUTS, STILL)


@pytest.mark.parametrize("seconds", [0.0, 1.0, STILL - EVERY])
def test_too_short_a_time_does_not(seconds: float) -> None:
    assert not shown(polls(seconds), WANTED, INPUTS, STILL)


def test_no_polls_show_nothing() -> None:
    assert not shown([], WANTED, INPUTS, STILL)


ACTIVE = (ActiveAlert(LABELS, {}, "pending", 101.0, 2.0),)
MANAGED = ManagedAlert(LABELS, {}, "f", 101.0, None, 101.0, "active", (), (), (), ("security",))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: changed(one, alerts=ACTIVE),
        lambda one: replace(one, managed=(MANAGED,)),
        lambda one: replace(one, problems={"prometheus": "nothing answers there"}),
        lambda one: replace(one, problems={"alertmanager": "nothing answers there"}),
        lambda one: replace(one, up={("agents", "one"): False}),
        lambda one: replace(one, process=RuntimeInfo(9.0, True, 2.0, 9)),
        lambda one: changed(one, query="x > 2"),
        lambda one: changed(one, for_ms=1),
        lambda one: replace(one, rules=()),
        lambda one: replace(one, clock=ClockReading(3.0, 0.1)),
    ],
    ids=["active", "managed", "silent", "no-alertmanager", "down", "restarted", "query", "for", "unloaded", "clock"],
)
@pytest.mark.parametrize("at", [0, 12, -1])
def test_one_poll_that_saw_something_else_spoils_it(spoil: Callable[[Snapshot], Snapshot], at: int) -> None:
    found = polls(STILL)
    found[at] = spoil(found[at])
    assert not shown(found, WANTED, INPUTS, STILL)


def test_what_was_before_does_not_matter() -> None:
    found = polls(STILL + 3)
    found[2] = changed(found[2], alerts=ACTIVE)
    assert shown(found, WANTED, INPUTS, STILL)


def test_other_alerts_do_not_matter() -> None:
    found = polls(STILL)
    other = ActiveAlert({"alertname": "Denied", "severity": "critical"}, {}, "firing", 101.0, 2.0)
    found[3] = changed(found[3], alerts=(other,))
    assert shown(found, WANTED, INPUTS, STILL)


def test_missing_polls_show_nothing() -> None:
    found = polls(STILL + 2)
    assert not shown([*found[:10], *found[16:]], WANTED, INPUTS, STILL)


def test_a_rule_that_is_no_longer_evaluated_shows_nothing() -> None:
    found = polls(STILL)
    assert not shown([changed(one, last_evaluation=100.0) for one in found], WANTED, INPUTS, STILL)


def test_an_alert_without_a_rule_is_at_rest() -> None:
    assert shown(polls(STILL), [("NotLoaded", {})], [], STILL)
