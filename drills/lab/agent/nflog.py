"""Dropped packets as the kernel reports them: a netlink socket of a node's NFLOG group, and what its messages say.

Facts: linux/netfilter/nfnetlink_log.h, linux/netlink.h, RFC 791, 793, 768, 792.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from drills.lab import netns

NETLINK_NETFILTER = 12
_NFNL_SUBSYS_ULOG = 4
_MSG_PACKET = _NFNL_SUBSYS_ULOG << 8 | 0
_MSG_CONFIG = _NFNL_SUBSYS_ULOG << 8 | 1
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_NLMSG_ERROR = 2
_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ, _CFG_TIMEOUT, _CFG_QTHRESH = 1, 2, 3, 4, 5
_CMD_BIND = 1
_COPY_PACKET = 2
_NFULA_TIMESTAMP, _NFULA_PAYLOAD, _NFULA_PREFIX = 3, 9, 10
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

RECEIVE_BUFFER = 16 << 20  # bytes; the kernel says ENOBUFS when it is full, and we say "lost"
MAX_MESSAGE = 1 << 17

PROTOCOLS = {1: "ICMPv4", 6: "TCP", 17: "UDP", 132: "SCTP"}
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


@dataclass(frozen=True, slots=True)
class Packet:
    """One logged packet. ``at`` is in seconds since the epoch; for ICMP the ports are type and code."""

    at: float
    prefix: str
    source: IPv4Address
    destination: IPv4Address
    protocol: str
    source_port: int
    destination_port: int
    flags: tuple[str, ...] = ()


def open_log(node: str, group: int) -> socket.socket:
    """A non-blocking socket that receives the group's messages in the node's namespace.

    Raises OSError where the kernel has no NFLOG.
    """
    log = netns.socket_in(node, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    try:
        log.bind((0, 0))
        _enlarge(log)
        _configure(log, group, _CFG_CMD, struct.pack("=B", _CMD_BIND))
        _configure(log, group, _CFG_MODE, struct.pack(">IBB", 128, _COPY_PACKET, 0))
        _configure(log, group, _CFG_NLBUFSIZ, struct.pack(">I", MAX_MESSAGE // 2))
        _configure(log, group, _CFG_TIMEOUT, struct.pack(">I", 1))  # in 1/100 s
        _configure(log, group, _CFG_QTHRESH, struct.pack(">I", 64))
        log.setblocking(False)
    except OSError:
        log.close()
        raise
    return log


def _enlarge(log: socket.socket) -> None:
    try:
        log.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER)  # SO_RCVBUFFORCE: for root of the machine only
    except PermissionError:
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # up to net.core.rmem_max


def receive(log: socket.socket) -> tuple[list[Packet], bool]:
    """Everything that is waiting, and whether messages were lost (the socket's buffer had been full)."""
    packets: list[Packet] = []
    lost = False
    while True:
        try:
            data = log.recv(MAX_MESSAGE)
        except BlockingIOError:
            return packets, lost
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            lost = True
            continue
        packets += parse(data)


def parse(data: bytes) -> list[Packet]:
    """The packets in one datagram of the socket; foreign and truncated messages are left out."""
    found: list[Packet] = []
    for kind, body in _messages(data):
        if kind != _MSG_PACKET or len(body) < 4:
            continue
        packet = _packet(dict(_attributes(body[4:])))
        if packet is not None:
            found.append(packet)
    return found


def _packet(attributes: dict[int, bytes]) -> Packet | None:
    payload = attributes.get(_NFULA_PAYLOAD, b"")
    if len(payload) < 20:
        return None
    length = (payload[0] & 15) * 4
    protocol = payload[9]
    source_port, destination_port, flags = _transport(protocol, payload[length:])
    stamp = attributes.get(_NFULA_TIMESTAMP)
    seconds = time.time()
    if stamp is not None and len(stamp) == 16:
        whole, micro = struct.unpack(">QQ", stamp)
        seconds = whole + micro / 1e6
    return Packet(
        at=seconds,
        prefix=attributes.get(_NFULA_PREFIX, b"").rstrip(b"\0").decode(errors="replace"),
        source=IPv4Address(payload[12:16]),
        destination=IPv4Address(payload[16:20]),
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        source_port=source_port,
        destination_port=destination_port,
        flags=flags,
    )


def _transport(protocol: int, segment: bytes) -> tuple[int, int, tuple[str, ...]]:
    if protocol == 1 and len(segment) >= 2:
        return segment[0], segment[1], ()
    if protocol not in PROTOCOLS or len(segment) < 4:
        return 0, 0, ()
    source, destination = struct.unpack_from(">HH", segment)
    bits = segment[13] if protocol == 6 and len(segment) > 13 else 0
    return source, destination, tuple(name for place, name in enumerate(TCP_FLAGS) if bits >> place & 1)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _configure(log: socket.socket, group: int, kind: int, value: bytes) -> None:
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, group) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    body += b"\0" * (-len(body) % 4)
    header = _HEADER.pack(_HEADER.size + len(body), _MSG_CONFIG, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    log.send(header + body)
    log.settimeout(2)
    while True:
        for answer, content in _messages(log.recv(MAX_MESSAGE)):
            if answer == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", content)[0]
                if code:
                    raise OSError(code, f"NFLOG group {group} cannot be configured")
                return
