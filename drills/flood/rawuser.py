"""A lean HTTP user: one keep-alive connection over a bare gevent socket, counted by Locust as any other user's.

It sends what it is told and reads the whole answer; no cookies, no redirects, no compression. In return it costs a
fraction of what FastHttpUser does for a request, so that a flood's own pods are not what limits it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent.socket
import gevent.ssl
from locust import User
from locust.exception import LocustError

LONGEST_HEAD = 65_536  # bytes
CHUNK = 65_536
BODILESS = (204, 304)


class RawResponse(NamedTuple):
    """An answer; ``headers`` are the head's bytes as they came."""

    status_code: int
    headers: bytes
    content: bytes


class BadAnswerError(LocustError):
    """What came was no HTTP/1.1 answer, or only half of one."""


class StatusError(LocustError):
    """An answer with status 400 or more, which Locust counts as a failure."""


class RawHttpUser(User):
    """``self.client.get(path)`` and ``self.client.request(method, path, headers=..., body=...)``."""

    abstract = True
    timeout = 10.0  # seconds, for each step

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.client = RawHttpClient(self.host or "", environment.events.request, self, self.timeout)

    def on_stop(self) -> None:
        """The connection ends with the user."""
        self.client.close()


class RawHttpClient:
    """One connection, opened when it is needed."""

    def __init__(self, host: str, event: Any, user: Any, timeout: float) -> None:
        """``host``: scheme, name and port. ``event``: Locust's ``request``."""
        parts = urlsplit(host)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if self._tls else 80))
        self._prefix = parts.path.rstrip("/")
        self._host = parts.netloc.encode()
        self._event = event
        self._user = user
        self._timeout = timeout
        self._socket: Any = None
        self._requests: dict[str, bytes] = {}  # of GETs, by path

    def get(self, path: str, name: str | None = None) -> RawResponse | None:
        """GET; None where there was no answer."""
        data = self._requests.get(path)
        if data is None:
            data = self._requests[path] = self._head("GET", path, {}, b"")
        return self._measured("GET", path, name or path, data)

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> RawResponse | None:
        """Any method; None where there was no answer."""
        return self._measured(method, path, name or path, self._head(method, path, headers or {}, body) + body)

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _head(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1".encode(), b"Host: " + self._host]
        lines += [f"{key}: {value}".encode() for key, value in headers.items()]
        if body or method not in ("GET", "HEAD"):
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _measured(self, method: str, path: str, name: str, data: bytes) -> RawResponse | None:
        response: RawResponse | None = None
        failure: Exception | None = None
        at, began = time.time(), time.perf_counter()
        try:
            response = self._exchange(method, data)
        except (OSError, BadAnswerError) as error:
            failure = error
            self.close()
        took = (time.perf_counter() - began) * 1000
        if response is not None and response.status_code >= 400:
            failure = StatusError(f"status {response.status_code}")
        self._event.fire(
            request_type=method,
            name=name,
            response_time=took,
            response_length=len(response.content) if response is not None else 0,
            response=response,
            context=self._user.context(),
            exception=failure,
            start_time=at,
            url=path,
        )
        return response

    def _exchange(self, method: str, data: bytes) -> RawResponse:
        if self._socket is None:
            self._socket = self._connected()
        self._socket.sendall(data)
        buffer = b""
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > LONGEST_HEAD:
                raise BadAnswerError("the answer's head has no end")
            buffer += self._received()
        head, rest = buffer[:end], buffer[end + 4 :]
        try:
            status = int(head[9:12])
        except ValueError:
            raise BadAnswerError("no HTTP answer") from None
        fields = head.lower()
        bodiless = method == "HEAD" or status in BODILESS or status < 200
        content = b"" if bodiless else self._body(fields, rest)
        if b"\nconnection: close" in fields or head.startswith(b"HTTP/1.0"):
            self.close()
        return RawResponse(status, head, content)

    def _connected(self) -> Any:
        connection = gevent.socket.create_connection(self._address, self._timeout)
        connection.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        if not self._tls:
            return connection
        context = gevent.ssl.create_default_context()
        context.check_hostname = False  # what the server can carry is asked, not who it is
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection, server_hostname=self._address[0])

    def _received(self) -> bytes:
        data: bytes = self._socket.recv(CHUNK)
        if not data:
            raise BadAnswerError("the connection was closed within an answer")
        return data

    def _body(self, fields: bytes, rest: bytes) -> bytes:
        at = fields.find(b"\r\ncontent-length:")
        if at >= 0:
            end = fields.find(b"\r\n", at + 2)
            length = int(fields[at + 17 : end if end >= 0 else None])
            while len(rest) < length:
                rest += self._received()
            return rest
        if b"\r\ntransfer-encoding: chunked" in fields:
            return self._chunks(rest)
        while data := self._socket.recv(CHUNK):
            rest += data
        self.close()
        return rest

    def _chunks(self, rest: bytes) -> bytes:
        content = b""
        while True:
            while (end := rest.find(b"\r\n")) < 0:
                rest += self._received()
            try:
                length = int(rest[:end].partition(b";")[0], 16)
            except ValueError:
                raise BadAnswerError("a chunk without a length") from None
            rest = rest[end + 2 :]
            while len(rest) < length + 2:
                rest += self._received()
            content, rest = content + rest[:length], rest[length + 2 :]
            if length == 0:
                return content
