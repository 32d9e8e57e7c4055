"""The predicted outcome of an attempt: what a source's request, lookup or connection would meet."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from drills.check.predict.cluster import Cluster, Service, Workload
from drills.cilium.decide import Decision, Direction, DirectionPolicy, Flow, HttpRequest, Verdict, decide
from drills.cilium.entries import EGRESS, PolicyRef
from drills.cilium.l7 import dns_allows
from drills.cilium.labels import WORLD, Identity, Labels
from drills.cilium.peers import CidrPeer, Remote, ServicePeer, UnmodelledPeer
from drills.inject.base import service_of
from drills.inject.dns import is_address
from drills.inject.kinds import kind_of
from drills.playbook import DnsInjection, ExistingPod, HttpInjection, Playbook, ProbeInjection, TcpInjection
from drills.playbook.model import From

_ESCAPED: Final = re.compile("%[0-9A-Fa-f]{2}")
_POD: Final = 256  # any number of a pod's identity: peers match by labels
_DNS_LABELS: Final = {"k8s-app": "kube-dns"}
_DNS_NAMESPACE: Final = "kube-system"
_OUTSIDE: Final = ip_address("198.51.100.1")  # an address that no policy is about (TEST-NET-2)


class Met(StrEnum):
    """What an attempt meets."""

    ANSWERED = "answered"  # it reaches what it aims at
    HTTP_403 = "403"  # the proxy answers
    SILENCE = "silence"  # packets are dropped: a timeout in the phase connect
    DNS_REFUSED = "dns-refused"  # the DNS proxy answers
    NO_LOOKUP = "no-lookup"  # even the packets of the lookup are dropped, or the proxy refuses a name that is needed
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an attempt meets, and why. ``looked_up``: the name's lookup was allowed.

    ``service`` and ``workload`` are the target where it is inside the cluster; ``proxied``: an HTTP proxy stands in
    between; ``direction`` is where it was denied. ``flow`` is what decided, ``reason`` says why it is unknown.
    """

    met: Met
    direction: Direction | None = None
    by: tuple[PolicyRef, ...] = ()
    rule: bool = False  # denied by a deny rule
    proxied: bool = False
    service: Service | None = None
    workload: Workload | None = None
    pods: int = 1
    looked_up: bool = False
    source: Labels | None = None
    flow: Flow | None = None
    reason: str = ""


def unknown(reason: str) -> Prediction:
    """Nothing can be said."""
    return Prediction(Met.UNKNOWN, reason=reason)


def predict(injection: ProbeInjection, playbook: Playbook, cluster: Cluster) -> list[Prediction]:
    """What an attempt meets, one prediction for each kind of pod behind the target; unknown where facts are missing,
    and where it hangs on a setting of the installation that makes a policy valid.
    """
    found = _predict(injection, playbook, cluster)
    if cluster.with_settings is None:
        return found
    other = _predict(injection, playbook, cluster.with_settings)
    if [each.met for each in found] == [each.met for each in other]:
        return found
    return [replace(unknown("a policy is in force only with a setting of the installation"), source=found[0].source)]


def _predict(injection: ProbeInjection, playbook: Playbook, cluster: Cluster) -> list[Prediction]:
    source = source_labels(injection.source, playbook, cluster)
    if isinstance(source, str):
        return [unknown(source)]
    if not cluster.cases and not cluster.rejected:
        return [unknown("no policy is given")]
    found = _outside(injection, source, cluster) if isinstance(injection, DnsInjection) else None
    if found is None:
        found = _inside(injection, source, cluster)
    return [replace(each, source=source) for each in found]


def source_labels(given: From, playbook: Playbook, cluster: Cluster) -> Labels | str:
    """The identity labels of a source, or why they are unknown."""
    source = playbook.source_of(given)
    why = cluster.unknown(source.namespace)
    if why is not None:
        return why
    if not isinstance(source, ExistingPod):
        return cluster.identity(source.labels, source.namespace, source.service_account)
    for each in cluster.workloads:
        if each.manifest.kind == "Pod" and (each.namespace, each.manifest.name) == (source.namespace, source.name):
            if each.host_network:
                return f"the pod {source.pod} is on its node's network"
            return cluster.identity(each.labels, each.namespace, each.account)
    return f"the pod {source.pod} is not among the manifests"


def _outside(injection: DnsInjection, source: Labels, cluster: Cluster) -> list[Prediction] | None:
    """A name outside of the cluster, or an address; None for a name of the cluster's."""
    if is_address(injection.name):
        remote = Remote(WORLD, ip_address(injection.name))
        return [_connect(Flow(_remote(source), remote, "TCP", injection.port), source, cluster)]
    if service_of(injection.name) is not None and injection.name.rstrip(".").endswith(".svc.cluster.local"):
        return None
    lookup = _lookup(injection.name, source, cluster)
    if lookup.met is not Met.ANSWERED:
        return [lookup]
    names = frozenset([injection.name]) if lookup.proxied else frozenset()
    flow = Flow(_remote(source), Remote(WORLD, _OUTSIDE, names), "TCP", injection.port)
    if _depends_on_address(cluster.endpoint(source).egress):
        return [replace(unknown("a policy speaks of blocks of addresses outside of the cluster"), looked_up=True)]
    return [replace(_connect(flow, source, cluster), looked_up=True)]


def _depends_on_address(egress: DirectionPolicy) -> bool:
    return any(
        isinstance(each.peer, ServicePeer) or (isinstance(each.peer, CidrPeer) and each.peer.cidr.prefixlen > 0)
        for each in (*egress.allow, *egress.deny)
    )


