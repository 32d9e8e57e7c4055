"""Decide: what a flow would meet, from the policies that are valid.

Three steps, each a pure value: :class:`Policies` (all rules), :class:`EndpointPolicy` (what applies to one identity),
:class:`Decision` (what becomes of one flow). The lab's agents compile the second to packet filters and proxies;
``drills check`` and the tests ask for the third.

Facts: Cilium 1.20 ``pkg/policy/repository.go`` (``computePolicyEnforcementAndRules``): default deny per direction,
allow-all where only rules without default deny apply, the local host always allowed in; ``pkg/policy/rule.go``
(``mergePortProto``): application rules of one peer and port add up, and one entry without them lets everything pass;
deny wins over every allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from drills.cilium.entries import EGRESS, INGRESS, CompiledRule, Direction, Entry, PolicyRef, compile_policy
from drills.cilium.l7 import DnsRule, HttpRequest, HttpRule, dns_allows, http_allows
from drills.cilium.labels import SOURCE_RESERVED, Labels
from drills.cilium.model import NetworkPolicy, Obj
from drills.cilium.peers import (
    AnyPeer,
    CidrPeer,
    EndpointSelectorPeer,
    EntityPeer,
    FqdnPeer,
    Peer,
    Remote,
    ServicePeer,
    Services,
    UnmodelledPeer,
)
from drills.cilium.policy import parse
from drills.cilium.ports import NamedPort, Port, PortRange
from drills.cilium.sanitize import import_errors

__all__ = [
    "EGRESS",
    "INGRESS",
    "AnyPeer",
    "CidrPeer",
    "Decision",
    "Direction",
    "DirectionPolicy",
    "DnsRule",
    "EndpointPolicy",
    "EndpointSelectorPeer",
    "EntityPeer",
    "Entry",
    "Flow",
    "FqdnPeer",
    "HttpRequest",
    "HttpRule",
    "Lookup",
    "NamedPort",
    "Peer",
    "Policies",
    "PolicyRef",
    "Port",
    "PortRange",
    "Remote",
    "ServicePeer",
    "UnmodelledPeer",
    "Verdict",
    "decide",
    "is_endpoint",
]  # fmt: skip

EnforcementMode = Literal["default", "always", "never"]

_NO_ENDPOINTS: Final = ("world", "host", "remote-node", "kube-apiserver", "unmanaged")

ALLOW_LOCALHOST: Final = PolicyRef("", None, "allow-localhost-ingress")
ALLOW_ANY: Final[Mapping[Direction, PolicyRef]] = {
    INGRESS: PolicyRef("", None, "allow-any-ingress"),
    EGRESS: PolicyRef("", None, "allow-any-egress"),
}


class Verdict(StrEnum):
    """What becomes of a flow."""

    ALLOWED = "allowed"
    DENIED_DEFAULT = "denied-default"
    """Nothing allows it, and the endpoint is in default deny: dropped, ``Policy denied``."""
    DENIED_RULE = "denied-rule"
    """A deny rule is about it: dropped, ``Policy denied by denylist``."""
    DENIED_HTTP = "denied-http"
    """The proxy answers 403 ``Access denied``."""
    DENIED_DNS = "denied-dns"
    """The DNS proxy answers REFUSED."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one direction says of a remote end and a port, before any request is seen.

    With ``http`` or ``dns`` rules the traffic goes to a proxy that knows these rules (all of them, united), and a TCP
    connection is accepted by the proxy whatever the request will be.
    """

    verdict: Verdict
    by: tuple[PolicyRef, ...] = ()
    """Who says so; for denied-default, who brings the default deny."""
    http: tuple[HttpRule, ...] | None = None
    dns: tuple[DnsRule, ...] | None = None


@dataclass(frozen=True, slots=True)
class DirectionPolicy:
    """What applies to an endpoint in one direction.

    ``enforced`` is whether policy is on at all; where it is, what no entry allows is dropped. Allow-all (only rules
    without default deny apply) and the local host stand in ``allow`` as entries of their own.
    """

    direction: Direction
    enforced: bool = False
    deny: tuple[Entry, ...] = ()
    allow: tuple[Entry, ...] = ()
    default_deny_by: tuple[PolicyRef, ...] = ()

    def lookup(self, remote: Remote, protocol: str, port: int, destination: Remote) -> Lookup:
        """What becomes of traffic with a remote end; ``port`` and ``destination`` are those of the flow's destination.

        ICMP has its message type in place of the port.
        """
        if not self.enforced:
            return Lookup(Verdict.ALLOWED)
        named = destination.named_ports
        denied = [each for each in self.deny if each.matches(remote, protocol, port, named)]
        if denied:
            return Lookup(Verdict.DENIED_RULE, _origins(denied))
        allowed = [each for each in self.allow if each.matches(remote, protocol, port, named)]
        if not allowed:
            return Lookup(Verdict.DENIED_DEFAULT, self.default_deny_by)
        http = [rule for each in allowed for rule in each.http or ()]
        dns = [rule for each in allowed for rule in each.dns or ()]
        if any(not each.l7 for each in allowed):  # the proxy stays, and lets everything pass
            http += [HttpRule()] if http else []
            dns += [DnsRule(pattern="*")] if dns else []
        return Lookup(Verdict.ALLOWED, _origins(allowed), tuple(http) or None, tuple(dns) or None)


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """What applies to one endpoint."""

    ingress: DirectionPolicy = DirectionPolicy(INGRESS)
    egress: DirectionPolicy = DirectionPolicy(EGRESS)

    @property
    def enforcement(self) -> Literal["none", "ingress", "egress", "both"]:
        """As ``cilium_policy_endpoint_enforcement_status`` and ``policy-enabled`` say it."""
        match self.ingress.enforced, self.egress.enforced:
            case True, True:
                return "both"
            case True, False:
                return "ingress"
            case False, True:
                return "egress"
            case _:
                return "none"


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection attempt, and the request on it if there is one.

    ``port`` is the destination's own (after Service translation); for ICMP it is the message type.
    """

    source: Remote
    destination: Remote
    protocol: str
    port: int
    http: HttpRequest | None = None
    dns: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a flow, which direction denied it (None where none did), and who says so.

    ``proxied`` says that a proxy stands between: a TCP connection is then accepted even where the request is denied.
    """

    verdict: Verdict
    direction: Direction | None = None
    by: tuple[PolicyRef, ...] = ()
    proxied: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the flow reaches its destination."""
        return self.verdict is Verdict.ALLOWED

    @property
    def status(self) -> int | None:
        """The HTTP status that the proxy answers with; None where it does not answer."""
        return 403 if self.verdict is Verdict.DENIED_HTTP else None


