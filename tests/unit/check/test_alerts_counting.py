"""How counters are read, and what no comparison can make true."""

from __future__ import annotations

from pathlib import Path

import pytest
from alerts_world import judged, said
from check_world import found, names

from drills.check.finding import Finding

ERROR, WARNING, NOTE = "error", "warning", "note"
DROPS = 'cilium_drop_count_total{reason=~"Policy denied.*"}'
L7 = 'cilium_policy_l7_total{rule="denied"}'
BIRTH, RAW, SPREAD = "cilium/birth-trap", "prometheus/raw-counter", "cilium/threshold-per-node"
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
    "up > bool 1": {},
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


def _window(tmp_path: Path, expr: str, wait: str) -> dict[str, str]:
    return dict(said(judged(tmp_path, [expr], wait=wait)[0]))


@pytest.mark.parametrize(
    ("window", "wait", "level"),
    [("5m", "10m", WARNING), ("5m", "5m", WARNING), ("5m", "4m45s", NOTE), ("5m", "4m", None), ("30m", "10m", None)],
)
def test_for_beside_the_window(tmp_path: Path, window: str, wait: str, level: str | None) -> None:
    expected = {} if level is None else {"prometheus/for-beyond-window": level}
    assert _window(tmp_path, f"sum(increase({L7}[{window}])) > 10", wait) == expected


def test_a_state_may_be_waited_for_as_long_as_one_likes(tmp_path: Path) -> None:
    assert _window(tmp_path, "max_over_time(cilium_unreachable_nodes[1m]) > 0", "30m") == {}
    assert _window(tmp_path, 'sum(rate(http_requests_total{code="500"}[5m])) > 1', "30m") == {
        "prometheus/unknown-series": NOTE
    }


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
