"""Application rules that another rule makes void: rules of one peer and port add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import samples, words
from drills.check.policies.case import Element
from drills.check.policies.examples import http, ingress
from drills.check.policies.given import Given
from drills.check.policies.index import Entries
from drills.cilium.decide import INGRESS, Direction, PolicyRef, is_endpoint
from drills.cilium.entries import Entry
from drills.cilium.labels import Labels
from drills.cilium.parts import PortRule
from drills.source import KeyPath

VOID = Rule(
    name="cilium/l7-void",
    level=Level.WARNING,
    title="Application rules that another rule makes void",
    problem="The same peer may use the same port by another rule that has no application rules. Rules add up.",
    effect="Every request passes, as if there were no application rules.",
    fix="Give the other rule the same application rules, other ports or other peers.",
    wrong=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET, path: "/"}]}}]
        - fromEndpoints: [{}]
          toPorts: [{ports: [{port: "80", protocol: TCP}]}]
        """),
    right=http('- {method: GET, path: "/"}\n'),
    source="Cilium 1.20 pkg/policy/rule.go (mergePortProto); documentation, Layer 7 policies",
)


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside application rules: entries that let everything pass, and entries that deny."""

    open: Entries
    deny: Entries

    @classmethod
    def of(cls, given: Given) -> Beside:
        """Of all policies."""
        return cls(
            Entries((rule, each) for rule in given.rules for each in rule.allow if not each.l7 or _everything(each)),
            Entries((rule, each) for rule in given.rules for each in rule.deny),
        )


def of_port(element: Element, path: KeyPath, rule: PortRule, beside: Beside) -> Iterator[Finding]:
    """Application rules that do not restrict, because another entry allows the same without any."""
    if rule.rules is None or not (rule.rules.http or rule.rules.dns) or not rule.ports or not element.default_deny:
        return
    key = "http" if rule.rules.http else "dns"
    own = [each for each in element.entries if (each.http if key == "http" else each.dns) is not None]
    if any(_everything(each) for each in own):
        return
    for labels in filter(is_endpoint, samples.pods(element.subject)):
        found = _voided(own, labels, element.direction, beside)
        if found is None:
            continue
        entry, by = found
        who = words.peer(entry.peer, element.direction)
        way = "from" if element.direction == INGRESS else "to"
        what = "Every request" if key == "http" else "Every lookup"
        effect = (
            f"{what} {way} {who} on {words.ports([entry])} passes: {_by(by, element)} allows the same port "
            f"without {key} rules."
        )
        place = element.case.manifest.key_place(*path)
        yield VOID.at(place, f"the {key} rules are void", effect=effect, span=len("rules"))
        return


def _voided(own: list[Entry], labels: Labels, direction: Direction, beside: Beside) -> tuple[Entry, PolicyRef] | None:
    """An entry whose traffic the pods' policies let through without looking at it, and who says so."""
    for entry in own:
        protocol, port = samples.port(entry.port)
        named = samples.named(entry.port).named_ports
        for remote in samples.remotes(entry.peer):
            by = next(beside.open.matching(direction, labels, remote, protocol, port, named), None)
            if by is not None and not any(beside.deny.matching(direction, labels, remote, protocol, port, named)):
                return entry, by.origin
    return None


def _everything(entry: Entry) -> bool:
    """Whether the application rules of an entry let everything pass anyway."""
    return any(rule.wildcard for rule in entry.http or ()) or any(rule.pattern == "*" for rule in entry.dns or ())


def _by(ref: PolicyRef, element: Element) -> str:
    stored = element.case.stored
    own = stored is not None and (ref.kind, ref.namespace, ref.name) == (
        stored.kind,
        stored.namespace,
        stored.metadata.name,
    )
    return "another element of this policy" if own else f"{ref.kind} {ref}"
