"""A probe at work in a drill pod: its attempts as they come, classified, counted, and kept for the evidence."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drills.engine.verdict import Tally
from drills.errors import DrillsError, WorldError
from drills.inject.base import SLACK, Attempt, Outcome, OutcomeKind
from drills.kube import Cluster, Stream

COMMAND = ("python", "-m", "drills.probe")
STARTS = 3  # of a program whose connection is lost before it is ready
READY_SECONDS = 15.0  # on the wall: a probe imports the standard library and resolves one name


@dataclass(frozen=True, slots=True)
class Classified:
    """One attempt and what it proves."""

    attempt: Attempt
    outcome: Outcome


class Probe:
    """One run of the probe program in a pod. `ready`, then `go`, then it ends by itself, or by `close`."""

    def __init__(
        self,
        cluster: Cluster,
        pod: tuple[str, str],
        config: Mapping[str, Any],
        classify: Callable[[Attempt], Outcome],
        on_attempt: Callable[[Classified], None] = lambda _: None,
        *,
        container: str | None = None,
    ) -> None:
        """``pod`` is namespace and name, ``config`` the probe's first line. Nothing starts yet. ``container`` None: the
        pod's own.
        """
        self.config = config
        self.facts: Mapping[str, Any] = {}
        self.error: str | None = None
        self._classify = classify
        self._on_attempt = on_attempt
        self._lock = threading.Lock()
        self._found: list[Classified] = []
        self._ready = threading.Event()
        self._over = threading.Event()
        self._stop = threading.Event()
        self._stream: Stream | None = None
        self._open: Callable[[], Stream] = lambda: cluster.exec(  # it waits for go
            *pod, COMMAND, container, repeatable=True
        )
        self._thread = threading.Thread(target=self._run, name=f"probe-{config['id']}", daemon=True)

    def ready(self) -> None:
        """Start the program and wait until it has resolved its target; WorldError if it does not get there."""
        self._thread.start()
        if not self._ready.wait(READY_SECONDS) or self.error is not None:
            reason = self.error or f"it was not ready after {READY_SECONDS:g} s"
            self.close()
            raise WorldError(f"The probe {self.config['id']} did not start: {reason}")

    def go(self, at: float | None = None) -> None:
        """Let it begin, now or at a Unix time."""
        if self._stream is not None:
            self._stream.send(json.dumps({"go": True if at is None else {"at": at}}))

    def close(self) -> None:
        """End it: its standard input closes, and it stops at once."""
        self._stop.set()
        if self._thread.ident is not None:  # it may never have been started
            self._thread.join(timeout=5.0)

    def over(self) -> bool:
        """Whether every attempt has been made, or it failed."""
        return self._over.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is over; False if it is not yet."""
        return self._over.wait(seconds)

    def attempts(self) -> list[Classified]:
        """Every attempt so far, in the order in which they were made."""
        with self._lock:
            return sorted(self._found, key=lambda one: one.attempt.i)

    def outcomes(self) -> dict[str, int]:
        """Attempts so far by outcome."""
        with self._lock:
            return dict(sorted(Counter(one.outcome.name for one in self._found).items()))

    def _run(self) -> None:
        try:
            for _ in range(STARTS):
                self.error = None
                if not self._lost_before_ready():
                    break
        except DrillsError as error:
            self.error = str(error)
        finally:
            self._ready.set()
            self._over.set()

    def _lost_before_ready(self) -> bool:
        """Run the program to its end. True where the connection was lost before it had done anything."""
        with self._open() as stream:
            self._stream = stream
            stream.send(json.dumps(dict(self.config)))
            until = time.monotonic() + self.config["deadline"] + READY_SECONDS + SLACK
            for line in stream.lines(until, self._stop):
                self._take(line)
        if self._over.is_set() or self._stop.is_set() or self.error is not None:
            return False
        self.error = stream.failure() or "it ended before its last attempt"
        return stream.lost and not self._ready.is_set()

    def _take(self, line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if "attempt" in message:
            attempt = Attempt.read(message["attempt"])
            classified = Classified(attempt, self._classify(attempt))
            with self._lock:
                self._found.append(classified)
            self._on_attempt(classified)
        elif "ready" in message:
            self.facts = message["ready"]
            self._ready.set()
        elif "done" in message:
            self._over.set()
        elif "error" in message:
            self.error = str(message["error"])
            self._ready.set()


def tally(planned: int, attempts: list[Classified]) -> Tally:
    """The attempts counted by what they prove."""
    kinds = Counter(one.outcome.kind for one in attempts)
    return Tally(
        planned=planned,
        attempts=len(attempts) - kinds[OutcomeKind.VOID],
        denied=kinds[OutcomeKind.DENIED],
        leaked=kinds[OutcomeKind.LEAKED],
        possibly_reached=kinds[OutcomeKind.POSSIBLY_REACHED],
        unrecognised=kinds[OutcomeKind.BROKEN],
        answered=sum(one.outcome.kind is OutcomeKind.DENIED and one.attempt.answered for one in attempts),
    )
