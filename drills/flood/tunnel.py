"""Locust's connections between workers and master, carried over the lines of their programs."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import gevent.socket
from gevent.server import StreamServer

LOOPBACK = "127.0.0.1"
CHUNK = 16_384  # bytes of a message
Send = Callable[[Sequence[Any]], None]


class Connections:
    """The open connections, by worker and number. ``send`` takes ``[worker, connection, base64 or None]``."""

    def __init__(self, send: Send, free: set[int]) -> None:
        """``free``: descriptors that the users' limits do not hold for."""
        self._send = send
        self._free = free
        self._open: dict[tuple[int, int], Any] = {}

    def carry(self, worker: int, number: int, socket: Any) -> None:
        """Hand on what comes from a socket until it is closed."""
        descriptor = socket.fileno()
        self._free.add(descriptor)
        self._open[worker, number] = socket
        try:
            while data := socket.recv(CHUNK):
                self._send([worker, number, base64.b64encode(data).decode()])
        except OSError:
            pass  # closed by the other side
        finally:
            self._free.discard(descriptor)
            socket.close()
            if self._open.pop((worker, number), None) is not None:
                self._send([worker, number, None])

    def deliver(self, worker: int, number: int, data: str | None) -> bool:
        """Write what came from the other end; False for a connection that is not known here."""
        socket = self._open.get((worker, number))
        if socket is None:
            return False
        if data is None:
            self._open.pop((worker, number), None)
            socket.close()
            return True
        try:
            socket.sendall(base64.b64decode(data))
        except OSError:
            socket.close()
        return True


class WorkerEnd:
    """A worker finds its master at ``port`` of its own loopback."""

    def __init__(self, worker: int, send: Send, free: set[int]) -> None:
        self._worker = worker
        self._connections = Connections(send, free)
        self._numbers = itertools.count()
        self._server = StreamServer((LOOPBACK, 0), self._accepted)
        self._server.start()

    @property
    def port(self) -> int:
        """Where to connect to."""
        return int(self._server.server_port)

    def _accepted(self, socket: Any, _: Any) -> None:
        self._connections.carry(self._worker, next(self._numbers), socket)

    def deliver(self, message: Sequence[Any]) -> None:
        """What the master said."""
        self._connections.deliver(*message)


class MasterEnd:
    """A master at ``port`` of its own loopback gets the connections of all workers."""

    def __init__(self, port: int, send: Send) -> None:
        self._port = port
        self._connections = Connections(send, set())

    def deliver(self, message: Sequence[Any]) -> None:
        """What a worker said; its first word opens the connection."""
        worker, number, data = message
        if self._connections.deliver(worker, number, data) or data is None:
            return
        socket = gevent.socket.create_connection((LOOPBACK, self._port))
        gevent.spawn(self._connections.carry, worker, number, socket)
        gevent.sleep(0)  # so that it is known before the next message
        self._connections.deliver(worker, number, data)
