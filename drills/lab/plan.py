"""Names and addresses of the lab's network. Everything lives in namespaces of the lab, nothing in the host's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

RUN = Path("/run/drills")  # in the lab's own mount namespace, on a tmpfs that dies with it

UNDERLAY = IPv4Network("172.18.0.0/24")
SUPERVISOR = IPv4Address("172.18.0.1")  # API inside the lab, Prometheus, Alertmanager, receiver
WORLD = IPv4Address("172.18.0.2")
NODES = {"k8s-w1": IPv4Address("172.18.0.11"), "k8s-w2": IPv4Address("172.18.0.12")}  # node name == netns name
POD_CIDRS = {"k8s-w1": IPv4Network("10.244.1.0/24"), "k8s-w2": IPv4Network("10.244.2.0/24")}
CLUSTER_CIDR = IPv4Network("10.244.0.0/16")
FIRST_POD = 10  # .1 is the node's router, .2 its health endpoint
SERVICE_CIDR = IPv4Network("10.96.0.0/16")
KUBERNETES_SERVICE = IPv4Address("10.96.0.1")
DNS_SERVICE = IPv4Address("10.96.0.10")
OUTSIDE = IPv4Network("198.18.0.0/15")  # RFC 2544 benchmark range: one address for every outside name

API_PORT = 6443
AGENT_METRICS_PORT = 9962
HUBBLE_METRICS_PORT = 9965
HEALTH_PORT = 4240


def interface_of(pod_ip: str) -> str:
    """The node's end of a pod's veth pair: ``10.244.1.17`` -> ``lxc1-17``."""
    _, _, node, host = pod_ip.split(".")
    return f"lxc{node}-{host}"


def router_of(node: str) -> IPv4Address:
    """The node's own address in its pod network (Cilium's ``cilium_host``)."""
    return POD_CIDRS[node][1]


def health_of(node: str) -> IPv4Address:
    """The node's health endpoint (Cilium's ``cilium-health``)."""
    return POD_CIDRS[node][2]


def node_of(pod_ip: str) -> str | None:
    """The node in whose pod network an address lies; None for any other address."""
    address = IPv4Address(pod_ip)
    return next((node for node, cidr in POD_CIDRS.items() if address in cidr), None)
