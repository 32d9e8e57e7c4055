"""The programs of a flood's pods, as processes: Locust really floods a server here, and is held to its rate."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drills.inject.flood import COMMAND, SHIPPED, Locustfile, Numbers, Plan, RateWatch

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
SECONDS = 2.0
RATE = 200.0
PATIENCE = 30.0


class Server(ThreadingHTTPServer):
    """Counts what arrives."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        self.arrived: list[float] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.arrived.append(time.monotonic())
        moved = self.path == "/moved"
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", "/")
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class Program:
    """One of the programs, and what it said."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *COMMAND[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[dict[str, Any]] = []
        self.send(config)

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def last(self, key: str) -> Any:
        return next((one[key] for one in reversed(self.said) if key in one), None)


class Fleet:
    """A master and its workers, with their messages handed on as the engine does it."""

    def __init__(self, plan: Plan) -> None:
        self.master = Program(plan.master("master", PATIENCE))
        self.workers = [Program(plan.worker(f"worker{n}", n, PATIENCE)) for n in range(plan.workers)]
        self._changed = threading.Condition()
        programs = (self.master, *self.workers)
        self._threads = [threading.Thread(target=self._hear, args=(one,), daemon=True) for one in programs]
        for thread in self._threads:
            thread.start()

    def _hear(self, program: Program) -> None:
        assert program.process.stdout is not None
        for line in program.process.stdout:
            message = json.loads(line)
            if "tunnel" in message:
                (self.workers[message["tunnel"][0]] if program is self.master else self.master).send(message)
            with self._changed:
                program.said.append(message)
                self._changed.notify_all()

    def wait(self, key: str, program: Program | None = None) -> Any:
        of = program or self.master
        with self._changed:
            assert self._changed.wait_for(lambda: of.last(key) is not None, PATIENCE), (of.said, key)
        return of.last(key)

    def flood(self) -> Numbers:
        self.wait("ready")
        self.master.send({"go": True})
        return Numbers.read(self.wait("done"))

    def end(self) -> list[int]:
        for one in (*self.workers, self.master):
            assert one.process.stdin is not None
            one.process.stdin.close()
        ended = [one.process.wait(timeout=10) for one in (self.master, *self.workers)]
        for thread in self._threads:
            thread.join(timeout=10)
        for one in (*self.workers, self.master):
            assert one.process.stdout is not None
            assert one.process.stderr is not None
            one.process.stdout.close()
            one.process.stderr.close()
        return ended


@contextmanager
def fleet(host: str, file: Path, *, workers: int = 1, rate: float = RATE, seconds: float = SECONDS) -> Iterator[Fleet]:
    text = Locustfile(file.name, file.read_text())
    found = Fleet(Plan(host, "/", 20, workers, rate, 1.25 * rate, round(rate * seconds), seconds, text))
    try:
        yield found
    finally:
        assert all(status == 0 for status in found.end())


def test_shipped_locustfile_sends_what_it_is_told_and_locust_counts_it(server: Server) -> None:
    with fleet(server.host, SHIPPED, workers=2) as load:
        numbers = load.flood()
        assert load.wait("running")["users"] == 20

    planned = RATE * SECONDS
    assert numbers.statuses == {"http-200": numbers.requests}
    assert 0.9 * planned <= numbers.requests <= planned
    assert numbers.requests <= len(server.arrived) <= planned
    assert numbers.failures == 0
    assert 0 < numbers.milliseconds["p50"] <= numbers.milliseconds["p95"] <= numbers.milliseconds["p99"]


@pytest.mark.parametrize("name", ["greedy_fast.py", "greedy_others.py"])
def test_no_client_gets_past_its_rate(server: Server, name: str) -> None:
    with fleet(server.host, HERE / name) as load:
        numbers = load.flood()

    planned = RATE * SECONDS
    assert len(server.arrived) <= planned
    assert 0 < numbers.requests <= planned
    assert numbers.turns <= planned
    assert numbers.turns >= 0.9 * planned  # it is the limit that held them back, not their own slowness


def test_what_no_gate_sees_is_seen_in_the_numbers(server: Server) -> None:
    watch = RateWatch(RATE, 20)
    with fleet(server.host, HERE / "past_the_gates.py") as load:
        load.flood()
        seen = [watch.exceeded(Numbers.read(one["numbers"])) for one in load.master.said if "numbers" in one]

    assert any(seen)


def test_all_ends_at_once_when_standard_input_closes(server: Server) -> None:
    with fleet(server.host, SHIPPED, seconds=60.0) as load:
        load.wait("ready")
        load.master.send({"go": True})
        load.wait("numbers")
        load.end()
        there = len(server.arrived)

    assert 0 < there == len(server.arrived)


def test_a_locustfile_that_cannot_be_loaded_is_told(server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "mine.py"
    wrong.write_text("import nothing_of_that_name\n")
    text = Locustfile("mine.py", wrong.read_text())
    program = Program(Plan(server.host, "/", 1, 1, 1.0, 1.0, 1, 1.0, text).worker("w", 0, PATIENCE))

    out, _ = program.process.communicate(timeout=PATIENCE)

    assert json.loads(out)["error"] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert program.process.returncode == 2
