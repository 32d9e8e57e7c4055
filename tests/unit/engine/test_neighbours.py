"""Whose an alert is while several drills run."""

from __future__ import annotations

import pytest
from drill_texts import drill

from alerts.prometheus import ActiveAlert, LoadedRule
from drills.engine.effects import footprint
from drills.engine.neighbours import Neighbour, Neighbours
from drills.engine.seen import Seen

HTTP = 'sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 10'
DROPS = "sum(increase(cilium_drop_count_total[5m])) > 10"
API, DB = "http-api.backend", "database.database"


def neighbour(kind: str, host: str, alerts: tuple[str, ...], times: tuple[float | None, ...]) -> Neighbour:
    one = drill("x", kind, host, alerts)
    seen = Seen(started=0.0)
    seen.attack_began, seen.attack_ended, seen.observed_until = times
    return Neighbour(footprint(one, {}), seen, one.expect.alerts)


def rule(name: str, query: str, at: float) -> LoadedRule:
    return LoadedRule(
        name=name,
        query=query,
        for_ms=0,
        keep_firing_ms=0,
        labels={},
        annotations={},
        state="firing",
        health="ok",
        last_error="",
        last_evaluation=at,
        evaluation_seconds=0.0,
        alerts=(ActiveAlert({"alertname": name}, {}, "firing", at, 1.0),),
        group="g",
        file="f",
        interval_ms=1000,
    )


WHOLE = (10.0, 20.0, 50.0)


@pytest.mark.parametrize(
    ("mine", "other", "asked", "foreign"),
    [
        # it expects it
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), WHOLE), ("Denied", HTTP, 15.0), True),
        (("http", API, (), WHOLE), ("http", API, ("Denied",), WHOLE), ("Denied", HTTP, 15.0), True),
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), WHOLE), ("Other", "up == 0", 15.0), False),
        # it was not at it then: not yet, no more, never
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), (16.0, 20.0, 50.0)), ("Denied", HTTP, 15.0), False),
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), (1.0, 2.0, 14.0)), ("Denied", HTTP, 15.0), False),
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), (None, None, None)), ("Denied", HTTP, 15.0), False),
        # it still runs
        (("tcp", DB, (), WHOLE), ("http", API, ("Denied",), (10.0, None, None)), ("Denied", HTTP, 15.0), True),
        # it alone can have moved it
        (("tcp", DB, (), WHOLE), ("http", API, (), WHOLE), ("Denied", HTTP, 15.0), True),
        (("http", API, (), WHOLE), ("http", API, (), WHOLE), ("Denied", HTTP, 15.0), False),
        (("http", API, (), (1.0, 5.0, 50.0)), ("http", API, (), WHOLE), ("Denied", HTTP, 15.0), True),
        (("http", API, (), (1.0, 13.5, 50.0)), ("http", API, (), WHOLE), ("Denied", HTTP, 15.0), False),
        (("http", API, (), (30.0, 40.0, 50.0)), ("http", API, (), WHOLE), ("Denied", HTTP, 15.0), True),
        (("tcp", DB, (), WHOLE), ("http", API, (), WHOLE), ("Drops", DROPS, 15.0), False),
    ],
)
def test_an_alert_is_anothers(
    mine: tuple[str, str, tuple[str, ...], tuple[float | None, ...]],
    other: tuple[str, str, tuple[str, ...], tuple[float | None, ...]],
    asked: tuple[str, str, float],
    foreign: bool,
) -> None:
    found = rule(*asked)
    drills = Neighbours({"mine": neighbour(*mine), "other": neighbour(*other)})
    assert drills.own("mine", found.alerts[0], found) is foreign


def test_alone_every_alert_is_ones_own() -> None:
    found = rule("Denied", HTTP, 15.0)
    assert not Neighbours().own("mine", found.alerts[0], found)
    assert not Neighbours({"mine": neighbour("http", API, (), WHOLE)}).own("mine", found.alerts[0], found)
