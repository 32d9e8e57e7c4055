"""Locust at work in its pods: a program in each, by exec, and what they say to one another handed on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from drills.engine.actors import Actor
from drills.errors import DrillsError, WorldError
from drills.inject.flood import COMMAND, Numbers, Plan

READY_SECONDS = 60.0  # on the wall: Locust takes a second of a processor to import, in every pod
CLOSE_SECONDS = 5.0

Message = Mapping[str, Any]


class Conversation(Protocol):
    """A command that runs, spoken to line by line; leaving it ends the command."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def send(self, text: str) -> None: ...

    def lines(self, until: float, stop: threading.Event | None = None) -> Iterator[str]: ...

    def failure(self) -> str | None: ...


class Pods(Protocol):
    """Where commands run: a cluster."""

    def exec(self, namespace: str, pod: str, command: Sequence[str], container: str | None) -> Conversation: ...


class Program:
    """One program in a pod, spoken to in lines of JSON. `start`, then it ends by itself, or by `close`."""

    def __init__(self, cluster: Pods, actor: Actor, config: Message, hear: Callable[[Message], None]) -> None:
        """``hear`` gets every message, on the program's own thread."""
        self.error: str | None = None
        self.ended = threading.Event()
        self._config = config
        self._hear = hear
        self._stop = threading.Event()
        self._stream: Conversation | None = None
        self._unsent: list[str] = []
        self._lock = threading.Lock()
        place = actor.namespace, actor.pod
        self._open: Callable[[], Conversation] = lambda: cluster.exec(*place, COMMAND, actor.container)
        self._thread = threading.Thread(target=self._run, name=str(config["id"]), daemon=True)

    def start(self) -> None:
        """Nothing of it is waited for."""
        self._thread.start()

    def send(self, message: Message) -> None:
        """From any thread; kept until the program has been started."""
        text = json.dumps(message, separators=(",", ":"))
        with self._lock:
            if self._stream is None:
                self._unsent.append(text)
                return
        self._stream.send(text)

    def close(self) -> None:
        """Its standard input closes, and it ends at once; `join` waits."""
        self._stop.set()

    def join(self) -> None:
        """Wait until it has been let go."""
        if self._thread.ident is not None:
            self._thread.join(timeout=CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            with self._open() as stream:
                stream.send(json.dumps(dict(self._config)))
                with self._lock:
                    self._stream = stream
                    for text in self._unsent:
                        stream.send(text)
                for line in stream.lines(time.monotonic() + self._config["deadline"], self._stop):
                    self._take(line)
            if not self._stop.is_set():
                self.error = self.error or stream.failure()
        except DrillsError as error:
            self.error = str(error)
        finally:
            self.ended.set()

    def _take(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if "error" in message:
            self.error = str(message["error"])
        self._hear(message)


class Load:
    """A flood's master and workers. `start`, `ready`, `go`; then `numbers` grow until `over`, or `close` ends it."""

    def __init__(
        self, cluster: Pods, name: str, plan: Plan, actors: tuple[Actor, Sequence[Actor]], lifetime: float
    ) -> None:
        """``actors``: the master and the workers; ``lifetime``: wall seconds that each may run at most."""
        master, workers = actors
        self.plan = plan
        self.over = threading.Event()
        self._changed = threading.Condition()
        self._numbers: list[Numbers] = []
        self._ready = self._finished = False
        self._running: Mapping[str, Any] | None = None
        self._master = Program(cluster, master, plan.master(f"{name}-load", lifetime), self._hear_master)
        self._workers = [
            Program(cluster, actor, plan.worker(f"{name}-load-{number}", number, lifetime), self._hear_worker)
            for number, actor in enumerate(workers)
        ]

    @property
    def error(self) -> str | None:
        """What went wrong with any of them; after `over` nothing can."""
        failed = [one.error for one in (*self._workers, self._master) if one.error is not None]
        return None if self._finished or not failed else failed[0]

    @property
    def numbers(self) -> list[Numbers]:
        """Every report so far, the last one final once it is `over`."""
        with self._changed:
            return list(self._numbers)

    @property
    def finished(self) -> bool:
        """Whether it came to its end by itself."""
        return self._finished

    def start(self) -> None:
        """Start all programs; they take a second or two to be ready."""
        for one in (self._master, *self._workers):
            one.start()

    def ready(self, stop: threading.Event) -> None:
        """Return when the master has all its workers. WorldError if that does not come; at ``stop`` at once."""
        self._await(lambda: self._ready, READY_SECONDS, stop, "Locust was not ready")

    def go(self, seconds: float, stop: threading.Event) -> float:
        """Let it begin; when it began, as a Unix time, once all users are there. WorldError if they do not come."""
        self._master.send({"go": True})
        self._await(lambda: self._running is not None, seconds, stop, "Locust's users did not come up")
        return float(self._running["began"]) if self._running is not None else time.time()

    def close(self) -> None:
        """End all of it at once."""
        programs = (*self._workers, self._master)
        for one in programs:
            one.close()
        for one in programs:
            one.join()
        self.over.set()

    def _await(self, condition: Callable[[], bool], seconds: float, stop: threading.Event, what: str) -> None:
        until = time.monotonic() + seconds
        while not condition() and not stop.is_set():
            with self._changed:
                self._changed.wait(0.05)
            if self.error is not None or time.monotonic() > until:
                raise WorldError(f"{what}: {self.error or f'nothing came within {seconds:g} s'}")

    def _hear_worker(self, message: Message) -> None:
        if "tunnel" in message:
            self._master.send(message)

    def _hear_master(self, message: Message) -> None:
        if "tunnel" in message:
            self._workers[message["tunnel"][0]].send(message)
            return
        with self._changed:
            if "ready" in message:
                self._ready = True
            elif "running" in message:
                self._running = message["running"]
            elif "numbers" in message or "done" in message:
                self._numbers.append(Numbers.read(message.get("numbers") or message["done"]))
            if "done" in message:
                self._finished = True
                self.over.set()
            self._changed.notify_all()
        if "error" in message:
            self.over.set()
