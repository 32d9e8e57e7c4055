"""What Cilium refuses of a policy that the API accepted: VALID=False, its message, and no effect at all.

The operator writes the condition ``Valid`` with the messages of :func:`sanitize`; the agent refuses a little more
(:func:`import_errors`) without telling the API. Facts: Cilium 1.20 ``pkg/policy/api/rule_validation.go``,
``operator/pkg/networkpolicy/validator.go``, ``pkg/k8s/apis/cilium.io/v2/cnp_types.go`` (``Parse``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import combinations
from typing import Final

from drills.cilium import labels, ports
from drills.cilium.model import (
    EgressCommon,
    EgressDenyRule,
    EgressRule,
    IngressCommon,
    IngressDenyRule,
    IngressRule,
    NetworkPolicy,
    Rule,
)
from drills.cilium.parts import CidrRule, IcmpRule, LabelSelector, PortDenyRule, PortProtocol, PortRule
from drills.cilium.patterns import PatternError, dns_name_error, dns_pattern_error, re2

VALID: Final = "Policy validation succeeded"
EMPTY: Final = "rule must have at least one of Ingress, IngressDeny, Egress, EgressDeny"
MAX_PORTS: Final = 40
MAX_ICMP_FIELDS: Final = 40
_ICMP_WITH_PORTS: Final = "the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts"


@dataclass(frozen=True, slots=True)
class Validity:
    """The condition ``Valid`` of a policy."""

    valid: bool
    message: str


def validity(policy: NetworkPolicy) -> Validity:
    """The condition that the operator writes into the policy's status."""
    errors = sanitize(policy)
    return Validity(not errors, "\n".join(errors) or VALID)


def sanitize(policy: NetworkPolicy) -> list[str]:
    """What is wrong with the policy in Cilium's words, one message for each bad rule; empty where it is valid."""
    found = []
    for rule in policy.rules:
        found += [message for message in (_first(_rule(rule)), _first(_authentication(rule))) if message]
    return found


def import_errors(policy: NetworkPolicy) -> list[str]:
    """What keeps an agent from importing the policy: :func:`sanitize`, no rule at all, nodes in a namespaced policy."""
    if policy.spec is None and policy.specs is None:
        return [f"Invalid {policy.kind} spec(s): empty policy"]
    found = sanitize(policy)
    if policy.namespace and any(rule.node_selector is not None for rule in policy.rules):
        found.append("Invalid CiliumNetworkPolicy spec: rule cannot have NodeSelector")
    return found


def _first(messages: Iterable[str]) -> str | None:
    return next(iter(messages), None)


def _rule(rule: Rule) -> Iterator[str]:
    if not (rule.ingress or rule.ingress_deny or rule.egress or rule.egress_deny):
        yield EMPTY
    if rule.endpoint_selector is None and rule.node_selector is None:
        yield "rule must have one of EndpointSelector or NodeSelector"
    if rule.endpoint_selector is not None and rule.node_selector is not None:
        yield "rule cannot have both EndpointSelector and NodeSelector"
    host = rule.node_selector is not None
    for subject in (rule.endpoint_selector, rule.node_selector):
        if subject is not None:
            yield from _selector(subject)
    for ingress in rule.ingress or ():
        yield from _allow(ingress, host=host)
    for ingress_deny in rule.ingress_deny or ():
        yield from _deny(ingress_deny)
    for egress in rule.egress or ():
        yield from _allow(egress, host=host)
    for egress_deny in rule.egress_deny or ():
        yield from _deny(egress_deny)


def _authentication(rule: Rule) -> Iterator[str]:
    for direction, elements in (("ingress", rule.ingress), ("egress", rule.egress)):
        if any(each.authentication for each in elements or ()):  # off by default since 1.19
            yield f"mutual auth feature is disabled but an {direction} auth rule is defined in policy"


