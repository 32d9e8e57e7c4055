"""How counters are read, and what no comparison can make true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alerts_world import judged, said
from check_world import found, names

from drills.check.finding import Finding

ERROR, WARNING, NOTE = "error", "warning", "note"
DROPS = 'cilium_drop_count_total{reason=~"Policy denied.*"}'
L7 = 'cilium_policy_l7_total{rule="denied"}'
BIRTH, RAW, SPREAD = "cilium/birth-trap", "prometheus/raw-counter", "cilium/threshold-per-node"
ALWAYS, CONTRADICTION = "prometheus/always-fires", "prometheus/contradictory-matchers"
GROUPED, SCRAPES = "cilium/grouped-by-unknown-label", "prometheus/window-below-two-scrapes"
FOR, GAPS = "prometheus/for-beyond-window", "prometheus/interval-beyond-window"
REASON, IMPOSSIBLE = "cilium/drops-of-any-reason", "prometheus/impossible-comparison"

TABLE: dict[str, dict[str, str]] = {
    # birth
    f"sum(increase({DROPS}[5m])) > 10": {BIRTH: WARNING},
    f"sum by (reason) (rate({DROPS}[5m])) > 1": {BIRTH: WARNING},
    f"sum(irate({DROPS}[5m])) > 1": {BIRTH: WARNING},
    f"sum(increase({L7}[5m])) > 10": {},
    "sum(rate(cilium_forward_count_total[5m])) > 10": {},
    "sum(increase(hubble_lost_events_total[5m])) > 10": {"cilium/metric-off": NOTE},
    f"sum by (direction) (( sum by (instance,direction)({DROPS}) unless sum by (instance,direction)({DROPS} offset 5m) "
    "and on (instance) (up offset 5m == 1) ) or "
    f"sum by (instance,direction)(increase({DROPS}[5m]))) > 10": {},
    f"sum(({DROPS} - {DROPS} offset 5m) or {DROPS}) > 10": {},
    # raw
    f"{L7} > 10": {RAW: WARNING},
    f"sum({L7}) > 10": {RAW: WARNING},
    f"10 < sum by (node) ({L7}) / 2": {RAW: WARNING},
    f"max({L7}) > bool 10 == 1": {},
    f"count({L7}) > 10": {},
    f"sum({L7} - {L7} offset 5m) > 10": {},
    f"absent({L7})": {},
    f"changes({L7}[5m]) > 0": {},
    f"max_over_time({L7}[5m]) > 5": {RAW: WARNING},
    f"sum(last_over_time({L7}[5m])) > 5": {RAW: WARNING},
    f"max_over_time(sum({L7})[5m:15s]) > 5": {RAW: WARNING},
    f"round(sum({L7})) > 5": {RAW: WARNING},
    f"sum({L7} offset 5m) > 5": {RAW: WARNING},
    f"max_over_time(sum(rate({L7}[1m]))[10m:]) > 1": {},
    f"sum({L7} offset 5m) - sum({L7} offset 10m) > 5": {},
    "cilium_unreachable_nodes > 0": {},
    # per node
    f"increase({L7}[5m]) > 10": {SPREAD: WARNING},
    f"10 <= increase({L7}[5m])": {SPREAD: WARNING},
    f"rate({L7}[5m]) * 300 > 10": {SPREAD: WARNING},
    f"increase({L7}[5m]) > 0": {},
    f"max by (node) (increase({L7}[5m])) > 10": {},
    f"increase({L7}[5m]) < 10": {},
    f"increase({L7}[5m]) > on (node) cilium_endpoint": {},
    # any reason
    "sum(increase(cilium_drop_count_total[5m])) > 100": {REASON: WARNING, BIRTH: WARNING},
    'sum(increase(cilium_drop_count_total{direction="INGRESS"}[5m])) > 100': {REASON: WARNING, BIRTH: WARNING},
    "increase(cilium_drop_count_total[5m]) > 100": {REASON: WARNING, BIRTH: WARNING, SPREAD: WARNING},
    "absent(cilium_drop_count_total)": {},
    "count(cilium_drop_count_total) > 3": {},
    # nothing is compared
    L7: {ALWAYS: ERROR},
    f"sum by (node) ({L7})": {ALWAYS: ERROR},
    f"increase({L7}[5m])": {ALWAYS: ERROR},
    f"sum(increase({L7}[5m])) > bool 5": {ALWAYS: ERROR},
    f"sum(increase({L7}[5m])) * 2 + 1": {ALWAYS: ERROR},
    f"{L7} or up == 0": {ALWAYS: ERROR},
    "cilium_unreachable_nodes": {ALWAYS: ERROR},
    "cilium_drop_count_total{reason='Policy denied'}": {ALWAYS: WARNING},
    f"{L7} > 5 or up": {RAW: WARNING, ALWAYS: WARNING},
    f"{L7} and on() up == 0": {},
    f"{L7} unless up": {},
    f"sum(increase({L7}[5m]) > 10)": {SPREAD: WARNING},
    "ALERTS{alertname='A'}": {},
    "absent(cilium_unreachable_nodes) * 2": {},
    # contradictions
    'sum(increase(cilium_policy_l7_total{rule!="denied",rule="denied"}[5m])) > 5': {CONTRADICTION: ERROR},
    'sum(increase(cilium_policy_l7_total{rule=~"denied|received",rule!~".*ed"}[5m])) > 5': {CONTRADICTION: ERROR},
    'up{job="a",job=~"b.*"} == 0': {CONTRADICTION: ERROR},
    'up{job=~"a.*",job=~".*b"} == 0': {},
    'sum(increase(cilium_policy_l7_total{rule=~"denied|received",rule!="received"}[5m])) > 5': {},
    f"sum(increase({L7}[5m])) > 5 and sum(increase({L7}[5m])) < 3": {IMPOSSIBLE: ERROR},
    f"sum(increase({L7}[5m])) > 5 and sum(increase({L7}[5m])) <= 5": {IMPOSSIBLE: ERROR},
    f"(sum(increase({L7}[5m])) > 5) < 3": {IMPOSSIBLE: ERROR},
    f"sum(increase({L7}[5m])) > 5 and sum(increase({L7}[5m])) <= 7": {},
    f"sum(increase({L7}[5m])) > 5 and sum(increase({L7}[10m])) < 3": {},
    "cilium_unreachable_nodes > 5 and on() cilium_unreachable_nodes < 3": {},  # of another node
    "cilium_unreachable_nodes > 5 and cilium_unreachable_nodes < 3 or up == 0": {IMPOSSIBLE: WARNING},
    # groups
    f"sum by (verdict) (increase({L7}[5m])) > 5": {GROUPED: WARNING},
    f"sum by (proxy_type, node) (increase({L7}[5m])) > 5": {},
    f"sum by (verdict) (label_replace(increase({L7}[5m]), 'verdict', '$1', 'rule', '(.*)')) > 5": {},
    f"sum by (verdict) (increase({L7}[5m]) * on (node) group_left (verdict) cilium_version) > 5": {},
    "sum by (source_namespace) (increase(hubble_lost_events_total[5m])) > 5": {GROUPED: WARNING},
    # windows
    f"sum(increase({L7}[15s])) > 0": {SCRAPES: WARNING, FOR: WARNING},
    f"sum(increase({L7}[2m])) > 0": {},
    "max_over_time(cilium_unreachable_nodes[5s]) > 0": {},
    # what a lookup says
    'sum(rate(hubble_dns_queries_total{rcode="REFUSED"}[5m])) > 3': {
        "cilium/label-value": ERROR,
        "cilium/metric-off": NOTE,
        BIRTH: WARNING,
    },
    'sum(rate(hubble_dns_queries_total{rcode="Policy denied"}[5m])) > 3': {BIRTH: WARNING},
    # nothing can make it true
    f"absent({L7}) == 0": {IMPOSSIBLE: ERROR},
    f"absent({L7}) > 1": {IMPOSSIBLE: ERROR},
    f"0 == absent({L7})": {IMPOSSIBLE: ERROR},
    f"absent({L7}) == 1": {},
    'count(up{job="cilium"}) == 0': {IMPOSSIBLE: ERROR},
    'count by (job) (up{job="cilium"}) < 1': {IMPOSSIBLE: ERROR},
    '(count(up{job="cilium"}) or vector(0)) == 0': {},
    'sum(up{job="cilium"}) == 0': {},
    "up > 1": {IMPOSSIBLE: ERROR},
    "up == 2": {IMPOSSIBLE: ERROR},
    "avg(up) > 1": {IMPOSSIBLE: ERROR},
    "avg(up) * 100 > 99": {},
    "avg(up) > 99": {IMPOSSIBLE: ERROR},
    "min_over_time(up[5m]) < 0": {IMPOSSIBLE: ERROR},
    "vector(1) == 0": {IMPOSSIBLE: ERROR},
    "vector(1)": {},
    "cilium_unreachable_nodes > +Inf": {IMPOSSIBLE: ERROR},
    "cilium_unreachable_nodes > NaN": {IMPOSSIBLE: ERROR},
    "cilium_unreachable_nodes != NaN": {},
    f"sum(increase({L7}[5m])) < 0": {IMPOSSIBLE: ERROR},
    f"sum(increase({L7}[5m])) >= 0": {},
    f"sum(increase({L7}[5m])) / sum(increase(cilium_policy_l7_total[5m])) > 1": {IMPOSSIBLE: ERROR},
    f"sum(increase({L7}[5m])) / sum(increase(cilium_policy_l7_total[5m])) > 50": {IMPOSSIBLE: ERROR},
    f"100 * sum(increase({L7}[5m])) / sum(increase(cilium_policy_l7_total[5m])) > 50": {},
    f"sum by (node) (rate({L7}[5m])) / sum by (node) (rate(cilium_policy_l7_total[5m])) > 1": {IMPOSSIBLE: ERROR},
    f"sum by (node) (rate({L7}[5m])) / sum by (node) (rate(cilium_policy_l7_total[1h])) > 1": {},
    f'sum(rate({L7}[5m])) / sum(rate(cilium_policy_l7_total{{rule="received"}}[5m])) > 1': {},
    "cilium_kvstore_initial_sync_completed == 2": {IMPOSSIBLE: ERROR},
    "cilium_bgp_control_plane_session_state == 2": {"cilium/metric-off": NOTE},  # known from the documentation only
    "hour() > 23": {IMPOSSIBLE: ERROR},
    "time() - cilium_process_start_time_seconds < 0": {},
    "clamp_max(cilium_unreachable_nodes, 3) > 3": {IMPOSSIBLE: ERROR},
    f"absent({L7}) == 0 or cilium_unreachable_nodes > 0": {IMPOSSIBLE: WARNING},
    "cilium_unreachable_nodes > 0 and on() up > 1": {IMPOSSIBLE: ERROR},
    "cilium_unreachable_nodes > 0 unless on() up > 1": {},
    "count(up == 2) > 0": {IMPOSSIBLE: ERROR},
    "absent(up == 2)": {},
    "up > bool 1": {ALWAYS: WARNING},
    "-up > 0": {IMPOSSIBLE: ERROR},
    "up - 1 > 0": {IMPOSSIBLE: ERROR},
    "1 - up > 0": {},
    "up / 0 > 5": {},
    "up % 2 > 5": {},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return dict(zip(TABLE, judged(tmp_path_factory.mktemp("table"), list(TABLE), cilium="1.20"), strict=True))


@pytest.mark.parametrize("expr", TABLE)
def test_how_a_counter_is_read_and_compared(table: dict[str, list[Finding]], expr: str) -> None:
    assert said(table[expr]) == TABLE[expr]


@pytest.mark.parametrize("metric", ["cilium_drop_count_total", "hubble_drop_total"])
def test_the_reasons_that_are_proposed_are_those_that_the_metric_has(tmp_path: Path, metric: str) -> None:
    expr = f"sum(increase({metric}[5m])) > 100"
    (found,) = [each for each in judged(tmp_path, [expr])[0] if each.rule == REASON]
    proposed = re.search(r"\{reason=~.*?\}", found.fix)
    assert proposed is not None
    followed = judged(tmp_path, [expr.replace(metric, metric + proposed.group())])[0]
    assert {each.rule for each in followed} <= {BIRTH, "cilium/metric-off"}


@pytest.mark.parametrize(
    ("expr", "fix"),
    [
        ("absent(up) == 0", "Write `absent(up)` by itself"),
        ("count(up == 0) == 0", "Write `absent(up == 0)`"),
        (f"sum(rate({L7}[5m])) / sum(rate(cilium_policy_l7_total[5m])) > 90", "multiply it by 100"),
        (f"sum(increase({L7}[5m])) < 0", "is 0 or more"),
        ("hour() > 25", "`hour()` is between 0 and 23"),
        ("up == 2", "`up` is between 0 and 1"),
        ("2 == up", "`up` is between 0 and 1"),
        ("up > NaN", "Nothing compares with NaN"),
        ("up > 0 and up < 0", "Remove one of the two"),
    ],
)
def test_what_to_write_in_place_of_an_impossible_comparison(tmp_path: Path, expr: str, fix: str) -> None:
    (found,) = [each for each in judged(tmp_path, [expr])[0] if each.rule == IMPOSSIBLE]
    assert fix in found.fix


def _window(tmp_path: Path, expr: str, wait: str) -> dict[str, str]:
    return dict(said(judged(tmp_path, [expr], wait=wait)[0]))


@pytest.mark.parametrize(
    ("window", "wait", "level"),
    [
        ("5m", "10m", WARNING),
        ("5m", "5m", WARNING),
        ("5m", "4m45s", WARNING),
        ("5m", "4m30s", WARNING),
        ("5m", "4m29s", None),
        ("5m", "4m", None),
        ("30m", "10m", None),
    ],
)
def test_for_beside_the_window(tmp_path: Path, window: str, wait: str, level: str | None) -> None:
    expected = {} if level is None else {FOR: level}
    assert _window(tmp_path, f"sum(increase({L7}[{window}])) > 10", wait) == expected


def test_a_state_may_be_waited_for_as_long_as_one_likes(tmp_path: Path) -> None:
    assert _window(tmp_path, "max_over_time(cilium_unreachable_nodes[1m]) > 0", "30m") == {}
    assert _window(tmp_path, 'sum(rate(http_requests_total{code="500"}[5m])) > 1', "30m") == {
        "prometheus/unknown-series": NOTE
    }


@pytest.mark.parametrize(
    ("expr", "wait", "expected"),
    [
        (f"sum(increase({L7}[5m])) == 0", "1h", {}),  # waits for silence
        (f"sum(increase({L7}[5m])) < 1", "1h", {}),
        (f"absent(increase({L7}[5m]) > 0)", "1h", {}),
        (f"up == 1 unless sum(increase({L7}[5m])) > 0", "1h", {}),
        (f"sum(increase({L7}[5m])) > 1 or sum(increase({L7}[1h])) > 100", "10m", {}),
        (f"max_over_time(sum(rate({L7}[1m]))[10m:]) > 1", "5m", {}),
        (f"0 < sum(increase({L7}[5m]))", "10m", {FOR: WARNING}),
    ],
)
def test_only_what_must_go_on_happening_is_waited_for_too_long(
    tmp_path: Path, expr: str, wait: str, expected: dict[str, str]
) -> None:
    assert _window(tmp_path, expr, wait) == expected


RECORDED = f"""\
groups:
- name: records
  rules:
  - {{record: 'denied:5m', expr: 'sum(increase({L7}[5m]))'}}
  - {{record: 'denied:double', expr: '2 * denied:5m'}}
