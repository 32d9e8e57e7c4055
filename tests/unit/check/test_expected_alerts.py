"""Alerts that a playbook speaks of: rules that are not given, and rules that its injection is too short for."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import found

PLAYBOOK = """\
---
apiVersion: drills/v1
kind: Playbook
metadata: {name: shop}
spec:
  sources: {web: {namespace: shop, labels: {app: web}}}
  drills:
  - name: admin-path
    inject: {http: {from: web, url: "http://api.shop/admin", rate: 5/s, duration: %s}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}, %s}
"""
DENIED = 'sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m]))'
RULE = "groups:\n- name: g\n  rules:\n  - {alert: Other, expr: '" + DENIED + " > 10', for: 1m}\n"
RECORD = "groups:\n- name: g\n  rules:\n  - {record: 'a:b', expr: '" + DENIED + "'}\n"


def said(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    return [(each.rule, str(each.level)) for each in found(tmp_path, text) if not each.rule.startswith("coverage/")]


@pytest.mark.parametrize("rules", [RULE, RECORD])
def test_an_expected_alert_that_is_in_none_of_the_given_rules_is_an_error(tmp_path: Path, rules: str) -> None:
    text = rules + PLAYBOOK % ("3m", "alerts: [{name: Denied, within: 4m}]")
    assert said(tmp_path, text) == [("alert/not-loaded", "error")]


def test_one_that_shall_be_quiet_is_a_warning(tmp_path: Path) -> None:
    assert said(tmp_path, RULE + PLAYBOOK % ("3m", "quiet: [Denied]")) == [("alert/not-loaded", "warning")]


def test_without_rules_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert said(tmp_path, PLAYBOOK % ("3m", "alerts: [{name: Denied, within: 4m}]")) == []


WAITS = "groups:\n- name: g\n  rules:\n  - {alert: Denied, expr: '" + DENIED + " > 10', for: 5m}\n"


def test_what_a_steady_attack_fires_is_a_warning_at_the_rule(tmp_path: Path) -> None:
    text = WAITS + PLAYBOOK % ("10m", "alerts: [{name: Denied, within: 8m}]")
    assert said(tmp_path, text) == [("prometheus/for-beyond-window", "warning")]


def test_where_the_drills_attack_cannot_fire_it_that_is_an_error(tmp_path: Path) -> None:
    text = WAITS + PLAYBOOK % ("20s", "alerts: [{name: Denied, within: 8m}]")
    assert said(tmp_path, text) == [
        ("prometheus/for-beyond-window", "warning"),
        ("playbook/injection-too-short", "error"),
    ]


def test_a_recording_rule_behind_the_alert_counts_as_its_window(tmp_path: Path) -> None:
    rules = RECORD + "  - {alert: Denied, expr: 'a:b > 10', for: 2m}\n"
    assert said(tmp_path, rules + PLAYBOOK % ("30s", "alerts: [{name: Denied, within: 8m}]")) == []
