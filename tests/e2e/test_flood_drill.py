"""Flood drills from end to end: what is forbidden stays so under load, and what a flood cannot prove is not claimed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Lab
from test_recovery import reached, start

pytestmark = pytest.mark.lab

LOCUSTFILES = Path(__file__).parents[1] / "lab" / "flood"
PAST_THE_GATES = LOCUSTFILES / "past_the_gates.py"
HOLDING_ON = LOCUSTFILES / "holding_on.py"
WEAK = """
apiVersion: v1
kind: ConfigMap
metadata: {name: weak, namespace: backend}
data:
  nginx.conf: |
    pid /tmp/nginx-weak.pid;
    events { worker_connections 32; }
    http {
      access_log off;
      client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d;
      scgi_temp_path /tmp/e;
      server { listen 8080; location / { return 200 "here"; } }
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: weak, namespace: backend}
spec:
  selector: {matchLabels: {weak: "yes"}}
  template:
    metadata: {labels: {app: backend, weak: "yes"}}
    spec:
      containers:
      - name: nginx
        image: nginx:1.27
        volumeMounts: [{name: config, mountPath: /etc/nginx/nginx.conf, subPath: nginx.conf}]
      volumes: [{name: config, configMap: {name: weak}}]
---
apiVersion: v1
kind: Service
metadata: {name: weak, namespace: backend}
spec: {selector: {weak: "yes"}, ports: [{port: 80, targetPort: 8080}]}
"""
# The shipped rule with a small threshold: two labs of the tests share the cores of one machine.
RULE = """
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: small-flood, namespace: monitoring, labels: {release: kube-prometheus-stack}}
spec:
  groups:
  - name: small-flood
    interval: 15s
    rules:
    - alert: SmallFlood
      expr: sum(rate(cilium_policy_l7_total{rule="received",proxy_type="envoy"}[2m])) / 2 > 6
      for: 1m
      labels: {severity: warning}
"""
PLAYBOOK = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: flood}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 30, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
  drills:
  - name: flood
    inject:
      flood: {from: frontend, url: "http://http-api.backend/", users: 40, rate: 12/s, duration: 3m, workers: 2}
    control:
      http: {from: frontend, url: "http://http-api.backend/", status: 200, maxLatency: 2s}
    expect:
      during:
      - {http: {from: frontend, url: "http://http-api.backend/admin/config", rate: 30/m}, denied: {status: 403}}
      - {http: {from: frontend, url: "http://http-api.backend/", method: DELETE, rate: 30/m}, denied: {status: 403}}
"""
ALERT = """
      alerts:
      - {name: SmallFlood, labels: {severity: warning}, within: 4m, resolvesWithin: 10m, receiver: security}
"""


@pytest.fixture(scope="module")
def small_rule(lab: Lab) -> Iterator[None]:
    lab.kubectl("apply", "-f", "-", stdin=RULE)
    yield
    lab.kubectl("delete", "prometheusrule", "-n", "monitoring", "small-flood")


def written(folder: Path, *changes: tuple[str, str], more: str = "") -> Path:
    text = PLAYBOOK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "flood.yaml"
    path.write_text(text + more.lstrip("\n"))
    return path


def nothing_is_left(lab: Lab) -> None:
    assert lab.kubectl("get", "secrets,leases", "-n", "drills", "-o", "name") == ""
    assert "drill-" not in lab.kubectl("get", "pods,configmaps", "-A", "-o", "name")


def only_drill(lab: Lab, out: Path) -> dict[str, Any]:
    (drill,) = lab.drills.result(out)["drills"]
    found: dict[str, Any] = drill
    return found


def test_what_is_forbidden_stays_so_under_load_and_the_flood_is_told(
    lab: Lab, small_rule: None, tmp_path: Path
) -> None:
    ended = lab.drills("run", written(tmp_path, more=ALERT), "--lab", "--out", tmp_path)

    assert ended.status == 0, ended.out + ended.err
    drill = only_drill(lab, tmp_path)
    load = drill["flood"]
    assert load["reachedPerSecond"] >= 0.9 * load["askedPerSecond"]
    assert load["requests"] <= 12 * 180
    assert load["statuses"] == {"http-200": load["requests"]}
    assert load["milliseconds"].keys() == {"p50", "p95", "p99"}
    assert (load["users"], load["workers"], load["failures"]) == (40, 2, 0)
    sources = lab.drills.result(tmp_path)["provenance"]["inputs"]["sources"]
    assert {one["node"] for one in sources if "-worker" in one["source"]} == {"k8s-w1", "k8s-w2"}
    assert drill["enforcement"]["verdict"] == "held"
    assert drill["enforcement"]["denied"] == drill["enforcement"]["attempts"] == 180
    for one in drill["during"]:
        assert (one["enforcement"]["verdict"], one["enforcement"]["denied"]) == ("held", 90)
        counter = next(each for each in one["enforcement"]["evidence"] if each["kind"] == "counter")
        assert counter["after"] - counter["before"] == 90  # its own, without the other's
        flows = next(each for each in one["enforcement"]["evidence"] if each["kind"] == "flow")
        assert (flows["count"], flows["partial"]) == (90, False)
    assert drill["control"]["verdict"] == "up"
    (alert,) = drill["alerts"]
    assert (alert["verdict"], alert["resolution"], alert["flags"]) == ("detected", "resolved", [])
    assert "of 12 requests a second; " in ended.out
    assert "requests a second" in (tmp_path / "report.html").read_text()
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    (told,) = [one for one in events if one["event"] == "load"]
    assert told["requests"] == load["requests"]
    assert {one["role"] for one in events if one["event"] == "series"} == {"attack", "control", "load"}
    nothing_is_left(lab)


