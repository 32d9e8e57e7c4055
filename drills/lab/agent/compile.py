"""From Cilium's policy model to what a node enforces: identities become addresses, entries become matches.

Pure: the same cluster and policies always give the same program. What wins over what is as in
`drills.cilium.decide.DirectionPolicy.lookup`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from drills.cilium.decide import DirectionPolicy, EndpointPolicy, Policies
from drills.cilium.entries import EGRESS, Entry, PolicyRef
from drills.cilium.labels import WORLD, Identity
from drills.cilium.peers import AnyPeer, CidrPeer, FqdnPeer, Network, Peer, ServicePeer
from drills.cilium.ports import ICMP, ICMPV6, NamedPort, PortRange
from drills.lab import plan
from drills.lab.agent.cluster import Cluster, Pod
from drills.lab.agent.program import (
    EVERYBODY,
    Direction,
    DnsMatch,
    Endpoint,
    HttpMatch,
    Match,
    NodeProgram,
    Peers,
    Ports,
)


class PolicyNumbers:
    """Small numbers for policies, for the kernel's log messages; a policy keeps its number."""

    def __init__(self) -> None:
        self._refs: list[PolicyRef] = []
        self._numbers: dict[PolicyRef, int] = {}

    def number(self, ref: PolicyRef) -> int:
        """The policy's number."""
        if ref not in self._numbers:
            self._numbers[ref] = len(self._refs)
            self._refs.append(ref)
        return self._numbers[ref]

    def policy(self, number: int) -> PolicyRef | None:
        """The policy behind a number; None if it was never given out."""
        return self._refs[number] if 0 <= number < len(self._refs) else None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A node's program, and the policy of each of its pods (by uid) that it came from."""

    program: NodeProgram
    policies: Mapping[str, EndpointPolicy]
    fqdns: Mapping[str, FqdnPeer]  # by the name of the set that holds the addresses


def compile_node(node: str, cluster: Cluster, policies: Policies, numbers: PolicyNumbers) -> Compiled:
    """What a node has to enforce."""
    resolver = _Resolver(node, cluster, numbers)
    endpoints: list[Endpoint] = []
    applied: dict[str, EndpointPolicy] = {}
    for pod in cluster.on(node):
        policy = policies.for_endpoint(pod.identity.labels)
        applied[pod.uid] = policy
        endpoints.append(
            Endpoint(
                address=pod.address,
                interface=plan.interface_of(str(pod.address)),
                ingress=resolver.direction(policy.ingress, pod),
                egress=resolver.direction(policy.egress, pod),
            )
        )
    program = NodeProgram(tuple(endpoints), tuple(sorted(resolver.identities)))
    return Compiled(program, applied, resolver.fqdns)


def fqdn_set_name(peer: FqdnPeer) -> str:
    """A name for the set of addresses behind a DNS name or pattern, good for nftables."""
    text = f"name {peer.name}" if peer.name else f"pattern {peer.pattern}"
    return hashlib.sha256(text.lower().encode()).hexdigest()[:12]


class _Resolver:
    """Entries to matches, as one node sees the cluster."""

    def __init__(self, node: str, cluster: Cluster, numbers: PolicyNumbers) -> None:
        self.identities = cluster.identities(node)
        self.fqdns: dict[str, FqdnPeer] = {}
        self._pods = cluster.by_address
        self._numbers = numbers

    def direction(self, policy: DirectionPolicy, pod: Pod) -> Direction:
        if not policy.enforced:
            return Direction()
        plain = [entry for entry in policy.allow if not entry.l7]
        return Direction(
            enforced=True,
            deny=_unique(match for entry in policy.deny for match in self._matches(entry, pod, policy.direction)),
            allow=_unique(match for entry in plain for match in self._matches(entry, pod, policy.direction)),
            http=tuple(
                HttpMatch(match, entry.http)
                for entry in policy.allow
                if entry.http is not None
                for match in self._matches(entry, pod, policy.direction)
            ),
            dns=tuple(
                DnsMatch(match, entry.dns)
                for entry in policy.allow
                if entry.dns is not None
                for match in self._matches(entry, pod, policy.direction)
            ),
        )

    def _matches(self, entry: Entry, pod: Pod, direction: str) -> Iterator[Match]:
        by = self._numbers.number(entry.origin)
        if isinstance(entry.port, NamedPort):
            yield from self._named(entry, entry.port, pod, direction, by)
            return
        if entry.port is not None and entry.port.protocol == ICMPV6:
            return  # there is no IPv6 here
        ports = Ports() if entry.port is None else _range(entry.port)
        yield from (Match(peers, ports, by) for peers in self._peers(entry.peer))

    def _named(self, entry: Entry, port: NamedPort, pod: Pod, direction: str, by: int) -> Iterator[Match]:
        if direction != EGRESS:  # the pod's own port
            own = port.resolve(pod.named_ports)
            if own is not None:
                yield from (Match(peers, _range(own), by) for peers in self._peers(entry.peer))
            return
        for address, other in self._pods.items():  # each destination's own
            found = port.resolve(other.named_ports)
            if found is not None and entry.peer.matches_identity(other.identity):
                yield Match(Peers((IPv4Network(address),)), _range(found), by)

    def _peers(self, peer: Peer) -> Iterator[Peers]:
        """Addresses of a peer; several where known addresses and the outside must be told apart."""
        match peer:
            case AnyPeer():
                yield EVERYBODY
            case CidrPeer():
                yield Peers(_less(peer.cidr, peer.except_), outside=True)
            case FqdnPeer():
                name = fqdn_set_name(peer)
                self.fqdns[name] = peer
                yield Peers(outside=True, fqdn=name)
            case _:
                yield from self._by_identity(peer.matches_identity)
                if isinstance(peer, ServicePeer) and peer.addresses:
                    outside = (IPv4Network(each) for each in peer.addresses if isinstance(each, IPv4Address))
                    yield Peers(tuple(sorted(outside)), outside=True)

    def _by_identity(self, means: Callable[[Identity], bool]) -> Iterator[Peers]:
        known = tuple(sorted(IPv4Network(address) for address, who in self.identities.items() if means(who)))
        world = means(WORLD)
        if world and len(known) == len(self.identities):
            yield EVERYBODY
            return
        if known:
            yield Peers(known)
        if world:
            yield Peers(outside=True)


def _range(port: PortRange) -> Ports:
    if port.protocol == ICMP:
        return Ports("icmp", icmp_type=port.first)
    if port.every:
        return Ports(port.protocol.lower())
    return Ports(port.protocol.lower(), port.first, port.last)


def _less(network: Network, exceptions: Iterable[Network]) -> tuple[IPv4Network, ...]:
    """The block without the exceptions, as blocks. Nothing for IPv6: the lab has none."""
    if not isinstance(network, IPv4Network):
        return ()
    left = [network]
    for hole in exceptions:
        if isinstance(hole, IPv4Network):
            left = [rest for block in left for rest in _without(block, hole)]
    return tuple(sorted(left))


def _without(block: IPv4Network, hole: IPv4Network) -> Iterator[IPv4Network]:
    if block.subnet_of(hole):
        return
    if hole.subnet_of(block):
        yield from block.address_exclude(hole)
    else:
        yield block


def _unique(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(dict.fromkeys(matches))
