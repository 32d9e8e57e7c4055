"""Headers of HTTP rules: literal values that were meant as expressions, and names that no header can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import words
from drills.check.policies.case import Element, ports_of
from drills.check.policies.examples import http
from drills.cilium.l7 import HttpRule, http_rule
from drills.cilium.parts import PortRule, PortRuleHttp
from drills.source import KeyPath

_HTTP: Final = "Cilium 1.20 pkg/policy/api/http.go, pkg/envoy (getHTTPRule)"

HEADER = Rule(
    name="cilium/header-regex",
    level=Level.ERROR,
    title="A header's value is meant as a regular expression",
    problem="`headers` are literal: `Name: value` asks for exactly that value. Only `path`, `method` and `host` are "
    "regular expressions.",
    effect="Only a request that carries the expression itself as the header's value matches; every other gets 403.",
    fix="To ask that the header be there, write its name alone, without colon and value. For some values, write a rule "
    "for each of them.",
    wrong=http('- {method: GET, path: "/", headers: ["Authorization: Bearer .*"]}\n'),
    right=http('- {method: GET, path: "/", headers: ["Authorization"]}\n'),
    source=_HTTP,
)
BLANK = Rule(
    name="cilium/header-without-blank",
    level=Level.ERROR,
    title="A header without a blank behind the colon",
    problem="Cilium splits a header at the first blank: `X-Key:1` is a header of the name `X-Key:1`, and "
    "`X-Key=1` one of the name `X-Key=1`.",
    effect="No request can have such a header: the rule allows nothing.",
    fix="Write a colon and a blank behind the name: `X-Key: 1`.",
    wrong=http('- {method: GET, path: "/", headers: ["X-Key:1"]}\n'),
    right=http('- {method: GET, path: "/", headers: ["X-Key: 1"]}\n'),
    source=_HTTP + "; RFC 9110, 5.6.2 (token)",
)

# What is surely meant as an expression, and is no usual text of a header either.
_ALTERNATIVES: Final = r"\([^()|]+(\|[^()|]+)+\)"
_ANYWHERE: Final = re.compile(
    r"\.[*+]|\.\?(?!\w)"  # .* and the like
    r"|\[[^\]\s]+\][*+?{]|\[\^?(?:a-z|A-Z|0-9|a-f|A-F)"  # a class that is repeated, or a usual range
    r"|\w\{\d+(,\d*)?\}"  # x{2,}
    r"|\(\?(?:[imsU-]+[):]|P?<|[:=!])"  # (?i), (?:...)
    r"|^\^|[A-Za-z)\]]\w*\$$"  # anchors; 10$ is a price
    r"|^\*\.\w|\w\*$"  # *.example.com, v1*: wildcards of another language
)
_ESCAPES: Final = re.compile(r"\\(?:[dwsDWSbB](?![A-Za-z])|[.+*?()\[\]^$|-])")
_GROUP: Final = re.compile(_ALTERNATIVES)
_CLASS: Final = re.compile(r"\[(\w{2,})\]")
_ADDRESS: Final = re.compile(r"\w+://|[?&][\w.-]+=")  # of a page: brackets, bars and question marks are usual there
_WINDOWS: Final = re.compile(r"[A-Za-z]:\\|^\\\\")
_PARTS: Final = re.compile(r"([^:=\s]*)\s*([:=]?)\s*(.*)", re.DOTALL)
_NAME: Final = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token; `:authority` and the like are pseudo headers


def is_expression(value: str) -> bool:
    """Whether a value is surely meant as a regular expression, or as a wildcard."""
    if _ANYWHERE.search(value):
        return True
    if _ADDRESS.search(value):
        return False
    return bool(
        (len(value) > len(r"\d") and _ESCAPES.search(value) and not _WINDOWS.search(value))
        or _GROUP.search(value)
        or any(_ascends(each[1]) for each in _CLASS.finditer(value))
        or _alternates(value)
    )


def _ascends(members: str) -> bool:
    """Whether a class lists its members in order, as [12] and [abc] do; words and numbers in brackets do not."""
    codes = [ord(each) for each in members]
    return all(after == before + 1 for before, after in pairwise(codes))


def _alternates(value: str) -> bool:
    """Whether bars stand between words that look alike (v1|v2, GET|POST), and not between parts of one value."""
    words_ = value.split("|")
    shapes = {re.sub(r"\d+", "0", re.sub(r"[A-Za-z]+", "a", each)) for each in words_}
    return len(words_) > 1 and len(shapes) == 1 and all(re.fullmatch(r"[\w./+-]+", each) for each in words_)


def of_rule(element: Element, path: KeyPath, rule: PortRuleHttp) -> Iterator[Finding]:
    """What is wrong with the headers of an HTTP rule at a path."""
    for index, text in enumerate(rule.headers or ()):
        yield from _header(element, (*path, "headers", index), text, rule)
    for index, match in enumerate(rule.header_matches or ()):
        if match.value and match.mismatch is None and is_expression(match.value):
            where = (*path, "headerMatches", index, "value")
            yield _literal(element, where, match.name, match.value, len(match.value), http_rule(rule))


def _header(element: Element, path: KeyPath, text: str, rule: PortRuleHttp) -> Iterator[Finding]:
    name, blank, value = text.partition(" ")
    called = name.rstrip(":") if blank else name
    if called and not _NAME.fullmatch(called):
        yield _no_name(element, path, text, called, rule)
    elif blank and is_expression(value):
        yield _literal(element, path, called, value, len(text), http_rule(rule))


def _no_name(element: Element, path: KeyPath, text: str, called: str, rule: PortRuleHttp) -> Finding:
    """A header whose name holds what stands behind the name."""
    bare = words.request(HttpRule(rule.method or None, rule.path or None, rule.host or None))
    effect = (
        f"Cilium asks for a header called `{called}`, which no request can have: the rule allows nothing, and {bare} "
        "gets 403 unless another rule allows it."
    )
    name, sign, value = _PARTS.fullmatch(text).groups()  # type: ignore[union-attr]  # it matches every text
    whole = sign and name and value
    fix = f"Write `{name}: {value}`." if whole else "Write the header's name, a colon, a blank and the value."
    place = element.case.manifest.place(*path)
    message = f"no blank behind the colon in `{text}`" if sign == ":" else f"`{called}` is no name of a header"
    return BLANK.at(place, message, effect=effect, fix=fix, span=len(text))


def _literal(element: Element, path: KeyPath, name: str, value: str, span: int, rule: HttpRule) -> Finding:
    """A header's value that looks like an expression."""
    rules = [
        http_rule(found)
        for each in ports_of(element)
        if isinstance(each, PortRule) and each.rules
        for found in each.rules.http or ()
    ]
    every = all(any(each.value is not None and is_expression(each.value) for each in found.headers) for found in rules)
    request = words.request(HttpRule(rule.method, rule.path, rule.host))
    rest = "every real request gets 403" if every else "any other gets 403, unless another rule allows it"
    effect = f"{words.capital(request)} passes only with the header {name} being `{value}`, letter by letter; {rest}."
    fix = f'To ask that the header be there, write its name alone: `headers: ["{name}"]`. For some values, write '
    place = element.case.manifest.place(*path)
    message = f"`{value}` is literal: headers are no regular expressions"
    return HEADER.at(place, message, effect=effect, fix=fix + "a rule for each of them.", span=span)
