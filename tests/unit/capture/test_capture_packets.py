"""What a capture makes of a packet's bytes."""

from __future__ import annotations

import json
import struct

import pytest

from drills.capture.links import filter_program
from drills.capture.packets import ETH_IP, ETH_IPV6, Canary, Config, Packet, Watcher, canary_payload, datagram

POD, OTHER, NODE, OUTSIDE = "10.244.1.10", "10.244.2.10", "172.18.0.11", "198.18.0.1"
LINE = {
    "nonce": "0123456789",
    "networks": ["10.244.0.0/16", "fd00:1::/64"],
    "node": NODE,
    "peers": ["172.18.0.12"],
    "source": POD,
    "target": OTHER,
}
CONFIG = Config.read(json.dumps(LINE))
WATCHER = Watcher(CONFIG)


def udp(source: str, target: str, payload: bytes = b"x" * 40) -> bytes:
    return datagram(source, target, payload)


def vxlan(inner: bytes, port: int = 8472) -> bytes:
    packet = udp(NODE, "172.18.0.12", b"\x08" + bytes(7) + bytes(12) + struct.pack("!H", ETH_IP) + inner)
    return packet[:22] + struct.pack("!H", port) + packet[24:]


def geneve(inner: bytes) -> bytes:
    head = b"\x01" + bytes(7) + b"opts"  # four bytes of options
    packet = udp(NODE, "172.18.0.12", head + bytes(12) + struct.pack("!H", ETH_IP) + inner)
    return packet[:22] + struct.pack("!H", 6081) + packet[24:]


def ipip(inner: bytes) -> bytes:
    outer = bytearray(udp(NODE, "172.18.0.12", b"")[:20])
    outer[9] = 4
    return bytes(outer) + inner


@pytest.mark.parametrize(
    ("data", "inside"),
    [
        (udp(POD, OTHER), ""),
        (udp(OTHER, POD), ""),
        (vxlan(udp(POD, OTHER)), "vxlan"),
        (vxlan(udp(POD, OTHER), 4789), "vxlan"),
        (geneve(udp(POD, OTHER)), "geneve"),
        (ipip(udp(POD, OTHER)), "ipip"),
    ],
)
def test_pod_traffic_in_clear_is_seen_wherever_it_hides(data: bytes, inside: str) -> None:
    found = WATCHER.look(ETH_IP, data)
    assert isinstance(found, Packet)
    assert (found.protocol, found.target_port, found.inside) == ("udp", 9, inside)
    assert {found.source, found.target} == {POD, OTHER}


@pytest.mark.parametrize(
    "data", [udp(NODE, "172.18.0.12"), udp(POD, OUTSIDE), udp(OUTSIDE, POD), vxlan(udp(POD, NODE))]
)
def test_other_traffic_is_none_of_it(data: bytes) -> None:
    assert WATCHER.look(ETH_IP, data) is None


def test_a_later_fragment_is_seen_without_ports() -> None:
    data = bytearray(udp(POD, OTHER))
    data[6:8] = struct.pack("!H", 100)
    assert WATCHER.look(ETH_IP, bytes(data)) == Packet(POD, OTHER, "udp", None, None)


def test_ipv6_is_seen() -> None:
    ends = bytes.fromhex("fd000001" + "00" * 11 + "0a" + "fd000001" + "00" * 11 + "0b")
    data = b"\x60" + bytes(5) + bytes([6, 64]) + ends + struct.pack("!HH", 40000, 80)
    assert WATCHER.look(ETH_IPV6, data) == Packet("fd00:1::a", "fd00:1::b", "tcp", 40000, 80)


@pytest.mark.parametrize("length", range(29))
def test_what_is_cut_off_is_no_error(length: int) -> None:
    assert not isinstance(WATCHER.look(ETH_IP, udp(POD, OTHER)[:length]), Canary)


def test_only_this_drills_own_packets_are_its_own() -> None:
    canary = Canary(NODE, "before", "eth0", OTHER)
    assert WATCHER.look(ETH_IP, udp(POD, OTHER, canary_payload(CONFIG.nonce, canary))) == canary
    foreign = WATCHER.look(ETH_IP, udp(POD, OTHER, canary_payload("another-drill", canary)))
    assert isinstance(foreign, Packet), "a stranger cannot hide plaintext behind a mark"


def test_its_own_packets_are_valid() -> None:
    head = udp(POD, OTHER)[:20]
    total = sum(struct.unpack("!10H", head))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


@pytest.mark.parametrize("wrong", [{"networks": []}, {"nonce": "short"}, {"node": "no address"}, {"more": 1}])
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Config.read(json.dumps(LINE | wrong))


def run(program: list[tuple[int, int, int, int]], data: bytes, kind: int = ETH_IP) -> int:
    """A tiny interpreter of the instructions that the filter uses."""
    a = x = at = 0
    while True:
        code, true, false, k = program[at]
        at += 1
        match code:
            case 0x28:
                a = kind if k == 0xFFFFF000 else int.from_bytes(data[k : k + 2], "big")
            case 0x30:
                a = data[k]
            case 0x20:
                a = int.from_bytes(data[k : k + 4], "big")
            case 0x48:
                a = int.from_bytes(data[x + k : x + k + 2], "big")
            case 0xB1:
                x = (data[k] & 15) * 4
            case 0x15:
                at += true if a == k else false
            case 0x45:
                at += true if a & k else false
            case 0x06:
                return k


def with_ports(source: str, target: str, ports: tuple[int, int], fragment: int = 0) -> bytes:
    data = bytearray(udp(source, target))
    data[20:24] = struct.pack("!HH", *ports)
    data[6:8] = struct.pack("!H", fragment)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        (with_ports(NODE, "172.18.0.12", (51871, 51871)), False),
        (with_ports("172.18.0.12", NODE, (51871, 51871)), False),
        (with_ports("172.18.0.12", NODE, (40000, 51871)), False),
        (with_ports(NODE, "172.18.0.12", (40000, 80)), True),
        (with_ports(POD, OTHER, (51871, 51871)), True),
        (with_ports(NODE, "172.18.0.12", (51871, 51871), fragment=5), True),
        (ipip(udp(POD, OTHER)), True),
    ],
)
def test_the_kernels_filter_leaves_out_wireguard_of_this_node_alone(data: bytes, passes: bool) -> None:
    assert bool(run(filter_program(NODE, 51871), data)) is passes
    assert run(filter_program(NODE, 51871), data, ETH_IPV6) > 0
