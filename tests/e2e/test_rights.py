"""The generated rights, on a lab that enforces them: enough for plan, run and recover, and each of them is used.

Prometheus and Alertmanager are reached through the API server's proxy, and one drill silences its alert there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import BIN, ROOT, Drills, Lab, drills_of

from alerts.prometheus import Prometheus
from drills.deploy.roles import rules
from drills.engine.publications import Where
from drills.engine.records import Records
from drills.engine.rights import needed
from drills.engine.undo import Record, of_drill_pod
from drills.kube import Cluster
from drills.kube.announce import write_config_map
from drills.kube.lease import Lease
from drills.kube.rights import LOST, Right
from drills.playbook import load

pytestmark = pytest.mark.lab

SHIPPED_GAME_DAY = ROOT / "playbooks" / "zero-trust.yaml"
RUNNER = "system:serviceaccount:drills:drills-zero-trust"
TOLD = ("--publish", "events", "--publish", "configmap")
KEPT = ("database-from-frontend", "default-deny", "wireguard-key")  # with the rights of all but the flood
SILENT = "database-from-frontend"
PROMETHEUS, ALERTMANAGER = (
    "service:monitoring/prometheus-operated:9090",
    "service:monitoring/alertmanager-operated:9093",
)
AT_ALERTMANAGER = "/api/v1/namespaces/monitoring/services/alertmanager-operated:9093/proxy"
WATCHED = ("--prometheus", PROMETHEUS, "--alertmanager", ALERTMANAGER)
K = 60


@dataclass(frozen=True)
class Runner:
    """The command as the generated service account, and what the lab's API wrote down of it."""

    drills: Drills
    lab: Lab
    playbook: Path
    target: tuple[str, ...]
    audit: Path

    def asked(self) -> list[tuple[Right, bool]]:
        """Every request of the service account, and whether it was allowed."""
        found = []
        for line in self.audit.read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] == RUNNER:
                found.append((_right(event), event["annotations"]["authorization.k8s.io/decision"] == "allow"))
        return found


