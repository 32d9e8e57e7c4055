"""What an agent and its Hubble count, and the pages that Prometheus reads.

Names, labels and birth are those of `drills.cilium.metrics`: a drop series appears with the first drop, the L7
counters start at 0.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web

from drills.cilium import metrics
from drills.cilium.labels import HOST
from drills.cilium.metrics import DropReason, Metric
from drills.lab import netns, plan
from drills.lab.agent import nftables
from drills.lab.agent.flows import REASONS, Event, Lost

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Counts:
    """Counters and gauges of one process by metric and labels, with the births of `drills.cilium.metrics`."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {}

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count; the first time, the series is born."""
        series = self._values.setdefault(metric.name, {})
        key = tuple(labels.items())
        series[key] = series.get(key, 0) + amount

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge, or a counter that is kept elsewhere."""
        self._values.setdefault(metric.name, {})[tuple(labels.items())] = value

    def start(self, exporter: str) -> None:
        """Give birth to what is there from the start."""
        for metric in metrics.METRICS.values():
            if metric.exporter == exporter:
                for labels in metric.at_start():
                    self.add(metric, 0, **labels)

    def series(self) -> Iterator[tuple[str, Labels, float]]:
        """Every series: name, labels, value."""
        for name, values in sorted(self._values.items()):
            for labels, value in sorted(values.items()):
                yield name, labels, value


class FlowKind(NamedTuple):
    """All that Hubble's metrics want to know of a flow: flows of a kind are counted together, and told apart later."""

    kind: str
    verdict: str
    direction: str
    protocol: str
    reason: int
    match_type: int
    reply: bool
    from_host: bool
    layer7: str | None
    method: str = ""
    version: str = ""
    code: int = 0
    qtypes: tuple[str, ...] = ()
    addresses: int = 0


@dataclass
class Agent:
    """What one agent process has counted since it started. A restart makes a new one."""

    started: float = field(default_factory=time.time)
    cilium: Counts = field(default_factory=Counts)
    _requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    _flows: Counter[FlowKind] = field(default_factory=Counter)
    _lost: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.cilium.start("agent")
        self.cilium.set(metrics.PROCESS_START, self.started)

    def request(self, rule: str, proxy: str) -> None:
        """Count a message of a proxy, ``received`` and what became of it."""
        self._requests["received", proxy] += 1
        self._requests[rule, proxy] += 1

    def packets(self, counters: Mapping[str, tuple[int, int]]) -> None:
        """Take over the packet filter's counters (name -> packets, bytes); what never counted has no series."""
        for name, (direction, reason) in nftables.DROPPED.items():
            packets, size = counters.get(name, (0, 0))
            if packets:
                labels = {"reason": DropReason(reason).text, "direction": direction.upper()}
                self.cilium.set(metrics.DROP_COUNT, packets, **labels)
                self.cilium.set(metrics.DROP_BYTES, size, **labels)
        for direction, name in nftables.FORWARDED.items():
            packets, size = counters.get(name, (0, 0))
            if packets:
                self.cilium.set(metrics.FORWARD_COUNT, packets, direction=direction.upper())
                self.cilium.set(metrics.FORWARD_BYTES, size, direction=direction.upper())

    def flow(self, event: Event) -> None:
        """Count an event for Hubble's metrics. Quick: it is called for every request of a flood."""
        if isinstance(event, Lost):
            self._lost[event.source.lower()] += event.count
            return
        host = event.source.identity.number == HOST.number
        kind = (event.kind, event.verdict, event.direction, event.protocol, event.reason, event.match_type,
                event.message == "RESPONSE", host)  # fmt: skip
        http, dns = event.http, event.dns
        if http is not None:
            found = FlowKind(*kind, "http", http.method, http.protocol, http.code)
        elif dns is not None:
            found = FlowKind(*kind, "dns", code=dns.rcode, qtypes=dns.qtypes, addresses=len(dns.ips))
        else:
            found = FlowKind(*kind, None)
        self._flows[found] += 1

    def cilium_series(self) -> Iterator[tuple[str, Labels, float]]:
        """The agent's metrics: name, labels, value."""
        for (rule, proxy), number in self._requests.items():
            self.cilium.set(metrics.POLICY_L7, number, rule=rule, proxy_type=proxy)
        return self.cilium.series()

    def hubble_series(self) -> Iterator[tuple[str, Labels, float]]:
        """Hubble's metrics: name, labels, value."""
        counts = Counts()
        counts.start("hubble")
        for source, number in self._lost.items():
            counts.add(metrics.HUBBLE_LOST, number, source=source)
        for kind, number in self._flows.items():
            _count(counts, kind, number)
        return counts.series()

    def cilium_page(self) -> str:
        """The agent's page."""
        plain = f"process_start_time_seconds {_number(self.started)}\n"
        return f"# TYPE process_start_time_seconds gauge\n{plain}{page(self.cilium_series())}"

    def hubble_page(self) -> str:
        """Hubble's page."""
        return page(self.hubble_series())


