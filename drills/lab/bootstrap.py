"""What a cluster has before anybody uses it: namespaces, nodes, DNS, the agents, and the lab's own facts."""

from __future__ import annotations

import platform
from typing import Any

from drills.lab import capacity, plan
from drills.lab.api.types import Obj
from drills.lab.monitoring.settings import ALERTMANAGER_PORT, PROMETHEUS_PORT
from drills.lab.settings import LabSettings

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "monitoring", "drills")
FACTS = "drills-lab"  # ConfigMap in kube-system: the target's clock scale, for the engine
CILIUM_IMAGE = "quay.io/cilium/cilium:v1.18.0"
# What the lab's agents follow of it, and at once: drills/lab/agent/encryption.py.
CILIUM_CONFIG = {
    "enable-wireguard": "true",
    "enable-encryption-strict-mode": "false",
    "lab-plaintext-fallback": "false",
}
KUBELET_VERSION = "v1.34.0+drills-lab"
COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.11.3"


def objects(settings: LabSettings) -> list[Obj]:
    """Everything in the order in which it can be created."""
    return [
        *(_namespace(name) for name in NAMESPACES),
        *(_node(name) for name in plan.NODES),
        _facts(settings),
        _object("v1", "ConfigMap", "cilium-config", "kube-system", data=CILIUM_CONFIG),
        *_kubernetes_service(),
        *_dns(),
        _agents(),
        *_monitoring("prometheus-operated", PROMETHEUS_PORT),
        *_monitoring("alertmanager-operated", ALERTMANAGER_PORT),
    ]


def _namespace(name: str) -> Obj:
    return _object("v1", "Namespace", name, None, labels={"kubernetes.io/metadata.name": name})


def _node(name: str) -> Obj:
    """The Node; Cilium's view of it is made by its agent."""
    address, cidr = str(plan.NODES[name]), str(plan.POD_CIDRS[name])
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    conditions = [
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"},
        {"type": "NetworkUnavailable", "status": "False", "reason": "CiliumIsUp", "message": "Cilium is running"},
    ]
    status = {
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": conditions,
        "nodeInfo": {
            "kubeletVersion": KUBELET_VERSION,
            "operatingSystem": "linux",
            "architecture": _architecture(),
            "kernelVersion": platform.release(),
        },
    }
    node = {"podCIDR": cidr, "podCIDRs": [cidr]}
    return _object("v1", "Node", name, None, labels=labels, spec=node, status=status)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _facts(settings: LabSettings) -> Obj:
    data = {"timeLapse": str(settings.time_lapse), "validation": settings.validation, "name": settings.name}
    data["maxRequestsPerSecond"] = str(capacity.requests_per_second())
    return _object("v1", "ConfigMap", FACTS, "kube-system", data=data)


def _kubernetes_service() -> list[Obj]:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": plan.API_PORT}]
    service = {"clusterIP": str(plan.KUBERNETES_SERVICE), "type": "ClusterIP", "ports": ports}
    endpoint = {"addresses": [str(plan.SUPERVISOR)], "conditions": {"ready": True}}
    slice_labels = {"kubernetes.io/service-name": "kubernetes"}
    slice_ports = [{"name": "https", "port": plan.API_PORT, "protocol": "TCP"}]
    subset = {
        "addresses": [{"ip": str(plan.SUPERVISOR)}],
        "ports": slice_ports,
    }
    return [
        _object("v1", "Service", "kubernetes", "default", labels=labels, spec=service),
        _object("v1", "Endpoints", "kubernetes", "default", subsets=[subset]),
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "kubernetes",
            "default",
            labels=slice_labels,
            addressType="IPv4",
            endpoints=[endpoint],
            ports=slice_ports,
        ),
    ]


def _dns() -> list[Obj]:
    labels = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    service = {"clusterIP": str(plan.DNS_SERVICE), "selector": labels, "ports": ports}
    container = {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
    }
    deployment = {
        "replicas": len(plan.NODES),
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": "coredns", "dnsPolicy": "Default", "containers": [container]},
        },
    }
    return [
        _object("v1", "ServiceAccount", "coredns", "kube-system"),
        _object("v1", "Service", "kube-dns", "kube-system", labels=labels, spec=service),
        _object("apps/v1", "Deployment", "coredns", "kube-system", labels=labels, spec=deployment),
    ]


def _monitoring(name: str, port: int) -> list[Obj]:
    """A headless Service named as the Prometheus Operator names it, for what runs beside the cluster."""
    ports = [{"name": "web", "port": port, "protocol": "TCP", "targetPort": port}]
    subset = {"addresses": [{"ip": str(plan.SUPERVISOR)}], "ports": [{"name": "web", "port": port, "protocol": "TCP"}]}
    return [
        _object("v1", "Service", name, "monitoring", spec={"clusterIP": "None", "type": "ClusterIP", "ports": ports}),
        _object("v1", "Endpoints", name, "monitoring", subsets=[subset]),
    ]


def _agents() -> Obj:
    labels = {"k8s-app": "cilium"}
    template = {
        "metadata": {
            "labels": labels | {"app.kubernetes.io/name": "cilium-agent", "app.kubernetes.io/part-of": "cilium"}
        },
        "spec": {
            "hostNetwork": True,
            "serviceAccountName": "default",
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "cilium-agent", "image": CILIUM_IMAGE}],
        },
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "DaemonSet", "cilium", "kube-system", labels=labels, spec=spec)


def _object(
    api_version: str, kind: str, name: str, namespace: str | None, *, labels: dict[str, str] | None = None, **rest: Any
) -> Obj:
    metadata: Obj = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
