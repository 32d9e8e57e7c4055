"""Application rules: which HTTP requests and DNS lookups a rule allows. There is no application rule that denies.

Facts: Cilium 1.20 ``pkg/policy/api/http.go`` and ``pkg/envoy/xds_server.go`` (``getHTTPRule``): ``path``, ``method``
and ``host`` are RE2 expressions for the whole value, ``headers`` are literal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from drills.cilium.parts import HeaderMatch, PortRuleDns, PortRuleHttp
from drills.cilium.patterns import PatternError, dns_matches, re2


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as the proxy sees it. ``path`` has the query string; header names may have any case."""

    method: str
    path: str
    host: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def header(self, name: str) -> str | None:
        """The value of a header, whatever the case of its name; None where it is missing."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """A header that must be there; with a value, with exactly that value. ``enforced`` is false where it only logs."""

    name: str
    value: str | None = None
    enforced: bool = True

    def matches(self, request: HttpRequest) -> bool:
        """Whether the request has the header."""
        found = request.header(self.name)
        return not self.enforced or (found is not None and self.value in {None, found})


@dataclass(frozen=True, slots=True)
class HttpRule:
    """Conditions on a request, all of which must hold. None means no condition."""

    method: str | None = None
    path: str | None = None
    host: str | None = None
    headers: tuple[HeaderRule, ...] = ()

    def matches(self, request: HttpRequest) -> bool:
        """Whether the rule allows the request."""
        return (
            _whole(self.method, request.method)
            and _whole(self.path, request.path)
            and _whole(self.host, request.host)
            and all(each.matches(request) for each in self.headers)
        )

    @property
    def wildcard(self) -> bool:
        """Whether it allows every request."""
        return not (self.method or self.path or self.host or self.headers)


@dataclass(frozen=True, slots=True)
class DnsRule:
    """A name that may be looked up, or a pattern of names. Both None (which Sanitize lets pass) matches nothing."""

    name: str | None = None
    pattern: str | None = None

    def matches(self, query: str) -> bool:
        """Whether the rule allows a lookup of this name; case and a final dot do not matter."""
        return dns_matches(query, match_name=self.name, match_pattern=self.pattern)


def http_rule(rule: PortRuleHttp) -> HttpRule:
    """The rule of a policy. An empty text is as good as none."""
    headers = [_header(text) for text in rule.headers or ()]
    headers += [_header_match(match) for match in rule.header_matches or ()]
    return HttpRule(rule.method or None, rule.path or None, rule.host or None, tuple(headers))


def dns_rule(rule: PortRuleDns) -> DnsRule:
    """The rule of a policy."""
    return DnsRule(rule.match_name or None, rule.match_pattern or None)


def http_allows(rules: Sequence[HttpRule], request: HttpRequest) -> bool:
    """Whether one of the rules allows the request; what none allows gets 403."""
    return any(each.matches(request) for each in rules)


def dns_allows(rules: Sequence[DnsRule], query: str) -> bool:
    """Whether one of the rules allows the lookup; what none allows is REFUSED."""
    return any(each.matches(query) for each in rules)


def _header(text: str) -> HeaderRule:
    name, blank, value = text.partition(" ")
    return HeaderRule(name.rstrip(":"), value) if blank else HeaderRule(text)


def _header_match(match: HeaderMatch) -> HeaderRule:
    # A Secret's value is not known here: with a `value` beside it that stands in (as where the Secret is missing),
    # else presence is asked for.
    return HeaderRule(match.name, match.value or None, enforced=match.mismatch is None)


def _whole(expression: str | None, value: str) -> bool:
    try:
        return not expression or re2(expression).fullmatch(value) is not None
    except PatternError:  # of a host, which Cilium does not look at before the proxy does
        return False
