"""The admin-path drill from end to end: what is shown when the policy holds, and what when something is wrong."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import junitparser
import pytest
from conftest import SHIPPED, Drills, Ended, Lab

pytestmark = pytest.mark.lab

POLICY = ("-n", "backend", "cnp", "http-l7-policy")


def run(lab: Lab, playbook: Path, out: Path) -> tuple[Ended, dict[str, Any]]:
    ended = lab.drills("run", playbook, "--lab", "--out", out)
    return ended, lab.drills.result(out)["drills"][0]


def test_shipped_playbook_passes_in_one_command_and_leaves_nothing(drills: Drills, tmp_path: Path) -> None:
    out = tmp_path / "out"

    ended = drills("run", SHIPPED, "--lab", "--out", out)

    assert ended.status == 0, ended.err + ended.out
    result = drills.result(out)
    assert (result["schema"], result["verdict"]) == ("drills/result/v1", "passed")
    assert result["target"]["timeLapse"] == 15
    (drill,) = result["drills"]
    assert drill["enforcement"]["verdict"] == "held"
    assert drill["enforcement"]["outcomes"] == {"http-403": drill["enforcement"]["attempts"]}
    assert drill["enforcement"]["attempts"] >= 0.9 * drill["enforcement"]["planned"] == 810
    counter, flow = drill["enforcement"]["evidence"]
    assert counter["after"] - counter["before"] == flow["count"] == drill["enforcement"]["denied"]
    assert len(flow["backends"]) == 2
    assert drill["control"]["verdict"] == "up"
    (alert,) = drill["alerts"]
    assert (alert["verdict"], alert["resolution"]) == ("detected", "resolved")
    stages = ("pendingAt", "firingAt", "notifiedAt", "resolvedAt")
    times = [datetime.fromisoformat(alert[stage]) for stage in stages]
    assert times == sorted(times)
    assert alert["boundSeconds"] == {"best": 60, "worst": 90}
    assert alert["detectionSeconds"] >= alert["boundSeconds"]["best"]
    assert drill["quiet"] == [{"name": "CiliumNodePathBroken", "verdict": "quiet", "reason": ""}]
    assert drill["recovery"]["verdict"] == "restored"
    assert "PASSED" in ended.out
    assert {one.name for one in out.iterdir()} == {"result.json", "junit.xml", "journal.jsonl", "report.html"}
    assert sum(suite.failures + suite.errors for suite in junitparser.JUnitXml.fromfile(str(out / "junit.xml"))) == 0
    assert drills("lab", "status").status == 3


def test_provenance_and_journal_tell_what_the_verdict_rests_on(lab: Lab, short: Path, tmp_path: Path) -> None:
    ended = lab.drills("run", short, "--lab", "--out", tmp_path)

    assert ended.status == 0, ended.err + ended.out
    provenance = lab.drills.result(tmp_path)["provenance"]
    assert {"drills", "kernel", "kubernetes", "cilium", "prometheus", "alertmanager"} <= set(provenance["versions"])
    assert all(change["undone"] for change in provenance["changes"])
    (rule,) = [one for one in provenance["inputs"]["rules"] if one["name"] == "CiliumHTTPRequestsDenied"]
    assert "[5m]" in rule["original"]
    assert "[10s]" in rule["evaluated"]  # 5 minutes, 30 times faster
    policies = {one["name"]: one for one in provenance["inputs"]["policies"]}
    assert policies["http-l7-policy"]["valid"] is True
    (source,) = provenance["inputs"]["sources"]
    assert source["identity"] >= 256
    events = [json.loads(line)["event"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert events.index("change") < events.index("ready") < events.index("attack") < events.index("undone")
    assert lab.kubectl("get", "pods,configmaps", "-n", "frontend", "-o", "name").count("drill-") == 0


def test_http_policy_removed_is_breached(lab: Lab, short: Path, tmp_path: Path) -> None:
    policy = lab.kubectl("get", *POLICY, "-o", "json")
    lab.kubectl("delete", *POLICY)
    try:
        ended, drill = run(lab, short, tmp_path)
    finally:
        restore(lab, policy)

    assert ended.status == 1, ended.err + ended.out
    assert drill["enforcement"]["verdict"] == "breached"
    assert drill["enforcement"]["leaked"] == drill["enforcement"]["attempts"] > 0
    assert drill["enforcement"]["outcomes"].keys() == {"http-200"}
    assert drill["alerts"][0]["verdict"] == "not-judged"
    assert "FAILED" in ended.out


def test_target_removed_is_inconclusive(lab: Lab, short: Path, tmp_path: Path) -> None:
    lab.kubectl("scale", "-n", "backend", "deployment/http-api", "--replicas=0")
    try:
        ended, drill = run(lab, short, tmp_path)
    finally:
        lab.kubectl("scale", "-n", "backend", "deployment/http-api", "--replicas=2")
        lab.kubectl("rollout", "status", "-n", "backend", "deployment/http-api", "--timeout=30s")

    assert ended.status == 3, ended.err + ended.out
    assert (drill["enforcement"]["verdict"], drill["enforcement"]["attempts"]) == ("inconclusive", 0)
    assert drill["control"]["verdict"] == "broken"
    assert drill["alerts"][0]["verdict"] == "not-judged"
    assert drill["quiet"][0]["verdict"] == "not-judged"


def test_misspelt_metric_is_missed_for_want_of_series(lab: Lab, short: Path, tmp_path: Path) -> None:
    rule = ("-n", "monitoring", "prometheusrule", "cilium-security")
    before = lab.kubectl("get", *rule, "-o", "json")
    wrong = before.replace("cilium_policy_l7_total{rule=", "cilium_policy_l7_denied_total{rule=")
    assert wrong != before
    lab.kubectl("replace", "-f", "-", stdin=wrong)
    try:
        ended, drill = run(lab, short, tmp_path)
    finally:
        restore(lab, before, replace=True)

    assert ended.status == 1, ended.err + ended.out
    assert drill["enforcement"]["verdict"] == "held"
    (alert,) = drill["alerts"]
    assert (alert["verdict"], alert["stoppedAt"]) == ("missed", "no-series")
    assert "cilium_policy_l7_denied_total" in alert["reason"]
    assert "cilium_policy_l7_total" in alert["reason"]  # the nearest that exists


def restore(lab: Lab, text: str, *, replace: bool = False) -> None:
    data = json.loads(text)
    for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
        data["metadata"].pop(key, None)
    data.pop("status", None)
    lab.kubectl("replace" if replace else "create", "-f", "-", stdin=json.dumps(data))