@dataclass(frozen=True, slots=True)
class Policies:
    """The rules of all policies that Cilium accepts; policies that it refuses are in ``refused`` with its reason."""

    rules: tuple[CompiledRule, ...] = ()
    refused: tuple[tuple[PolicyRef, str], ...] = ()
    mode: EnforcementMode = "default"

    @classmethod
    def build(
        cls,
        policies: Iterable[NetworkPolicy | Obj],
        *,
        services: Services | None = None,
        mode: EnforcementMode = "default",
    ) -> Policies:
        """From policies as the API holds them (pruned here once more). One bad rule refuses its whole policy.

        :raises UnreadablePolicyError: for an object that the API's schema would not have let in.
        """
        rules: list[CompiledRule] = []
        refused: list[tuple[PolicyRef, str]] = []
        for each in policies:
            policy = each if isinstance(each, NetworkPolicy) else parse(each)
            errors = import_errors(policy)
            if errors:
                ref = PolicyRef(policy.kind, policy.namespace, policy.metadata.name, policy.metadata.uid)
                refused.append((ref, "\n".join(errors)))
            else:
                rules += compile_policy(policy, services or {})
        return cls(tuple(rules), tuple(refused), mode)

    def for_endpoint(self, labels: Labels) -> EndpointPolicy:
        """What applies to an endpoint with these labels; nothing to the world and the nodes, which are none"""
        if self.mode == "never" or not is_endpoint(labels):
            return EndpointPolicy()
        selected = [rule for rule in self.rules if rule.subject.matches(labels)]
        always = self.mode == "always" or f"{SOURCE_RESERVED}:init" in labels
        return EndpointPolicy(_resolve(INGRESS, selected, always), _resolve(EGRESS, selected, always))

    def decide(self, flow: Flow) -> Decision:
        """What becomes of a flow between two identities, each with what applies to it."""
        source = self.for_endpoint(flow.source.identity.labels)
        destination = self.for_endpoint(flow.destination.identity.labels)
        return decide(flow, source.egress, destination.ingress)


def is_endpoint(labels: Labels) -> bool:
    """Whether an identity is one that policies can be about: the world and the nodes are none."""
    return not any(f"{SOURCE_RESERVED}:{name}" in labels for name in _NO_ENDPOINTS)


def decide(flow: Flow, egress: DirectionPolicy | None, ingress: DirectionPolicy | None) -> Decision:
    """What becomes of a flow: the source's egress is asked first, then the destination's ingress.

    None stands for an end that has no policy (a node, the world).
    """
    by: list[PolicyRef] = []
    proxied = False
    for policy, remote in ((egress, flow.destination), (ingress, flow.source)):
        if policy is None:
            continue
        found = policy.lookup(remote, flow.protocol, flow.port, flow.destination)
        proxied = proxied or found.http is not None or found.dns is not None
        verdict = _of_request(found, flow)
        if verdict is not Verdict.ALLOWED:
            return Decision(verdict, policy.direction, found.by, proxied)
        by += found.by
    return Decision(Verdict.ALLOWED, None, _unique(by), proxied)


def _of_request(found: Lookup, flow: Flow) -> Verdict:
    if found.http is not None and flow.http is not None and not http_allows(found.http, flow.http):
        return Verdict.DENIED_HTTP
    if found.dns is not None and flow.dns is not None and not dns_allows(found.dns, flow.dns):
        return Verdict.DENIED_DNS
    return found.verdict


def _resolve(direction: Direction, selected: Iterable[CompiledRule], always: bool) -> DirectionPolicy:
    rules = [rule for rule in selected if rule.direction == direction]
    if not rules and not always:
        return DirectionPolicy(direction)
    allow = [entry for rule in rules for entry in rule.allow]
    deny = tuple(entry for rule in rules for entry in rule.deny)
    default_deny_by = _unique(rule.origin for rule in rules if rule.default_deny)
    if not always and not default_deny_by:
        allow.append(Entry(AnyPeer(), None, ALLOW_ANY[direction]))
    elif direction == INGRESS:
        allow.append(Entry(EntityPeer("host"), None, ALLOW_LOCALHOST))
    return DirectionPolicy(direction, enforced=True, deny=deny, allow=tuple(allow), default_deny_by=default_deny_by)


def _origins(entries: Iterable[Entry]) -> tuple[PolicyRef, ...]:
    return _unique(each.origin for each in entries)


def _unique(refs: Iterable[PolicyRef]) -> tuple[PolicyRef, ...]:
    return tuple(dict.fromkeys(refs))
