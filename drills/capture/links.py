"""The node's interfaces: a socket that sees what passes on one of them, and frames that are put on it."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

from drills.capture.packets import ETH_IP, UDP, Config

ETH_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6  # linux/if_packet.h
SO_RCVBUFFORCE, SO_ATTACH_FILTER = 33, 26
SIOCGIFHWADDR, ARPHRD_ETHER = 0x8927, 1
BUFFER_BYTES = 16 << 20
SNAP_BYTES = 256  # enough for the ports inside of a tunnel and for a mark
BROADCAST = b"\xff" * 6

Seen = tuple[int, bool, bytes]  # Ethernet type, whether this node sent it, from the network header on
Instruction = tuple[int, int, int, int]


class Tap:
    """What passes on one interface, both ways, but for WireGuard's own packets of this node.

    OSError: EPERM without CAP_NET_RAW, ENODEV if there is no such interface.
    """

    def __init__(self, link: str, config: Config) -> None:
        self.link = link
        self.lost = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)  # hears nothing before it is bound
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except OSError:  # that needs CAP_NET_ADMIN: take what everybody may have
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        _attach(self._socket, filter_program(config.node, config.port))
        try:
            self._socket.bind((link, ETH_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def read(self, most: int) -> Iterator[Seen]:
        """What has come, ``most`` packets at most. OSError if the interface has gone down."""
        for _ in range(most):
            try:
                data, (_, kind, direction, *_) = self._socket.recvfrom(SNAP_BYTES)
            except BlockingIOError:
                return
            yield kind, direction == socket.PACKET_OUTGOING, data

    def losses(self) -> int:
        """Packets that the kernel could not hand over, so far."""
        answer = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)  # and it begins at 0 again
        self.lost += struct.unpack("II", answer)[1]
        return self.lost

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def filter_program(node: str, port: int) -> list[Instruction]:
    """A classic BPF program that leaves WireGuard's own datagrams of this node out, and nothing else.

    They may be most of the traffic; whatever is between pods is never left out, whatever its port.
    """
    load_byte, load_half, load_word, indexed_half, header = 0x30, 0x28, 0x20, 0x48, 0xB1  # linux/bpf_common.h
    equal, any_bit, return_ = 0x15, 0x45, 0x06  # jumps: over how many instructions if so, if not
    address = int(IPv4Address(node))
    return [
        (load_half, 0, 0, 0xFFFFF000),  # SKF_AD_OFF + SKF_AD_PROTOCOL: the Ethernet type
        (equal, 0, 14, ETH_IP),
        (load_byte, 0, 0, 9),
        (equal, 0, 12, UDP),
        (load_half, 0, 0, 6),
        (any_bit, 10, 0, 0x1FFF),  # a later fragment has no ports
        (load_word, 0, 0, 12),
        (equal, 2, 0, address),
        (load_word, 0, 0, 16),
        (equal, 0, 6, address),
        (header, 0, 0, 0),
        (indexed_half, 0, 0, 0),
        (equal, 2, 0, port),
        (indexed_half, 0, 0, 2),
        (equal, 0, 1, port),
        (return_, 0, 0, 0),
        (return_, 0, 0, SNAP_BYTES),
    ]


def names() -> list[str]:
    """All interfaces of this network namespace."""
    return sorted(name for _, name in socket.if_nameindex())


def put(link: str, packet: bytes) -> None:
    """Send an IPv4 packet by one interface, past all routes and filters. OSError if that interface does not take it."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sender:
        address = BROADCAST if _hardware(link) == ARPHRD_ETHER else b""
        sender.sendto(packet, (link, ETH_IP, 0, 0, address))


def send(target: str, port: int, payload: bytes) -> None:
    """Send a datagram as any program would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, suppress(ConnectionRefusedError):
        sender.sendto(payload, (target, port))


def _hardware(link: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFHWADDR, struct.pack("256s", link.encode()[:15]))
    return int(struct.unpack_from("H", answer, 16)[0])


def _attach(sock: socket.socket, program: list[Instruction]) -> None:
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer)))
