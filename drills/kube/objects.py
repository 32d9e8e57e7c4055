"""Objects that a drill reads: ConfigMaps, Services and what stands behind them, the cluster's own facts."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from drills.errors import WorldError
from drills.kube.api import Api, Obj, core, custom


@dataclass(frozen=True, slots=True)
class Backend:
    """An address that a Service sends to."""

    address: str
    pod: str | None
    node: str | None
    ports: Mapping[str, int] = field(default_factory=dict)  # by the port's name in the Service; "" without one


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with the backends that are ready."""

    namespace: str
    name: str
    cluster_ip: str  # "None" for a headless one
    publishes_not_ready: bool  # then readiness gates keep nobody out of it
    backends: tuple[Backend, ...]
    ports: Mapping[int, str] = field(default_factory=dict)  # the names of its own ports

    def behind(self, port: int) -> int | None:
        """The one port that every backend serves a port of the Service on; None if they differ or there is none."""
        found = {each.ports.get(self.ports[port]) for each in self.backends} if port in self.ports else set()
        return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Selecting:
    """A Service by the pods that it selects."""

    name: str
    selector: Mapping[str, str]  # none: it selects no pod
    publishes_not_ready: bool

    def sends_to(self, labels: Mapping[str, str]) -> bool:
        """Whether it would send traffic to a pod with these labels that is never ready."""
        return self.publishes_not_ready and bool(self.selector) and self.selector.items() <= labels.items()


@dataclass(frozen=True, slots=True)
class WrittenRules:
    """Rules as their authors wrote them: expressions of alerting and recording rules by name and group, and why some
    were left out for nothing but the target's clock, by name.
    """

    expressions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


class ObjectApi(Api):
    """Reading, without changing anything."""

    def config_map(self, namespace: str, name: str) -> dict[str, str] | None:
        """The data of a ConfigMap; None if there is none."""
        found = self.find(f"read ConfigMap {namespace}/{name}", "GET", core("configmaps", namespace, name))
        return None if found is None else dict(found.get("data") or {})

    def namespace(self, name: str) -> Obj | None:
        """A namespace; None if there is none."""
        return self.find(f"read namespace {name}", "GET", core("namespaces", name=name))

    def service(self, namespace: str, name: str) -> Service | None:
        """A Service with its ready backends; None if there is none."""
        where = f"{namespace}/{name}"
        found = self.find(f"read Service {where}", "GET", core("services", namespace, name))
        if found is None:
            return None
        endpoints = self.find(f"read Endpoints {where}", "GET", core("endpoints", namespace, name))
        return Service(
            namespace=namespace,
            name=name,
            cluster_ip=found["spec"].get("clusterIP") or "None",
            publishes_not_ready=bool(found["spec"].get("publishNotReadyAddresses")),
            backends=_backends(endpoints or {}),
            ports={int(each["port"]): str(each.get("name", "")) for each in found["spec"].get("ports") or ()},
        )

    def services(self, namespace: str) -> list[Selecting]:
        """Every Service of a namespace, by whom it selects."""
        found = self.call(f"list Services in {namespace}", "GET", core("services", namespace))
        return [
            Selecting(
                name=str(item["metadata"]["name"]),
                selector=dict(item["spec"].get("selector") or {}),
                publishes_not_ready=bool(item["spec"].get("publishNotReadyAddresses")),
            )
            for item in found["items"]
        ]

    def version(self) -> str:
        """The API's version, such as ``v1.34.1``."""
        return str(self.call("tell its version", "GET", "/version").get("gitVersion", ""))

    def kernels(self, nodes: Collection[str]) -> str:
        """The kernels of these nodes (of all if empty), such as ``6.18.0``; several where they differ."""
        items = self.call("list nodes", "GET", core("nodes"))["items"]
        infos = {each["metadata"]["name"]: (each.get("status") or {}).get("nodeInfo") or {} for each in items}
        wanted = [info for name, info in infos.items() if not nodes or name in nodes]
        return ", ".join(sorted({str(info["kernelVersion"]) for info in wanted if info.get("kernelVersion")}))

    def open_nodes(self) -> list[str]:
        """The nodes that take any pod: neither cordoned nor tainted; in the order of their names."""
        items = self.call("list nodes", "GET", core("nodes"))["items"]
        return sorted(str(each["metadata"]["name"]) for each in items if _is_open(each.get("spec") or {}))

    def uid(self) -> str:
        """What tells this cluster from any other: the uid of its namespace kube-system."""
        return str(
            self.call("read namespace kube-system", "GET", core("namespaces", name="kube-system"))["metadata"]["uid"]
        )

    def user(self) -> str:
        """Who the API takes us for."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = custom("authentication.k8s.io", "v1", "selfsubjectreviews")
        status: Obj = self.call("tell who asks", "POST", path, body=review).get("status") or {}
        return str((status.get("userInfo") or {}).get("username", ""))

    def secret_value(self, name: str, key: str) -> str:
        """One value of the Secret ``namespace/name``, for a probe alone. WorldError where it is not there.

        The value is never part of an error.
        """
        namespace, _, own = name.partition("/")
        found = self.find(f"read Secret {name}", "GET", core("secrets", namespace, own))
        if found is None or key not in (found.get("data") or {}):
            raise WorldError(f"There is no Secret {name} with the key {key}, which the playbook takes a password from.")
        return base64.b64decode(str(found["data"][key])).decode()

    def written_rules(self) -> WrittenRules:
        """The rules of all PrometheusRule objects; none without the CRD."""
        path = custom("monitoring.coreos.com", "v1", "prometheusrules")
        found = self.find("list PrometheusRules", "GET", path)
        expressions = {
            (name, group["name"]): str(rule["expr"])
            for item in (found or {"items": ()})["items"]
            for group in item.get("spec", {}).get("groups") or ()
            for rule in group.get("rules") or ()
            if (name := rule.get("alert") or rule.get("record")) and "expr" in rule
        }
        refused = {
            str(one["name"]): str(one["reason"])
            for item in (found or {"items": ()})["items"]
            for one in ((item.get("status") or {}).get("drills") or {}).get("refused") or ()
            if one.get("byTimeLapse")
        }
        return WrittenRules(expressions, refused)


def _backends(endpoints: Obj) -> tuple[Backend, ...]:
    return tuple(
        Backend(
            address=address["ip"],
            pod=(address.get("targetRef") or {}).get("name"),
            node=address.get("nodeName"),
            ports={str(port.get("name", "")): int(port["port"]) for port in subset.get("ports") or ()},
        )
        for subset in endpoints.get("subsets") or []
        for address in subset.get("addresses") or []
    )


def _is_open(spec: Obj) -> bool:
    closing = ("NoSchedule", "NoExecute")
    return not spec.get("unschedulable") and all(one["effect"] not in closing for one in spec.get("taints") or ())
