"""Where a turn is taken: at the sockets that every client of a Locust user goes through, before anything is sent.

A turn is taken for every connection that is opened, with what is sent first on it, and for whatever is sent first after
something was received: one for each request, whichever client makes it (FastHttpUser, HttpUser, a client over a bare
socket), redirects and repetitions included. A client that does not use Python's sockets takes its turn when it
reports its request (`report`): late by one, and held all the same. What neither sends through a socket nor reports is
beyond this program's sight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import gevent.socket
import gevent.ssl
from gevent.event import Event

from drills.flood.limit import Limiter

OPENING = ("connect", "connect_ex")
SENDING = ("send", "sendall", "sendmsg", "sendfile")
RECEIVING = ("recv", "recv_into", "recvmsg", "recvmsg_into", "read")


def wait(seconds: float) -> None:
    """Seconds of this greenlet; ``inf`` is for ever."""
    if seconds == float("inf"):
        Event().wait()
    else:
        gevent.sleep(seconds)


class Gates:
    """The gates of one process. ``free`` are sockets that are not the users', by file descriptor."""

    def __init__(self, limiter: Limiter) -> None:
        self.free: set[int] = set()
        self._limiter = limiter
        self._talking: set[int] = set()  # sockets whose turn has been taken, until something is received
        self._unreported: dict[int, int] = {}  # turns that a greenlet has taken since it reported a request

    def install(self) -> None:
        """From now on for every socket of this process."""
        for kind in (gevent.socket.socket, gevent.ssl.SSLSocket):
            for names, gate in (
                (OPENING, self._opening),
                (SENDING, self._sending),
                (RECEIVING, self._receiving),
                (("sendto",), self._datagram),
            ):
                for name in names:
                    if name in vars(kind) or (kind is gevent.socket.socket and hasattr(kind, name)):
                        setattr(kind, name, gate(getattr(kind, name)))

    def report(self) -> None:
        """A request was reported: who has taken no turn for it takes it now."""
        if not self._unreported.pop(id(gevent.getcurrent()), 0):
            self._limiter.take()

    def _take(self, descriptor: int) -> None:
        if descriptor in self.free:
            return
        self._talking.add(descriptor)
        self._unreported[id(gevent.getcurrent())] = 1
        self._limiter.take()

    def _opening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(socket: Any, address: Any) -> Any:
            self._take(socket._sock.fileno())
            return original(socket, address)

        return connect

    def _sending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        talking = self._talking

        def send(socket: Any, *arguments: Any, **named: Any) -> Any:
            descriptor = socket._sock.fileno()
            if descriptor not in talking:
                self._take(descriptor)
            return original(socket, *arguments, **named)

        return send

    def _receiving(self, original: Callable[..., Any]) -> Callable[..., Any]:
        forget = self._talking.discard

        def receive(socket: Any, *arguments: Any, **named: Any) -> Any:
            forget(socket._sock.fileno())
            return original(socket, *arguments, **named)

        return receive

    def _datagram(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def send(socket: Any, *arguments: Any) -> Any:
            self._take(socket._sock.fileno())
            return original(socket, *arguments)

        return send
