"""Flows as Hubble shows them, and the ring that an agent keeps them in.

A record holds what was known when the event happened (a pod may be gone when somebody asks); its JSON is made only
on demand. Shapes: Cilium 1.19 ``api/v1/flow/flow.proto`` as printed by ``hubble observe -o jsonpb`` (enums as names,
zero fields left out) and ``pkg/hubble/parser`` (``seven`` for requests, ``threefour`` for packets).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any, Literal

from drills.cilium.entries import PolicyRef
from drills.cilium.labels import Identity
from drills.cilium.metrics import DropReason
from drills.lab.agent.cluster import Pod

Json = dict[str, Any]

CAPACITY = 16_383  # a legal value of Cilium's hubble-event-buffer-capacity (2^n - 1; its default is 4095)

EVENT_TYPES = {"drop": 1, "trace": 4, "policy-verdict": 5, "l7": 129}
REASONS = {reason.value: reason.name for reason in DropReason}


@dataclass(slots=True)  # not frozen: made for every request of a flood, in a third of the time
class End:
    """One end of a flow. ``pod`` is None for what is no pod; ``local`` says whether it is on the reporting node."""

    address: IPv4Address
    port: int
    identity: Identity
    pod: Pod | None = None
    local: bool = False

    def to_json(self) -> Json:
        """flow.Endpoint."""
        pod = self.pod
        found: Json = {"identity": self.identity.number, "labels": self.identity.printable()}
        if pod is None:
            return found
        found |= {"namespace": pod.namespace, "pod_name": pod.name, "cluster_name": "default"}
        if self.local:
            found["ID"] = pod.endpoint
        if pod.workload is not None:
            found["workloads"] = [{"name": pod.workload[1], "kind": pod.workload[0]}]
        return found


@dataclass(slots=True)  # not frozen: made for every request of a flood, in a third of the time
class Http:
    """A request or its response. Only a response has a code: Cilium fills no more into a request's record."""

    method: str
    url: str
    protocol: str
    code: int = 0
    headers: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> Json:
        """flow.HTTP."""
        found: Json = {"method": self.method, "url": self.url, "protocol": self.protocol}
        if self.code:
            found["code"] = self.code
        if self.headers:
            found["headers"] = [{"key": key, "value": value} for key, value in self.headers]
        return found


@dataclass(frozen=True, slots=True)
class Dns:
    """A lookup or its answer."""

    query: str
    qtypes: tuple[str, ...] = ()
    rcode: int = 0
    ips: tuple[str, ...] = ()
    ttl: int = 0

    def to_json(self) -> Json:
        """flow.DNS."""
        found: Json = {"query": self.query, "observation_source": "proxy"}
        optional = (("qtypes", list(self.qtypes)), ("rcode", self.rcode), ("ips", list(self.ips)), ("ttl", self.ttl))
        return found | {key: value for key, value in optional if value}