- name: alerts
  rules:
  - {{alert: A, expr: 'denied:double > 10', for: 10m}}
"""


def test_a_recording_rule_is_looked_through(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, RECORDED)
    assert (finding.rule, finding.place.line) == (FOR, 8)
    assert "beside a window of 5m" in finding.message
    assert found(tmp_path, RECORDED.replace("10m", "4m")) == []
    assert found(tmp_path, RECORDED.replace("> 10'", "== 0'")) == []


def test_a_recording_rule_that_reads_itself_ends(tmp_path: Path) -> None:
    text = RECORDED.replace("2 * denied:5m", "denied:double + denied:5m")
    assert names(found(tmp_path, text)) == [FOR]


def test_many_recording_rules_upon_one_another_take_no_time(tmp_path: Path) -> None:
    lines = [f"  - {{record: 'r:0', expr: 'sum(increase({L7}[5m]))'}}", "  - {record: 'r:1', expr: 'r:0'}"]
    lines += [f"  - {{record: 'r:{each}', expr: 'r:{each - 1} + r:{each - 2}'}}" for each in range(2, 2000)]
    lines.append("  - {alert: A, expr: 'r:1999 > 10', for: 10m}")
    assert names(found(tmp_path, "groups:\n- name: g\n  rules:\n" + "\n".join(lines) + "\n")) == [FOR]


def test_a_group_that_looks_more_seldom_than_its_windows_are_long(tmp_path: Path) -> None:
    text = f"""\
