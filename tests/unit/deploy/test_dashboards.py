"""Every query of the shipped dashboards is put to `drills check` as a recording rule: metrics, labels and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from report_factory import game_day, passed

from drills.check import checks, reading
from drills.check.finding import Finding, Level
from drills.check.world import Options
from drills.publish.metrics import registry_of

DASHBOARDS = sorted((Path(__file__).parents[3] / "deploy" / "grafana").glob("*.json"))


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def found(tmp_path: Path, expressions: list[str]) -> list[Finding]:
    rules: list[dict[str, Any]] = [
        {"record": f"panel:query{number}", "expr": each} for number, each in enumerate(expressions)
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    return checks.findings(reading.read([file], Options()))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_its_queries(dashboard: Path, tmp_path: Path) -> None:
    assert [str(each) for each in found(tmp_path, queries(dashboard)) if each.level is Level.ERROR] == []


def test_a_metric_that_does_not_exist_would_be_found(tmp_path: Path) -> None:
    wrong = [text.replace("cilium_drop_count_total", "cilium_drops_total") for text in queries(DASHBOARDS[0])]
    assert wrong != queries(DASHBOARDS[0])
    assert any(each.level is Level.ERROR for each in found(tmp_path, wrong))


def test_the_drills_dashboard_reads_metrics_that_a_run_leaves() -> None:
    told = generate_latest(registry_of([passed(), game_day()])).decode()
    (drills,) = [path for path in DASHBOARDS if path.stem == "drills"]
    names = {word for text in queries(drills) for word in text.replace("(", " ").replace("{", " ").split()}
    used = {word.rstrip(")") for word in names if word.startswith("drills_")}
    assert used
    assert all(f"# TYPE {name} gauge" in told for name in used)