@pytest.fixture
def weak(lab: Lab) -> Iterator[None]:
    """A web server with few connections, that frontend may reach as it may reach backend."""
    lab.kubectl("apply", "-f", "-", stdin=WEAK)
    lab.kubectl("rollout", "status", "-n", "backend", "deployment/weak", "--timeout=30s")
    yield
    lab.kubectl("delete", "-f", "-", stdin=WEAK)


def test_a_flood_that_takes_the_control_down_leaves_nothing_proven(lab: Lab, weak: None, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ("users: 40", f"users: 60, locustfile: {HOLDING_ON}"),
        ("workers: 2", "workers: 1"),  # which has both kinds of users
        ('control:\n      http: {from: frontend, url: "http://http-api.backend/",',
         'control:\n      http: {from: frontend, url: "http://weak.backend/", timeout: 2s,'),
    )  # fmt: skip

    ended = lab.drills("run", path, "--lab", "--out", tmp_path)

    assert ended.status == 3, ended.out + ended.err
    drill = only_drill(lab, tmp_path)
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert next(one["outcomes"] for one in events if one["event"] == "warm-up").keys() == {"http-200"}
    assert drill["control"]["verdict"] in ("broken", "flapping")
    assert (drill["verdict"], drill["enforcement"]["verdict"]) == ("inconclusive", "inconclusive")
    assert drill["enforcement"]["leaked"] == 0
    nothing_is_left(lab)


def test_an_open_path_under_load_is_breached(lab: Lab, tmp_path: Path) -> None:
    policy = lab.kubectl("get", "cnp", "-n", "backend", "http-l7-policy", "-o", "yaml")
    lab.kubectl("delete", "cnp", "-n", "backend", "http-l7-policy")
    try:
        ended = lab.drills("run", written(tmp_path, ("duration: 3m", "duration: 1m")), "--lab", "--out", tmp_path)
    finally:
        lab.kubectl("apply", "-f", "-", stdin=policy)

    assert ended.status == 1, ended.out + ended.err
    drill = only_drill(lab, tmp_path)
    assert drill["enforcement"]["verdict"] == "breached"
    assert drill["enforcement"]["leaked"] > 0


def test_more_than_the_lab_carries_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path) -> None:
    path = written(tmp_path, ("rate: 12/s", "rate: 5000/s"), ("maxRequestsPerSecond: 30", "maxRequestsPerSecond: 9999"))

    ended = lab.drills("run", path, "--lab", "--out", tmp_path)

    assert ended.status == 2
    assert "150000 requests a second on the wall at time-lapse 30" in ended.err
    assert "fit" in ended.err
    assert not [line for line in (tmp_path / "journal.jsonl").read_text().splitlines() if '"change"' in line]


def test_a_locustfile_that_exceeds_the_guard_ends_the_drill(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PAST_THE_GATES.read_text())
    path = written(tmp_path, ("workers: 2", "workers: 2, locustfile: mine.py"))

    ended = lab.drills("run", path, "--lab", "--out", tmp_path)

    assert ended.status == 4, ended.out + ended.err
    drill = only_drill(lab, tmp_path)
    assert drill["reasons"] == ["the flood sends more than guards.maxRequestsPerSecond (30) allows"]
    assert drill["recovery"]["verdict"] == "restored"
    nothing_is_left(lab)


def test_an_interrupt_stops_the_flood_and_puts_everything_back(lab: Lab, tmp_path: Path) -> None:
    process = start(lab, written(tmp_path, ("duration: 3m", "duration: 10m")), tmp_path)
    try:
        reached(process, tmp_path / "journal.jsonl", "attack")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 4, err
    drill = only_drill(lab, tmp_path)
    assert (drill["verdict"], drill["recovery"]["verdict"]) == ("aborted", "restored")
    assert drill["flood"]["requests"] < 12 * 300
    nothing_is_left(lab)
