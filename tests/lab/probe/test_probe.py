"""The probe as a process, against real servers on the loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-S", "-m", "drills.probe"]
Handler = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 2\r\n\r\nhi"


class Server:
    """Accepts connections in a thread and leaves each to a handler; remembers the requests."""

    def __init__(self, handler: Handler, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), family=family, backlog=128)
        self.port: int = self.socket.getsockname()[1]
        self._handler = handler
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._handler(connection)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for thread in (self._thread, *self._threads):
            thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    servers: list[Server] = []

    def start(handler: Handler) -> Server:
        servers.append(Server(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    return data


def answering(answer: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    return handle


class Probe:
    """The probe as a child process."""

    def __init__(self, **config: Any) -> None:
        given = {"host": "127.0.0.1", "rate": 200, "count": 1, "deadline": 10, "timeout": 5, **config}
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.say(given)

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def finish(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Every attempt, and the last word."""
        attempts = []
        while "attempt" in (message := self.hear()):
            attempts.append(message["attempt"])
        self.end()
        return attempts, message["done"]

    def end(self) -> int:
        with self.process:
            return self.process.wait(10)


def run_probe(port: int, **config: Any) -> list[dict[str, Any]]:
    probe = Probe(port=port, **config)
    probe.hear()
    probe.say({"go": True})
    attempts, _ = probe.finish()
    return attempts


def probe_once(port: int, **config: Any) -> dict[str, Any]:
    (attempt,) = run_probe(port, **config)
    return attempt


def test_it_says_ready_waits_for_go_and_reports_every_attempt(serve: Callable[[Handler], Server]) -> None:
    server = serve(answering(OK))
    probe = Probe(port=server.port, count=5, id="attack")
    ready = probe.hear()["ready"]
    assert (ready["id"], ready["addresses"], ready["error"]) == ("attack", ["127.0.0.1"], None)
    probe.say({"go": True})
    attempts, done = probe.finish()
    assert done == {"reason": "finished", "planned": 5, "started": 5}
    assert sorted(attempt["i"] for attempt in attempts) == [0, 1, 2, 3, 4]
    assert len({attempt["localPort"] for attempt in attempts}) == 5
    for attempt in attempts:
        assert (attempt["status"], attempt["error"], attempt["phase"], attempt["sent"]) == (200, None, "receive", True)
        assert (attempt["body"], attempt["headers"], attempt["address"]) == ("hi", {"server": "test"}, "127.0.0.1")
        assert set(attempt["seconds"]) == {"connect", "send", "receive"}
        assert attempt["lag"] >= 0


def test_the_request_is_sent_exactly_as_given(serve: Callable[[Handler], Server]) -> None:
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)

    port = serve(handle).port
    target = "/public/../admin%2F..//config?a=%20b"
    probe_once(
        port, method="POST", target=target, authority="api.backend", headers={"X-A": "1", "accept": "x"}, body="é"
    )
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST " + target.encode() + b" HTTP/1.1",
        b"Host: api.backend",
        b"User-Agent: drills-probe",
        b"Content-Length: 2",
        b"X-A: 1",
        b"accept: x",
        b"Connection: close",
    ]
    assert body == "é".encode()


ANSWERS: list[tuple[bytes, int | None, str, str | None]] = [
    (OK, 200, "hi", None),
    (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 15\r\n\r\nAccess denied\r\n", 403, "Access denied\r\n", None),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000 + OK, 200, "hi", None),
    (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 301, "", None),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n", 200, "abcd", None),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end", None),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "", None),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 200, "short", "eof"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000, 200, "x" * 256, None),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff", 200, "\ufffd", None),
    (b"", None, "", "eof"),
    (b"220 mail.example ESMTP\r\n", None, "220 mail.example ESMTP\r\n", "not-http"),
    (b"HTTP/1.1 2", None, "HTTP/1.1 2", "not-http"),
    (b"HTTP/1.1 abc\r\n\r\n", None, "", "not-http"),
]


REDIRECT = b"HTTP/1.1 307 Temporary Redirect\r\nserver: envoy\r\nlocation: %s\r\ncontent-length: 0\r\n%s\r\n"
OWN = b"http://api.backend/admin"


