"""HTTP rules: what is surely meant as something else, and what only looks like it."""

from __future__ import annotations

import json
from pathlib import Path

import check_world
import pytest
from policy_world import check, rules
from test_prediction import NARROW, SHOP

from drills.check.finding import Level
from drills.check.output.text import source_lines
from drills.check.policies.examples import documents, http, ingress
from drills.check.policies.headers import is_expression

EXPRESSIONS = [
    "Bearer .*", "v.+", "v[12]", "v[0-9]+", "^v1$", "v1$", "v12$", "v1*", "(a|b)", "v1|v2", "GET|POST", "v(1|2)-beta",
    "application/(json|xml)", "(?i)bearer x", r"\d+", r"v\d", r"v1\.2", r"\bfoo\b", "[a-f0-9]{32}", "x{2,}", "a.*b",
    "*.example.com", "http://a/.*", "application/json|application/xml",
]  # fmt: skip
LITERALS = [
    r"C:\dir\sub", r"\\host\share", r"DOMAIN\svc", "http://a/?d=(e|f)", "http://a/?q=v1|v2", "http://a/b?c=d", "*",
    "*/*", "text/html;q=0.9, */*", "text/html, */*;q=0.8", "text/*", "12:30", "(1+1)", "bytes=0-[1]", "filter[name]=x",
    "[::1]:8080", 'for="[2001:db8::17]"', "Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (KHTML, like Gecko)",
    '{"a":[1,2]}', 'W/"abc"', "Basic dXNlcjpwYXNz==", "gzip, deflate, br;q=1.0, *;q=0.5", "$Version=1", "10$", "C++",
    "abc|d3f", "00|abc.def", "a||b", "what?", "really?!", "1.2.3", "a+b", "{id}", "$2b$12$abcdefghijk", "id=1|2",
    "Mon, 01 Jan 2024 00:00:00 GMT", "application/ld+json", "#fragment", "a=^b", "~x", r"\d", "$100",
]  # fmt: skip


@pytest.mark.parametrize("value", EXPRESSIONS)
def test_a_value_that_is_meant_as_an_expression(value: str) -> None:
    assert is_expression(value)
    (found,) = check(http(f"- headers: [{json.dumps(f'X-Any: {value}')}]\n"))
    assert (found.rule, found.level) == ("cilium/header-regex", Level.ERROR)
    assert 'headers: ["X-Any"]' in found.fix


@pytest.mark.parametrize("value", LITERALS)
def test_a_value_that_only_looks_like_an_expression(value: str) -> None:
    assert not is_expression(value)
    assert check(http(f"- headers: [{json.dumps(f'X-Any: {value}')}, ':authority', 'X-Other']\n")) == []


@pytest.mark.parametrize(
    ("header", "called", "fix"),
    [("X-Key:1", "X-Key:1", "X-Key: 1"), ("X-Key:abc def", "X-Key:abc", "X-Key: abc def"),
     ("X-Key=v1", "X-Key=v1", "X-Key: v1")],
)  # fmt: skip
def test_a_header_that_no_request_can_have(header: str, called: str, fix: str) -> None:
    (found,) = check(http(f"- {{method: GET, path: /users, headers: ['{header}']}}\n"))
    assert found.rule == "cilium/header-without-blank"
    assert f"a header called `{called}`" in found.effect
    assert "GET /users gets 403 unless another rule allows it" in found.effect
    assert found.fix == f"Write `{fix}`."


