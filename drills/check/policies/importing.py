"""What Cilium refuses of a policy that the API stores: VALID=False, and nothing of it is in force."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import words
from drills.check.policies.case import SECTIONS, Case, section_of, setting, subject
from drills.check.policies.examples import api, http, ingress
from drills.check.policies.given import Given
from drills.cilium import policy as schema
from drills.cilium.model import Rule as PolicyRule
from drills.cilium.patterns import PatternError, re2
from drills.cilium.sanitize import EMPTY, import_errors
from drills.source import KeyPath

_SANITIZE: Final = "Cilium 1.20 pkg/policy/api/rule_validation.go"
_LOOK: Final = "`kubectl get {}` shows VALID False; `.status.conditions` has the message."

INGRESS_EMPTY = Rule(
    name="cilium/ingress-empty-list",
    level=Level.ERROR,
    title="`ingress: []` does not deny anything",
    problem="An empty list has no rule in it. It is often taken for a default deny, which it is not.",
    effect="If the policy has no other section with rules, Cilium does not import it (VALID=False): all traffic stays "
    "open. Otherwise the empty list says nothing: there is no default deny for ingress.",
    fix="For a default deny write `ingress: [{}]`: one rule that allows nobody.",
    wrong=api("ingress: []\n"),
    right=api("ingress: [{}]\n"),
    source=f"{_SANITIZE} (at least one of Ingress, IngressDeny, Egress, EgressDeny)",
)
EGRESS_EMPTY = Rule(
    name="cilium/egress-empty-list",
    level=Level.ERROR,
    title="`egress: []` does not deny anything",
    problem="An empty list has no rule in it. It is often taken for a default deny, which it is not.",
    effect="If the policy has no other section with rules, Cilium does not import it (VALID=False): all traffic stays "
    "open. Otherwise the empty list says nothing: there is no default deny for egress.",
    fix="For a default deny write `egress: [{}]`: one rule that allows nobody.",
    wrong=api("egress: []\n"),
    right=api("egress: [{}]\n"),
    source=f"{_SANITIZE} (at least one of Ingress, IngressDeny, Egress, EgressDeny)",
)
MIXED = Rule(
    name="cilium/mixed-peers",
    level=Level.ERROR,
    title="Two kinds of peers in one element",
    problem="An element of `ingress` or `egress` takes one kind of peer: `fromEndpoints` beside `fromCIDR`, or "
    "`toFQDNs` beside `toEntities`, is refused.",
    effect="Cilium does not import the policy (VALID=False): nothing of it is in force.",
    fix="Give each kind of peer an element of its own, each with its toPorts: elements add up.",
    wrong=ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n  fromEntities: [world]\n"),
    right=ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n- fromEntities: [world]\n"),
    source=_SANITIZE,
)
REGEX = Rule(
    name="cilium/invalid-regex",
    level=Level.ERROR,
    title="An expression is not RE2",
    problem="`path` and `method` are RE2 expressions: no look-ahead or look-behind (`(?!...)`), no back-references.",
    effect="Cilium does not import the policy (VALID=False): nothing of it is in force.",
    fix="Say what is allowed instead of what is not: application rules are an allow list.",
    wrong=http('- {method: GET, path: "/(?!admin).*"}\n'),
    right=http('- {method: GET, path: "/(users|orders)/.*"}\n'),
    source=f"{_SANITIZE} (PortRuleHTTP.Sanitize), RE2 syntax",
)
REFUSED = Rule(
    name="cilium/not-imported",
    level=Level.ERROR,
    title="Cilium does not import the policy",
    problem="The API stores the policy, and Cilium refuses it: HTTP rules on a port that is not TCP, DNS rules on "
    "ingress, an exception outside of its block, an unknown ICMP type, and the like.",
    effect="VALID=False: nothing of the policy is in force, and traffic stays as it was. " + _LOOK.format("cnp"),
    fix="The message is Cilium's own and names what it does not take.",
    wrong=ingress("""\
        - fromEndpoints: [{matchLabels: {app: web}}]
          toPorts: [{ports: [{port: "80", protocol: UDP}], rules: {http: [{path: "/"}]}}]
        """),
    right=http('- {path: "/"}\n'),
    source=_SANITIZE,
)
SETTING = Rule(
    name="cilium/needs-setting",
    level=Level.WARNING,
    title="Valid only where a setting of the installation is on",
    problem="Mutual authentication (off by default from Cilium 1.19 on) and node selectors need a setting of Cilium's.",
    effect="With the default settings Cilium does not import the policy (VALID=False): nothing of it is in force.",
    fix="Turn the setting on, or leave the field out.",
    wrong=ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n  authentication: {mode: required}\n"),
    right=ingress("- fromEndpoints: [{matchLabels: {app: web}}]\n"),
    source=f"{_SANITIZE}; Helm values of Cilium 1.18 and 1.19",
)
RULES = (INGRESS_EMPTY, EGRESS_EMPTY, MIXED, REGEX, REFUSED, SETTING)
_EMPTY_LISTS: Final = {"ingress": INGRESS_EMPTY, "egress": EGRESS_EMPTY}


def check(given: Given) -> Iterator[Finding]:
    """What Cilium says of each policy that the API stores."""
    for case in given.cases:
        if case.stored is None:
            continue
        yield from _empty_lists(case)
        for message in case.refused:
            if message != EMPTY or not _has_empty_list(case):
                yield _refused(case, message)
        for message in case.depends:
            place = case.manifest.place(*locate(case, message))
            effect = f'With the default settings Cilium does not import the policy (VALID=False: "{message}").'
            yield SETTING.at(place, f"needs {setting(message)}", effect=effect)


def _refused(case: Case, message: str) -> Finding:
    path = locate(case, message)
    place = case.manifest.place(*path)
    look = _LOOK.format("ccnp" if case.kind == schema.CCNP else "cnp")
    effect = f'VALID=False, "{message}": the policy is not imported, and traffic stays as it was. {look}'
    if message.startswith("combining "):
        return MIXED.at(place, message, effect=effect)
    if message.startswith("error parsing regexp"):
        expression = _value(case, path)
        text = expression if isinstance(expression, str) else ""
        return REGEX.at(place, message, effect=effect, fix=_as_expression(text), span=len(text))
    return REFUSED.at(place, message, effect=effect)


def _as_expression(text: str) -> str | None:
    """The fix for a wildcard of another language; None where it is something else."""
    meant = re.sub(r"(?<![.\w)\]}\\])\*+|\*{2,}", ".*", text)
    try:
        re2(meant)
    except PatternError:
        return None
    return f"A star alone is no wildcard: write `{meant}`." if meant != text else None


def _has_empty_list(case: Case) -> bool:
    return any(getattr(rule, section) == [] for _, rule in case.rules() for section in _EMPTY_LISTS)


def _empty_lists(case: Case) -> Iterator[Finding]:
    for at, rule in case.rules():
        for section, finding in _EMPTY_LISTS.items():
            if (
                getattr(rule, section) == []
                and not (section == "ingress" and rule.ingress_deny)
                and not (section == "egress" and rule.egress_deny)
            ):
                yield _empty_list(case, at, rule, section, finding)


def _empty_list(case: Case, at: KeyPath, rule: PolicyRule, section: str, finding: Rule) -> Finding:
    who = words.pods(subject(case, rule))
    if any(section_of(rule, each) for each in SECTIONS):
        effect = f"The empty list says nothing: this policy denies no {section} of {who}."
        level = Level.WARNING
    else:
        effect = f"Cilium does not import the policy (VALID=False): {section} of {who} stays as open as it was."
        level = Level.ERROR
    place = case.manifest.key_place(*at, section)
    return finding.at(
        place, f"an empty list is no default deny for {section}", effect=effect, level=level, span=len(section)
    )


# --- where -----------------------------------------------------------------------------------------------------------


_NEUTRAL: Final[Mapping[str, Any]] = {"endpointSelector": {}, "nodeSelector": {}, **{key: [{}] for key in SECTIONS}}


def locate(case: Case, message: str) -> KeyPath:
    """The smallest part of the policy that Cilium's message needs: found by taking the rest away, part by part."""
    data = schema.prune(case.kind, dict(case.manifest.data))
    outer: list[str | int] = []  # in the policy as it was written
    inner: KeyPath = ()  # in what is left of it
    while True:
        node = _at(data, inner)
        if isinstance(node, list):
            for index, item in enumerate(node):
                alone = _with(data, inner, [item])
                if message in _messages(alone):
                    outer.append(index)
                    data, inner = alone, (*inner, 0)
                    break
            else:
                return tuple(outer)
            continue
        needed = [key for key in node if _needs(message, data, inner, key)] if isinstance(node, dict) else []
        if not needed and isinstance(node, dict):  # several parts bring it by themselves: the first one
            alone = _first_alone(message, data, inner)
            needed, data = ([alone[0]], alone[1]) if alone else ([], data)
        if len(needed) != 1:
            return tuple(outer)
        outer.append(needed[0])
        inner = (*inner, needed[0])


def _needs(message: str, data: Any, path: KeyPath, key: str) -> bool:
    if key in {"apiVersion", "kind", "metadata", "status"}:
        return False
    node = _at(data, path)
    rest = {**node, key: _NEUTRAL[key]} if key in _NEUTRAL else {k: v for k, v in node.items() if k != key}
    return message not in _messages(_with(data, path, rest))


def _first_alone(message: str, data: Any, path: KeyPath) -> tuple[str, Any] | None:
    """The first section that brings the message with all others taken away, and what is left of the policy then."""
    node = _at(data, path)
    for key in (each for each in SECTIONS if each in node):
        alone = _with(data, path, {each: node[each] for each in node if each == key or each not in SECTIONS})
        if message in _messages(alone):
            return key, alone
    return None


def _messages(data: Any) -> list[str]:
    try:
        return import_errors(schema.parse(data))
    except schema.UnreadablePolicyError:
        return []


def _at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _with(data: Any, path: KeyPath, value: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return value
    found = copy.copy(data)
    found[path[0]] = _with(data[path[0]], path[1:], value)
    return found


def _value(case: Case, path: KeyPath) -> Any:
    found: Any = case.manifest.data
    for step in path:
        found = found[step]
    return found
