"""WireGuard drills from end to end: plaintext that really leaves, and a run that is killed over a lost device."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Ended, Lab
from lies_support import Running, events_of
from meddler import KILL_PROBE
from test_recovery import kill_at, reached, start

pytestmark = pytest.mark.lab

NODE = "k8s-w1"
QUICK = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: quick}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 20, maxDuration: 15m, allow: [capture]}
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
EXPECT = "expect: {plaintext: none, path: closed}"
ONE_NODE = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: one-node}
spec:
  guards: {namespaces: [backend, database], maxRequestsPerSecond: 20, maxDuration: 15m}
  sources:
    backend: {namespace: backend, labels: {app: backend}, node: NODE}
  drills:
  - name: node-key
    inject:
      wireguard: {node: NODE, fault: key-replaced, duration: 2m}
    control:
      tcp: {from: backend, host: database.database, port: 5432}
    expect: {plaintext: none, path: closed}
"""
KILL_CAPTURE = KILL_PROBE.replace("drills.probe", "drills.capture")


def quick(folder: Path, fault: str) -> Path:
    path = folder / "quick.yaml"
    path.write_text(QUICK.replace("FAULT", fault))
    return path


def keys(lab: Lab) -> dict[str, Any]:
    nodes = json.loads(lab.kubectl("get", "ciliumnodes", "-o", "json"))["items"]
    return {node["metadata"]["name"]: node["metadata"]["annotations"] for node in nodes}


def in_agent(lab: Lab, *command: str) -> str:
    """A command in the agent of the node."""
    pods = json.loads(lab.kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=cilium", "-o", "json"))["items"]
    (name,) = [pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == NODE]
    return lab.kubectl("exec", "-n", "kube-system", name, "--", *command)


def encryption(lab: Lab) -> dict[str, Any]:
    """What the agent of the node says now."""
    found: dict[str, Any] = json.loads(in_agent(lab, "cilium-dbg", "encrypt", "status", "-o", "json"))
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


def test_without_captures_the_path_is_judged_and_nothing_is_said_of_plaintext(lab: Lab, tmp_path: Path) -> None:
    path = quick(tmp_path, "key-replaced")
    path.write_text(path.read_text().replace(", allow: [capture]", "").replace("plaintext: none, ", ""))

    ended = lab.drills("run", path, "--lab", "--out", tmp_path)

    assert ended.status == 0, ended.out + ended.err
    result = lab.drills.result(tmp_path)
    (drill,) = result["drills"]
    assert drill["enforcement"]["verdict"] == "held"
    (captured,) = drill["enforcement"]["evidence"]
    assert (captured["plaintext"], captured["packets"]) == ("not-judged", {})
    assert "capture" not in " ".join(change["what"] for change in result["provenance"]["changes"])
    assert any("plaintext" in one for one in result["provenance"]["notJudged"])
    assert "The path between the nodes was as expected" in ended.out
    assert "whether anything left in clear was not looked at" in ended.out
    assert "no packet of a pod left in clear" not in ended.out + (tmp_path / "report.html").read_text()
    assert drill["recovery"]["verdict"] == "restored"


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
    assert "all nodes have its key as before, and there were handshakes since" in recovered.out
    (device,) = encryption(lab)["wireguard"]["interfaces"]
    assert (device["public-key"], device["peer-count"]) == (was["public-key"], was["peer-count"])
    assert keys(lab) == annotations
    nothing_is_left(lab)


def run_with(lab: Lab, folder: Path, fault: str, *meddle: Callable[[], object], expect: str = EXPECT) -> Ended:
    """A run in which somebody meddles as soon as the fault has taken effect."""
    playbook = quick(folder, fault)
    playbook.write_text(playbook.read_text().replace(EXPECT, expect))
    running = Running(lab, playbook, folder / "out")
    running.until("node-key", "effect")
    for step in meddle:
        step()
    return running.ended()


def test_a_blind_capture_proves_nothing_and_what_somebody_else_changed_is_kept(lab: Lab, tmp_path: Path) -> None:
    """In mid-fault the capture on the other node is killed, and somebody writes to the very object that was changed."""
    before = keys(lab)

    def kill_capture() -> None:
        pods = json.loads(lab.kubectl("get", "pods", "-n", "drills", "-o", "json"))["items"]
        (name,) = [pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] != NODE]
        lab.kubectl("exec", "-n", "drills", name, "--", "python", "-c", KILL_CAPTURE)

    def own() -> None:
        lab.kubectl("annotate", "ciliumnode", NODE, "example.com/owner=eve")

    ended = run_with(lab, tmp_path, "key-replaced", kill_capture, own)
    after = keys(lab)
    lab.kubectl("annotate", "ciliumnode", NODE, "example.com/owner-")

    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    (captured,) = drill["enforcement"]["evidence"]
    assert captured["plaintext"] == "not-proven"
    assert any(reason.startswith("k8s-w2: ") for reason in captured["reasons"])
    assert drill["enforcement"]["verdict"] == "inconclusive"
    assert "that nothing left in clear is not proven" in drill["enforcement"]["reason"]
    assert drill["recovery"]["verdict"] == "not-restored"
    assert "somebody changed metadata.annotations[example.com/owner] meanwhile" in drill["recovery"]["reason"]
    assert after[NODE] == before[NODE] | {"example.com/owner": "eve"}
    assert (drill["verdict"], ended.status) == ("failed", 1)
    assert keys(lab) == before
    nothing_is_left(lab)


