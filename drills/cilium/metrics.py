"""Metrics of Cilium's agents and of Hubble: names, labels, values, and when a series is born.

The lab's exporter serves exactly these, the engine reads evidence from them, the linter knows what a rule may select.
Birth matters: a counter that is born by the first event hides that event from ``increase()``; one that is there from
the start at 0 does not. Facts: Cilium 1.20 ``pkg/metrics/metrics.go``, ``pkg/maps/metricsmap/metricsmap.go``,
``pkg/monitor/api/drop.go``, ``pkg/hubble/metrics/*/handler.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import product
from types import MappingProxyType
from typing import Final, Literal

AGENT_PORT: Final = 9962
HUBBLE_PORT: Final = 9965


class Birth(StrEnum):
    """When a series comes to be."""

    START = "start"
    """With the agent: a counter at 0 for every combination of its labels' values; a gauge with its value."""
    FIRST_EVENT = "first-event"
    """With the first event, which ``increase()`` therefore does not see."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family. A label without values may have any."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    exporter: Literal["agent", "hubble"]
    birth: Birth
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def family(self) -> str:
        """The name without a counter's ``_total``, as OpenMetrics' metadata has it."""
        return self.name.removesuffix("_total")

    def at_start(self) -> Iterator[dict[str, str]]:
        """The label sets that are there from the start; none for what the first event gives birth to."""
        if self.birth is Birth.FIRST_EVENT:
            return
        for values in product(*self.labels.values()):
            yield dict(zip(self.labels, values, strict=True))


class Direction(StrEnum):
    """``direction`` of the agents' metrics: upper case. (Hubble's policy verdicts have it in lower case.)"""

    INGRESS = "INGRESS"
    EGRESS = "EGRESS"
    SERVICE = "SERVICE"
    UNKNOWN = "UNKNOWN"


class DropReason(IntEnum):
    """Why a packet was dropped; ``text`` is the metric's ``reason``, ``name`` is Hubble's."""

    INVALID_SOURCE_IP = 132
    POLICY_DENIED = 133
    UNSUPPORTED_L3_PROTOCOL = 139
    STALE_OR_UNROUTABLE_IP = 151
    CT_MAP_INSERTION_FAILED = 155
    SERVICE_BACKEND_NOT_FOUND = 158
    NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT = 160
    DENIED_BY_LB_SRC_RANGE_CHECK = 177
    POLICY_DENY = 181
    AUTH_REQUIRED = 189
    UNENCRYPTED_TRAFFIC = 195
    DROP_RATE_LIMITED = 198
    DROP_HOST_NOT_READY = 202
    DROP_EP_NOT_READY = 203
    DROP_NO_EGRESS_IP = 204

    @property
    def text(self) -> str:
        """As ``cilium_drop_count_total{reason=...}`` has it."""
        return _DROP_TEXTS[self]


_DROP_TEXTS: Final[Mapping[DropReason, str]] = {
    DropReason.INVALID_SOURCE_IP: "Invalid source ip",
    DropReason.POLICY_DENIED: "Policy denied",
    DropReason.UNSUPPORTED_L3_PROTOCOL: "Unsupported L3 protocol",
    DropReason.STALE_OR_UNROUTABLE_IP: "Stale or unroutable IP",
    DropReason.CT_MAP_INSERTION_FAILED: "CT: Map insertion failed",
    DropReason.SERVICE_BACKEND_NOT_FOUND: "Service backend not found",
    DropReason.NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT: "No tunnel/encapsulation endpoint (datapath BUG!)",
    DropReason.DENIED_BY_LB_SRC_RANGE_CHECK: "Denied by LB src range check",
    DropReason.POLICY_DENY: "Policy denied by denylist",
    DropReason.AUTH_REQUIRED: "Authentication required",
    DropReason.UNENCRYPTED_TRAFFIC: "Traffic is unencrypted",
    DropReason.DROP_RATE_LIMITED: "Rate limited",
    DropReason.DROP_HOST_NOT_READY: "Host datapath not ready",
    DropReason.DROP_EP_NOT_READY: "Endpoint policy program not available",
    DropReason.DROP_NO_EGRESS_IP: "No Egress IP configured",
}

BACKGROUND_DROPS: Final = (
    "Unsupported L2 protocol", "Unsupported L3 protocol", "Stale or unroutable IP", "Service backend not found",
    "Unsupported protocol for NAT masquerade", "Invalid source ip", "Unknown L3 target address",
    "Host datapath not ready", "Unknown ICMPv4 code", "Unknown ICMPv6 code", "Forbidden ICMPv6 message",
    "No egress gateway found",
)  # fmt: skip
"""Reasons that a healthy cluster shows too (cilium-cli ``ExpectedDropReasons``)."""

_DIRECTIONS: Final = tuple(Direction)
PROXY_TYPES: Final = ("envoy", "fqdn")
L7_RULES: Final = ("received", "forwarded", "denied", "parse_errors")
ENFORCEMENT: Final = ("none", "ingress", "egress", "both", "audit-ingress", "audit-egress", "audit-both")
ENDPOINT_STATES: Final = (
    "creating", "waiting-for-identity", "not-ready", "waiting-to-regenerate", "regenerating", "restoring", "ready",
    "disconnecting", "disconnected", "invalid",
)  # fmt: skip
LOST_EVENT_SOURCES: Final = ("perf_event_ring_buffer", "observer_events_queue", "hubble_ring_buffer")
MATCH_TYPES: Final = ("none", "l3-only", "l3-l4", "l4-only", "all", "l3-proto", "proto-only")
"""``match`` of Hubble's policy verdicts by ``policy_match_type``; L7 verdicts have ``l7/http`` and ``l7/dns``."""

