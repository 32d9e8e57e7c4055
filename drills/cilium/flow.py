"""Hubble's flows as ``hubble observe -o jsonpb`` prints them: one JSON object a line, enums by name, zeroes left out.

The lab writes what this builds, the engine reads what this parses, and unknown fields (other Cilium versions) are
ignored. One dropped packet gives two flows, a policy verdict and a drop: count one type only. A flow at the
application level that was denied has the verdict DROPPED and no drop reason. Facts: Cilium 1.19
``api/v1/flow/flow.proto``, ``hubble/cmd/observe_help.txt``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from drills.cilium.labels import Identity
from drills.cilium.metrics import DropReason


class Verdict(StrEnum):
    """What became of the packet or the request."""

    UNKNOWN = "VERDICT_UNKNOWN"
    FORWARDED = "FORWARDED"
    DROPPED = "DROPPED"
    ERROR = "ERROR"
    AUDIT = "AUDIT"
    REDIRECTED = "REDIRECTED"
    TRACED = "TRACED"
    TRANSLATED = "TRANSLATED"


class FlowType(StrEnum):
    """The layer that the flow was seen on."""

    UNKNOWN = "UNKNOWN_TYPE"
    L3_L4 = "L3_L4"
    L7 = "L7"


class EventType(IntEnum):
    """``event_type.type``: which event of the agent the flow was made of."""

    UNKNOWN = 0
    DROP = 1
    TRACE = 4
    POLICY_VERDICT = 5
    TRACE_SOCK = 7
    L7 = 129


class TrafficDirection(StrEnum):
    """Seen from the endpoint that reports the flow."""

    UNKNOWN = "TRAFFIC_DIRECTION_UNKNOWN"
    INGRESS = "INGRESS"
    EGRESS = "EGRESS"


class L7Type(StrEnum):
    """Which side of an exchange."""

    UNKNOWN = "UNKNOWN_L7_TYPE"
    REQUEST = "REQUEST"
    RESPONSE = "RESPONSE"


def _text_of_number(value: int) -> str:
    return str(value)


Uint64 = Annotated[int, PlainSerializer(_text_of_number, return_type=str)]
"""A 64-bit number: a text in jsonpb."""


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_write_time, return_type=str)]


def _known(enum: type[StrEnum]) -> BeforeValidator:
    """Read a member; a name that this version does not know becomes the zero value."""
    return BeforeValidator(lambda value: value if value in set(enum) else next(iter(enum)))


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True)


class Workload(_Message):
    """What a pod belongs to."""

    name: str = ""
    kind: str = ""


class Endpoint(_Message):
    """One end of a flow."""

    id_: int = Field(default=0, alias="ID")
    identity: int = 0
    cluster_name: str = ""
    namespace: str = ""
    labels: tuple[str, ...] = ()
    pod_name: str = ""
    workloads: tuple[Workload, ...] = ()

    @property
    def pod(self) -> str:
        """``namespace/name``, or an empty text where it is no pod."""
        return f"{self.namespace}/{self.pod_name}" if self.pod_name else ""


class Ip(_Message):
    """Addresses."""

    source: str = ""
    destination: str = ""
    ip_version: str = Field(default="IP_NOT_USED", alias="ipVersion")
    encrypted: bool = False


class TcpFlags(_Message):
    """Flags of a TCP segment."""

    fin: bool = Field(default=False, alias="FIN")
    syn: bool = Field(default=False, alias="SYN")
    rst: bool = Field(default=False, alias="RST")
    psh: bool = Field(default=False, alias="PSH")
    ack: bool = Field(default=False, alias="ACK")


class Tcp(_Message):
    """TCP ports."""

    source_port: int = 0
    destination_port: int = 0
    flags: TcpFlags | None = None


class Udp(_Message):
    """UDP ports."""

    source_port: int = 0
    destination_port: int = 0


class Icmp(_Message):
    """An ICMP message."""

    type: int = 0
    code: int = 0


class Layer4(_Message):
    """What stands above IP: one of these."""

    tcp: Tcp | None = Field(default=None, alias="TCP")
    udp: Udp | None = Field(default=None, alias="UDP")
    icmpv4: Icmp | None = Field(default=None, alias="ICMPv4")
    icmpv6: Icmp | None = Field(default=None, alias="ICMPv6")

    @property
    def protocol(self) -> str:
        """``TCP``, ``UDP``, ``ICMPv4``, ``ICMPv6`` or an empty text."""
        names = {"TCP": self.tcp, "UDP": self.udp, "ICMPv4": self.icmpv4, "ICMPv6": self.icmpv6}
        return next((name for name, value in names.items() if value is not None), "")

    @property
    def destination_port(self) -> int | None:
        """The destination's port; None where there are no ports."""
        ports = self.tcp or self.udp
        return ports.destination_port if ports else None

    @property
    def source_port(self) -> int | None:
        """The source's port; None where there are no ports."""
        ports = self.tcp or self.udp
        return ports.source_port if ports else None


