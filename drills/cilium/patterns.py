"""Text patterns of policies: RE2 expressions for HTTP, wildcard patterns for DNS names.

Cilium compiles HTTP expressions with Go's ``regexp`` (when it checks the policy) and Envoy with RE2 (when it enforces
it); both lack look-around and back-references. Here Python's ``re`` stands in: what RE2 refuses is refused, what RE2
spells in another way is rewritten. DNS patterns: Cilium 1.20 ``pkg/fqdn/matchpattern/matchpattern.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final


class PatternError(ValueError):
    """An expression that RE2 does not accept; the text reads as Go's."""


_UNSUPPORTED_GROUPS: Final = ("(?=", "(?!", "(?<=", "(?<!", "(?>", "(?(", "(?P=", "(?#", "(?|")
_KNOWN_ESCAPES: Final = frozenset("aftnrvxQEAbBzdDsSwWpPC0")
_POSIX: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_UNICODE: Final = {"L": "A-Za-z", "Lu": "A-Z", "Ll": "a-z", "N": "0-9", "Nd": "0-9"}  # as far as ASCII goes
_MEMBER: Final = re.compile(
    r"\[:(?P<not>\^?)(?P<posix>\w+):\]|\\[pP](?:\{(?P<long>\^?\w+)\}|(?P<short>\w))"
    r"|\\x\{(?P<hex>[0-9A-Fa-f]+)\}|\\(?P<escape>.)|(?P<plain>[\[&~|-])|.",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)"
    r"|(?P<members>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<unicode>\\[pP](?:\{\^?\w+\}|\w))"
    r"|\\x\{(?P<hex>[0-9A-Fa-f]+)\}"
    r"|\\(?P<escape>.)"
    r"|(?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\})[*+?]*)"
    r"|(?P<open>\[)"
    r"|(?P<group>\(\?(?:<[=!]|P[=<>]|<|[=!>(#|]|[a-zA-Z-]*[:)]))"
    r"|.",
    re.DOTALL,
)


@lru_cache(maxsize=512)
def re2(expression: str) -> re.Pattern[str]:
    """An RE2 expression as a Python pattern; use ``fullmatch``, as Envoy does.

    Not modelled: classes beyond ASCII.

    :raises PatternError: where RE2 would refuse it.
    """
    translated = "".join(_scoped(_translate(match) for match in _TOKEN.finditer(expression)))
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise PatternError(f"error parsing regexp: {error}: `{expression}`") from error


def _scoped(tokens: Iterable[str]) -> Iterator[str]:
    """Flags in the middle of an expression hold to the end of their group: as groups with flags, one in each branch."""
    flags: list[list[str]] = [[]]  # of each open group
    for part in tokens:
        if _FLAGS.fullmatch(part):
            flags[-1].append(part[:-1] + ":")
            yield flags[-1][-1]
        elif part == "|":
            yield ")" * len(flags[-1]) + "|" + "".join(flags[-1])
        elif part == ")" and len(flags) > 1:
            yield ")" * len(flags.pop()) + ")"
        else:
            if part.startswith("("):
                flags.append([])
            yield part
    yield ")" * len(flags[0])


_FLAGS: Final = re.compile(r"\(\?(?:[ims]+(?:-[ims]+)?|-[ims]+)\)")


def _translate(token: re.Match[str]) -> str:
    kind = token.lastgroup
    return _TRANSLATIONS[kind](token[kind]) if kind else token.group()


def _members(text: str) -> str:
    start = 2 if text.startswith("[^") else 1
    first = "\\]" if text[start] == "]" and len(text) > start + 1 else ""
    inside = text[start + 1 if first else start : -1]
    return text[:start] + first + "".join(_member(match) for match in _MEMBER.finditer(inside)) + "]"


def _member(match: re.Match[str]) -> str:
    text = match.group()
    name = match["posix"] or match["long"] or match["short"]
    if name is not None:
        members = (_POSIX if match["posix"] else _UNICODE).get(name)
        if members is None or match["not"] or text.startswith("\\P"):
            raise PatternError(f"error parsing regexp: invalid character class range: `{text}`")
        return members
    if match["hex"] is not None:
        return _hex(match["hex"])
    if match["escape"] is not None:
        return _escape(match["escape"])
    return f"\\{text}" if match["plain"] and text != "-" else text  # Python warns of nested sets


def _hex(digits: str) -> str:
    try:
        return re.escape(chr(int(digits, 16)))
    except (ValueError, OverflowError) as error:
        raise PatternError(f"error parsing regexp: invalid escape sequence: `\\x{{{digits}`") from error


