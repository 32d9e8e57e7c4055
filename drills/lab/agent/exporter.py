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

from aiohttp import web

from drills.cilium import metrics
from drills.cilium.metrics import DropReason, Metric
from drills.lab import netns, plan
from drills.lab.agent import nftables
from drills.lab.agent.flows import REASONS, Event, Flow, Lost

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Counts:
    """Counters and gauges of one process by metric and labels, with the births of `drills.cilium.metrics`."""

    def __init__(self) -> None:
        self._values: dict[str, Counter[Labels]] = {}

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count; the first time, the series is born."""
        self._values.setdefault(metric.name, Counter())[_key(labels)] += amount  # type: ignore[assignment]

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge, or a counter that is kept elsewhere."""
        self._values.setdefault(metric.name, Counter())[_key(labels)] = value  # type: ignore[assignment]

    def get(self, metric: Metric, **labels: str) -> float:
        """A series' value, 0 if it is not there."""
        return self._values.get(metric.name, Counter())[_key(labels)]

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


@dataclass
class Agent:
    """What one agent process has counted since it started. A restart makes a new one."""

    started: float = field(default_factory=time.time)
    cilium: Counts = field(default_factory=Counts)
    hubble: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.cilium.start("agent")
        self.hubble.start("hubble")
        self.cilium.set(metrics.PROCESS_START, self.started)

    def request(self, rule: str, proxy: str) -> None:
        """Count a message of a proxy, ``received`` and what became of it."""
        self.cilium.add(metrics.POLICY_L7, rule="received", proxy_type=proxy)
        self.cilium.add(metrics.POLICY_L7, rule=rule, proxy_type=proxy)

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
        """Count an event as Hubble's metrics do (pkg/hubble/metrics/*/handler.go)."""
        if isinstance(event, Lost):
            self.hubble.add(metrics.HUBBLE_LOST, event.count, source=event.source.lower())
            return
        subtype = event.layer7.upper() if event.layer7 else "" if event.kind != "drop" else str(event.reason)
        kind = {"drop": "Drop", "policy-verdict": "PolicyVerdict", "l7": "L7"}[event.kind]
        self.hubble.add(metrics.HUBBLE_FLOWS, type=kind, subtype=subtype, verdict=event.verdict)
        if event.verdict == "DROPPED" and event.kind != "policy-verdict":
            self.hubble.add(
                metrics.HUBBLE_DROP,
                reason=REASONS.get(event.reason, "DROP_REASON_UNKNOWN"),
                protocol=event.layer7.upper() if event.layer7 else event.protocol,
            )
        self._verdict(event)
        self._message(event)

    def _verdict(self, flow: Flow) -> None:
        if flow.kind == "drop" or flow.reply or flow.source.identity.reserved == "host":
            return
        match = f"l7/{flow.layer7}" if flow.layer7 else metrics.MATCH_TYPES[flow.match_type]
        self.hubble.add(
            metrics.HUBBLE_POLICY_VERDICTS, direction=flow.direction.lower(), match=match, action=flow.verdict.lower()
        )

    def _message(self, flow: Flow) -> None:
        if flow.http is not None and flow.reply:
            self.hubble.add(
                metrics.HUBBLE_HTTP_REQUESTS,
                method=flow.http.method,
                protocol=flow.http.protocol,
                status=str(flow.http.code),
                reporter="server" if flow.direction == "INGRESS" else "client",
            )
        if flow.dns is not None:
            denied = flow.verdict == "DROPPED"
            rcode = metrics.DNS_DENIED_RCODE if denied else _rcode(flow.dns.rcode) if flow.reply else ""
            metric = metrics.HUBBLE_DNS_RESPONSES if flow.reply else metrics.HUBBLE_DNS_QUERIES
            self.hubble.add(metric, rcode=rcode, qtypes=",".join(flow.dns.qtypes), ips_returned=str(len(flow.dns.ips)))

    def cilium_page(self) -> str:
        """The agent's page."""
        plain = f"process_start_time_seconds {_number(self.started)}\n"
        return f"# TYPE process_start_time_seconds gauge\n{plain}{page(self.cilium.series())}"

    def hubble_page(self) -> str:
        """Hubble's page."""
        return page(self.hubble.series())


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


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(labels.items())


def _rcode(number: int) -> str:
    names = {0: "No Error", 2: "Server Failure", 3: "Non-Existent Domain", 5: "Query Refused"}
    return names.get(number, str(number))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
