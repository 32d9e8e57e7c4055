"""Flows as Hubble prints them, and what `hubble observe` shows of them."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from agent_world import CLUSTER, pod

from drills.cilium.entries import PolicyRef
from drills.cilium.flow import parse as parse_flow
from drills.cilium.labels import WORLD
from drills.lab.agent import nflog
from drills.lab.agent.filters import UsageError
from drills.lab.agent.flows import Dns, End, Flow, Http, Lost, Ring
from drills.lab.agent.observe import compact, hubble, line, moment, parse, select
from drills.lab.runtime.builtin import ExecIO

AT = 1_800_000_000.25
CLIENT = End(pod("client").address, 40_000, pod("client").identity, pod("client"), local=True)
API = End(pod("api").address, 80, pod("api").identity, pod("api"))
OUTSIDE = End(IPv4Address("198.18.0.7"), 443, WORLD)
BY = (PolicyRef("CiliumNetworkPolicy", "backend", "p"),)
DROP = Flow(AT, "drop", "DROPPED", "INGRESS", CLIENT, API, flags=("SYN",), reason=133)
VERDICT = replace(DROP, kind="policy-verdict", by=BY, logs=("drill",))
HTTP = Http("GET", "http://api/admin?x=1", "HTTP/1.1", headers=(("User-Agent", "x"),))
REQUEST = Flow(AT + 1, "l7", "DROPPED", "INGRESS", CLIENT, API, message="REQUEST", http=HTTP)
ANSWER = Flow(AT + 2, "l7", "FORWARDED", "INGRESS", API, CLIENT, message="RESPONSE", latency=0.012,
              http=replace(HTTP, code=403))  # fmt: skip
LOOKUP = Flow(AT + 3, "l7", "DROPPED", "EGRESS", CLIENT, OUTSIDE, "UDP", message="REQUEST",
              dns=Dns("evil.org.", ("A",)))  # fmt: skip
ALL = (DROP, VERDICT, REQUEST, ANSWER, LOOKUP)


def ring(*events: Flow | Lost, capacity: int = 100) -> Ring:
    found = Ring("k8s-w1", capacity)
    for event in events:
        found.add(event)
    return found


def shown(*argv: str) -> list[Flow | Lost]:
    return [event for _, event in select(ring(*ALL), parse(argv, AT + 10))]


@pytest.mark.parametrize("flow", ALL)
def test_the_engine_reads_what_the_lab_writes(flow: Flow) -> None:
    read = parse_flow(line(ring(flow), 0, flow, "jsonpb"))
    assert read.node_name == "k8s-w1"
    assert read.flow is not None
    assert read.flow.verdict == flow.verdict
    assert read.flow.denied == (flow.verdict == "DROPPED")
    assert read.flow.source is not None
    assert read.flow.source.identity == flow.source.identity.number
    assert read.flow.traffic_direction == flow.direction
    assert read.flow.time is not None
    assert read.flow.time.timestamp() == flow.at


def test_a_packet_tells_everything_about_its_ends() -> None:
    found = VERDICT.to_json("k8s-w1", "u")
    assert found["source"] | {"labels": []} == {
        "ID": 1, "identity": pod("client").identity.number, "namespace": "frontend", "pod_name": "client",
        "cluster_name": "default", "labels": [], "workloads": [{"name": "client", "kind": "Deployment"}],
    }  # fmt: skip
    assert "k8s:app=frontend" in found["source"]["labels"]
    assert "ID" not in found["destination"], "an endpoint number is only known on its own node"
    assert found["l4"] == {"TCP": {"source_port": 40_000, "destination_port": 80, "flags": {"SYN": True}}}
    assert found["ingress_denied_by"] == [{"name": "p", "namespace": "backend", "kind": "CiliumNetworkPolicy"}]
    assert (found["drop_reason"], found["drop_reason_desc"], found["event_type"]) == (133, "POLICY_DENIED", {"type": 5})
    assert found["policy_log"] == ["drill"]


def test_a_denied_request_has_no_reason_and_no_code() -> None:
    found = REQUEST.to_json("k8s-w1", "u")
    assert "drop_reason_desc" not in found
    assert found["l7"]["type"] == "REQUEST"
    assert "code" not in found["l7"]["http"]
    assert ANSWER.to_json("k8s-w1", "u")["l7"] == {
        "type": "RESPONSE", "latency_ns": "12000000",
        "http": {"method": "GET", "url": "http://api/admin?x=1", "protocol": "HTTP/1.1", "code": 403,
                 "headers": [{"key": "User-Agent", "value": "x"}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ("", ALL),
        ("--verdict DROPPED", (DROP, VERDICT, REQUEST, LOOKUP)),
        ("--verdict=DROPPED -t l7", (REQUEST, LOOKUP)),
        ("-t drop", (DROP,)),
        ("--type drop:133", (DROP,)),
        ("-t policy-verdict -t drop", (DROP, VERDICT)),
        ("--drop-reason-desc POLICY_DENIED", (DROP, VERDICT)),
        ("--from-pod frontend/client", (DROP, VERDICT, REQUEST, LOOKUP)),
        ("--from-pod frontend/", (DROP, VERDICT, REQUEST, LOOKUP)),
        ("--from-pod client", ()),  # without a namespace it is the namespace default
        ("--to-pod backend/api", (DROP, VERDICT, REQUEST)),
        ("--pod backend/api", (DROP, VERDICT, REQUEST, ANSWER)),
        ("-n backend", (DROP, VERDICT, REQUEST, ANSWER)),
        ("-n frontend,backend", ()),  # a comma is part of the name
        ("--from-label app=frontend", (DROP, VERDICT, REQUEST, LOOKUP)),
        ("-l k8s:app=api", (DROP, VERDICT, REQUEST, ANSWER)),
        ("--to-port 80", (DROP, VERDICT, REQUEST)),
        ("--protocol http", (REQUEST, ANSWER)),
        ("--protocol tcp", (DROP, VERDICT, REQUEST, ANSWER)),
        ("--protocol dns", (LOOKUP,)),
        ("--http-status 403", (ANSWER,)),
        ("--http-status 4+", (ANSWER,)),
        ("--http-status 200", ()),
        ("--http-path /admin", (REQUEST, ANSWER)),
        ("--http-method get", (REQUEST, ANSWER)),
        ("--to-fqdn evil.org", (LOOKUP,)),
        ("--to-identity world", (LOOKUP,)),
        ("--to-ip 198.18.0.0/15", (LOOKUP,)),
        ("--traffic-direction egress", (LOOKUP,)),
        ("--not --verdict DROPPED", (ANSWER,)),
        ("--reply=true", (ANSWER,)),
        ("--to-workload Deployment/api", (DROP, VERDICT, REQUEST)),
        ("--last 2", (ANSWER, LOOKUP)),
        ("--first 1", (DROP,)),
        ("--since 8500ms", (ANSWER, LOOKUP)),
        ("--until 8500ms", (DROP, VERDICT, REQUEST)),
        ("--follow", ()),
    ],
)
def test_filters(argv: str, found: Sequence[Flow]) -> None:
    assert shown(*argv.split()) == list(found)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--verdict DENIED", "invalid --verdict value: DENIED"),
        ("--vredict DROPPED", "unknown flag: --vredict"),
        ("--from-pod", "flag needs an argument: --from-pod"),
        ("--last many", 'invalid argument "many" for "--last" flag'),
        ("-o yaml", "invalid output format: yaml"),
        ("--since yesterday", "failed to convert `yesterday` to timestamp"),
        ("-t dropped", "unable to parse type filter 'dropped'"),
        ("--ip 300.1.1.1", "invalid CIDR in filter: 300.1.1.1"),
        ("now", 'unknown command "now" for "hubble observe"'),
    ],
)
def test_wrong_flags(argv: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv.split(), AT)
    assert str(caught.value) == message


def test_moments() -> None:
    assert moment("1m30s", 100.0) == 10.0
    assert moment("2027-01-15T08:00:00Z", 0) == 1_800_000_000.0


def test_the_text_says_denied_where_the_verdict_says_dropped() -> None:
    assert "frontend/client:40000 (ID:" in compact(VERDICT)
    assert compact(VERDICT).endswith("policy-verdict:none INGRESS DENIED (TCP Flags: SYN)")
    assert compact(DROP).endswith("Policy denied DROPPED (TCP Flags: SYN)")
    assert compact(REQUEST).endswith("http-request DROPPED (HTTP/1.1 GET http://api/admin?x=1)")
    assert "frontend/client:40000" in compact(ANSWER).partition(" <- ")[0]
    assert compact(ANSWER).endswith("http-response FORWARDED (HTTP/1.1 403 12ms (GET http://api/admin?x=1))")
    assert "198.18.0.7:443 (world) dns-request proxy DROPPED (DNS Query evil.org. A)" in compact(LOOKUP)


def test_the_ring_forgets_the_oldest_and_keeps_places() -> None:
    small = ring(*ALL, capacity=2)
    assert (small.first, small.seen) == (3, 5)
    assert small.from_place(0) == [(3, ANSWER), (4, LOOKUP)]
    assert small.to_json(3, ANSWER)["flow"]["uuid"] != small.to_json(4, LOOKUP)["flow"]["uuid"]


async def follow(found: Ring, later: Sequence[Flow]) -> list[str]:
    io = ExecIO()
    running = asyncio.create_task(hubble(found, ["hubble", "observe", "-f", "-o", "jsonpb", "--last", "1"], io))
    lines: list[str] = []
    async for chunk in io.output:
        lines += chunk.decode().splitlines()
        if len(lines) == 1:
            for flow in later:
                found.add(flow)
        else:
            running.cancel()
            break
    return lines


def test_following_goes_on_where_the_past_ended() -> None:
    lines = asyncio.run(follow(ring(DROP, VERDICT), [REQUEST]))
    assert [json.loads(text)["flow"]["event_type"]["type"] for text in lines] == [5, 129]


def test_a_follower_who_is_too_slow_is_told_what_it_missed() -> None:
    lines = asyncio.run(follow(ring(DROP, capacity=2), [REQUEST] * 5))
    assert parse_flow(lines[1]).lost_events is not None
    assert json.loads(lines[1])["lost_events"]["num_events_lost"] == "3"


def test_commands_that_hubble_does_not_know() -> None:
    async def run(*argv: str) -> tuple[int, bytes]:
        io = ExecIO()
        status = await hubble(ring(), ["hubble", *argv], io)
        io.end()
        return status, b"".join([chunk async for chunk in io.errors])

    assert asyncio.run(run("watch")) == (1, b'unknown command "watch" for "hubble"\n')
    assert asyncio.run(run("observe", "--verdict", "DENIED")) == (1, b"invalid --verdict value: DENIED\n")


# Packets from the kernel


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(*attributes: bytes) -> bytes:
    body = b"\2\0\0\5" + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 4 << 8, 0, 0, 0) + body


def test_a_logged_packet_is_read() -> None:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, 6, 0, b"\x0a\xf4\x01\x0a", b"\x0a\xf4\x02\x0a")
    segment = struct.pack("!HHIIBBHHH", 40_000, 5432, 1, 0, 0x50, 0x02, 0, 0, 0)
    data = message(
        attribute(3, struct.pack(">QQ", 100, 250_000)),
        attribute(9, header + segment),
        attribute(10, b"ingress 133\0"),
    )
    (packet,) = nflog.parse(data)
    assert packet == nflog.Packet(
        100.25, "ingress 133", IPv4Address("10.244.1.10"), IPv4Address("10.244.2.10"), "TCP", 40_000, 5432, ("SYN",)
    )


@pytest.mark.parametrize("data", [b"", b"\1\2\3", message(), message(attribute(9, b"short")), message()[:-2]])
def test_broken_messages_are_left_out(data: bytes) -> None:
    assert nflog.parse(data) == []


def test_pods_are_found_by_address() -> None:
    assert CLUSTER.by_address[IPv4Address("10.244.1.10")].name == "client"