def _right(event: dict[str, Any]) -> Right:
    asked = event["objectRef"]
    resource = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
    return Right(asked.get("apiGroup", ""), resource, event["verb"], asked.get("namespace"), asked.get("name"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped game day, short: few drills, seconds of attack, and one alert, which is silenced."""
    playbook = yaml.safe_load(SHIPPED_GAME_DAY.read_text())
    playbook["spec"]["drills"] = [one for one in playbook["spec"]["drills"] if one["name"] in KEPT]
    for drill in playbook["spec"]["drills"]:
        if drill["name"] == SILENT:
            drill["notify"] = "silence"
        else:
            drill["expect"].pop("alerts", None)
        for injection in drill["inject"].values():
            injection["duration"] = "1m"
    path = tmp_path_factory.mktemp("quick") / "zero-trust.yaml"
    path.write_text(yaml.safe_dump(playbook, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, quick: Path) -> Iterator[Runner]:
    """A lab of its own in which the manifests of the playbook were applied, strictly."""
    folder = tmp_path_factory.mktemp("rights")
    drills = drills_of(f"e2e-rights-{os.getpid()}", folder)
    up = drills("lab", "up", "--time-lapse", str(K))
    assert up.status == 0, up.err
    try:
        lab = Lab(drills, Path(up.out.splitlines()[-1]))
        made = drills("manifests", quick, *WATCHED, *TOLD)
        assert made.status == 0, made.err
        lab.kubectl("apply", "--validate=strict", "--dry-run=server", "-f", "-", stdin=made.out)
        lab.kubectl("apply", "--validate=strict", "-f", "-", stdin=made.out)
        status = json.loads(drills("lab", "status", "--format", "json").out)
        config = yaml.safe_load(lab.kubeconfig.read_text())
        token = lab.kubectl("-n", "drills", "create", "token", RUNNER.rpartition(":")[2]).strip()
        config["users"][0]["user"] = {"token": token}
        kubeconfig = folder / "runner.yaml"
        kubeconfig.write_text(yaml.safe_dump(config))
        target = ("--context", config["current-context"], *WATCHED)
        environment = {**drills.environment, "KUBECONFIG": str(kubeconfig)}
        yield Runner(Drills(environment, folder), lab, quick, target, Path(status["logs"]) / "audit.log")
    finally:
        drills("lab", "down")


def test_the_short_playbook_needs_what_the_shipped_one_needs(quick: Path) -> None:
    shipped = load(SHIPPED_GAME_DAY)
    assert needed(load(quick)) == needed(shipped, [drill for drill in shipped.drills if drill.name != "flood"])


def rights_of(playbook: Path) -> list[Right]:
    """The generated ones."""
    publish = [Where("events"), Where("configmap")]
    return needed(load(playbook), addresses=(PROMETHEUS, ALERTMANAGER), alertmanager=ALERTMANAGER, publish=publish)


def silences(runner: Runner) -> list[str]:
    """The states of all silences."""
    found = runner.lab.kubectl("get", "--raw", f"{AT_ALERTMANAGER}/api/v2/silences")
    return [one["status"]["state"] for one in json.loads(found)]


def test_the_generated_rights_are_enough_and_all_of_them_are_used(runner: Runner) -> None:
    planned = runner.drills("plan", runner.playbook, *runner.target, *TOLD, "--format", "json")
    assert planned.status == 0, planned.out + planned.err
    (plan,) = json.loads(planned.out)
    assert all(right["granted"] is True for right in plan["rights"])
    assert plan["lacks"] == []
    out = runner.drills.folder / "out"
    done = runner.drills("run", runner.playbook, *runner.target, *TOLD, "--out", out)
    assert done.status == 0, done.out + done.err
    as_runner = Cluster.connect(kubeconfig=Path(runner.drills.environment["KUBECONFIG"]))
    write_config_map(as_runner, "drills", "drills-result-zero-trust", {"run": "the second"})
    (alert,) = next(one for one in runner.drills.result(out)["drills"] if one["name"] == SILENT)["alerts"]
    assert (alert["verdict"], alert["resolution"], len(alert["silencedBy"])) == ("detected", "resolved", 1)
    assert silences(runner) == ["expired"]
    for drill, event in ((SILENT, "attack"), ("wireguard-key", "effect")):
        _killed(runner, drill, event)
        assert silences(runner).count("active") == (drill == SILENT)
        recovered = runner.drills("recover", *runner.target[:2])
        assert recovered.status == 0, recovered.out + recovered.err
        assert "restored: pod" in recovered.out
        assert ("restored: silence" in recovered.out) == (drill == SILENT)
        assert set(silences(runner)) == {"expired"}
    asked = runner.asked()
    rights = rights_of(runner.playbook)
    assert sorted({str(right) for right, allowed in asked if not allowed}) == []
    assert {str(right) for right, _ in asked if not any(one.covers(right) for one in rights)} == set()
    unused = [one for one in rights if not any(one.covers(right) for right, _ in asked)]
    assert [str(one) for one in unused if not one.reason.endswith(LOST)] == []


def _killed(runner: Runner, drill: str, event: str) -> None:
    """Run a drill, and kill the run as soon as its journal has the event."""
    out = runner.drills.folder / f"killed-{drill}"
    command = [BIN / "drills", "run", runner.playbook, *runner.target, "--only", drill, "--out", out]
    process = subprocess.Popen(
        command, env=runner.drills.environment, cwd=runner.drills.folder, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    journal = out / "journal.jsonl"
    until = time.monotonic() + 60
    while not (journal.exists() and f'"event": "{event}"' in journal.read_text()):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_each_right_that_is_taken_away_is_one_that_plan_misses(runner: Runner) -> None:
    rights = [one for one in rights_of(runner.playbook) if one.resource != "services/proxy" or one.verb == "delete"]
    assert rights[-1].resource == "services/proxy"  # without get on it there would be no plan at all
    for missing in (rights[0], rights[len(rights) // 2], rights[-1]):
        with _without(runner, missing):
            planned = runner.drills("plan", runner.playbook, *runner.target, *TOLD, "--format", "json")
        assert planned.status == 3
        (plan,) = json.loads(planned.out)
        assert [right["text"] for right in plan["rights"] if not right["granted"]] == [str(missing)]
        assert any(str(missing) in lack["text"] for lack in plan["lacks"])


@pytest.mark.parametrize(
    "missing",
    [
        Right("coordination.k8s.io", "leases", "create", "drills"),
        Right("", "secrets", "create", "drills"),
        Right("", "pods", "create", "frontend"),
        Right("cilium.io", "ciliumnetworkpolicies", "list", None),
    ],
    ids=str,
)
def test_a_run_without_a_right_ends_in_one_sentence_and_leaves_nothing(runner: Runner, missing: Right) -> None:
    with _without(runner, missing):
        done = runner.drills("run", runner.playbook, *runner.target, "--only", "default-deny")
    assert done.status == 3, done.out + done.err
    assert "lacks a right" in done.out + done.err
    assert runner.lab.kubectl("get", "pods", "-A", "-o", "name").count("drill-") == 0
    assert runner.lab.kubectl("-n", "drills", "get", "secrets", "-o", "name").count("undo") == 0


class _without:  # noqa: N801 - reads as a word
    """The runner's rights but one, for a block."""

    def __init__(self, runner: Runner, missing: Right) -> None:
        self._cluster = Cluster.connect(kubeconfig=runner.lab.kubeconfig)
        self._rights = [one for one in rights_of(runner.playbook) if one.namespace == missing.namespace]
        self._missing = missing

    def __enter__(self) -> None:
        assert self._missing in self._rights
        self._write([one for one in self._rights if one != self._missing])

    def __exit__(self, *_: object) -> None:
        self._write(self._rights)

    def _write(self, rights: list[Right]) -> None:
        namespace = self._missing.namespace
        where = "clusterroles" if namespace is None else f"namespaces/{namespace}/roles"
        path = f"/apis/rbac.authorization.k8s.io/v1/{where}/drills-zero-trust"
        role = self._cluster.call("read the role", "GET", path)
        self._cluster.call("change the role", "PUT", path, body={**role, "rules": rules(rights)})


ASLEEP = """
apiVersion: v1
kind: Service
metadata: {name: asleep, namespace: database}
spec: {selector: {app: nobody}, ports: [{port: 5432}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: of-no-series, namespace: monitoring, labels: {release: kube-prometheus-stack}}
spec: {groups: [{name: of-no-series, rules: [{alert: OfNoSeries, expr: cilium_unheard_of_total > 0}]}]}
"""


def test_plan_asks_the_lab_and_says_what_lacks(runner: Runner, tmp_path: Path) -> None:
    text = SHIPPED_GAME_DAY.read_text()
    for old, new in (
        ("name: CiliumHTTPRequestsDenied", "name: CiliumHTTPRequestsForbidden"),
        ("name: CiliumNodePathBroken", "name: OfNoSeries"),
        ("host: backend.backend,", "host: nobody.backend,"),
        ("host: database.database, port: 5432, rate", "host: asleep.database, port: 5432, rate"),
        ("node: k8s-w1", "node: k8s-w9"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "playbook.yaml"
    path.write_text(text)
    runner.lab.kubectl("apply", "-f", "-", stdin=ASLEEP)
    status = json.loads(runner.lab.drills("lab", "status", "--format", "json").out)
    cluster, prometheus = Cluster.connect(kubeconfig=runner.lab.kubeconfig), Prometheus(status["prometheus"])
    left = Record(run="r", playbook="another", order=1, what="a change", at="now", undo=of_drill_pod("frontend", "x"))
    records = Records(cluster)
    names = ("admin-path", "default-deny", "missing-header", "database-from-outsider", "wireguard-key")
    until = time.monotonic() + 60
    while not any(rule.name == "OfNoSeries" for group in prometheus.rules() for rule in group.rules):
        assert time.monotonic() < until
        time.sleep(0.2)
    records.add(left)
    try:
        with Lease(cluster, lambda _: None):
            only = [word for name in names for word in ("--only", name)]
            planned = runner.lab.drills("plan", path, "--lab", *only, "--format", "json")
    finally:
        records.drop(left)
        runner.lab.kubectl("delete", "-f", "-", stdin=ASLEEP)
    assert planned.status == 3, planned.out + planned.err
    (plan,) = json.loads(planned.out)
    lacks = [(one["subject"], one["text"]) for one in plan["lacks"]]
    for expected in (
        ("alert", "no rule CiliumHTTPRequestsForbidden is loaded in Prometheus, which admin-path names"),
        ("metric", "the alert OfNoSeries has nothing to read: "),
        ("service", "there is no Service backend/nobody, which the playbook tries"),
        ("service", "no pod behind Service database/asleep is ready: no attempt could be judged"),
        ("node", "there is no CiliumNode k8s-w9; there are k8s-w1, k8s-w2"),
        ("run", "an earlier run of another left a change undone: `drills recover` first"),
        ("run", "another run is at work: "),
    ):
        assert any((subject, text.startswith(expected[1])) == (expected[0], True) for subject, text in lacks), expected
    assert len(lacks) == 7, lacks
    assert runner.lab.kubectl("get", "pods", "-A", "-o", "name").count("drill-") == 0


def test_a_service_that_publishes_unready_pods_is_refused_by_plan_and_run(runner: Runner) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "all-pods", "namespace": "frontend"},
        "spec": {"selector": {"app": "test-client"}, "publishNotReadyAddresses": True, "ports": [{"port": 80}]},
    }
    runner.lab.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    try:
        planned = runner.lab.drills("plan", runner.playbook, "--lab", "--only", "default-deny")
        done = runner.lab.drills("run", runner.playbook, "--lab", "--only", "default-deny")
        other = runner.lab.drills("plan", runner.playbook, "--lab", "--only", "database-from-frontend")
    finally:
        runner.lab.kubectl("-n", "frontend", "delete", "service", "all-pods")
    assert planned.status == 3
    assert "Service frontend/all-pods publishes addresses of pods that are not ready" in planned.out
    assert done.status == 3
    assert "Service frontend/all-pods" in done.out
    assert other.status == 0, other.out


def test_plan_without_a_target_and_outside_of_the_guards(runner: Runner, tmp_path: Path) -> None:
    planned = runner.drills("plan", SHIPPED_GAME_DAY, "--only", "admin-path")
    assert planned.status == 0
    assert "no target was named" in planned.out
    path = tmp_path / "playbook.yaml"
    path.write_text(SHIPPED_GAME_DAY.read_text().replace("http://http-api.backend/admin", "http://x.payments/admin"))
    outside = runner.drills("plan", path, "--only", "admin-path")
    assert outside.status == 2
    assert "payments" in outside.err


def test_prometheus_takes_the_alerts_that_watch_the_drills(runner: Runner, tmp_path: Path) -> None:
    made = runner.drills("manifests", SHIPPED_GAME_DAY, "--schedule", "0 4 * * 0")
    (rule,) = [one for one in yaml.safe_load_all(made.out) if one["kind"] == "PrometheusRule"]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rule["spec"]))
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "4 rules found" in checked.stdout
