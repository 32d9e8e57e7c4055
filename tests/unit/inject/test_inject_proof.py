"""Which counter and which flows prove a denial: each maker has its own."""

from __future__ import annotations

from typing import Any

import pytest

from drills.cilium.flow import Flow
from drills.inject.kinds import kind_of
from drills.inject.proof import COUNTERS, Maker, maker_of
from drills.playbook import Denied, DnsInjection, HttpInjection, PostgresInjection, ProbeInjection, TcpInjection

PACED: dict[str, Any] = {"source": "a", "rate": 1.0, "duration": 60.0}
HTTP = HttpInjection(url="http://a.b/", **PACED)
DNS = DnsInjection(name="Bad.example.com", **PACED)
ADDRESS = DnsInjection(name="198.18.0.9", **PACED)
TCP = TcpInjection(host="a.b", port=1, **PACED)
POSTGRES = PostgresInjection(host="a.b", user="u", database="d", **PACED)
STATUS, SILENCE, REFUSED = Denied(status=403), Denied(connect="timeout"), Denied(dns="refused")
PACKETS = Maker.PACKETS


@pytest.mark.parametrize(
    ("injection", "denied", "makers"),
    [
        (HTTP, (STATUS,), (Maker.HTTP,)),
        (HTTP, (SILENCE,), (PACKETS,)),
        (HTTP, (STATUS, SILENCE), (Maker.HTTP, PACKETS)),
        (HTTP, (), (Maker.HTTP, PACKETS)),
        (DNS, (REFUSED,), (Maker.DNS,)),
        (DNS, (SILENCE,), (PACKETS,)),
        (DNS, (REFUSED, SILENCE), (Maker.DNS, PACKETS)),
        (DNS, (), (Maker.DNS, PACKETS)),
        (ADDRESS, (), (PACKETS,)),
        (TCP, (SILENCE,), (PACKETS,)),
        (TCP, (), (PACKETS,)),
        (POSTGRES, (SILENCE,), (PACKETS,)),
        (POSTGRES, (), (PACKETS,)),
    ],
)
def test_makers(injection: ProbeInjection, denied: tuple[Denied, ...], makers: tuple[Maker, ...]) -> None:
    proof = kind_of(injection).proof(denied)
    assert proof.makers == makers
    assert all(COUNTERS[maker] in proof.counter for maker in makers)
    assert proof.exact == (PACKETS not in makers)
    assert ("drop" in proof.flow_filters, "l7" in proof.flow_filters) == (PACKETS in makers, makers != (PACKETS,))
    assert ("policy-verdict" in proof.flow_filters) == (PACKETS in makers)


def flow(layer: str, event: int, verdict: str = "DROPPED", **more: Any) -> Flow:
    return Flow.model_validate({"Type": layer, "event_type": {"type": event}, "verdict": verdict, **more})


DROP = flow("L3_L4", 1, drop_reason_desc="POLICY_DENIED")
DENY = flow("L3_L4", 1, drop_reason_desc="POLICY_DENY")
VERDICT = flow("L3_L4", 5, drop_reason_desc="POLICY_DENIED")
OTHER_DROP = flow("L3_L4", 1, drop_reason_desc="INVALID_SOURCE_IP")
REQUEST = flow("L7", 129, l7={"type": "REQUEST", "http": {"method": "GET"}})
LOOKUP = flow("L7", 129, l7={"type": "REQUEST", "dns": {"query": "bad.example.com."}})
OTHER_LOOKUP = flow("L7", 129, l7={"type": "REQUEST", "dns": {"query": "example.com."}})
ALLOWED = flow("L7", 129, "FORWARDED", l7={"type": "REQUEST", "dns": {"query": "bad.example.com."}})


def test_a_flow_tells_its_maker_once() -> None:
    flows = [DROP, DENY, VERDICT, OTHER_DROP, REQUEST, LOOKUP, ALLOWED]
    expected = [PACKETS, PACKETS, None, None, Maker.HTTP, Maker.DNS, None]
    assert [maker_of(each) for each in flows] == expected


@pytest.mark.parametrize(
    ("injection", "denied", "shown"),
    [
        (HTTP, (STATUS,), [REQUEST]),
        (TCP, (SILENCE,), [DROP, DENY]),
        (DNS, (REFUSED,), [LOOKUP]),
        (DNS, (SILENCE,), [DROP, DENY]),
        (DNS, (), [DROP, DENY, LOOKUP]),
        (ADDRESS, (), [DROP, DENY]),
    ],
)
def test_flows_that_show_a_denial(injection: ProbeInjection, denied: tuple[Denied, ...], shown: list[Flow]) -> None:
    everything = [DROP, DENY, VERDICT, OTHER_DROP, REQUEST, LOOKUP, OTHER_LOOKUP, ALLOWED]
    proof = kind_of(injection).proof(denied)
    assert [each for each in everything if proof.shows(each)] == shown
    assert [each for each in everything if proof.explains(each)] == ([VERDICT] if DROP in shown else [])


@pytest.mark.parametrize(
    ("injection", "title", "service"),
    [
        (HTTP, "GET http://a.b/", ("b", "a")),
        (DNS, "look up Bad.example.com, connect to port 443", None),
        (ADDRESS, "connect to 198.18.0.9 port 443 without a lookup", None),
        (TCP, "connect to a.b port 1", ("b", "a")),
        (POSTGRES, "log in to d on a.b as u", ("b", "a")),
    ],
)
def test_what_a_reader_is_told(injection: ProbeInjection, title: str, service: tuple[str, str] | None) -> None:
    assert (kind_of(injection).title, kind_of(injection).service) == (title, service)
