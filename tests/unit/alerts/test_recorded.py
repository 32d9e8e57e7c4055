"""What stands behind a metric that recording rules make: their sources, their reach, their delay."""

from __future__ import annotations

import pytest

from alerts.bounds import Timing, baseline_wait, detection, resolution
from alerts.prometheus import LoadedRecord
from alerts.promql import PromqlError
from alerts.recorded import Behind, behind, leaves, looks_back
from alerts.rule import AlertRule

INCREASE = "sum by (node) (increase(denied_total[5m]))"


def record(name: str, query: str, interval_ms: int = 15_000) -> LoadedRecord:
    return LoadedRecord(name, query, (), "ok", "", "g", interval_ms)


NODE = record("node:denied", INCREASE)
ALL = record("all:denied", "sum(node:denied) or sum(dropped_total)", 30_000)
RECORDS = (NODE, ALL, record("other:up", "sum(up)"))


@pytest.mark.parametrize(
    ("expression", "names", "sources"),
    [
        ("sum(denied_total) > 1", "", "denied_total"),
        ('node:denied{node="w1"} > 10', "node:denied", "denied_total"),
        ("all:denied > 10", "all:denied node:denied", "dropped_total denied_total"),
        ("all:denied > 10 and up == 1", "all:denied node:denied", "up dropped_total denied_total"),
        ("max_over_time(other:up[5m])", "other:up", "up"),
        ("absent(other:up)", "other:up", "up"),
    ],
)
def test_what_an_expression_stands_on(expression: str, names: str, sources: str) -> None:
    assert [one.name for one in behind(expression, RECORDS)] == names.split()
    assert [one.metric for one in leaves(expression, RECORDS)] == sources.split()


def test_a_pattern_selects_recorded_metrics_as_well() -> None:
    assert [one.name for one in behind('{__name__=~"node:.*"} > 1', RECORDS)] == ["node:denied"]
    assert [str(one) for one in leaves('{__name__=~"node:.*"}', RECORDS)] == [
        '{__name__=~"node:.*"}',
        "denied_total",
    ]
    assert behind('{job="x"}', RECORDS) == ()


def test_several_rules_may_make_one_metric() -> None:
    both = (record("x:y", "sum(a)"), record("x:y", "sum(b)"))
    assert behind("x:y > 1", both) == both
    assert [one.metric for one in leaves("x:y > 1", both)] == ["a", "b"]


def test_rules_that_read_themselves_come_to_an_end() -> None:
    circle = (record("a:b", "c:d + a"), record("c:d", "a:b + c"), record("e:f", "e:f offset 1m + 1"))
    assert [one.name for one in behind("a:b > 1", circle)] == ["a:b", "c:d"]
    assert [one.metric for one in leaves("a:b > 1", circle)] == ["a", "c"]
    assert looks_back("e:f > 1", circle) == Behind(60_000, 15_000)
    assert looks_back("a:b > 1", circle).delay_ms == 30_000


def test_what_only_prometheus_can_read_ends_the_way() -> None:
    odd = (record("a:b", "sum(x{} offset"),)
    assert behind("a:b > 1", odd) == odd
    assert leaves("a:b > 1", odd) == ()
    assert looks_back("a:b > 1", odd) == Behind(0, 15_000)
    with pytest.raises(PromqlError):
        behind("a:b > ", odd)


@pytest.mark.parametrize(
    ("expression", "reach", "delay"),
    [
        ("node:denied > 10", 300, 15),
        ("all:denied > 10", 300, 45),
        ("max_over_time(node:denied[1m] offset 2m)", 480, 15),
        ("max_over_time(sum(node:denied)[10m:1m])", 900, 15),
        ("up == 0", 0, 0),
    ],
)
def test_how_far_back_it_looks(expression: str, reach: int, delay: int) -> None:
    assert looks_back(expression, RECORDS) == Behind(reach * 1000, delay * 1000)


def test_the_bounds_know_what_is_behind() -> None:
    """With the sum in a recording rule an alert lasts as long as without, and comes one evaluation later at most."""
    plain = AlertRule("A", f"{INCREASE} > 10", for_ms=60_000)
    back = looks_back("node:denied > 10", RECORDS)
    recorded = AlertRule("A", "node:denied > 10", for_ms=60_000, reach_ms=back.reach_ms, delay_ms=back.delay_ms)
    timing = Timing()
    assert detection(recorded, timing).best == detection(plain, timing).best
    assert detection(recorded, timing).worst == detection(plain, timing).worst + 15
    assert baseline_wait([recorded], timing) == baseline_wait([plain], timing) + 15
    assert resolution(recorded, timing) == resolution(plain, timing) + 15
