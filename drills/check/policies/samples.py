"""Samples: labels that a selector would select, and remote ends that a peer would mean.

The model decides about concrete pods and flows; where no workload was given, one that fits is made up from what the
policy itself says.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from drills.check.policies.given import k8s, namespaces_of
from drills.check.world import DEFAULT_NAMESPACE, NAME_LABEL
from drills.cilium.labels import (
    CLUSTER,
    NAMESPACE,
    NAMESPACE_LABELS,
    RESERVED,
    SOURCE_ANY,
    SOURCE_RESERVED,
    WORLD,
    Identity,
    Labels,
)
from drills.cilium.peers import (
    AnyPeer,
    CidrPeer,
    EndpointSelectorPeer,
    EntityPeer,
    FqdnPeer,
    Peer,
    Remote,
    ServicePeer,
    UnmodelledPeer,
)
from drills.cilium.ports import NamedPort, Port, PortRange
from drills.cilium.selector import Operator, Requirement, Selector

OUTSIDE: Final = ip_address("198.51.100.1")  # an address for documentation (RFC 5737)
NAMED: Final = 1  # the number that a named port is taken to have
_POD: Final = 256
_MOST: Final = 8  # samples of one selector


def pods(selector: Selector) -> list[Labels]:
    """Identity labels of pods that the selector selects: one for each value that it lists, a few at most."""
    choices = [each for each in selector.requirements if each.operator is Operator.IN and len(each.values) > 1]
    variants: list[tuple[Requirement, str] | None] = [(each, value) for each in choices for value in each.values]
    variants = variants or [None]
    found = [_labels(selector, variant) for variant in variants[:_MOST]]
    return [labels for labels in found if selector.matches(labels)]


def _labels(selector: Selector, variant: tuple[Requirement, str] | None) -> Labels:
    reserved = [each.key for each in selector.requirements if each.source == SOURCE_RESERVED]
    if reserved:
        return {f"{SOURCE_RESERVED}:{key}": "" for key in reserved}
    namespace = next(iter(namespaces_of(selector)), DEFAULT_NAMESPACE)
    found = {
        k8s(CLUSTER): "default",
        k8s(NAMESPACE): namespace,
        k8s(f"{NAMESPACE_LABELS}.{NAME_LABEL}"): namespace,
    }
    for each in selector.requirements:
        name = k8s(each.key) if each.source == SOURCE_ANY else f"{each.source}:{each.key}"
        if each.operator is Operator.IN and each.values:
            found[name] = variant[1] if variant and variant[0] is each else each.values[0]
        elif each.operator is Operator.EXISTS:
            found.setdefault(name, "")
    return MappingProxyType(found)


def remotes(peer: Peer) -> Iterator[Remote]:
    """Remote ends that the peer means; none where the model does not know them."""
    match peer:
        case AnyPeer():
            yield Remote(WORLD, OUTSIDE)
        case EndpointSelectorPeer():
            yield from (_pod(labels) for labels in pods(peer.selector))
        case ServicePeer():
            yield from (_pod(labels) for selector in peer.selectors for labels in pods(selector))
        case EntityPeer():
            yield from _entity(peer.entity)
        case CidrPeer():
            yield from _address(peer)
        case FqdnPeer():
            yield Remote(WORLD, OUTSIDE, frozenset({name(peer.name or peer.pattern or "")}))
        case UnmodelledPeer():
            return


def _pod(labels: Labels) -> Remote:
    reserved = next((each for each in RESERVED.values() if each.labels == labels), None)
    return Remote(reserved or Identity(_POD, labels), ip_address("10.0.0.1"))


def _entity(entity: str) -> Iterator[Remote]:
    if entity in {"all", "world"}:
        yield Remote(WORLD, OUTSIDE)
    elif entity in RESERVED:
        yield Remote(RESERVED[entity], OUTSIDE)
    elif entity != "none":  # cluster, cluster-mesh
        yield from (_pod(labels) for labels in pods(Selector()))


def _address(peer: CidrPeer) -> Iterator[Remote]:
    first = peer.cidr[0]
    remote = Remote(WORLD, first)
    if peer.matches(remote) or not peer.except_:
        yield remote
        return
    for hole in peer.except_:  # just behind an exception
        last = hole[-1]
        after = Remote(WORLD, type(last)(min(int(last) + 1, int(peer.cidr[-1]))))
        if peer.matches(after):
            yield after
            return


def name(pattern: str) -> str:
    """A DNS name that a pattern matches."""
    text = pattern.strip()
    if set(text.rstrip(".")) <= {"*"}:
        return "a.example"
    return text.replace("**.", "a.").replace("*", "a")


def port(found: Port | None) -> tuple[str, int]:
    """Protocol and number of traffic that a port of a rule means."""
    match found:
        case None:
            return "TCP", NAMED
        case NamedPort():
            return found.protocol, NAMED
        case PortRange():
            return found.protocol, found.first or NAMED


def named(found: Port | None) -> Remote:
    """A destination whose container gives the port that name."""
    ports = {(found.name, found.protocol): NAMED} if isinstance(found, NamedPort) else {}
    return Remote(WORLD, OUTSIDE, named_ports=MappingProxyType(ports))
