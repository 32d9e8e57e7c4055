"""A silence hides the alert that it is for, and as few others as it can."""

from __future__ import annotations

import pytest

from alerts.prometheus import LoadedRule
from drills.engine.pinning import external, matchers, pins
from drills.playbook import AlertExpectation


def loaded(name: str, **labels: str) -> LoadedRule:
    return LoadedRule(
        name=name,
        query="up",
        for_ms=0,
        keep_firing_ms=0,
        labels=labels,
        annotations={},
        state="inactive",
        health="ok",
        last_error="",
        last_evaluation=1.0,
        evaluation_seconds=0.0,
        alerts=(),
        group="g",
        file="f",
        interval_ms=1000,
    )


def wanted(**labels: str) -> AlertExpectation:
    return AlertExpectation(name="Denied", labels=labels, within=60.0)


def test_the_name_and_all_labels_that_are_known_are_pinned() -> None:
    rules = [loaded("Denied", severity="warning", team="net"), loaded("Other", severity="critical")]
    assert pins(wanted(), rules) == {"alertname": "Denied", "severity": "warning", "team": "net"}
    assert pins(wanted(direction="INGRESS"), rules)["direction"] == "INGRESS"


def test_a_label_that_the_rule_computes_is_not_pinned() -> None:
    rules = [loaded("Denied", severity="{{ if gt $value 10 }}critical{{ end }}", team="net")]
    assert pins(wanted(), rules) == {"alertname": "Denied", "team": "net"}


def test_of_several_rules_that_may_bring_it_only_what_they_share_is_pinned() -> None:
    rules = [loaded("Denied", severity="warning", team="net"), loaded("Denied", severity="critical", team="net")]
    assert pins(wanted(), rules) == {"alertname": "Denied", "team": "net"}
    assert pins(wanted(severity="critical"), rules)["severity"] == "critical"


def test_without_a_rule_the_playbook_alone_says_it() -> None:
    assert pins(wanted(severity="warning"), []) == {"alertname": "Denied", "severity": "warning"}


def test_labels_of_the_outside_are_pinned_where_the_rule_has_none_of_that_name() -> None:
    outside = {"cluster": "prod", "team": "platform"}
    found = pins(wanted(), [loaded("Denied", team="net")], outside)
    assert found == {"alertname": "Denied", "team": "net", "cluster": "prod"}
    assert "team" not in pins(wanted(), [loaded("Denied", team="{{ $labels.team }}")], outside)


LABELS = "global: {external_labels: {cluster: prod, replica: a}}\n"
BOTH = {"cluster": "prod", "replica": "a"}


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ("", BOTH),
        ("alert_relabel_configs: [{regex: replica, action: labeldrop}]", {"cluster": "prod"}),
        ("alert_relabel_configs: [{regex: alert.*|replica, action: labelkeep}]", {"replica": "a"}),
        ("alert_relabel_configs: [{source_labels: [x], regex: y, action: drop}]", BOTH),
        ("alert_relabel_configs: [{target_label: cluster, replacement: x}]", {}),
        ("alertmanagers: [{alert_relabel_configs: [{regex: c.*, action: labeldrop}]}]", {"replica": "a"}),
    ],
)
def test_what_prometheus_adds_as_far_as_relabelling_leaves_it(steps: str, found: dict[str, str]) -> None:
    assert external([f"{LABELS}alerting: {{{steps}}}"]) == found


def test_replicas_share_only_what_is_equal_in_all() -> None:
    assert external([LABELS, LABELS.replace("replica: a", "replica: b")]) == {"cluster": "prod"}
    assert external([LABELS, "global: {}"]) == {}
    assert external([]) == {}


def test_matchers_are_written_as_alertmanager_has_them() -> None:
    assert matchers({"severity": "warning", "alertname": "X"}) == '{alertname="X", severity="warning"}'
