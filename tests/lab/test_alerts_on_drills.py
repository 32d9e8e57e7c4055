"""The alerts that watch the drills, in virtual time: promtool says at every hour which of them fire."""

from __future__ import annotations

from pathlib import Path

import pytest
from promtool_scenarios import Scenario, rule_groups, run

from drills.deploy.alerts import prometheus_rule
from drills.deploy.settings import Settings

HOUR = 3_600_000
HOURS = 60
OURS = 'playbook="admin-path"'
RAN = f"drills_last_run_timestamp_seconds{{{OURS}}}"
OTHERS = ('drills_last_run_timestamp_seconds{playbook="another"}', f"0+3600x{HOURS}")
EVERY_HOUR = (RAN, f"0+3600x{HOURS}")
PLAYBOOK = {"playbook": "admin-path"}
DRILL = {**PLAYBOOK, "drill": "path"}


def verdict(name: str, values: str, playbook: str = "admin-path") -> tuple[str, str]:
    return f'drills_verdict{{playbook="{playbook}",drill="path",verdict="{name}"}}', values


def spell(labels: dict[str, str], begins: int, ends: int = HOURS) -> dict[str, object]:
    return {"labels": labels, "from": f"{begins}h", "to": f"{ends}h"}


SCENARIOS = {
    "overdue after twice the interval, and not at it": (
        [(RAN, f"0x{HOURS}"), OTHERS],
        {"DrillOverdue": [spell(PLAYBOOK, 49)]},
    ),
    "a run ends it": (
        [(RAN, "0x49 180000x10"), OTHERS],
        {"DrillOverdue": [spell(PLAYBOOK, 49, 49)]},
    ),
    "nothing was ever heard of it": (
        [OTHERS],
        {"DrillNeverRan": [spell(PLAYBOOK, 48)]},
    ),
    "heard of once in a while": (
        [(RAN, "_x40 144000 _x19"), OTHERS],
        {},
    ),
    "a drill failed, and the next run passed": (
        [verdict("failed", "0 0 1x20 0x37"), verdict("failed", f"1x{HOURS}", "another"), EVERY_HOUR],
        {"DrillFailed": [spell(DRILL, 2, 22)]},
    ),
    "it could not judge, then it was aborted": (
        [verdict("inconclusive", "0 1x4 0x54"), verdict("aborted", "0x5 1x4 0x50"), EVERY_HOUR],
        {"DrillInconclusive": [spell(DRILL, 1, 10)]},
    ),
    "it passes": (
        [verdict("passed", f"1x{HOURS}"), verdict("failed", f"0x{HOURS}"), EVERY_HOUR],
        {},
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_they_fire_when_they_should_and_at_no_other_hour(name: str, tmp_path: Path) -> None:
    series, firing = SCENARIOS[name]
    manifest = prometheus_rule("admin-path", "0 3 * * *", Settings())
    scenario = Scenario(name, HOUR, HOURS * HOUR, series, firing)
    assert run(rule_groups(manifest, 1), [scenario], 1, tmp_path) == ""
