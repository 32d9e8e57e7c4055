"""Entries: what the rules of a policy come to, one (peer, port, application rules) at a time.

Facts: Cilium 1.20 ``pkg/policy/utils/parserules.go`` and ``pkg/policy/rule.go`` (``mergeL4Filter``): an element
without peers and ports says nothing (but counts for default deny), ports without peers mean everybody, an empty list
of peers means nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from drills.cilium.l7 import DnsRule, HttpRule, dns_rule, http_rule
from drills.cilium.model import (
    DefaultDeny,
    EgressCommon,
    EgressDenyRule,
    EgressRule,
    IngressCommon,
    IngressDenyRule,
    IngressRule,
    NetworkPolicy,
    Rule,
)
from drills.cilium.parts import CidrRule, IcmpRule, LabelSelector, PortDenyRule, PortRule, Service
from drills.cilium.peers import (
    AnyPeer,
    EndpointSelectorPeer,
    EntityPeer,
    FqdnPeer,
    Peer,
    Remote,
    ServicePeer,
    Services,
    ServiceTarget,
    UnmodelledPeer,
    cidr_peer,
)
from drills.cilium.ports import NamedPorts, Port, PortRange, expand, icmp, matches
from drills.cilium.selector import Selector, equals, is_init, peer_selector, plain, subject_selector

Direction = Literal["INGRESS", "EGRESS"]
INGRESS: Final = "INGRESS"
EGRESS: Final = "EGRESS"


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """Which policy says so. Without a kind it is Cilium itself (``allow-localhost-ingress``, ``allow-any-egress``)."""

    kind: str
    namespace: str | None
    name: str
    uid: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Entry:
    """One peer at one port: denied, allowed, or allowed as far as application rules go.

    ``port`` None means every protocol and port. ``http`` and ``dns`` None means that the application is not looked at.
    ``log`` is the policy's text for flows (``spec.log.value``).
    """

    peer: Peer
    port: Port | None
    origin: PolicyRef
    http: tuple[HttpRule, ...] | None = None
    dns: tuple[DnsRule, ...] | None = None
    log: str = ""

    @property
    def match_type(self) -> int:
        """Hubble's ``policy_match_type``: 1 L3-Only, 2 L3-L4, 3 L4-Only, 4 all, 5 L3-Proto, 6 Proto-Only."""
        everybody = isinstance(self.peer, AnyPeer) or self.peer == EntityPeer("all")
        if self.port is None:
            return 4 if everybody else 1
        if isinstance(self.port, PortRange) and self.port.every:
            return 6 if everybody else 5
        return 3 if everybody else 2

    @property
    def l7(self) -> bool:
        """Whether traffic goes through a proxy."""
        return self.http is not None or self.dns is not None

    def matches(self, remote: Remote, protocol: str, port: int, named: NamedPorts) -> bool:
        """Whether a remote end and a port (of the destination; ``named`` are the destination's too) are meant."""
        return matches(self.port, protocol, port, named) and self.peer.matches(remote)


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One direction of one rule: its subject, whether it brings default deny, and its entries."""

    origin: PolicyRef
    subject: Selector
    direction: Direction
    default_deny: bool
    allow: tuple[Entry, ...]
    deny: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Context:
    origin: PolicyRef
    namespace: str | None
    subject_is_init: bool
    log: str
    services: Services


def compile_policy(policy: NetworkPolicy, services: Services) -> Iterator[CompiledRule]:
    """The rules of a policy that is valid. Rules for nodes are left out: the host firewall is off by default."""
    ref = _ref(policy)
    for rule in policy.rules:
        if rule.endpoint_selector is None:
            continue
        context = _context(policy, rule, services)
        subject = subject_selector(rule.endpoint_selector, policy.namespace)
        wish = rule.enable_default_deny or DefaultDeny()
        if rule.ingress or rule.ingress_deny:
            allow, deny = _entries(rule.ingress or (), context), _entries(rule.ingress_deny or (), context)
            yield CompiledRule(ref, subject, INGRESS, wish.ingress is not False, allow, deny)
        if rule.egress or rule.egress_deny:
            allow, deny = _entries(rule.egress or (), context), _entries(rule.egress_deny or (), context)
            yield CompiledRule(ref, subject, EGRESS, wish.egress is not False, allow, deny)


Element = IngressRule | IngressDenyRule | EgressRule | EgressDenyRule


def element_entries(policy: NetworkPolicy, rule: Rule, element: Element, services: Services) -> tuple[Entry, ...]:
    """What one element of a rule comes to; the policy must be valid."""
    return tuple(_element_entries(element, _context(policy, rule, services)))


def _ref(policy: NetworkPolicy) -> PolicyRef:
    return PolicyRef(policy.kind, policy.namespace, policy.metadata.name, policy.metadata.uid)


def _context(policy: NetworkPolicy, rule: Rule, services: Services) -> _Context:
    init = rule.endpoint_selector is not None and is_init(rule.endpoint_selector)
    log = (rule.log.value or "") if rule.log else ""
    return _Context(_ref(policy), policy.namespace, init, log, services)


def _entries(elements: Sequence[Element], context: _Context) -> tuple[Entry, ...]:
    return tuple(entry for element in elements for entry in _element_entries(element, context))


def _element_entries(element: Element, context: _Context) -> Iterator[Entry]:
    peers = _peers(element, context)
    if peers is None:
        return
    ports = [*(element.to_ports or ()), *(element.icmps or ())]
    if not ports:
        yield from (Entry(peer, None, context.origin, log=context.log) for peer in peers)
        return
    for peer in peers or [AnyPeer()]:
        for rule in ports:
            yield from _port_entries(rule, peer, context)


def _port_entries(rule: PortRule | PortDenyRule | IcmpRule, peer: Peer, context: _Context) -> Iterator[Entry]:
    if isinstance(rule, IcmpRule):
        for each in rule.fields_ or ():
            yield Entry(peer, icmp(each), context.origin, log=context.log)
        return
    http, dns = _application(rule)
    for element in rule.ports or ():
        for port in expand(element):
            yield Entry(peer, port, context.origin, http, dns, context.log)


def _application(rule: PortRule | PortDenyRule) -> tuple[tuple[HttpRule, ...] | None, tuple[DnsRule, ...] | None]:
    found = rule.rules if isinstance(rule, PortRule) else None
    if found is None:
        return None, None
    http = tuple(http_rule(each) for each in found.http or ()) or None  # an empty list looks at nothing
    dns = tuple(dns_rule(each) for each in found.dns or ()) or None
    return http, dns


def _peers(element: IngressCommon | EgressCommon, context: _Context) -> list[Peer] | None:
    """The peers of an element; empty where it names no kind of peer, None where it names nobody (an empty list)."""
    if isinstance(element, IngressCommon):
        endpoints, entities = element.from_endpoints, element.from_entities
        cidrs, cidr_set, nodes, groups = (
            element.from_cidr,
            element.from_cidr_set,
            element.from_nodes,
            element.from_groups,
        )
    else:
        endpoints, entities = element.to_endpoints, element.to_entities
        cidrs, cidr_set, nodes, groups = element.to_cidr, element.to_cidr_set, element.to_nodes, element.to_groups
    if any(each == [] for each in (endpoints, entities, cidrs, cidr_set, nodes)):
        return None
    peers: list[Peer] = [_endpoints(each, context) for each in endpoints or ()]
    peers += [EntityPeer(each) for each in entities or ()]
    peers += [cidr_peer(each) for each in cidrs or ()]
    peers += [_cidr_rule(each) for each in cidr_set or ()]
    peers += [UnmodelledPeer(f"nodes {plain(each)}") for each in nodes or ()]
    peers += [UnmodelledPeer("group") for _ in groups or ()]
    if isinstance(element, EgressRule):
        peers += [FqdnPeer(each.match_name, each.match_pattern) for each in element.to_fqdns or ()]
    if isinstance(element, EgressCommon) and element.to_services:
        return [*peers, *_services(element.to_services, context)]
    return peers


def _endpoints(selector: LabelSelector, context: _Context) -> Peer:
    return EndpointSelectorPeer(peer_selector(selector, context.namespace, subject_is_init=context.subject_is_init))


def _cidr_rule(rule: CidrRule) -> Peer:
    if rule.cidr:
        return cidr_peer(rule.cidr, tuple(rule.except_ or ()))
    return UnmodelledPeer(f"cidrGroup {rule.cidr_group_ref or plain(rule.cidr_group_selector or LabelSelector())}")


def _services(wanted: Iterable[Service], context: _Context) -> list[Peer]:
    found: list[Peer] = []
    for each in wanted:
        if each.k8s_service:
            namespace = each.k8s_service.namespace or context.namespace or ""
            name = each.k8s_service.service_name or ""
            target = context.services.get((namespace, name), ServiceTarget())
            found.append(_service(namespace, name, target))
        if each.k8s_service_selector:
            selector, where = plain(each.k8s_service_selector.selector), each.k8s_service_selector.namespace
            found += [
                _service(*key, target)
                for key, target in context.services.items()
                if where in {None, "", key[0]} and selector.matches(_as_labels(target.labels))
            ]
    return found or [UnmodelledPeer("no service")]


def _as_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {f"k8s:{key}": value for key, value in labels.items()}


def _service(namespace: str, name: str, target: ServiceTarget) -> ServicePeer:
    if not target.selector:
        return ServicePeer(namespace, name, addresses=target.addresses)
    selector = equals({**target.selector, "io.kubernetes.pod.namespace": namespace}, source="k8s")
    return ServicePeer(namespace, name, selectors=(selector,), addresses=target.addresses)