@dataclass(slots=True)  # not frozen: made for every request of a flood, in a third of the time
class Flow:
    """One event. ``at`` is in seconds since the epoch, ``latency`` in seconds; ``message`` is what L7 records are."""

    at: float
    kind: Literal["drop", "policy-verdict", "l7"]
    verdict: Literal["FORWARDED", "DROPPED", "REDIRECTED", "ERROR"]
    direction: Literal["INGRESS", "EGRESS"]
    source: End
    destination: End
    protocol: str = "TCP"  # of layer 4, as in flow.Layer4
    flags: tuple[str, ...] = ()
    reason: int = 0
    match_type: int = 0
    by: tuple[PolicyRef, ...] = ()
    logs: tuple[str, ...] = ()
    message: Literal["REQUEST", "RESPONSE"] | None = None
    latency: float = 0.0
    http: Http | None = None
    dns: Dns | None = None

    @property
    def reply(self) -> bool:
        """Whether it goes from server to client."""
        return self.message == "RESPONSE"

    @property
    def layer7(self) -> str | None:
        """``http``, ``dns`` or None."""
        return "http" if self.http is not None else "dns" if self.dns is not None else None

    def summary(self) -> str:
        """The text in parentheses of ``hubble observe``."""
        if self.http is not None:
            what = f"{self.http.method} {self.http.url}"
            if self.message == "RESPONSE":
                return f"{self.http.protocol} {self.http.code} {self.latency * 1000:.0f}ms ({what})"
            return f"{self.http.protocol} {what}"
        if self.dns is not None:
            return _dns_summary(self.dns, reply=self.reply)
        if self.protocol == "TCP":
            return f"TCP Flags: {', '.join(self.flags)}"
        return self.protocol

    def layer4(self) -> Json:
        """flow.Layer4."""
        if self.protocol == "ICMPv4":
            return {"ICMPv4": _nonzero({"type": self.source.port, "code": self.destination.port})}
        if self.protocol not in ("TCP", "UDP", "SCTP"):
            return {}
        ports: Json = _nonzero({"source_port": self.source.port, "destination_port": self.destination.port})
        if self.flags:
            ports["flags"] = dict.fromkeys(self.flags, True)
        return {self.protocol: ports}

    def to_json(self, node: str, identifier: str) -> Json:
        """flow.Flow."""
        flow: Json = {
            "time": rfc3339(self.at),
            "uuid": identifier,
            "verdict": self.verdict,
            "IP": {"source": str(self.source.address), "destination": str(self.destination.address),
                   "ipVersion": "IPv4"},
            "l4": self.layer4(),
            "source": self.source.to_json(),
            "destination": self.destination.to_json(),
            "Type": "L7" if self.message else "L3_L4",
            "node_name": node,
            "event_type": _nonzero({"type": EVENT_TYPES[self.kind],
                                    "sub_type": self.reason if self.kind == "drop" else 0}),
            "traffic_direction": self.direction,
            "is_reply": self.reply,
            "Summary": self.summary(),
        }  # fmt: skip
        return flow | self._reason() | self._layer7()

    def _reason(self) -> Json:
        found: Json = {}
        if self.reason:
            found |= {"drop_reason": self.reason, "drop_reason_desc": REASONS.get(self.reason, "DROP_REASON_UNKNOWN")}
        if self.kind == "policy-verdict" and self.match_type:
            found["policy_match_type"] = self.match_type
        if self.by and self.kind == "policy-verdict":
            name = f"{self.direction.lower()}_{'denied' if self.verdict == 'DROPPED' else 'allowed'}_by"
            found[name] = [_policy(ref) for ref in self.by]
        if self.logs:
            found["policy_log"] = list(self.logs)
        return found

    def _layer7(self) -> Json:
        if self.message is None:
            return {}
        found: Json = {"type": self.message}
        if self.message == "RESPONSE":
            found["latency_ns"] = str(round(self.latency * 1e9))  # jsonpb prints 64-bit numbers as text
        if self.http is not None:
            found["http"] = self.http.to_json()
        if self.dns is not None:
            found["dns"] = self.dns.to_json()
        return {"l7": found}


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that nobody can see any more. ``source`` is an enum name of flow.LostEventSource."""

    at: float
    source: Literal["PERF_EVENT_RING_BUFFER", "OBSERVER_EVENTS_QUEUE", "HUBBLE_RING_BUFFER"]
    count: int


Event = Flow | Lost


class Ring:
    """The last flows of one node, and those who follow them."""

    def __init__(self, node: str, capacity: int = CAPACITY) -> None:
        self.node = node
        self.capacity = capacity
        self.seen = 0  # events ever added; an event's place is its number in this count
        self._events: deque[Event] = deque(maxlen=capacity)
        self._prefix = str(uuid.uuid4())[:24]  # of all uuids: the rest is the event's place
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def first(self) -> int:
        """The place of the oldest event that is still here."""
        return self.seen - len(self._events)

    def add(self, event: Event) -> None:
        """Remember an event, and wake who follows."""
        self._events.append(event)
        self.seen += 1
        self._changed.set()

    def clear(self) -> None:
        """Forget everything, as a new process does; places go on, so that nobody who follows is confused."""
        self._events.clear()

    def from_place(self, place: int) -> list[tuple[int, Event]]:
        """Events from a place on, with their places."""
        start = max(place, self.first)
        offset = start - self.first
        return list(enumerate(list(self._events)[offset:], start)) if offset < len(self._events) else []

    def backwards(self) -> Iterator[tuple[int, Event]]:
        """All events, the newest first."""
        return zip(range(self.seen - 1, self.first - 1, -1), reversed(list(self._events)), strict=True)

    async def changed(self, place: int) -> None:
        """Return when there is an event at or after a place."""
        while self.seen <= place:
            self._changed.clear()
            await self._changed.wait()

    def to_json(self, place: int, event: Event) -> Json:
        """observer.GetFlowsResponse."""
        if isinstance(event, Lost):
            body: Json = {"lost_events": {"source": event.source, "num_events_lost": str(event.count)}}
        else:
            body = {"flow": event.to_json(self.node, f"{self._prefix}{place % (1 << 48):012x}")}
        return {**body, "node_name": self.node, "time": rfc3339(event.at)}


def rfc3339(at: float) -> str:
    """A protobuf Timestamp as JSON, in microseconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _policy(ref: PolicyRef) -> Json:
    found = {"name": ref.name, "namespace": ref.namespace or "", "kind": ref.kind}
    return {key: value for key, value in found.items() if value}


def _nonzero(fields: dict[str, int]) -> Json:
    return {key: value for key, value in fields.items() if value}


def _dns_summary(dns: Dns, *, reply: bool) -> str:
    kinds = ",".join(dns.qtypes)
    if not reply:
        return f"DNS Query {dns.query} {kinds}"
    if dns.rcode:
        names = {2: "Server Failure", 3: "Non-Existent Domain", 5: "Query Refused"}
        return f"DNS Answer RCode: {names.get(dns.rcode, dns.rcode)} (Proxy {dns.query} {kinds})"
    return f'DNS Answer "{",".join(dns.ips)}" TTL: {dns.ttl} (Proxy {dns.query} {kinds})'
