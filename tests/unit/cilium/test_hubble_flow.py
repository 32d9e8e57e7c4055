"""Hubble's flows: what we write is what Hubble prints, and what Hubble prints is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cilium_world import few, pod
from hypothesis import given
from hypothesis import strategies as st

from drills.cilium.flow import (
    Dns,
    Endpoint,
    EventType,
    Flow,
    FlowError,
    FlowEvent,
    FlowPolicy,
    FlowType,
    Http,
    Icmp,
    Ip,
    L7Type,
    Layer4,
    Layer7,
    Response,
    Tcp,
    TcpFlags,
    TrafficDirection,
    Udp,
    Verdict,
    endpoint,
    lost,
    parse,
    parse_all,
    response,
)
from drills.cilium.labels import WORLD
from drills.cilium.metrics import DropReason

AT = datetime(2025, 8, 22, 1, 2, 3, 456789, tzinfo=UTC)
HUBBLE = {
    "flow": {
        "time": "2025-08-22T00:00:00.123456789Z", "uuid": "u", "verdict": "DROPPED", "drop_reason": 133,
        "auth_type": "DISABLED", "ethernet": {"source": "02:42"}, "drop_reason_desc": "POLICY_DENIED",
        "IP": {"source": "10.0.1.5", "destination": "10.0.2.7", "ipVersion": "IPv4", "encrypted": True},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 5432, "flags": {"SYN": True}}},
        "source": {"ID": 12, "identity": 31028, "cluster_name": "default", "namespace": "frontend",
                   "labels": ["k8s:app=frontend"], "pod_name": "web-1",
                   "workloads": [{"name": "web", "kind": "Deployment"}]},
        "destination": {"identity": 16530, "namespace": "database", "labels": ["k8s:app=database"]},
        "Type": "L3_L4", "node_name": "w1", "event_type": {"type": 5}, "traffic_direction": "INGRESS",
        "is_reply": False, "Summary": "TCP Flags: SYN", "interface": {"index": 3},
        "ingress_denied_by": [{"name": "deny", "namespace": "database", "kind": "CiliumNetworkPolicy",
                               "revision": "7"}],
        "policy_log": ["drill-42"],
    },
    "node_name": "w1", "time": "2025-08-22T00:00:00.123456789Z",
}  # fmt: skip


def test_a_flow_as_hubble_prints_it() -> None:
    flow = parse(json.dumps(HUBBLE)).flow
    assert flow is not None
    assert (flow.verdict, flow.drop_reason_desc, flow.event, flow.denied) == (
        Verdict.DROPPED,
        DropReason.POLICY_DENIED.name,
        EventType.POLICY_VERDICT,
        True,
    )
    assert flow.source is not None
    assert (flow.source.pod, flow.source.id_, flow.source.workloads[0].kind) == ("frontend/web-1", 12, "Deployment")
    assert flow.l4 is not None
    assert (flow.l4.protocol, flow.l4.source_port, flow.l4.destination_port) == ("TCP", 40000, 5432)
    assert flow.time == datetime(2025, 8, 22, 0, 0, 0, 123456, tzinfo=UTC)
    assert flow.ingress_denied_by == (
        FlowPolicy(name="deny", namespace="database", kind="CiliumNetworkPolicy", revision=7),
    )


def test_a_denied_request_has_no_drop_reason() -> None:
    seen = Http(code=403, method="GET", url="http://http-api.backend/admin", protocol="HTTP/1.1")
    flow = Flow(
        time=AT, verdict=Verdict.DROPPED, type=FlowType.L7, event_type=FlowEvent(type=EventType.L7), node_name="w1",
        l7=Layer7(type=L7Type.RESPONSE, latency_ns=1234, http=seen), traffic_direction=TrafficDirection.INGRESS,
    )  # fmt: skip
    assert response(flow).to_json() == {
        "flow": {
            "time": "2025-08-22T01:02:03.456789Z", "verdict": "DROPPED", "Type": "L7", "node_name": "w1",
            "l7": {"type": "RESPONSE", "latency_ns": "1234",
                   "http": {"code": 403, "method": "GET", "url": "http://http-api.backend/admin",
                            "protocol": "HTTP/1.1"}},
            "event_type": {"type": 129}, "traffic_direction": "INGRESS",
        },
        "node_name": "w1", "time": "2025-08-22T01:02:03.456789Z",
    }  # fmt: skip
    assert flow.denied


def test_lost_events() -> None:
    line = lost(12, node="w1", at=AT).line()
    assert json.loads(line) == {
        "lost_events": {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "12"},
        "node_name": "w1",
        "time": "2025-08-22T01:02:03.456789Z",
    }
    found = parse(line).lost_events
    assert found is not None
    assert found.num_events_lost == 12


def test_times_are_written_in_utc() -> None:
    at = AT.astimezone(timezone(timedelta(hours=2)))
    assert response(Flow(time=at)).to_json()["time"] == "2025-08-22T01:02:03.456789Z"


def test_ends_from_identities() -> None:
    found = endpoint(pod("frontend", "web").identity, pod="web-1", number=7)
    assert (found.pod, found.id_, found.cluster_name) == ("frontend/web-1", 7, "default")
    assert "k8s:app=web" in found.labels
    assert endpoint(WORLD) == Endpoint(identity=2, labels=("reserved:world",))


def test_lines_of_a_run() -> None:
    lines = [json.dumps(HUBBLE), "", '{"node_status":{"state_change":"NODE_CONNECTED","node_names":["w1"]}}']
    found = list(parse_all(lines))
    assert [each.flow is not None for each in found] == [True, False]


@pytest.mark.parametrize(
    "line", ["", "EVENTS LOST", "[]", "{}", '{"flow": 1}', '{"flow":{"l4":{"TCP":{"source_port":"x"}}}}']
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(FlowError, match="not a line of hubble observe"):
        parse(line)


def test_verdicts_of_later_versions_are_unknown() -> None:
    found = parse('{"flow":{"verdict":"TELEPORTED","Type":"SOCK","event_type":{"type":200}}}').flow
    assert found is not None
    assert (found.verdict, found.type, found.event) == (Verdict.UNKNOWN, FlowType.UNKNOWN, EventType.UNKNOWN)


port = st.integers(0, 65535)
flags = st.builds(TcpFlags, syn=st.booleans(), ack=st.booleans())
layers = st.one_of(
    st.builds(lambda s, d, f: Layer4(tcp=Tcp(source_port=s, destination_port=d, flags=f)), port, port, flags),
    st.builds(lambda s, d: Layer4(udp=Udp(source_port=s, destination_port=d)), port, port),
    st.builds(lambda number: Layer4(icmpv4=Icmp(type=number)), st.integers(0, 255)),
)  # fmt: skip
ends = st.builds(
    Endpoint, identity=st.integers(0, 1 << 24), namespace=st.text(max_size=5), pod_name=st.text(max_size=5)
)
generated = st.builds(
    Flow,
    time=st.datetimes(timezones=st.just(UTC)) | st.none(),
    verdict=st.sampled_from(Verdict),
    drop_reason=st.sampled_from([0, *DropReason]),
    ip=st.builds(Ip, source=st.just("10.0.0.1"), encrypted=st.booleans()) | st.none(),
    l4=layers | st.none(),
    source=ends | st.none(),
    destination=ends,
    type=st.sampled_from(FlowType),
    l7=st.builds(Layer7, latency_ns=st.integers(0, 1 << 63), dns=st.builds(Dns, query=st.text(max_size=5))) | st.none(),
    is_reply=st.booleans() | st.none(),
    policy_log=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@few
@given(generated)
def test_what_is_written_is_read_back(flow: Flow) -> None:
    line = response(flow).line()
    assert "\n" not in line
    assert parse(line) == Response(flow=flow, time=flow.time)
