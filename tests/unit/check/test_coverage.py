"""Which alerts have a drill and which drills an alert, and the table that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from drills.check import coverage, reading
from drills.check.given import rules_of
from drills.check.predict.cluster import Cluster
from drills.check.world import Options, World
from drills.cli import cli
from drills.errors import InputError

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


THREE = "groups:\n- name: g\n  rules:\n" + "".join(f"  - {{alert: A{each}, expr: up == 0}}\n" for each in range(3))
TWO = """\
apiVersion: drills/v1
kind: Playbook
metadata: {name: shop}
spec:
  sources: {web: {namespace: shop, labels: {app: web}}}
  drills:
  - name: admin-path
    inject: {http: {from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}, alerts: [{name: A0, within: 4m}, {name: A1, within: 4m}]}
"""


@pytest.mark.parametrize(("wanted", "said"), [(66, []), (67, ["66.6 %, not 67 %"]), (100, ["66.6 %, not 100 %"])])
def test_a_share_is_never_said_to_be_more_than_it_is(tmp_path: Path, wanted: int, said: list[str]) -> None:
    (tmp_path / "rules.yaml").write_text(THREE)
    (tmp_path / "playbook.yaml").write_text(TWO)
    world = reading.read([tmp_path], Options(min_coverage=wanted))
    rules = rules_of(world)
    found = coverage.coverage(world, rules, Cluster.of(world))
    low = [each.message for each in coverage.findings(world, rules, found) if each.rule == "coverage/too-low"]
    assert [each.partition(": ")[2] for each in low] == said
    assert "2 of 3 alerts are exercised by a drill (66 %)" in coverage.table(world)


@pytest.mark.parametrize(("wanted", "refused"), [("100", True), ("1", True), ("0", False)])
def test_where_there_are_no_alerts_no_share_of_them_can_be_asked_for(
    tmp_path: Path, wanted: str, *, refused: bool
) -> None:
    (tmp_path / "playbook.yaml").write_text(TWO)
    done = CliRunner().invoke(cli, ["check", str(tmp_path), "--min-coverage", wanted])
    assert isinstance(done.exception, InputError) is refused
    if refused:
        assert "there is no alerting rule at these paths" in str(done.exception)


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
