"""What the agents write back to the API: the status of policies, and CiliumEndpoints. Pure: objects in, objects out.

Shapes: Cilium 1.20 ``pkg/k8s/apis/cilium.io/v2`` (types.go, cnp_types.go). ``status.nodes`` of a policy is as up to
Cilium 1.15. The condition ``LabEnforced`` is the lab's own: it is there, and False, when a policy says something
that the lab cannot enforce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drills.cilium.decide import DirectionPolicy, EndpointPolicy
from drills.lab import plan
from drills.lab.agent.book import Import
from drills.lab.agent.cluster import Pod
from drills.lab.api.types import Obj

NOT_ENFORCED = "LabEnforced"


@dataclass(frozen=True, slots=True)
class Realised:
    """How far one node is: the revision that its kernel and Envoy have, and what went wrong after it."""

    revision: int
    error: str = ""


def policy_status(old: Obj, policy: Import, nodes: Mapping[str, Realised], now: str) -> Obj:
    """The status of a policy object. Times stay as they are where nothing else changes."""
    conditions = [_condition(old, "Valid", policy.validity.valid, policy.validity.message, now)]
    if policy.unenforced:
        text = f"The lab does not enforce: {'; '.join(policy.unenforced)}"
        conditions.append(_condition(old, NOT_ENFORCED, False, text, now))
    others = [each for each in old.get("conditions") or [] if each.get("type") not in ("Valid", NOT_ENFORCED)]
    found = {node: _node(old, node, policy, how, now) for node, how in nodes.items()}
    return {**old, "conditions": [*others, *conditions], "nodes": {k: v for k, v in found.items() if v}}


def _condition(old: Obj, kind: str, holds: bool, message: str, now: str) -> Obj:
    status = "True" if holds else "False"
    before: Obj = next((each for each in old.get("conditions") or [] if each.get("type") == kind), {})
    since = before.get("lastTransitionTime", now) if before.get("status") == status else now
    return {"type": kind, "status": status, "lastTransitionTime": since, "message": message}


def _node(old: Obj, node: str, policy: Import, how: Realised, now: str) -> Obj:
    before: Obj = (old.get("nodes") or {}).get(node) or {}
    if policy.errors:
        found: Obj = {"ok": False, "enforcing": False, "error": "\n".join(policy.errors)}
    elif how.revision >= policy.revision:
        found = {"ok": not how.error, "enforcing": True, "localPolicyRevision": policy.revision}
        if how.error:
            found["error"] = how.error
    elif how.error:
        found = {"ok": False, "enforcing": False, "error": how.error}
    else:
        return before  # not there yet: say nothing new
    same = {key: value for key, value in before.items() if key != "lastUpdated"} == found
    return before if same else {**found, "lastUpdated": now}


def endpoint(pod: Pod, owner: Obj, policy: EndpointPolicy, revision: int) -> Obj:
    """The CiliumEndpoint of a pod whose policy is realised at a revision."""
    reference = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
    return {
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": dict((owner.get("metadata") or {}).get("labels") or {}),
            "ownerReferences": [reference],
        },
        "status": endpoint_status(pod, policy, revision),
    }


def endpoint_status(pod: Pod, policy: EndpointPolicy, revision: int) -> Obj:
    """EndpointStatus. ``policy.revision`` is the lab's addition: the realised revision."""
    status: Obj = {
        "id": pod.endpoint,
        "identity": {"id": pod.identity.number, "labels": pod.identity.printable()},
        "networking": {"addressing": [{"ipv4": str(pod.address)}], "node": str(plan.NODES[pod.node])},
        "external-identifiers": {
            "k8s-namespace": pod.namespace,
            "k8s-pod-name": pod.name,
            "pod-name": str(pod),
        },
        "state": "ready",
        "policy": {
            "ingress": _direction(policy.ingress),
            "egress": _direction(policy.egress),
            "revision": revision,
        },
    }
    if pod.named_ports:
        status["named-ports"] = [
            {"name": name, "port": number, "protocol": protocol}
            for (name, protocol), number in sorted(pod.named_ports.items())
        ]
    return status


def _direction(policy: DirectionPolicy) -> Obj:
    return {"enforcing": policy.enforced, "state": "enforcing" if policy.enforced else "disabled"}


def identity(number: int, labels: Mapping[str, str]) -> Obj:
    """A CiliumIdentity."""
    namespace = labels.get("k8s:io.kubernetes.pod.namespace", "")
    return {
        "metadata": {"name": str(number), "labels": {"io.kubernetes.pod.namespace": namespace}},
        "security-labels": dict(labels),
    }
