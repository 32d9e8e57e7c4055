"""The model against the lab: generated policies and flows, what `drills.cilium.decide` says and what really happens.

The lab compiles its packet filter and its proxies from the same model; that compiling, the kernel, Envoy and the DNS
proxy are what this holds it against.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from policy_flows import NAMESPACES, NODES, PODS, WORLD, WORLD_ADDRESS

from drills.cilium.decide import Decision, Flow, HttpRequest, Policies, Remote, Verdict
from drills.cilium.labels import HOST, REMOTE_NODE, Identity, identity_labels
from drills.cilium.labels import WORLD as OUTSIDE
from drills.cilium.peers import address
from drills.lab import plan

pytestmark = pytest.mark.lab

INSIDE = Path(__file__).with_name("policy_inside.py")
DENIED = "Access denied"
Round = dict[str, Any]


def rounds(seed: int, count: int) -> list[Round]:
    flags = ["-nmp"] if os.geteuid() == 0 else ["-Urnmp"]
    command = ["unshare", *flags, "--fork", "--mount-proc", "--kill-child=KILL", sys.executable, str(INSIDE)]
    environment = {**os.environ, "PYTHONPATH": f"{INSIDE.parents[2]}:{INSIDE.parent}"}
    arguments = [str(seed), str(count)]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=900, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[Round] = json.loads(done.stdout)
    return found


# --- what the model says ----------------------------------------------------------------------------------------------


def remotes() -> dict[str, Remote]:
    found = {WORLD: Remote(OUTSIDE, address(WORLD_ADDRESS))}
    for number, pod in enumerate(PODS):
        namespace = {**NAMESPACES[pod.namespace], "kubernetes.io/metadata.name": pod.namespace}
        labels = identity_labels(pod.labels, pod.namespace, namespace)
        named = {(port["name"], "TCP"): port["containerPort"] for port in pod.ports}
        found[pod.name] = Remote(
            Identity(1000 + number, labels), address(pod.address), named_ports=MappingProxyType(named)
        )
    return found


REMOTES = remotes()


def remote(name: str, peer: str) -> Remote:
    """One end of a flow as the other end's node sees it: a node is the host of its own pods only."""
    if name in NODES:
        here = plan.node_of(str(REMOTES[peer].address)) == name
        return Remote(HOST if here else REMOTE_NODE, address(NODES[name]))
    return REMOTES.get(name) or Remote(OUTSIDE, address(name))


def expected(policies: Policies, flow: dict[str, Any]) -> str:
    """What the probe must see of a flow; of a lookup, and of the connection that follows it."""
    source, destination = remote(flow["source"], flow["destination"]), remote(flow["destination"], flow["source"])
    if flow["kind"] == "dns":
        return looked_up(policies, source, destination, flow)
    request = HttpRequest(flow["method"], flow["path"], "host", flow["headers"]) if flow["kind"] == "http" else None
    decision = policies.decide(Flow(source, destination, "TCP", flow["port"], http=request))
    return seen(decision, connected=flow["kind"] == "tcp")


def looked_up(policies: Policies, source: Remote, resolver: Remote, flow: dict[str, Any]) -> str:
    decision = policies.decide(Flow(source, resolver, "UDP", 53, dns=flow["name"]))
    if decision.verdict is Verdict.DENIED_DNS:
        return "refused"
    if not decision.allowed:
        return "no answer"
    names = frozenset({flow["name"]} if decision.proxied else ())
    target = Remote(OUTSIDE, address(flow["answer"]), names)
    return f"answered, {seen(policies.decide(Flow(source, target, 'TCP', flow['port'])), connected=True)}"


def seen(decision: Decision, *, connected: bool) -> str:
    if decision.verdict is Verdict.DENIED_HTTP:
        return "403"
    if decision.allowed or (connected and decision.proxied):
        return "connected" if connected else "200"
    return "cut off" if decision.proxied else "dropped"


# --- what happened ----------------------------------------------------------------------------------------------------


def happened(flow: dict[str, Any], record: dict[str, Any]) -> str:
    phase, error, status = record["phase"], record["error"], record["status"]
    if flow["kind"] == "dns":
        if phase == "resolve":
            return "no answer" if error == "timeout" else str(error)
        return f"answered, {connection(phase, error)}"
    if flow["kind"] == "tcp":
        return connection(phase, error)
    if phase == "connect":
        return "dropped" if error == "timeout" else f"connect: {error}"
    if status == 403 and record["body"].startswith(DENIED):
        return "403"
    if status == 200 and record["body"] == "yes":
        return "200"
    return "cut off" if status == 503 or error in {"timeout", "reset", "eof"} else f"{status} {error}"


def connection(phase: str, error: str | None) -> str:
    if phase == "connected" and error is None:
        return "connected"
    return "dropped" if (phase, error) == ("connect", "timeout") else f"{phase}: {error}"


def differences(found: list[Round]) -> tuple[list[str], Counter[str]]:
    """Where the lab does something else than the model says, and how often each thing was seen."""
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    for number, each in enumerate(found):
        policies = Policies.build(each["policies"])
        for flow, record in zip(each["flows"], each["records"], strict=True):
            flow["answer"] = record["address"]
            wanted = expected(policies, flow)
            got = happened(flow, record)
            counts[got] += 1
            if wanted != got:
                wrong.append(
                    f"round {number}: the model says {wanted}, the lab {got}: {flow}\n{record}\n{each['policies']}"
                )
    return wrong, counts


def test_the_lab_does_what_the_model_says() -> None:
    wrong, counts = differences(rounds(seed=1, count=8))
    assert wrong == []
    assert set(counts) >= {"200", "403", "dropped", "connected", "refused", "no answer", "answered, connected"}
    assert counts["answered, dropped"] > 0
    assert counts["403"] >= 30
    assert counts["dropped"] >= 100


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2, 12))
def test_and_so_it_does_many_times_over(seed: int) -> None:
    wrong, _ = differences(rounds(seed, count=12))
    assert wrong == []
