"""The shipped rules, judged by promtool at every step of every scenario, as they are and in time-lapse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from promtool_scenarios import load_scenarios, rule_groups, run

import alerts
from alerts.rule import load_rules

pytestmark = pytest.mark.lab

RULES = Path(alerts.__file__).parent / "rules"
SHIPPED = RULES / "cilium-security.yaml"
SCENARIOS = RULES.parent / "scenarios" / "cilium-security.yaml"


@pytest.mark.parametrize("k", [1, 15, 60])
def test_every_rule_decides_as_told_at_every_step(k: int, tmp_path: Path) -> None:
    groups = rule_groups(yaml.safe_load(SHIPPED.read_text()), k)
    assert run(groups, load_scenarios(SCENARIOS), k, tmp_path) == ""


def test_every_rule_fires_in_some_scenario() -> None:
    fired = {name for scenario in load_scenarios(SCENARIOS) for name in scenario.firing}
    assert fired == {rule.alert for rule in load_rules(SHIPPED)}


def test_a_threshold_or_a_duration_that_is_off_is_noticed(tmp_path: Path) -> None:
    scenarios = load_scenarios(SCENARIOS)
    text = SHIPPED.read_text()
    for right, wrong in (("[5m])) > 10", "[5m])) > 9"), ("for: 2m", "for: 1m45s"), ("[1m])) > 0", "[45s])) > 0")):
        groups = rule_groups(yaml.safe_load(text.replace(right, wrong)), 1)
        assert run(groups, scenarios, 1, tmp_path) != "", wrong