groups:
- name: slow
  interval: 10m
  rules:
  - {{alert: A, expr: 'sum(increase({L7}[5m])) > 10'}}
  - {{alert: B, expr: 'sum(increase({L7}[15m])) > 10'}}
  - {{record: 'c:d', expr: 'sum(increase({L7}[5m]))'}}
"""
    assert [(each.rule, each.place.line) for each in found(tmp_path, text)] == [(GAPS, 5), (GAPS, 7)]


MONITOR = """\
---
apiVersion: monitoring.coreos.com/v1
kind: %s
metadata: {name: cilium-agent, namespace: kube-system}
spec: {%s}
"""


@pytest.mark.parametrize(
    ("kind", "spec", "shortest"),
    [
        ("Prometheus", "ruleSelector: {}, scrapeInterval: 30s", 60),
        ("ServiceMonitor", "endpoints: [{port: prometheus, interval: 5s}]", 10),
        ("PodMonitor", "podMetricsEndpoints: [{port: prometheus, interval: 1m}]", 120),
        ("ServiceMonitor", "endpoints: [{port: prometheus}]", 20),
        ("ServiceMonitor", "endpoints: [{port: prometheus, interval: soon}]", 20),
    ],
)
def test_what_is_given_tells_how_often_is_scraped(tmp_path: Path, kind: str, spec: str, shortest: int) -> None:
    rules = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'sum(increase(%s[%ds])) > 1'}\n"
    short = found(tmp_path, rules % (L7, shortest - 1) + MONITOR % (kind, spec))
    assert [each.rule for each in short] == [SCRAPES]
    assert found(tmp_path, rules % (L7, shortest) + MONITOR % (kind, spec)) == []


def test_the_groups_own_interval_counts(tmp_path: Path) -> None:
    text = f"""\
groups:
- name: slow
  interval: 2m
  rules:
  - {{alert: A, expr: 'sum(increase({L7}[5m])) > 10', for: 3m}}
"""
    assert names(found(tmp_path, text)) == ["prometheus/for-beyond-window"]
    assert names(found(tmp_path, text.replace("2m", "1m"))) == []


def test_a_recording_rule_is_not_an_alert(tmp_path: Path) -> None:
    text = "groups:\n- name: g\n  rules:\n  - {record: 'a:b', expr: 'increase(cilium_drop_count_total[5m]) > 100'}\n"
    assert found(tmp_path, text) == []