def _escape(escape: str) -> str:
    if escape == "z":
        return r"\Z"
    if escape.isascii() and escape.isalnum() and escape not in _KNOWN_ESCAPES:
        raise PatternError(f"error parsing regexp: invalid escape sequence: `\\{escape}`")
    return {"C": "."}.get(escape, f"\\{escape}")


def _repeat(repeat: str) -> str:
    tail = repeat.lstrip("0123456789,{}") if repeat.startswith("{") else repeat[1:]
    if tail not in {"", "?"}:
        raise PatternError(f"error parsing regexp: invalid nested repetition operator: `{repeat}`")
    limits = [int(number) for number in re.findall(r"\d+", repeat)]
    if max(limits, default=0) > 1000:
        raise PatternError(f"error parsing regexp: invalid repeat count: `{repeat}`")
    return repeat


def _group(group: str) -> str:
    flags = group[2:-1] if group[-1] in ":)" else ""
    if any(group.startswith(each) for each in _UNSUPPORTED_GROUPS) or not set(flags) <= set("imsU-"):
        raise PatternError(f"error parsing regexp: invalid or unsupported Perl syntax: `{group}`")
    if group == "(?<":  # a named group, as Go 1.22 and RE2 write it too
        return "(?P<"
    if not flags:
        return group
    kept = flags.replace("U", "").removesuffix("-")  # which repetitions are greedy does not matter for the whole value
    return f"(?{kept}{group[-1]}" if kept or group[-1] == ":" else ""


def _unclosed(_text: str) -> str:
    raise PatternError("error parsing regexp: missing closing ]: `[`")


_TRANSLATIONS: Final[Mapping[str, Callable[[str], str]]] = {
    "quoted": re.escape,
    "members": _members,
    "unicode": lambda text: _members(f"[{text}]"),
    "hex": _hex,
    "escape": _escape,
    "repeat": _repeat,
    "open": _unclosed,
    "group": _group,
}


# --- DNS --------------------------------------------------------------------------------------------------------------

_LABEL: Final = "[-a-zA-Z0-9_]"
_EVERYTHING: Final = re.compile(r"[*]+[.]?")
_NAME_CHARACTERS: Final = re.compile(r"[-a-zA-Z0-9_.]+")
_PATTERN_CHARACTERS: Final = re.compile(r"[-a-zA-Z0-9_.*]+")
MAX_NAME: Final = 255


def absolute(name: str) -> str:
    """A DNS name in lower case and with its final dot, as Cilium compares them."""
    return name.strip().lower().rstrip(".") + "."


@lru_cache(maxsize=512)
def dns_pattern(pattern: str) -> re.Pattern[str]:
    """A ``matchPattern`` as a regular expression for :func:`absolute` names; use ``fullmatch``.

    ``*`` alone matches every name; otherwise it stands for characters of one level, and a leading ``**.`` for one level
    or more.
    """
    text = pattern.strip().lower()
    if _EVERYTHING.fullmatch(text):
        return re.compile(rf"({_LABEL}+[.])+|[.]")
    parts = re.escape(absolute(text)).replace(r"\*", "*")
    parts = re.sub(r"^\*{2,}\\\.", lambda _: rf"({_LABEL}+([.]{_LABEL}+)*)[.]", parts)
    head, many, rest = parts.rpartition("*)[.]") if parts.startswith("(") else ("", "", parts)
    return re.compile(head + many + re.sub(r"\*+", f"{_LABEL}*", rest))


def dns_matches(name: str, *, match_name: str | None, match_pattern: str | None) -> bool:
    """Whether a DNS name is the literal name, or matches the pattern. Case and a final dot do not matter."""
    if match_name:
        return absolute(name) == absolute(match_name)
    return bool(match_pattern) and dns_pattern(match_pattern or "").fullmatch(absolute(name)) is not None


def dns_name_error(match_name: str) -> str | None:
    """What Cilium says against a ``matchName``; None where it has nothing to say."""
    if _NAME_CHARACTERS.fullmatch(match_name):
        return None
    return f'Invalid characters in MatchName: "{match_name}". Only 0-9, a-z, A-Z and ., -, _ characters are allowed'


def dns_pattern_error(match_pattern: str) -> str | None:
    """What Cilium says against a ``matchPattern``; None where it has nothing to say."""
    if len(match_pattern.strip()) > MAX_NAME:
        return f'Invalid MatchPattern: "{match_pattern}". Must be <= {MAX_NAME} characters long.'
    if match_pattern and not _PATTERN_CHARACTERS.fullmatch(match_pattern):
        return (
            f'Invalid characters in MatchPattern: "{match_pattern}". '
            "Only 0-9, a-z, A-Z and ., -, _ and * characters are allowed"
        )
    return None
