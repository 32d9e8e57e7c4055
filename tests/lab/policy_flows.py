"""Policies and flows by chance, from a seed, for a small cluster of known pods; pure.

The policies are of every shape that the lab enforces. What is generated is also what Cilium refuses now and then: a
refused policy must have no effect in either.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]
NAMESPACES = {"red": {"team": "one"}, "blue": {"team": "two"}, "kube-system": {}}
WEB = ({"name": "web", "containerPort": 80}, {"name": "alt", "containerPort": 8080})
SWAPPED = ({"name": "web", "containerPort": 8080}, {"name": "alt", "containerPort": 80})


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A pod of the cluster; its address says on which node it is."""

    name: str
    namespace: str
    labels: dict[str, str]
    address: str
    ports: tuple[Obj, ...] = WEB


PODS = (
    PodSpec("red-a1", "red", {"app": "a"}, "10.244.1.20"),
    PodSpec("red-a2", "red", {"app": "a", "tier": "x"}, "10.244.2.20", SWAPPED),
    PodSpec("red-b", "red", {"app": "b", "tier": "x"}, "10.244.1.21"),
    PodSpec("blue-a", "blue", {"app": "a"}, "10.244.2.21"),
    PodSpec("blue-c", "blue", {"app": "c", "tier": "y"}, "10.244.1.22", SWAPPED),
    PodSpec("dns", "kube-system", {"k8s-app": "kube-dns"}, "10.244.2.11"),
)
PORTS = (80, 8080, 9090)  # that every pod, and the world, listens on
WORLD, WORLD_ADDRESS = "world", "172.18.0.2"
NODES = {"k8s-w1": "172.18.0.11", "k8s-w2": "172.18.0.12"}
OUTSIDE = ("198.18.1.1", "198.18.200.2", "198.19.3.3")
ZONES = ("good.example", "bad.example", "sub.good.example")
PATHS = ("/", "/api", "/api/users", "/api/users?x=1", "/admin", "/API", "/health/")
METHODS = ("GET", "POST", "DELETE")


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """An attempt: ``kind`` is http, tcp or dns; the destination is a pod's name, or an address outside."""

    kind: str
    source: str
    destination: str
    port: int
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""  # that is looked up


