"""What the runner may talk to: the API, DNS, what it reads alerts from and where its results go. Nobody may talk to
it, but whoever scrapes its metrics where it serves them.

A CiliumNetworkPolicy, because a NetworkPolicy cannot name the API server: Cilium gives it an identity of its own, which
no address range matches (Cilium, Documentation/security/policy: entity kube-apiserver).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from drills.deploy.settings import Obj, Settings, labels_of, obj, title
from drills.engine.publications import host_and_port
from drills.inject.base import service_of
from drills.kube.proxy import PREFIX, ServiceAddress

_NAMESPACE = "k8s:io.kubernetes.pod.namespace"
_DNS: Obj = {"matchLabels": {_NAMESPACE: "kube-system", "k8s-app": "kube-dns"}}


def runner_policy(playbook: str, settings: Settings) -> Obj:
    urls = [one for one in settings.reached if not one.startswith(PREFIX)]  # the API server asks for the others
    spec = {
        "endpointSelector": {"matchLabels": {"drills/playbook": playbook}},
        "ingress": [_scraped_by(settings)],
        "egress": [{"toEntities": ["kube-apiserver"]}, _lookups(), *_unique(_to(url) for url in urls)],
    }
    name, labels = title(playbook), labels_of(playbook)
    return obj("cilium.io/v2", "CiliumNetworkPolicy", name, settings.namespace, labels, spec=spec)


def _scraped_by(settings: Settings) -> Obj:
    """Who may come: the namespace of Prometheus, or the cluster where its address names none. ``{}`` is a rule that
    lets nobody in, and default deny by it; an empty list of rules would deny nothing.
    """
    if settings.scraped is None:
        return {}
    _, port = host_and_port(settings.scraped.value)
    namespace = namespace_of(settings.prometheus)
    peers: Obj = {"fromEntities": ["cluster"]}
    if namespace is not None:
        peers = {"fromEndpoints": [{"matchLabels": {_NAMESPACE: namespace}}]}
    return {**peers, "toPorts": [{"ports": [{"port": str(port), "protocol": "TCP"}]}]}


def namespace_of(address: str) -> str | None:
    """The namespace of a Service of the cluster; None for an address outside."""
    if address.startswith(PREFIX):
        return ServiceAddress.parse(address).namespace
    found = service_of(urlsplit(address).hostname or "")
    return None if found is None else found[0]


def _lookups() -> Obj:
    ports = [{"port": "53", "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {"toEndpoints": [_DNS], "toPorts": [{"ports": ports, "rules": {"dns": [{"matchPattern": "*"}]}}]}


def _to(url: str) -> Obj:
    """A policy sees the pods behind a Service on their own ports, which a URL does not tell: so none is named there."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if (service := service_of(host)) is not None:
        return {"toEndpoints": [{"matchLabels": {_NAMESPACE: service[0]}}]}
    port = str(parts.port or (443 if parts.scheme == "https" else 80))
    ports = [{"ports": [{"port": port, "protocol": "TCP"}]}]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return {"toFQDNs": [{"matchName": host}], "toPorts": ports}
    return {"toCIDR": [f"{address}/{address.max_prefixlen}"], "toPorts": ports}


def _unique(rules: Iterable[Obj]) -> list[Obj]:
    found: list[Obj] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found
