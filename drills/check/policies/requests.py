"""HTTP rules: expressions that match something else than they say, and rules that another rule makes void."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from drills.check.finding import Finding
from drills.check.policies import headers, paths, void, words
from drills.check.policies.case import Case, Element, elements, ports_of
from drills.check.policies.comments import comment_at
from drills.check.policies.fields import L7_DENY
from drills.check.policies.given import Given
from drills.cilium.l7 import http_rule
from drills.cilium.parts import PortRule, PortRuleHttp
from drills.source import KeyPath

RULES = (headers.HEADER, headers.BLANK, paths.PATH, paths.METHOD, paths.HOST, void.VOID)

# What a comment says that means this rule; a list that is described (what is denied by default, what else is denied) is
# none, and "block" and "reject" are nouns, too, unless they stand before what is blocked.
_OBJECT: Final = r"\s+(?:this|these|that|the|access|admin\w*|requests?|calls?|traffic|/\S*|(?-i:[A-Z]{3,})\b)|\s*$"
_DENIES: Final = re.compile(
    rf"#\s*(?:(?:deny|forbid|disallow)\b|(?:block|reject)(?:{_OBJECT}))"
    r"(?!.*\b(?:all|everything|anything|other\w*|else|rest|default|only|unless|except|lists?|not|allow\w*)\b)"
    r"(?![\s-]*(?:by|if|is|are|rules?)\b)",
    re.I,
)


def check(given: Given) -> Iterator[Finding]:
    """HTTP rules that do something else than they say; also of policies that Cilium refuses for another reason."""
    beside = void.Beside.of(given)
    for element in given.elements:
        yield from _expressions(element)
        for path, rule in _ports(element):
            yield from void.of_port(element, path, rule, beside)
    for case in given.cases:
        for element in _refused(case, given):
            for finding in _expressions(element):
                yield replace(finding, effect=f"Once Cilium imports the policy: {finding.effect}")


def _refused(case: Case, given: Given) -> Iterator[Element]:
    """The elements of a policy that the API stores and Cilium does not import; without entries."""
    if case.stored is not None and case.effective is None:
        yield from elements(case, given.targets, compiled=False)


def _ports(element: Element) -> Iterator[tuple[KeyPath, PortRule]]:
    """The elements of ``toPorts`` that have rules, and where these stand."""
    for index, rule in enumerate(ports_of(element)):
        if isinstance(rule, PortRule) and rule.rules is not None:
            yield (*element.path, "toPorts", index, "rules"), rule


def _expressions(element: Element) -> Iterator[Finding]:
    for path, rule in _ports(element):
        found = (rule.rules.http if rule.rules else None) or ()
        for number, each in enumerate(found):
            yield from _rule(element, (*path, "http", number), each, found)


def _rule(element: Element, path: KeyPath, rule: PortRuleHttp, beside: Sequence[PortRuleHttp]) -> Iterator[Finding]:
    yield from headers.of_rule(element, path, rule)
    yield from paths.of_rule(element, path, rule, beside)
    said = comment_at(element.case.manifest, path, _DENIES)
    if said is not None:
        effect = f"{words.request(http_rule(rule))} is ALLOWED; what no rule of the port lists gets 403 by itself."
        text = f'the comment says "{said}", and the rule allows'
        yield L7_DENY.at(element.case.manifest.place(*path), text, effect=words.capital(effect))
