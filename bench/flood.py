"""Locust through the tool against Locust by itself, on a server of this machine that answers at once."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.figures import Figure, UnmeasuredError
from bench.prometheus import _free_port
from drills.engine.actors import Actor
from drills.engine.load import Load
from drills.inject.flood import SHIPPED, Locustfile, Plan

SECONDS = 5.0
USERS = 50
RUNS = 5
EVERY = 10_000  # requests: the figures are seconds for so many
UNLIMITED = 1e9  # requests a second
LIMITS = {"tool": 1 / 0.95, "workers": 1 / 1.3, "lean": 1 / 2}
FAST = """from locust import FastHttpUser, task


class Fast(FastHttpUser):
    @task
    def get(self):
        self.client.get("/")
"""
NGINX = """daemon off; master_process off; pid {0}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {0}/1; proxy_temp_path {0}/2; fastcgi_temp_path {0}/3; uwsgi_temp_path {0}/4;
  scgi_temp_path {0}/5;
  server {{ listen 127.0.0.1:{1}; location / {{ return 200 "ok"; }} }}
}}
"""


def flood() -> Iterator[Figure]:
    """Seconds for ten thousand requests, each in turn with what it is compared with."""
    with _server() as host:
        fast, shipped = Locustfile("fast.py", FAST), Locustfile(SHIPPED.name, SHIPPED.read_text())
        tool, bare = _in_turns(lambda: _through_the_tool(host, fast, 1), lambda: _bare(host, fast))
        yield _figure("flood: FastHttpUser through the tool", tool, bare, "bare locust", LIMITS["tool"])
        two, one = _in_turns(lambda: _through_the_tool(host, fast, 2), lambda: _through_the_tool(host, fast, 1))
        yield _figure("flood: two workers", two, one, "one worker", LIMITS["workers"])
        lean, other = _in_turns(lambda: _through_the_tool(host, shipped, 1), lambda: _through_the_tool(host, fast, 1))
        yield _figure("flood: the shipped user class", lean, other, "FastHttpUser", LIMITS["lean"])


def _figure(name: str, value: float, floor: float, floor_name: str, limit: float) -> Figure:
    return Figure(f"{name}, {EVERY} requests", value, floor, floor_name, "s", limit=limit, limit_is_ratio=True)


def _in_turns(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    pairs = [(one(), other()) for _ in range(RUNS)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


@contextmanager
def _server() -> Iterator[str]:
    program = shutil.which("nginx")
    if program is None:
        raise UnmeasuredError("nginx is not installed")
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder, port))
        process = subprocess.Popen([program, "-e", "stderr", "-c", str(config)])
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _bare(host: str, file: Locustfile) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        path.write_text(file.text)
        command = [str(Path(sys.executable).with_name("locust")), "--headless", "--json", "--skip-log"]
        command += ["-f", str(path), "--host", host, "-u", str(USERS), "-r", str(USERS), "-t", f"{SECONDS:g}s"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        (entry,) = json.loads(done.stdout)
    except ValueError:
        raise UnmeasuredError(f"locust said {(done.stderr or done.stdout)[-200:]!r}") from None
    return _seconds(entry["num_requests"], entry["last_request_timestamp"] - entry["start_time"], entry["num_failures"])


def _through_the_tool(host: str, file: Locustfile, workers: int) -> float:
    plan = Plan(host, "/", USERS, workers, UNLIMITED, UNLIMITED, sys.maxsize, SECONDS, file)
    actors = [Actor("bench", "bench", str(number), None) for number in range(workers + 1)]
    load = Load(Here(), "bench", plan, (actors[0], actors[1:]), lifetime=60.0 + SECONDS)
    stop = threading.Event()
    try:
        load.start()
        load.ready(stop)
        load.go(10.0, stop)
        load.over.wait(SECONDS + 10.0)
        if load.error is not None or not load.finished:
            raise UnmeasuredError(load.error or "the flood did not end")
        last = load.numbers[-1]
    finally:
        load.close()
    return _seconds(last.requests, last.at - last.began, last.failures)


def _seconds(requests: int, seconds: float, failures: int) -> float:
    if failures or not requests:
        raise UnmeasuredError(f"{failures} of {requests} requests failed")
    return seconds / requests * EVERY


class Here:
    """Runs on this machine what otherwise runs in a pod."""

    def exec(self, namespace: str, pod: str, command: Sequence[str], container: str | None) -> Talk:
        """The pod's Python is ours."""
        del namespace, pod, container
        return Talk([sys.executable, *command[1:]])


class Talk:
    """A command of this machine, spoken to line by line."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, text: str) -> None:
        """A line of input."""
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()

    def lines(self, until: float, stop: threading.Event | None = None) -> Iterator[str]:
        """Lines of output until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if time.monotonic() > until or (stop is not None and stop.is_set()):
                return
            yield line

    def failure(self) -> str | None:
        """Why it did not end well."""
        status = self._process.wait()
        return f"it ended with status {status}" if status else None
