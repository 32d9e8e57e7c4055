"""WireGuard drills from end to end: plaintext that really leaves, and a run that is killed over a lost device."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Lab
from test_recovery import kill_at, reached, start

pytestmark = pytest.mark.lab

NODE = "k8s-w1"
QUICK = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: quick}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 20, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
  drills:
  - name: node-key
    inject:
      wireguard: {node: k8s-w1, fault: FAULT, duration: 2m}
    control:
      http: {from: frontend, url: "http://http-api.backend/", status: 200, timeout: 2s}
    expect: {plaintext: none, path: closed}
"""


def quick(folder: Path, fault: str) -> Path:
    path = folder / "quick.yaml"
    path.write_text(QUICK.replace("FAULT", fault))
    return path


def keys(lab: Lab) -> dict[str, Any]:
    nodes = json.loads(lab.kubectl("get", "ciliumnodes", "-o", "json"))["items"]
    return {node["metadata"]["name"]: node["metadata"]["annotations"] for node in nodes}


def encryption(lab: Lab) -> dict[str, Any]:
    """What the agent of the node says now."""
    pods = json.loads(lab.kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=cilium", "-o", "json"))["items"]
    (name,) = [pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == NODE]
    command = ("cilium-dbg", "encrypt", "status", "-o", "json")
    found: dict[str, Any] = json.loads(lab.kubectl("exec", "-n", "kube-system", name, "--", *command))
    return found


def nothing_is_left(lab: Lab) -> None:
    assert lab.kubectl("get", "pods,configmaps,secrets,leases", "-n", "drills", "-o", "name") == ""
    assert "drill-" not in lab.kubectl("get", "pods,configmaps", "-A", "-o", "name")


def test_plaintext_that_leaves_a_node_is_breached(lab: Lab, tmp_path: Path) -> None:
    config = ("-n", "kube-system", "configmap", "cilium-config", "--type", "merge", "-p")
    lab.kubectl("patch", *config, '{"data": {"lab-plaintext-fallback": "true"}}')
    try:
        ended = lab.drills("run", quick(tmp_path, "device-deleted"), "--lab", "--out", tmp_path)
    finally:
        lab.kubectl("patch", *config, '{"data": {"lab-plaintext-fallback": "false"}}')

    assert ended.status == 1, ended.out + ended.err
    (drill,) = lab.drills.result(tmp_path)["drills"]
    assert drill["enforcement"]["verdict"] == "breached"
    assert "in clear" in drill["enforcement"]["reason"]
    (captured,) = drill["enforcement"]["evidence"]
    assert captured["plaintext"] == "seen"
    assert captured["packets"][NODE] > 0
    assert drill["recovery"]["verdict"] == "restored", drill["recovery"]
    assert "The encryption did not hold" in ended.out
    nothing_is_left(lab)


def kill(lab: Lab, folder: Path, fault: str, wanted: str, interrupted_at: str | None = None) -> Path:
    """A run that ends at a step of its journal, by SIGKILL, after Ctrl-C at an earlier one if so; its journal."""
    out = folder / "out"
    journal = out / "journal.jsonl"
    process = start(lab, quick(folder, fault), out)
    if interrupted_at is not None:
        reached(process, journal, interrupted_at)
        process.send_signal(signal.SIGINT)
    kill_at(process, journal, wanted)
    return journal


@pytest.mark.parametrize("fault", ["device-deleted", "key-file-deleted"])
def test_killed_over_what_only_the_agent_can_repair(lab: Lab, tmp_path: Path, fault: str) -> None:
    (was,), annotations = encryption(lab)["wireguard"]["interfaces"], keys(lab)
    kill(lab, tmp_path, fault, "effect")
    assert was["public-key"] not in json.dumps(encryption(lab))

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    assert f"the agent of {NODE} was restarted" in recovered.out
    (device,) = encryption(lab)["wireguard"]["interfaces"]
    assert (device["public-key"], device["peer-count"]) == (was["public-key"], was["peer-count"])
    assert keys(lab) == annotations
    nothing_is_left(lab)