DROP_COUNT: Final = Metric(
    "cilium_drop_count_total", "counter", "agent", Birth.FIRST_EVENT,
    "Total dropped packets, tagged by drop reason and ingress/egress direction",
    {"reason": (), "direction": _DIRECTIONS},
)  # fmt: skip
DROP_BYTES: Final = Metric(
    "cilium_drop_bytes_total", "counter", "agent", Birth.FIRST_EVENT,
    "Total dropped bytes, tagged by drop reason and ingress/egress direction",
    {"reason": (), "direction": _DIRECTIONS},
)  # fmt: skip
FORWARD_COUNT: Final = Metric(
    "cilium_forward_count_total", "counter", "agent", Birth.FIRST_EVENT,
    "Total forwarded packets, tagged by ingress/egress direction",
    {"direction": _DIRECTIONS},
)  # fmt: skip
FORWARD_BYTES: Final = Metric(
    "cilium_forward_bytes_total", "counter", "agent", Birth.FIRST_EVENT,
    "Total forwarded bytes, tagged by ingress/egress direction",
    {"direction": _DIRECTIONS},
)  # fmt: skip
POLICY_L7: Final = Metric(
    "cilium_policy_l7_total", "counter", "agent", Birth.START,
    "Number of total proxy requests handled",
    {"rule": L7_RULES, "proxy_type": PROXY_TYPES},
)  # fmt: skip
POLICY: Final = Metric(
    "cilium_policy", "gauge", "agent", Birth.START,
    "Number of policies currently loaded",
)  # fmt: skip
POLICY_MAX_REVISION: Final = Metric(
    "cilium_policy_max_revision", "gauge", "agent", Birth.START,
    "Highest policy revision number in the agent",
)  # fmt: skip
POLICY_CHANGE: Final = Metric(
    "cilium_policy_change_total", "counter", "agent", Birth.START,
    "Number of policy changes by source, operation and outcome",
    {"source": ("k8s",), "operation": ("update", "delete"), "outcome": ("success", "fail")},
)  # fmt: skip
POLICY_ENFORCEMENT: Final = Metric(
    "cilium_policy_endpoint_enforcement_status", "gauge", "agent", Birth.START,
    "Number of endpoints labeled by policy enforcement status",
    {"enforcement": ENFORCEMENT},
)  # fmt: skip
ENDPOINT_STATE: Final = Metric(
    "cilium_endpoint_state", "gauge", "agent", Birth.START,
    "Count of all endpoints, tagged by different endpoint states",
    {"endpoint_state": ENDPOINT_STATES},
)  # fmt: skip
PROXY_REDIRECTS: Final = Metric(
    "cilium_proxy_redirects", "gauge", "agent", Birth.FIRST_EVENT,
    "Number of redirects installed for endpoints, by protocol",
    {"protocol_l7": ("http", "dns")},
)  # fmt: skip
HEALTH_STATUS: Final = Metric(
    "cilium_node_health_connectivity_status", "gauge", "agent", Birth.START,
    "The number of endpoints with last observed status of both ICMP and HTTP connectivity between the current "
    "Cilium agent and other Cilium nodes",
    {"type": ("node", "endpoint"), "status": ("reachable", "unreachable", "unknown")},
)  # fmt: skip
UNREACHABLE_NODES: Final = Metric(
    "cilium_unreachable_nodes", "gauge", "agent", Birth.START,
    "Number of nodes that cannot be reached",
)  # fmt: skip
UNREACHABLE_HEALTH_ENDPOINTS: Final = Metric(
    "cilium_unreachable_health_endpoints", "gauge", "agent", Birth.START,
    "Number of health endpoints that cannot be reached",
)  # fmt: skip
RATELIMIT_DROPPED: Final = Metric(
    "cilium_bpf_ratelimit_dropped_total", "counter", "agent", Birth.FIRST_EVENT,
    "The number of events dropped by the event rate limiter; flows are then fewer than drops",
    {"usage": ()},
)  # fmt: skip
PROCESS_START: Final = Metric(
    "cilium_process_start_time_seconds", "gauge", "agent", Birth.START,
    "Start time of the process since unix epoch in seconds",
)  # fmt: skip
HUBBLE_DROP: Final = Metric(
    "hubble_drop_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Number of drops",
    {"reason": (), "protocol": ()},
)  # fmt: skip
HUBBLE_POLICY_VERDICTS: Final = Metric(
    "hubble_policy_verdicts_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Total number of Cilium network policy verdicts",
    {
        "direction": ("ingress", "egress"),
        "match": (*MATCH_TYPES, "l7/http", "l7/dns"),
        "action": ("forwarded", "dropped", "redirected", "audit", "error"),
    },
)  # fmt: skip
HUBBLE_HTTP_REQUESTS: Final = Metric(
    "hubble_http_requests_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Count of http requests by methods, protocol, status and reporter (httpV2)",
    {"method": (), "protocol": (), "status": (), "reporter": ("client", "server", "unknown")},
)  # fmt: skip
HUBBLE_DNS_QUERIES: Final = Metric(
    "hubble_dns_queries_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Number of DNS queries observed",
    {"rcode": (), "qtypes": (), "ips_returned": ()},
)  # fmt: skip
HUBBLE_DNS_RESPONSES: Final = Metric(
    "hubble_dns_responses_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Number of DNS queries observed",
    {"rcode": (), "qtypes": (), "ips_returned": ()},
)  # fmt: skip
HUBBLE_FLOWS: Final = Metric(
    "hubble_flows_processed_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Total number of flows processed",
    {"type": (), "subtype": (), "verdict": ()},
)  # fmt: skip
HUBBLE_LOST: Final = Metric(
    "hubble_lost_events_total", "counter", "hubble", Birth.FIRST_EVENT,
    "Number of lost events",
    {"source": LOST_EVENT_SOURCES},
)  # fmt: skip

DNS_DENIED_RCODE: Final = "Policy denied"
"""``rcode`` of ``hubble_dns_queries_total`` for a lookup that policy refused."""

METRICS: Final[Mapping[str, Metric]] = MappingProxyType({
    each.name: each for each in (
        DROP_COUNT, DROP_BYTES, FORWARD_COUNT, FORWARD_BYTES, POLICY_L7, POLICY, POLICY_MAX_REVISION, POLICY_CHANGE,
        POLICY_ENFORCEMENT, ENDPOINT_STATE, PROXY_REDIRECTS, HEALTH_STATUS, UNREACHABLE_NODES,
        UNREACHABLE_HEALTH_ENDPOINTS, RATELIMIT_DROPPED, PROCESS_START, HUBBLE_DROP, HUBBLE_POLICY_VERDICTS,
        HUBBLE_HTTP_REQUESTS, HUBBLE_DNS_QUERIES, HUBBLE_DNS_RESPONSES, HUBBLE_FLOWS, HUBBLE_LOST,
    )
})  # fmt: skip
"""Every metric that the lab serves and the tool relies on, by name."""
