"""The packet filter of a node: a `NodeProgram` as one nftables transaction.

All policy sits in prerouting at priority -90 (after destination NAT): first the egress chain of the pod that a
packet comes from, then the ingress chain of the pod that it goes to. Only packets in the original direction of
their connection are judged, each of them, so that a change of policy also hits established connections, as in
Cilium. What the node itself sends goes through output: local host is allowed, unless a rule denies it.

HTTP goes to Envoy by TPROXY. Envoy goes on in the client's name (``original_src``), marked `FROM_EGRESS_PROXY` or
`FROM_INGRESS_PROXY`, and the connection keeps that mark, by which the answers find back to Envoy. What leaves the
egress proxy for a pod of the same node never passes prerouting: the output hook judges it with the same ingress
chains, and sends it round by ``lo`` if that pod's policy wants a proxy too.

A reload is ``add`` and ``flush`` in one transaction: no packet sees half of it, and counters live on (LAB.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, collapse_addresses

from drills.lab.agent.program import Direction, Endpoint, Match, NodeProgram, Peers, Ports

TABLE = "ip cilium"
LOG_GROUP = 5

TO_PROXY = 0x200  # Cilium's MARK_MAGIC_TO_PROXY
FROM_EGRESS_PROXY = 0x300
FROM_INGRESS_PROXY = 0x400
MARK_MASK = 0xF00
PROXY_TABLE = 100

INGRESS_PORT = 15001
EGRESS_PORT = 15002
DNS_PORT = 15053

DENIED_BY_DEFAULT = 133  # "Policy denied": Cilium 1.20, pkg/monitor/api/drop.go
DENIED_BY_RULE = 181  # "Policy denied by denylist"
INVALID_SOURCE = 132  # "Invalid source ip"

ROUTES = (
    f"rule add fwmark {TO_PROXY:#x}/{MARK_MASK:#x} lookup {PROXY_TABLE}",
    f"route add local 0.0.0.0/0 dev lo table {PROXY_TABLE}",
)
"""`ip` commands that deliver marked packets to the node's own sockets; run once in the node's namespace."""


def counter(direction: str, reason: int) -> str:
    """Name of the counter of dropped packets."""
    return f"drop_{direction}_{reason}"


def fqdn_set(name: str) -> str:
    """Name of the nftables set behind a `Peers.fqdn`."""
    return f"fqdn_{name}"


FORWARDED = {"ingress": "forward_ingress", "egress": "forward_egress"}
DROPPED = {
    counter(direction, reason): (direction, reason)
    for direction in ("ingress", "egress")
    for reason in (DENIED_BY_DEFAULT, DENIED_BY_RULE, *((INVALID_SOURCE,) if direction == "egress" else ()))
}
"""Counters of dropped packets: name -> (direction, reason)."""
UNPROXIED = "drop_unproxied"
_WITHOUT_NAME = {"igmp": "2", "vrrp": "112"}  # not every machine's /etc/protocols has them


def names_of(program: NodeProgram) -> frozenset[str]:
    """Chains and sets that exist only because of this program: ``chain in_...``, ``set fqdn_...``."""
    chains = (f"chain {prefix}_{_id(e.address)}" for e in program.endpoints for prefix in ("in", "eg", "hd"))
    return frozenset((*chains, *(f"set {fqdn_set(name)}" for name in program.fqdn_sets)))


def script(program: NodeProgram, stale: Iterable[str] = ()) -> str:
    """The whole transaction. ``stale`` are names (of `names_of`) that an earlier program left behind."""
    return "\n".join((*_declarations(program), *_base_rules(program), *_endpoint_rules(program), *_end(stale), ""))


def _declarations(program: NodeProgram) -> Iterator[str]:
    yield f"add table {TABLE}"
    for name in (*DROPPED, *FORWARDED.values(), UNPROXIED):
        yield f"add counter {TABLE} {name}"
    yield f"add set {TABLE} managed {{ type ipv4_addr; }}"
    for name in sorted(program.fqdn_sets):
        yield f"add set {TABLE} {fqdn_set(name)} {{ type ipv4_addr; flags timeout; }}"
    yield f"add chain {TABLE} prerouting {{ type filter hook prerouting priority -90; }}"
    yield f"add chain {TABLE} output {{ type route hook output priority -150; }}"
    yield f"add chain {TABLE} from_pods {{ type filter hook prerouting priority -80; }}"
    yield f"add chain {TABLE} to_pods {{ type filter hook postrouting priority 300; }}"
    for endpoint in program.endpoints:
        yield f"add chain {TABLE} in_{_id(endpoint.address)}"
        yield f"add chain {TABLE} eg_{_id(endpoint.address)}"
        yield f"add chain {TABLE} hd_{_id(endpoint.address)}"
    yield f"add chain {TABLE} from_host"
    yield f"flush table {TABLE}"  # the rules of all chains; sets and counters stay
    yield f"flush set {TABLE} managed"
    if program.managed:
        yield f"add element {TABLE} managed {{ {_list(program.managed)} }}"


def _base_rules(program: NodeProgram) -> Iterator[str]:
    ingress = _verdict_map("ip daddr", ((str(e.address), f"jump in_{_id(e.address)}") for e in program.endpoints))
    egress = _verdict_map("iifname", ((f'"{e.interface}"', f"jump eg_{_id(e.address)}") for e in program.endpoints))
    proxied = f"meta mark and {MARK_MASK:#x} == {TO_PROXY:#x}"
    to_proxy = f"{proxied} meta l4proto tcp tproxy to 127.0.0.1:{INGRESS_PORT} accept"
    ours = f"{{ {FROM_EGRESS_PROXY:#x}, {FROM_INGRESS_PROXY:#x} }}"
    yield from _rules(
        "prerouting",
        # what the output hook sent round, for the ingress proxy
        f'iifname "lo" ct direction original {to_proxy}',
        # answers to what a proxy sent in a pod's name
        f"ct direction reply ct mark {ours} meta mark set {TO_PROXY:#x} accept",
        "ct direction reply accept",
        "ct state related accept",
        _unknown_pods(program),
        *egress,
        *ingress,
        to_proxy,
        f"{proxied} counter name {UNPROXIED} drop",  # no proxy listens: closed, and not counted as a denial
    )
    yield from _rules(
        "output",
        # an answer to the egress proxy, from a listener of this node
        f"ct direction reply ct mark {FROM_EGRESS_PROXY:#x} meta mark set {TO_PROXY:#x} accept",
        "ct direction reply accept",
        "ct state related accept",
        f"meta mark and {MARK_MASK:#x} == {FROM_INGRESS_PROXY:#x} ct mark set {FROM_INGRESS_PROXY:#x} accept",
        f"meta mark and {MARK_MASK:#x} != {FROM_EGRESS_PROXY:#x} goto from_host",
        f"ct mark set {FROM_EGRESS_PROXY:#x}",
        *ingress,
    )
    denied = ((str(e.address), f"goto hd_{_id(e.address)}") for e in program.endpoints if e.ingress.deny)
    yield from _rules("from_host", *_verdict_map("ip daddr", denied))
    yield from _rules("from_pods", f'iifname "lxc*" counter name {FORWARDED["egress"]}')
    yield from _rules("to_pods", f'oifname "lxc*" counter name {FORWARDED["ingress"]}')


def _unknown_pods(program: NodeProgram) -> str:
    known = ", ".join(f'"{e.interface}"' for e in program.endpoints)
    return f'iifname "lxc*" iifname != {{ {known} }} drop' if known else 'iifname "lxc*" drop'


def _endpoint_rules(program: NodeProgram) -> Iterator[str]:
    for endpoint in program.endpoints:
        yield from _rules(f"eg_{_id(endpoint.address)}", *_egress(endpoint))
        yield from _rules(f"in_{_id(endpoint.address)}", *_ingress(endpoint))
        yield from _rules(f"hd_{_id(endpoint.address)}", *_denied("ingress", "ip saddr", endpoint.ingress))


def _egress(endpoint: Endpoint) -> Iterator[str]:
    yield f"ip saddr != {endpoint.address} {_drop('egress', INVALID_SOURCE)}"
    direction = endpoint.egress
    yield from _denied("egress", "ip daddr", direction)
    for dns in direction.dns:
        for condition in _conditions("ip daddr", dns.match):
            yield f"{condition} meta mark set {TO_PROXY:#x} tproxy to 127.0.0.1:{DNS_PORT} accept".lstrip()
    for http in direction.http:
        for condition in _conditions("ip daddr", http.match):
            yield f"{condition} meta mark set {TO_PROXY:#x} tproxy to 127.0.0.1:{EGRESS_PORT} accept".lstrip()
    if direction.http or direction.dns:
        # redirected, but nobody listens there: tproxy gave up and the rules went on
        yield f"meta mark and {MARK_MASK:#x} == {TO_PROXY:#x} counter name {UNPROXIED} drop"
    yield from _allowed("ip daddr", direction)
    if direction.enforced:
        yield _drop("egress", DENIED_BY_DEFAULT)


def _ingress(endpoint: Endpoint) -> Iterator[str]:
    direction = endpoint.ingress
    yield from _denied("ingress", "ip saddr", direction)
    for http in direction.http:
        for condition in _conditions("ip saddr", http.match):
            yield f"{condition} meta mark set {TO_PROXY:#x} return".lstrip()
    yield from _allowed("ip saddr", direction)
    if direction.enforced:
        yield _drop("ingress", DENIED_BY_DEFAULT)


def _denied(name: str, field: str, direction: Direction) -> Iterator[str]:
    for match in direction.deny:
        for condition in _conditions(field, match):
            yield f"{condition} {_drop(name, DENIED_BY_RULE, match)}".lstrip()


def _allowed(field: str, direction: Direction) -> Iterator[str]:
    for match in direction.allow:
        for condition in _conditions(field, match):
            yield f"{condition} return".lstrip()


def _drop(direction: str, reason: int, match: Match | None = None) -> str:
    prefix = f"{direction} {reason}" if match is None else f"{direction} {reason} {match.by} {match.kind}"
    return f'counter name {counter(direction, reason)} log prefix "{prefix}" group {LOG_GROUP} snaplen 96 drop'


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the prefix of a dropped packet's log message says. ``by`` is a policy's number, None for default deny."""

    direction: str
    reason: int
    by: int | None = None
    match_type: int = 0


