"""Every alert that changed and that the drill does not name: by polls, and by samples where a firing was too short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from alerts.prometheus import ActiveAlert, LoadedRule, Series
from drills.engine.collateral import Change, by_polls, by_samples
from drills.engine.watch import Snapshot

BEGAN = 100.0
OTHER = {"alertname": "Other", "node": "w1"}


def rule(*alerts: ActiveAlert, health: Literal["ok", "err"] = "ok") -> LoadedRule:
    return LoadedRule("Other", "x > 1", 0, 0, {}, {}, "firing", health, "", 1.0, 0.0, alerts, "g", "f", 1000)


def alert(state: Literal["pending", "firing"], active_at: float) -> ActiveAlert:
    return ActiveAlert(OTHER, {}, state, active_at, 1.0)


def polls(*rules: LoadedRule) -> list[Snapshot]:
    """One a second from 99 on, the second one after the attack began."""
    return [Snapshot(99.0 + number, rules=(one,)) for number, one in enumerate(rules)]


def states(found: Iterator[Change]) -> list[str]:
    return list(dict.fromkeys(one.state for one in found))


def test_what_becomes_active() -> None:
    assert states(by_polls(polls(rule(), rule(alert("pending", 100.5)), rule(alert("firing", 100.5))), BEGAN)) == [
        "pending",
        "firing",
    ]


def test_what_was_active_before_and_changed() -> None:
    pending, firing = alert("pending", 90.0), alert("firing", 90.0)
    assert states(by_polls(polls(rule(firing), rule(firing)), BEGAN)) == []
    assert states(by_polls(polls(rule(pending), rule(pending)), BEGAN)) == []
    assert states(by_polls(polls(rule(pending), rule(firing)), BEGAN)) == ["firing"]
    assert states(by_polls(polls(rule(firing), rule(firing), rule()), BEGAN)) == ["resolved"]


def test_an_end_that_no_poll_shows_is_none() -> None:
    firing = rule(alert("firing", 90.0))
    assert states(by_polls(polls(firing, rule(health="err")), BEGAN)) == []
    assert states(by_polls([*polls(firing), Snapshot(100.0)], BEGAN)) == []  # the rule is not loaded
    assert states(by_polls([*polls(firing), Snapshot(100.0, problems={"prometheus": "no answer"})], BEGAN)) == []


def samples(state: str, *moments: float) -> Series:
    return Series({"__name__": "ALERTS", **OTHER, "alertstate": state}, tuple((at, 1.0) for at in moments))


def sampled(series: Sequence[Series], snapshots: Sequence[Snapshot] = ()) -> list[str]:
    return states(by_samples(series, snapshots or polls(rule(), rule()), BEGAN, 130.0))


def test_samples_show_what_no_poll_saw() -> None:
    assert sampled([samples("firing", 105.0)]) == ["firing"]
    assert sampled([samples("pending", 105.0, 106.0)]) == ["pending"]
    assert sampled([samples("pending", 105.0), samples("firing", 106.0)]) == ["firing"]
    assert sampled([samples("pending", 98.0, 99.0, 100.0), samples("firing", 101.0)]) == ["firing"]
    assert sampled([samples("firing", *map(float, range(97, 131)))]) == []


def test_an_alert_that_goes_on_after_missed_evaluations_is_no_new_one() -> None:
    firing = alert("firing", 50.0)
    lasting = [replace(one, at=at) for at, one in zip((99.0, 125.0), polls(rule(firing), rule(firing)), strict=True)]
    broken = [samples("firing", 97.0, 98.0, 99.0, 120.0, 121.0)]
    assert sampled(broken, lasting) == []
    assert sampled(broken) == ["firing"]
