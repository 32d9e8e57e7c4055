"""Sockets that speak in the name of others: what the DNS proxy needs to stand between a pod and its server unseen.

Facts: linux/in.h (IP_TRANSPARENT, IP_RECVORIGDSTADDR), Documentation/networking/tproxy.rst.
"""

from __future__ import annotations

import socket
import struct

from drills.lab import netns
from drills.lab.agent import nftables

Address = tuple[str, int]

IP_TRANSPARENT = 19
IP_RECVORIGDSTADDR = 20
MAX_MESSAGE = 65_535


def transparent(node: str, kind: int, local: Address, *, mark: int = 0) -> socket.socket:
    """A non-blocking socket in the node's namespace that is bound to an address which need not be the node's own."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            sock.bind(local)
        except OSError:
            sock.close()
            raise
        return sock

    return netns.in_netns(node, make)


def datagram_listener(node: str) -> socket.socket:
    """The UDP socket to which the packet filter redirects lookups; `receive` says where they were sent to."""
    sock = transparent(node, socket.SOCK_DGRAM, ("127.0.0.1", nftables.DNS_PORT))
    sock.setsockopt(socket.SOL_IP, IP_RECVORIGDSTADDR, 1)
    return sock


def stream_listener(node: str) -> socket.socket:
    """The TCP socket to which the packet filter redirects lookups; a connection's local address is their server's."""
    sock = transparent(node, socket.SOCK_STREAM, ("127.0.0.1", nftables.DNS_PORT))
    sock.listen(128)
    return sock


def receive(sock: socket.socket) -> tuple[bytes, Address, Address] | None:
    """One redirected datagram: content, client, server; None if nothing waits."""
    try:
        data, extra, _, client = sock.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(16))
    except BlockingIOError:
        return None
    for level, kind, value in extra:
        if level == socket.SOL_IP and kind == IP_RECVORIGDSTADDR:
            port, address = struct.unpack_from("!2xH4s", value)
            return data, client, (socket.inet_ntoa(address), port)
    return data, client, sock.getsockname()
