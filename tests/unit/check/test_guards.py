"""The conditions on which a playbook stops a run are judged as rules are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from check_world import found

PLAYBOOK = """\
apiVersion: drills/v1
kind: Playbook
metadata: {name: shop}
spec:
  guards:
    abortWhen: %s
  sources: {web: {namespace: shop, labels: {app: web}}}
  drills:
  - name: admin-path
    inject: {http: {from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}}
"""
L7 = 'cilium_policy_l7_total{rule="denied"}'


@pytest.mark.parametrize(
    ("condition", "rule", "level", "said"),
    [
        ('sum(up{job="api"} == 0', "playbook/guard-refused", "error", "refuses the playbook"),
        ("cilium_drops_total > 5", "cilium/unknown-metric", "error", "the guard never stops a run"),
        ("absent(cilium_drops_total)", "cilium/unknown-metric", "error", "the guard stops every run before it"),
        (f'sum(rate({L7[:-1]},verdict="DENIED"}}[1m])) > 5', "cilium/unknown-label", "error", "never stops a run"),
        ("up == 2", "prometheus/impossible-comparison", "error", "the guard never stops a run"),
        (f"sum({L7}) > 100", "prometheus/raw-counter", "warning", "the guard asks whether the total"),
    ],
)
def test_what_is_wrong_with_a_guard(tmp_path: Path, condition: str, rule: str, level: str, said: str) -> None:
    (finding,) = found(tmp_path, PLAYBOOK % json.dumps([condition]))
    assert (finding.rule, str(finding.level), finding.place.line) == (rule, level, 6)
    assert said in finding.effect


@pytest.mark.parametrize(
    "condition",
    [
        'sum(up{job="api"}) == 0',
        "increase(cilium_drop_count_total[1m]) > 1000",  # of any reason, on any node: too much is too much
        f"sum(rate({L7}[1m])) > 5",
        "cilium_unreachable_nodes > 0",
    ],
)
def test_a_right_guard_has_no_finding(tmp_path: Path, condition: str) -> None:
    assert found(tmp_path, PLAYBOOK % json.dumps([condition])) == []


def test_one_condition_may_stand_alone(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, PLAYBOOK % "cilium_drops_total > 5")
    assert (finding.place.line, finding.place.column) == (6, 16)


def test_the_place_is_that_of_the_word_in_the_second_condition(tmp_path: Path) -> None:
    text = PLAYBOOK % "[up == 0, cilium_unreachable_nodes > 0 and cilium_drops_total > 5]"
    (finding,) = found(tmp_path, text)
    assert (finding.place.line, finding.place.column) == (6, 16 + len("[up == 0, cilium_unreachable_nodes > 0 and "))
    assert finding.span == len("cilium_drops_total")
