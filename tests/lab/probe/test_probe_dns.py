"""DNS attempts of the probe, against a resolver of the test's own on the loopback: who said what is told apart."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "drills.probe"]
Answer = Callable[[dns.message.Message], "bytes | None"]


class Resolver:
    """Answers datagrams as it is told, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.asked: list[tuple[dns.message.Message, int]] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, client = self.socket.recvfrom(4096)
            if data == b"end":
                return
            query = dns.message.from_wire(data)
            self.asked.append((query, client[1]))
            wire = self._answer(query)
            if wire is not None:
                self.socket.sendto(wire, client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join(5)
        self.socket.close()


@pytest.fixture
def resolver() -> Iterator[Callable[[Answer], Resolver]]:
    started: list[Resolver] = []

    def start(answer: Answer) -> Resolver:
        started.append(Resolver(answer))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def probe(**config: Any) -> list[dict[str, Any]]:
    """The attempts of one run, by number."""
    given = {"kind": "dns", "host": "name.example.", "rate": 100, "count": 1, "deadline": 10, "timeout": 2, **config}
    given.setdefault("nameserver", "127.0.0.1")
    text = f"{json.dumps(given)}\n{json.dumps({'go': True})}\n"
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.flush()
        found = []
        for line in process.stdout:
            message = json.loads(line)
            assert "error" not in message, message
            if "attempt" in message:
                found.append(message["attempt"])
    return sorted(found, key=lambda attempt: attempt["i"])


def reply(query: dns.message.Message, *addresses: str, rcode: int = dns.rcode.NOERROR) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    if addresses:
        answer.answer.append(dns.rrset.from_text_list("alias.example.", 60, "IN", "A", list(addresses)))
    return answer


def test_an_answer_is_connected_to(resolver: Callable[[Answer], Resolver], open_port: int) -> None:
    server = resolver(lambda query: reply(query, "127.0.0.1", "127.0.0.2").to_wire())
    first, second = probe(port=open_port, nameserver_port=server.port, count=2)
    assert (first["phase"], first["error"], first["address"]) == ("connected", None, "127.0.0.1")
    assert (second["phase"], second["error"], second["address"]) == ("connect", "refused", "127.0.0.2")
    assert first["body"] == "127.0.0.1 127.0.0.2"
    assert set(first["seconds"]) == {"resolve", "connect", "connected"}
    questions = [query.question[0].to_text() for query, _ in server.asked]
    assert questions == ["name.example. IN A"] * 2
    assert len({port for _, port in server.asked}) == 2
    assert first["localPort"] not in {port for _, port in server.asked}  # that of the phase that it ended in


def other_question(query: dns.message.Message) -> bytes:
    query.id = (query.id + 1) % 65536
    return reply(query, "127.0.0.1").to_wire()


def cut(query: dns.message.Message) -> bytes:
    answer = reply(query)
    answer.flags |= dns.flags.TC
    return answer.to_wire()


def saying(rcode: int) -> Answer:
    return lambda query: reply(query, rcode=rcode).to_wire()


SAID: list[tuple[Answer, str]] = [
    (saying(dns.rcode.REFUSED), "refused"),
    (saying(dns.rcode.NXDOMAIN), "nxdomain"),
    (saying(dns.rcode.SERVFAIL), "servfail"),
    (saying(dns.rcode.NOTIMP), "rcode-notimp"),
    (saying(dns.rcode.NOERROR), "no-address"),
    (cut, "truncated"),
    (lambda _: None, "timeout"),
    (lambda _: b"\0\1", "timeout"),
    (other_question, "timeout"),
]


def test_what_a_server_says(resolver: Callable[[Answer], Resolver]) -> None:
    pending = iter(SAID)

    def answer(query: dns.message.Message) -> bytes | None:
        return next(pending)[0](query)

    server = resolver(answer)
    attempts = probe(port=1, nameserver_port=server.port, count=len(SAID), rate=1000, concurrency=1, timeout=0.2)
    for attempt, (_, error), (_, port) in zip(attempts, SAID, server.asked, strict=True):
        assert (attempt["phase"], attempt["error"], attempt["address"]) == ("resolve", error, None)
        assert attempt["localPort"] == port


def test_a_server_that_is_not_there_refuses_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (attempt,) = probe(port=1, nameserver_port=port)
    assert (attempt["phase"], attempt["error"]) == ("resolve", "unreachable")


def test_the_connection_has_the_whole_timeout_to_itself(resolver: Callable[[Answer], Resolver]) -> None:
    release = threading.Event()

    def slow(query: dns.message.Message) -> bytes:
        release.wait(0.3)
        return reply(query, "127.0.0.1").to_wire()

    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):  # the backlog takes one or two; from then on SYNs are dropped
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        (attempt,) = probe(port=full.getsockname()[1], nameserver_port=resolver(slow).port, timeout=0.5)
    assert (attempt["phase"], attempt["error"]) == ("connect", "timeout")
    assert attempt["seconds"]["connect"] >= 0.5


def test_an_address_is_not_looked_up(open_port: int) -> None:
    (attempt,) = probe(port=open_port, host="127.0.0.1", addresses=["127.0.0.1"], nameserver="127.0.0.3")
    assert (attempt["phase"], attempt["error"], attempt["address"]) == ("connected", None, "127.0.0.1")
    assert set(attempt["seconds"]) == {"connect", "connected"}


def test_a_name_that_is_none() -> None:
    (attempt,) = probe(port=1, host="a..b.")
    assert (attempt["phase"], attempt["error"]) == ("resolve", "bad-name")


def test_tcp_connects_and_says_nothing(open_port: int) -> None:
    (attempt,) = probe(kind="tcp", host="127.0.0.1", port=open_port)
    assert (attempt["phase"], attempt["error"], attempt["sent"]) == ("connected", None, False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (attempt,) = probe(kind="tcp", host="127.0.0.1", port=port)
    assert (attempt["phase"], attempt["error"]) == ("connect", "refused")
