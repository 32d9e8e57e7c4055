"""The command ``hubble`` in an agent's container: ``observe`` with its filters and formats, ``status``, ``version``.

It sees its own node only, as in Cilium. Facts: Cilium 1.19 ``hubble/cmd/observe`` and ``hubble/pkg/printer``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from drills.cilium.metrics import DropReason
from drills.lab.agent.filters import SHORT, SWITCHES, Filters, UsageError, filter_names
from drills.lab.agent.flows import End, Event, Flow, Lost, Ring, rfc3339
from drills.lab.runtime.builtin import ExecIO

DEFAULT_LAST = 20
MATCH_TYPES = ("none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only")  # pkg/monitor, by number
_FORMATS = ("compact", "json", "jsonpb", "dict", "table")
_UNITS = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_VALUES = frozenset({"last", "first", "since", "until", "output", "server", "time-format", "color", "max-events"})
_FLAGS = frozenset({"follow", "all", "debug", "ip-translation", "numeric", "print-node-name", "print-raw-filters"})
_SHORT = {**SHORT, "f": "follow", "o": "output"}
_BATCH = 256


@dataclass
class Request:
    """What one command line asks for; times in seconds since the epoch."""

    filters: Filters = field(default_factory=Filters)
    output: str = "compact"
    follow: bool = False
    last: int | None = None
    first: int | None = None
    since: float | None = None
    until: float | None = None


def parse(argv: Sequence[str], now: float) -> Request:
    """Read the arguments after ``hubble observe``. Raises UsageError."""
    request = Request()
    words = iter(argv)
    negated = False
    filters = filter_names()
    for word in words:
        if word in ("flows", "--not"):
            negated = negated or word == "--not"
            continue
        name, value = _split(word)
        if name in SWITCHES or name in _FLAGS:
            if name in filters:
                request.filters.add(name, "true", negated=negated)
            request.follow = request.follow or name == "follow"
            if name == "all":
                request.last = 1 << 62
            continue
        if name not in filters and name not in _VALUES:
            raise UsageError(f"unknown flag: {word.partition('=')[0]}")
        if value is None:
            value = next(words, None)
            if value is None:
                raise UsageError(f"flag needs an argument: {word}")
        if name in filters:
            request.filters.add(name, value, negated=negated)
            negated = False
        else:
            _option(request, name, value, now)
    return request


def _split(word: str) -> tuple[str, str | None]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    if word.startswith("-") and len(word) > 1:
        name = _SHORT.get(word[1], "")
        return (name or word), (word[2:].removeprefix("=") if len(word) > 2 else None)
    raise UsageError(f'unknown command "{word}" for "hubble observe"')


def _option(request: Request, name: str, value: str, now: float) -> None:
    match name:
        case "last" | "first":
            if not value.isdigit():
                raise UsageError(f'invalid argument "{value}" for "--{name}" flag')
            setattr(request, name, int(value))
        case "since" | "until":
            setattr(request, name, moment(value, now))
        case "output":
            if value not in _FORMATS:
                raise UsageError(f"invalid output format: {value}")
            request.output = value
        case _:
            pass  # where to connect to and how to paint it: nothing to choose here


def moment(text: str, now: float) -> float:
    """A point in time: a duration before now (``5m``, ``1m30s``) or RFC 3339. Raises UsageError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now - sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"failed to convert `{text}` to timestamp") from None


def select(ring: Ring, request: Request) -> list[tuple[int, Event]]:
    """The events of the past that a request is about, oldest first."""
    shown = ((place, event) for place, event in ring.backwards() if _wanted(event, request))
    if request.first is not None:
        return list(shown)[::-1][: request.first]
    limit = request.last
    if limit is None and request.since is None and request.until is None:
        limit = 0 if request.follow else DEFAULT_LAST
    found: list[tuple[int, Event]] = []
    for item in shown:
        if limit is not None and len(found) >= limit:
            break
        found.append(item)
    return found[::-1]


