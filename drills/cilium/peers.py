"""Peers of rules: whom an element of ``ingress`` or ``egress`` is about.

Two questions are asked of a peer: whether it means a known identity (for sets of pods), and whether it means a remote
end with an address and names (for a flow). Blocks of addresses and DNS names only ever mean what is outside of the
cluster. Facts: Cilium 1.20 ``pkg/policy/api/entity.go``, ``pkg/policy/utils/parserules.go``, and the documentation on
CIDR rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Final

from drills.cilium.labels import CLUSTER, SOURCE_K8S, SOURCE_RESERVED, Identity
from drills.cilium.patterns import dns_matches
from drills.cilium.ports import NamedPorts
from drills.cilium.selector import Selector

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Remote:
    """One end of a flow, seen from the other.

    ``names`` are the DNS names under which the other end has learnt the address through Cilium's DNS proxy; without a
    lookup that the policy allows there are none.
    """

    identity: Identity
    address: Address | None = None
    names: frozenset[str] = frozenset()
    named_ports: NamedPorts = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class AnyPeer:
    """Everybody, the world included: ports without a peer beside them."""

    def matches_identity(self, identity: Identity) -> bool:  # noqa: ARG002 - one signature for all peers
        """Always."""
        return True

    def matches(self, remote: Remote) -> bool:  # noqa: ARG002 - one signature for all peers
        """Always."""
        return True

    def __str__(self) -> str:
        return "any peer"


@dataclass(frozen=True, slots=True)
class EndpointSelectorPeer:
    """Pods (or what has a reserved label) by their labels."""

    selector: Selector

    def matches_identity(self, identity: Identity) -> bool:
        """Whether the selector selects the identity's labels."""
        return self.selector.matches(identity.labels)

    def matches(self, remote: Remote) -> bool:
        """Whether the selector selects the remote end's labels."""
        return self.matches_identity(remote.identity)

    def __str__(self) -> str:
        return f"endpoints {self.selector}"


_CLUSTER_ENTITIES: Final = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")


@dataclass(frozen=True, slots=True)
class EntityPeer:
    """A class of peers: ``world``, ``host``, ``cluster``, ``all`` and so on."""

    entity: str

    def matches_identity(self, identity: Identity) -> bool:
        """Whether the identity is of the class."""
        if self.entity == "all":
            return True
        if self.entity in {"cluster", "cluster-mesh"}:
            inside = any(f"{SOURCE_RESERVED}:{name}" in identity.labels for name in _CLUSTER_ENTITIES)
            return inside or f"{SOURCE_K8S}:{CLUSTER}" in identity.labels
        return f"{SOURCE_RESERVED}:{self.entity}" in identity.labels  # "none" is nobody's label

    def matches(self, remote: Remote) -> bool:
        """Whether the remote end is of the class."""
        return self.matches_identity(remote.identity)

    def __str__(self) -> str:
        return f"entity {self.entity}"


@dataclass(frozen=True, slots=True)
class CidrPeer:
    """Addresses outside of the cluster, by block. It never means a pod, a node or the host, whatever their address."""

    cidr: Network
    except_: tuple[Network, ...] = ()

    def matches_identity(self, identity: Identity) -> bool:  # noqa: ARG002 - one signature for all peers
        """Never: what is known by identity is no block of addresses."""
        return False

    def matches(self, remote: Remote) -> bool:
        """Whether the remote end is outside of the cluster and its address lies in the block."""
        address = remote.address
        if address is None or not remote.identity.outside:
            return False
        return address in self.cidr and not any(address in each for each in self.except_)

    def __str__(self) -> str:
        exceptions = f" except {', '.join(map(str, self.except_))}" if self.except_ else ""
        return f"cidr {self.cidr}{exceptions}"


@dataclass(frozen=True, slots=True)
class FqdnPeer:
    """Addresses outside of the cluster, by a DNS name that the endpoint has looked up through the DNS proxy."""

    name: str | None = None
    pattern: str | None = None

    def matches_identity(self, identity: Identity) -> bool:  # noqa: ARG002 - one signature for all peers
        """Never: what is known by identity is no DNS name."""
        return False

    def matches_name(self, name: str) -> bool:
        """Whether a DNS name is meant; case and a final dot do not matter."""
        return dns_matches(name, match_name=self.name, match_pattern=self.pattern)

    def matches(self, remote: Remote) -> bool:
        """Whether the remote end is outside of the cluster and was looked up under a name that is meant."""
        return remote.identity.outside and any(self.matches_name(name) for name in remote.names)

    def __str__(self) -> str:
        return f"fqdn {self.name or self.pattern}"


@dataclass(frozen=True, slots=True)
class ServicePeer:
    """A Service: the pods that it selects, and where it selects none, the outside addresses of its endpoints."""

    namespace: str
    name: str
    selectors: tuple[Selector, ...] = ()
    addresses: frozenset[Address] = frozenset()

    def matches_identity(self, identity: Identity) -> bool:
        """Whether the Service selects the identity's labels."""
        return any(each.matches(identity.labels) for each in self.selectors)

    def matches(self, remote: Remote) -> bool:
        """Whether the remote end is behind the Service."""
        return self.matches_identity(remote.identity) or (remote.identity.outside and remote.address in self.addresses)

    def __str__(self) -> str:
        return f"service {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class UnmodelledPeer:
    """A peer whose members this model does not know: CIDR groups, cloud groups, nodes by labels. It means nobody."""

    what: str

    def matches_identity(self, identity: Identity) -> bool:  # noqa: ARG002 - one signature for all peers
        """Never."""
        return False

    def matches(self, remote: Remote) -> bool:  # noqa: ARG002 - one signature for all peers
        """Never."""
        return False

    def __str__(self) -> str:
        return self.what


Peer = AnyPeer | EndpointSelectorPeer | EntityPeer | CidrPeer | FqdnPeer | ServicePeer | UnmodelledPeer


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """What is behind a Service: the pod labels that it selects (None where it selects none), and outside addresses."""

    selector: Mapping[str, str] | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    addresses: frozenset[Address] = frozenset()


Services = Mapping[tuple[str, str], ServiceTarget]
"""(namespace, name) -> what is behind the Service."""


def cidr_peer(cidr: str, except_: Iterator[str] | tuple[str, ...] = ()) -> CidrPeer:
    """A peer from texts; they must have passed Sanitize."""
    return CidrPeer(ip_network(cidr, strict=False), tuple(ip_network(each, strict=False) for each in except_))


def address(text: str) -> Address:
    """An address from its text."""
    return ip_address(text)
