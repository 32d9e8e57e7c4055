"""What a packet is, by its bytes from the network header on: pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

ETH_IP, ETH_IPV6 = 0x0800, 0x86DD
ICMP, IPIP, TCP, UDP = 1, 4, 6, 17
DISCARD = 9  # RFC 863: nobody listens
VXLAN, GENEVE = (8472, 4789), 6081  # Linux's and IANA's; RFC 8926
MAGIC = b"drills-canary "
PROTOCOLS = {ICMP: "icmp", TCP: "tcp", UDP: "udp"}


class Config(NamedTuple):
    """The first line of the input."""

    nonce: str  # of the drill: tells its own packets from all others, on every node
    networks: tuple[str, ...]  # in which pods have their addresses
    node: str  # this node's address
    peers: tuple[str, ...]  # the other nodes' addresses
    source: str  # a pod's address, and
    target: str  # one on another node: what a mark looks like
    port: int = 51871  # of WireGuard
    ignore: tuple[str, ...] = ("lo", "lxc", "cilium_")  # beginnings of the names of interfaces before encryption

    @staticmethod
    def read(line: str) -> Config:
        """ValueError or TypeError where the line is no configuration."""
        given: Mapping[str, Any] = json.loads(line)
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        config = Config(**given)
        for network in config.networks:
            ip_network(network)
        for address in (config.node, *config.peers, config.source, config.target):
            ip_address(address)
        if not config.networks or len(config.nonce) < 8:
            raise ValueError("networks and a nonce of eight letters are needed")
        return config


class Packet(NamedTuple):
    """Addresses and ports of a packet; ``inside``: of the tunnel that it was found in."""

    source: str
    target: str
    protocol: str
    source_port: int | None
    target_port: int | None
    inside: str = ""


class Canary(NamedTuple):
    """A packet of this drill's own. ``link``: the interface that it was sent by; empty for one by the node's routes."""

    node: str
    mark: str
    link: str
    target: str


class Watcher:
    """Knows the pods' networks and the drill's own packets."""

    def __init__(self, config: Config) -> None:
        self._magic = MAGIC + config.nonce.encode() + b" "
        self._v4 = _ranges(config.networks, IPv4Network)
        self._v6 = _ranges(config.networks, IPv6Network)

    def look(self, kind: int, data: bytes) -> Packet | Canary | None:
        """A packet from pod to pod in plaintext, one of the drill's own, or nothing of interest.

        ``kind`` is the Ethernet type, ``data`` begins with the network header and may be cut off.
        """
        try:
            return self._look(kind, data, "")
        except (struct.error, IndexError):
            return None  # cut off before anything that matters

    def _look(self, kind: int, data: bytes, inside: str) -> Packet | Canary | None:
        if kind == ETH_IP and len(data) >= 20:
            ranges, start, protocol = self._v4, (data[0] & 15) * 4, data[9]
            ends = data[12:16], data[16:20]
            first = not int.from_bytes(data[6:8], "big") & 0x1FFF
        elif kind == ETH_IPV6 and len(data) >= 40:
            ranges, start, protocol, first = self._v6, 40, data[6], True
            ends = data[8:24], data[24:40]
        else:
            return None
        if first and protocol == UDP:
            canary = self._canary(data[start + 8 :])
            if canary is not None:
                return canary
        if _within(ends[0], ranges) and _within(ends[1], ranges):
            return _packet(ends, protocol, data[start:] if first else b"", inside)
        if first and not inside:
            return self._inner(protocol, data[start:])
        return None

    def _inner(self, protocol: int, data: bytes) -> Packet | Canary | None:
        """What a tunnel carries in plaintext."""
        if protocol == IPIP:
            return self._look(ETH_IP, data, "ipip")
        if protocol != UDP:
            return None
        port = int.from_bytes(data[2:4], "big")
        if port in VXLAN:
            frame, name = data[16:], "vxlan"
        elif port == GENEVE:
            frame, name = data[16 + (data[8] & 63) * 4 :], "geneve"
        else:
            return None
        return self._look(int.from_bytes(frame[12:14], "big"), frame[14:], name)

    def _canary(self, payload: bytes) -> Canary | None:
        if not payload.startswith(self._magic):
            return None
        words = payload[len(self._magic) :].split(b"\n")[0].decode(errors="replace").split(" ")
        return Canary(*words) if len(words) == 4 else None


def canary_payload(nonce: str, canary: Canary) -> bytes:
    """What such a packet carries."""
    return MAGIC + f"{nonce} {' '.join(canary)}\n".encode()


def datagram(source: str, target: str, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram for the discard port."""
    udp = struct.pack("!HHHH", DISCARD, DISCARD, 8 + len(payload), 0) + payload  # without a checksum, as IPv4 allows
    ends = IPv4Address(source).packed + IPv4Address(target).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, UDP, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp


def _checksum(head: bytes) -> int:
    total: int = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packet(ends: tuple[bytes, bytes], protocol: int, data: bytes, inside: str) -> Packet:
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in (TCP, UDP) and len(data) >= 4:
        ports = struct.unpack("!HH", data[:4])
    source, target = (str(ip_address(end)) for end in ends)
    return Packet(source, target, PROTOCOLS.get(protocol, str(protocol)), *ports, inside)


def _ranges(networks: Iterable[str], kind: type) -> tuple[tuple[bytes, bytes], ...]:
    found = (ip_network(network) for network in networks)
    return tuple((each[0].packed, each[-1].packed) for each in found if isinstance(each, kind))


def _within(address: bytes, ranges: tuple[tuple[bytes, bytes], ...]) -> bool:
    return any(first <= address <= last for first, last in ranges)