class Chance:
    """Everything that is decided by chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._round = 0

    def policies(self) -> list[Obj]:
        """The policies of a round: of every shape, or, every other time, those that proxies enforce."""
        self._round += 1
        namespaces = ("red", "blue")
        if self._round % 2:
            found = [self._requests(number, namespace) for number, namespace in enumerate(namespaces)]
            found += [self._names(len(found) + number, namespace) for number, namespace in enumerate(namespaces)]
            return self.random.sample(found, self.random.randint(2, 4))
        count = self.random.randint(1, 5)
        found = [self._policy(number, self.random.choice(namespaces)) for number in range(count)]
        if self.random.random() < 0.4:
            found.append(self._policy(len(found), None))
        if self.random.random() < 0.4:
            found.append(self._names(len(found), self.random.choice(namespaces)))
        return found

    def flows(self, count: int) -> list[FlowSpec]:
        """Flows between pods, the nodes and the world, and lookups; every name of its own, so that no cache has it."""
        found = [self._flow() for _ in range(count)]
        pods = [each.name for each in PODS if each.name != "dns"]
        for number in range(count // 5):
            name = f"r{self._round}-{number}.{self.random.choice(ZONES)}"
            found.append(FlowSpec("dns", self.random.choice(pods), "dns", 80, name=name))
        return found

    # --- flows ---

    def _flow(self) -> FlowSpec:
        pods = [each.name for each in PODS if each.name != "dns"]
        source = self.random.choice([*pods, *pods, *pods, WORLD, *NODES])
        others = [each for each in pods if each != source]
        destination = self.random.choice([*others, *others, *OUTSIDE] if source in pods else others)
        kind = self.random.choice(("http", "http", "tcp"))
        headers = {"X-Key": self.random.choice(("1", "2"))} if self.random.random() < 0.4 else {}
        port, path, method = (self.random.choice(each) for each in (PORTS, PATHS, METHODS))
        return FlowSpec(kind, source, destination, port, method, path, headers)

    # --- policies ---

    def _policy(self, number: int, namespace: str | None) -> Obj:
        spec: Obj = {"endpointSelector": self._selector(namespace)}
        while len(spec) == 1:
            for section, chance in (("ingress", 0.7), ("egress", 0.35), ("ingressDeny", 0.1), ("egressDeny", 0.08)):
                if self.random.random() < chance:
                    spec[section] = self._elements(section, namespace)
        if self.random.random() < 0.15:
            spec["enableDefaultDeny"] = {key: self.random.random() < 0.5 for key in ("ingress", "egress")}
        return self._object(number, namespace, spec)

    def _requests(self, number: int, namespace: str) -> Obj:
        """Requests that pods of a namespace answer, and now and then those that they may make."""
        anybody: tuple[Obj, ...] = (
            {"Entities": ["all"]},
            {"Endpoints": [{}]},
            {"Endpoints": [self._peer(), self._peer()]},
            {},
        )
        spec: Obj = {"endpointSelector": self._selector(namespace)}
        for section, way in (("ingress", "from"), ("egress", "to")):
            if section == "ingress" or self.random.random() < 0.4:
                peers = self.random.choices(anybody, k=self.random.randint(1, 2))
                spec[section] = [
                    {f"{way}{key}": value for key, value in each.items()}
                    | {"toPorts": [self._http_port() for _ in range(2)]}
                    for each in peers
                ]
        return self._object(number, namespace, spec)

    def _http_port(self) -> Obj:
        port = self.random.choice(("80", "8080", "web", "9090"))
        rules = {"http": [self._request() for _ in range(self.random.randint(1, 3))]}
        return {"ports": [{"port": port, "protocol": "TCP"}], "rules": rules}

    def _names(self, number: int, namespace: str) -> Obj:
        """Names that may be looked up, and names that may be connected to: one such policy, for pods of a namespace."""
        resolver = {"matchLabels": {"k8s-app": "kube-dns", "io.kubernetes.pod.namespace": "kube-system"}}
        lookups = {"ports": [{"port": "53", "protocol": "ANY"}]}
        if self.random.random() < 0.9:
            patterns = self.random.sample(
                ("*.good.example", "**.example", "*", "r*-1*.good.example", "*.bad.example"), 2
            )
            lookups["rules"] = {"dns": [{"matchPattern": each} for each in patterns]}  # type: ignore[assignment]
        pattern = self.random.choice(
            ("*.good.example", "*.bad.example", "**.good.example", f"r{self._round}-1.good.example")
        )
        connect: Obj = {"toFQDNs": [{"matchName" if "*" not in pattern else "matchPattern": pattern}]}
        if self.random.random() < 0.7:
            connect["toPorts"] = [{"ports": [{"port": "80", "protocol": "TCP"}]}]
        egress = [{"toEndpoints": [resolver], "toPorts": [lookups]}, connect]
        return self._object(number, namespace, {"endpointSelector": self._selector(namespace), "egress": egress})

    def _object(self, number: int, namespace: str | None, spec: Obj) -> Obj:
        metadata = {"name": f"p{self._round}-{number}"} | ({"namespace": namespace} if namespace else {})
        kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
        return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}

    def _selector(self, namespace: str | None) -> Obj:
        """For a subject."""
        choices: list[Obj] = [
            {},
            {"matchLabels": {"app": "a"}},
            {"matchLabels": {"tier": "x"}},
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "c"]}]},
            {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
        ]
        if namespace is None:  # the resolver stays out of it: all names would be gone
            scope = {"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["kube-system"]}
            return {"matchExpressions": [scope, *self.random.choice(choices[2:]).get("matchExpressions", [])]}
        return self.random.choice(choices)

    def _elements(self, section: str, namespace: str | None) -> list[Obj]:
        return [self._element(section) for _ in range(self.random.randint(0 if self.random.random() < 0.1 else 1, 3))]

    def _element(self, section: str) -> Obj:
        way = "from" if section.startswith("ingress") else "to"
        found = self._peers(way)
        if self.random.random() < 0.8:
            found["toPorts"] = [self._ports(section) for _ in range(self.random.randint(1, 2))]
        return found

    def _peers(self, way: str) -> Obj:
        match self.random.randrange(16):
            case 0:
                return {}
            case 1 | 2:
                names = ("world", "cluster", "host", "remote-node", "all", "health", "none", "kube-apiserver")
                return {f"{way}Entities": self.random.sample(names, self.random.randint(1, 2))}
            case 3:
                blocks = ("198.18.0.0/16", "198.18.0.0/15", "0.0.0.0/0", "172.18.0.2/32", "10.244.0.0/16")
                return {f"{way}CIDR": [self.random.choice(blocks)]}
            case 4:
                return {f"{way}CIDRSet": [{"cidr": "198.18.0.0/15", "except": ["198.18.128.0/17"]}]}
            case 5:
                return {f"{way}Endpoints": []}
            case 6:
                mixed = {f"{way}Endpoints": [{}], f"{way}Entities": ["world"]}  # refused
                return mixed if self.random.random() < 0.3 else {f"{way}Endpoints": [{}]}
            case _:
                return {f"{way}Endpoints": [self._peer() for _ in range(self.random.randint(1, 2))]}

    def _peer(self) -> Obj:
        labels: dict[str, str] = self.random.choice(({}, {"app": "a"}, {"app": "b"}, {"tier": "x"}, {"k8s:app": "c"}))
        where: dict[str, str] = self.random.choice(
            (
                {},
                {"io.kubernetes.pod.namespace": self.random.choice(("red", "blue"))},
                {"io.cilium.k8s.namespace.labels.team": self.random.choice(("one", "two"))},
            )
        )
        if self.random.random() < 0.2:
            expression = {"key": "app", "operator": self.random.choice(("NotIn", "In")), "values": ["a", "c"]}
            return {"matchLabels": {**where}, "matchExpressions": [expression]}
        return {"matchLabels": {**labels, **where}}

    def _ports(self, section: str) -> Obj:
        if section in {"ingress", "egress"} and self.random.random() < 0.5:
            return self._http_port()
        choices: tuple[Obj, ...] = (
            {"port": "80", "protocol": "TCP"},
            {"port": "8080", "protocol": "TCP"},
            {"port": "80"},
            {"port": "8000", "endPort": 9090, "protocol": "TCP"},
            {"port": "80", "endPort": 8080},
            {"port": "web", "protocol": "TCP"},
            {"port": "alt"},
            {"port": "0", "protocol": "TCP"},
            {"port": "80", "protocol": "UDP"},
            {"port": "53", "protocol": "ANY"},
        )
        return {"ports": self.random.sample(choices, self.random.randint(1, 2))}

    def _request(self) -> Obj:
        found: Obj = {}
        if self.random.random() < 0.6:
            found["method"] = self.random.choice(("GET", "POST", "GET|POST", "get"))
        if self.random.random() < 0.7:
            paths = (
                "/",
                "/api",
                "/api/.*",
                "/api(/.*)?",
                "/(?i)api",
                ".*",
                "/admin",
                "/health/?",
                "^/api.*$",
                "/[a-z]+",
            )
            found["path"] = self.random.choice(paths)
        if self.random.random() < 0.3:
            found["headers"] = [self.random.choice(("X-Key: 1", "X-Key", "x-key: 2", "X-Key: .*"))]
        if self.random.random() < 0.1:
            found["headerMatches"] = [{"name": "X-Key", "value": "2"}]
        return found