def _allow(element: IngressRule | EgressRule, *, host: bool) -> Iterator[str]:
    ingress = isinstance(element, IngressRule)
    yield from _peers(element)
    used = [each.rules for each in element.to_ports or () if each.rules and (each.rules.http or each.rules.dns)]
    if ingress and host and used:
        yield "L7 policy is not supported on host ingress yet"
    if ingress and any(each.dns for each in used):
        yield "L7 protocol DNS is not supported on ingress yet"
    if not ingress and host and any(each.http for each in used):
        yield "L7 protocol HTTP is not supported on host egress yet"
    if element.icmps and element.to_ports:
        yield _ICMP_WITH_PORTS
    for rule in element.to_ports or ():
        yield from _port_rule(rule, ingress=ingress)
    yield from _icmps(element.icmps or ())
    if isinstance(element, EgressRule):
        for fqdn in element.to_fqdns or ():
            yield from _fqdn(fqdn.match_name, fqdn.match_pattern, both_allowed=False)


def _deny(element: IngressDenyRule | EgressDenyRule) -> Iterator[str]:
    yield from _peers(element)
    if element.icmps and element.to_ports:
        yield _ICMP_WITH_PORTS
    for rule in element.to_ports or ():
        yield from _ports(rule, dns=False)
    yield from _icmps(element.icmps or ())


def _kinds(element: IngressCommon | EgressCommon) -> dict[str, Sequence[object] | None]:
    if isinstance(element, IngressCommon):
        return {
            "FromEndpoints": element.from_endpoints, "FromCIDR": element.from_cidr,
            "FromCIDRSet": element.from_cidr_set, "FromEntities": element.from_entities,
            "FromNodes": element.from_nodes, "FromGroups": element.from_groups,
        }  # fmt: skip
    kinds: dict[str, Sequence[object] | None] = {
        "ToCIDR": element.to_cidr, "ToCIDRSet": element.to_cidr_set, "ToEndpoints": element.to_endpoints,
        "ToEntities": element.to_entities, "ToServices": element.to_services, "ToGroups": element.to_groups,
        "ToNodes": element.to_nodes,
    }  # fmt: skip
    if isinstance(element, EgressRule):
        kinds["ToFQDNs"] = element.to_fqdns
    return kinds


def _peers(element: IngressCommon | EgressCommon) -> Iterator[str]:
    kinds = _kinds(element)
    for one, other in combinations([name for name, value in kinds.items() if value], 2):
        yield f"combining {one} and {other} is not supported yet"
    if isinstance(element, IngressCommon):
        selectors, nodes = element.from_endpoints, element.from_nodes
        cidrs, cidr_set = element.from_cidr, element.from_cidr_set
    else:
        selectors, nodes = element.to_endpoints, element.to_nodes
        cidrs, cidr_set = element.to_cidr, element.to_cidr_set
    for selector in (*(selectors or ()), *(nodes or ())):
        yield from _selector(selector)
    for cidr in cidrs or ():
        if not _is_prefix(cidr):
            yield f"unable to parse CIDR: netip.ParsePrefix(\"{cidr}\"): no '/'"
    for rule in cidr_set or ():
        yield from _cidr_rule(rule)
    if nodes:
        yield 'FromNodes/ToNodes rules can only be applied when the "enable-node-selector-labels" flag is set'


def _cidr_rule(rule: CidrRule) -> Iterator[str]:
    given = [bool(rule.cidr_group_ref), bool(rule.cidr), rule.cidr_group_selector is not None]
    if sum(given) != 1:
        yield (
            "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set"
            if any(given)
            else "one of cidr, cidrGroupRef, or cidrGroupSelector is required"
        )
        return
    if not rule.cidr:
        return
    if not _is_prefix(rule.cidr):
        yield f'unable to parse CIDRRule "{rule.cidr}": netip.ParsePrefix("{rule.cidr}"): no \'/\''
        return
    block = ip_network(rule.cidr, strict=False)
    for text in rule.except_ or ():
        if not _is_prefix(text):
            yield f"netip.ParsePrefix(\"{text}\"): no '/'"
            continue
        inner = ip_network(text, strict=False)
        if inner.version != block.version or inner.prefixlen < block.prefixlen or inner[0] not in block:
            yield f"allow CIDR prefix {rule.cidr} does not contain exclude CIDR prefix {text}"


