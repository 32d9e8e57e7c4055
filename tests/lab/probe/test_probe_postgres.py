"""PostgreSQL attempts of the probe, against servers of the test's own that speak as much of the protocol as it takes.

A real server is asked in tests/lab.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drills.probe.postgres import error_word

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "drills.probe"]
PASSWORD = "a secret with ' and \\"
SSL_REQUEST = 80877103
Talk = Callable[[socket.socket], None]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


OK = message(b"R", struct.pack("!I", 0))
ASK_PASSWORD = message(b"R", struct.pack("!I", 3))
READY = message(b"Z", b"I")
ERROR = message(b"E", b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0")
ROW = (
    message(b"T", struct.pack("!H", 1) + b"?column?\0" + struct.pack("!IhIhih", 0, 0, 23, 4, -1, 0))
    + message(b"D", struct.pack("!HI", 1, 1) + b"1")
    + message(b"C", b"SELECT 1\0")
    + READY
)


def receive(connection: socket.socket, kind: bool = True) -> bytes:
    """One message of the client, without its length."""
    head = connection.recv(5 if kind else 4, socket.MSG_WAITALL)
    (length,) = struct.unpack("!I", head[-4:])
    return connection.recv(length - 4, socket.MSG_WAITALL)


def greet(connection: socket.socket) -> bytes:
    """The startup message; TLS is declined."""
    body = receive(connection, kind=False)
    if struct.unpack("!I", body[:4])[0] == SSL_REQUEST:
        connection.sendall(b"N")
        body = receive(connection, kind=False)
    return body


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], int]]:
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(talk: Talk) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError, struct.error):
                        talk(connection)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for each in sockets:
        each.shutdown(socket.SHUT_RDWR)
        each.close()
    for thread in threads:
        thread.join(5)


def attempts_of(port: int, **config: Any) -> list[dict[str, Any]]:
    """Attempts one after another; the password is nowhere in what the probe says."""
    given = {"kind": "postgres", "host": "127.0.0.1", "port": port, "rate": 1000, "count": 1, "deadline": 10}
    given |= {"timeout": 0.5, "user": "appuser", "database": "appdb", "password": PASSWORD, "concurrency": 1, **config}
    environment = {**os.environ, "PGUSER": "somebody-else", "PGSSLMODE": "require", "PGPORT": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(f"{json.dumps(given)}\n{json.dumps({'go': True})}\n")
        process.stdin.flush()
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text() + Path(f"/proc/{process.pid}/environ").read_text()
        lines = process.stdout.read()
        errors = process.stderr.read()
    assert "a secret with" not in lines + errors + arguments
    assert errors == ""
    found = [said["attempt"] for line in lines.splitlines() if "attempt" in (said := json.loads(line))]
    return sorted(found, key=lambda attempt: int(attempt["i"]))


def fails(connection: socket.socket) -> None:
    greet(connection)
    connection.sendall(ERROR)


def is_no_postgresql(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.recv(100)


def hangs_up(connection: socket.socket) -> None:
    greet(connection)


def says_nothing(connection: socket.socket) -> None:
    greet(connection)
    connection.recv(1)


def denies_the_query(connection: socket.socket) -> None:
    greet(connection)
    connection.sendall(OK + READY)
    receive(connection)
    connection.sendall(message(b"E", b"SERROR\0VERROR\0C42501\0Mpermission denied\0\0") + READY)
    receive(connection)


TALKS: list[tuple[Talk, str, str, str]] = [
    (fails, "login", "server-error", "password authentication failed"),
    (is_no_postgresql, "login", "server-error", ""),
    (hangs_up, "login", "eof", ""),
    (says_nothing, "login", "timeout", ""),
    (denies_the_query, "query", "server-error", "42501 "),
]


def test_what_a_server_says(serve: Callable[[Talk], int]) -> None:
    pending = iter(TALKS)

    def talk(connection: socket.socket) -> None:
        next(pending)[0](connection)

    attempts = attempts_of(serve(talk), count=len(TALKS))
    for attempt, (_, phase, error, detail) in zip(attempts, TALKS, strict=True):
        assert (attempt["phase"], attempt["error"], attempt["sent"]) == (phase, error, True)
        assert detail in attempt["detail"]


def test_a_login_and_a_select(serve: Callable[[Talk], int]) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        seen.append(greet(connection))
        connection.sendall(ASK_PASSWORD)
        seen.append(receive(connection))
        connection.sendall(OK + READY)
        seen.append(receive(connection))
        connection.sendall(ROW)
        receive(connection)

    (attempt,) = attempts_of(serve(talk))
    assert (attempt["phase"], attempt["error"], attempt["body"], attempt["sent"]) == ("query", None, "1", True)
    assert set(attempt["seconds"]) == {"connect", "login", "query"}
    assert b"user\0appuser\0database\0appdb\0" in seen[0]
    assert seen[1:] == [PASSWORD.encode() + b"\0", b"SELECT 1\0"]


def test_a_server_that_wants_a_password_which_is_not_there(serve: Callable[[Talk], int]) -> None:
    def talk(connection: socket.socket) -> None:
        greet(connection)
        connection.sendall(ASK_PASSWORD)
        connection.recv(1)

    (attempt,) = attempts_of(serve(talk), password="")
    assert (attempt["phase"], attempt["error"]) == ("login", "server-error")


def test_a_closed_port_and_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (attempt,) = attempts_of(port)
    assert (attempt["phase"], attempt["error"], attempt["sent"]) == ("connect", "refused", False)
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):  # the backlog takes one or two; from then on SYNs are dropped
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        (attempt,) = attempts_of(full.getsockname()[1], timeout=0.2)
    assert (attempt["phase"], attempt["error"], attempt["localAddress"]) == ("connect", "timeout", "127.0.0.1")
    assert attempt["localPort"] > 0


@pytest.mark.parametrize(
    ("text", "phase", "word"),
    [
        ('connection to server at "10.0.0.1", port 5432 failed: FATAL:  too many clients already', "login", None),
        ("server closed the connection unexpectedly\n\tThis probably means", "login", "eof"),
        ("FATAL:  terminating connection\nserver closed the connection unexpectedly", "query", None),
        ("could not receive data from server: Connection reset by peer", "login", "reset"),
        ("SSL SYSCALL error: EOF detected", "login", "eof"),
        ("expected authentication request from server, but received H", "login", None),
        ('connection to server at "10.0.0.1", port 5432 failed: Network is unreachable', "connect", "unreachable"),
        ("out of memory", "connect", "local"),
    ],
)
def test_libpq_s_words(text: str, phase: str, word: str | None) -> None:
    assert error_word(text, phase) == (word or "server-error")
