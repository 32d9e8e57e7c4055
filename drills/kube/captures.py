"""Capture pods: one on every node, on the node's own network, that watches for plaintext (`drills.capture`)."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from drills.errors import Aborted, WorldError
from drills.kube.api import Obj, core
from drills.kube.cluster import Cluster
from drills.kube.exec import Stream
from drills.kube.pods import DrillPodSpec, owner_manifest, pod_manifest

COMMAND: Final = ("python", "-m", "drills.capture")
ANSWER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ends:
    """What a capture must know of its cluster: a pod's address on its node, and one on another."""

    source: str
    target: str


def capture_manifest(spec: DrillPodSpec, owner_uid: str = "") -> Obj:
    """A drill pod on the node's network that may read its packets, and nothing more.

    Its namespace must admit privileged pods (Pod Security): host network and CAP_NET_RAW. Root, since a capability that
    a container adds is only effective for root.
    """
    pod = copy.deepcopy(pod_manifest(spec, owner_uid))
    pod["spec"]["hostNetwork"] = True
    pod["spec"]["tolerations"] = [{"operator": "Exists"}]
    pod["spec"]["securityContext"] = {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in pod["spec"]["containers"]:
        container["securityContext"]["capabilities"] = {"drop": ["ALL"], "add": ["NET_RAW"]}
    return pod


def create_capture_pod(cluster: Cluster, spec: DrillPodSpec) -> None:
    """Create the pod and the ConfigMap that owns it. KubeError if the API refuses; then nothing of it stays."""
    doing = f"create capture pod {spec.namespace}/{spec.name}"
    owner = cluster.create(doing, core("configmaps", spec.namespace), owner_manifest(spec))
    try:
        body = capture_manifest(spec, owner["metadata"]["uid"])
        cluster.create(doing, core("pods", spec.namespace), body)
    except WorldError:
        cluster.find(f"remove {spec.name}", "DELETE", core("configmaps", spec.namespace, spec.name))
        raise


def wait_capture_pod(cluster: Cluster, spec: DrillPodSpec, until: float, stop: threading.Event | None = None) -> None:
    """Return when it runs. WorldError by ``until`` (monotonic clock), or if it ended."""
    event = stop or threading.Event()
    while True:
        pod = cluster.call(f"read pod {spec.name}", "GET", core("pods", spec.namespace, spec.name))
        status: Mapping[str, Any] = pod.get("status") or {}
        states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
        if status.get("phase") == "Running" and states and all("running" in state for state in states):
            return
        if time.monotonic() > until or status.get("phase") in ("Failed", "Succeeded"):
            why = [f"{state[kind].get('reason', kind)}" for state in states for kind in state if kind != "running"]
            raise WorldError(f"Capture pod {spec.name} on {spec.node} does not run: {', '.join(why) or 'not started'}")
        if event.wait(LOOK_SECONDS):
            raise Aborted(f"Interrupted while pod {spec.name} was starting")


def configuration(nonce: str, node: str, nodes: Mapping[str, Obj], ends: Ends) -> str:
    """The first line for the capture on a node. ``nodes``: the CiliumNodes. WorldError without addresses."""
    addresses = {name: _address(name, each) for name, each in nodes.items()}
    networks = [cidr for each in nodes.values() for cidr in (each["spec"].get("ipam") or {}).get("podCIDRs") or ()]
    if not networks:
        raise WorldError("The CiliumNodes name no pod networks (spec.ipam.podCIDRs): plaintext cannot be told apart")
    peers = [address for name, address in sorted(addresses.items()) if name != node]
    own = {"nonce": nonce, "networks": networks, "node": addresses[node], "peers": peers}
    return json.dumps({**own, "source": ends.source, "target": ends.target})


class Capture:
    """A capture that runs on one node."""

    def __init__(self, stream: Stream, node: str) -> None:
        self._stream = stream
        self._node = node

    @classmethod
    def start(cls, cluster: Cluster, spec: DrillPodSpec, first_line: str) -> Self:
        """WorldError if it may not watch."""
        stream = cluster.exec(spec.namespace, spec.name, COMMAND)
        capture = cls(stream, spec.node or "")
        stream.send(first_line)
        capture._answer("ready")
        return capture

    def mark(self, name: str) -> Mapping[str, Any]:
        """Have it send known packets, and say which of them it saw."""
        self._stream.send(json.dumps({"mark": name}))
        return self._answer("mark")

    def end(self) -> Mapping[str, Any]:
        """Stop it: everything that it counted."""
        self._stream.send(json.dumps({"end": True}))
        found: Mapping[str, Any] = self._answer("end")["end"]
        self._stream.close()
        return found

    def _answer(self, key: str) -> Mapping[str, Any]:
        for line in self._stream.lines(time.monotonic() + ANSWER_SECONDS):
            found: Mapping[str, Any] = json.loads(line)
            if "error" in found:
                raise WorldError(f"{self._node}: {found['error']}")
            if key in found:
                return found
        raise WorldError(f"The capture on {self._node} does not answer: {self._stream.failure() or 'silence'}")


def _address(name: str, node: Obj) -> str:
    found: Sequence[Mapping[str, str]] = node["spec"].get("addresses") or ()
    for each in found:
        if each.get("type") == "InternalIP" and ":" not in each["ip"]:
            return each["ip"]
    raise WorldError(f"CiliumNode {name} has no InternalIP of IPv4")