@pytest.mark.parametrize(
    ("target", "location", "more", "asked"),
    [
        ("/api/..%2Fadmin", OWN, b"", ["/api/..%2Fadmin", "/admin"]),
        ("/api/..%5cadmin", b"/admin", b"", ["/api/..%5cadmin", "/admin"]),
        ("/api/..%2Fadmin", b"http://api.backend.evil/admin", b"", ["/api/..%2Fadmin"]),
        ("/api/..%2Fadmin", b"//evil/admin", b"", ["/api/..%2Fadmin"]),
        ("/api/..%2Fadmin", OWN, b"x-envoy-upstream-service-time: 1\r\n", ["/api/..%2Fadmin"]),
        ("/api/../admin", OWN, b"", ["/api/../admin"]),
    ],
)
def test_only_a_proxys_plain_spelling_of_escaped_slashes_is_followed(
    serve: Callable[[Handler], Server], target: str, location: bytes, more: bytes, asked: list[str]
) -> None:
    seen: list[str] = []

    def handle(connection: socket.socket) -> None:
        seen.append(read_request(connection).split()[1].decode())
        connection.sendall(REDIRECT % (location, more) if len(seen) == 1 else OK)

    attempt = probe_once(serve(handle).port, target=target, authority="api.backend")

    assert seen == asked
    followed = len(asked) == 2
    assert (attempt["status"], attempt["redirected"]) == ((200, "/admin") if followed else (307, ""))
    assert attempt["headers"].get("server") == ("test" if followed else "envoy")


def test_answers(serve: Callable[[Handler], Server]) -> None:
    pending = iter(ANSWERS)

    def handle(connection: socket.socket) -> None:
        answering(next(pending)[0])(connection)

    attempts = run_probe(serve(handle).port, count=len(ANSWERS), rate=1000, concurrency=1)
    for attempt, (_, status, body, error) in zip(attempts, ANSWERS, strict=True):
        assert (attempt["status"], attempt["body"], attempt["error"]) == (status, body, error)
        assert (attempt["phase"], attempt["sent"]) == ("receive", True)


def test_a_redirect_is_not_followed(serve: Callable[[Handler], Server]) -> None:
    requests: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    assert probe_once(serve(handle).port)["headers"] == {"location": "/elsewhere"}
    assert len(requests) == 1


def test_a_closed_port_is_refused_in_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    attempt = probe_once(port)
    assert (attempt["phase"], attempt["error"], attempt["detail"]) == ("connect", "refused", "ECONNREFUSED")
    assert (attempt["sent"], attempt["status"]) == (False, None)


def test_a_reset_after_the_request_was_sent(serve: Callable[[Handler], Server]) -> None:
    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    attempt = probe_once(serve(handle).port)
    assert (attempt["phase"], attempt["error"], attempt["sent"]) == ("receive", "reset", True)


def test_a_full_backlog_times_out_in_connect() -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # the backlog takes one or two; from then on SYNs are dropped
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        attempt = probe_once(full.getsockname()[1], timeout=0.2)
    assert (attempt["phase"], attempt["error"], attempt["sent"]) == ("connect", "timeout", False)


def test_a_slow_answer_delays_nobody(serve: Callable[[Handler], Server]) -> None:
    release = threading.Event()
    count = iter(range(100))

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        if next(count) == 0:
            release.wait(10)
        connection.sendall(OK)

    probe = Probe(port=serve(handle).port, count=10)
    probe.hear()
    probe.say({"go": True})
    first = [probe.hear()["attempt"]["status"] for _ in range(9)]
    assert first == [200] * 9
    release.set()
    (last,), done = probe.finish()
    assert (last["status"], done["started"]) == (200, 10)


def test_concurrency_is_bounded_and_the_lag_recorded(serve: Callable[[Handler], Server]) -> None:
    probe = Probe(port=serve(lambda connection: read_request(connection) and None).port, count=0)
    probe.hear()
    probe.say({"go": True})
    assert probe.finish() == ([], {"reason": "finished", "planned": 0, "started": 0})

    def hold(connection: socket.socket) -> None:
        read_request(connection)
        connection.recv(1)

    probe = Probe(port=serve(hold).port, count=4, rate=1000, timeout=0.1, concurrency=2)
    probe.hear()
    probe.say({"go": True})
    attempts, _ = probe.finish()
    assert [attempt["error"] for attempt in attempts] == ["timeout"] * 4
    assert all(attempt["lag"] > 0.09 for attempt in attempts if attempt["i"] >= 2)


