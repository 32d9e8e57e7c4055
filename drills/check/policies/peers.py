"""Whom a rule's peers really mean: everybody, nobody, or somebody else than it looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import samples, words
from drills.check.policies.case import Element
from drills.check.policies.examples import ingress
from drills.check.policies.given import Given
from drills.cilium.decide import INGRESS
from drills.cilium.entries import Entry
from drills.cilium.peers import AnyPeer, EntityPeer
from drills.source import KeyPath

_PEERS: Final = ("Endpoints", "Requires", "CIDR", "CIDRSet", "Entities", "Groups", "Nodes", "Services", "FQDNs")

WITHOUT_PEER = Rule(
    name="cilium/ports-without-peer",
    level=Level.WARNING,
    title="Ports without a peer: everybody is meant, the world included",
    problem="An element with `toPorts` and no peer beside it does not restrict who the peer is.",
    effect="The ports are open to (or towards) every pod, every node and every address outside of the cluster.",
    fix="Name the peer: fromEndpoints, fromEntities, toEndpoints, toEntities, toFQDNs or toCIDR in the same element. "
    "If everybody is meant, say so with the entity `all`.",
    wrong=ingress('- toPorts: [{ports: [{port: "80", protocol: TCP}]}]\n'),
    right=ingress('- fromEntities: [all]\n  toPorts: [{ports: [{port: "80", protocol: TCP}]}]\n'),
    source="Cilium 1.20 pkg/policy/api/ingress.go and egress.go (comments on FromEndpoints and ToEndpoints)",
)
EMPTY_PEERS = Rule(
    name="cilium/empty-peer-list",
    level=Level.WARNING,
    title="An empty list of peers means nobody",
    problem="`fromEndpoints: []` is not `fromEndpoints: [{}]`: the first means nobody, the second all pods.",
    effect="The element allows (or denies) nobody at all, and still brings default deny.",
    fix="`[{}]` means all pods of the policy's namespace. To allow nobody, an empty element `{}` says it more plainly.",
    wrong=ingress("- fromEndpoints: []\n"),
    right=ingress("- fromEndpoints: [{}]\n"),
    source="Cilium 1.20 pkg/policy/api/ingress.go (comment on FromEndpoints), pkg/policy/rule.go",
)
ENTITY = Rule(
    name="cilium/entity-all",
    level=Level.WARNING,
    title="A wide entity beside narrow rules",
    problem="`all` or `cluster` in one element, and narrower elements beside it: elements add up, so that the wide one "
    "decides.",
    effect="The narrow elements restrict nothing of what the entity lets in.",
    fix="Remove the entity, or give it the ports that everybody may use.",
    wrong=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "80", protocol: TCP}]}]
        - fromEntities: [cluster]
        """),
    right=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "80", protocol: TCP}]}]
        - fromEntities: [cluster]
          toPorts: [{ports: [{port: "9090", protocol: TCP}]}]
        """),
    source="Cilium 1.20 pkg/policy/api/entity.go, pkg/policy/rule.go",
)
CIDR = Rule(
    name="cilium/cidr-for-pods",
    level=Level.WARNING,
    title="A block of private addresses, where pods may be meant",
    problem="The block is one that clusters often use for their pods or Services. CIDR rules never match what Cilium "
    "manages: pods, nodes and the host have identities, not addresses.",
    effect="No pod is meant, whatever its address: the rule is about machines outside of the cluster only.",
    fix="Name pods by labels (fromEndpoints, toEndpoints), all of the cluster by `cluster`. For machines outside of "
    "it, write their block as narrowly as it is.",
    wrong=ingress("- fromCIDR: [10.0.0.0/8]\n"),
    right=ingress("- fromCIDR: [10.20.30.0/26]\n"),
    source="Cilium documentation, Layer 3 policies, CIDR based; Cilium 1.20 pkg/policy/api/cidr.go",
)
RULES = (WITHOUT_PEER, EMPTY_PEERS, ENTITY, CIDR)

_PRIVATE: Final = tuple(
    ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Blocks that pods and Services have by default: Cilium (10.0.0.0/8, fd00::/104), kubeadm (10.96.0.0/12), k3s
# (10.42.0.0/15), EKS (172.20.0.0/16; 100.64.0.0/10 for pods of a network of their own), GKE (100.64.0.0/10). Not
# 192.168.0.0/16, which other networks than Cilium's take: it is where offices are.
_PODS: Final = tuple(ip_network(each) for each in ("10.0.0.0/8", "172.20.0.0/16", "100.64.0.0/10", "fd00::/104"))
_WIDE: Final = {4: 24, 6: 112}  # of each IP version; a longer prefix is about single machines


def check(given: Given) -> Iterator[Finding]:
    """Peers that mean more or less than it looks."""
    for element in given.elements:
        yield from _without_peer(element)
        yield from _empty_peers(element)
        yield from _blocks(element)
    for siblings in _by_section(given.elements):
        yield from _entities(siblings)


def _without_peer(element: Element) -> Iterator[Finding]:
    open_ = [each for each in element.entries if isinstance(each.peer, AnyPeer)]
    if element.denies or not open_ or not element.model.to_ports or not element.default_deny:
        return
    if _unknown_inside(element):  # its effect says it already
        return
    place = element.case.manifest.key_place(*element.path, "toPorts")
    who = words.peer(AnyPeer(), element.direction)
    text = f"{words.ports(open_)} is open {'from' if element.direction == INGRESS else 'to'} {who}"
    what = words.application(open_[0])
    subject = words.pods(element.subject)
    traffic = words.TRAFFIC[element.direction]
    effect = f"{traffic.capitalize()} of {subject} is allowed {words.allowed(open_, element.direction)}."
    limit = " Only the requests are restricted, not who makes them." if what else ""
    yield WITHOUT_PEER.at(place, text, effect=effect + limit, span=len("toPorts"))


def _unknown_inside(element: Element) -> bool:
    path = element.path
    return any(each.path[: len(path)] == path for each in element.case.unknown)


def _empty_peers(element: Element) -> Iterator[Finding]:
    data = element.case.manifest.data
    found = _at(data, element.path)
    for kind in _PEERS:
        key = f"{'from' if element.direction == INGRESS else 'to'}{kind}"
        if isinstance(found, dict) and found.get(key) == [] and kind != "Requires" and not element.entries:
            traffic = words.TRAFFIC[element.direction]
            verb = "denies" if element.denies else "allows"
            rest = f"; all other {traffic} is denied" if element.default_deny and not element.denies else ""
            effect = f"The element {verb} {words.pods(element.subject)} no {traffic}: an empty list means nobody{rest}."
            place = element.case.manifest.key_place(*element.path, key)
            yield EMPTY_PEERS.at(place, f"{key} is empty", effect=effect, span=len(key))


def _at(data: object, path: KeyPath) -> object:
    for step in path:
        data = data[step]  # type: ignore[index]  # the element was read from there
    return data


def _by_section(elements: Iterable[Element]) -> list[list[Element]]:
    found: dict[tuple[int, KeyPath, str], list[Element]] = {}
    for each in elements:
        if not each.denies:
            found.setdefault((id(each.case), each.at, each.section), []).append(each)
    return [each for each in found.values() if len(each) > 1]


def _entities(siblings: list[Element]) -> Iterator[Finding]:
    """Elements with a wide entity, and the narrower ones beside them."""
    wide = [each for each in siblings if _wide(each)]
    narrow = [each for each in siblings if not _wide(each) and each.model != type(each.model)()]
    for element in wide:
        entries = [each for each in element.entries if isinstance(each.peer, EntityPeer) and _is_wide(each.peer)]
        covered = [each for each in narrow if _covered(each, entries)]
        everything = any(each.port is None for each in entries)
        if not covered and not (everything and narrow):
            continue
        yield _entity(element, entries, covered)


def _entity(element: Element, entries: list[Entry], covered: list[Element]) -> Finding:
    key = "fromEntities" if element.direction == INGRESS else "toEntities"
    names = getattr(element.model, "from_entities" if element.direction == INGRESS else "to_entities")
    index, name = next((index, each) for index, each in enumerate(names) if each in {"all", "cluster"})
    traffic = words.TRAFFIC[element.direction]
    effect = (
        f"{words.pods(element.subject).capitalize()}: {traffic} is allowed {words.allowed(entries, element.direction)}."
    )
    if covered:
        paths = words.listed(f"{each.section}[{each.index}]" for each in covered)
        effect += f" {paths} restrict{'s' if len(covered) == 1 else ''} nothing beside it."
    place = element.case.manifest.place(*element.path, key, index)
    text = f"`{name}` is wider than the other elements of {element.section}"
    return ENTITY.at(place, text, effect=effect, span=len(name))


def _is_wide(peer: EntityPeer) -> bool:
    return peer.entity in {"all", "cluster"}


def _wide(element: Element) -> bool:
    return any(isinstance(each.peer, EntityPeer) and _is_wide(each.peer) for each in element.entries)


def _covered(element: Element, wide: list[Entry]) -> bool:
    """Whether the wide entries allow all that the element allows; an entry that means nobody known is not covered."""
    pairs = [(entry, list(samples.remotes(entry.peer))) for entry in element.entries]
    return bool(pairs) and all(
        bool(remotes)
        and all(any(broad.matches(each, *samples.port(entry.port), {}) for broad in wide) for each in remotes)
        for entry, remotes in pairs
    )


def _blocks(element: Element) -> Iterator[Finding]:
    if element.denies:
        return
    way = "from" if element.direction == INGRESS else "to"
    plain = getattr(element.model, f"{way}_cidr") or ()
    sets = getattr(element.model, f"{way}_cidr_set") or ()
    found: list[tuple[KeyPath, str]] = [((f"{way}CIDR", index), each) for index, each in enumerate(plain)]
    found += [((f"{way}CIDRSet", index, "cidr"), each.cidr) for index, each in enumerate(sets) if each.cidr]
    for path, text in found:
        block = ip_network(text, strict=False)
        if block.prefixlen <= _WIDE[block.version] and any(_inside(block, each) for each in _PRIVATE):
            level = Level.WARNING if any(_overlap(block, each) for each in _PODS) else Level.NOTE
            traffic = words.TRAFFIC[element.direction]
            effect = (
                f"Machines outside of the cluster in {block} are allowed; {traffic} {way} pods, nodes and the host is "
                "not, whatever their addresses."
            )
            place = element.case.manifest.place(*element.path, *path)
            yield CIDR.at(place, f"{text} never means pods", effect=effect, level=level, span=len(text))


def _inside(block: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return block.version == outer.version and block.prefixlen >= outer.prefixlen and block[0] in outer


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return _inside(one, other) or _inside(other, one)
