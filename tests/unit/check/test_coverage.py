"""Which alerts have a drill and which drills an alert, and the table that says so."""

from __future__ import annotations

from pathlib import Path

import yaml

from drills.check import coverage, reading
from drills.check.given import rules_of
from drills.check.predict.cluster import Cluster
from drills.check.world import Options, World

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "playbooks", ROOT / "alerts")


def rules_found(world: World) -> list[str]:
    rules = rules_of(world)
    return [each.rule for each in coverage.findings(world, rules, coverage.coverage(world, rules, Cluster.of(world)))]


def test_the_table_of_this_repository() -> None:
    text = coverage.table(reading.read(SHIPPED, Options()))
    assert text.startswith(
        "Coverage: 5 of 6 alerts are exercised by a drill (83 %), 20 of 20 drills are watched by an alert.\n"
    )
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line.startswith("  ")}
    assert rows["CiliumHTTPRequestsDenied"] == "admin-path/admin-path, zero-trust/admin-path"
    assert rows["CiliumSecurityMetricsMissing"] == "no drill"
    assert rows["zero-trust/default-deny"] == "expects none; CiliumPolicyDrops could fire"
    assert "CiliumSecurityMetricsMissing" not in rows["zero-trust/method"]  # it only looks whether series are missing


def test_the_only_note_of_this_repository() -> None:
    assert rules_found(reading.read(SHIPPED, Options())) == ["coverage/alert-not-exercised"]


def test_less_than_asked_for_is_an_error() -> None:
    assert rules_found(reading.read(SHIPPED, Options(min_coverage=84)))[0] == "coverage/too-low"
    assert "coverage/too-low" not in rules_found(reading.read(SHIPPED, Options(min_coverage=83)))


def test_one_side_alone_has_no_coverage() -> None:
    for path in SHIPPED:
        world = reading.read([path], Options())
        assert coverage.table(world) == ""
        assert rules_found(world) == []


def test_rules_that_are_malformed_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "groups:\n- 3\n- {name: g, rules: [3, {alert: A}, {alert: B, expr: 1, for: soon}, {alert: C, expr: x > 1}]}\n"
        "- {name: h, rules: {}}\n"
    )
    assert [each.rule.alert for each in rules_of(reading.read([tmp_path], Options())).alerts] == ["C"]


def test_recording_rules_that_feed_a_rule_come_before_it(tmp_path: Path) -> None:
    records = {"b": "sum(a)", "c": "b + a", "a": "x", "unread": "y", "round": "trip", "trip": "round"}
    rules = [{"record": name, "expr": expr} for name, expr in records.items()]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    given = rules_of(reading.read([tmp_path], Options()))
    assert [each.name for each in given.feeding(["b > c"])] == ["a", "b", "c"]
    assert sorted(each.name for each in given.feeding(["round"])) == ["round", "trip"]
