"""Which flows ``hubble observe`` shows: its filter flags, parsed as the real command does and asked of a flow.

Values of one flag are alternatives, different flags must all hold, and ``--not`` turns the flag after it into an
exclusion. A comma is part of a name: ``-n a,b`` means a namespace called ``a,b`` (as in Hubble; CILIUM.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Network
from re import compile as regex
from typing import Final

from drills.lab.agent.flows import EVENT_TYPES, REASONS, End, Flow

VERDICTS: Final = ("FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED")


class UsageError(Exception):
    """A flag or a value that the command does not take; the text reads as Hubble's."""


Predicate = Callable[[Flow, str], bool]


def _pod(end: End, value: str) -> bool:
    namespace, slash, name = value.rpartition("/")
    if end.pod is None:
        return False
    if not slash:
        namespace = "default"
    return (not namespace or end.pod.namespace == namespace) and end.pod.name.startswith(name)


def _namespace(end: End, value: str) -> bool:
    return end.pod is not None and end.pod.namespace == value


def _label(end: End, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    return any(
        (not equals or wanted == found) and key in (full, full.partition(":")[2])
        for full, found in end.identity.labels.items()
    )


def _ip(end: End, value: str) -> bool:
    try:
        return end.address in IPv4Network(value, strict=False)
    except ValueError:
        raise UsageError(f"invalid CIDR in filter: {value}") from None


def _identity(end: End, value: str) -> bool:
    return value in (str(end.identity.number), end.identity.reserved)


def _workload(end: End, value: str) -> bool:
    kind, slash, name = value.rpartition("/")
    found = end.pod.workload if end.pod is not None else None
    return found is not None and name == found[1] and (not slash or kind == found[0])


def _port(end: End, value: str) -> bool:
    return value == str(end.port)


_ENDS: Final[Mapping[str, Callable[[End, str], bool]]] = {
    "pod": _pod, "namespace": _namespace, "label": _label, "ip": _ip, "identity": _identity, "port": _port,
    "workload": _workload,
}  # fmt: skip


def _type(flow: Flow, value: str) -> bool:
    kind, _, sub = value.partition(":")
    return flow.kind == kind and (not sub or sub == str(flow.reason))


def _protocol(flow: Flow, value: str) -> bool:
    return value.lower() in (flow.protocol.lower(), flow.protocol.lower().removesuffix("v4"), flow.layer7)


def _status(flow: Flow, value: str) -> bool:
    """``403``, or a prefix and a plus sign: ``4+``."""
    code = str(flow.http.code) if flow.http is not None and flow.http.code else ""
    return bool(code) and (code.startswith(value[:-1]) if value.endswith("+") else code == value)


def _url_path(flow: Flow, value: str) -> bool:
    if flow.http is None:
        return False
    _, _, rest = flow.http.url.partition("://")
    return regex(value).search("/" + rest.partition("/")[2].partition("?")[0]) is not None


def _fqdn(flow: Flow, value: str) -> bool:
    return flow.dns is not None and fnmatchcase(flow.dns.query.rstrip("."), value.rstrip("."))


_FLOW: Final[Mapping[str, Predicate]] = {
    "type": _type,
    "verdict": lambda flow, value: flow.verdict == value.upper(),
    "drop-reason-desc": lambda flow, value: REASONS.get(flow.reason) == value.upper(),
    "protocol": _protocol,
    "traffic-direction": lambda flow, value: flow.direction == value.upper(),
    "http-status": _status,
    "http-method": lambda flow, value: flow.http is not None and flow.http.method.upper() == value.upper(),
    "http-path": _url_path,
    "http-url": lambda flow, value: flow.http is not None and regex(value).search(flow.http.url) is not None,
    "fqdn": _fqdn,
    "to-fqdn": _fqdn,
    "from-fqdn": _fqdn,
    "reply": lambda flow, value: flow.reply == (value.lower() in ("true", "1", "t")),
    "encrypted": lambda _flow, _value: False,
    "unencrypted": lambda _flow, _value: True,
}

SWITCHES: Final = ("encrypted", "unencrypted")
SHORT: Final = {"t": "type", "n": "namespace", "l": "label"}


def filter_names() -> frozenset[str]:
    """The flags that are filters, without their dashes."""
    ends = {f"{prefix}{name}" for name in _ENDS for prefix in ("", "from-", "to-")}
    return frozenset(ends | set(_FLOW))


@dataclass
class Filters:
    """The filters of one command line."""

    include: dict[str, list[str]] = field(default_factory=dict)
    exclude: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, value: str, *, negated: bool = False) -> None:
        """One flag and its value. Raises UsageError for values that Hubble refuses."""
        if name == "verdict" and value.upper() not in VERDICTS:
            raise UsageError(f"invalid --verdict value: {value}")
        if name == "type" and value.partition(":")[0] not in EVENT_TYPES:
            raise UsageError(f"unable to parse type filter '{value}'")
        if name == "traffic-direction" and value.lower() not in ("ingress", "egress"):
            raise UsageError(f"{value}: invalid traffic direction, expected ingress or egress")
        if name in ("ip", "from-ip", "to-ip"):
            try:
                IPv4Network(value, strict=False)
            except ValueError:
                raise UsageError(f"invalid CIDR in filter: {value}") from None
        (self.exclude if negated else self.include).setdefault(name, []).append(value)

    def match(self, flow: Flow) -> bool:
        """Whether the flow is shown."""
        wanted = all(_any(name, values, flow) for name, values in self.include.items())
        if not wanted or not self.exclude:
            return wanted
        return not all(_any(name, values, flow) for name, values in self.exclude.items())


def _any(name: str, values: Sequence[str], flow: Flow) -> bool:
    return any(_holds(name, value, flow) for value in values)


def _holds(name: str, value: str, flow: Flow) -> bool:
    if name in _FLOW:
        return _FLOW[name](flow, value)
    side, _, rest = name.partition("-")
    if side in ("from", "to"):
        return _ENDS[rest](flow.source if side == "from" else flow.destination, value)
    return _ENDS[name](flow.source, value) or _ENDS[name](flow.destination, value)
