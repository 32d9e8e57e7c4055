"""PostgreSQL attempts: log in and SELECT 1, by libpq without ever blocking, on one connection.

Where a connection fails after it stood, the error tells whether the server said anything: ``server-error`` is a message
of whatever answered there, ``eof``, ``reset`` and ``timeout`` are silence. The password is in memory alone.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from drills.probe.attempt import KIND_OF_ERRNO, READ, WRITE, Attempt, AttemptError, Steps, failure_of

QUERY = b"SELECT 1"
SHOWN = 200
_NEW_CONNECTION = (pq.ConnStatus.STARTED, pq.ConnStatus.NEEDED)
_SEVERITY = re.compile(r"\b[A-Z]{3,}:  ")  # as libpq prints a message of the server: "FATAL:  ..."
_HUNG_UP = ("server closed the connection unexpectedly", "EOF detected", "unexpected eof")

# What the environment says to libpq must not change an attempt; this process makes nothing else.
for _name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[_name]


class PostgresAttempt(Attempt):
    """Phases: connect, login (TLS where the server wants it), query. An attempt without error has selected."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._server: pq.abc.PGconn | None = None

    def steps(self) -> Steps:
        """Connect, log in, ask."""
        with _local_trouble():
            server = self._server = pq.PGconn.connect_start(self._connection_info())
        if server.status == pq.ConnStatus.BAD:
            raise self._failure(server)
        self.socket = socket.socket(fileno=os.dup(server.socket))  # libpq closes its own when it likes
        self._note_local_end()
        yield from self._connect()
        yield from self._log_in(server)
        self.enter("query")
        yield from self._select(server)

    def end(self, failure: AttemptError | None) -> dict[str, Any]:
        """Also says goodbye to the server."""
        if self._server is not None:
            self._server.finish()
        return super().end(failure)

    def _connection_info(self) -> bytes:
        address = self.record["address"]
        if address is None:
            raise AttemptError("unresolved")
        info = make_conninfo(
            host=self.config.host,
            hostaddr=address,
            port=self.config.port,
            user=self.config.user,
            dbname=self.config.database,
            password=self.config.password or None,
            passfile="/nonexistent",
            sslmode="prefer",
            sslcertmode="disable",
            gssencmode="disable",
            application_name="drills-probe",
        )
        return info.encode()

    def _connect(self) -> Steps:
        """Until the TCP connection stands. The kernel's own word is asked for, libpq only has a sentence."""
        assert self.socket is not None
        yield WRITE
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise failure_of(OSError(code, os.strerror(code)))
        self.enter("login")

    def _log_in(self, server: pq.abc.PGconn) -> Steps:
        while (state := server.connect_poll()) != pq.PollingStatus.OK:
            if state == pq.PollingStatus.FAILED:
                raise self._failure(server)
            if server.status in _NEW_CONNECTION:  # libpq begins anew without TLS: that would be another attempt
                raise self._failure(server)
            self.record["sent"] = self.record["sent"] or server.status != pq.ConnStatus.MADE
            yield READ if state == pq.PollingStatus.READING else WRITE

    def _select(self, server: pq.abc.PGconn) -> Steps:
        try:
            server.nonblocking = 1
            server.send_query(QUERY)
            while server.flush():
                yield WRITE
            while True:
                while server.is_busy():
                    yield READ
                    server.consume_input()
                result = server.get_result()
                if result is None:
                    return
                if result.status != pq.ExecStatus.TUPLES_OK:
                    state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
                    raise AttemptError("server-error", f"{state.decode()} {result.get_error_message()}".strip())
                self.record["body"] = (result.get_value(0, 0) or b"").decode(errors="replace")
        except psycopg.Error:
            raise self._failure(server) from None

    def _failure(self, server: pq.abc.PGconn) -> AttemptError:
        message = server.get_error_message()
        return AttemptError(error_word(message, self.record["phase"]), " ".join(message.split())[:SHOWN])


def error_word(message: str, phase: str) -> str:
    """One word for what libpq says: ``server-error`` for everything that can only follow from an answer."""
    if _SEVERITY.search(message):
        return "server-error"
    if any(words in message for words in _HUNG_UP):
        return "eof"
    known = (kind for code, kind in KIND_OF_ERRNO.items() if os.strerror(code) in message)
    return next(known, "local" if phase == "connect" else "server-error")


@contextmanager
def _local_trouble() -> Iterator[None]:
    """What libpq refuses before it sends anything; its sentence is not repeated, it could quote a password."""
    try:
        yield
    except (psycopg.Error, ValueError) as error:
        raise AttemptError("local", f"libpq refuses the connection's settings: {type(error).__name__}") from None
