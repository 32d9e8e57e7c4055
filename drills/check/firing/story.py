"""What a drill adds to which series: the injection, and the controls beside it, as streams of events.

What one attempt adds: Cilium 1.20 ``pkg/maps/metricsmap`` (one drop for each packet, so one for each SYN that the
kernel sends within the timeout), ``pkg/metrics/metrics.go`` and ``pkg/proxy/accesslog`` (an L7 denial is one request
that was received and denied; a request that passes is received and forwarded, and so is its response),
``pkg/hubble/metrics/*/handler.go``. Where the policies are given, their prediction says who denies and where.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from drills.check.predict.cluster import Cluster
from drills.check.predict.outcome import Met, Prediction, predict
from drills.cilium import metrics
from drills.cilium.metrics import Direction, DropReason, Metric
from drills.playbook import (
    Denied,
    DnsInjection,
    Drill,
    FloodInjection,
    HttpInjection,
    Playbook,
    ProbeInjection,
    WireguardInjection,
)
from drills.playbook.model import Control

CLOSING: Final = ("key-replaced", "device-deleted")  # faults that close the path between nodes


@dataclass(frozen=True, slots=True)
class Stream:
    """Events that count a series up. ``after``: seconds after an attempt at which it counts (again).

    ``at`` is where it is counted: on the source's node, or on those of the target's pods.
    """

    metric: Metric
    labels: Mapping[str, str]
    rate: float
    attempts: int
    amount: int = 1
    after: tuple[float, ...] = (0.0,)
    at: Literal["source", "target"] = "target"
    attack: bool = True  # a control runs before the attack, too


@dataclass(frozen=True, slots=True)
class Story:
    """One way in which a drill can go. ``nodes``: over how many the target's pods can be spread."""

    name: str = ""
    streams: tuple[Stream, ...] = ()
    fault: WireguardInjection | None = None
    nodes: int = 1
    seconds: float = 0.0  # from the first attempt to the last event


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Who denies, and where."""

    met: Met
    direction: Direction = Direction.INGRESS
    rule: bool = False
    proxied: bool = True
    pods: int = 1
    certain: bool = False

    @property
    def at(self) -> Literal["source", "target"]:
        return "source" if self.direction is Direction.EGRESS else "target"


def stories(drill: Drill, playbook: Playbook, cluster: Cluster) -> list[Story]:
    """The ways in which a drill can go, as far as the facts leave it open; none where that is not known at all."""
    injection = drill.injection
    if isinstance(injection, WireguardInjection):
        if injection.fault not in CLOSING:
            return []
        return [Story(injection.fault, fault=injection, nodes=1, seconds=injection.duration)]
    controls = tuple(_control(drill.control, playbook, cluster)) if drill.control is not None else ()
    if isinstance(injection, FloodInjection):
        return [_flood(drill, injection, controls, playbook, cluster)]
    found = []
    for meeting in _meetings(injection, drill.expect.denied or (), predict(injection, playbook, cluster)):
        streams = tuple(_denied(injection, meeting))
        name = str(meeting.met) if meeting.certain else f"{meeting.met}, {meeting.direction}"
        last = max(each.after[-1] for each in streams)
        found.append(Story(name, (*streams, *controls), None, meeting.pods, injection.duration + last))
    return found


def syns(timeout: float) -> tuple[float, ...]:
    """When the kernel sends the SYNs of one attempt, in seconds after its start (measured with Linux 6.18)."""
    return tuple(float(each) for each in range(max(1, math.ceil(timeout))))


def _meetings(injection: ProbeInjection, denied: Sequence[Denied], predictions: Sequence[Prediction]) -> list[_Meeting]:
    wanted = list(dict.fromkeys(_wanted(injection, denied)))
    known = [each for each in predictions if each.met in wanted]
    if known and len(known) == len(predictions):
        return list(dict.fromkeys(_known(each) for each in known))
    found = []
    for met in wanted:
        directions = [Direction.INGRESS, Direction.EGRESS] if met is Met.SILENCE else [Direction.INGRESS]
        if isinstance(injection, DnsInjection):
            directions = [Direction.EGRESS]
        found += [_Meeting(met, each) for each in directions]
    return found


def _known(found: Prediction) -> _Meeting:
    direction = Direction(found.direction or "INGRESS")
    return _Meeting(found.met, direction, found.rule, found.proxied, max(1, found.pods), certain=True)


def _wanted(injection: ProbeInjection, denied: Sequence[Denied]) -> Iterator[Met]:
    """The denials that are expected; any that fits the kind of injection where none is named."""
    for each in denied:
        if each.status is not None:
            yield Met.HTTP_403
        elif each.dns is not None:
            yield Met.DNS_REFUSED
        else:
            yield Met.SILENCE
    if not denied:
        if isinstance(injection, HttpInjection):
            yield Met.HTTP_403
        if isinstance(injection, DnsInjection):
            yield Met.DNS_REFUSED
        yield Met.SILENCE


def _denied(injection: ProbeInjection, meeting: _Meeting) -> Iterator[Stream]:
    pace = _Pace(injection.rate, injection.attempts)
    match meeting.met:
        case Met.HTTP_403:
            yield from _denied_by_proxy(pace, meeting, "envoy", "HTTP")
            labels = {"method": getattr(injection, "method", "GET"), "protocol": "HTTP/1.1", "status": "403"}
            yield pace.stream(metrics.HUBBLE_HTTP_REQUESTS, labels | {"reporter": "server"}, meeting)
        case Met.DNS_REFUSED:
            yield from _denied_by_proxy(pace, meeting, "fqdn", "DNS")
            labels = {"rcode": metrics.DNS_DENIED_RCODE, "qtypes": "A", "ips_returned": "0"}
            yield pace.stream(metrics.HUBBLE_DNS_QUERIES, labels, meeting)
        case _:
            yield from _dropped(pace, meeting, syns(injection.timeout))


@dataclass(frozen=True, slots=True)
class _Pace:
    rate: float
    attempts: int
    after: tuple[float, ...] = field(default=(0.0,))

    def stream(self, metric: Metric, labels: Mapping[str, str], meeting: _Meeting, amount: int = 1) -> Stream:
        return Stream(metric, labels, self.rate, self.attempts, amount, self.after, meeting.at)


def _denied_by_proxy(pace: _Pace, meeting: _Meeting, proxy: str, protocol: str) -> Iterator[Stream]:
    for rule in ("received", "denied"):
        yield pace.stream(metrics.POLICY_L7, {"rule": rule, "proxy_type": proxy}, meeting)
    yield pace.stream(metrics.HUBBLE_DROP, {"reason": "DROP_REASON_UNKNOWN", "protocol": protocol}, meeting)
    verdict = {"direction": meeting.direction.lower(), "match": f"l7/{protocol.lower()}", "action": "dropped"}
    yield pace.stream(metrics.HUBBLE_POLICY_VERDICTS, verdict, meeting)
    flow = {"type": "L7", "subtype": protocol, "verdict": "DROPPED"}
    yield pace.stream(metrics.HUBBLE_FLOWS, flow, meeting)


def _dropped(pace: _Pace, meeting: _Meeting, after: tuple[float, ...]) -> Iterator[Stream]:
    packets = _Pace(pace.rate, pace.attempts, after)
    reason = DropReason.POLICY_DENY if meeting.rule else DropReason.POLICY_DENIED
    direction = str(meeting.direction)
    yield packets.stream(metrics.DROP_COUNT, {"reason": reason.text, "direction": direction}, meeting)
    yield packets.stream(metrics.HUBBLE_DROP, {"reason": reason.name, "protocol": "TCP"}, meeting)
    verdict = {"direction": direction.lower(), "match": "none", "action": "dropped"}
    yield packets.stream(metrics.HUBBLE_POLICY_VERDICTS, verdict, meeting)
    flow = {"type": "Drop", "subtype": str(int(reason)), "verdict": "DROPPED"}
    yield packets.stream(metrics.HUBBLE_FLOWS, flow, meeting)


def _control(control: Control, playbook: Playbook, cluster: Cluster) -> Iterator[Stream]:
    """What passes: requests through an L7 proxy are counted there, where the policies say that one is in the way."""
    if isinstance(control, HttpInjection) and any(each.proxied for each in predict(control, playbook, cluster)):
        yield from _passed(control.rate, control.attempts, attack=False)


def _passed(rate: float, attempts: int, *, attack: bool) -> Iterator[Stream]:
    for rule in ("received", "forwarded"):
        labels = {"rule": rule, "proxy_type": "envoy"}
        yield Stream(metrics.POLICY_L7, labels, rate, attempts, amount=2, attack=attack)


def _flood(
    drill: Drill, injection: FloodInjection, controls: tuple[Stream, ...], playbook: Playbook, cluster: Cluster
) -> Story:
    streams = [*_passed(injection.rate, injection.attempts, attack=True), *controls]
    as_http = HttpInjection.model_construct(
        source=injection.source, url=injection.url, rate=injection.rate, duration=injection.duration
    )
    found = predict(as_http, playbook, cluster)
    pods = max([1, *(each.pods for each in found)])
    labels = {"method": "GET", "protocol": "HTTP/1.1", "status": "200", "reporter": "server"}
    streams.append(Stream(metrics.HUBBLE_HTTP_REQUESTS, labels, injection.rate, injection.attempts))
    for under in drill.expect.during:
        for meeting in _meetings(under.injection, under.denied, predict(under.injection, playbook, cluster))[:1]:
            streams += _denied(under.injection, meeting)
    if all(each.met is not Met.UNKNOWN and not each.proxied for each in found):
        streams = [each for each in streams if each.metric is not metrics.POLICY_L7]
    return Story("flood", tuple(streams), None, pods, injection.duration)
