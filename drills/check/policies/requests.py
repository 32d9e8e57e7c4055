"""HTTP rules: expressions that match something else than they say, and rules that another rule makes void."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from drills.check.finding import Finding, Level, Rule
from drills.check.policies import samples, words
from drills.check.policies.case import Element, ports_of
from drills.check.policies.comments import comment_at
from drills.check.policies.examples import http, ingress
from drills.check.policies.fields import L7_DENY
from drills.check.policies.given import Given
from drills.check.policies.index import Entries
from drills.cilium.decide import INGRESS, Direction, PolicyRef, is_endpoint
from drills.cilium.entries import Entry
from drills.cilium.l7 import HttpRequest, HttpRule, http_rule
from drills.cilium.labels import Labels
from drills.cilium.parts import PortRule, PortRuleHttp
from drills.cilium.patterns import PatternError, re2
from drills.source import KeyPath

_HTTP: Final = "Cilium 1.20 pkg/policy/api/http.go, pkg/envoy (getHTTPRule)"
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")

HEADER = Rule(
    name="cilium/header-regex",
    level=Level.ERROR,
    title="A header's value is meant as a regular expression",
    problem="`headers` are literal: `Name: value` asks for exactly that value. Only `path`, `method` and `host` are "
    "regular expressions.",
    effect="Only a request that carries the expression itself as the header's value matches; every other gets 403.",
    fix='To ask that the header be there, write its name alone: `headers: ["Authorization"]`.',
    wrong=http('- {method: GET, path: "/", headers: ["Authorization: Bearer .*"]}\n'),
    right=http('- {method: GET, path: "/", headers: ["Authorization"]}\n'),
    source=_HTTP,
)
BLANK = Rule(
    name="cilium/header-without-blank",
    level=Level.ERROR,
    title="A header without a blank behind the colon",
    problem="Cilium splits a header at the first blank: `X-Key:1` is a header of the name `X-Key:1`.",
    effect="No request can have such a header: every request gets 403.",
    fix="Write a blank behind the colon: `X-Key: 1`.",
    wrong=http('- {method: GET, path: "/", headers: ["X-Key:1"]}\n'),
    right=http('- {method: GET, path: "/", headers: ["X-Key: 1"]}\n'),
    source=_HTTP,
)
PATH = Rule(
    name="cilium/path-regex",
    level=Level.WARNING,
    title="A path that is not the expression it seems to be",
    problem="`path` is a regular expression for the whole path, query string included: `/api/*` is no wildcard (it "
    "means slashes), `^/api` is no prefix, and a path always begins with a slash.",
    effect="Requests that were meant do not match, and get 403.",
    fix="For everything below a path write `/api/.*`; for the path itself with any query `/api(\\?.*)?`.",
    wrong=http('- {method: GET, path: "/api/*"}\n'),
    right=http('- {method: GET, path: "/api/.*"}\n'),
    source=_HTTP + "; Envoy, safe_regex is a full match",
)
METHOD = Rule(
    name="cilium/method-regex",
    level=Level.WARNING,
    title="A method that no request has",
    problem="`method` is a regular expression for the whole method, which is in capitals: `get` and `GET, POST` match "
    "none.",
    effect="No usual request matches the rule.",
    fix="Write it in capitals; several as `GET|POST`.",
    wrong=http('- {method: "GET,POST", path: "/"}\n'),
    right=http('- {method: "GET|POST", path: "/"}\n'),
    source=_HTTP + "; RFC 9110, 9.1",
)
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
RULES = (HEADER, BLANK, PATH, METHOD, VOID)

_REGEX: Final = re.compile(r"\.[*+?]|\\[dwsDWSbB.]|\[[^\]\s]+\][*+?{]|^\^|\([^()|]+(\|[^()|]+)+\)\$?$")
_DENIES: Final = re.compile(
    r"#\s*(deny|block|forbid|disallow|reject)\b(?!.*\b(all|every\w*|any\w*|other\w*|rest)\b)", re.I
)


def check(given: Given) -> Iterator[Finding]:
    """HTTP rules that do something else than they say."""
    beside = _Beside.of(given)
    for element in given.elements:
        for index, rule in enumerate(ports_of(element)):
            if not isinstance(rule, PortRule) or rule.rules is None:
                continue
            path = (*element.path, "toPorts", index, "rules")
            for number, found in enumerate(rule.rules.http or ()):
                yield from _rule(element, (*path, "http", number), found)
            yield from _void(element, path, rule, beside)


def _rule(element: Element, path: KeyPath, rule: PortRuleHttp) -> Iterator[Finding]:
    manifest = element.case.manifest
    for index, text in enumerate(rule.headers or ()):
        yield from _header(element, (*path, "headers", index), text, rule)
    for index, match in enumerate(rule.header_matches or ()):
        if match.value and match.mismatch is None and _REGEX.search(match.value):
            where = (*path, "headerMatches", index, "value")
            yield _literal(element, where, match.name, match.value, len(match.value), http_rule(rule))
    if rule.path:
        yield from _path(element, (*path, "path"), rule.path)
    if rule.method and not any(_whole(rule.method, each) for each in _METHODS):
        hint = (
            " Methods are written in capitals." if any(_whole(rule.method.upper(), each) for each in _METHODS) else ""
        )
        effect = f"None of {words.listed(_METHODS, 'or')} is `{rule.method}` as a whole: the rule allows nothing.{hint}"
        place = manifest.place(*path, "method")
        yield METHOD.at(place, f"no method matches {rule.method}", effect=effect, span=len(rule.method))
    said = comment_at(manifest, path, _DENIES)
    if said is not None:
        effect = f"{words.request(http_rule(rule))} is ALLOWED; what no rule of the port lists gets 403 by itself."
        text = f'the comment says "{said}", and the rule allows'
        yield L7_DENY.at(manifest.place(*path), text, effect=effect, level=Level.WARNING)


def _header(element: Element, path: KeyPath, text: str, rule: PortRuleHttp) -> Iterator[Finding]:
    name, blank, value = text.partition(" ")
    if blank and _REGEX.search(value):
        yield _literal(element, path, name.rstrip(":"), value, len(text), http_rule(rule))
    elif not blank and ":" in text.strip(":"):
        name, _, value = text.partition(":")
        headers = {name: value}
        seen = http_rule(PortRuleHttp(headers=[text])).matches(HttpRequest("GET", "/", "", headers))
        request = words.request(http_rule(rule))
        effect = f"Cilium asks for a header called `{text}`, which no request has: {request} never matches."
        if not seen:
            place = element.case.manifest.place(*path)
            yield BLANK.at(place, f"no blank behind the colon in `{text}`", effect=effect, span=len(text))


def _literal(element: Element, path: KeyPath, name: str, value: str, span: int, rule: HttpRule) -> Finding:
    """A header's value that looks like an expression."""
    rules = [rule for entry in element.entries for rule in entry.http or ()]
    every = all(any(each.value is not None and _REGEX.search(each.value) for each in rule.headers) for rule in rules)
    request = words.request(HttpRule(rule.method, rule.path, rule.host))
    rest = "every real request gets 403" if every else "any other gets 403, unless another rule allows it"
    effect = f"{words.capital(request)} passes only with the header {name} being `{value}`, letter by letter; {rest}."
    place = element.case.manifest.place(*path)
    return HEADER.at(place, f"`{value}` is literal: headers are no regular expressions", effect=effect, span=span)


