"""DNS: names that nobody can look up, and default deny that forgets that every connection begins with a lookup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import samples, words
from drills.check.policies.case import Element
from drills.check.policies.examples import egress
from drills.check.policies.given import Given, k8s
from drills.check.policies.index import BySelector
from drills.check.policies.kubernetes import may_look_up
from drills.cilium.decide import DirectionPolicy, is_endpoint
from drills.cilium.entries import EGRESS, Entry, PolicyRef
from drills.cilium.l7 import DnsRule, dns_allows
from drills.cilium.labels import CLUSTER, NAMESPACE, Identity, Labels
from drills.cilium.parts import FqdnSelector
from drills.cilium.patterns import dns_matches
from drills.cilium.peers import CidrPeer, EntityPeer, Remote, UnmodelledPeer
from drills.cilium.ports import matches

_PORT: Final = 53
_RESOLVER: Final = Remote(
    Identity(256, {k8s("k8s-app"): "kube-dns", k8s(NAMESPACE): "kube-system", k8s(CLUSTER): "default"})
)
_SELF: Final = PolicyRef("", None, "")
_NAMELESS: Final = ("host", "remote-node", "kube-apiserver", "health", "none", "init", "unmanaged", "ingress")

FQDN = Rule(
    name="cilium/fqdn-without-dns-rule",
    level=Level.ERROR,
    title="`toFQDNs` without a DNS rule that lets Cilium see the answers",
    problem="`toFQDNs` works on addresses that Cilium's DNS proxy has seen in answers. Without a rule for port 53 with "
    "`rules.dns`, for the same pods, lookups do not pass the proxy; with one that does not list the name, they are "
    "REFUSED.",
    effect="The name matches no address: every connection to it is dropped, although the policy lists it.",
    fix='Add an egress rule to kube-dns on port 53 with `rules: {dns: [{matchPattern: "*"}]}`, or with the names.',
    wrong=egress(
        """\
        - toEndpoints: [{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}]
          toPorts: [{ports: [{port: "53", protocol: ANY}]}]
        - toFQDNs: [{matchName: api.example.com}]
          toPorts: [{ports: [{port: "443", protocol: TCP}]}]
        """,
        dns=False,
    ),
    right=egress("""\
        - toFQDNs: [{matchName: api.example.com}]
          toPorts: [{ports: [{port: "443", protocol: TCP}]}]
        """),
    source="Cilium documentation, DNS based policies; Cilium 1.20 pkg/policy/api/egress.go (comment on ToFQDNs)",
)
NO_DNS = Rule(
    name="cilium/egress-without-dns",
    level=Level.WARNING,
    title="Default deny for egress, and no rule for DNS",
    problem="The policy allows some destinations and, by that, denies all others: the cluster's DNS among them.",
    effect="Every connection by name fails while the name is looked up, also to what the policy allows.",
    fix="Add an egress rule to kube-dns on port 53, here or in a policy for all pods of the namespace.",
    wrong=egress(
        """\
        - toEndpoints: [{matchLabels: {app: cache}}]
          toPorts: [{ports: [{port: "6379", protocol: TCP}]}]
        """,
        dns=False,
    ),
    right=egress("""\
        - toEndpoints: [{matchLabels: {app: cache}}]
          toPorts: [{ports: [{port: "6379", protocol: TCP}]}]
        """),
    source="Cilium documentation, Policy enforcement modes; Cilium 1.20 pkg/policy/repository.go",
)
RULES = (FQDN, NO_DNS)


def check(given: Given) -> Iterator[Finding]:
    """Egress that cannot look names up."""
    resolvers = _Resolvers(given)
    rules: dict[tuple[int, tuple[str | int, ...]], list[Element]] = {}
    for element in given.elements:
        if element.section == "egress":
            rules.setdefault((id(element.case), element.at), []).append(element)
    for elements in rules.values():
        entries = [entry for each in elements for entry in each.entries]
        own = DirectionPolicy(EGRESS, enforced=True, allow=tuple(entries), default_deny_by=(_SELF,))
        named = [each for each in elements if getattr(each.model, "to_fqdns", None)]
        if not elements[0].default_deny or not (_unresolved(named, own) if named else _deaf(own)):
            continue  # the rule suffices by itself
        lookups = [resolvers.of(labels) for labels in filter(is_endpoint, _pods(elements[0], given))]
        for element in named:
            yield from _fqdns(element, [each.rules for each in lookups])
        if not named and any(each.deaf for each in lookups):
            yield from _lookups(elements, entries)


def _pods(element: Element, given: Given) -> list[Labels]:
    """Pods that the rule is about: the given ones, or made up ones."""
    found = [each.labels for each in islice(given.selected(element.subject), 20)]
    return found or samples.pods(element.subject)


@dataclass(frozen=True, slots=True)
class _Lookups:
    """What pods can look up: by which rules of the proxy, and whether they can at all."""

    rules: list[DnsRule]
    deaf: bool


class _Resolvers:
    """What all policies together say of lookups; only their egress entries that are about lookups are looked at."""

    def __init__(self, given: Given) -> None:
        rules = (
            replace(
                rule,
                allow=tuple(each for each in rule.allow if each.dns is not None or _reaches(each)),
                deny=tuple(each for each in rule.deny if _reaches(each)),
            )
            for rule in given.rules
            if rule.direction == EGRESS
        )
        self._rules = BySelector((each for each in rules if each.allow or each.deny), lambda each: each.subject)
        self._kubernetes = given.lookups
        self._known: dict[frozenset[tuple[str, str]], _Lookups] = {}

    def of(self, labels: Labels) -> _Lookups:
        """Of pods with these labels that are in default deny."""
        key = frozenset(labels.items())
        if key not in self._known:
            rules = [each for each in self._rules.candidates(labels) if each.subject.matches(labels)]
            allow = tuple(entry for rule in rules for entry in rule.allow)
            deny = tuple(entry for rule in rules for entry in rule.deny)
            policy = DirectionPolicy(EGRESS, enforced=True, deny=deny, allow=allow, default_deny_by=(_SELF,))
            deaf = _deaf(policy) and not may_look_up(self._kubernetes, labels)
            self._known[key] = _Lookups(_dns_rules(policy), deaf)
        return self._known[key]


def _fqdns(element: Element, seen: Sequence[list[DnsRule]]) -> Iterator[Finding]:
    """Names that cannot be looked up, or whose lookups the proxy does not see."""
    for index, wanted in enumerate(getattr(element.model, "to_fqdns", None) or ()):
        text = wanted.match_name or wanted.match_pattern or ""
        key = "matchName" if wanted.match_name else "matchPattern"
        bad = next((rules for rules in seen if not _resolves(wanted, rules)), None)
        if bad is None:
            continue
        who = words.pods(element.subject)
        if bad:
            effect = f"Lookups of {text} by {who} are REFUSED: only {_names(bad)} may be looked up."
            message = f"no DNS rule lets {text} be looked up"
        else:
            effect = (
                f"No lookup of {who} passes Cilium's DNS proxy, so {text} matches no address: egress to it is dropped."
            )
            message = f"no rule with rules.dns shows Cilium the answers for {text}"
        place = element.case.manifest.place(*element.path, "toFQDNs", index, key)
        yield FQDN.at(place, message, effect=effect, span=len(text))


def _names(rules: Iterable[DnsRule]) -> str:
    return words.listed(words.lookup(each) for each in rules)


def _unresolved(named: Iterable[Element], policy: DirectionPolicy) -> bool:
    rules = _dns_rules(policy)
    return any(
        not _resolves(each, rules) for element in named for each in getattr(element.model, "to_fqdns", None) or ()
    )


def _dns_rules(policy: DirectionPolicy) -> list[DnsRule]:
    """What may be looked up through the proxy: of the cluster's resolver; if there is no such rule, of any."""
    found = policy.lookup(_RESOLVER, "UDP", _PORT, _RESOLVER).dns
    return list(found) if found else [rule for each in policy.allow for rule in each.dns or ()]


