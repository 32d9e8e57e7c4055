"""Paths, methods and hosts of HTTP rules: expressions that match something else than they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from drills.check.finding import Finding, Level, Rule
from drills.check.policies.case import Element
from drills.check.policies.examples import http
from drills.cilium.parts import PortRuleHttp
from drills.cilium.patterns import PatternError, re2
from drills.source import KeyPath

_HTTP: Final = "Cilium 1.20 pkg/policy/api/http.go, pkg/envoy (getHTTPRule)"

PATH = Rule(
    name="cilium/path-regex",
    level=Level.WARNING,
    title="A path that is not the expression it seems to be",
    problem="`path` is a regular expression for the whole path, query string included: `/api/*` is no wildcard (it "
    "means slashes), `^/api` is no prefix, `?` is no question mark, `{id}` and `:id` stand for nothing but themselves, "
    "and a path always begins with a slash.",
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
    source=_HTTP + "; RFC 9110, 9.1; IANA, HTTP Method Registry",
)
HOST = Rule(
    name="cilium/host-regex",
    level=Level.ERROR,
    title="A host that no request has",
    problem="`host` is a regular expression for the whole Host header (`:authority`): a name, with the port where it "
    "is not the usual one. `https://example.com` is an address of a page, `*.example.com` is no expression.",
    effect="No request has such a host: the rule allows nothing.",
    fix="Write the name alone, a dot as `\\.`: `api\\.example\\.com`; for all below a name `.*\\.example\\.com`.",
    wrong=http('- {method: GET, path: "/", host: "https://example.com"}\n'),
    right=http('- {method: GET, path: "/", host: "example\\\\.com"}\n'),
    source=_HTTP + "; RFC 9110, 7.2",
)

_METHODS: Final = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "ACL", "BASELINE-CONTROL", "BIND",
    "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL",
    "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PRI", "PROPFIND", "PROPPATCH", "REBIND", "REPORT", "SEARCH",
    "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
)  # fmt: skip
_OWN: Final = re.compile(r"[A-Z][A-Z0-9_-]*(\|[A-Z][A-Z0-9_-]*)*")  # methods that an application has made up
_LITERAL: Final = re.compile(r"[-/\w.~%]+")


def of_rule(element: Element, path: KeyPath, rule: PortRuleHttp, beside: Sequence[PortRuleHttp]) -> Iterator[Finding]:
    """What is wrong with path, method and host of an HTTP rule at a path; ``beside`` are all rules of the port."""
    if rule.path and _compiles(rule.path):
        yield from _path(element, (*path, "path"), rule.path, [each.path for each in beside if each.path])
    if rule.method and _compiles(rule.method):
        yield from _method(element, (*path, "method"), rule.method)
    if rule.host:
        yield from _host(element, (*path, "host"), rule.host)


def _method(element: Element, path: KeyPath, text: str) -> Iterator[Finding]:
    if any(_whole(text, each) for each in _METHODS) or _OWN.fullmatch(text):
        return
    if re.search(r"[,\s]", text):
        effect = f"A method has neither commas nor blanks: none is `{text}` as a whole, and the rule allows nothing."
    elif any(_whole(text.upper(), each) for each in _METHODS):
        effect = f"No method is `{text}` as a whole: the rule allows nothing. Methods are written in capitals."
    else:
        effect = f"None of the methods of HTTP and WebDAV is `{text}` as a whole."
    yield METHOD.at(element.case.manifest.place(*path), f"no method matches {text}", effect=effect, span=len(text))


def _host(element: Element, path: KeyPath, text: str) -> Iterator[Finding]:
    place = element.case.manifest.place(*path)
    if not _compiles(text):
        wild = text.replace("*", ".*") if re.fullmatch(r"\*[.\w-]*", text) else ""
        fix = f"Write `{re.sub(r'(?<!^)[.](?![*])', lambda _: chr(92) + '.', wild)}`." if wild else None
        effect = f"`{text}` is no regular expression, and Cilium does not look: the proxy finds no host that is meant."
        yield HOST.at(place, f"{text} is no regular expression", effect=effect, fix=fix, span=len(text))
    elif "/" in text:
        name = urlsplit(text if "://" in text else f"//{text}").netloc
        fix = f"Write `{re.escape(name)}`." if re.fullmatch(r"[\w.:-]+", name) else None
        effect = f"A host has no slash: none is `{text}`, and the rule allows nothing."
        yield HOST.at(place, f"no host matches {text}", effect=effect, fix=fix, span=len(text))


def _path(element: Element, path: KeyPath, text: str, beside: Sequence[str]) -> Iterator[Finding]:
    place = element.case.manifest.place(*path)
    if text[0].isalnum() and "|" not in text:
        meant = urlsplit(text).path or "/" if "://" in text else f"/{text}"
        effect = f"Every path begins with a slash, so `{text}` matches none: the rule allows nothing."
        yield PATH.at(place, f"no path matches {text}", effect=effect, level=Level.ERROR, span=len(text),
                      fix=f"Write `{meant}`.")  # fmt: skip
        return
    other = _other_language(text)
    if other is not None:
        message, effect, fix = other
        yield PATH.at(place, message, effect=effect, fix=fix, span=len(text))
        return
    bare = text.removeprefix("^").rstrip("/")
    if text.startswith("^") and not text.endswith(("$", ".*", ".+")):
        if not _whole(text, f"{bare}/x"):
            effect = f"The expression is for the whole path: {bare}/x does not match and gets 403."
            yield PATH.at(place, f"{text} is no prefix", effect=effect, fix=_below(bare), span=len(text))
    elif len(text) > 1 and _LITERAL.fullmatch(text) and (text.endswith("/") or _has_children(bare, beside)):
        rest = f"{text}x" if text.endswith("/") else f"what else is below it, such as {text}/x,"
        effect = f"Only {text} itself matches; {rest} gets 403{'' if text.endswith('/') else ' unless it is listed'}."
        yield PATH.at(place, f"{text} is no prefix", effect=effect, fix=_below(bare), level=Level.NOTE, span=len(text))


def _has_children(base: str, beside: Sequence[str]) -> bool:
    """Whether other rules of the port list something below a path, and none of them all of it."""
    below = [each.removeprefix("^") for each in beside if each.removeprefix("^").startswith(f"{base}/")]
    return bool(below) and not any(_whole(each, f"{base}/x/y") for each in beside if _compiles(each))


def _below(base: str) -> str:
    return f"For everything below write `{base}/.*`; for the path itself with any query `{base}(\\?.*)?`."


def _other_language(text: str) -> tuple[str, str, str] | None:
    """A path that is written as a wildcard, as a template or as an address: what is wrong, what it does, the fix."""
    glob = re.search(r"/\*{1,2}(?=/|\$?$)|(?<![\\.])[\w-]\*\$?$", text)
    if glob is not None and not _whole(text, sample := _filled(text)):
        what = "any number of slashes" if glob[0][0] == "/" else f"the letter {glob[0][0]} any number of times"
        fix = re.sub(r"/\*{1,2}(?=/)", "/[^/]+", re.sub(r"\*{1,2}\$?$", ".*", text)).removeprefix("^")
        return "a star is no wildcard here", f"The star means {what}; {sample} gets 403.", f"Write `{fix}`."
    query = re.search(r"(?<![\\)\]*+}?])\?(?=[\w.\[\]-]+=)", text)
    if query is not None:
        fix = f"Write `{text[: query.start()]}\\{text[query.start() :]}`, or `(\\?.*)?` for any query."
        effect = f"The question mark makes the character before it optional; {_plain(text)} gets 403."
        return "a question mark is no query string here", effect, fix
    template = re.search(r"(?<!\\[pPx])\{[A-Za-z_]\w*\}|(?<=/):[A-Za-z_]\w*|(?<=/)<(?:\w+:)?\w+>", text)
    if template is not None:
        fix = f"Write `{text[: template.start()]}[^/]+{text[template.end() :]}`."
        sample = f"{text[: template.start()]}1"
        effect = f"`{template[0]}` stands for itself, letter by letter; {sample} gets 403."
        return f"{template[0]} is no placeholder here", effect, fix
    return None


def _filled(text: str) -> str:
    """A path that a wildcard would mean."""
    return re.sub(r"\*{1,2}", "x", text.strip("^$"))


def _plain(text: str) -> str:
    return text.strip("^$").replace("\\", "").replace(".*", "x")


def _compiles(expression: str) -> bool:
    try:
        re2(expression)
    except PatternError:  # it is a finding already
        return False
    return True


def _whole(expression: str, value: str) -> bool:
    try:
        return re2(expression).fullmatch(value) is not None
    except PatternError:
        return True
