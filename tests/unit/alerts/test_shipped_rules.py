"""The shipped rules would load, and tell a reader what to do (what they decide: tests/lab)."""

from __future__ import annotations

from pathlib import Path

import yaml

import alerts
from alerts.promtool import broken_rules
from alerts.rule import load_rules

RULES = Path(alerts.__file__).parent / "rules"
SHIPPED = RULES / "cilium-security.yaml"


def test_prometheus_would_load_them_with_their_annotations() -> None:
    assert broken_rules(yaml.safe_load(SHIPPED.read_text())["spec"]["groups"]) == []


def test_every_rule_tells_a_reader_what_to_do() -> None:
    runbook = (RULES.parent / "RUNBOOK.md").read_text()
    for rule in load_rules(SHIPPED):
        assert {"summary", "description", "runbook"} <= rule.annotations.keys()
        assert f"## {rule.alert}\n" in runbook
        assert rule.annotations["runbook"] == f"alerts/RUNBOOK.md#{rule.alert.lower()}"
        assert rule.severity in {"warning", "critical"}
