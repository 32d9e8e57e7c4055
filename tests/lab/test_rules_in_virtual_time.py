"""The shipped rules, judged by promtool at every step of every scenario, as they are and in time-lapse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from promtool_scenarios import load_scenarios, rule_groups, run

import alerts
from alerts.rule import load_rules
from drills.units import format_duration, parse_duration

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


HTTP, DNS, DROPS = "CiliumHTTPRequestsDenied", "CiliumDNSLookupsDenied", "CiliumPolicyDrops"
FLOOD, PATH, MISSING = "CiliumRequestFlood", "CiliumNodePathBroken", "CiliumSecurityMetricsMissing"
BY_POLICY = '{reason=~"Policy denied.*"}'
# What an edit could get wrong: the alert, what its expression has, and what stands there instead.
MUTANTS = [
    *((alert, "> 10", wrong) for alert in (HTTP, DNS, DROPS) for wrong in ("> 9", ">= 10", "> 11", "< 10")),
    *((alert, "[5m]", wrong) for alert in (HTTP, DNS) for wrong in ("[4m45s]", "[5m15s]")),
    *((alert, "sum(increase", "(increase") for alert in (HTTP, DNS)),
    *((alert, 'rule="denied",', "") for alert in (HTTP, DNS, MISSING)),
    (HTTP, ',proxy_type="envoy"', ""),
    (DNS, ',proxy_type="fqdn"', ""),
    (DROPS, BY_POLICY, ""),
    (DROPS, BY_POLICY, '{reason="Policy denied"}'),
    (DROPS, "and on (instance)\n      (up offset 5m == 1)", ""),
    (DROPS, "up offset 5m == 1", "up offset 5m >= 0"),
    (DROPS, "sum by (direction) (\n", "sum by (instance, direction) (\n"),
    (DROPS, "sum by (direction) (\n", "sum (\n"),
    (DROPS, "[5m]", "[4m45s]"),
    (DROPS, "offset 5m)", "offset 4m45s)"),
    (DROPS, "or\n    sum by (instance, direction) (increase(cilium_drop_count_total" + BY_POLICY + "[5m]))", ""),
    *((FLOOD, "> 100", wrong) for wrong in ("> 90", "> 110", "< 100")),
    (FLOOD, "/ 2 ", ""),
    (FLOOD, "sum(rate", "(rate"),
    (FLOOD, "[2m]", "[1m45s]"),
    (FLOOD, "[2m]", "[2m15s]"),
    (FLOOD, 'rule="received",', ""),
    (FLOOD, ',proxy_type="envoy"', ""),
    (PATH, 'type="endpoint",', ""),
    (PATH, ',status="unreachable"', ""),
    (PATH, "[1m]", "[45s]"),
    (PATH, "[1m]", "[1m15s]"),
    (PATH, "> 0", "> 1"),
    (PATH, "max by (instance)", "max"),
    (MISSING, 'absent(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}) or ', ""),
    (MISSING, ' or absent(cilium_node_health_connectivity_status{type="endpoint"})', ""),
    (MISSING, ',proxy_type="envoy"', ""),
    (MISSING, '{type="endpoint"}', ""),
]
WAITS = {HTTP: "1m", DNS: "1m", DROPS: "1m", FLOOD: "1m", PATH: "2m", MISSING: "2m"}


@pytest.mark.parametrize("alert", WAITS)
def test_whatever_an_edit_gets_wrong_is_noticed(alert: str, tmp_path: Path) -> None:
    """All mutants of a rule are judged at once, each as an alert of its own that must fire when the right one does."""
    (group,) = rule_groups(yaml.safe_load(SHIPPED.read_text()), 1)
    (rule,) = [each for each in group["rules"] if each["alert"] == alert]
    made: dict[str, dict[str, Any]] = {}
    for _, right, wrong in (one for one in MUTANTS if one[0] == alert):
        assert right in rule["expr"], right
        made[f"{right} is {wrong}"] = {"expr": rule["expr"].replace(right, wrong)}
    assert parse_duration(rule["for"]) == parse_duration(WAITS[alert])
    for off in (-15_000, 15_000):
        wrong = format_duration(parse_duration(rule["for"]) + off)
        made[f"for {wrong}"] = {"for": wrong}
    names = {name: f"mutant{number}" for number, name in enumerate(made)}
    mutants = [{**rule, **change, "alert": names[name]} for name, change in made.items()]
    metrics = re.findall(r"cilium_\w+", rule["expr"])
    scenarios = [
        replace(one, firing=dict.fromkeys(names.values(), one.firing.get(alert, [])))
        for one in load_scenarios(SCENARIOS)
        if any(series.startswith(metric) for series, _ in one.series[: one.own] for metric in metrics)
    ]

    said = run([{**group, "rules": mutants}], scenarios, 1, tmp_path)

    assert [name for name in made if f"alertname: {names[name]}," not in said] == []