def _wanted(event: Event, request: Request) -> bool:
    if request.since is not None and event.at < request.since:
        return False
    if request.until is not None and event.at > request.until:
        return False
    return isinstance(event, Lost) or request.filters.match(event)


async def hubble(ring: Ring, argv: Sequence[str], io: ExecIO) -> int:
    """Run ``hubble ...``; ``argv[0]`` is the command's name. The exit status is 1 for a wrong command line."""
    match list(argv[1:]):
        case ["observe", *rest]:
            try:
                request = parse(rest, time.time())
            except (UsageError, re.error) as error:
                await io.write_err(f"{error}\n".encode())
                return 1
            await _observe(ring, request, io)
            return 0
        case ["status", *_]:
            share = 100 * len(ring) / ring.capacity
            text = f"Current/Max Flows: {len(ring):,}/{ring.capacity:,} ({share:.2f}%)\n"
            await io.write_out(f"Healthcheck (via unix:///var/run/cilium/hubble.sock): Ok\n{text}".encode())
            return 0
        case ["version", *_]:
            await io.write_out(b"hubble of the drills lab (Hubble-shaped flows, no Cilium)\n")
            return 0
        case words:
            await io.write_err(f'unknown command "{" ".join(words)}" for "hubble"\n'.encode())
            return 1


async def _observe(ring: Ring, request: Request, io: ExecIO) -> None:
    place = ring.seen
    await _write(ring, select(ring, request), request, io)
    while request.follow and not io.closed.is_set():
        await ring.changed(place)
        if place < ring.first:
            gap = ring.first - place
            place = ring.first
            lost = Lost(time.time(), "HUBBLE_RING_BUFFER", gap)
            await _write(ring, [(place, lost)], request, io)
        events = ring.from_place(place)
        place = ring.seen
        await _write(ring, [item for item in events if _wanted(item[1], request)], request, io)


async def _write(ring: Ring, events: Sequence[tuple[int, Event]], request: Request, io: ExecIO) -> None:
    for start in range(0, len(events), _BATCH):
        lines = (line(ring, place, event, request.output) for place, event in events[start : start + _BATCH])
        await io.write_out("".join(f"{text}\n" for text in lines).encode())


def line(ring: Ring, place: int, event: Event, output: str) -> str:
    """One line of output."""
    if output in ("json", "jsonpb"):
        return json.dumps(ring.to_json(place, event), separators=(",", ":"))
    if isinstance(event, Lost):
        return f"EVENTS LOST: {event.source} CPU(0) {event.count}"
    return compact(event)


def compact(flow: Flow) -> str:
    """The default format: time, both ends, what happened."""
    left, right, arrow = flow.source, flow.destination, "->"
    if flow.reply:
        left, right, arrow = right, left, "<-"
    elif flow.verdict == "DROPPED":
        arrow = "<>"
    when = datetime.fromisoformat(rfc3339(flow.at)).astimezone().strftime("%b %d %H:%M:%S.%f")[:-3]
    return f"{when}: {_end(left, flow)} {arrow} {_end(right, flow)} {' '.join(_what(flow))} ({flow.summary()})"


def _end(end: End, flow: Flow) -> str:
    name = str(end.pod) if end.pod is not None else str(end.address)
    port = f":{end.port}" if flow.protocol in ("TCP", "UDP", "SCTP") else ""
    reserved = end.identity.reserved
    return f"{name}{port} ({reserved or f'ID:{end.identity.number}'})"


def _what(flow: Flow) -> Iterator[str]:
    if flow.kind == "policy-verdict":
        yield f"policy-verdict:{MATCH_TYPES[flow.match_type]} {flow.direction}"
        yield {"DROPPED": "DENIED", "ERROR": "ERROR"}.get(flow.verdict, "ALLOWED")
        return
    if flow.kind == "drop":
        yield DropReason(flow.reason).text
    elif flow.message is not None:
        yield f"{flow.layer7}-{flow.message.lower()}" + (" proxy" if flow.dns is not None else "")
    yield flow.verdict