def test_the_deadline_ends_everything(serve: Callable[[Handler], Server]) -> None:
    def hold(connection: socket.socket) -> None:
        read_request(connection)
        connection.recv(1)

    probe = Probe(port=serve(hold).port, count=1000, rate=20, deadline=0.2)
    probe.hear()
    probe.say({"go": True})
    attempts, done = probe.finish()
    assert done["reason"] == "deadline"
    assert 0 < done["started"] < 1000
    assert {attempt["error"] for attempt in attempts} == {"deadline"}
    assert len(attempts) == done["started"]


def test_it_ends_when_standard_input_closes(serve: Callable[[Handler], Server]) -> None:
    server = serve(answering(OK))
    probe = Probe(port=server.port, count=10_000, rate=50, deadline=300)
    probe.hear()
    probe.say({"go": True})
    probe.hear()
    assert probe.process.stdin is not None
    probe.process.stdin.close()
    _, done = probe.finish()
    assert done["reason"] == "stopped"
    assert done["started"] < 10_000


def test_it_ends_when_nobody_says_go() -> None:
    probe = Probe(port=1)
    probe.hear()
    assert probe.process.stdin is not None
    probe.process.stdin.close()
    assert probe.hear() == {}
    assert probe.end() == 0


def test_a_name_that_does_not_resolve_is_said_in_ready() -> None:
    probe = Probe(port=80, host="no-such-host.invalid")
    ready = probe.hear()["ready"]
    assert ready["addresses"] == []
    assert ready["error"]
    probe.say({"go": True})
    (attempt,), _ = probe.finish()
    assert (attempt["phase"], attempt["error"], attempt["address"]) == ("resolve", "unresolved", None)


def test_attempts_go_round_the_addresses(serve: Callable[[Handler], Server]) -> None:
    server = serve(answering(OK))
    probe = Probe(port=server.port, count=4, addresses=["127.0.0.1", "127.0.0.2"])
    probe.hear()
    probe.say({"go": True})
    attempts, _ = probe.finish()
    by_number = {attempt["i"]: (attempt["address"], attempt["error"]) for attempt in attempts}
    assert by_number == {i: (f"127.0.0.{i % 2 + 1}", (None, "refused")[i % 2]) for i in range(4)}


def test_a_name_must_resolve_even_where_addresses_are_given() -> None:
    probe = Probe(host="nowhere.invalid", port=9, count=1, addresses=["127.0.0.1"])
    assert probe.hear()["ready"]["error"]
    probe.say({"go": True})
    (attempt,), _ = probe.finish()
    assert (attempt["phase"], attempt["error"]) == ("resolve", "unresolved")


def test_the_proxy_of_the_environment_is_not_asked(
    serve: Callable[[Handler], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert probe_once(serve(answering(OK)).port)["status"] == 200


def test_tls_is_a_phase_of_its_own(serve: Callable[[Handler], Server], tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            answering(OK)(wrapped)

    attempt = probe_once(serve(handle).port, tls=True)
    assert (attempt["status"], attempt["body"], attempt["error"]) == (200, "hi", None)
    assert set(attempt["seconds"]) == {"connect", "tls", "send", "receive"}


def self_signed(folder: Path) -> Path:
    pem = folder / "server.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", pem]
    command = ["openssl", "req", "-x509", *key, "-out", folder / "cert.pem", "-subj", "/CN=test", "-days", "1"]
    subprocess.run(command, check=True, capture_output=True)
    with pem.open("a") as file:
        file.write((folder / "cert.pem").read_text())
    return pem


def test_an_answer_that_is_no_tls(serve: Callable[[Handler], Server]) -> None:
    attempt = probe_once(serve(lambda connection: connection.sendall(OK)).port, tls=True)
    assert (attempt["phase"], attempt["error"], attempt["sent"], attempt["status"]) == ("tls", "tls", False, None)


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"host": "a", "port": 1, "rate": 0, "count": 1, "deadline": 1, "timeout": 1}']
)
def test_what_it_does_not_understand_it_says(line: str) -> None:
    done = subprocess.run(COMMAND, input=line, capture_output=True, text=True, timeout=10, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith("the probe was not understood")
    assert done.stderr == ""
