"""Patterns: RE2 for HTTP, wildcards for DNS names."""

from __future__ import annotations

import pytest
from cilium_world import few
from hypothesis import given
from hypothesis import strategies as st

from drills.cilium.l7 import HttpRequest, http_rule
from drills.cilium.parts import PortRuleHttp
from drills.cilium.patterns import PatternError, dns_matches, re2


@pytest.mark.parametrize(
    ("expression", "value", "matches"),
    [
        ("/api/.*", "/api/users", True),
        ("/api", "/api/users", False),
        ("/api/v[0-9]+/users", "/api/v1/users", True),
        (r"/user\.UserService/(GetUser|CreateUser)", "/user.UserService/GetUser", True),
        (r"/user\.UserService/(GetUser|CreateUser)", "/userXUserService/GetUser", False),
        ("GET|POST", "POST", True),
        ("GET|POST", "POSTS", False),
        ("(?i)get", "GET", True),
        (r"/\x{41}[\x{2d}b]+", "/A-b", True),
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "axb", False),
        (r"/[[:alpha:]]+", "/abc", True),
        (r"/[[:digit:]]+", "/abc", False),
        (r"/\d+\z", "/12", True),
        (r"/\d+", "/\u0661", False),
        ("(?P<id>[a-z]+)", "abc", True),
        ("(?<id>[a-z]+)", "abc", True),
        ("a.c", "a\nc", False),
        ("/x{2,3}?", "/xx", True),
        ("", "", True),
        ("[.*+]+", ".*+", True),
        ("[[a-c]+", "[ab", True),
        ("[]a]+", "]a", True),
        ("[^]a]+", "xy", True),
        (r"[\w-]+", "a-b", True),
        (r"[\pL[:digit:]_]+", "aZ9_", True),
        (r"\p{Lu}x", "Ax", True),
        ("[a&&b]+", "a&b", True),
        ("(?U)a+", "aa", True),
        ("(?s).", "\n", True),
        ("/(?i)health.*", "/HEALTHZ", True),
        ("a(?i)b|c", "C", True),
        ("a(?i)b|c", "AB", False),
        ("(a(?i)b|d)c", "aBc", True),
        ("(a(?i)b|d)c", "Dc", True),
        ("(a(?i)b|d)c", "aBC", False),
        ("(?i)a(?-i)b", "Ab", True),
        ("(?i)a(?-i)b", "AB", False),
    ],
)
def test_http_expressions_match_the_whole_value(expression: str, value: str, matches: bool) -> None:
    assert (re2(expression).fullmatch(value) is not None) is matches


REFUSED = [
    "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "a**", "a*+", "*", "(", "[", "a{1001}", r"\Z", "(?P=id)", "(?>a)",
    "(?x)a", "(?)a", "a)(?i)", r"\p{Klingon}", "[[:nope:]]", "(" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("expression", [*REFUSED, r"\x{110000}", r"\x{g}"])
def test_what_re2_refuses(expression: str) -> None:
    with pytest.raises(PatternError, match=r"^error parsing regexp: "):
        re2(expression)


@few
@given(st.text(alphabet="/.*+?()[]{}\\|^$abcAZ019:-<>=!PUp&~", max_size=14))
def test_any_text_is_an_expression_or_refused(expression: str) -> None:
    try:
        re2(expression).fullmatch("abc")
    except PatternError as error:
        assert str(error).startswith("error parsing regexp: ")  # noqa: PT017 - both outcomes are right


@few
@given(st.text(alphabet="abc019/_-", max_size=20))
def test_plain_text_matches_itself_only(text: str) -> None:
    assert re2(text).fullmatch(text)
    assert not re2(text).fullmatch(text + "x")


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "anything.at.all", True),
        ("**", "anything.at.all", True),
        ("*.", "anything", True),
        ("*.cilium.io", "www.cilium.io", True),
        ("*.cilium.io", "cilium.io", False),
        ("*.cilium.io", "a.b.cilium.io", False),
        ("*cilium.io", "cilium.io", True),
        ("*cilium.io", "subcilium.io", True),
        ("*cilium.io", "www.cilium.io", False),
        ("sub*.cilium.io", "subdomain.cilium.io", True),
        ("sub*.cilium.io", "www.cilium.io", False),
        ("**.cilium.io", "app.cilium.io", True),
        ("**.cilium.io", "test.app.cilium.io", True),
        ("**.cilium.io", "cilium.io", False),
        ("***.cilium.io", "test.app.cilium.io", True),
        ("a.**.io", "a.b.io", True),
        ("a.**.io", "a.b.c.io", False),
        ("API.GitHub.com", "api.github.com.", True),
        ("*.svc.cluster.local", "x.svc.cluster.local", True),
        ("github.com", "githubXcom", False),
        ("github.com", "github.com.evil.io", False),
    ],
)
def test_dns_patterns(pattern: str, name: str, matches: bool) -> None:
    assert dns_matches(name, match_name=None, match_pattern=pattern) is matches
    assert dns_matches(name.upper() + ".", match_name=None, match_pattern=pattern) is matches


labels = st.text(alphabet="abcxyz019-_", min_size=1, max_size=8)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


@few
@given(names, labels)
def test_dns_properties(name: str, label: str) -> None:
    assert dns_matches(name, match_name=name.upper(), match_pattern=None)
    assert dns_matches(name, match_name=None, match_pattern=name)
    assert dns_matches(f"{label}.{name}", match_name=None, match_pattern=f"*.{name}")
    assert dns_matches(f"{label}.{label}.{name}", match_name=None, match_pattern=f"**.{name}")
    assert not dns_matches(f"{label}.{label}.{name}", match_name=None, match_pattern=f"*.{name}")
    assert not dns_matches(name, match_name=None, match_pattern=f"**.{name}")
    assert dns_matches(name, match_name=None, match_pattern="*")


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"method": "GET"}, True),
        ({"method": "get"}, False),
        ({"path": "/api/users"}, False),
        ({"path": r"/api/users\?.*"}, True),
        ({"host": r"api\.backend"}, True),
        ({"host": "backend"}, False),
        ({"headers": ["X-Version"]}, True),
        ({"headers": ["X-Version: v1"]}, True),
        ({"headers": ["x-version v1"]}, True),
        ({"headers": ["X-Version: v.*"]}, False),
        ({"headers": ["X-Missing"]}, False),
        ({"headerMatches": [{"name": "X-Version", "value": "v1"}]}, True),
        ({"headerMatches": [{"name": "X-Version", "value": "v2"}]}, False),
        ({"headerMatches": [{"name": "X-Version", "value": "v2", "mismatch": "LOG"}]}, True),
        ({"headerMatches": [{"name": "X-Version"}]}, True),
        ({"path": "", "method": ""}, True),
    ],
)
def test_http_rules(rule: dict[str, object], matches: bool) -> None:
    request = HttpRequest("GET", "/api/users?page=2", "api.backend", {"X-Version": "v1"})
    assert http_rule(PortRuleHttp.model_validate(rule)).matches(request) is matches
