"""A small cluster for the agents' unit tests: four pods on two nodes, built from policies as one writes them."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

from drills.cilium.decide import Policies
from drills.cilium.labels import identity_labels
from drills.lab.agent.cluster import Cluster, Identities, Pod
from drills.lab.agent.compile import Compiled, PolicyNumbers, compile_node

IDENTITIES = Identities()
WHO = {
    "client": ("frontend", {"app": "frontend"}, "k8s-w1", "10.244.1.10"),
    "stranger": ("frontend", {"app": "stranger"}, "k8s-w1", "10.244.1.11"),
    "api": ("backend", {"app": "api"}, "k8s-w1", "10.244.1.12"),
    "db": ("database", {"app": "db"}, "k8s-w2", "10.244.2.10"),
}


def pod(name: str) -> Pod:
    namespace, labels, node, address = WHO[name]
    found = identity_labels(labels, namespace, {"kubernetes.io/metadata.name": namespace})
    ports = MappingProxyType({("web", "TCP"): 8080}) if name == "api" else MappingProxyType({})
    return Pod(
        uid=f"uid-{name}",
        namespace=namespace,
        name=name,
        node=node,
        address=IPv4Address(address),
        endpoint=list(WHO).index(name) + 1,
        identity=IDENTITIES.of(found),
        named_ports=ports,
        workload=("Deployment", name),
    )


CLUSTER = Cluster(MappingProxyType({f"uid-{name}": pod(name) for name in WHO}))


def policy(namespace: str = "backend", name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"},
        "spec": {"endpointSelector": {}, **spec},
    }


def compiled(*policies: dict[str, Any], node: str = "k8s-w1") -> Compiled:
    return compile_node(node, CLUSTER, Policies.build(policies), PolicyNumbers())


FRONTEND = {"matchLabels": {"app": "frontend", "io.kubernetes.pod.namespace": "frontend"}}
TCP_80 = {"ports": [{"port": "80", "protocol": "TCP"}]}
