"""The playbooks that ship: they load, their alerts are rules that ship, and every such rule has its drill."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from drills.inject.kinds import kind_of
from drills.playbook import Playbook, load
from drills.playbook.model import FloodInjection, WireguardInjection

ROOT = Path(__file__).parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yaml"))
# No injection stops an exporter; tests/e2e/test_guards_end_a_drill.py makes the agents' metrics unreadable and follows
# the alert.
WITHOUT_DRILL = {"CiliumSecurityMetricsMissing"}


def shipped_rules() -> dict[str, dict[str, str]]:
    """Labels of every alert in alerts/rules, by name."""
    files = (ROOT / "alerts" / "rules").glob("*.yaml")
    objects = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    groups = [group for each in objects for group in each["spec"]["groups"]]
    return {rule["alert"]: rule["labels"] for group in groups for rule in group["rules"] if "alert" in rule}


@pytest.fixture(scope="module")
def zero_trust() -> Playbook:
    return load(ROOT / "playbooks" / "zero-trust.yaml")


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_alerts_are_rules_that_ship(path: Path) -> None:
    rules = shipped_rules()
    for drill in load(path).drills:
        assert {alert.name for alert in drill.expect.alerts} | set(drill.expect.quiet) <= rules.keys()
        for alert in drill.expect.alerts:
            known = {name: value for name, value in alert.labels.items() if name in rules[alert.name]}
            assert known.items() <= rules[alert.name].items()


def test_every_rule_has_a_drill(zero_trust: Playbook) -> None:
    expected = {alert.name for drill in zero_trust.drills for alert in drill.expect.alerts}
    assert expected == shipped_rules().keys() - WITHOUT_DRILL


def test_what_guards_every_quiet_alert_is_watched_itself(zero_trust: Playbook) -> None:
    assert "CiliumSecurityMetricsMissing" in {name for drill in zero_trust.drills for name in drill.expect.quiet}


def test_every_probe_drill_says_where_its_denials_are_proven(zero_trust: Playbook) -> None:
    for drill in zero_trust.drills:
        if not isinstance(drill.injection, FloodInjection | WireguardInjection):
            assert drill.control is not None
            assert drill.expect.denied
            assert len(kind_of(drill.injection).proof(drill.expect.denied).makers) == 1
