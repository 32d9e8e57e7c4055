"""What a drill can do to series that others read: its targets, what its attempts count in Cilium's metrics, and the
series that its own rules select. Pure.

What one attempt adds is told by Cilium's sources (1.18 to 1.20): a request or lookup that a proxy denies is one
``cilium_policy_l7_total{rule="denied"}`` and no drop; what the datapath denies is one drop for each packet and no
request (pkg/metrics/metrics.go, pkg/maps/metricsmap, pkg/hubble/metrics). A control that were denied would be denied by
the same maker: that of the attack where both are of one kind, else the one that answers for its kind. Whatever a
metric's catalogue does not tell counts as moved by everybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from alerts.promql import LabelMatcher, PromqlError, Selector, absences, selectors
from drills.cilium import metrics
from drills.cilium.metrics import METRICS, Birth, DropReason
from drills.inject.base import service_of
from drills.inject.dns import is_address
from drills.inject.flood import MAKING_UP
from drills.inject.kinds import kind_of
from drills.inject.proof import Maker
from drills.playbook import (
    Control,
    Denied,
    DnsInjection,
    Drill,
    FloodInjection,
    HttpInjection,
    ProbeInjection,
    WireguardInjection,
)

UNMOVED: Final = frozenset({"up"})  # of no exporter, and moved by no attempt
RESTARTING: Final = frozenset({"key-file-deleted", "device-deleted"})  # faults whose repair restarts an agent

Values: TypeAlias = tuple[tuple[str, frozenset[str]], ...]
Tried: TypeAlias = tuple[ProbeInjection | Control | FloodInjection, tuple[Maker, ...]]


@dataclass(frozen=True, slots=True)
class Effect:
    """A metric whose series may move, those with these labels' values (a label that is not named may have any)."""

    metric: str
    labels: Values = ()

    def touches(self, read: Read) -> bool:
        """Whether what is read may change by it."""
        if read.existence and self.metric in METRICS and METRICS[self.metric].birth is Birth.START:
            return False  # it moves what is there already
        selector, known = read.selector, dict(self.labels)
        if selector.metric is not None and selector.metric != self.metric:
            return False
        known["__name__"] = frozenset({self.metric})
        return all(_may_pass(one, known[one.name]) for one in selector.matchers if one.name in known)


@dataclass(frozen=True, slots=True)
class Read:
    """A selector of a rule. ``existence``: the rule asks only whether there are such series (``absent()``)."""

    alert: str
    selector: Selector
    existence: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """Everything of a drill that another one may meet. ``everything``: it may move any series at all."""

    name: str
    attacked: frozenset[str] = frozenset()  # hosts
    used: frozenset[str] = frozenset()  # hosts, the control's as well
    fault: str | None = None  # the node that is cut off
    proven_by: frozenset[Maker] = frozenset()
    effects: tuple[Effect, ...] = ()
    everything: bool = False
    expects: frozenset[str] = frozenset()  # alerts that must fire
    quiet: frozenset[str] = frozenset()  # alerts that must not
    reads: tuple[Read, ...] = ()
    rate: float = 0.0  # attempts per second that it makes at its fastest, all together

    def moves(self, read: Read) -> bool:
        """Whether it may change what a rule reads."""
        metric = read.selector.metric
        if self.everything:
            return True
        if metric is not None and metric not in METRICS:
            return metric not in UNMOVED
        return any(effect.touches(read) for effect in self.effects)


def _may_pass(matcher: LabelMatcher, values: Iterable[str]) -> bool:
    """Whether one of the values passes; a pattern that only Go understands may let any pass."""
    if matcher.operator in ("=~", "!~"):
        try:
            re.compile(matcher.value)
        except re.error:
            return True
    return any(matcher.passes(value) for value in values)


def reads_of(alert: str, expression: str) -> tuple[Read, ...]:
    """What a rule reads; anything where the expression cannot be parsed."""
    try:
        only = absences(expression)
        return tuple(Read(alert, selector, selector in only) for selector in selectors(expression))
    except PromqlError:
        return (Read(alert, Selector(None, ())),)


def footprint(drill: Drill, expressions: Mapping[str, Sequence[str]]) -> Footprint:
    """Of a loaded drill; ``expressions`` are the rules' by the alert's name."""
    named = dict.fromkeys([*(one.name for one in drill.expect.alerts), *drill.expect.quiet])
    reads = [read for name in named for text in expressions.get(name, ()) for read in reads_of(name, text)]
    attacks = list(_attacks(drill))
    controls = list(_controls(drill))
    fault = drill.injection if isinstance(drill.injection, WireguardInjection) else None
    attacked = frozenset(_target(one) for one, _ in attacks)
    effects = [effect for one, makers in (*attacks, *controls) for effect in _of_attempts(one, makers)]
    return Footprint(
        name=drill.name,
        attacked=attacked,
        used=attacked | {_target(one) for one, _ in controls},
        fault=None if fault is None else fault.node,
        proven_by=frozenset(maker for _, makers in attacks for maker in makers),
        effects=tuple(dict.fromkeys([*effects, *_OF_PODS, *(_OF_FAULTS if fault is not None else ())])),
        everything=fault is not None and fault.fault in RESTARTING,
        expects=frozenset(one.name for one in drill.expect.alerts),
        quiet=frozenset(drill.expect.quiet),
        reads=tuple(dict.fromkeys(reads)),
        rate=sum(_fastest(one) for one, _ in (*attacks, *controls)),
    )