def _is_prefix(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return text.rpartition("/")[2].isdigit() and "/" in text


def _selector(selector: LabelSelector) -> Iterator[str]:
    for key in selector.match_labels or {}:
        yield from _label_key(key, "matchLabels")
    for index, each in enumerate(selector.match_expressions or ()):
        path = f"matchExpressions[{index}]"
        if each.operator in {"In", "NotIn"} and not each.values:
            yield _label_error(f"{path}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'")
        if each.operator in {"Exists", "DoesNotExist"} and each.values:
            yield _label_error(
                f"{path}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        yield from _label_key(each.key, f"{path}.key")


def _label_key(key: str, path: str) -> Iterator[str]:
    problem = labels.key_error(key)
    if problem:
        yield _label_error(f'{path}: Invalid value: "{key}": {problem}')


def _label_error(text: str) -> str:
    return f"invalid label selector: {text}"


def _port_rule(rule: PortRule, *, ingress: bool) -> Iterator[str]:
    found = rule.rules
    dns = bool(found and found.dns)
    used = found is not None and bool(found.http or found.dns)
    if ingress and dns:
        yield "DNS rules are not allowed on ingress"
    if rule.server_names and used and rule.terminating_tls is None:
        yield "ServerNames are not allowed with L7 rules without TLS termination"
    yield from _ports(rule, dns=dns)
    if used and not dns:
        for port in rule.ports or ():
            if port.protocol != "TCP":
                protocol = port.protocol or "ANY"
                yield f"L7 rules can only apply to TCP (not {protocol}) except for DNS rules"
    if rule.listener and ingress:
        yield f"Listener is not allowed on ingress ({rule.listener.name})"
    if rule.listener and used:
        yield f"Listener is not allowed with L7 rules ({rule.listener.name})"
    if used:
        yield from _application(rule)


def _application(rule: PortRule) -> Iterator[str]:
    if any(_is_zero(port) for port in rule.ports or ()):
        yield "L7 rules can not be used when a port is 0"
    found = rule.rules
    if found is None:
        return
    for http in found.http or ():
        for expression in (http.path, http.method):
            if expression and (problem := _expression_error(expression)):
                yield problem
    if found.dns is not None and not rule.ports:
        yield "port 53 must be specified for DNS rules"
    for dns in found.dns or ():
        yield from _fqdn(dns.match_name, dns.match_pattern, both_allowed=True)
    if found.http is not None and found.dns is not None:
        yield "multiple L7 protocol rule types specified in single rule"


def _expression_error(expression: str) -> str | None:
    try:
        re2(expression)
    except PatternError as error:
        return str(error)
    return None


def _ports(rule: PortRule | PortDenyRule, *, dns: bool) -> Iterator[str]:
    if len(rule.ports or ()) > MAX_PORTS:
        yield f"too many ports, the max is {MAX_PORTS}"
    for port in rule.ports or ():
        yield from _port(port, dns=dns)


def _port(port: PortProtocol, *, dns: bool) -> Iterator[str]:
    if not port.port:
        yield "port must be specified"  # unless extended IP protocols are on, which is not the default
        return
    if ports.is_service_name(port.port):
        return
    if port.port != "0" and port.protocol in {"VRRP", "IGMP"}:
        yield "port must be empty or 0"
    try:
        number = ports.parse_number(port.port)
    except ValueError as error:
        yield f"unable to parse port: {error}"
        return
    if dns and (port.end_port or 0) > number:
        yield "DNS rules do not support port ranges"


def _is_zero(port: PortProtocol) -> bool:
    return bool(port.port) and set(port.port or "") == {"0"}


def _icmps(rules: Iterable[IcmpRule]) -> Iterator[str]:
    for rule in rules:
        if len(rule.fields_ or ()) > MAX_ICMP_FIELDS:
            yield f"too many types, the max is {MAX_ICMP_FIELDS}"
        for each in rule.fields_ or ():
            names = ports.ICMPV6_TYPES if each.family == "IPv6" else ports.ICMP_TYPES
            if not str(each.type).isdigit() and str(each.type) not in names:
                yield f"ICMP type {each.type} not found in {each.family}"


def _fqdn(name: str | None, pattern: str | None, *, both_allowed: bool) -> Iterator[str]:
    if name and pattern and not both_allowed:
        yield "only one of MatchName or MatchPattern is allowed in an FQDNSelector"
    if name and (problem := dns_name_error(name)):
        yield problem
    if pattern and (problem := dns_pattern_error(pattern)):
        yield problem
