"""What of a valid policy the lab does not enforce, so that nobody takes it for enforced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Network, ip_network

from drills.cilium.model import (
    CidrRule,
    EgressCommon,
    EgressDenyRule,
    EgressRule,
    IngressCommon,
    IngressDenyRule,
    IngressRule,
    NetworkPolicy,
    PortDenyRule,
    PortRule,
    Rule,
)

_Element = IngressRule | IngressDenyRule | EgressRule | EgressDenyRule


def unenforced(policy: NetworkPolicy) -> list[str]:
    """One short phrase for each thing that the policy says and the lab leaves out; empty if everything is enforced."""
    return list(dict.fromkeys(phrase for rule in policy.rules for phrase in _rule(rule)))


def _rule(rule: Rule) -> Iterator[str]:
    if rule.node_selector is not None:
        yield "nodeSelector (the host firewall is off)"
    groups: tuple[tuple[str, Sequence[_Element]], ...] = (
        ("ingress", rule.ingress or ()),
        ("ingressDeny", rule.ingress_deny or ()),
        ("egress", rule.egress or ()),
        ("egressDeny", rule.egress_deny or ()),
    )
    for name, elements in groups:
        for element in elements:
            yield from (f"{name}: {phrase}" for phrase in _element(element))


def _element(element: _Element) -> Iterator[str]:
    if isinstance(element, IngressCommon):
        yield from _peers("from", element.from_nodes, element.from_groups, element.from_cidr, element.from_cidr_set)
    elif isinstance(element, EgressCommon):
        yield from _peers("to", element.to_nodes, element.to_groups, element.to_cidr, element.to_cidr_set)
    mode = _authentication(element)
    if mode != "disabled":
        yield f"authentication.mode {mode}"
    for rule in element.to_ports or ():
        yield from _port_rule(rule)
    for icmp in element.icmps or ():
        if any(field.family == "IPv6" for field in icmp.fields_ or ()):
            yield "icmps of family IPv6 (the lab has no IPv6)"


def _authentication(element: _Element) -> str:
    given = element.authentication if isinstance(element, IngressRule | EgressRule) else None
    return given.mode if given is not None else "disabled"


def _peers(
    side: str,
    nodes: object,
    groups: object,
    cidrs: Sequence[str] | None,
    cidr_set: Sequence[CidrRule] | None,
) -> Iterator[str]:
    if nodes:
        yield f"{side}Nodes"
    if groups:
        yield f"{side}Groups"
    if any(each.cidr_group_ref or each.cidr_group_selector for each in cidr_set or ()):
        yield f"{side}CIDRSet with a CIDR group"
    if _any_ipv6([*(cidrs or ()), *(each.cidr for each in cidr_set or () if each.cidr)]):
        yield f"{side}CIDR with IPv6 (the lab has none)"


def _any_ipv6(cidrs: Iterable[str]) -> bool:
    return any(isinstance(ip_network(each, strict=False), IPv6Network) for each in cidrs)


def _port_rule(rule: PortRule | PortDenyRule) -> Iterator[str]:
    if not isinstance(rule, PortRule):
        return
    for name in ("server_names", "terminating_tls", "originating_tls", "listener"):
        if getattr(rule, name, None):
            head, *rest = name.split("_")
            yield f"toPorts.{head}{''.join(word.title() for word in rest)}"
    for http in (rule.rules.http or ()) if rule.rules else ():
        for match in http.header_matches or ():
            if match.mismatch in {"ADD", "DELETE", "REPLACE"}:
                yield f"headerMatches with mismatch {match.mismatch} (the request passes, the header is not changed)"
            if match.secret is not None:
                yield "headerMatches with a secret"
