"""Which pods stand behind a Service: Endpoints and EndpointSlices from Services and pods. Pure.

A pod counts by its Ready condition, which carries readiness gates too (pkg/controller/endpoint and endpointslice).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drills.lab.api.types import Obj, deleting, labels_of, name_of, namespace_of, uid_of
from drills.lab.controllers.owned import finished, is_ready, template_hash

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER, MIRROR = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"

Ports = tuple[tuple[str, int, str], ...]  # name, number, protocol


@dataclass(frozen=True, slots=True)
class Backend:
    """One pod behind a Service."""

    pod: Obj
    address: str
    ports: Ports
    ready: bool  # gets traffic
    serving: bool
    terminating: bool


def backends(service: Obj, pods: Iterable[Obj]) -> list[Backend]:
    """The pods that a Service's selector matches; none without a selector."""
    spec = service.get("spec") or {}
    selector = spec.get("selector")
    if not selector or spec.get("type") == "ExternalName":
        return []
    tolerant = bool(spec.get("publishNotReadyAddresses"))
    found = []
    for pod in pods:
        address = (pod.get("status") or {}).get("podIP")
        if not address or finished(pod) or not selector.items() <= labels_of(pod).items():
            continue
        ready, going = is_ready(pod), deleting(pod)
        takes = tolerant or (ready and not going)
        found.append(Backend(pod, address, ports(service, pod), takes, ready, going))
    return sorted(found, key=lambda backend: tuple(map(int, backend.address.split("."))))


def ports(service: Obj, pod: Obj) -> Ports:
    """The Service's ports as this pod has them; a name that the pod does not know is left out."""
    found = []
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort", port["port"])
        number = _numbered(target, port.get("protocol") or "TCP", pod)
        if number is not None:
            found.append((port.get("name") or "", number, port.get("protocol") or "TCP"))
    return tuple(found)


def endpoints(service: Obj, found: Sequence[Backend]) -> Obj:
    """The Endpoints object."""
    subsets = []
    for group, members in _by_ports(found):
        addresses = [_address(item) for item in members if item.ready]
        waiting = [_address(item) for item in members if not item.ready and not item.terminating]
        subset: Obj = {"ports": [_port(port) for port in group]}
        subset |= {"addresses": addresses} if addresses else {}
        subset |= {"notReadyAddresses": waiting} if waiting else {}
        if addresses or waiting:
            subsets.append(subset)
    meta = {"name": name_of(service), "namespace": namespace_of(service), "labels": labels_of(service)}
    return {"metadata": meta, "subsets": subsets}


def slices(service: Obj, found: Sequence[Backend]) -> list[Obj]:
    """The EndpointSlices, one for every set of ports."""
    groups = _by_ports(found) or [((), [])]
    return [_slice(service, group, [_endpoint(service, item) for item in members]) for group, members in groups]


def mirrored(service: Obj, manual: Obj) -> list[Obj]:
    """EndpointSlices for a Service without a selector, whose Endpoints somebody wrote by hand."""
    found = []
    for subset in manual.get("subsets") or []:
        group = tuple((port.get("name") or "", port["port"], port.get("protocol") or "TCP") for port in subset["ports"])
        entries = [
            {"addresses": [address["ip"]], "conditions": {"ready": ready}}
            for ready, key in ((True, "addresses"), (False, "notReadyAddresses"))
            for address in subset.get(key) or []
        ]
        found.append(_slice(service, group, entries, manager=MIRROR))
    return found


def _slice(service: Obj, group: Ports, entries: list[Obj], manager: str = CONTROLLER) -> Obj:
    owner = {"apiVersion": "v1", "kind": "Service", "name": name_of(service), "uid": uid_of(service)}
    suffix = template_hash({"ports": list(group)})[:5]
    return {
        "metadata": {
            "name": f"{name_of(service)}-{suffix}",
            "namespace": namespace_of(service),
            "labels": {**labels_of(service), SERVICE_NAME: name_of(service), MANAGED_BY: manager},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "addressType": "IPv4",
        "endpoints": entries,
        "ports": [_port(port) for port in group],
    }


def _endpoint(service: Obj, backend: Backend) -> Obj:
    conditions = {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating}
    entry: Obj = {
        "addresses": [backend.address],
        "conditions": conditions,
        "nodeName": backend.pod["spec"].get("nodeName"),
        "targetRef": _reference(backend.pod),
    }
    spec = backend.pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        entry["hostname"] = spec["hostname"]
    return entry


def _address(backend: Backend) -> Obj:
    spec = backend.pod["spec"]
    return {"ip": backend.address, "nodeName": spec.get("nodeName"), "targetRef": _reference(backend.pod)}


def _reference(pod: Obj) -> Obj:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def _port(port: tuple[str, int, str]) -> Obj:
    name, number, protocol = port
    return {**({"name": name} if name else {}), "port": number, "protocol": protocol}


def _by_ports(found: Sequence[Backend]) -> list[tuple[Ports, list[Backend]]]:
    groups: dict[Ports, list[Backend]] = {}
    for backend in found:
        groups.setdefault(backend.ports, []).append(backend)
    return sorted(groups.items())


def _numbered(target: object, protocol: str, pod: Obj) -> int | None:
    if isinstance(target, int) or str(target).isdigit():
        return int(str(target))
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None