def test_a_key_that_somebody_puts_back_is_self_healed(lab: Lab, tmp_path: Path) -> None:
    before = keys(lab)

    def heal() -> None:
        annotations = json.dumps({"metadata": {"annotations": before[NODE]}})
        lab.kubectl("patch", "ciliumnode", NODE, "--type=merge", "-p", annotations)

    ended = run_with(lab, tmp_path, "key-replaced", heal)

    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    assert (drill["recovery"]["verdict"], ended.status) == ("self-healed", 3)
    assert drill["enforcement"]["verdict"] == "inconclusive"
    assert f"CiliumNode {NODE} has its own key again" in drill["enforcement"]["reason"]
    assert keys(lab) == before
    nothing_is_left(lab)


def test_a_session_from_before_the_fault_is_no_breach(lab: Lab, tmp_path: Path) -> None:
    """A key that goes ends no session: the path is open as long as the old one lives, and proves nothing."""
    before = keys(lab)
    ended = run_with(lab, tmp_path, "key-removed", expect="expect: {path: closed}")

    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    enforcement = drill["enforcement"]
    assert (enforcement["verdict"], enforcement["leaked"], ended.status) == ("inconclusive", 0, 3)
    assert enforcement["outcomes"].keys() == {"http-200"}
    assert "a session from before it may live for 180 s" in enforcement["reason"]
    assert (drill["control"]["verdict"], drill["recovery"]["verdict"]) == ("up", "restored")
    assert keys(lab) == before
    nothing_is_left(lab)


def test_a_path_within_one_node_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Nothing is encrypted there, so that no fault could be told from its absence: none is made."""
    before = keys(lab)
    node = lab.kubectl("get", "pod", "-n", "database", "database-0", "-o", "jsonpath={.spec.nodeName}")
    playbook = tmp_path / "one-node.yaml"
    playbook.write_text(ONE_NODE.replace("NODE", node))

    ended = lab.drills("run", playbook, "--lab", "--out", tmp_path / "out")

    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    assert (drill["enforcement"]["verdict"], drill["enforcement"]["attempts"]) == ("inconclusive", 0)
    assert f"The control does not cross between {node} and another node" in drill["enforcement"]["reason"]
    assert "attack" not in [event["event"] for event in events_of(tmp_path / "out")]
    assert (ended.status, keys(lab)) == (3, before)
    nothing_is_left(lab)


def test_a_key_that_is_lost_is_not_restored_although_the_agent_was_restarted(lab: Lab, tmp_path: Path) -> None:
    """Somebody tidies up the agent's directory before recovery: the node has another key for good. Last of the lab."""
    before = keys(lab)
    kill(lab, tmp_path, "key-file-deleted", "effect")
    state = "/var/run/cilium/state"
    hidden = [name for name in in_agent(lab, "ls", state).split() if ".drills-" in name]
    in_agent(lab, "rm", *(f"{state}/{name}" for name in hidden))

    recovered = lab.drills("recover")
    assert recovered.status == 1, recovered.out + recovered.err
    assert f"not-restored: hide the private key of {NODE}: the agent of {NODE} was restarted" in recovered.out
    assert f"CiliumNode {NODE} does not have the public key that it had" in recovered.out
    assert "the key that it had is lost" in recovered.out
    assert keys(lab) != before
    assert len(hidden) == 1

    accepted = lab.drills("recover", "--accept")  # it was still recorded
    assert accepted.status == 0, accepted.out + accepted.err
    assert "accepted as it is" in accepted.out
    nothing_is_left(lab)
