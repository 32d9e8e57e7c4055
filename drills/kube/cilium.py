"""What Cilium says through the Kubernetes API and from inside its agents: endpoints, policies, flows."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drills.cilium.flow import Flow, FlowError, parse_all
from drills.errors import WorldError
from drills.kube.api import Obj, custom
from drills.kube.exec import ExecApi
from drills.kube.pods import RUN, PodApi, images_of

GROUP, VERSION = "cilium.io", "v2"
AGENTS = ("kube-system", {"k8s-app": "cilium"}, "cilium-agent")  # namespace, labels, container
ENVOY = ("kube-system", {"k8s-app": "cilium-envoy"}, "cilium-envoy")
NOT_FOUND = 2  # getent's status for a name that its database does not have
_KINDS = {
    "CiliumNetworkPolicy": "ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod as Cilium knows it. ``revision`` of the policy that its datapath has realised; None where nobody says."""

    namespace: str
    name: str
    identity: int | None
    state: str
    address: str
    revision: int | None
    enforcing: Mapping[str, bool] = field(default_factory=dict)  # by direction: ingress, egress; none: it does not say

    @property
    def ready(self) -> bool:
        return self.state == "ready" and self.identity is not None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it stands in the API. ``valid`` None: Cilium has not said yet."""

    kind: str
    namespace: str | None
    name: str
    uid: str
    generation: int
    valid: bool | None
    message: str
    revisions: Mapping[str, int]  # realised, by node, where the agents publish it
    sha256: str  # of kind, name and rules

    @property
    def title(self) -> str:
        """``CiliumNetworkPolicy backend/http-api``"""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Twin:
    """A pod that a drill pod stands for, with its identity number."""

    name: str
    identity: int


@dataclass(frozen=True, slots=True)
class Flows:
    """What the agents saw. ``lost`` events, or a node that could not be asked, make it partial."""

    flows: tuple[Flow, ...]
    lost: int
    nodes: tuple[str, ...]
    failed: Mapping[str, str]  # why a node could not be asked
    overwritten: tuple[str, ...] = ()  # nodes whose ring buffer no longer reaches back to the moment asked for

    @property
    def partial(self) -> bool:
        return self.lost > 0 or bool(self.failed) or bool(self.overwritten) or not self.nodes


@dataclass(frozen=True, slots=True)
class Agent:
    """A Cilium agent's pod."""

    pod: str
    node: str
    uid: str = ""
    restarts: int = 0  # of its containers


