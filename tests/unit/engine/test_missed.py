"""Which stops what was missed may be to blame for: scrapes are every second here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerts.life import Life
from alerts.prometheus import LoadedRecord, LoadedRule
from alerts.stopped import Stopped, StoppedAt
from alerts.whynot import Birth, Facts, Peak
from drills.engine.missed import Hole, Missed, may_be_why

QUERY = "sum(increase(x_total[1m])) > 10"
RULE = LoadedRule("Denied", QUERY, 0, 0, {}, {}, "inactive", "ok", "", 1.0, 0.0, (), "g", "f", 1000)
RECORD = LoadedRecord("a:b", "sum(increase(x_total[1m]))", (), "ok", "", "g", 1000)
FACTS = Facts("Denied", {}, (RULE,), ("Denied",), Life(), until=200.0)
TWO_SECONDS = Missed((Hole(("agent", "w1"), 110.0, 112.0),), None, scrape=1.0, evaluation=1.0)


def peak(value: float | None, operator: str = ">") -> Peak:
    return Peak("x", operator, 10.0, value, {})


def blamed(at: StoppedAt, missed: Missed = TWO_SECONDS, query: str = QUERY, **facts: Any) -> bool:
    found = replace(FACTS, rules=(replace(RULE, query=query),), **{"peaks": (peak(3.0),), **facts})
    return may_be_why(missed, Stopped(at, "x"), found)


def test_in_words() -> None:
    assert TWO_SECONDS.text == "missed during the drill: scrapes of agent w1"
    both = replace(TWO_SECONDS, evaluations_of="Denied", holes=(*TWO_SECONDS.holes, *TWO_SECONDS.holes))
    assert both.text == "missed during the drill: scrapes of agent w1, evaluations of Denied"
    assert replace(TWO_SECONDS, holes=()).text is None


@pytest.mark.parametrize("at", ["condition-too-short", "pending"])
def test_each_starts_for_again(at: StoppedAt) -> None:
    assert blamed(at)
    assert blamed(at, Missed((), "Denied", 1.0, 1.0))
    assert not blamed(at, Missed((), None, 1.0, 1.0))


@pytest.mark.parametrize("at", ["no-series", "no-match", "rule-error", "rule-not-loaded"])
def test_what_has_nothing_to_do_with_scrapes(at: StoppedAt) -> None:
    assert not blamed(at)


def test_a_series_that_was_born_in_a_hole_was_born_too_high() -> None:
    assert blamed("birth", births=(Birth("x_total", 1, 12, (112.0,)),))
    assert not blamed("birth", births=(Birth("x_total", 1, 12, (120.0,)),))
    assert not blamed("birth", births=(Birth("x_total", 1, 12, (110.0,)),))


@pytest.mark.parametrize(
    ("query", "facts", "hidden"),
    [
        (QUERY, {}, False),  # far from 10, and the next scrape brings what was counted
        (QUERY, {"peaks": (peak(7.0),)}, True),  # it came near
        (QUERY, {"peaks": (peak(None),)}, True),
        (QUERY, {"peaks": (peak(14.0, "<"),)}, True),
        (QUERY, {"peaks": (peak(20.0, "<"),)}, False),
        (QUERY, {"peaks": (peak(20.0), peak(3.0))}, False),
        ("sum(increase(x_total[2s])) > 10", {}, True),  # shorter than the hole and the scrapes around it
        ("sum(irate(x_total[1m])) > 10", {}, True),
        ("max(gauge) > 10", {}, True),
        ("max_over_time(gauge[1m]) > 10", {}, True),
        ("sum(x_total unless x_total offset 1m) > 10", {}, False),
        ("a:b > 10", {"behind": (RECORD,)}, False),
        ("a:b > 10", {"behind": (replace(RECORD, query="max(gauge)"),)}, True),
        ("max_over_time(a:b[1m]) > 10", {"behind": (RECORD,)}, True),
    ],
)
def test_below_its_threshold_because_of_what_a_hole_hides(query: str, facts: dict[str, Any], hidden: bool) -> None:
    assert blamed("below-threshold", query=query, **facts) == hidden
    assert not blamed("below-threshold", Missed((), "Denied", 1.0, 1.0), query, **facts)