def parse_log_prefix(prefix: str) -> Dropped:
    """Read a prefix. Raises ValueError for a foreign one."""
    direction, reason, *rest = prefix.split()
    if direction not in FORWARDED or len(rest) not in (0, 2):
        raise ValueError(f"not a prefix of ours: {prefix!r}")
    return Dropped(direction, int(reason), *(int(number) for number in rest))


def _conditions(field: str, match: Match) -> Iterator[str]:
    """One condition per alternative that a single rule cannot hold; none if nobody is meant."""
    if match.peers.nobody:
        return
    for ports in _ports(match.ports):
        yield " ".join(part for part in (*_peers(field, match.peers), ports) if part)


def _peers(field: str, peers: Peers) -> Iterator[str]:
    if peers.outside:
        yield f"{field} != @managed"
    if peers.fqdn is not None:
        yield f"{field} @{fqdn_set(peers.fqdn)}"
    elif peers.networks is not None:
        yield f"{field} {{ {_list(collapse_addresses(peers.networks))} }}"


def _ports(ports: Ports) -> tuple[str, ...]:
    if ports.protocol == "icmp":
        return (f"icmp type {ports.icmp_type}" if ports.icmp_type is not None else "meta l4proto icmp",)
    if not ports.low:
        number = _WITHOUT_NAME.get(ports.protocol, ports.protocol)
        return ("" if ports.protocol == "any" else f"meta l4proto {number}",)
    number = str(ports.low) if ports.low == ports.high else f"{ports.low}-{ports.high}"
    if ports.protocol == "any":
        return (f"meta l4proto {{ tcp, udp, sctp }} th dport {number}",)
    return (f"{ports.protocol} dport {number}",)


def _end(stale: Iterable[str]) -> Iterator[str]:
    for name in sorted(stale):  # chains before sets: a set can only go when no rule uses it
        kind, _, rest = name.partition(" ")
        yield f"delete {kind} {TABLE} {rest}"


def _verdict_map(field: str, entries: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    inside = ", ".join(f"{key} : {verdict}" for key, verdict in entries)
    return (f"{field} vmap {{ {inside} }}",) if inside else ()


def _rules(chain: str, *rules: str) -> Iterator[str]:
    for rule in rules:
        yield f"add rule {TABLE} {chain} {rule}"


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)


def _id(address: IPv4Address) -> str:
    return str(address).replace(".", "_")