class HttpHeader(_Message):
    """One header."""

    key: str = ""
    value: str = ""


class Http(_Message):
    """An HTTP request or its response. ``code`` is 0 in a request."""

    code: int = 0
    method: str = ""
    url: str = ""
    protocol: str = ""
    headers: tuple[HttpHeader, ...] = ()


class Dns(_Message):
    """A DNS query or its answer. ``rcode`` is DNS's number (5 is REFUSED)."""

    query: str = ""
    ips: tuple[str, ...] = ()
    ttl: int = 0
    cnames: tuple[str, ...] = ()
    observation_source: str = ""
    rcode: int = 0
    qtypes: tuple[str, ...] = ()
    rrtypes: tuple[str, ...] = ()


class Layer7(_Message):
    """What a proxy saw."""

    type: Annotated[L7Type, _known(L7Type)] = L7Type.UNKNOWN
    latency_ns: Uint64 = 0
    http: Http | None = None
    dns: Dns | None = None


class FlowEvent(_Message):
    """The event that the flow was made of."""

    type: int = 0
    sub_type: int = 0


class FlowPolicy(_Message):
    """A policy that decided the flow."""

    name: str = ""
    namespace: str = ""
    labels: tuple[str, ...] = ()
    revision: Uint64 = 0
    kind: str = ""

    @property
    def title(self) -> str:
        """``namespace/name``; a clusterwide one has no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


NO_REASON: Final = "DROP_REASON_UNKNOWN"  # the zero value: of all that is no drop of the datapath's


class Flow(_Message):
    """One flow. ``source`` is who sent the packet that was seen, so it is the server in a reply."""

    time: Time | None = None
    uuid: str = ""
    verdict: Annotated[Verdict, _known(Verdict)] = Verdict.UNKNOWN
    drop_reason: int = 0
    auth_type: str = "DISABLED"
    ip: Ip | None = Field(default=None, alias="IP")
    l4: Layer4 | None = None
    source: Endpoint | None = None
    destination: Endpoint | None = None
    type: Annotated[FlowType, _known(FlowType)] = Field(default=FlowType.UNKNOWN, alias="Type")
    node_name: str = ""
    source_names: tuple[str, ...] = ()
    destination_names: tuple[str, ...] = ()
    l7: Layer7 | None = None
    event_type: FlowEvent | None = None
    traffic_direction: Annotated[TrafficDirection, _known(TrafficDirection)] = TrafficDirection.UNKNOWN
    policy_match_type: int = 0
    trace_observation_point: str = "UNKNOWN_POINT"
    drop_reason_desc: str = NO_REASON
    is_reply: bool | None = None
    egress_allowed_by: tuple[FlowPolicy, ...] = ()
    ingress_allowed_by: tuple[FlowPolicy, ...] = ()
    egress_denied_by: tuple[FlowPolicy, ...] = ()
    ingress_denied_by: tuple[FlowPolicy, ...] = ()
    policy_log: tuple[str, ...] = ()
    summary: str = Field(default="", alias="Summary")

    @property
    def event(self) -> EventType:
        """Which event of the agent it was made of."""
        number = self.event_type.type if self.event_type else 0
        return EventType(number) if number in set(EventType) else EventType.UNKNOWN

    @property
    def denied_by(self) -> tuple[FlowPolicy, ...]:
        """The policies whose deny rule it was. Only a policy verdict names them, and only where a rule matched."""
        return (*self.ingress_denied_by, *self.egress_denied_by)

    @property
    def default_denied(self) -> bool:
        """Whether it says that no rule allowed it: a verdict that matched none. Cilium cannot name a policy then
        (Cilium 1.19 pkg/policy/correlation/correlation.go).
        """
        told = self.event is EventType.POLICY_VERDICT and self.drop_reason_desc == DropReason.POLICY_DENIED.name
        return told and self.verdict is Verdict.DROPPED and self.policy_match_type == 0 and not self.denied_by

    @property
    def denied(self) -> bool:
        """Whether policy denied it: a dropped verdict for one of policy's reasons, or a request that a proxy denied."""
        if self.verdict is not Verdict.DROPPED:
            return False
        return self.type is FlowType.L7 or self.drop_reason_desc in POLICY_DROPS


