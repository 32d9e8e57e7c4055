"""Who is who: the addresses of the cluster and the identities behind them, as every agent of the lab knows them.

What Cilium keeps in its ipcache. An address that is not here belongs to the world.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

from drills.cilium.labels import (
    FIRST_POD_IDENTITY,
    HEALTH,
    HOST,
    KUBE_APISERVER,
    REMOTE_NODE,
    WORLD,
    Identity,
    Labels,
    identity_labels,
)
from drills.cilium.ports import NamedPorts, named_ports
from drills.lab import plan
from drills.lab.api.types import Obj, labels_of, name_of, namespace_of, uid_of

LAST_POD_IDENTITY = 65_535  # cluster-local identities: Cilium 1.20, pkg/identity/numericidentity.go


class Identities:
    """Numbers for label sets: the same labels always get the same number, in every lab and on every node."""

    def __init__(self) -> None:
        self._by_labels: dict[tuple[tuple[str, str], ...], Identity] = {}
        self._taken: set[int] = set()

    def of(self, labels: Labels) -> Identity:
        """The identity of these labels, allocated when they are first seen."""
        key = tuple(sorted(labels.items()))
        found = self._by_labels.get(key)
        if found is None:
            found = Identity(self._free_number(key), MappingProxyType(dict(key)))
            self._taken.add(found.number)
            self._by_labels[key] = found
        return found

    def known(self) -> list[Identity]:
        """All identities that were allocated so far."""
        return list(self._by_labels.values())

    def _free_number(self, key: tuple[tuple[str, str], ...]) -> int:
        span = LAST_POD_IDENTITY - FIRST_POD_IDENTITY + 1
        start = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") % span
        for step in range(span):
            number = FIRST_POD_IDENTITY + (start + step) % span
            if number not in self._taken:
                return number
        raise ValueError("all identities are taken")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has an address of its own. ``endpoint`` is its number on its node, as Cilium gives one."""

    uid: str
    namespace: str
    name: str
    node: str
    address: IPv4Address
    endpoint: int
    identity: Identity
    named_ports: NamedPorts = field(default_factory=lambda: MappingProxyType({}))
    workload: tuple[str, str] | None = None  # kind, name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Cluster:
    """All pods at one moment, by uid."""

    pods: Mapping[str, Pod] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def by_address(self) -> Mapping[IPv4Address, Pod]:
        """Pods by their address."""
        return {pod.address: pod for pod in self.pods.values()}

    def on(self, node: str) -> list[Pod]:
        """The pods of a node, by address."""
        return sorted((pod for pod in self.pods.values() if pod.node == node), key=lambda pod: pod.address)

    def identities(self, node: str) -> Mapping[IPv4Address, Identity]:
        """Every address that the cluster manages, as a node sees it: its own addresses are the host's."""
        return {**reserved(node), **{pod.address: pod.identity for pod in self.pods.values()}}


def reserved(node: str) -> dict[IPv4Address, Identity]:
    """Addresses that are no pod's, as a node sees them."""
    found = {plan.SUPERVISOR: KUBE_APISERVER}
    for each, address in plan.NODES.items():
        kind = HOST if each == node else REMOTE_NODE
        found |= {address: kind, plan.router_of(each): kind, plan.health_of(each): HEALTH}
    return found


def identity_of(cluster: Cluster, node: str, address: IPv4Address) -> Identity:
    """The identity behind an address, as a node sees it; the world's for any that is not the cluster's."""
    pod = cluster.by_address.get(address)
    return pod.identity if pod is not None else reserved(node).get(address, WORLD)


def labels_of_pod(pod: Obj, namespace_labels: Mapping[str, str]) -> Labels:
    """The labels that make a pod's identity."""
    account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
    return identity_labels(labels_of(pod), namespace_of(pod) or "default", namespace_labels, account)


def address_of(pod: Obj) -> IPv4Address | None:
    """The pod's address, None if it has none of its own (host network, not yet wired)."""
    if (pod.get("spec") or {}).get("hostNetwork"):
        return None
    text = (pod.get("status") or {}).get("podIP")
    return IPv4Address(text) if text else None


def workload_of(pod: Obj) -> tuple[str, str] | None:
    """Kind and name of what the pod belongs to, with the Deployment in place of its ReplicaSet (as Hubble guesses)."""
    owners: list[dict[str, Any]] = (pod.get("metadata") or {}).get("ownerReferences") or []
    owner = next((each for each in owners if each.get("controller")), None)
    if owner is None:
        return None
    kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
    template = labels_of(pod).get("pod-template-hash")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return "Deployment", name.removesuffix(f"-{template}")
    return kind, name


def pod_of(obj: Obj, node: str, endpoint: int, identity: Identity) -> Pod | None:
    """The pod as the agents know it; None if it has no address of its own."""
    address = address_of(obj)
    if address is None:
        return None
    return Pod(
        uid=uid_of(obj),
        namespace=namespace_of(obj) or "default",
        name=name_of(obj),
        node=node,
        address=address,
        endpoint=endpoint,
        identity=identity,
        named_ports=named_ports(obj),
        workload=workload_of(obj),
    )
