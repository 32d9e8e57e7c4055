"""Scenarios for promtool: what happens and which alerts fire when, asserted at every step and at any K."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alerts import promtool
from alerts.rulefile import Group, rule_file
from drills.units import format_duration, parse_duration


@dataclass(frozen=True)
class Scenario:
    """One story. ``firing``: alert name -> list of {labels, from, to}; all times in unscaled milliseconds."""

    name: str
    interval: int
    until: int
    series: Sequence[tuple[str, str]]
    firing: Mapping[str, Sequence[Mapping[str, Any]]]
    own: int = 0  # how many of the series are its own; the others are steady


def load_scenarios(path: Path) -> list[Scenario]:
    data = yaml.safe_load(path.read_text())
    steady = [split(text) for text in data["steady"]]
    return [
        Scenario(
            name=one["name"],
            interval=parse_duration(data["interval"]),
            until=parse_duration(one["until"]),
            series=with_steady([split(text) for text in one.get("series", [])], steady),
            firing=one["firing"],
            own=len(one.get("series", [])),
        )
        for one in data["scenarios"]
    ]


def split(text: str) -> tuple[str, str]:
    name, _, values = text.rpartition("} ")
    return name + "}", values


def with_steady(series: list[tuple[str, str]], steady: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    there = {name.partition("{")[0] for name, _ in series}
    return series + [one for one in steady if one[0].partition("{")[0] not in there]


def rule_groups(manifest: Mapping[str, Any], k: int) -> list[Group]:
    """The groups of a PrometheusRule object at K, without annotations (promtool would compare them)."""
    made = rule_file(manifest, k)
    assert not made.refused
    for group in made.groups:
        for rule in group["rules"]:
            rule.pop("annotations", None)
    return made.groups


def run(groups: Sequence[Group], scenarios: Sequence[Scenario], k: int, directory: Path) -> str:
    """What promtool says against the scenarios; empty if all is as told."""
    (directory / "rules.yaml").write_text(promtool.dump(groups))
    rules = [rule for group in groups for rule in group["rules"]]
    data = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": format_duration(scenarios[0].interval // k),
        "tests": [_test(scenario, rules, k) for scenario in scenarios],
    }
    (directory / "tests.yaml").write_text(json.dumps(data))  # JSON is YAML, and written 50 times faster
    done = promtool.run("test", "rules", "tests.yaml", cwd=directory)
    return done.stdout if done.returncode else ""


def _test(scenario: Scenario, rules: Sequence[Mapping[str, Any]], k: int) -> dict[str, Any]:
    steps = range(0, scenario.until + 1, scenario.interval)
    return {
        "name": scenario.name,
        "interval": format_duration(scenario.interval // k),
        "input_series": [{"series": name, "values": values} for name, values in scenario.series],
        "alert_rule_test": [
            {
                "eval_time": format_duration(step // k),
                "alertname": rule["alert"],
                "exp_alerts": _expected(scenario.firing.get(rule["alert"], ()), step, rule),
            }
            for step in steps
            for rule in rules
        ],
    }


def _expected(spells: Sequence[Mapping[str, Any]], step: int, rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"exp_labels": {**rule.get("labels", {}), **spell.get("labels", {})}}
        for spell in spells
        if parse_duration(spell["from"]) <= step <= parse_duration(spell["to"])
    ]