def page(series: Iterable[tuple[str, Labels, float]]) -> str:
    """Series in Prometheus's text format."""
    lines: list[str] = []
    last = ""
    for name, labels, value in series:
        metric = metrics.METRICS[name]
        if name != last:
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
            last = name
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        lines.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def read_counters(node: str) -> dict[str, tuple[int, int]]:
    """The packet filter's counters of a node: name -> packets, bytes. Blocks for about a millisecond."""
    answer = json.loads(netns.nft(node, f"list counters table {nftables.TABLE}\n", json=True))
    found = (entry["counter"] for entry in answer["nftables"] if "counter" in entry)
    return {each["name"]: (each["packets"], each["bytes"]) for each in found}


def address(node: str, port: int) -> tuple[str, int]:
    """Where a node's page is served."""
    return str(plan.NODES[node]), port


def text_response(text: str) -> web.Response:
    """A page as an HTTP answer."""
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


def _count(counts: Counts, kind: FlowKind, number: int) -> None:
    """Flows of one kind in the words of pkg/hubble/metrics/*/handler.go."""
    layer7 = kind.layer7.upper() if kind.layer7 else ""
    word = {"drop": "Drop", "policy-verdict": "PolicyVerdict", "l7": "L7"}[kind.kind]
    subtype = layer7 or (str(kind.reason) if kind.kind == "drop" else "")
    counts.add(metrics.HUBBLE_FLOWS, number, type=word, subtype=subtype, verdict=kind.verdict)
    if kind.verdict == "DROPPED" and kind.kind != "policy-verdict":
        reason = REASONS.get(kind.reason, "DROP_REASON_UNKNOWN")
        counts.add(metrics.HUBBLE_DROP, number, reason=reason, protocol=layer7 or kind.protocol)
    if kind.kind != "drop" and not kind.reply and not kind.from_host:
        match = f"l7/{kind.layer7}" if kind.layer7 else metrics.MATCH_TYPES[kind.match_type]
        direction, action = kind.direction.lower(), kind.verdict.lower()
        counts.add(metrics.HUBBLE_POLICY_VERDICTS, number, direction=direction, match=match, action=action)
    if kind.layer7 == "http" and kind.reply:
        reporter = "server" if kind.direction == "INGRESS" else "client"
        labels = {"method": kind.method, "protocol": kind.version, "status": str(kind.code), "reporter": reporter}
        counts.add(metrics.HUBBLE_HTTP_REQUESTS, number, **labels)
    if kind.layer7 == "dns":
        asked = metrics.DNS_DENIED_RCODE if kind.verdict == "DROPPED" else ""
        labels = {"rcode": _rcode(kind.code) if kind.reply else asked, "qtypes": ",".join(kind.qtypes)}
        metric = metrics.HUBBLE_DNS_RESPONSES if kind.reply else metrics.HUBBLE_DNS_QUERIES
        counts.add(metric, number, **labels, ips_returned=str(kind.addresses))


def _rcode(number: int) -> str:
    names = {0: "No Error", 2: "Server Failure", 3: "Non-Existent Domain", 5: "Query Refused"}
    return names.get(number, str(number))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