def _lookup(name: str, source: Labels, cluster: Cluster) -> Prediction:
    """What the lookup of a name meets. ``proxied`` says that the DNS proxy sees it, and so learns the addresses."""
    policy = cluster.endpoint(source).egress
    resolver = _remote(cluster.identity(_DNS_LABELS, _DNS_NAMESPACE, "coredns"))
    found = policy.lookup(resolver, "UDP", 53, resolver)
    if found.verdict is not Verdict.ALLOWED:
        if _unmodelled(policy):
            return unknown("a policy names peers that only a cluster knows")
        return Prediction(Met.NO_LOOKUP, EGRESS, found.by)
    if found.dns is not None and not dns_allows(found.dns, name):
        return Prediction(Met.DNS_REFUSED, EGRESS, found.by, proxied=True)
    return Prediction(Met.ANSWERED, by=found.by, proxied=found.dns is not None)


def _inside(injection: ProbeInjection, source: Labels, cluster: Cluster) -> list[Prediction]:
    kind = kind_of(injection)
    host = injection.name if isinstance(injection, DnsInjection) else kind.host
    named = service_of(host)
    if named is None:
        return [unknown(f"{host} is no Service of the cluster")]
    service = cluster.services.get(named)
    if service is None or service.external:
        return [unknown(f"Service {named[0]}/{named[1]} is not among the manifests")]
    why = cluster.unknown(service.namespace)
    if why is not None:
        return [unknown(why)]
    lookup = _lookup(f"{service.name}.{service.namespace}.svc.cluster.local", source, cluster)
    if lookup.met is not Met.ANSWERED:
        refused = isinstance(injection, DnsInjection) or lookup.met is Met.UNKNOWN
        return [replace(lookup, met=lookup.met if refused else Met.NO_LOOKUP, service=service)]
    pods = [each for each in cluster.pods_of(service) if each.replicas > 0]
    if not pods:
        return [replace(unknown(f"no workload with pods behind {service.manifest} is given"), service=service)]
    total = sum(each.replicas for each in pods)
    return [replace(_to_pod(injection, source, service, each, cluster), pods=total) for each in pods]


def _to_pod(injection: ProbeInjection, source: Labels, service: Service, pod: Workload, cluster: Cluster) -> Prediction:
    wanted = service.behind(kind_of(injection).port)
    port = pod.named_ports.get((wanted.lower(), "TCP")) if isinstance(wanted, str) else wanted
    if port is None:
        return replace(unknown(f"{service.manifest} does not lead from port {kind_of(injection).port} to a port"))
    if pod.host_network:
        return unknown(f"the pods of {pod.title} are on their node's network")
    labels = cluster.identity(pod.labels, pod.namespace, pod.account)
    destination = replace(_remote(labels), named_ports=pod.named_ports)
    flow = Flow(_remote(source), destination, "TCP", port, http=request_of(injection))
    found = _connect(flow, source, cluster, labels)
    other = found.met is Met.ANSWERED and any(each in cluster.other_protocols for each in found.by)
    if other and not isinstance(injection, TcpInjection):
        return unknown(f"what a proxy for another protocol makes of {injection.kind} is not modelled")
    if found.proxied and flow.http is None and not isinstance(injection, TcpInjection):
        return unknown(f"what an HTTP proxy makes of {injection.kind} is not modelled")  # TLS, or another protocol
    return replace(found, service=service, workload=pod, looked_up=True)


def request_of(injection: ProbeInjection) -> HttpRequest | None:
    """The request as the proxy compares it: the path is normalised (dot segments, double slashes, percent-encoded
    characters that need none), as Cilium sets Envoy up.
    """
    if not isinstance(injection, HttpInjection) or injection.tls:
        return None
    path, question, query = injection.target.partition("?")
    host = next((value for name, value in injection.headers.items() if name.lower() == "host"), injection.authority)
    return HttpRequest(injection.method, normalised(path) + question + query, host, dict(injection.headers))


def normalised(path: str) -> str:
    """A path without dot segments and double slashes, and with unreserved characters in the clear, as Cilium sets
    Envoy up (normalize_path, merge_slashes). A path with encoded slashes is redirected to one without first.
    """
    segments = _ESCAPED.sub(lambda found: _unreserved(found[0]), path).split("/")
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and segments[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + end


def _unreserved(escaped: str) -> str:
    char = unquote(escaped)
    return "/" if char == "/" else char if re.fullmatch(r"[A-Za-z0-9._~-]", char) else escaped


def _connect(flow: Flow, source: Labels, cluster: Cluster, destination: Labels | None = None) -> Prediction:
    egress = cluster.endpoint(source).egress
    ingress = None if destination is None else cluster.endpoint(destination).ingress
    if any(_unmodelled(policy) for policy in (egress, ingress) if policy is not None):
        return unknown("a policy names peers that only a cluster knows")
    found = decide(flow, egress, ingress)
    return Prediction(
        met=_met(found),
        direction=found.direction,
        by=found.by,
        rule=found.verdict is Verdict.DENIED_RULE,
        proxied=found.proxied,
        flow=flow,
    )


def _met(found: Decision) -> Met:
    if found.allowed:
        return Met.ANSWERED
    return Met.HTTP_403 if found.verdict is Verdict.DENIED_HTTP else Met.SILENCE


def _unmodelled(policy: DirectionPolicy) -> bool:
    return any(isinstance(each.peer, UnmodelledPeer) for each in (*policy.allow, *policy.deny))


def _remote(labels: Labels) -> Remote:
    return Remote(Identity(_POD, labels))
