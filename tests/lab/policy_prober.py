"""Attempts of the probe, many at once: run in one network namespace, a round of flows for each line of input.

With the argument ``own-ports`` connections come from ports that no proxy uses: Envoy goes on in the pod's name from a
port of its own, and where that is one which the pod has just used towards the same target, either connection may be
lost.

A line is a list of ``[kind, address, configuration]``; the answer is a line with the attempts' records in that order.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from pathlib import Path
from typing import Any

from drills.probe.attempt import Attempt, AttemptError, Steps, failure_of
from drills.probe.config import Config
from drills.probe.dns import DnsAttempt
from drills.probe.http import HttpAttempt
from drills.probe.tcp import TcpAttempt

KINDS: dict[str, type[Attempt]] = {"http": HttpAttempt, "tcp": TcpAttempt, "dns": DnsAttempt}


class Round:
    """All attempts of a line, started together."""

    def __init__(self, flows: list[Any]) -> None:
        self._selector = selectors.DefaultSelector()
        self._running: dict[Attempt, Steps] = {}
        self.records: dict[int, Any] = {}
        for number, (kind, address, given) in enumerate(flows):
            attempt = KINDS[kind](Config.read(json.dumps(given)), number, address, None, 0.0)
            self._running[attempt] = attempt.steps()
            self._step(attempt)

    def until_done(self) -> None:
        while self._running:
            began = time.monotonic()
            soonest = min(each.expires for each in self._running)
            for key, _ in self._selector.select(max(0.0, soonest - began)):
                self._step(key.data)
            for attempt in [each for each in self._running if each.expires <= began]:
                self._finish(attempt, AttemptError("timeout"))

    def _step(self, attempt: Attempt) -> None:
        self._forget(attempt)
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

    def _forget(self, attempt: Attempt) -> None:
        if attempt.socket is not None and attempt.socket.fileno() in self._selector.get_map():
            self._selector.unregister(attempt.socket)

    def _finish(self, attempt: Attempt, failure: AttemptError | None) -> None:
        self._forget(attempt)
        del self._running[attempt]
        self.records[attempt.number] = attempt.end(failure)


OWN_PORTS = "10000 19999"  # a node's, and so Envoy's, begin with 20000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def main() -> None:
    if "own-ports" in sys.argv[1:]:
        RANGE.write_text(OWN_PORTS)
    for line in sys.stdin:
        found = Round(json.loads(line))
        found.until_done()
        print(json.dumps([found.records[number] for number in sorted(found.records)]), flush=True)


if __name__ == "__main__":
    main()
