"""What a node has to enforce, as plain data: between Cilium's policy model and the programs that enforce it.

``drills.lab.agent.compile`` makes a `NodeProgram` of policies and endpoints; ``nftables`` and
``envoy_config`` render it. Nothing here knows a label or a policy object: only addresses and ports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import TypeAlias

from drills.cilium.l7 import DnsRule, HttpRule

Protocol: TypeAlias = str
"""In lower case: ``tcp``, ``udp``, ``sctp``, ``icmp``, ...; ``any`` is every protocol."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The addresses that a rule means, at this moment.

    ``networks`` None is every address. ``outside`` leaves out everything that the cluster manages (pods, nodes):
    CIDR rules and the entity world never match those. ``fqdn`` names a set that the DNS proxy fills.
    """

    networks: tuple[IPv4Network, ...] | None = None
    outside: bool = False
    fqdn: str | None = None

    @property
    def nobody(self) -> bool:
        """Whether no address can match."""
        return self.networks == () and self.fqdn is None

    def matches(self, address: IPv4Address, managed: frozenset[IPv4Address], named: frozenset[IPv4Address]) -> bool:
        """What the datapath would say of one address; ``named`` is what the DNS proxy put into the set."""
        if self.outside and address in managed:
            return False
        if self.fqdn is not None:
            return address in named
        return self.networks is None or any(address in network for network in self.networks)


EVERYBODY = Peers()


@dataclass(frozen=True, slots=True)
class Ports:
    """Protocol and destination ports. Without ports (``low`` 0) every port; ``any`` is every protocol."""

    protocol: Protocol = "any"
    low: int = 0
    high: int = 0
    icmp_type: int | None = None

    def matches(self, protocol: str, port: int) -> bool:
        """Whether a packet's protocol (lower case) and destination port (ICMP: type) are meant."""
        if self.protocol not in ("any", protocol):
            return False
        if self.protocol == "icmp":
            return self.icmp_type is None or self.icmp_type == port
        return not self.low or self.low <= port <= self.high


@dataclass(frozen=True, slots=True)
class Match:
    """A condition on a packet: who is at the other end, and which ports. ``by`` numbers the policy behind it."""

    peers: Peers
    ports: Ports = Ports()
    by: int = 0

    @property
    def kind(self) -> int:
        """``policy_match_type`` of a flow that it decides: Cilium 1.20, pkg/monitor/datapath_policy.go."""
        layer4 = 2 if self.ports.low or self.ports.icmp_type is not None else int(self.ports.protocol != "any")
        return ((4, 6, 3), (1, 5, 2))[self.peers != EVERYBODY][layer4]


@dataclass(frozen=True, slots=True)
class HttpMatch:
    """Packets that go through Envoy, and the requests that it lets pass. No rules: every request."""

    match: Match
    rules: tuple[HttpRule, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsMatch:
    """Packets that go through the DNS proxy, and the lookups that it lets pass."""

    match: Match
    rules: tuple[DnsRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of one endpoint, in order of precedence: deny, http and dns, allow, and if ``enforced`` a drop.

    What is both in ``allow`` and in ``http`` (or ``dns``) goes through the proxy, which lets everything pass.
    """

    enforced: bool = False
    deny: tuple[Match, ...] = ()
    allow: tuple[Match, ...] = ()
    http: tuple[HttpMatch, ...] = ()
    dns: tuple[DnsMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod of the node."""

    address: IPv4Address
    interface: str
    ingress: Direction = Direction()
    egress: Direction = Direction()


@dataclass(frozen=True, slots=True)
class NodeProgram:
    """Everything that one node enforces.

    ``managed`` are the addresses that belong to the cluster, ``named`` those that the DNS proxy has put into each of
    its sets: the packet filter has sets of its own, Envoy must be told.
    """

    endpoints: tuple[Endpoint, ...] = ()
    managed: tuple[IPv4Address, ...] = ()
    named: Mapping[str, tuple[IPv4Address, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def fqdn_sets(self) -> frozenset[str]:
        """Names of the sets that the DNS proxy fills."""
        return frozenset(
            match.peers.fqdn
            for endpoint in self.endpoints
            for match in (*endpoint.egress.allow, *(http.match for http in endpoint.egress.http), *endpoint.egress.deny)
            if match.peers.fqdn is not None
        )

    @property
    def fqdn_sets_of_envoy(self) -> frozenset[str]:
        """Names of the sets whose addresses Envoy must know: those of endpoints with HTTP rules for egress."""
        with_http = tuple(endpoint for endpoint in self.endpoints if endpoint.egress.http)
        return NodeProgram(with_http).fqdn_sets

    @property
    def redirects(self) -> int:
        """How many (endpoint, direction, ports) go through a proxy, as Cilium's ``cilium_proxy_redirects`` counts."""
        return sum(len(ports) for ports in self.proxied().values())

    def proxied(self) -> dict[str, set[tuple[IPv4Address, str, Ports]]]:
        """Redirects by protocol, ``http`` and ``dns``: (endpoint, direction, ports)."""
        found: dict[str, set[tuple[IPv4Address, str, Ports]]] = {"http": set(), "dns": set()}
        for endpoint in self.endpoints:
            for name, direction in (("ingress", endpoint.ingress), ("egress", endpoint.egress)):
                found["http"] |= {(endpoint.address, name, http.match.ports) for http in direction.http}
                found["dns"] |= {(endpoint.address, name, dns.match.ports) for dns in direction.dns}
        return found
