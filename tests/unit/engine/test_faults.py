"""What keeps an alert from being judged: every fault of a period, by the polls that saw it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerts.prometheus import LoadedRecord, LoadedRule, RuntimeInfo, Series
from drills.engine.lives import downs
from drills.engine.polled import Inputs, faults
from drills.engine.watch import ClockReading, Snapshot

RULE = LoadedRule(
    name="Denied",
    query="sum(increase(x[5m])) > 10",
    for_ms=60_000,
    keep_firing_ms=0,
    labels={},
    annotations={},
    state="inactive",
    health="ok",
    last_error="",
    last_evaluation=1.0,
    evaluation_seconds=0.001,
    alerts=(),
    group="g",
    file="f",
    interval_ms=1000,
)
AGENT = ("cilium-agent", "w1")
GOOD = Snapshot(
    at=0.0,
    rules=(RULE,),
    up={AGENT: True, ("hubble", "w1"): True},
    clock=ClockReading(0.0, 0.01),
    process=RuntimeInfo(start_time=1.0, reload_success=True, last_config_time=1.0, series=1),
)
INPUTS = Inputs("Denied", frozenset({AGENT}), interval=1.0)


def period(*changes: dict[str, Any], inputs: Inputs = INPUTS) -> tuple[str, ...]:
    return faults(tuple(replace(GOOD, at=float(at), **change) for at, change in enumerate(changes)), inputs)


def silent(seconds: int) -> list[dict[str, Any]]:
    return [{"problems": {"prometheus": "no answer"}, "rules": (), "up": {}, "clock": None}] * seconds


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([{}, {}], None),
        ([{}, *silent(3), {}], None),  # two evaluations of patience
        ([{}, *silent(4), {}], "Prometheus did not answer during the drill"),
        ([{}, *silent(1)], "Prometheus no longer answers"),
        ([{}, {"process": replace(GOOD.process, start_time=2.0)}], "Prometheus restarted"),  # type: ignore[type-var]
        ([{}, {"up": {AGENT: False}}, {}], "scrape target down during the drill: cilium-agent w1"),
        ([{}, {"up": {}}], "scrape target down"),
        ([{}, {"up": {AGENT: True, ("hubble", "w1"): False}}], None),  # the rule does not stand on it
        ([{}, {"rules": (replace(RULE, query="sum(up) > 1"),)}], "the rule Denied was changed"),
        ([{}, {"rules": (replace(RULE, for_ms=0),)}, {}], "the rule Denied was changed"),
        ([{}, {"rules": ()}], "the rule Denied was not loaded all the time"),
        ([{"clock": ClockReading(1.5, 0.1)}], "are 1.40 s apart, more than one evaluation (1 s)"),
        ([{"clock": ClockReading(-1.5, 0.1)}], "1.40 s apart"),
        ([{"clock": ClockReading(1.5, 0.6)}], None),  # the answer took so long that it may be the question's time
        ([{"clock": ClockReading(0.9, 0.0)}], None),
        ([], "no poll was made"),
    ],
)
def test_faults_of_a_period(changes: list[dict[str, Any]], found: str | None) -> None:
    told = period(*changes)
    assert len(told) == (found is not None), told
    assert found is None or found in told[0]


def test_a_scrape_that_failed_between_two_polls_is_in_prometheus_own_samples() -> None:
    labels = {"job": "cilium-agent", "instance": "w1"}
    up = [Series(labels, ((1.0, 1.0), (1.25, 0.0), (1.5, 1.0))), Series({"job": "other"}, ((1.0, 0.0),))]
    (down,) = downs(up, frozenset({AGENT}))
    assert (down.at, down.instance) == (1.25, AGENT)
    good = tuple(replace(GOOD, at=float(at)) for at in range(3))
    assert faults(good, INPUTS) == ()
    assert faults(good, INPUTS, [down.instance]) == ("scrape target down during the drill: cilium-agent w1",)


def test_recording_rules_count_as_the_rule_that_reads_them() -> None:
    record = LoadedRecord("a:b", "sum(x)", (), "ok", "", "g", 1000)
    reads = replace(INPUTS, records=frozenset({"a:b"}))
    there = {"records": (record,)}
    assert period(there, there, inputs=reads) == ()
    assert period(there, {"records": (replace(record, health="err"),)}, inputs=reads) == ()
    assert period(there, {"records": (replace(record, query="sum(y)"),)}, inputs=reads) == (
        "the recording rule a:b, which Denied reads, was changed during the drill",
    )
    assert period(there, {}, inputs=reads) == (
        "the recording rule a:b, which Denied reads, was not loaded all the time during the drill",
    )
    assert period(there, {}) == ()


def test_series_that_never_existed_may_have_been_any_lost_targets() -> None:
    lost = [{}, {"up": {AGENT: True, ("hubble", "w1"): False}}]
    blind = replace(INPUTS, blind=True)
    assert period(*lost, inputs=blind) == ("scrape target down during the drill: hubble w1",)
    assert period(lost[1], lost[1], inputs=blind) == ()  # it had been down before


def test_polls_that_were_not_made_show_nothing() -> None:
    first, later = GOOD, replace(GOOD, at=60.0)
    assert faults((first, later), INPUTS) == ("no poll was made for 60.0 s",)
    assert faults((first, replace(GOOD, at=2.0)), INPUTS, until=4.0) == ()  # two evaluations
    assert faults((first, replace(GOOD, at=2.0)), INPUTS, until=4.5) == ("no poll was made for 2.5 s",)
    assert faults((first, later), replace(INPUTS, interval=30.0)) == ()


@pytest.mark.parametrize(
    ("last", "newest", "told"),
    [
        (99.0, 99.0, False),  # not evaluated between the two polls
        (
            99.0,
            99.9,
            False,
        ),  # after the first poll, and before the configuration was loaded: the group was not replaced
        (99.0, 100.5, True),  # it may have been evaluated before with another text
        (99.0, None, True),  # the group was replaced, and not evaluated since
        (None, None, True),
    ],
)
def test_configuration_loaded_between_two_polls(last: float | None, newest: float | None, told: bool) -> None:
    process = GOOD.process
    assert process is not None
    found = period(
        {"rules": (replace(RULE, last_evaluation=last),)},
        {
            "rules": (replace(RULE, last_evaluation=newest),),
            "process": replace(process, last_config_time=100.0),
        },
    )
    assert bool(found) == told
    assert all("no poll shows with which text of the rule Denied it was evaluated" in one for one in found)


def test_recording_rules_may_have_been_others_between_two_polls() -> None:
    process = replace(GOOD.process, last_config_time=100.0)  # type: ignore[type-var]
    record = LoadedRecord("a:b", "sum(x)", (), "ok", "", "g", 1000, 99.0)
    changes = {"records": (record,)}, {"records": (replace(record, last_evaluation=100.5),), "process": process}
    assert period(*changes) == ()
    (said,) = period(*changes, inputs=replace(INPUTS, records=frozenset({"a:b"})))
    assert said.startswith("Prometheus loaded its configuration again during the drill")