@pytest.mark.parametrize(
    ("path", "says", "fix"),
    [
        ("/api/*", "any number of slashes; /api/x gets 403", "/api/.*"),
        ("/api/*/users", "/api/x/users gets 403", "/api/[^/]+/users"),
        ("/api*", "the letter i any number of times; /apix gets 403", "/api.*"),
        ("/a?b=c", "makes the character before it optional; /a?b=c gets 403", r"/a\?b=c"),
        ("/api/{id}", "`{id}` stands for itself, letter by letter; /api/1 gets 403", "/api/[^/]+"),
        ("/api/:id/x", "`:id` stands for itself", "/api/[^/]+/x"),
        ("/api/<int:id>", "`<int:id>` stands for itself", "/api/[^/]+"),
        ("^/api", "/api/x does not match", "/api/.*"),
        ("api/.*", "Every path begins with a slash", "/api/.*"),
        ("http://x/api", "Every path begins with a slash", "/api"),
        ("*", "nothing to repeat", ".*"),
        ("/api/**", "invalid nested repetition", "/api/.*"),
    ],
)
def test_a_path_of_another_language(path: str, says: str, fix: str) -> None:
    (found,) = check(http(f"- {{method: GET, path: '{path}'}}\n"))
    assert found.rule in {"cilium/path-regex", "cilium/invalid-regex"}
    assert found.level is not Level.NOTE
    assert says in found.effect
    assert f"`{fix}`" in found.fix


@pytest.mark.parametrize(
    "path",
    ["/", "/.*", "/api/.*", "/api(/.*)?", "/users?", "/users?/.*", r"/a\?b=c", r"/a(\?.*)?", r"/search\?q=.*",
     "/[a-z]*",
     r"/\d+", r"/\w*", "/(a|b)*", "/a{2}", r"/x/(?P<id>\w+)", "/(?:a|b)/.*", "/items/[^/]*", "/v1/x:cancel", "/v1.0/x",
     ".*/admin", "/api$", "^/api$", "^/api/.*", "(/a|/b)", "/a/[[:alpha:]]+", r"/\p{L}+", "/a%20b"],
)  # fmt: skip
def test_a_path_that_is_what_it_seems(path: str) -> None:
    assert check(http(f"- {{path: {json.dumps(path)}}}\n")) == []


@pytest.mark.parametrize(
    ("paths", "noted"),
    [(["/api", "/api/users"], ["/api"]), (["/api", "/api/.*"], []), (["/api", "/apis"], []), (["/api"], []),
     (["/api/"], ["/api/"]), (["/api/", "/api/.*"], ["/api/"])],
)  # fmt: skip
def test_a_plain_path_is_no_prefix(paths: list[str], noted: list[str]) -> None:
    found = check(http("".join(f"- {{path: {each}}}\n" for each in paths)))
    assert [(each.level, each.message) for each in found] == [(Level.NOTE, f"{each} is no prefix") for each in noted]


@pytest.mark.parametrize(
    ("method", "flagged"),
    [("PROPFIND", False), ("PROPFIND|MKCOL", False), ("M-SEARCH", False), ("PURGE", False), ("PURGE|BAN", False),
     ("GET|PURGE", False), ("P.*", False), ("(GET|HEAD)", False), ("get", True), ("Get|Post", True), ("GET,POST", True),
     ("GET | POST", True), ("[GET, POST]", True), ("propfind", True)],
)  # fmt: skip
def test_methods(method: str, flagged: bool) -> None:
    found = check(http(f"- {{path: /, method: '{method}'}}\n"))
    assert rules(found) == ["method-regex"] * flagged


@pytest.mark.parametrize(
    ("host", "fix"),
    [("https://example.com", r"example\.com"), ("example.com/api", r"example\.com"),
     ("*.example.com", r".*\.example\.com"),
     ("(?!x)", None), ("example.com", ""), (r".*\.example\.com", ""), ("api.shop:8080", "")],
)  # fmt: skip
def test_hosts(host: str, fix: str | None) -> None:
    found = check(http(f"- {{path: /, host: '{host}'}}\n"))
    assert rules(found) == ["host-regex"] * (fix != "")
    assert all(each.fix == f"Write `{fix}`." for each in found if fix)


