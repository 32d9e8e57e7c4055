"""Rules that are right have no error, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

import alerts
from drills.check import checks, reading
from drills.check.finding import Finding, Level
from drills.check.world import Options

HERE = Path(__file__).parent
CORRECTED = HERE / "golden/alerts-corrected/input.yaml"


def _of(file: Path, level: Level) -> list[Finding]:
    return [each for each in checks.findings(reading.read([file], Options())) if each.level is level]


def test_rules_for_other_exporters_and_good_ones_for_cilium() -> None:
    file = HERE / "right_rules.yaml"
    assert file.read_text().count("- alert:") >= 35
    assert _of(file, Level.ERROR) == []
    assert _of(file, Level.WARNING) == []
    noted = _of(file, Level.NOTE)
    assert {each.rule for each in noted} == {"prometheus/unknown-series"}
    assert len({each.message for each in noted}) == len(noted)


def test_the_rules_that_ship_have_no_finding_at_all() -> None:
    assert checks.findings(reading.read([Path(alerts.__file__).parent / "rules"], Options())) == []


def test_the_rules_that_correct_the_seeds_have_no_error() -> None:
    assert _of(CORRECTED, Level.ERROR) == []
