"""The pace: which attempt starts when, one selector for all of them, and their end."""

from __future__ import annotations

import heapq
import selectors
import time
from typing import Any

from drills.probe.attempt import READ, Attempt, AttemptError, Steps, failure_of
from drills.probe.config import Config
from drills.probe.streams import STDIN, Out, Stdin


class Run:
    """Paces attempts: number i starts at ``start + i / rate``, whatever became of those before it."""

    def __init__(self, config: Config, kind: type[Attempt], addresses: tuple[str, ...], out: Out) -> None:
        self._config = config
        self._kind = kind
        self._addresses = addresses
        self._out = out
        self._selector = selectors.DefaultSelector()
        self._context = _tls_context() if config.tls else None
        self._running: dict[Attempt, Steps] = {}
        self._expiry: list[tuple[float, int, Attempt]] = []
        self._next = 0

    def until_done(self, start: float, stdin: Stdin) -> None:
        """From ``start`` (monotonic clock) to the last answer, the deadline, or the end of standard input."""
        end = start + self._config.deadline
        self._selector.register(STDIN, READ)
        reason = "finished"
        while self._running or self._next < self._config.attempts:
            began = time.monotonic()
            if began >= end:
                reason = "deadline"
                break
            events = self._selector.select(self._wait(began, start, end))
            for key, _ in events:
                if key.fd == STDIN:
                    stdin.receive()
                else:
                    self._step(key.data)
            if stdin.closed:
                reason = "stopped"
                break
            # Only what had expired before select looked: its answer would have been among the events.
            self._expire(began)
            self._start_due(start)
            self._out.flush()
        for attempt in list(self._running):
            self._finish(attempt, AttemptError("deadline" if reason == "deadline" else "stopped"))
        self._out.write({"done": {"reason": reason, "planned": self._config.attempts, "started": self._next}})

    def _due(self, start: float) -> float:
        return start + self._next / self._config.rate

    def _may_start(self) -> bool:
        return self._next < self._config.attempts and len(self._running) < self._config.concurrency

    def _wait(self, now: float, start: float, end: float) -> float:
        moments = [end]
        if self._may_start():
            moments.append(self._due(start))
        if self._expiry:
            moments.append(self._expiry[0][0])
        return max(0.0, min(moments) - now)

    def _start_due(self, start: float) -> None:
        while self._may_start() and (lag := time.monotonic() - self._due(start)) >= 0:
            address = self._addresses[self._next % len(self._addresses)] if self._addresses else None
            attempt = self._kind(self._config, self._next, address, self._context, lag)
            self._next += 1
            self._running[attempt] = attempt.steps()
            heapq.heappush(self._expiry, (attempt.expires, attempt.number, attempt))
            self._step(attempt)

    def _step(self, attempt: Attempt) -> None:
        self._forget_socket(attempt)
        try:
            wanted = next(self._running[attempt])
        except StopIteration:
            self._finish(attempt, None)
        except AttemptError as failure:
            self._finish(attempt, failure)
        except OSError as error:
            self._finish(attempt, failure_of(error))
        else:
            assert attempt.socket is not None
            self._selector.register(attempt.socket, wanted, attempt)

    def _forget_socket(self, attempt: Attempt) -> None:
        if attempt.socket is not None and attempt.socket.fileno() in self._selector.get_map():
            self._selector.unregister(attempt.socket)

    def _expire(self, now: float) -> None:
        while self._expiry and self._expiry[0][0] <= now:
            attempt = heapq.heappop(self._expiry)[2]
            if attempt not in self._running:
                continue
            if attempt.expires > now:  # a later phase has been given its own time
                heapq.heappush(self._expiry, (attempt.expires, attempt.number, attempt))
            else:
                self._finish(attempt, AttemptError("timeout"))

    def _finish(self, attempt: Attempt, failure: AttemptError | None) -> None:
        self._forget_socket(attempt)
        del self._running[attempt]
        self._out.write({"attempt": attempt.end(failure)})


def _tls_context() -> Any:
    import ssl  # noqa: PLC0415 - 15 ms that only TLS pays for

    context = ssl.create_default_context()
    context.check_hostname = False  # whether the path is open is asked, not who answers
    context.verify_mode = ssl.CERT_NONE
    return context
