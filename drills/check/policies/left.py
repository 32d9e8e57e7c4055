"""What is left of a policy without its unknown fields, and what that does: the model's answer for one place."""

from __future__ import annotations

from collections.abc import Iterator

from drills.check.policies import words
from drills.check.policies.case import Case, Element, elements, subject
from drills.check.policies.given import Given
from drills.cilium.decide import EGRESS, INGRESS
from drills.cilium.l7 import http_rule
from drills.cilium.model import Rule
from drills.cilium.parts import PortRule
from drills.source import KeyPath

REFUSED = "kubectl apply refuses the whole policy (strict decoding error)."
STORED = (
    "A client that does not validate strictly (the Python client, kubectl --validate=warn) stores it without the field:"
)
NOTHING = "Nothing of it is in force; traffic stays as it was."


def effect(case: Case, path: KeyPath, given: Given) -> str:
    """What becomes of a policy with an unknown field at a path."""
    if case.stored is None:
        causes = "; ".join(each.text for each in case.rejected)
        return (
            f"Both strict and lenient clients fail: without the field the API still refuses it (422: {causes}). "
            + NOTHING
        )
    if case.unimported:
        return (
            f"{REFUSED} Stored without the field, Cilium does not import it (VALID=False: {case.unimported[0]}). "
            + NOTHING
        )
    return f"{REFUSED} {STORED} {left(case, path, given)}"


def left(case: Case, path: KeyPath, given: Given) -> str:
    """What the policy does at this place without the field; the start of the sentence is the caller's."""
    element = element_at(case, path, given)
    if element is not None:
        request = _request(element, path)
        return f"{request} is ALLOWED {_where(element)}." if request else of_element(element, given)
    rule = next((rule for at, rule in case.rules() if path[: len(at)] == at), None)
    if rule is None:
        return "it does what it would do without it."
    return of_rule(case, rule, given)


def element_at(case: Case, path: KeyPath, given: Given) -> Element | None:
    """The element that a path leads into."""
    return next((each for each in elements(case, given.targets) if path[: len(each.path)] == each.path), None)


def of_element(element: Element, given: Given) -> str:
    """What one element does, and what the rule's other elements leave of the direction."""
    says = words.allowed(element.entries, element.direction)
    who = words.pods(element.subject)
    traffic = words.TRAFFIC[element.direction]
    others = _allowed_beside(element, given)
    if element.denies:
        does = f"it denies {who} all {traffic} {says}" if element.entries else "what is left here denies nothing"
        only = f"allowed {others} only" if others else "this policy allows none"
        closed = f"{traffic} of {who} is in default deny by it, and {only}"
        return f"{does}; {closed}." if element.default_deny else f"{does}."
    beside = f"; the policy's other elements allow {traffic} {others}" if others else ""
    rest = f"; all other {traffic} of theirs is denied" if element.default_deny else ""
    does = f"it allows {who} {traffic} {says}"
    if not element.entries:
        does = f"what is left here allows {who} no {traffic}{'' if others else ' at all'}"
    return f"{does}{beside}{rest}."


def _allowed_beside(element: Element, given: Given) -> str:
    """What the other elements of the rule allow in the same direction; empty where they allow nothing."""
    beside = [
        each
        for each in elements(element.case, given.targets)
        if (each.at, each.direction) == (element.at, element.direction) and each.path != element.path
    ]
    entries = [entry for each in beside if not each.denies for entry in each.entries]
    return words.allowed(entries, element.direction) if entries else ""


def of_rule(case: Case, rule: Rule, given: Given) -> str:
    """What a whole rule does."""
    found = [each for each in elements(case, given.targets) if each.rule is rule]
    who = words.pods(subject(case, rule))
    parts = [
        part
        for direction in (INGRESS, EGRESS)
        for part in _of_direction([each for each in found if each.direction == direction])
    ]
    return f"the policy is fully in force for {who}: {words.listed(parts) or 'it says nothing'}."


def _of_direction(found: list[Element]) -> Iterator[str]:
    """What elements of one direction come to."""
    if not found:
        return
    direction, traffic = found[0].direction, words.TRAFFIC[found[0].direction]
    allow = [entry for each in found if not each.denies for entry in each.entries]
    deny = [entry for each in found if each.denies for entry in each.entries]
    if found[0].default_deny:
        yield f"{traffic} is denied by default and allowed {words.allowed(allow, direction)} only"
    elif allow:
        yield f"{traffic} is allowed {words.allowed(allow, direction)}"
    if deny:
        yield f"{traffic} {words.allowed(deny, direction)} is denied"


def _request(element: Element, path: KeyPath) -> str | None:
    """The HTTP request of the rule that a path leads into, as it is without unknown fields."""
    rest = path[len(element.path) :]
    match rest:
        case ("toPorts", int() as number, "rules", "http", int() as index, *_):
            rule = (element.model.to_ports or ())[number]
            http = rule.rules.http if isinstance(rule, PortRule) and rule.rules else None
            return words.request(http_rule(http[index])) if http else None
    return None


def _where(element: Element) -> str:
    """From whom and on which port an HTTP rule allows its requests."""
    here = [each for each in element.entries if each.http is not None]
    way = "from" if element.direction == INGRESS else "to"
    who = words.listed(words.peer(each.peer, element.direction) for each in here)
    return f"{way} {who} on {words.ports(here)}" if here else ""