def _path(element: Element, path: KeyPath, text: str) -> Iterator[Finding]:
    place = element.case.manifest.place(*path)
    if text[0].isalnum() and "|" not in text:
        effect = f"Every path begins with a slash, so `{text}` matches none: the rule allows nothing."
        yield PATH.at(place, f"no path matches {text}", effect=effect, level=Level.ERROR, span=len(text),
                      fix=f"Write /{text}.")  # fmt: skip
        return
    base = _glob(text)
    if base is not None:
        below = f"{base}/x"
        if not _whole(text, below):
            effect = f"`{text}` matches {base} with any number of slashes behind it; {below} gets 403."
            fix = f"For everything below write {base}/.*"
            yield PATH.at(place, "a star is no wildcard here", effect=effect, fix=fix, span=len(text))
        return
    if text.startswith("^") and not text.endswith(("$", ".*", ".+")):
        below = f"{text[1:].rstrip('/')}/x"
        if not _whole(text, below):
            effect = f"The expression is for the whole path: {below} does not match and gets 403."
            yield PATH.at(place, f"{text} is no prefix", effect=effect, span=len(text))
    elif len(text) > 1 and text.endswith("/") and re.fullmatch(r"[-/\w.]+", text):
        effect = f"Only {text} itself matches; {text}x gets 403."
        yield PATH.at(place, f"{text} is no prefix", effect=effect, level=Level.NOTE, span=len(text))


def _glob(text: str) -> str | None:
    """What stands before the star of a path that is written as a wildcard (``/api/*``)."""
    found = re.fullmatch(r"\^?(?P<base>[-/\w.]*)/\*{1,2}\$?", text)
    return None if found is None else found["base"]


def _whole(expression: str, value: str) -> bool:
    try:
        return re2(expression).fullmatch(value) is not None
    except PatternError:  # it is a finding already
        return True


# --- void -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Beside:
    """What stands beside application rules: entries that let everything pass, and entries that deny."""

    open: Entries
    deny: Entries

    @classmethod
    def of(cls, given: Given) -> _Beside:
        """Of all policies."""
        return cls(
            Entries((rule, each) for rule in given.rules for each in rule.allow if not each.l7 or _everything(each)),
            Entries((rule, each) for rule in given.rules for each in rule.deny),
        )


def _void(element: Element, path: KeyPath, rule: PortRule, beside: _Beside) -> Iterator[Finding]:
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


def _voided(own: list[Entry], labels: Labels, direction: Direction, beside: _Beside) -> tuple[Entry, PolicyRef] | None:
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
