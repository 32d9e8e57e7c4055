"""The admin-path drill from end to end: what is shown when the policy holds, and what when something is wrong."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import junitparser
import pytest
from command import SHIPPED, Drills, Ended, Lab

pytestmark = pytest.mark.lab

POLICY = ("-n", "backend", "cnp", "http-l7-policy")


def run(lab: Lab, playbook: Path, out: Path) -> tuple[Ended, dict[str, Any]]:
    ended = lab.drills("run", playbook, "--lab", "--out", out)
    return ended, lab.drills.result(out)["drills"][0]


def test_shipped_playbook_passes_in_one_command_and_leaves_nothing(drills: Drills, tmp_path: Path) -> None:
    out = tmp_path / "out"

    ended = drills("run", SHIPPED, "--lab", "--time-lapse", "30", "--out", out)

    assert ended.status == 0, ended.err + ended.out
    result = drills.result(out)
    assert (result["schema"], result["verdict"]) == ("drills/result/v1", "passed")
    assert result["target"]["timeLapse"] == 30
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


@pytest.fixture(scope="module")
def passed(lab: Lab, short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run in which nothing was wrong, made for a reason that somebody gave."""
    out = tmp_path_factory.mktemp("passed") / "out"
    drills = Drills({**lab.drills.environment, "DRILLS_REASON": "game day 7"}, lab.drills.folder)
    ended = drills("run", short, "--lab", "--out", out)
    assert ended.status == 0, ended.err + ended.out
    return out


def sha256(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def test_provenance_has_all_that_an_auditor_asks_for(passed: Path, lab: Lab) -> None:
    result = lab.drills.result(passed)
    found, inputs = result["provenance"], result["provenance"]["inputs"]
    commit = {"commit"} if (SHIPPED.parents[1] / ".git").exists() else set()
    names = {"drills", "python", "kernel", "kubernetes", "cilium", "envoy", "prometheus", "alertmanager"} | commit
    assert found["versions"].keys() == names
    assert all(found["versions"].values())
    assert (result["target"]["kind"], result["target"]["timeLapse"]) == ("lab", 30)

    (source,), (target,) = inputs["sources"], inputs["targets"]
    assert {"pod", "node", "address", "serviceAccount"} <= {key for key, value in source.items() if value}
    assert source["identity"] >= 256
    assert target["address"]
    assert len(target["backends"]) == 2
    ran = {pod.rpartition("-")[0].split("/")[0] for image in found["images"] for pod in image["pods"]}
    assert ran == {"frontend", "backend", "kube-system"}  # the drill pod, those behind the target, Cilium's agents
    assert all(image["imageId"] for image in found["images"])

    assert sha256(inputs["playbook"])
    assert sha256(inputs["alertmanager"])
    assert inputs["policies"]
    for policy in inputs["policies"]:
        assert (policy["valid"], sha256(policy["sha256"]), bool(policy["uid"])) == (True, True, True)
        assert policy["generation"] >= 1
        assert policy["revisions"].keys() == {"k8s-w1", "k8s-w2"}
    rules = {rule["name"]: rule for rule in inputs["rules"]}
    assert rules.keys() == {"CiliumHTTPRequestsDenied", "CiliumNodePathBroken"}
    assert "[5m]" in rules["CiliumHTTPRequestsDenied"]["original"]
    assert "[10s]" in rules["CiliumHTTPRequestsDenied"]["evaluated"]  # 5 minutes, 30 times faster
    assert all(sha256(rule["sha256"]) for rule in rules.values())

    assert {"user", "host", "context", "clusterUid", "kubernetesUser"} <= found["actor"].keys()
    assert found["actor"]["DRILLS_REASON"] == "game day 7"
    assert found["changes"]
    for change in found["changes"]:
        assert (change["undone"], bool(change["undo"]), change["before"]) == (True, True, None)  # made, so none before
        assert sha256(change["after"])
    assert found["journal"] == hashlib.sha256((passed / "journal.jsonl").read_bytes()).hexdigest()
    clock = found["clock"]
    assert clock["source"].startswith("Prometheus at http://127.0.0.1:")
    assert max(abs(clock["offsetAtStart"]), abs(clock["offsetAtEnd"])) < 5
    assert isinstance(clock["pollGaps"], list)
    asked = {one["kind"]: one for one in found["replicas"]}
    assert asked.keys() == {"prometheus", "alertmanager", "receiver"}
    for name in ("prometheus", "alertmanager"):
        assert {"url", "version", "startedAt"} <= {key for key, value in asked[name].items() if value}
    assert len(found["processes"]["prometheus"]) == 1
    assert sum(name.startswith("agent ") for name in found["processes"]) == 2
    assert found["notJudged"] == [
        "admin-path: resolution of CiliumHTTPRequestsDenied: the playbook sets no resolvesWithin"
    ]


def test_journal_tells_a_change_before_it_is_made_and_when_it_is_undone(passed: Path, lab: Lab) -> None:
    events = [json.loads(line)["event"] for line in (passed / "journal.jsonl").read_text().splitlines()]
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