def _attacks(drill: Drill) -> Iterator[Tried]:
    injection = drill.injection
    if isinstance(injection, FloodInjection):
        yield injection, (Maker.HTTP,)
    elif not isinstance(injection, WireguardInjection):
        yield injection, makers_of(injection, drill.expect.denied or ())
    for under in drill.expect.during:
        yield under.injection, makers_of(under.injection, under.denied)


def _controls(drill: Drill) -> Iterator[Tried]:
    control, injection = drill.control, drill.injection
    if control is None:
        return
    alike = isinstance(injection, ProbeInjection) and injection.kind == control.kind
    yield control, makers_of(control, (drill.expect.denied or ()) if alike else _usual(control))


def _usual(control: Control) -> tuple[Denied, ...]:
    """How attempts of a kind are denied where nothing is said: by the proxy that answers, else in silence."""
    match control:
        case HttpInjection():
            return (Denied(status=403),)
        case DnsInjection():
            return (Denied(dns="refused"),)
    return (Denied(connect="timeout"),)


def makers_of(injection: ProbeInjection, denied: Sequence[Denied]) -> tuple[Maker, ...]:
    """Who denies an injection's attempts, if anybody does."""
    return kind_of(injection).proof(denied).makers


def _fastest(injection: ProbeInjection | FloodInjection) -> float:
    """Attempts per second; those of a flood, which may make up for a pause."""
    return MAKING_UP * injection.rate if isinstance(injection, FloodInjection) else injection.rate


def _target(injection: ProbeInjection | FloodInjection) -> str:
    """The host that is tried; a Service has one name, however it is written."""
    host = (
        (urlsplit(injection.url).hostname or "") if isinstance(injection, FloodInjection) else kind_of(injection).host
    )
    host = host.lower().rstrip(".")
    service = service_of(host)
    return host if service is None else f"{service[1]}.{service[0]}"


def _of_attempts(injection: ProbeInjection | FloodInjection, makers: Iterable[Maker]) -> Iterator[Effect]:
    """What attempts may count, denied or not."""
    yield from (Effect(one.name) for one in (metrics.FORWARD_COUNT, metrics.FORWARD_BYTES, metrics.HUBBLE_FLOWS))
    yield _verdicts(action={"forwarded", "redirected"})
    if not is_address(_target(injection)):
        yield from _of_proxy("fqdn", denied=Maker.DNS in makers)
    if isinstance(injection, HttpInjection | FloodInjection):
        yield from _of_proxy("envoy", denied=Maker.HTTP in makers)
    if Maker.PACKETS in makers:
        reasons = frozenset({DropReason.POLICY_DENIED.text, DropReason.POLICY_DENY.text})
        sides = frozenset({metrics.Direction.INGRESS.value, metrics.Direction.EGRESS.value})
        for one in (metrics.DROP_COUNT, metrics.DROP_BYTES):
            yield Effect(one.name, (("reason", reasons), ("direction", sides)))
        yield Effect(metrics.HUBBLE_DROP.name, (("reason", frozenset({"POLICY_DENIED", "POLICY_DENY"})),))
        yield _verdicts(action={"dropped"}, match=set(metrics.MATCH_TYPES))


def _of_proxy(proxy: Literal["envoy", "fqdn"], *, denied: bool) -> Iterator[Effect]:
    """Requests or lookups that a proxy counts."""
    rules = {"received", "forwarded", "denied"} if denied else {"received", "forwarded"}
    yield Effect(metrics.POLICY_L7.name, (("rule", frozenset(rules)), ("proxy_type", frozenset({proxy}))))
    protocol = "http" if proxy == "envoy" else "dns"
    if proxy == "envoy":
        yield Effect(metrics.HUBBLE_HTTP_REQUESTS.name)
    else:
        yield Effect(metrics.HUBBLE_DNS_QUERIES.name)
        yield Effect(metrics.HUBBLE_DNS_RESPONSES.name)
    yield _verdicts(action={"forwarded", "dropped"} if denied else {"forwarded"}, match={f"l7/{protocol}"})
    if denied:
        yield Effect(metrics.HUBBLE_DROP.name, (("protocol", frozenset({protocol.upper()})),))


def _verdicts(**labels: set[str]) -> Effect:
    return Effect(
        metrics.HUBBLE_POLICY_VERDICTS.name, tuple((name, frozenset(found)) for name, found in labels.items())
    )


# Drill pods become endpoints with policies of their own.
_OF_PODS: Final = tuple(
    Effect(one.name) for one in (metrics.ENDPOINT_STATE, metrics.POLICY_ENFORCEMENT, metrics.PROXY_REDIRECTS)
)
_OF_FAULTS: Final = (
    *(
        Effect(one.name)
        for one in (metrics.HEALTH_STATUS, metrics.UNREACHABLE_NODES, metrics.UNREACHABLE_HEALTH_ENDPOINTS)
    ),
    Effect(metrics.DROP_COUNT.name, (("reason", frozenset({DropReason.UNENCRYPTED_TRAFFIC.text})),)),
    Effect(metrics.DROP_BYTES.name, (("reason", frozenset({DropReason.UNENCRYPTED_TRAFFIC.text})),)),
    Effect(metrics.HUBBLE_DROP.name, (("reason", frozenset({DropReason.UNENCRYPTED_TRAFFIC.name})),)),
)