def _resolves(wanted: FqdnSelector, rules: list[DnsRule]) -> bool:
    """Whether some name that is wanted may be looked up through the proxy."""
    example = samples.name(wanted.match_name or wanted.match_pattern or "")
    if dns_allows(rules, example):
        return True
    return any(
        dns_matches(samples.name(rule.name or rule.pattern or ""), match_name=None, match_pattern=wanted.match_pattern)
        for rule in rules
    )


def _lookups(elements: list[Element], entries: list[Entry]) -> Iterator[Finding]:
    first = elements[0]
    if not any(_by_name(each) for each in entries):
        return
    place = first.case.manifest.key_place(*first.at, "egress")
    who, may = words.pods(first.subject), words.allowed(entries, EGRESS)
    effect = f"{words.capital(who)} may connect {may}, and cannot look up a name to do so."
    yield NO_DNS.at(place, f"no given policy allows DNS to {who}", effect=effect, span=len("egress"))


def _by_name(entry: Entry) -> bool:
    """Whether one would connect to it by a name."""
    icmp = entry.port is not None and entry.port.protocol.startswith("ICMP")
    if icmp or isinstance(entry.peer, CidrPeer | UnmodelledPeer):
        return False
    return not (isinstance(entry.peer, EntityPeer) and entry.peer.entity in _NAMELESS)


def _deaf(policy: DirectionPolicy) -> bool:
    """Whether the pods can look nothing up: no entry is about port 53, none is about everything at the resolver."""
    return not any(_reaches(each) for each in policy.allow)


def _reaches(entry: Entry) -> bool:
    """Whether an entry is about port 53, or about everything at the resolver."""
    at_port = any(matches(entry.port, protocol, _PORT, {}) for protocol in ("UDP", "TCP"))
    return at_port and (entry.port is not None or entry.peer.matches(_RESOLVER))