@pytest.mark.parametrize(
    ("comment", "meant"),
    [
        ("deny admin", True), ("Deny: the admin path", True), ("block this", True), ("forbid /admin", True),
        ("disallow everyone from here", True), ("reject", True), ("block GET /admin", True),
        ("deny by default: only these are allowed", False), ("deny all other paths", False), ("deny-by-default", False),
        ("deny everything else", False), ("denied elsewhere", False), ("block storage service", False),
        ("reject reasons are served here", False), ("deny list endpoint", False), ("not denied", False),
        ("everything else is denied; /admin is blocked", False), ("deny rules are elsewhere", False),
    ],
)  # fmt: skip
def test_a_comment_that_says_that_the_rule_denies(tmp_path: Path, comment: str, meant: bool) -> None:
    for text in (f"# {comment}\n- path: /admin/.*\n", f"- path: /admin/.*  # {comment}\n"):
        found = check_world.found(tmp_path, http(text))
        source_lines.cache_clear()  # the next text has the same name
        assert [(each.rule, each.level) for each in found] == [("cilium/l7-deny", Level.ERROR)] * meant


def test_one_bad_expression_hides_nothing_else() -> None:
    text = http("- {path: '/(?!admin).*'}\n- {path: '/api/*', method: get, headers: ['A: b.*', 'C:d']}\n")
    found = check(text)
    assert sorted(set(rules(found))) == [
        "header-regex", "header-without-blank", "invalid-regex", "method-regex", "path-regex",
    ]  # fmt: skip
    assert all(each.effect.startswith(("Once Cilium imports the policy: ", "VALID=False")) for each in found)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("app: cart, namespace: cart", ["namespace-label"]),
        ("app: cart, kubernetes.io/metadata.name: cart", ["namespace-label"]),
        ("app: cart, io.kubernetes.pod.namespace: cart", []),
        ("app: cart, io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name: cart", []),
    ],
)
def test_a_label_of_pods_that_is_meant_for_the_namespace(labels: str, found: list[str]) -> None:
    told = check(ingress(f"- fromEndpoints: [{{matchLabels: {{{labels}}}}}]\n"))
    assert rules(told) == found
    assert all("write io.kubernetes.pod.namespace: cart" in each.fix for each in told)


def test_a_label_namespace_that_pods_have_is_one() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: backend, labels: {app: a, namespace: cart}}\n"
    pods = documents(pod + "spec: {}\n", pod.replace("app: a", "app: api").replace("name: a", "name: b") + "spec: {}\n")
    peer = ingress("- fromEndpoints: [{matchLabels: {app: a, namespace: cart}}]\n")
    assert check(documents(peer, pods)) == []


@pytest.mark.parametrize(
    ("block", "level"),
    [
        ("10.0.0.0/8", Level.WARNING), ("10.244.0.0/16", Level.WARNING), ("10.42.0.0/16", Level.WARNING),
        ("172.16.0.0/12", Level.WARNING), ("172.20.0.0/16", Level.WARNING), ("100.64.0.0/10", Level.WARNING),
        ("fd00::/8", Level.WARNING), ("fc00::/7", Level.WARNING), ("192.168.0.0/16", Level.NOTE),
        ("172.17.0.0/16", Level.NOTE), ("fd12:3456:789a::/48", Level.NOTE), ("10.20.30.0/26", None),
        ("203.0.113.0/24", None), ("0.0.0.0/0", None),
    ],
)  # fmt: skip
def test_private_blocks(block: str, level: Level | None) -> None:
    assert [each.level for each in check(ingress(f"- fromCIDR: ['{block}']\n"))] == ([level] if level else [])


def test_a_host_that_is_no_expression_matches_no_request(tmp_path: Path) -> None:
    text = SHOP.replace(NARROW, 'rules: {http: [{host: "*.shop"}]}')
    told = [each.rule for each in check_world.found(tmp_path, text)]
    assert told == ["cilium/host-regex", "playbook/control-would-fail"]
