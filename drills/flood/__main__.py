"""``python -m drills.flood``: see the package for the protocol."""

from __future__ import annotations

import gc
import json
import linecache
import os
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import locust  # patches the standard library before anything does I/O
import locust.runners
from gevent.event import Event
from locust.env import Environment
from locust.util.load_locustfile import is_user_class

from drills.flood.config import Config
from drills.flood.gates import Gates, wait
from drills.flood.limit import Limiter
from drills.flood.streams import Lines, Out
from drills.flood.tunnel import LOOPBACK, MasterEnd, WorkerEnd

REPORT_SECONDS = 0.5  # between two reports of a worker, and of the master
LOOK_SECONDS = 0.02
YOUNG_OBJECTS = 10_000  # before they are looked through for cycles; Python's own 700 are the garbage of a few requests
EXTRA = "drills"  # in a worker's report to its master: what Locust does not count


def load_locustfile(text: str, name: str) -> list[type[Any]]:
    """The user classes of a locustfile that exists as text only: a pod's file system may be read-only."""
    module = types.ModuleType("locustfile")
    module.__file__ = name
    sys.modules["locustfile"] = module
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # for tracebacks
    exec(compile(text, name, "exec"), module.__dict__)  # noqa: S102 - that is what a locustfile is for
    users = [item for item in vars(module).values() if is_user_class(item)]
    if not users:
        raise ValueError(f"{name} has no User class")
    return users


def environment_of(config: Config) -> Environment:
    """Locust, with the locustfile's users."""
    os.environ["FLOOD_PATH"] = config.path
    users = load_locustfile(config.locustfile, config.name)
    return Environment(user_classes=users, events=locust.events, host=config.host, locustfile=config.name)


class Worker:
    """Makes the requests."""

    def __init__(self, config: Config, out: Out) -> None:
        self._statuses: Counter[str] = Counter()
        self._limiter = Limiter(config.rate, config.fastest, config.requests, time.monotonic, wait)
        self._gates = Gates(self._limiter)
        self._gates.install()
        self._config, self._out = config, out
        self._end = WorkerEnd(config.number, lambda message: out.write({"tunnel": message}), self._gates.free)
        self._environment = environment_of(config)
        self._environment.events.request.add_listener(self._made)
        self._environment.events.report_to_master.add_listener(self._report)

    def hear(self, message: Mapping[str, Any]) -> None:
        """A line of the input."""
        if "tunnel" in message:
            self._end.deliver(message["tunnel"])

    def run(self) -> None:
        """Until the master says that it is over."""
        runner = self._environment.create_worker_runner(LOOPBACK, self._end.port)
        self._environment.events.init.fire(environment=self._environment, runner=runner, web_ui=None)
        self._out.write({"ready": {"id": self._config.id}})
        runner.greenlet.join()

    def _made(self, response: Any = None, exception: Any = None, **_: Any) -> None:
        self._gates.report()
        status = getattr(response, "status_code", None)
        self._statuses[f"http-{status}" if status else type(exception).__name__ if exception else "ok"] += 1

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        del client_id
        data[EXTRA] = {"turns": self._limiter.taken, "statuses": dict(self._statuses)}


class Master:
    """Starts the users on its workers, and puts their numbers together."""

    def __init__(self, config: Config, out: Out) -> None:
        self._config, self._out = config, out
        self._environment = environment_of(config)
        self._extras: dict[str, Mapping[str, Any]] = {}
        self._go = Event()
        self._environment.events.worker_report.add_listener(self._reported)
        self._runner = self._environment.create_master_runner(LOOPBACK, 0)
        self._end = MasterEnd(self._runner.server.port, lambda message: out.write({"tunnel": message}))
        self._environment.events.init.fire(environment=self._environment, runner=self._runner, web_ui=None)

    def hear(self, message: Mapping[str, Any]) -> None:
        """A line of the input."""
        if "tunnel" in message:
            self._end.deliver(message["tunnel"])
        elif "go" in message:
            self._go.set()

    def run(self) -> None:
        """From the first worker to the last number."""
        config = self._config
        while len(self._runner.clients.ready) < config.workers:
            gevent.sleep(LOOK_SECONDS)
        self._out.write({"ready": {"id": config.id, "workers": config.workers}})
        self._go.wait()
        began = time.time()
        self._runner.start(config.users, spawn_rate=config.users)
        until = time.monotonic() + config.seconds
        self._out.write({"running": {"began": began, "at": time.time(), "users": self._runner.user_count}})
        while (left := until - time.monotonic()) > 0:
            gevent.sleep(min(REPORT_SECONDS, left))
            self._out.write({"numbers": self._numbers(began)})
        ended = time.time()
        self._runner.quit()  # every worker stops and sends its last report
        self._out.write({"done": self._numbers(began, ended)})

    def _reported(self, client_id: str, data: dict[str, Any]) -> None:
        self._extras[client_id] = data.get(EXTRA, {})

    def _numbers(self, began: float, now: float | None = None) -> dict[str, Any]:
        total = self._environment.stats.total
        statuses: Counter[str] = Counter()
        for extra in self._extras.values():
            statuses.update(extra.get("statuses", {}))
        percentile: Callable[[float], int] = total.get_response_time_percentile
        return {
            "at": now or time.time(),
            "began": began,
            "requests": total.num_requests,
            "failures": total.num_failures,
            "turns": sum(extra.get("turns", 0) for extra in self._extras.values()),
            "statuses": dict(sorted(statuses.items())),
            "milliseconds": {"p50": percentile(0.50), "p95": percentile(0.95), "p99": percentile(0.99)},
            "users": self._runner.user_count,
            "workers": len(self._extras),
        }


def main() -> int:
    """Runs as the protocol says. Exit status 2 if it was spoken to in another language."""
    out, lines = Out(), Lines()
    locust.runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS  # Locust's 3 s are a long time on a fast clock
    try:
        config = Config.read(lines.next() or "")
        gevent.spawn_later(config.deadline, os._exit, 1)
        program = Master(config, out) if config.role == "master" else Worker(config, out)
    except Exception as error:  # noqa: BLE001 - a locustfile may raise anything; whoever started us is told
        out.write({"error": f"{type(error).__name__}: {error}"[:400]})
        return 2
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it again and again costs requests
    gc.set_threshold(YOUNG_OBJECTS)
    gevent.spawn(_listen, lines, program.hear)
    program.run()
    return 0


def _listen(lines: Lines, hear: Callable[[Mapping[str, Any]], None]) -> None:
    while (line := lines.next()) is not None:
        hear(json.loads(line))
    os._exit(0)  # whoever started this has gone, or wants it to end


if __name__ == "__main__":
    sys.exit(main())
