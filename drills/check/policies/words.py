"""Entries, peers, ports and requests in the words of a finding's effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from drills.check.policies.given import namespaces_of, without_namespace
from drills.cilium.decide import EGRESS, INGRESS, Direction
from drills.cilium.entries import Entry
from drills.cilium.l7 import DnsRule, HttpRule
from drills.cilium.labels import NAMESPACE, SOURCE_RESERVED
from drills.cilium.peers import (
    AnyPeer,
    CidrPeer,
    EndpointSelectorPeer,
    EntityPeer,
    FqdnPeer,
    Peer,
)
from drills.cilium.ports import WITH_PORTS, PortRange
from drills.cilium.selector import Operator, Selector

TRAFFIC: Final = {INGRESS: "ingress", EGRESS: "egress"}
_MOST: Final = 4  # things that are listed before "and N more"
_ENTITIES: Final = {
    "all": "everybody, the world included",
    "world": "everything outside of the cluster",
    "cluster": "everything in the cluster, every pod of every namespace",
    "cluster-mesh": "everything in any cluster of the mesh",
}


def listed(items: Iterable[str], word: str = "and") -> str:
    """``a, b and c``, each once; a long list is cut and says so."""
    found = list(dict.fromkeys(items))
    if len(found) > _MOST:
        found = [*found[: _MOST - 1], f"{len(found) - _MOST + 1} more"]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} {word} {found[-1]}" if found else ""


def capital(text: str) -> str:
    """The text with a capital at its start, and otherwise as it is."""
    return text[:1].upper() + text[1:]


def pods(selector: Selector) -> str:
    """``pods app=api of namespace backend``."""
    if any(each.source == SOURCE_RESERVED for each in selector.requirements):
        return f"endpoints {selector}"
    rest = without_namespace(selector)
    which = f"pods {rest}" if rest.requirements else "all pods"
    where = namespaces_of(selector)
    if where:
        return f"{which} of namespace {listed(where, 'or')}"
    other = [each for each in selector.requirements if each.key == NAMESPACE and each.operator is not Operator.EXISTS]
    return (
        f"{which} of namespaces other than {listed(other[0].values, 'and')}" if other else f"{which} of every namespace"
    )


def peer(found: Peer, direction: Direction) -> str:
    """Whom a peer means."""
    match found:
        case AnyPeer():
            return "everybody, the world included" if direction == INGRESS else "every host, the world included"
        case EndpointSelectorPeer():
            return pods(found.selector)
        case EntityPeer():
            return _ENTITIES.get(found.entity, f"the entity {found.entity}")
        case CidrPeer():
            return f"addresses in {str(found).removeprefix('cidr ')} outside of the cluster"
        case FqdnPeer():
            return f"hosts looked up as {found.name or found.pattern}"
        case _:
            return str(found)


def ports(entries: Sequence[Entry]) -> str:
    """``port 80/TCP``, ``every port``; the protocols of ANY are named once."""
    if any(each.port is None for each in entries):
        return "every port"
    texts = [str(each.port) for each in entries]
    folded = []
    for text in dict.fromkeys(texts):
        number, _, protocol = text.rpartition("/")
        every = all(f"{number}/{other}" in texts for other in WITH_PORTS)
        folded.append(f"{number} (TCP, UDP, SCTP)" if every else f"{number}/{protocol}")
    if all(isinstance(each.port, PortRange) and each.port.protocol.startswith("ICMP") for each in entries):
        return f"ICMP type {listed(text.partition('/')[0] for text in folded)}"
    return f"port {listed(folded)}"


def request(rule: HttpRule) -> str:
    """``GET /api/.*``, ``any method on /admin/.*``, ``every request``."""
    if rule.wildcard:
        return "every request"
    text = f"{rule.method} {rule.path}" if rule.method and rule.path else ""
    text = text or (f"any method on {rule.path}" if rule.path else f"{rule.method} on any path" if rule.method else "")
    host = f"for host {rule.host}" if rule.host else ""
    headers = [f"{each.name}: {each.value}" if each.value is not None else each.name for each in rule.headers]
    with_ = f"with {listed(headers)}" if headers else ""
    return " ".join(part for part in (text or "any request", host, with_) if part)


def lookup(rule: DnsRule) -> str:
    """The names that may be looked up."""
    return rule.name or rule.pattern or "no name"


def application(entry: Entry) -> str:
    """What of the traffic is allowed; empty where all of it is."""
    if entry.http is not None:
        return f"requests {listed(request(each) for each in entry.http)}"
    if entry.dns is not None:
        return f"lookups of {listed(lookup(each) for each in entry.dns)}"
    return ""


def allowed(entries: Sequence[Entry], direction: Direction) -> str:
    """``from pods app=web of namespace a on port 80/TCP``; nobody where there are no entries."""
    way = "from" if direction == INGRESS else "to"
    if not entries:
        return f"{way} nobody"
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((peer(entry.peer, direction), application(entry)), []).append(entry)
    by_ports: dict[tuple[str, str], list[str]] = {}
    for (who, what), found in groups.items():
        by_ports.setdefault((ports(found), what), []).append(who)
    texts = [f"{way} {listed(who)} on {where}{f' ({what})' if what else ''}" for (where, what), who in by_ports.items()]
    return listed(texts)