POLICY_DROPS: Final = frozenset({DropReason.POLICY_DENIED.name, DropReason.POLICY_DENY.name})


class LostEvents(_Message):
    """Events that Hubble could not keep: absence of a flow then proves nothing."""

    source: str = "UNKNOWN_LOST_EVENT_SOURCE"
    num_events_lost: Uint64 = 0


class NodeStatus(_Message):
    """A node that came or went while a relay was asked."""

    state_change: str = ""
    node_names: tuple[str, ...] = ()
    message: str = ""


class Response(_Message):
    """One line: a flow, or lost events, or a node's status."""

    flow: Flow | None = None
    lost_events: LostEvents | None = None
    node_status: NodeStatus | None = None
    node_name: str = ""
    time: Time | None = None

    def line(self) -> str:
        """As Hubble prints it, without the final newline."""
        return json.dumps(self.to_json(), separators=(",", ":"), ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: enums by name, zero values left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


class FlowError(ValueError):
    """A line that is no flow, lost event or node status."""


def parse(line: str | bytes) -> Response:
    """One line of ``hubble observe -o jsonpb``.

    :raises FlowError: where it is not JSON, or has none of the three.
    """
    try:
        found = Response.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FlowError(f"not a line of hubble observe -o jsonpb: {place or 'line'}: {first['msg']}") from error
    if found.flow is None and found.lost_events is None and found.node_status is None:
        raise FlowError("not a line of hubble observe -o jsonpb: no flow, lost_events or node_status")
    return found


def parse_all(lines: Iterable[str | bytes]) -> Iterator[Response]:
    """Every line that is not blank.

    :raises FlowError: at the first that is no flow, lost event or node status.
    """
    return (parse(line) for line in lines if line.strip())


def response(flow: Flow) -> Response:
    """The line of a flow: node and time stand there a second time."""
    return Response(flow=flow, node_name=flow.node_name, time=flow.time)


def lost(count: int, *, node: str, at: datetime, source: str = "HUBBLE_RING_BUFFER") -> Response:
    """The line that says how many events were lost."""
    return Response(lost_events=LostEvents(source=source, num_events_lost=count), node_name=node, time=at)


def endpoint(identity: Identity, *, pod: str = "", number: int = 0, workloads: tuple[Workload, ...] = ()) -> Endpoint:
    """An end of a flow from its identity; ``number`` is the endpoint's own on its node, 0 where it is elsewhere."""
    return Endpoint(
        id_=number,
        identity=identity.number,
        cluster_name="default" if identity.namespace else "",
        namespace=identity.namespace or "",
        labels=tuple(identity.printable()),
        pod_name=pod,
        workloads=workloads,
    )