class CiliumApi(ExecApi, PodApi):
    """Cilium's objects and its agents."""

    def endpoint(self, namespace: str, pod: str) -> Endpoint | None:
        """The CiliumEndpoint of a pod; None if there is none (yet)."""
        path = custom(GROUP, VERSION, "ciliumendpoints", namespace, pod)
        found = self.find(f"read CiliumEndpoint {namespace}/{pod}", "GET", path)
        return None if found is None else _endpoint(found)

    def policies(self) -> list[Policy]:
        """Every CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, in the order of their names."""
        found = [
            _policy(kind, item)
            for kind, plural in _KINDS.items()
            for item in self.call(f"list {plural}", "GET", custom(GROUP, VERSION, plural))["items"]
        ]
        return sorted(found, key=lambda policy: (policy.kind, policy.namespace or "", policy.name))

    def twins(self, namespace: str, labels: Mapping[str, str]) -> list[Twin]:
        """The pods with these labels that are no drill pods and have an identity."""
        found = []
        for pod in self.pods(namespace, labels):
            metadata = pod["metadata"]
            if RUN in (metadata.get("annotations") or {}) or metadata.get("deletionTimestamp"):
                continue
            endpoint = self.endpoint(namespace, metadata["name"])
            if endpoint is not None and endpoint.identity is not None:
                found.append(Twin(metadata["name"], endpoint.identity))
        return found

    def agents(self) -> list[Agent]:
        """The agents' pods that run, by node."""
        namespace, labels, _ = AGENTS
        running = [pod for pod in self.pods(namespace, labels) if pod["status"].get("phase") == "Running"]
        return sorted(
            (
                Agent(pod["metadata"]["name"], pod["spec"]["nodeName"], pod["metadata"]["uid"], _restarts(pod))
                for pod in running
            ),
            key=lambda a: a.node,
        )

    def cilium_version(self) -> str:
        """The tag of the agents' image, such as ``v1.18.2``; several where they differ, empty where there are none."""
        return self._tags(AGENTS)

    def envoy_version(self, nodes: Collection[str]) -> str:
        """Of the L7 proxy, such as ``v1.34.4-...``: the tag of its own DaemonSet's image (the default from Cilium 1.16
        on); where it runs inside the agents, what those of ``nodes`` say (all if empty). WorldError if they do not.
        """
        if tags := self._tags(ENVOY):
            return tags
        agents = self.agents()
        asked = [agent for agent in agents if agent.node in nodes] or agents
        told = {_version_in(" ".join(self.agent_run(agent, ["cilium-envoy", "--version"]))) for agent in asked}
        return ", ".join(sorted(told))

    def cilium_images(self) -> dict[str, dict[str, str]]:
        """The images of the agents and of their Envoys, by pod."""
        pods = [pod for namespace, labels, _ in (AGENTS, ENVOY) for pod in self.pods(namespace, labels)]
        return {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": images_of(pod) for pod in pods}

    def _tags(self, container: tuple[str, dict[str, str], str]) -> str:
        namespace, labels, name = container
        images = {
            each["image"].partition("@")[0].rpartition(":")[2]
            for pod in self.pods(namespace, labels)
            for each in pod["spec"]["containers"]
            if each["name"] == name
        }
        return ", ".join(sorted(images))

    def agent_run(
        self,
        agent: Agent,
        command: Sequence[str],
        *,
        seconds: float = 10.0,
        stop: threading.Event | None = None,
        repeatable: bool = False,
    ) -> tuple[str, ...]:
        """The output of a command in an agent, such as ``cilium-dbg endpoint list -o json``. WorldError if it fails.

        ``repeatable``: one that only reads.
        """
        namespace, _, container = AGENTS
        return self.run(
            namespace, agent.pod, command, container=container, seconds=seconds, stop=stop, repeatable=repeatable
        ).lines

    def resolves(self, agent: Agent, name: str, *, seconds: float = 10.0) -> bool:
        """Whether a name has an address by the resolver of an agent's node, which no policy for pods keeps from asking.

        By ``getent`` (libc-bin: the agent's image is built on Ubuntu); its status 2 means that there is none.
        WorldError if it says nothing.
        """
        namespace, _, container = AGENTS
        with self.exec(namespace, agent.pod, ["getent", "ahostsv4", name], container, repeatable=True) as stream:
            found = any(line.strip() for line in stream.lines(time.monotonic() + seconds))
            status, failure = stream.status(), stream.failure()
        if status not in (0, NOT_FOUND):
            raise WorldError(f"getent in the agent {agent.pod} failed: {failure or f'status {status}'}")
        return found and status == 0

    def hubble_flows(
        self,
        since: float,
        filters: Sequence[str] = (),
        *,
        seconds: float = 10.0,
        stop: threading.Event | None = None,
    ) -> Flows:
        """What Hubble saw since a Unix time, from every agent, oldest first; filters as of ``hubble observe``."""
        moment = datetime.fromtimestamp(since, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        command = ["hubble", "observe", "-o", "jsonpb", "--since", moment, *filters]
        flows: dict[str, Flow] = {}  # by uuid: nobody is counted twice
        lost, failed, asked, overwritten = 0, {}, [], []
        for agent in self.agents():
            try:
                for response in parse_all(self.agent_run(agent, command, seconds=seconds, stop=stop, repeatable=True)):
                    if response.flow is not None:
                        flows.setdefault(response.flow.uuid or f"{agent.node}/{len(flows)}", response.flow)
                    if response.lost_events is not None:
                        lost += response.lost_events.num_events_lost
                asked.append(agent.node)
                if self._overwritten(agent, since):
                    overwritten.append(agent.node)
            except (WorldError, FlowError) as error:
                failed[agent.node] = str(error)
        ordered = sorted(flows.values(), key=lambda flow: flow.time or datetime.fromtimestamp(0, UTC))
        return Flows(tuple(ordered), lost, tuple(asked), failed, tuple(overwritten))

    def _overwritten(self, agent: Agent, since: float) -> bool:
        """Whether an agent's ring buffer has run full and forgotten what it saw at a Unix time.

        ``hubble status`` says ``Current/Max Flows: 4,095/4,095 (100.00%)`` then (Cilium 1.19 hubble/cmd/status).
        """
        found = re.search(
            r"Max Flows: ([\d,]+)/([\d,]+)", " ".join(self.agent_run(agent, ["hubble", "status"], repeatable=True))
        )
        if found is None or int(found[1].replace(",", "")) < int(found[2].replace(",", "")):
            return False
        first = parse_all(self.agent_run(agent, ["hubble", "observe", "-o", "jsonpb", "--first", "1"], repeatable=True))
        oldest = next((each.flow.time for each in first if each.flow is not None), None)
        return oldest is None or oldest.timestamp() > since


def _version_in(text: str) -> str:
    """Envoy's ``version: COMMIT/1.34.4/Clean/RELEASE/BoringSSL`` (source/common/version), else all it said."""
    found = re.search(r"version: [^/\s]*/([^/\s]+)/", text)
    return found[1] if found else text.strip()


def _restarts(pod: Obj) -> int:
    return sum(int(each.get("restartCount", 0)) for each in pod["status"].get("containerStatuses") or ())


def _endpoint(found: Obj) -> Endpoint:
    metadata, status = found["metadata"], found.get("status") or {}
    policy: Mapping[str, Any] = status.get("policy") or {}
    addresses = (status.get("networking") or {}).get("addressing") or [{}]
    return Endpoint(
        namespace=metadata["namespace"],
        name=metadata["name"],
        identity=(status.get("identity") or {}).get("id"),
        state=str(status.get("state", "")),
        address=str(addresses[0].get("ipv4") or addresses[0].get("ipv6") or ""),
        revision=policy.get("revision"),
        enforcing={name: bool((policy.get(name) or {}).get("enforcing")) for name in ("ingress", "egress") if policy},
    )


def _policy(kind: str, found: Obj) -> Policy:
    metadata, status = found["metadata"], found.get("status") or {}
    valid = next((each for each in status.get("conditions") or [] if each.get("type") == "Valid"), None)
    rules = {key: found[key] for key in ("spec", "specs") if key in found}
    text = json.dumps([kind, metadata.get("namespace"), metadata["name"], rules], sort_keys=True, separators=(",", ":"))
    nodes: Mapping[str, Any] = status.get("nodes") or {}
    return Policy(
        kind=kind,
        namespace=metadata.get("namespace"),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=int(metadata.get("generation", 0)),
        valid=None if valid is None else valid.get("status") == "True",
        message="" if valid is None else str(valid.get("message", "")),
        revisions={node: int(said["localPolicyRevision"]) for node, said in nodes.items() if said.get("ok")},
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
