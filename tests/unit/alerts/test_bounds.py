"""When an alert can come and go: the arithmetic of S, E, `for` and the reach of the expression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.bounds import (
    Bounds,
    Timing,
    baseline_wait,
    detection,
    hold_still,
    holds_long_enough,
    resolution,
    shortest_injection,
)
from alerts.promql import reach_ms
from alerts.rule import AlertRule

HTTP = AlertRule("H", "sum(increase(x[5m])) > 10", for_ms=60_000)
DEFAULT = Timing()


def test_the_shipped_http_rule() -> None:
    assert detection(HTTP, DEFAULT) == Bounds(60, 90)
    assert baseline_wait([HTTP], DEFAULT) == 300 + 60 + 15 + 30
    assert hold_still([HTTP], DEFAULT) == 90
    assert resolution(HTTP, DEFAULT) == 330


@pytest.mark.parametrize(
    ("scrape", "evaluation", "held", "best", "worst"),
    [(10, 30, 120, 120, 160), (10, 30, 60, 60, 100), (60, 60, 0, 0, 120), (15, 30, 45, 60, 105)],
)
def test_detection_counts_whole_evaluations(scrape: int, evaluation: int, held: int, best: int, worst: int) -> None:
    rule = AlertRule("A", "x > 1", for_ms=held * 1000)
    assert detection(rule, Timing(scrape * 1000, evaluation * 1000)) == Bounds(best, worst)


def test_a_groups_own_interval_and_group_wait_count() -> None:
    rule = AlertRule("A", "x > 1", for_ms=60_000, interval_ms=30_000)
    assert detection(rule, DEFAULT, group_wait_ms=30_000) == Bounds(60, 60 + 15 + 30 + 30)


def test_keep_firing_for_delays_resolution() -> None:
    rule = AlertRule("A", "increase(x[1m]) > 1", keep_firing_ms=120_000)
    assert resolution(rule, DEFAULT) == 60 + 120 + 30


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("x > 1", 0),
        ("x offset 5m > 1", 300),
        ("x offset -5m > 1", 0),
        ("increase(x[5m] offset 1m)", 360),
        ("max_over_time(rate(x[1m])[10m:] offset 30s)", 690),
        ("a unless b offset 1h", 3600),
        ("increase(a[1m]) or increase(b[3m])", 180),
        ("vector(1) > 0", 0),
    ],
)
def test_reach(expression: str, seconds: int) -> None:
    assert reach_ms(expression) == seconds * 1000


def test_a_burst_must_hold_for_longer_than_for() -> None:
    short = AlertRule("S", "increase(x[1m]) > 1", for_ms=60_000)
    assert holds_long_enough(HTTP, DEFAULT, 0)
    assert not holds_long_enough(short, DEFAULT, 30)
    assert shortest_injection(short, DEFAULT) == 30
    assert holds_long_enough(short, DEFAULT, 31)


def test_of_several_rules_the_longest_counts_and_of_none_nothing() -> None:
    long = AlertRule("L", "increase(x[1h]) > 1", for_ms=600_000)
    assert baseline_wait([HTTP, long], DEFAULT) == baseline_wait([long], DEFAULT)
    assert (baseline_wait([], DEFAULT), hold_still([], DEFAULT)) == (0, 0)


@given(st.integers(0, 3600), st.integers(1, 300), st.integers(1, 300))
def test_worst_is_best_and_one_scrape_and_one_evaluation(held: int, scrape: int, evaluation: int) -> None:
    bounds = detection(AlertRule("A", "x", for_ms=held * 1000), Timing(scrape * 1000, evaluation * 1000))
    assert bounds.best >= held
    assert bounds.best - held < evaluation
    assert bounds.worst == pytest.approx(bounds.best + scrape + evaluation)
